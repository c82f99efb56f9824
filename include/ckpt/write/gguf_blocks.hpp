// ckpt/write/gguf_blocks.hpp: blocks of quantised values.
//
// SPDX-License-Identifier: MIT
// In:      32 floats.
// Out:     a float16 and 32 integers that it scales, bit for bit as gguf/quants.py makes them on x86.
// Refuses: nothing. All that is rounded is rounded by integers, so that -ffast-math and fused additions change nothing.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

inline constexpr std::size_t block_values = 32;
inline constexpr std::size_t q8_0_bytes = 2 + block_values;
inline constexpr std::size_t q4_0_bytes = 2 + block_values / 2;

/// Values of -127 to 127, in the order of the block. Where the scale is too small for its inverse, infinite or NaN, all
/// are 0.
void quantise_q8_0(std::span<const float, block_values> values, std::byte* out) noexcept;
/// Values of -8 to 7, stored with 8 added; a byte has one of the first half of the block in its low bits, and one of
/// the second half. The value that is farthest from zero becomes -8.
void quantise_q4_0(std::span<const float, block_values> values, std::byte* out) noexcept;

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/write/impl/gguf_blocks.ipp>
#endif
