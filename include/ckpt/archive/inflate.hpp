// ckpt/archive/inflate.hpp: decompresses deflated records by the caller's `inflater`.
//
// SPDX-License-Identifier: MIT
// In:      a record, and an `inflater`.
// Out:     the whole content, checked against its CRC.
// Refuses: other methods than deflate (rule Z8 of docs/errors.md); before it allocates, a size that so few deflated
//          bytes cannot become; content that is not exactly as long as the directory says.
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

/// The offset of a deflated record's data, of which it reads and checks the local header only. Fails with `compressed`
/// for another method or without an inflater, and with `limit` for a size that the data cannot become.
[[nodiscard]] result<std::uint64_t> locate_deflated(const source& from, const record& r, const inflater& inflate);

/// Inflates the record whose data begin at `at` into `out`, which has `r.size` bytes, and checks its CRC, unless it is
/// 0 (the writer computed none). Fails with `checksum_mismatch`.
[[nodiscard]] result<void> inflate_record(const source& from, const record& r, std::uint64_t at,
                                          const inflater& inflate, std::span<std::byte> out);

/// The content of a record, stored or deflated, in memory of the arena; its CRC is checked. A deflated one may have
/// `most` bytes.
[[nodiscard]] result<std::span<const std::byte>>
read_content(const source& from, const record& r, const inflater& inflate, std::uint64_t most, arena& memory);

/// The content of a record that will be parsed, within `pickle_bytes` and `inflated_per_byte` of `budget`.
[[nodiscard]] result<std::span<const std::byte>> read_parsed(const source& from, const record& r, const limits& budget,
                                                             const inflater& inflate, arena& memory);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/archive/impl/inflate.ipp>
#endif
