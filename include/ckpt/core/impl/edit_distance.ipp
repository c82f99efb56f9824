// ckpt/core/impl/edit_distance.ipp: the definitions of edit_distance.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/edit_distance.hpp>

#include <algorithm>
#include <array>

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

CKPT_DETAIL_RARE bool nearest_name::offer(std::string_view name) {
    constexpr std::size_t examined = 20'000; // a message is not worth more than some milliseconds
    if (offered_++ == examined) return false;
    const std::size_t distance = edit_distance(wanted_, name);
    const std::size_t letters = (std::min)((std::max)(wanted_.size(), name.size()), compared_bytes);
    if (distance < distance_ && distance <= letters / 2) {
        distance_ = distance;
        best_ = name;
    }
    return true;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
