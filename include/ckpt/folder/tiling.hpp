// ckpt/folder/tiling.hpp: whether boxes fill a tensor, each element once.
//
// SPDX-License-Identifier: MIT In:      a shape, and boxes inside it: offsets and sizes. Out:     nothing where they
// do, else the first element that is in none of them or in several. Refuses: more corners than it was allowed: boxes
// may be cut along any number of dimensions.
//
// A box adds one to each of its elements. Written as steps, that is +1 at its first corner, -1 at the corner behind its
// end along one dimension, +1 behind its ends along two of them, and so on: an element is in as many boxes as the steps
// at and before it add up to. Boxes fill the tensor exactly where their steps are those of the tensor itself. For a
// vector of 4 elements, boxes [0, 2) and [2, 4): +1 at 0, -1 at 2, +1 at 2, -1 at 4; at 2 they cancel, and what is left
// is the vector's own. The time is that of sorting the corners.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Boxes of a tensor.
struct box_list {
    std::size_t rank{};
    std::vector<std::int64_t> offsets{}; // `rank` numbers for each box
    std::vector<std::int64_t> sizes{};
    std::size_t count{};
};

/// What was found.
struct tiling {
    bool fits{};                         ///< whether there were few enough corners to say
    std::vector<std::size_t> cut{};      ///< dimensions along which some box is smaller than the tensor
    std::vector<std::int64_t> element{}; ///< the first one that is not in exactly one box; empty where all are
    std::int64_t covered{1};             ///< how many boxes it is in
};

/// The steps of all boxes, and those of the tensor itself with the other sign. For each corner: its coordinates along
/// the dimensions `cut`, then its step.
[[nodiscard]] std::vector<std::int64_t> steps_of(std::span<const std::int64_t> shape, const box_list& boxes,
                                                 std::span<const std::size_t> cut);

/// Boxes have no size of zero, lie inside `shape`, and there is at least one. `budget` is what is left of numbers to
/// sort.
[[nodiscard]] tiling check_tiling(std::span<const std::int64_t> shape, const box_list& boxes, std::uint64_t& budget);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/tiling.ipp>
#endif
