// fuzz/tar.cpp: tar archives, and checkpoints of torch 0.1 in them.
//
// SPDX-License-Identifier: MIT
// In:      an archive; the checksums of its headers are mended first, so that what is behind them is reached.
// Invariants: the same answer twice, and by mapping and by reading; members lie in the archive, one behind the other,
//          and have different names; what a tensor shows is where it says; errors have a place in the file.
#include "target.hpp"

#include <ckpt/archive/tar.hpp>
#include <ckpt/checkpoint.hpp>
#include <ckpt/core/arena.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/state/walk.hpp>

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using fuzzing::check_error;
using fuzzing::digest;
using fuzzing::require;

/// Puts the checksum of a header into it, wherever one may begin.
void mend(std::vector<std::byte>& file) {
    for (std::size_t at = 0; at + 512 <= file.size(); at += 512) {
        std::byte* const header = file.data() + at;
        if (header[0] == std::byte{0} || header[257] != std::byte{'u'}) continue;
        unsigned sum = 0;
        for (std::size_t i = 0; i < 512; ++i) sum += i >= 148 && i < 156 ? ' ' : std::to_integer<unsigned>(header[i]);
        for (std::size_t i = 6; i-- > 0; sum >>= 3) header[148 + i] = static_cast<std::byte>('0' + (sum & 7));
        header[154] = std::byte{0};
    }
}

digest look(std::span<const std::byte> file, ckpt::io_mode mode, ckpt::errc& code) {
    digest out;
    const auto opened = ckpt::open_bytes<ckpt::inspect_policy>(file, {.io = mode});
    code = opened ? ckpt::errc::none : opened.error().code;
    if (!opened) {
        check_error(opened.error(), file.size(), out);
        return out;
    }
    if (opened->container() != "tar") return out;
    fuzzing::check_graph(opened->root(), file.size(), out);
    const auto rows = ckpt::find_tensors(opened->root(), 1000);
    if (!rows || mode == ckpt::io_mode::read) return out;
    for (const ckpt::located_tensor& row : *rows) {
        const auto bytes = row.tensor.bytes();
        if (!bytes || bytes->empty() || row.tensor.storage_key().empty()) continue;
        const auto at = row.tensor.file_offset();
        require(at.has_value() && *at <= file.size() && bytes->size() <= file.size() - *at &&
                    bytes->data() == file.data() + *at,
                "a tensor that is not where it says");
    }
    return out;
}

void check_members(std::span<const std::byte> file) {
    const auto from = ckpt::detail::source::memory(file);
    require(from.has_value(), "no source");
    ckpt::detail::arena memory;
    const auto archive = ckpt::detail::tar_archive::read(**from, {}, memory);
    digest ignored;
    if (!archive) return check_error(archive.error(), file.size(), ignored);
    std::set<std::string_view> names;
    std::uint64_t end = 0;
    for (const ckpt::detail::tar_entry& e : archive->entries()) {
        require(e.header_offset >= end && e.offset == e.header_offset + 512 && e.size <= file.size() - e.offset,
                "a member that is not in the archive");
        require(names.insert(e.name).second && !e.name.empty(), "two members of one name, or none");
        end = e.offset + e.size;
    }
}

} // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::span<const std::byte> given = std::as_bytes(std::span{data, size});
    std::vector<std::byte> file{given.begin(), given.end()};
    mend(file);
    check_members(file);
    ckpt::errc first{}, again{}, by_reading{};
    const digest once = look(file, ckpt::io_mode::map, first);
    require(once == look(file, ckpt::io_mode::map, again) && first == again, "two answers to one input");
    (void)look(file, ckpt::io_mode::read, by_reading);
    require(first == by_reading, "mapping and reading have another verdict");
    const auto scan = ckpt::scan_globals_bytes(file);
    require(scan.has_value() || first != ckpt::errc::none, "a file that opens and cannot be scanned");
    if (scan)
        for (const ckpt::global_use& u : *scan) require(u.offset <= file.size(), "a global outside the file");
    return 0;
}
