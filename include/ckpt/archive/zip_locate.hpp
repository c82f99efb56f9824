// ckpt/archive/zip_locate.hpp: where the payload of a record begins.
//
// SPDX-License-Identifier: MIT
// In:      a record of the directory; of the file its local header, which is read and checked when a payload is wanted.
// Out:     an offset; the payload itself.
// Refuses: local headers that disagree with the directory, that overlap, or whose ZIP64 field contradicts them.
#pragma once

#include <ckpt/archive/record.hpp>
#include <ckpt/core/arena.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/io/source.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::zip {

/// Where torch.save puts the payload of `r`, by the numbers in the directory alone; 0 where these do not lead to
/// the next header exactly, so that somebody else wrote the record. For planning: `locate` decides.
[[nodiscard]] std::uint64_t predict(const record& r, std::uint64_t alignment) noexcept;

/// Where the payload of `r` begins, by its local header, which is read and checked against the directory now.
[[nodiscard]] result<std::uint64_t> locate(const source& from, const record& r);

/// The payload of `r` in memory of the arena. Fails with `compressed` where it is not stored as it is, with
/// `checksum_mismatch` where `check` is set and it does not have the directory's CRC (0: the writer computed none).
[[nodiscard]] result<std::span<const std::byte>> read_record(const source& from, const record& r, arena& memory,
                                                             bool check);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::zip

#if !defined(CKPT_COMPILED)
#include <ckpt/archive/impl/zip_locate.ipp>
#endif
