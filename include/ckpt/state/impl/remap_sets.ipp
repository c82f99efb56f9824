// ckpt/state/impl/remap_sets.ipp: the definitions of remap_sets.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/core/short_list.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/remap_sets.hpp>
#include <ckpt/state/remap_tensors.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// What `count` captures are bound to, as one text; the number that a stack counts is left out.
[[nodiscard]] inline std::string set_name(const std::vector<binding_value>& slots, std::size_t count,
                                          std::int32_t without) {
    std::string out;
    for (std::size_t i = 0; i < count; ++i) {
        if (static_cast<std::int32_t>(i) == without) continue;
        out += decimal(std::uint64_t{slots[i].text.size()});
        out += ':';
        out += slots[i].text;
    }
    return out;
}

/// The key that part `number` of a set would have, for messages.
[[nodiscard]] inline std::string spell(const pattern_code& code, const std::vector<binding_value>& slots,
                                       std::int32_t counter, std::int64_t number) {
    std::string out;
    for (const pattern_element& e : code.elements) {
        if (e.kind == pattern_part::literal) out += e.text;
        else if (e.kind == pattern_part::end) out += '.';
        else if (e.slot >= 0 && e.slot == counter) out += decimal(number);
        else if (e.slot >= 0) out += slots[static_cast<std::size_t>(e.slot)].text;
        else out += e.kind == pattern_part::many ? "**" : "*";
        if (e.kind == pattern_part::many && !out.empty() && out.back() != '.') out += '.';
    }
    if (!out.empty() && out.back() == '.') out.pop_back();
    return out;
}

CKPT_DETAIL_DEF std::vector<set_rules::part_set> set_rules::collect(const map_rule& rule) {
    const rule_code& code = rule.code;
    const std::size_t captures = code.patterns.front().captures.size();
    struct found {
        std::string name{};
        std::int64_t number{0};
        std::uint32_t item{0};
        std::vector<binding_value> slots{};
    };
    std::vector<found> all;
    for (std::size_t p = 0; p < code.patterns.size(); ++p)
        c_.each_match(rule, code.patterns[p], [&](std::uint32_t item) {
            const std::int64_t number = code.counter >= 0 ? c_.slots[static_cast<std::size_t>(code.counter)].number
                                                          : static_cast<std::int64_t>(p);
            all.push_back({set_name(c_.slots, captures, code.counter),
                           number,
                           item,
                           {c_.slots.begin(), c_.slots.begin() + static_cast<std::ptrdiff_t>(captures)}});
        });
    sort_values(
        all, [](const found& a, const found& b) { return a.name != b.name ? a.name < b.name : a.number < b.number; });
    std::vector<part_set> sets;
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (i == 0 || all[i].name != all[i - 1].name) {
            sets.push_back({});
            sets.back().slots = all[i].slots;
        }
        sets.back().parts.push_back({all[i].number, all[i].item});
        if (all[i].number == 0) sets.back().first_slots = all[i].slots;
    }
    if (sets.size() < 2) return sets;
    const std::vector<std::uint32_t> place = c_.keys.places();
    sort_values(sets, [&](const part_set& a, const part_set& b) { return place[a.head()] < place[b.head()]; });
    return sets;
}

CKPT_DETAIL_DEF bool set_rules::complete(const map_rule& rule, const part_set& set) {
    const rule_code& code = rule.code;
    const bool is_stack = code.counter >= 0;
    for (std::size_t i = 1; i < set.parts.size(); ++i)
        if (set.parts[i].first == set.parts[i - 1].first)
            return c_.fail(rule.number,
                           str_cat("two keys are the same part: ", quoted(c_.r.items[set.parts[i - 1].second].name),
                                   " and ", quoted(c_.r.items[set.parts[i].second].name)));
    const bool has_first = set.parts.front().first == 0;
    if (has_first && !c_.holds(rule, 0, set.head(), set.first_slots)) return false;
    const std::size_t wanted = is_stack ? static_cast<std::size_t>(set.parts.back().first) + 1 : code.patterns.size();
    const std::size_t count = wanted - set.parts.size();
    if (count == 0) return true;
    std::string missing;
    short_list list{missing, {.most = 3, .before_rest = " and "}};
    const std::size_t shown = count < 3 ? count : 3;
    std::size_t at = 0;
    std::size_t named = 0;
    for (std::int64_t number = 0; named < shown; ++number) {
        if (at < set.parts.size() && set.parts[at].first == number) {
            ++at;
            continue;
        }
        ++named;
        const pattern_code& pattern = code.patterns[is_stack ? 0 : static_cast<std::size_t>(number)];
        if (list.next()) missing += quoted(spell(pattern, set.slots, code.counter, number));
    }
    list.skip(count - shown);
    list.end();
    return c_.fail(rule.number,
                   str_cat("the set of ", quoted(c_.r.items[set.head()].name), " is incomplete; missing: ", missing));
}

CKPT_DETAIL_DEF bool set_rules::agree(const map_rule& rule, const part_set& set, std::optional<std::uint32_t> but) {
    const gather_node& first = c_.r.node_of(set.head());
    for (const auto& [number, item] : set.parts) {
        if (!c_.usable(rule.number, item)) return false;
        const gather_node& node = c_.r.node_of(item);
        bool same = node.type == first.type && node.rank == first.rank;
        for (std::uint32_t i = 0; same && i < node.rank; ++i) same = i == but || node.shape[i] == first.shape[i];
        if (!same)
            return c_.fail(rule.number,
                           str_cat("the parts do not fit together: ", quoted(c_.r.items[set.head()].name), " is ",
                                   describe(first), ", ", quoted(c_.r.items[item].name), " is ", describe(node)));
    }
    return true;
}

