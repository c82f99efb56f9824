// ckpt/core/impl/sorting.ipp: the definitions of sorting.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sorting.hpp>

#include <algorithm>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF void sort_indices(std::span<std::uint32_t> numbers, const index_order& before) {
    std::sort(numbers.begin(), numbers.end(), [&before](std::uint32_t a, std::uint32_t b) {
        if (before(a, b)) return true;
        return a < b && !before(b, a);
    });
}

CKPT_DETAIL_DEF std::vector<std::uint32_t> sorted_indices(std::size_t count, const index_order& before) {
    std::vector<std::uint32_t> out(count);
    for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<std::uint32_t>(i);
    sort_indices(out, before);
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
