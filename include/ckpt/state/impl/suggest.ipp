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

inline constexpr family_grain grains[]{family_grain::modules, family_grain::digits, family_grain::segments,
                                       family_grain::literal};

/// Links by names for which there is as much evidence; whether there were any.
inline bool match_by_name(suggestion& of, name_evidence least) {
    const std::size_t before = of.links.size();
    for (const family_grain grain : grains) {
        for (const bool merges : {true, false}) fused_matcher{of, grain, merges}.run(least);
        family_matcher{of, grain}.match_by_name(least);
    }
    return of.links.size() > before;
}

/// Links by names. What is sure tells what its neighbours are, so the surest comes first, and again after the rest.
inline void match_by_name(suggestion& of) {
    constexpr int most_rounds = 24;
    name_evidence least = name_evidence::same;
    for (int round = 0; round < most_rounds && least != name_evidence::best; ++round)
        least = match_by_name(of, least) ? name_evidence::same : name_evidence(int(least) + 1);
    (void)match_by_name(of, name_evidence::best);
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
    detail::suggestion found = detail::begin_suggestion(weights, wanted);
    detail::prefix_finder{found}.run();
    found.find_structure();
    found.match_equal();
    detail::match_by_name(found);
    for (const detail::family_grain grain : detail::grains) detail::family_matcher{found, grain}.match_by_position();
    detail::give_up_impossible(found);
    found.match_doubtful();
    found.doubt_squares();
    found.doubt_torn_modules();
    found.doubt_rivals();
    return detail::suggestion_writer{weights, found}.run();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
