// ckpt/archive/inflate.hpp: records that a zip tool has compressed, by a function that the caller brings.
//
// SPDX-License-Identifier: MIT
// In:      a record, and an `inflater`.
// Out:     the content, whole and checked against its CRC.
// Refuses: other methods than deflate (Z8); a size that no deflate data of that length can have, before anything is
//          allocated; data that are not exactly as long as the directory says.
#pragma once

#include <ckpt/archive/inflater.hpp>
#include <ckpt/archive/record.hpp>
#include <ckpt/core/arena.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/io/source.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Whether the content of a compressed record can be had at all; reads nothing but its local header.
[[nodiscard]] result<std::uint64_t> locate_deflated(const source& from, const record& r, const inflater& inflate);

/// Inflates the record at `at` into `out`, which has its size, and checks its CRC (0: the writer computed none).
[[nodiscard]] result<void> inflate_record(const source& from, const record& r, std::uint64_t at,
                                          const inflater& inflate, std::span<std::byte> out);

/// The content of a record, whether it is compressed or not, in memory of the arena; its CRC is checked. `most` bounds
/// what a compressed one may become.
[[nodiscard]] result<std::span<const std::byte>>
read_content(const source& from, const record& r, const inflater& inflate, std::uint64_t most, arena& memory);

/// The content of a record that is parsed, within the limits of `budget`.
[[nodiscard]] result<std::span<const std::byte>> read_parsed(const source& from, const record& r, const limits& budget,
                                                             const inflater& inflate, arena& memory);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/archive/impl/inflate.ipp>
#endif
