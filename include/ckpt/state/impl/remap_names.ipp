// ckpt/state/impl/remap_names.ipp: the definitions of remap_names.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/fill_value.hpp>
#include <ckpt/state/remap_names.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Whether DataParallel, torch.compile, FSDP or activation checkpointing puts this segment in.
[[nodiscard]] constexpr bool is_wrapper(std::string_view segment) noexcept {
    return segment == "module" || segment == "_orig_mod" || segment == "_fsdp_wrapped_module" ||
           segment == "_checkpoint_wrapped_module";
}

CKPT_DETAIL_DEF bool without_wrappers(std::string_view name, std::string& out) {
    bool found = false;
    for (std::size_t at = 0;;) {
        const std::size_t dot = name.find('.', at);
        if (dot == std::string_view::npos) {
            if (found) out.append(name.substr(at));
            return found;
        }
        const bool wrapper = is_wrapper(name.substr(at, dot - at));
        if (wrapper && !found) out.assign(name.substr(0, at));
        else if (!wrapper && found) out.append(name.substr(at, dot + 1 - at));
        found = found || wrapper;
        at = dot + 1;
    }
}

CKPT_DETAIL_DEF bool name_rules::offer(const map_rule& rule, std::uint32_t item) {
    const rule_code& code = rule.code;
    const std::string_view key = c_.r.items[item].name;
    switch (code.verb) {
    case rule_verb::strip:
        if (!key.starts_with(code.prefix)) return false;
        c_.rename(rule.number, item, key.substr(code.prefix.size()));
        return true;
    case rule_verb::strip_wrappers:
        if (!without_wrappers(key, c_.text)) return false;
        c_.rename(rule.number, item, c_.text);
        return true;
    case rule_verb::add:
        c_.text.assign(code.prefix).append(key);
        c_.rename(rule.number, item, c_.text);
        return true;
    default: break;
    }
    if (!c_.matches(rule.number, code.patterns.front(), item) || !c_.holds(rule, 0, item, c_.slots)) return false;
    if (code.verb == rule_verb::drop) c_.drop(rule.number, item);
    else if (c_.render(rule, 0, item, c_.slots)) c_.rename(rule.number, item, c_.text);
    return true;
}

CKPT_DETAIL_DEF void name_rules::run_group(const map_step& step) {
    // Rules about one key are found by the key.
    std::vector<std::pair<std::string, std::uint32_t>> literals;
    std::vector<std::uint32_t> others;
    const std::vector<map_rule>& rules = c_.r.rules.rules;
    for (std::uint32_t i = step.first; i < step.first + step.count; ++i) {
        const rule_code& code = rules[i].code;
        if (!code.patterns.empty() && code.patterns.front().literal)
            literals.push_back({code.patterns.front().literal_key(), i});
        else others.push_back(i);
    }
    sort_values(literals);
    for (std::uint32_t item = c_.keys.first(); item != 0; item = c_.keys.after(item)) {
        const std::string_view key = c_.r.items[item].name;
        auto literal = std::lower_bound(literals.begin(), literals.end(), key,
                                        [](const auto& a, std::string_view k) { return a.first < k; });
        auto other = others.begin();
        while (true) {
            const bool has_literal = literal != literals.end() && literal->first == key;
            if (!has_literal && other == others.end()) break;
            const bool takes_other = !has_literal || (other != others.end() && *other < literal->second);
            const std::uint32_t next = takes_other ? *other++ : (literal++)->second;
            if (!offer(rules[next], item)) continue;
            c_.mark_used(rules[next]);
            break;
        }
    }
}

CKPT_DETAIL_DEF void name_rules::run_simple(const map_rule& rule) {
    const bool has_pattern = rule.code.verb == rule_verb::rename || rule.code.verb == rule_verb::drop;
    if (has_pattern && rule.code.patterns.front().literal) {
        const std::uint32_t item = c_.keys.find(rule.code.patterns.front().literal_key());
        if (item != 0 && offer(rule, item)) c_.mark_used(rule);
        return;
    }
    for (std::uint32_t item = c_.keys.first(); item != 0; item = c_.keys.after(item))
        if (offer(rule, item)) c_.mark_used(rule);
}

CKPT_DETAIL_DEF void name_rules::run_keep(const map_rule& rule) {
    for (std::uint32_t item = c_.keys.first(); item != 0; item = c_.keys.after(item)) {
        bool kept = false;
        for (std::size_t i = 0; i < rule.code.patterns.size() && !kept; ++i) {
            if (!c_.matches(rule.number, rule.code.patterns[i], item)) continue;
            c_.mark_used(rule);
            kept = c_.holds(rule, i, item, c_.slots);
        }
        if (!kept) c_.drop(rule.number, item);
    }
}

CKPT_DETAIL_DEF void name_rules::run_copy(const map_rule& rule) {
    c_.each_chosen(rule, [&](std::uint32_t item) {
        if (c_.render(rule, 0, item, c_.slots) && c_.text != c_.r.items[item].name) c_.add_name(rule.number, item);
    });
}

CKPT_DETAIL_DEF void name_rules::run_tie(const map_rule& rule) {
    c_.each_chosen(rule, [&](std::uint32_t item) { tie(rule, item); });
}

CKPT_DETAIL_DEF bool name_rules::tie(const map_rule& rule, std::uint32_t item) {
    if (!c_.render(rule, 0, item, c_.slots)) return false;
    if (c_.text == c_.r.items[item].name) return true;
    const std::uint32_t there = c_.keys.find(c_.text);
    if (there == 0) {
        c_.add_name(rule.number, item);
        return true;
    }
    const std::uint32_t a = c_.r.items[there].node;
    const std::uint32_t b = c_.r.items[item].node;
    if (c_.plan.same_view(a, b)) return true;
    const gather_node& x = c_.plan.node(a);
    const gather_node& y = c_.plan.node(b);
    if (x.type != y.type || x.rank != y.rank || !std::equal(x.shape, x.shape + x.rank, y.shape))
        return c_.fail_at(
            rule.number, item,
            str_cat("it is tied to ", quoted(c_.text), ", which is ", describe(x), ", but it is ", describe(y)));
    if (!c_.usable(rule.number, item) || !c_.usable(rule.number, there)) return false;
    if (!c_.in_proportion(rule.number, item, b, true) || !c_.in_proportion(rule.number, there, a, true)) return false;
    c_.r.equalities.push_back({a, b, rule.number});
    return true;
}

CKPT_DETAIL_DEF void name_rules::run_fill(const map_rule& rule) {
    c_.mark_used(rule);
    const rule_code& code = rule.code;
    const std::string key = code.patterns.front().literal_key();
    if (c_.keys.find(key) != 0) return;
    std::array<std::byte, 16> value{};
    const char* why = "the shape overflows";
    if (remap_context::fits(code.numbers, code.type)) why = encode_value(code.filling, code.type, value);
    if (why != nullptr) {
        c_.fail(rule.number, why);
        return;
    }
    const std::uint32_t node = c_.plan.fill(code.type, code.numbers, value);
    if (std::string much = c_.take_filled(bytes_of(code.type, c_.plan.node(node).numel)); !much.empty()) {
        c_.fail(rule.number, std::move(much));
        return;
    }
    const std::uint32_t out = c_.new_item(c_.keep_name(key), node, rule.number);
    if (out != 0) c_.change(rule.number, {}, {&out, 1}, false);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
