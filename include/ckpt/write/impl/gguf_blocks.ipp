// ckpt/write/impl/gguf_blocks.ipp: the definitions of gguf_blocks.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/tensor/convert.hpp>
#include <ckpt/tensor/half.hpp>
#include <ckpt/write/gguf_blocks.hpp>

#include <bit>
#include <cstdint>
#include <cstring>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// What the values of a block are multiplied with.
struct block_scale {
    static constexpr std::uint32_t infinity = 0x7F80'0000u;

    float value{};    ///< what a step is worth
    float inverse{};  ///< its inverse; 0 where the scale is 0
    bool is_usable{}; ///< whether the inverse is finite; integers of other blocks are 0
    bool is_tiny{};   ///< whether subnormal numbers may be steps, which some programs make the processor flush

    explicit block_scale(float scale) noexcept : value{scale} {
        const std::uint32_t magnitude = bit_cast<std::uint32_t>(scale) & 0x7FFF'FFFFu;
        is_usable = magnitude == 0;
        is_tiny = magnitude < power_of_two(-90);
        if (magnitude == 0 || magnitude >= infinity) return;
        inverse = to_float(1.0 / to_double(scale));
        is_usable = (bit_cast<std::uint32_t>(inverse) & 0x7FFF'FFFFu) < infinity;
    }
    void store(std::byte* out) const noexcept {
        const std::uint16_t bits = f16::from_float(value).bits;
        out[0] = static_cast<std::byte>(bits & 0xFFu);
        out[1] = static_cast<std::byte>(bits >> 8);
    }
};

/// Products are whole multiples of 2^-43 here: all 24 bits of a float from 2^-20 up. Smaller ones round as 0 does.
inline constexpr int fraction_bits = 43;
inline constexpr std::int64_t one_step = std::int64_t{1} << fraction_bits;

/// x * scale.inverse, rounded to a float. At most 128 in magnitude: no value is farther from zero than that which made
/// the scale.
inline std::int64_t scaled(float x, const block_scale& scale) noexcept {
    // A double holds the product of two floats exactly.
    const float product = scale.is_tiny ? to_float(to_double(x) * to_double(scale.inverse)) : x * scale.inverse;
    const std::uint32_t bits = bit_cast<std::uint32_t>(product);
    constexpr int least = 127 + 23 - fraction_bits;
    const int exponent = static_cast<int>((bits >> 23) & 0xFFu);
    if (exponent < least) return 0;
    const auto magnitude = static_cast<std::int64_t>(static_cast<std::uint64_t>((bits & 0x007F'FFFFu) | 0x0080'0000u)
                                                     << static_cast<unsigned>(exponent - least));
    const std::int64_t sign = -static_cast<std::int64_t>(bits >> 31); // all ones, or 0
    return (magnitude ^ sign) - sign;
}

/// The bits of a float without its sign.
inline std::uint32_t magnitude_of(float x) noexcept { return bit_cast<std::uint32_t>(x) & 0x7FFF'FFFFu; }
/// A NaN as arithmetic hands it on.
inline float quieted(float x) noexcept { return bit_cast<float>(bit_cast<std::uint32_t>(x) | 0x0040'0000u); }

CKPT_DETAIL_DEF void quantise_q8_0(std::span<const float, block_values> values, std::byte* out) noexcept {
    std::uint32_t most = 0;
    for (const float x : values) most = magnitude_of(x) > most ? magnitude_of(x) : most;
    const float largest = bit_cast<float>(most > block_scale::infinity ? 0x7FC0'0000u : most); // one NaN for all
    const block_scale scale{most < block_scale::infinity ? to_float(to_double(largest) / 127.0) : largest};
    scale.store(out);
    for (std::size_t i = 0; i < block_values; ++i) {
        const std::int64_t x = scale.is_usable ? scaled(values[i], scale) : 0;
        const std::int64_t sign = x >> 63; // all ones, or 0
        const std::int64_t magnitude = (((x ^ sign) - sign) + one_step / 2) >> fraction_bits;
        out[2 + i] = static_cast<std::byte>((magnitude ^ sign) - sign);
    }
}

/// The value plus 8, where it is a multiple of the scale.
inline std::uint8_t nibble(float x, const block_scale& scale) noexcept {
    const auto sum = static_cast<std::uint64_t>(scaled(x, scale) + 8 * one_step + one_step / 2);
    // The sum of floats has 24 bits: one that is at most half a step of them below an integer becomes that integer.
    const auto rest = static_cast<unsigned>(std::bit_width(sum)) - 24;
    const std::uint64_t whole = (sum + (std::uint64_t{1} << (rest - 1))) >> fraction_bits;
    return static_cast<std::uint8_t>(whole < 15 ? whole : 15);
}

CKPT_DETAIL_DEF void quantise_q4_0(std::span<const float, block_values> values, std::byte* out) noexcept {
    float farthest = values[0]; // the first of them; a NaN before all others
    for (const float x : values)
        if (magnitude_of(x) > magnitude_of(farthest) && magnitude_of(farthest) <= block_scale::infinity) farthest = x;
    const std::uint32_t most = magnitude_of(farthest);
    const bool negative = bit_cast<std::uint32_t>(farthest) != most;
    const float eighth = bit_cast<float>(
        bit_cast<std::uint32_t>(most < block_scale::infinity ? to_float(to_double(bit_cast<float>(most)) * 0.125)
                                                             : bit_cast<float>(most)) |
        (negative ? 0u : 0x8000'0000u));
    const block_scale scale{most > block_scale::infinity ? quieted(farthest) : eighth};
    scale.store(out);
    std::uint8_t nibbles[block_values]{};
    for (std::size_t i = 0; i < block_values; ++i) {
        if (scale.is_usable) nibbles[i] = nibble(values[i], scale);
        else if (most == block_scale::infinity && magnitude_of(values[i]) != most) nibbles[i] = 8; // 0 times the value
    }
    for (std::size_t i = 0; i < block_values / 2; ++i)
        out[2 + i] = static_cast<std::byte>(nibbles[i] | (nibbles[i + block_values / 2] << 4));
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
