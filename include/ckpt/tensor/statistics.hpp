// ckpt/tensor/statistics.hpp: what the values of a tensor are like.
//
// SPDX-License-Identifier: MIT
// In:      a strided tensor of any dtype that has numbers.
// Out:     smallest and largest value, mean, standard deviation, zeros, NaN, infinities, a histogram.
// Refuses: tensors without values or numbers, and values that are far more than the storage: an expanded tensor may
//          have any shape.
//
// Values are read once, in pieces of a bounded size, and counted as float64. The mean and the squared distances from it
// are summed for each 4,096 values in two loops, and then joined by the formula of Chan, Golub and LeVeque, so that a
// large mean costs no digits of the deviation.
#pragma once

#include <ckpt/core/progress.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// How many values lie where: bin i counts those in [(first + i) * width, (first + i + 1) * width). The width is a
/// power of two; there are at most 128 bins. Empty without finite values.
struct value_histogram {
    std::int64_t first{};
    double width{};
    std::vector<std::uint64_t> counts{};
};

/// What the values of one tensor, or of several, are like. Bools count as 0 and 1, quantised values as the numbers that
/// they stand for, complex ones by their absolute values. `min`, `max`, `mean`, the deviation and the histogram are of
/// the finite values, and 0 without any.
struct value_statistics {
    std::uint64_t count{}; ///< all values
    std::uint64_t zeros{}; ///< positive and negative ones
    std::uint64_t nans{};
    std::uint64_t infinities{};
    double min{};
    double max{};
    std::uint64_t min_bits{}; ///< of one int64 or uint64 tensor: the number in two's complement, which `min` rounds
    std::uint64_t max_bits{}; ///< the same for `max`
    double mean{};
    double squares{}; ///< the sum of the squared distances from the mean
    value_histogram histogram{};

    /// Values that are neither NaN nor infinite.
    [[nodiscard]] std::uint64_t finite() const noexcept { return count - nans - infinities; }
    /// The standard deviation of the population, as numpy.std and torch.std(correction=0) have it: the square root of
    /// `squares / finite()`.
    [[nodiscard]] double deviation() const noexcept;
    /// Adds what is known of other values: these are then the statistics of both.
    void add(const value_statistics& other);
};

/// Reads all values of a tensor once. Fails as `tensor::crc32` does, and with `conversion` where the bytes have no
/// numbers (bits8, float4_e2m1fn_x2); with `cancelled` where `progress`, which gets the bytes of the tensor, stops it.
[[nodiscard]] result<value_statistics> statistics(const tensor& of, const progress_callback& progress = {});

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/statistics.ipp>
#endif
