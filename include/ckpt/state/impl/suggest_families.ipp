// ckpt/state/impl/suggest_families.ipp: the definitions of suggest_families.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sorting.hpp>
#include <ckpt/state/suggest_families.hpp>

#include <algorithm>
#include <unordered_set>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF family_matcher::family_matcher(suggestion& to, family_grain grain) : to_{to}, grain_{grain} {
    for (const std::vector<family_key>* keys : {&to_.targets, &to_.sources})
        for (const family_key& k : *keys) shapes_known_ = shapes_known_ && (k.matched || k.shape.has_value());
    s_ = families_of(to_.sources, grain, shapes_known_, to_.source_structure, to_.words);
    t_ = families_of(to_.targets, grain, shapes_known_, to_.target_structure, to_.words);
    for (std::uint32_t i = 0; i < s_.size(); ++i) buckets_[s_[i].fingerprint].first.push_back(i);
    for (std::uint32_t i = 0; i < t_.size(); ++i)
        if (const auto b = buckets_.find(t_[i].fingerprint); b != buckets_.end()) b->second.second.push_back(i);
}

CKPT_DETAIL_DEF void family_matcher::take(std::uint32_t s, std::uint32_t t, surety sure) {
    to_.add_neighbours(s_[s], t_[t]);
    to_.add_link(link_kind::rename, sure, grain_, {&s_[s]}, {&t_[t]});
    to_.links.back().turned = to_.fit(s_[s], t_[t]) == shape_fit::turned;
}

CKPT_DETAIL_DEF void family_matcher::match_by_position() {
    if (!shapes_known_ || t_.empty()) return; // positions mean nothing where shapes are not known
    std::unordered_set<std::uint64_t> seen;
    for (const key_family& first : s_) { // the buckets in the order of their first sources
        if (!seen.insert(first.fingerprint).second) continue;
        const auto& [left, right] = buckets_.find(first.fingerprint)->second;
        // What the last word means must agree, as far as it is known on both sides.
        for (std::uint32_t leaf = 0; leaf <= 5; ++leaf) {
            std::vector<std::uint32_t> a;
            std::vector<std::uint32_t> b;
            for (const std::uint32_t i : left)
                if (s_[i].leaf == leaf) a.push_back(i);
            for (const std::uint32_t i : right)
                if (t_[i].leaf == leaf) b.push_back(i);
            if (a.empty() || a.size() != b.size()) continue;
            bool fit = true;
            for (std::size_t i = 0; i < a.size(); ++i) fit = fit && to_.fit(s_[a[i]], t_[b[i]]) == shape_fit::equal;
            if (!fit) continue;
            for (std::size_t i = 0; i < a.size(); ++i)
                take(a[i], b[i], a.size() == 1 ? surety::alone : surety::position);
        }
    }
}

CKPT_DETAIL_DEF void family_matcher::match_by_name(name_evidence least) {
    if (s_.empty() || t_.empty()) return;
    name_matcher matcher{to_, s_, t_};
    for (const auto& [fingerprint, b] : buckets_) add_candidates(b, matcher);
    const auto taken = [this](std::uint32_t s, std::uint32_t t, surety sure) { take(s, t, sure); };
    matcher.match(least, taken);
}

CKPT_DETAIL_DEF void family_matcher::add_candidate(std::uint32_t s, std::uint32_t t, name_matcher& out) const {
    const key_family& a = s_[s];
    const key_family& b = t_[t];
    if (leaves_differ(a, b) || (a.beside > 3 && b.beside > 3 && a.beside != b.beside)) return;
    const shape_fit fits = to_.fit(a, b);
    if (fits == shape_fit::none) return;
    // Less where the meaning of one last word is not known, or one has to be transposed.
    const float part = (a.leaf != b.leaf ? 0.7F : 1.0F) * (fits == shape_fit::turned ? 0.9F : 1.0F);
    out.add(s, t, part * similarity(a, b, out.worth()));
}

CKPT_DETAIL_DEF void family_matcher::add_candidates(const bucket& of, name_matcher& out) const {
    constexpr std::size_t most_pairs = 20'000; // of a bucket that is compared in full
    constexpr std::size_t most_of_word = 24;
    const auto& [left, right] = of;
    if (left.size() * right.size() <= most_pairs) {
        for (const std::uint32_t a : left)
            for (const std::uint32_t b : right) add_candidate(a, b, out);
        return;
    }
    out.leave_out();
    std::unordered_map<std::uint32_t, std::vector<std::uint32_t>> of_word;
    for (const std::uint32_t b : right)
        for (const std::uint32_t w : t_[b].words) {
            std::vector<std::uint32_t>& all = of_word[w];
            if (all.size() <= most_of_word) all.push_back(b);
        }
    std::vector<std::uint32_t> sharing;
    for (const std::uint32_t a : left) {
        sharing.clear();
        for (const std::uint32_t w : s_[a].words)
            if (const auto all = of_word.find(w); all != of_word.end() && all->second.size() <= most_of_word)
                sharing.insert(sharing.end(), all->second.begin(), all->second.end());
        sort_values(sharing);
        sharing.erase(std::unique(sharing.begin(), sharing.end()), sharing.end());
        for (const std::uint32_t b : sharing) add_candidate(a, b, out);
    }
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
