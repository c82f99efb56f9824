// ckpt/tensor/odometer.hpp: counts through the indices of several dimensions.
//
// SPDX-License-Identifier: MIT
// In:      an index, sizes, each at least 1.
// Out:     the next index, the last dimension moving fastest, and how far each dimension moves.
// Refuses: nothing.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Increments an index of `rank` dimensions. Calls `move(d, n)` before the index of dimension `d` changes by `n`. Where
/// it returns to 0, `n` is minus the size modulo 2^64, so that `offset += n * stride` is right in both cases. Returns
/// false after the last index; the index is all zeros then, and such an offset has its first value again.
template <class Index, class Size, class Move>
[[nodiscard]] CKPT_DETAIL_INLINE bool next_index(Index& index, std::size_t rank, const Size& size, const Move& move) {
    while (rank-- > 0) {
        move(rank, std::uint64_t{1});
        if (++index[rank] < size(rank)) return true;
        move(rank, 0 - std::uint64_t{size(rank)});
        index[rank] = 0;
    }
    return false;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
