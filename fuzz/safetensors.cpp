// fuzz/safetensors.cpp: safetensors files, and the JSON that their headers and the indices of shards are.
//
// SPDX-License-Identifier: MIT
// In:      one byte: how many bytes of data follow the header; then the header's text.
// Invariants: the same verdict by mapping and by reading; what is accepted is JSON, its tensors cover the data
//          without a hole and without an overlap, and each has the bytes that its shape and dtype need; a digest of
//          the whole exists where no tensor was refused; errors have a place in the file; memory is bounded by the
//          file.
#include "target.hpp"

#include <ckpt/checkpoint.hpp>
#include <ckpt/core/arena.hpp>
#include <ckpt/core/json.hpp>
#include <ckpt/state/diff.hpp>
#include <ckpt/state/digest.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using fuzzing::check_error;
using fuzzing::digest;
using fuzzing::require;

bool is_json(std::string_view text) {
    ckpt::detail::arena memory;
    ckpt::detail::json_reader in{text, memory};
    const bool whole = in.skip() && in.finish();
    require(whole == in.fault().empty(), "a fault without a failure, or the reverse");
    require(in.offset() <= text.size(), "a place behind the text");
    return whole;
}

digest look(std::span<const std::byte> file, std::string_view header, ckpt::io_mode mode) {
    digest out;
    const auto opened = ckpt::open_bytes(file, {.io = mode});
    if (!opened) {
        check_error(opened.error(), file.size(), out);
        return out;
    }
    if (opened->container() != "safetensors") return out;
    require(is_json(header), "a header that is accepted and is no JSON");
    const auto weights = opened->state_dict("");
    require(weights.has_value(), "a header without a state_dict");
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
    for (const auto entry : *weights) {
        out.add(entry.key);
        if (entry.tensor.refusal() != nullptr) {
            check_error(*entry.tensor.refusal(), file.size(), out);
            continue;
        }
        const auto at = entry.tensor.file_offset();
        require(at.has_value() && entry.tensor.storage_nbytes() == entry.tensor.nbytes(),
                "a tensor that is not its storage");
        ranges.emplace_back(*at, *at + entry.tensor.nbytes());
        fuzzing::check_graph(opened->root(), file.size(), out);
        const auto crc = entry.tensor.crc32();
        require(crc.has_value(), "a tensor without values");
        out.add(*crc);
    }
    if (weights->refused() == 0) {
        std::sort(ranges.begin(), ranges.end());
        std::uint64_t end = 8 + header.size();
        for (const auto& [begin, stop] : ranges) {
            require(begin == end, "a hole or an overlap");
            end = stop;
        }
        require(end == file.size(), "data behind the last tensor");
        const auto sum = ckpt::checkpoint_digest(*weights);
        require(sum.has_value() && sum->size() == 64, "no digest");
        out.add(*sum);
        require(ckpt::diff(*weights, *weights).same(), "a state_dict that is not itself");
    }
    require(opened->verify().ok() || weights->refused() > 0, "a finding in a file that opened");
    return out;
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view header{reinterpret_cast<const char*>(data) + 1, size - 1};
    (void)is_json(header);
    std::vector<std::byte> file(8 + header.size() + data[0]);
    for (std::size_t i = 0; i < 8; ++i)
        file[i] = static_cast<std::byte>(static_cast<unsigned char>(std::uint64_t{header.size()} >> (8 * i)));
    if (!header.empty()) std::memcpy(file.data() + 8, header.data(), header.size());
    for (std::size_t i = 0; i < data[0]; ++i) file[8 + header.size() + i] = static_cast<std::byte>(i);
    require(look(file, header, ckpt::io_mode::read) == look(file, header, ckpt::io_mode::read),
            "another answer the second time");
    (void)look(file, header, ckpt::io_mode::map);
    const auto mapped = ckpt::open_bytes(file);
    const auto read = ckpt::open_bytes(file, {.io = ckpt::io_mode::read});
    require(mapped.has_value() == read.has_value(), "mapping and reading have another verdict");
    return 0;
}
