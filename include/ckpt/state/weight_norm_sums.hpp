// ckpt/state/weight_norm_sums.hpp: norms, summed in the order in which torch's kernels sum.
//
// SPDX-License-Identifier: MIT
// In:      a node of a gather plan, its dimension of weight normalisation, its lengths g.
// Out:     the factor of each slice: g / norm, rounded where torch rounds.
// Refuses: what reading refuses; to go on, where the progress callback says so.
//
// From torch 2.13: aten/src/ATen/native/WeightNorm.cpp, cpu/WeightNormKernel.cpp, cpu/ReduceOpsKernel.cpp and
// cpu/vec/functional_base.h. Each sum is rounded as written there, whatever the compiler may do with sums.
#pragma once

#include <ckpt/core/plain_list.hpp>
#include <ckpt/core/progress_meter.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/state/gather.hpp>
#include <ckpt/tensor/access.hpp>
#include <ckpt/tensor/dtype.hpp>

#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// One norm for all of v, in place of one for each slice.
inline constexpr std::uint32_t all_dimensions = ~std::uint32_t{0};

/// The factors of the slices of `v` along `dimension`, or the one of all of it. `g` has as many elements. Both are of
/// one floating type.
[[nodiscard]] result<plain_list<double>> weight_norm_factors(gather_plan& plan, std::uint32_t v, std::uint32_t g,
                                                             std::uint32_t dimension, storage_readers& readers,
                                                             progress_meter& meter);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/weight_norm_sums.ipp>
#endif
