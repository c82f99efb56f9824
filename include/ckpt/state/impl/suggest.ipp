// ckpt/state/impl/suggest.ipp: the definitions of suggest.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/suggest.hpp>
#include <ckpt/state/suggest_families.hpp>
#include <ckpt/state/suggest_fused.hpp>
#include <ckpt/state/suggest_lines.hpp>
#include <ckpt/state/suggest_prefixes.hpp>
#include <ckpt/state/suggest_text.hpp>
#include <ckpt/state/suggestion.hpp>

#include <string_view>
#include <unordered_set>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The keys of both sides, nothing matched yet.
[[nodiscard]] inline suggestion begin_suggestion(const state_dict& weights, std::span<const wanted_tensor> wanted) {
    suggestion out;
    for (const auto entry : weights) {
        family_key& key = out.sources.emplace_back();
        key.name = entry.key;
        if (entry.tensor.refusal() == nullptr)
            key.shape.emplace(entry.tensor.shape().begin(), entry.tensor.shape().end());
    }
    for (const wanted_tensor& w : wanted) out.targets.push_back({.name = w.key, .shape = w.shape});
    for (std::uint32_t i = 0; i < out.targets.size(); ++i) out.target_of.emplace(out.targets[i].name, i);
    return out;
}

/// Gives up links that no rule can spell, and such as lead to a name that another key keeps. What is given up keeps its
/// name, which may be in the way of others, so that it takes several rounds.
inline void give_up_impossible(suggestion& of) {
    constexpr int most_rounds = 16;
    int round = 0;
    for (bool again = true; again; ++round) {
        again = false;
        std::unordered_set<std::string_view> kept;
        for (const family_key& s : of.sources)
            if (!s.matched || round >= most_rounds) kept.insert(s.name);
        std::erase_if(of.links, [&](const family_link& l) {
            bool impossible = round == 0 && !is_rule(rule_of(l));
            for (const auto& part : l.targets)
                for (const std::uint32_t t : part) impossible = impossible || kept.contains(of.targets[t].name);
            if (!impossible) return false;
            for (const auto& part : l.sources)
                for (const std::uint32_t s : part) of.sources[s].matched = false;
            for (const auto& part : l.targets)
                for (const std::uint32_t t : part) of.targets[t].matched = false;
            again = true;
            return true;
        });
    }
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF rule_suggestion suggest_rules(const state_dict& weights, std::span<const wanted_tensor> wanted) {
    using detail::family_grain;
    constexpr family_grain grains[]{family_grain::digits, family_grain::segments, family_grain::literal};
    detail::suggestion found = detail::begin_suggestion(weights, wanted);
    detail::prefix_finder{found}.run();
    found.match_equal();
    for (const family_grain grain : grains)
        for (const bool merges : {true, false}) detail::fused_matcher{found, grain, merges}.run();
    for (const family_grain grain : grains) detail::family_matcher{found, grain}.match_by_name();
    for (const family_grain grain : grains) detail::family_matcher{found, grain}.match_by_position();
    detail::give_up_impossible(found);
    return detail::suggestion_writer{weights, found}.run();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
