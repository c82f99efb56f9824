// ckpt/state/impl/remap_planner.ipp: the definitions of remap_planner.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/remap_planner.hpp>

#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF void remap_planner::run() {
    begin();
    run_steps();
    r_.changes.shrink_to_fit();
    r_.links.shrink_to_fit();
}

CKPT_DETAIL_DEF void remap_planner::run_steps() {
    r_.used.assign(r_.rules.rules.size(), 0);
    for (const map_step& step : r_.rules.steps) {
        const std::size_t first_change = r_.changes.size();
        if (step.group) names_.run_group(step);
        else run_rule(r_.rules.rules[step.first]);
        if (r_.errors.empty()) apply(first_change);
        r_.step_ends.push_back(static_cast<std::uint32_t>(r_.changes.size()));
        if (!r_.errors.empty() || !r_.collisions.empty()) return;
    }
}

CKPT_DETAIL_DEF void remap_planner::begin() {
    const auto& data = *state_dict_access::data(r_.weights);
    c_.plan.expect(data.entries.size());
    r_.items.push_back(r_.names, {});
    for (const auto& e : data.entries) {
        const std::uint32_t node = c_.plan.add_leaf(e.data, data.source);
        r_.items.push_back(r_.names, {.name = e.key, .node = node});
    }
    c_.keys.enter_all();
}

CKPT_DETAIL_DEF void remap_planner::run_rule(const map_rule& rule) {
    switch (rule.code.verb) {
    case rule_verb::strip:
    case rule_verb::strip_wrappers:
    case rule_verb::add:
    case rule_verb::rename:
    case rule_verb::drop: return names_.run_simple(rule);
    case rule_verb::keep: return names_.run_keep(rule);
    case rule_verb::copy: return names_.run_copy(rule);
    case rule_verb::tie: return names_.run_tie(rule);
    case rule_verb::fill: return names_.run_fill(rule);
    case rule_verb::split: return tensors_.run_split(rule);
    case rule_verb::unstack: return tensors_.run_unstack(rule);
    case rule_verb::merge: return sets_.run_merge(rule);
    case rule_verb::stack: return sets_.run_stack(rule);
    default: return tensors_.run_transform(rule);
    }
}

CKPT_DETAIL_DEF void remap_planner::apply(std::size_t first_change) {
    const std::span<const remap_change> changes = std::span<const remap_change>{r_.changes}.subspan(first_change);
    for (const remap_change& c : changes)
        if (c.removes)
            for (const std::uint32_t i : r_.inputs(c)) c_.keys.erase(i);
    for (const std::uint32_t i : c_.dropped_items) {
        c_.keys.erase(i);
        c_.keys.unlink(i);
    }
    c_.dropped_items.clear();
    // New items stand where their first input stood; what is made of nothing stands last.
    for (const remap_change& c : changes) {
        std::uint32_t after = c.inputs.empty() ? c_.keys.last() : r_.inputs(c)[0];
        for (const std::uint32_t out : r_.outputs(c)) {
            c_.keys.link_after(out, after);
            after = out;
        }
    }
    for (const remap_change& c : changes)
        if (c.removes)
            for (const std::uint32_t i : r_.inputs(c)) c_.keys.unlink(i);
    std::vector<std::uint32_t> conflicts; // items whose name another one has
    for (const remap_change& c : changes)
        for (const std::uint32_t out : r_.outputs(c))
            if (c_.keys.insert(out) != 0) conflicts.push_back(out);
    if (!conflicts.empty()) resolve(conflicts);
}

CKPT_DETAIL_DEF void remap_planner::resolve(const std::vector<std::uint32_t>& conflicts) {
    const std::vector<std::uint32_t> place = c_.keys.places();
    std::vector<std::uint32_t> collision_of(r_.items.size(), 0); // by item that holds a name, 1 + its collision
    for (const std::uint32_t added : conflicts) {
        // Asked each time: another item may have taken the name when the conflict before was settled.
        const std::uint32_t holder = c_.keys.find(r_.items[added].name);
        std::uint32_t& collision = collision_of[holder];
        if (collision == 0 && c_.plan.same_view(r_.items[holder].node, r_.items[added].node)) {
            const bool earlier = place[added] < place[holder];
            if (earlier) {
                c_.keys.erase(holder);
                (void)c_.keys.insert(added);
            }
            c_.keys.unlink(earlier ? holder : added);
            if (earlier) r_.aliased.push_back({added, holder});
            else r_.aliased.push_back({holder, added});
            continue;
        }
        if (collision == 0) {
            r_.collisions.push_back({r_.items[holder].name, {holder}});
            collision = static_cast<std::uint32_t>(r_.collisions.size());
        }
        r_.collisions[collision - 1].items.push_back(added);
    }
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
