// ckpt/state/lora_update.hpp: one low-rank update as a node of a gather plan.
//
// SPDX-License-Identifier: MIT
// In:      a tensor of a base, A and B, and their scale.
// Out:     base + scale * B * A in the dtype of the base; nothing is computed before it is read.
// Refuses: a scale that nobody gave; shapes that do not fit; dtypes that cannot be computed with.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/state/gather.hpp>
#include <ckpt/state/state_dict.hpp>

#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI {

struct lora_options;
struct lora_pair;

} // namespace ckpt::inline CKPT_DETAIL_ABI

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The factor of B * A.
[[nodiscard]] result<double> lora_scale(const state_dict& adapter, const lora_pair& pair, const lora_options& options);

/// The node of base + scale * B * A, in the base's dtype; an error where the shapes do not fit.
[[nodiscard]] result<std::uint32_t> lora_node(gather_plan& plan, std::uint32_t base, std::uint32_t a, std::uint32_t b,
                                              const lora_pair& pair, double scale, bool fan_in_fan_out);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/lora_update.ipp>
#endif
