// ckpt/state/remap_planner.hpp: runs a key_map over the keys of a state_dict.
//
// SPDX-License-Identifier: MIT
// In:      the keys, dtypes and shapes of a state_dict, and a map.
// Out:     a record: every key that ever stood there, what it was made from by which rule, and the plan of the tensors.
// Refuses: what a rule cannot do with these keys, collecting all faults of a step before it stops. Reads no element.
//
// A step is a rule or a group. Its rules all see the keys as they stood before it; what they changed is carried out
// together at its end, and names that two tensors came to are settled then.
#pragma once

#include <ckpt/core/limits.hpp>
#include <ckpt/state/key_map_data.hpp>
#include <ckpt/state/remap_context.hpp>
#include <ckpt/state/remap_names.hpp>
#include <ckpt/state/remap_record.hpp>
#include <ckpt/state/remap_sets.hpp>
#include <ckpt/state/remap_tensors.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class remap_planner {
  public:
    explicit remap_planner(remap_record& record, const limits& budget = {}) : r_{record}, c_{record, budget} {}

    void run();

  private:
    /// Makes an item of each key of the source.
    void begin();
    /// Rules and groups in their order, until one fails.
    void run_steps();
    void run_rule(const map_rule& rule);
    /// Carries out the changes of a step.
    void apply(std::size_t first_change);
    /// Settles names that two items came to: two views of one tensor become one key, other items collide.
    void resolve(const std::vector<std::uint32_t>& conflicts);

    remap_record& r_;
    remap_context c_;
    name_rules names_{c_};
    tensor_rules tensors_{c_};
    set_rules sets_{c_};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/remap_planner.ipp>
#endif
