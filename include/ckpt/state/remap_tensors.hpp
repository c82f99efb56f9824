// ckpt/state/remap_tensors.hpp: rules about one tensor: split, unstack, and those that give it another shape or dtype.
//
// SPDX-License-Identifier: MIT
// In:      a rule, and the keys that it matches.
// Out:     nodes of the plan, and the items and changes of the step.
// Refuses: dimensions that are not there, sizes that do not fit, casts that lose what the values mean.
#pragma once

#include <ckpt/state/key_map_data.hpp>
#include <ckpt/state/remap_context.hpp>

#include <cstdint>
#include <span>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// A shape whose dimension `d` is taken apart into three.
[[nodiscard]] std::vector<std::int64_t> unfolded(std::vector<std::int64_t> shape, std::uint32_t d, std::int64_t a,
                                                 std::int64_t b, std::int64_t c);

class tensor_rules {
  public:
    explicit tensor_rules(remap_context& context) : c_{context} {}

    void run_split(const map_rule& rule);
    void run_unstack(const map_rule& rule);
    /// transpose, permute, reshape, squeeze, unsqueeze, narrow, pad and cast.
    void run_transform(const map_rule& rule);

  private:
    bool split(const map_rule& rule, std::uint32_t item);
    /// Appends the parts along dimension `d`: of equal sizes, or of those that the rule gives.
    bool split_evenly(const map_rule& rule, std::uint32_t item, std::uint32_t d, std::vector<std::uint32_t>& parts);
    /// Appends queries, keys and values, which stand in dimension `d` as the rule's layout says.
    bool split_qkv(const map_rule& rule, std::uint32_t item, std::uint32_t d, std::vector<std::uint32_t>& parts);
    bool unstack(const map_rule& rule, std::uint32_t item);

    // Each sets `node` to the tensor that the rule makes of the one of `item`, and `d` to the dimension that it is
    // about.
    bool transform(const map_rule& rule, std::uint32_t item, std::uint32_t& node, std::uint32_t& d);
    bool transpose(const map_rule& rule, std::uint32_t item, std::uint32_t& node, std::uint32_t& d);
    bool permute(const map_rule& rule, std::uint32_t item, std::uint32_t& node, std::uint32_t& d);
    bool reshape(const map_rule& rule, std::uint32_t item, std::uint32_t& node);
    bool squeeze(const map_rule& rule, std::uint32_t item, std::uint32_t& node, std::uint32_t& d);
    bool unsqueeze(const map_rule& rule, std::uint32_t item, std::uint32_t& node, std::uint32_t& d);
    bool narrow(const map_rule& rule, std::uint32_t item, std::uint32_t& node, std::uint32_t& d);
    bool pad(const map_rule& rule, std::uint32_t item, std::uint32_t& node, std::uint32_t& d);
    bool cast(const map_rule& rule, std::uint32_t item, std::uint32_t& node);

    remap_context& c_;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/remap_tensors.ipp>
#endif
