// ckpt/tensor/impl/shape_text.ipp: the definitions of shape_text.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/tensor/shape_text.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE std::string shape_text(std::span<const std::int64_t> numbers, const shape_style& style) {
    std::string out(1, style.open);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        if (i > 0) out += ", ";
        if (i == style.most) {
            if (style.counts_rest) ((out += '+') += decimal(std::uint64_t{numbers.size() - i})) += " more";
            else out += "...";
            break;
        }
        if (numbers[i] < 0 && !style.negative.empty()) out += style.negative;
        else out += decimal(numbers[i]);
    }
    return out + style.close;
}

CKPT_DETAIL_DEF std::string list_of(std::span<const std::int64_t> numbers) { return shape_text(numbers, {.most = 8}); }

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
