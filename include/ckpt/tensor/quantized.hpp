// ckpt/tensor/quantized.hpp: the numbers that a quantised tensor stands for.
//
// SPDX-License-Identifier: MIT
// In:      a quantised tensor, per tensor or per channel, packed ones too.
// Out:     float32 values, bit for bit what torch's dequantize() gives on x86-64.
// Refuses: tensors that are not quantised; packed ones whose values do not lie one after another.
#pragma once

#include <ckpt/tensor/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

/// The integers of `n` elements as they are stored, one after another.
void load_integers(ckpt::dtype type, const std::byte* in, std::size_t n, std::int32_t* out) noexcept;

/// Turns integers into numbers, in row-major order.
class dequantizer {
  public:
    [[nodiscard]] static result<dequantizer> make(const tensor_data& data, const storage_source* source);

    /// The next `n` elements. The arithmetic is torch's: per tensor, integers are subtracted; per channel, float32
    /// numbers, whose product is taken in float64, and with floating parameters in float32.
    void next(const std::int32_t* in, std::size_t n, float* out) noexcept;

  private:
    qscheme scheme_{};
    float scale_{};
    std::uint32_t zero_point_{};
    std::vector<double> scales_{};
    std::vector<float> zeros_{};
    std::uint64_t inner_{1}; // elements for each index of the axis
    std::uint64_t at_{0};
    std::size_t channel_{0};
};

[[nodiscard]] result<void> copy_dequantized(const tensor_data* handle, const storage_source* source,
                                            std::span<float> out);

} // namespace detail

/// Copies the numbers that a quantised tensor stands for, in row-major order; `out` has `numel()` elements. The stored
/// integers are what `bytes`, `view` and `copy_to` give (packed ones: `copy_as` with std::uint8_t). Fails with
/// `dtype_mismatch` for a tensor that is not quantised.
[[nodiscard]] inline result<void> copy_dequantized(const tensor& from, std::span<float> out) {
    return detail::copy_dequantized(detail::tensor_access::data(from), detail::tensor_access::source(from), out);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/quantized.ipp>
#endif
