// ckpt/state/impl/nearest.ipp: the definitions of nearest.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sorting.hpp>
#include <ckpt/state/nearest.hpp>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF std::vector<std::string_view> nearest(std::string_view wanted, std::span<const std::string_view> keys) {
    constexpr std::size_t examined = 20'000; // a message is not worth more than some milliseconds
    std::vector<std::pair<std::uint32_t, std::string_view>> found;
    for (std::size_t i = 0; i < keys.size() && i < examined; ++i) {
        const std::string_view k = keys[i];
        if (ends_in_segments(k, wanted) || ends_in_segments(wanted, k)) found.emplace_back(0, k);
        else if (const std::uint32_t d = edit_distance(wanted, k);
                 d <= std::max<std::size_t>(wanted.size(), k.size()) / 3)
            found.emplace_back(d, k);
    }
    sort_values(found, [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<std::string_view> out;
    for (std::size_t i = 0; i < found.size() && i < 3; ++i) out.push_back(found[i].second);
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
