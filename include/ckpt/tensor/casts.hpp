// ckpt/tensor/casts.hpp: conversions between float32 and smaller floats, and from float64, many elements at a time.
//
// SPDX-License-Identifier: MIT
// In:      contiguous elements at any alignment, in native byte order.
// Out:     the bits that the types of half.hpp and `to_float` give, for every input.
// Refuses: other pairs of types, and compilers without vectors: then nothing is written.
#pragma once

#include <ckpt/tensor/dtype.hpp>

#include <cstddef>
#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Which instructions convert.
enum class cast_level : std::uint8_t {
    none,  ///< those of the code for one element
    lanes, ///< vectors of 16 bytes, which every processor of an architecture with vectors has
    avx2,  ///< AVX2 and F16C
    avx512 ///< AVX-512 (F, BW, VL) beside these; in compiled mode
};
/// The best one that this processor has.
[[nodiscard]] cast_level best_cast_level() noexcept;

/// Converts the first elements of `n`, as many as fill whole vectors; the others are left to the caller. Returns how
/// many; 0 where it knows no such conversion.
std::uint64_t cast_many(cast_level level, dtype from, const std::byte* in, dtype to, std::byte* out,
                        std::uint64_t n) noexcept;

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/casts.ipp>
#endif
