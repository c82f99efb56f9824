// ckpt/archive/zip_end.hpp: the end records of a zip archive, and the directory that they point to.
//
// SPDX-License-Identifier: MIT
// In:      a source, of which it reads the last bytes and the directory.
// Out:     how many entries the directory has, and its bytes.
// Refuses: archives that are truncated, prefixed, split or patched; two complete end records; end records that
//          disagree; a directory outside the file, or one that is larger than the limits.
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/error.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/io/source.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::zip {

/// The last bytes of an archive: the end records, and usually the directory.
struct tail {
    std::span<const std::byte> bytes{};
    std::uint64_t offset{}; ///< of the first of them
};

/// The directory by the end records.
struct end_record {
    std::uint64_t count{}; ///< of entries
    std::uint64_t directory_size{};
    std::uint64_t directory_offset{};
    std::uint64_t position{}; ///< of the ZIP64 end record, or of the end record where there is none
};

/// Reads as many last bytes as end records can have. Where the end record has no comment, which is usual, reads from
/// the directory on.
[[nodiscard]] result<tail> read_tail(const source& from, const limits& budget, arena& memory);
/// The end record in the tail, with the numbers of the ZIP64 end record where there is one. Fails with `zip_truncated`,
/// `zip_ambiguous_end`, `zip_multi_disk` or `zip64_invalid`.
[[nodiscard]] result<end_record> find_end(const source& from, const tail& in);
/// The bytes of the directory, after checks of its place and size.
[[nodiscard]] result<std::span<const std::byte>>
read_directory(const source& from, const tail& in, const end_record& end, const limits& budget, arena& memory);

// ---- steps of `find_end`

/// Where the last end record begins in the tail; its comment must fit in the file.
[[nodiscard]] result<std::size_t> last_end(const source& from, const tail& in);
/// Whether the end record at `at` is complete, too: its comment ends at the end of the file, and a directory or a ZIP64
/// locator ends where it begins. Another reader might use it.
[[nodiscard]] bool is_rival(const tail& in, std::size_t at, std::uint64_t size) noexcept;
/// Fails with `zip_ambiguous_end` where another complete end record comes before the one at `at`.
[[nodiscard]] result<void> refuse_rivals(const source& from, const tail& in, std::size_t at);
/// The ZIP64 end record that the locator before `at` points to.
[[nodiscard]] result<end_record> read_end64(const source& from, const tail& in, std::size_t at);
/// The error for an archive that is split into several files.
[[nodiscard]] error several_disks(const source& from, std::uint64_t at, std::string seen);

// ---- steps of `read_directory`

/// Whether the directory lies in the file and ends where its end record begins.
[[nodiscard]] result<void> check_directory_place(const source& from, const end_record& end);
/// Whether the entries fit in the directory, and their number and size in the limits.
[[nodiscard]] result<void> check_directory_size(const source& from, const end_record& end, const limits& budget);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::zip

#if !defined(CKPT_COMPILED)
#include <ckpt/archive/impl/zip_end.ipp>
#endif
