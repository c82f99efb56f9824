// ckpt/state/shard.hpp: the part of a state_dict for one rank of tensor parallelism.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict, rules for the dimension along which tensors are split, a rank and the number of ranks.
// Out:     a state_dict with the same keys, where split tensors are views of the rank's part; nothing is read.
// Refuses: dimensions that a tensor does not have, sizes that the ranks do not divide, rules that match no key.
#pragma once

#include <ckpt/core/pattern.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/state/state_dict.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// Tensors whose keys match `keys` are split along `dimension`, counted from 0.
struct shard_rule {
    pattern keys;
    std::size_t dimension{0};
};

/// The part of rank `rank` (counted from 0) of `world` ranks. Each tensor that a rule matches is split into `world`
/// equal parts along the rule's dimension; of several rules the first one counts. Tensors without a rule stay whole.
/// The result shares ownership of the file. Fails with `slice_invalid` for a dimension that a tensor does not have, a
/// size that is not a multiple of `world`, or a rule that matches no key; with a tensor's own error where one to split
/// was refused.
[[nodiscard]] result<state_dict> shard(const state_dict& weights, std::span<const shard_rule> rules, std::uint32_t rank,
                                       std::uint32_t world);

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/shard.ipp>
#endif
