// ckpt/tensor/impl/dequantize.ipp: the definitions of dequantize.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/tensor/dequantize.hpp>

#include <algorithm>
#include <cstring>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF void load_integers(dtype type, const std::byte* in, std::size_t n, std::int32_t* out) noexcept {
    if (type == dtype::qint32) {
        std::memcpy(out, in, n * sizeof *out);
        return;
    }
    for (std::size_t i = 0; i < n; ++i) out[i] = quantised_integer(type, std::to_integer<std::uint8_t>(in[i]));
}

CKPT_DETAIL_DEF void dequantize(const dequantization& how, std::uint64_t first, const std::int32_t* in, std::size_t n,
                                float* out) noexcept {
    if (how.scales == nullptr) {
        for (std::size_t i = 0; i < n; ++i) out[i] = scaled(wrapped_difference(in[i], how.zero_point), how.scale);
        return;
    }
    channel_place place = channel_place::of(how, first);
    if (how.inner == 1) {
        for (std::size_t i = 0; i < n; ++i, place.next(how)) out[i] = dequantized(how, place.channel, in[i]);
        return;
    }
    for (std::size_t i = 0; i < n;) {
        const std::size_t end = i + static_cast<std::size_t>((std::min)(std::uint64_t{n - i}, how.inner - place.at));
        const double scale = how.scales[place.channel];
        const float zero_point = how.zero_points[place.channel];
        for (; i < end; ++i) out[i] = scaled(rounded_difference(in[i], zero_point), scale);
        place = channel_place::of(how, first + end);
    }
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
