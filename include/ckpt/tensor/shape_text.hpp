// ckpt/tensor/shape_text.hpp: shapes and other lists of numbers as text.
//
// SPDX-License-Identifier: MIT
// In:      numbers: of a shape, strides, the corner of a box.
// Out:     "[2, 3]".
// Refuses: nothing.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

struct shape_style {
    char open{'['};
    char close{']'};
    std::size_t most{~std::size_t{0}}; ///< the number of numbers that are shown
    bool counts_rest{true};            ///< how the others are shown: ", +3 more", or ", ..."
    std::string_view negative{};       ///< the text for negative numbers; empty: the number itself
};

/// Shapes in reports of loads, where -1 means any size.
inline constexpr shape_style sizes_style{.most = 16, .counts_rest = false, .negative = "any"};

/// "[2, 3]"; "[]" for no numbers.
[[nodiscard]] std::string shape_text(std::span<const std::int64_t> numbers, const shape_style& style = {});

/// The same for errors: shows at most 8 numbers.
[[nodiscard]] std::string list_of(std::span<const std::int64_t> numbers);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/shape_text.ipp>
#endif
