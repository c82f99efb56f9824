// ckpt/archive/zip_directory.hpp: reads the directory of a zip archive.
//
// SPDX-License-Identifier: MIT
// In:      a source, of which it reads the last bytes and the directory.
// Out:     records, each a name and a byte range inside the source.
// Refuses: what the end records refuse (zip_end.hpp); encrypted records and patches; ranges outside or overlapping;
//          duplicate or unusable names; contradictory ZIP64 fields.
#pragma once

#include <ckpt/archive/names.hpp>
#include <ckpt/archive/record.hpp>
#include <ckpt/core/arena.hpp>
#include <ckpt/core/error.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/io/source.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The directory of a zip archive. Borrows from the arena it was read into; cheap to copy.
class zip_archive {
  public:
    /// Reads and checks the end records and the directory, by positioned reads into `memory`.
    [[nodiscard]] static result<zip_archive> read(const source& from, const limits& budget, arena& memory);

    /// In the order of the directory.
    [[nodiscard]] std::span<const record> records() const noexcept { return records_; }
    /// Where the directory begins, behind all records.
    [[nodiscard]] std::uint64_t directory_offset() const noexcept { return directory_offset_; }

    /// The record whose name has exactly these bytes, or null. Does not find entries for folders.
    [[nodiscard]] const record* find(std::string_view name) const noexcept;

  private:
    // ---- entries
    [[nodiscard]] result<void> parse(const source& from, std::span<const std::byte> directory, std::size_t count,
                                     arena& memory);
    /// Replaces the numbers of `r` that are all ones by those of its ZIP64 field (APPNOTE 4.5.3). Returns what is
    /// wrong; empty where nothing is.
    [[nodiscard]] static std::string_view widen(record& r, std::span<const std::byte> extra) noexcept;

    // ---- order
    /// Sets `bound` of each record, and checks that the record fits before it.
    [[nodiscard]] result<void> set_bounds(const source& from);

    // ---- errors
    /// Entry `i` of `count` is incomplete, or does not begin with its signature; `left` is the rest of the directory.
    [[nodiscard]] static error broken_entry(const source& from, std::uint64_t at, std::size_t i, std::size_t count,
                                            std::span<const std::byte> left);
    /// A record that is encrypted, a patch, or on another disk.
    [[nodiscard]] static error unreadable(const source& from, std::uint64_t at, const record& r, std::uint16_t disk);
    [[nodiscard]] static error bad_name(const source& from, std::uint64_t at, const record& r, name_fault fault);
    [[nodiscard]] error duplicate(const source& from, const record& first, const record& second) const;
    [[nodiscard]] error misplaced(const source& from, const record& r, const record* next) const;

    std::span<record> records_{};
    name_index index_{};
    std::uint64_t directory_offset_{0};
    bool in_order_{true}; ///< the directory lists records by rising offset
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/archive/impl/zip_directory.ipp>
#endif
