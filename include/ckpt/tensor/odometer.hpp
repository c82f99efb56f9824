// ckpt/tensor/odometer.hpp: counts through the indices of several dimensions.
//
// SPDX-License-Identifier: MIT
// In:      sizes, each at least 1.
// Out:     every index once, the last dimension moving fastest, and how far each step moves.
// Refuses: nothing.
#pragma once

#include <ckpt/core/config.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// For at most 64 dimensions; begins with all indices 0.
class odometer {
  public:
    /// Goes to the next index of `rank` dimensions. `move(d, n)` is told that the index of dimension `d` grows by `n`;
    /// where it goes back to 0, `n` is 2^64 minus the size, so that `offset += n * stride` is right for both.
    /// False behind the last index; all are 0 again then, and every offset is what it was.
    template <class Size, class Move> [[nodiscard]] bool next(std::size_t rank, const Size& size, const Move& move) {
        while (rank-- > 0) {
            move(rank, std::uint64_t{1});
            if (++index_[rank] < size(rank)) return true;
            move(rank, 0 - std::uint64_t{size(rank)});
            index_[rank] = 0;
        }
        return false;
    }

    [[nodiscard]] std::uint64_t operator[](std::size_t d) const noexcept { return index_[d]; }

  private:
    std::array<std::uint64_t, 64> index_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
