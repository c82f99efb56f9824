// fuzz/zip.cpp: the zip reader on any bytes.
//
// SPDX-License-Identifier: MIT
// Invariants: payloads lie inside the input and do not overlap; an error's offset is at most the input's size and its
// text is bounded; the same answer twice, and by mapping and by reading; memory is bounded by the input; errc::internal
// never.
#include <ckpt/archive/zip_directory.hpp>
#include <ckpt/archive/zip_locate.hpp>
#include <ckpt/archive/zip_verify.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using ckpt::detail::source;
using ckpt::detail::zip_archive;
namespace zip = ckpt::detail::zip;

void require(bool holds) {
    if (!holds) std::abort();
}

struct outcome {
    std::vector<std::uint64_t> numbers{};
    std::uint64_t most_offset{0};

    void add(const ckpt::error& found) {
        require(found.code != ckpt::errc::internal && found.code != ckpt::errc::none);
        require(found.offset <= most_offset);
        require(found.message().size() <= 1024);
        numbers.push_back(static_cast<std::uint64_t>(found.code));
        numbers.push_back(found.offset);
    }
};

outcome look(std::span<const std::byte> bytes, ckpt::io_mode mode) {
    outcome out;
    out.most_offset = bytes.size();
    const auto from = source::memory(bytes, {.mode = mode}).value();
    ckpt::detail::arena memory;
    const auto archive = zip_archive::read(*from, {}, memory);
    require(memory.total() <= 64 * bytes.size() + (1u << 20));
    if (!archive) {
        out.add(archive.error());
        return out;
    }
    require(archive->directory_offset() <= bytes.size());
    for (const ckpt::record& r : archive->records()) {
        require(r.bound <= archive->directory_offset() && r.header_offset < r.bound);
        require(r.name.data() != nullptr && !r.name.empty());
        const ckpt::record* const same = archive->find(r.name);
        require(r.is_folder() ? same == nullptr : same == &r);
        const auto at = zip::locate(*from, r);
        if (!at) {
            out.add(at.error());
            continue;
        }
        require(*at >= r.header_offset + 30 + r.name.size() && *at <= r.bound && r.stored_size <= r.bound - *at);
        out.numbers.push_back(*at);
        const std::uint64_t predicted = zip::predict(r, 64);
        require(predicted == 0 || (predicted <= r.bound && r.size <= r.bound - predicted));
        const auto content = zip::read_record(*from, r, memory, true);
        if (!content) {
            out.add(content.error());
        } else {
            require(content->size() == r.size);
            require(content->empty() || std::memcmp(content->data(), bytes.data() + *at, content->size()) == 0);
        }
    }
    const auto sink = [](void* context, const ckpt::error& found) { static_cast<outcome*>(context)->add(found); };
    ckpt::detail::progress_meter meter;
    const auto check = ckpt::detail::verify_zip(*from, *archive, {}, meter, sink, &out);
    require(check.bytes <= bytes.size() && check.records == archive->records().size());
    out.numbers.push_back(check.findings);
    out.numbers.push_back(check.unchecked_crc);
    return out;
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::span<const std::byte> bytes = std::as_bytes(std::span(data, size));
    const outcome mapped = look(bytes, ckpt::io_mode::map), copied = look(bytes, ckpt::io_mode::read);
    require(mapped.numbers == copied.numbers);
    return 0;
}
