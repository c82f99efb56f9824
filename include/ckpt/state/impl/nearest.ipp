// ckpt/state/impl/nearest.ipp: the definitions of nearest.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sorting.hpp>
#include <ckpt/state/nearest.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF std::uint32_t edit_distance(std::string_view a, std::string_view b) noexcept {
    if (a.size() > compared_bytes) a.remove_prefix(a.size() - compared_bytes);
    if (b.size() > compared_bytes) b.remove_prefix(b.size() - compared_bytes);
    std::array<std::uint32_t, compared_bytes + 1> row{};
    for (std::size_t j = 0; j <= b.size(); ++j) row[j] = static_cast<std::uint32_t>(j);
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::uint32_t diagonal = row[0];
        row[0] = static_cast<std::uint32_t>(i);
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::uint32_t above = row[j];
            row[j] = (std::min)({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0u : 1u)});
            diagonal = above;
        }
    }
    return row[b.size()];
}

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
