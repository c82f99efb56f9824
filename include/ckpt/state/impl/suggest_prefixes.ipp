// ckpt/state/impl/suggest_prefixes.ipp: the definitions of suggest_prefixes.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sorting.hpp>
#include <ckpt/state/key_map.hpp>
#include <ckpt/state/remap_names.hpp>
#include <ckpt/state/rule_text.hpp>
#include <ckpt/state/suggest_prefixes.hpp>

#include <algorithm>
#include <cstdint>
#include <unordered_set>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF bool is_rule(std::string_view line) {
    return line.find('\n') == std::string_view::npos && key_map::parse(line).has_value();
}

[[nodiscard]] inline bool is_wrapped(std::string_view key) {
    std::string ignored;
    return without_wrappers(key, ignored);
}

[[nodiscard]] inline std::string line_of(std::string_view verb, std::string_view prefix) {
    std::string out(verb);
    append_rule_word(out, prefix);
    return out;
}

/// The three prefixes with the most votes, those first.
[[nodiscard]] inline std::vector<std::string> best_of(const std::unordered_map<std::string, std::size_t>& votes) {
    std::vector<std::pair<std::size_t, std::string>> all;
    for (const auto& [prefix, n] : votes) all.emplace_back(n, prefix);
    sort_values(
        all, [](const auto& a, const auto& b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
    if (all.size() > 3) all.resize(3);
    std::vector<std::string> out;
    for (auto& [n, prefix] : all) out.push_back(std::move(prefix));
    return out;
}

CKPT_DETAIL_DEF std::string prefix_finder::prefix_rule::apply(std::string_view name) const {
    if (std::string out; wrappers && without_wrappers(name, out)) return out;
    if (!add.empty()) return add + std::string(name);
    return std::string(name.starts_with(strip) ? name.substr(strip.size()) : name);
}

CKPT_DETAIL_DEF void prefix_finder::run() {
    constexpr int most_rules = 4;
    for (int i = 0; i < most_rules; ++i)
        if (!find_one()) return;
}

CKPT_DETAIL_DEF prefix_finder::votes prefix_finder::vote_to_strip() const {
    votes out;
    for (const family_key& s : to_.sources) {
        if (to_.is_target(s.name, s.shape)) continue;
        for (std::size_t dot = s.name.find('.'); dot != std::string::npos; dot = s.name.find('.', dot + 1))
            if (to_.is_target(std::string_view(s.name).substr(dot + 1), s.shape)) ++out[s.name.substr(0, dot + 1)];
    }
    return out;
}

CKPT_DETAIL_DEF prefix_finder::votes prefix_finder::vote_to_add() const {
    std::unordered_map<std::string_view, std::uint32_t> source_of;
    for (std::uint32_t i = 0; i < to_.sources.size(); ++i) source_of.emplace(to_.sources[i].name, i);
    votes out;
    for (const family_key& t : to_.targets) {
        if (source_of.contains(t.name)) continue;
        for (std::size_t dot = t.name.find('.'); dot != std::string::npos; dot = t.name.find('.', dot + 1))
            if (const auto s = source_of.find(std::string_view(t.name).substr(dot + 1));
                s != source_of.end() && shapes_agree(to_.sources[s->second].shape, t.shape))
                ++out[t.name.substr(0, dot + 1)];
    }
    return out;
}

CKPT_DETAIL_DEF std::vector<prefix_finder::prefix_rule> prefix_finder::candidates() {
    matched_ = 0;
    wrapped_ = 0;
    targets_wrapped_ = false;
    for (const family_key& s : to_.sources) {
        wrapped_ += is_wrapped(s.name) ? 1u : 0u;
        matched_ += to_.is_target(s.name, s.shape) ? 1u : 0u;
    }
    for (const family_key& t : to_.targets) targets_wrapped_ = targets_wrapped_ || is_wrapped(t.name);
    std::vector<prefix_rule> out;
    if (wrapped_ > 0) out.push_back({"strip wrappers", {}, {}, true});
    for (std::string& p : best_of(vote_to_strip())) out.push_back({line_of("strip ", p), p, {}, false});
    for (std::string& p : best_of(vote_to_add())) out.push_back({line_of("add ", p), {}, p, false});
    return out;
}

CKPT_DETAIL_DEF bool prefix_finder::find_one() {
    constexpr auto collides = std::size_t(-1);
    constexpr std::size_t many = 8;
    const std::vector<prefix_rule> rules = candidates();
    const prefix_rule* best = nullptr;
    std::size_t most = 0;
    for (const prefix_rule& rule : rules) {
        if (!is_rule(rule.line)) continue;
        std::size_t changed = 0;
        const std::size_t got = matches_after(rule, changed);
        if (got == collides || (best != nullptr && got <= most)) continue;
        // Most of what it changes must be matched by it, or a quarter where that is much. Wrappers never mean
        // anything, so that they also go where names differ otherwise.
        const std::size_t more = got > matched_ ? got - matched_ : 0;
        const bool helps = more > 0 && more * 4 >= changed * (more < many ? 3 : 1);
        const bool harmless =
            rule.wrappers && !targets_wrapped_ && wrapped_ * 2 > to_.sources.size() && got >= matched_;
        if (!helps && !harmless) continue;
        best = &rule;
        most = got;
    }
    if (best == nullptr || (!best->strip.empty() && has_rival(*best))) return false;
    to_.prefixes.push_back(best->line);
    for (family_key& s : to_.sources) s.name = best->apply(s.name);
    return true;
}

CKPT_DETAIL_DEF bool prefix_finder::has_rival(const prefix_rule& rule) const {
    std::unordered_set<std::string_view> made;
    for (const family_key& s : to_.sources)
        if (s.name.starts_with(rule.strip) && to_.is_target(s.name.substr(rule.strip.size()), s.shape))
            made.insert(std::string_view(s.name).substr(rule.strip.size()));
    for (const family_key& s : to_.sources) {
        const std::string_view name = s.name;
        if (name.starts_with(rule.strip)) continue;
        for (std::size_t dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.', dot + 1))
            if (made.contains(name.substr(dot + 1)) && to_.is_target(name.substr(dot + 1), s.shape)) return true;
    }
    return false;
}

CKPT_DETAIL_DEF std::size_t prefix_finder::matches_after(const prefix_rule& rule, std::size_t& changed) const {
    std::unordered_set<std::string> names;
    std::size_t out = 0;
    for (const family_key& s : to_.sources) {
        std::string name = rule.apply(s.name);
        out += to_.is_target(name, s.shape) ? 1u : 0u;
        changed += name != s.name ? 1u : 0u;
        if (!names.insert(std::move(name)).second) return std::size_t(-1);
    }
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
