// ckpt/folder/tiling.hpp: whether boxes fill a tensor, each element once.
//
// SPDX-License-Identifier: MIT
// In:      a shape, and boxes inside it: offsets and sizes.
// Out:     nothing where they do, else the first element that is in none of them or in several.
// Refuses: more corners than it was allowed: boxes may be cut along any number of dimensions.
//
// Boxes fill a tensor exactly where the signed sum of their corners is that of the tensor's own: the sum of steps at
// these corners says how often each element is covered. So time is that of sorting the corners, whatever the boxes are.
#pragma once

#include <ckpt/core/checked.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

struct box_list {
    std::size_t rank{};
    std::vector<std::int64_t> offsets{}; // `rank` numbers for each box
    std::vector<std::int64_t> sizes{};
    std::size_t count{};
};

struct tiling {
    bool fits{};                         ///< whether there were few enough corners to say
    std::vector<std::size_t> cut{};      ///< dimensions along which some box is smaller than the tensor
    std::vector<std::int64_t> element{}; ///< the first one that is not in exactly one box; empty where all are
    std::int64_t covered{1};             ///< how many boxes it is in
};

/// Boxes have no size of zero, lie inside `shape`, and there is at least one. `budget` is what is left of numbers to
/// sort.
[[nodiscard]] tiling check_tiling(std::span<const std::int64_t> shape, const box_list& boxes, std::uint64_t& budget);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/tiling.ipp>
#endif
