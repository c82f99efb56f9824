// ckpt/state/remap_names.hpp: rules about names: strip, add, rename, drop, keep, copy, tie, fill, and groups.
//
// SPDX-License-Identifier: MIT
// In:      a rule or a group, and the keys that stand there.
// Out:     changes of the step; for ties of different tensors an equality that is checked when the plan is carried out.
// Refuses: names that no key can have; ties of tensors that cannot be equal; fills that do not fit their dtype.
#pragma once

#include <ckpt/state/key_map_data.hpp>
#include <ckpt/state/remap_context.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Sets `out` to a name without the segments that wrappers put in. False where there are none; `out` is then as it was.
[[nodiscard]] bool without_wrappers(std::string_view name, std::string& out);

class name_rules {
  public:
    explicit name_rules(remap_context& context) : c_{context} {}

    /// Each key takes the first rule of a group that matches it.
    void run_group(const map_step& step);
    /// strip, add, rename and drop.
    void run_simple(const map_rule& rule);
    void run_keep(const map_rule& rule);
    void run_copy(const map_rule& rule);
    void run_tie(const map_rule& rule);
    void run_fill(const map_rule& rule);

  private:
    /// Offers one key to one rule of the kinds that a group takes; whether the rule took it.
    bool offer(const map_rule& rule, std::uint32_t item);
    bool tie(const map_rule& rule, std::uint32_t item);

    remap_context& c_;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/remap_names.ipp>
#endif
