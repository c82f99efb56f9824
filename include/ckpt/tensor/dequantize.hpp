// ckpt/tensor/dequantize.hpp: the arithmetic that makes numbers of quantised integers.
//
// SPDX-License-Identifier: MIT
// In:      integers of qint8, quint8 or qint32, or unpacked ones; one scale and zero point for all, or one for each
//          channel.
// Out:     float32 values, bit for bit what torch's dequantize() gives on x86-64; only the payload of a NaN may differ.
// Refuses: nothing. That the arrays have all channels was checked when the tensor was made.
//
// CUDA kernels call the same functions. A difference that is multiplied cannot become one fused operation, which
// multiplies first; what is done with the product are integer operations. Where torch multiplies float32 by float32,
// the product is made in float64, which holds it, and rounded once: that is the same.
#pragma once

#include <ckpt/core/config.hpp>
#include <ckpt/tensor/convert.hpp>
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/tensor/layout.hpp>

#include <cstddef>
#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// q - zero_point of float32, where subnormal floats may be flushed: only one that is taken from 0 matters.
[[nodiscard]] CKPT_DETAIL_HOST_DEVICE inline float unflushed_difference(std::int32_t q, float zero_point) noexcept {
    const std::uint32_t bits = bit_cast<std::uint32_t>(zero_point);
    const bool is_subnormal = (bits & 0x7F80'0000u) == 0 && (bits & 0x007F'FFFFu) != 0;
    if (q == 0 && is_subnormal) return bit_cast<float>(bits ^ 0x8000'0000u);
    return static_cast<float>(q) - zero_point;
}

/// The difference of float32. A device flushes subnormal ones where its program is compiled for fast math, never those
/// of float64; a host is spared the question.
[[nodiscard]] CKPT_DETAIL_HOST_DEVICE inline float rounded_difference(std::int32_t q, float zero_point) noexcept {
#if defined(__CUDA_ARCH__)
    return unflushed_difference(q, zero_point);
#else
    return static_cast<float>(q) - zero_point;
#endif
}

/// The difference of integers, which wraps.
[[nodiscard]] CKPT_DETAIL_HOST_DEVICE inline float wrapped_difference(std::int32_t q,
                                                                      std::int32_t zero_point) noexcept {
    return static_cast<float>(
        static_cast<std::int32_t>(static_cast<std::uint32_t>(q) - static_cast<std::uint32_t>(zero_point)));
}

/// float64 holds each product with a scale that is a float32.
[[nodiscard]] CKPT_DETAIL_HOST_DEVICE inline float scaled(float distance, double scale) noexcept {
#if defined(__CUDA_ARCH__)
    return to_float(to_double(distance) * scale);
#else
    return static_cast<float>(static_cast<double>(distance) * scale);
#endif
}

/// The number of the integer `q` of a channel, 0 where all elements have one scale: then the difference is of integers,
/// else of float32.
[[nodiscard]] CKPT_DETAIL_HOST_DEVICE inline float dequantized(const dequantization& how, std::uint64_t channel,
                                                               std::int32_t q) noexcept {
    const bool by_channel = how.scales != nullptr;
    return scaled(by_channel ? rounded_difference(q, how.zero_points[channel]) : wrapped_difference(q, how.zero_point),
                  by_channel ? how.scales[channel] : how.scale);
}

/// a / b, in 32 bits where both fit, which devices do several times faster.
[[nodiscard]] CKPT_DETAIL_HOST_DEVICE inline std::uint64_t divide(std::uint64_t a, std::uint64_t b) noexcept {
    if (((a | b) >> 32) == 0) return static_cast<std::uint32_t>(a) / static_cast<std::uint32_t>(b);
    return a / b;
}

/// The channel of an element, and from there those of the elements behind it, in row-major order.
struct channel_place {
    std::uint64_t channel{};
    std::uint64_t at{}; ///< how many elements of this index of the channels' dimension come before

    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE static channel_place of(const dequantization& how,
                                                                  std::uint64_t element) noexcept {
        const std::uint64_t index = divide(element, how.inner);
        return {index - divide(index, how.channels) * how.channels, element - index * how.inner};
    }
    CKPT_DETAIL_HOST_DEVICE void next(const dequantization& how) noexcept {
        if (++at < how.inner) return;
        at = 0;
        if (++channel == how.channels) channel = 0;
    }
};

/// The integer in the low bits of an element of qint8, quint8 or qint32.
[[nodiscard]] CKPT_DETAIL_HOST_DEVICE inline std::int32_t quantised_integer(dtype type, std::uint64_t bits) noexcept {
    switch (type) {
    case dtype::qint8: return static_cast<std::int8_t>(bits);
    case dtype::qint32: return static_cast<std::int32_t>(bits);
    default: return static_cast<std::uint8_t>(bits);
    }
}

/// Widens `n` elements of one of these types to 32 bits.
void load_integers(dtype type, const std::byte* in, std::size_t n, std::int32_t* out) noexcept;

/// Makes numbers of `n` integers, of which the first is element `first` of the tensor.
void dequantize(const dequantization& how, std::uint64_t first, const std::int32_t* in, std::size_t n,
                float* out) noexcept;

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/dequantize.ipp>
#endif
