// ckpt/state/nearest.hpp: the keys that somebody probably meant.
//
// SPDX-License-Identifier: MIT
// In:      a key that does not exist, and those that do.
// Out:     up to three, nearest first; none where nothing is near.
// Refuses: nothing. Work is bounded: long keys are compared by their ends, and many keys by samples of a common end.
#pragma once

#include <ckpt/core/config.hpp>
#include <ckpt/core/edit_distance.hpp>

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Whether the last segments of `text` are `end`, and there are more.
[[nodiscard]] inline bool ends_in_segments(std::string_view text, std::string_view end) noexcept {
    return text.size() > end.size() && text.ends_with(end) && text[text.size() - end.size() - 1] == '.';
}

/// A key that ends in `.wanted`, or that `wanted` ends in, is nearest; then those within a third of the letters.
[[nodiscard]] std::vector<std::string_view> nearest(std::string_view wanted, std::span<const std::string_view> keys);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/nearest.ipp>
#endif