CKPT_DETAIL_DEF bool set_rules::each_key_once(const map_rule& rule, const std::vector<part_set>& sets) {
    std::vector<std::pair<std::uint32_t, std::int64_t>> seen;
    for (const part_set& set : sets)
        for (const auto& [number, item] : set.parts) seen.push_back({item, number});
    sort_values(seen);
    for (std::size_t i = 1; i < seen.size(); ++i) {
        if (seen[i].first != seen[i - 1].first) continue;
        const auto word = [&](std::size_t k) {
            return quoted(rule.code.words[static_cast<std::size_t>(seen[k].second)].text);
        };
        return c_.fail_at(rule.number, seen[i].first,
                          str_cat("the key matches two patterns: ", word(i - 1), " and ", word(i)));
    }
    return true;
}

CKPT_DETAIL_DEF void set_rules::run_merge(const map_rule& rule) {
    const std::vector<part_set> sets = collect(rule);
    if (!each_key_once(rule, sets)) return;
    for (const part_set& set : sets) merge(rule, set);
}

CKPT_DETAIL_DEF bool set_rules::merge(const map_rule& rule, const part_set& set) {
    std::uint32_t d{};
    if (!complete(rule, set) || !c_.usable(rule.number, set.head()) ||
        !c_.dimension(rule.number, set.head(), rule.code.numbers[0], 0, d) || !agree(rule, set, d))
        return false;
    c_.mark_used(rule);
    std::vector<std::uint32_t> nodes;
    std::vector<std::int64_t> shape = c_.shape_of(c_.r.items[set.head()].node);
    shape[d] = 0;
    bool sized = true;
    for (const auto& [number, item] : set.parts) {
        nodes.push_back(c_.r.items[item].node);
        const std::int64_t more = c_.r.node_of(item).shape[d];
        sized = sized && more <= INT64_MAX - shape[d];
        if (sized) shape[d] += more;
    }
    if (!sized || !remap_context::fits(shape, c_.plan.node(nodes[0]).type))
        return c_.fail_at(rule.number, set.head(), "the merged shape overflows");
    std::uint32_t node{};
    if (rule.code.layout == qkv_layout::none) node = c_.plan.concat(nodes, d);
    else if (!merge_qkv(rule, set.head(), d, nodes, shape, node)) return false;
    return finish(rule, set, node, d);
}

CKPT_DETAIL_DEF bool set_rules::merge_qkv(const map_rule& rule, std::uint32_t head_item, std::uint32_t d,
                                          std::vector<std::uint32_t>& nodes, const std::vector<std::int64_t>& whole,
                                          std::uint32_t& out) {
    const std::int64_t counts[]{rule.code.heads, rule.code.kv_heads, rule.code.kv_heads};
    const std::int64_t head = c_.plan.node(nodes[0]).shape[d] / counts[0];
    for (std::size_t i = 0; i < 3; ++i) {
        const std::int64_t size = c_.plan.node(nodes[i]).shape[d];
        if (size % counts[i] != 0 || size / counts[i] != head)
            return c_.fail_at(rule.number, head_item,
                              str_cat("the sizes of q, k and v in dimension ", d,
                                      " are not heads, kv_heads and kv_heads times one head size"));
    }
    if (rule.code.layout == qkv_layout::concat) {
        out = c_.plan.concat(nodes, d);
        return true;
    }
    if (whole.size() + 2 > 64) return c_.fail_at(rule.number, head_item, "the tensor has too many dimensions");
    const std::int64_t groups = rule.code.kv_heads;
    for (std::size_t i = 0; i < 3; ++i)
        nodes[i] = c_.plan.reshape(nodes[i], unfolded(c_.shape_of(nodes[i]), d, groups, counts[i] / groups, head));
    out = c_.plan.reshape(c_.plan.concat(nodes, d + 1), whole);
    return true;
}

CKPT_DETAIL_DEF void set_rules::run_stack(const map_rule& rule) {
    for (const part_set& set : collect(rule)) stack(rule, set);
}

CKPT_DETAIL_DEF bool set_rules::stack(const map_rule& rule, const part_set& set) {
    std::uint32_t d{};
    if (!complete(rule, set) || !c_.usable(rule.number, set.head()) ||
        !c_.dimension(rule.number, set.head(), rule.code.numbers[0], 1, d) || !agree(rule, set, std::nullopt))
        return false;
    c_.mark_used(rule);
    std::vector<std::int64_t> shape = c_.shape_of(c_.r.items[set.head()].node);
    shape.insert(shape.begin() + d, 1);
    std::vector<std::int64_t> whole = shape;
    whole[d] = static_cast<std::int64_t>(set.parts.size());
    if (!remap_context::fits(whole, c_.r.node_of(set.head()).type))
        return c_.fail_at(rule.number, set.head(), "the stacked shape overflows");
    std::vector<std::uint32_t> nodes;
    for (const auto& [number, item] : set.parts) nodes.push_back(c_.plan.reshape(c_.r.items[item].node, shape));
    return finish(rule, set, c_.plan.concat(nodes, d), d);
}

CKPT_DETAIL_DEF bool set_rules::finish(const map_rule& rule, const part_set& set, std::uint32_t node, std::uint32_t d) {
    if (!c_.in_proportion(rule.number, set.head(), node) || !c_.render(rule, 0, set.head(), set.first_slots))
        return false;
    std::vector<std::uint32_t> inputs;
    for (const auto& [number, item] : set.parts) inputs.push_back(item);
    const std::uint32_t out = c_.new_item(c_.keep_name(c_.text), node, rule.number);
    if (out != 0) c_.change(rule.number, inputs, {&out, 1}, true, d);
    return true;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
