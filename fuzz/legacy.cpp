// fuzz/legacy.cpp: streams of torch.save before torch 1.6, and plain pickles with such streams in their bytes.
//
// SPDX-License-Identifier: MIT
// In:      a file, whatever it begins with.
// Invariants: the same answer twice, and by mapping and by reading; every byte that a tensor shows lies in the file,
//          at the place that it says, or in the pickle; every checkpoint of the file opens by its number, and no
//          other; a scan finds a name where opening refused one; errors have a place in the file; memory is bounded
//          by the metadata.
#include "target.hpp"

#include <ckpt/checkpoint.hpp>
#include <ckpt/state/walk.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using fuzzing::check_error;
using fuzzing::digest;
using fuzzing::require;

void check_places(const ckpt::checkpoint& opened, std::span<const std::byte> file) {
    const auto rows = ckpt::find_tensors(opened.root(), 1000);
    if (!rows) return;
    for (const ckpt::located_tensor& row : *rows) {
        const auto bytes = row.tensor.bytes();
        if (!bytes || bytes->empty() || row.tensor.storage_key().empty()) continue;
        const auto at = row.tensor.file_offset();
        require(at.has_value() && *at <= file.size() && bytes->size() <= file.size() - *at &&
                    bytes->data() == file.data() + *at,
                "a tensor that is not where it says");
    }
}

/// What a file is to a reader, as one number; `index`: which checkpoint of it.
digest look(std::span<const std::byte> file, ckpt::io_mode mode, std::uint32_t index, ckpt::errc& code) {
    digest out;
    const auto opened = ckpt::open_bytes<ckpt::training_policy>(file, {.io = mode, .index = index});
    code = opened ? ckpt::errc::none : opened.error().code;
    if (!opened) {
        check_error(opened.error(), file.size(), out);
        return out;
    }
    if (opened->container() == "zip" || opened->container() == "safetensors") return out; // other targets
    fuzzing::check_graph(opened->root(), file.size(), out);
    require(opened->verify().ok() || opened->verify().findings.front().code != ckpt::errc::internal,
            "an internal error");
    if (mode == ckpt::io_mode::map) check_places(*opened, file);
    return out;
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::span<const std::byte> file = std::as_bytes(std::span{data, size});
    ckpt::errc first{}, again{}, by_reading{};
    const digest once = look(file, ckpt::io_mode::map, 0, first);
    require(once == look(file, ckpt::io_mode::map, 0, again) && first == again, "two answers to one input");
    (void)look(file, ckpt::io_mode::read, 0, by_reading);
    require(first == by_reading, "mapping and reading have another verdict");
    if (first == ckpt::errc::none) {
        ckpt::errc code = ckpt::errc::none;
        for (std::uint32_t i = 1; i < 64 && code == ckpt::errc::none; ++i)
            (void)look(file, ckpt::io_mode::map, i, code);
        require(code == ckpt::errc::none || code == ckpt::errc::range_outside_file || code == ckpt::errc::limit,
                "a file that opens, and whose other checkpoints do not");
    }
    const auto scan = ckpt::scan_globals_bytes(file);
    digest ignored;
    if (!scan) {
        check_error(scan.error(), file.size(), ignored);
        require(first != ckpt::errc::none, "a file that opens and cannot be scanned");
        return 0;
    }
    bool refused = false;
    for (const ckpt::global_use& u : *scan) {
        require(u.offset <= file.size(), "a global outside the file");
        refused = refused || u.verdict == ckpt::verdict::refuse || u.verdict == ckpt::verdict::dangerous;
    }
    if (scan->stopped() != nullptr) check_error(*scan->stopped(), file.size(), ignored);
    if (first == ckpt::errc::global_not_allowed) require(refused, "a refused name that no scan shows");
    return 0;
}
