// ckpt/state/nearest.hpp: the keys that somebody probably meant.
//
// SPDX-License-Identifier: MIT
// In:      a key that does not exist, and those that do.
// Out:     up to three, nearest first; none where nothing is near.
// Refuses: nothing. Work is bounded: long keys are compared by their ends, and many keys by samples of a common end.
#pragma once

#include <ckpt/core/config.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Levenshtein distance of the last 64 bytes of each text.
[[nodiscard]] inline std::uint32_t edit_distance(std::string_view a, std::string_view b) noexcept {
    constexpr std::size_t longest = 64;
    if (a.size() > longest) a.remove_prefix(a.size() - longest);
    if (b.size() > longest) b.remove_prefix(b.size() - longest);
    std::array<std::uint32_t, longest + 1> row{};
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

/// Whether the last segments of `text` are `end`, and there are more.
[[nodiscard]] inline bool ends_in_segments(std::string_view text, std::string_view end) noexcept {
    return text.size() > end.size() && text.ends_with(end) && text[text.size() - end.size() - 1] == '.';
}

/// A key that ends in `.wanted`, or that `wanted` ends in, is nearest; then those within a third of the letters.
[[nodiscard]] inline std::vector<std::string_view> nearest(std::string_view wanted,
                                                           std::span<const std::string_view> keys) {
    constexpr std::size_t examined = 20'000; // a message is not worth more than some milliseconds
    std::vector<std::pair<std::uint32_t, std::string_view>> found;
    for (std::size_t i = 0; i < keys.size() && i < examined; ++i) {
        const std::string_view k = keys[i];
        if (ends_in_segments(k, wanted) || ends_in_segments(wanted, k)) found.emplace_back(0, k);
        else if (const std::uint32_t d = edit_distance(wanted, k);
                 d <= std::max<std::size_t>(wanted.size(), k.size()) / 3)
            found.emplace_back(d, k);
    }
    std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<std::string_view> out;
    for (std::size_t i = 0; i < found.size() && i < 3; ++i) out.push_back(found[i].second);
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
