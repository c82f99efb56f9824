// ckpt/archive/zip_locate.hpp: where the payload of a record begins.
//
// SPDX-License-Identifier: MIT
// In:      a record of the directory, and its local header, which is read when its payload is wanted.
// Out:     the offset of the payload; the payload.
// Refuses: local headers that disagree with the directory, overlap the next record, or have a contradictory ZIP64
//          field.
#pragma once

#include <ckpt/archive/record.hpp>
#include <ckpt/core/arena.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/io/source.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::zip {

/// The offset at which torch.save puts the payload of `r`, computed from the directory alone. 0 where a record that
/// torch.save wrote would not end at `r.bound`: then another program wrote it. A prediction only: `locate` reads the
/// header.
[[nodiscard]] std::uint64_t predict(const record& r, std::uint64_t alignment) noexcept;

/// The offset of the payload of `r`, by its local header, which is read and compared with the directory. Fails with
/// `zip_header_mismatch`, `zip_overlap` or `zip64_invalid`.
[[nodiscard]] result<std::uint64_t> locate(const source& from, const record& r);

/// The payload of `r` in memory of the arena. Fails with `compressed` where it is not stored, and, where `check` is
/// set, with `checksum_mismatch` where its CRC is not that of the directory (which is 0 where the writer computed
/// none).
[[nodiscard]] result<std::span<const std::byte>> read_record(const source& from, const record& r, arena& memory,
                                                             bool check);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::zip

#if !defined(CKPT_COMPILED)
#include <ckpt/archive/impl/zip_locate.ipp>
#endif
