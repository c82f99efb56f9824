// ckpt/tensor/impl/dequantize.ipp: the definitions of dequantize.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/tensor/dequantize.hpp>

#include <cstring>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE void load_integers(dtype type, const std::byte* in, std::size_t n, std::int32_t* out) noexcept {
    if (type == dtype::qint32) {
        std::memcpy(out, in, n * sizeof *out);
        return;
    }
    for (std::size_t i = 0; i < n; ++i) out[i] = quantised_integer(type, std::to_integer<std::uint8_t>(in[i]));
}

CKPT_DETAIL_RARE void dequantize(const dequantization& how, std::uint64_t first, const std::int32_t* in, std::size_t n,
                                 float* out) noexcept {
    if (how.scales == nullptr) {
        for (std::size_t i = 0; i < n; ++i) out[i] = dequantized(how, 0, in[i]);
        return;
    }
    channel_place place = channel_place::of(how, first);
    for (std::size_t i = 0; i < n; ++i, place.next(how)) out[i] = dequantized(how, place.channel, in[i]);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
