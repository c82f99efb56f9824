// ckpt/archive/zip_end.hpp: the end records of a zip archive, and where they say that its directory is.
//
// SPDX-License-Identifier: MIT
// In:      a source; of it the last bytes are read, and the directory.
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

/// The last bytes of an archive: its end records, and mostly its directory.
struct tail {
    std::span<const std::byte> bytes{};
    std::uint64_t offset{}; ///< of the first of them
};

/// What the end records say of the directory.
struct end_record {
    std::uint64_t count{}; ///< of entries
    std::uint64_t directory_size{};
    std::uint64_t directory_offset{};
    std::uint64_t position{}; ///< of the end record, the ZIP64 one where there is one
};

/// Reads as much as end records can take; where they are as every writer puts them, from the directory on.
[[nodiscard]] result<tail> read_tail(const source& from, const limits& budget, arena& memory);
/// The one end record in the tail, widened by the ZIP64 one where there is one.
[[nodiscard]] result<end_record> find_end(const source& from, const tail& in);
/// The bytes of the directory, once their place and size were checked.
[[nodiscard]] result<std::span<const std::byte>>
read_directory(const source& from, const tail& in, const end_record& end, const limits& budget, arena& memory);

// ---- steps of `find_end`

/// Where the last end record begins in the tail, whose comment must fit.
[[nodiscard]] result<std::size_t> last_end(const source& from, const tail& in);
/// Whether an earlier end record is as complete: its comment ends with the file, and a directory or locator is before
/// it.
[[nodiscard]] bool is_rival(const tail& in, std::size_t at, std::uint64_t size) noexcept;
/// Fails with `zip_ambiguous_end` where there is a rival of the end record at `at`.
[[nodiscard]] result<void> refuse_rivals(const source& from, const tail& in, std::size_t at);
/// The ZIP64 end record that the locator before `at` points to.
[[nodiscard]] result<end_record> read_end64(const source& from, const tail& in, std::size_t at);
/// The error for an archive in several files.
[[nodiscard]] error several_disks(const source& from, std::uint64_t at, std::string seen);

// ---- steps of `read_directory`

/// Whether the directory ends where its end record begins, inside the file.
[[nodiscard]] result<void> check_directory_place(const source& from, const end_record& end);
/// Whether its entries fit in it, and both in the limits.
[[nodiscard]] result<void> check_directory_size(const source& from, const end_record& end, const limits& budget);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::zip

#if !defined(CKPT_COMPILED)
#include <ckpt/archive/impl/zip_end.ipp>
#endif
