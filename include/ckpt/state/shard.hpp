// ckpt/state/shard.hpp: one rank's equal part of a state_dict, as tensor parallelism cuts it.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict, which of its tensors are cut along which dimension, a rank and a number of ranks.
// Out:     a state_dict of the same keys whose cut tensors are views of the rank's part: nothing is read, and what is
//          read of them later is that part.
// Refuses: dimensions that a tensor does not have, sizes that the ranks do not divide, rules that match no key.
#pragma once

#include <ckpt/core/pattern.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/state/state_dict.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// The tensors that match `keys` are cut along `dimension`, counted from 0.
struct shard_rule {
    pattern keys;
    std::size_t dimension{0};
};

/// Rank `rank` of `world`, counted from 0: each tensor that a rule matches is cut into `world` equal parts along its
/// dimension; of several rules the first counts. Tensors without a rule stay whole. The result shares the weights'
/// file. Fails with `slice_invalid`, and with a tensor's own error where one that shall be cut was refused.
[[nodiscard]] result<state_dict> shard(const state_dict& weights, std::span<const shard_rule> rules, std::uint32_t rank,
                                       std::uint32_t world);

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/shard.ipp>
#endif
