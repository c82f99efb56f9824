// ckpt/state/impl/suggest_families.ipp: the definitions of suggest_families.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/suggest_families.hpp>

#include <algorithm>
#include <unordered_set>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF family_matcher::family_matcher(suggestion& to, family_grain grain) : to_{to}, grain_{grain} {
    for (const std::vector<family_key>* keys : {&to_.targets, &to_.sources})
        for (const family_key& k : *keys) shapes_known_ = shapes_known_ && (k.matched || k.shape.has_value());
    s_ = families_of(to_.sources, grain, shapes_known_, to_.words);
    t_ = families_of(to_.targets, grain, shapes_known_, to_.words);
    if (s_.empty() || t_.empty()) return;
    worth_ = worth_of_words(s_, t_, to_.words);
    for (std::uint32_t i = 0; i < s_.size(); ++i) buckets_[s_[i].fingerprint].first.push_back(i);
    for (std::uint32_t i = 0; i < t_.size(); ++i)
        if (const auto b = buckets_.find(t_[i].fingerprint); b != buckets_.end()) b->second.second.push_back(i);
    s_done_.assign(s_.size(), 0);
    t_done_.assign(t_.size(), 0);
}

CKPT_DETAIL_DEF void family_matcher::take(std::uint32_t s, std::uint32_t t, surety sure) {
    s_done_[s] = 1;
    t_done_[t] = 1;
    for (std::size_t d = 0; d < 3; ++d) to_.modules.insert(suggestion::pair_hash(s_[s].stems[d], t_[t].stems[d]));
    to_.add_link(link_kind::rename, sure, grain_, {&s_[s]}, {&t_[t]});
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
            for (std::size_t i = 0; i < a.size(); ++i) fit = fit && to_.fit(s_[a[i]], t_[b[i]]);
            if (!fit) continue;
            for (std::size_t i = 0; i < a.size(); ++i)
                take(a[i], b[i], a.size() == 1 ? surety::alone : surety::position);
        }
    }
}

CKPT_DETAIL_DEF void family_matcher::match_by_name() {
    std::vector<candidate> open = candidates();
    // What one round takes raises the scores of its neighbours in the next. Where no pair is good enough, less is
    // asked.
    constexpr float least[]{0.6F, 0.45F, 0.3F};
    std::size_t asked = 0;
    constexpr int most_rounds = 24;
    for (int round = 0; round < most_rounds && !open.empty(); ++round) {
        if (take_best(open, least[asked]))
            std::erase_if(open, [this](const candidate& c) { return s_done_[c.s] != 0 || t_done_[c.t] != 0; });
        else if (++asked == 3) return;
    }
}

CKPT_DETAIL_DEF std::vector<family_matcher::candidate> family_matcher::candidates() const {
    std::vector<candidate> out;
    for (const auto& [fingerprint, b] : buckets_) add_candidates(b, out);
    std::erase_if(out, [this](const candidate& c) { return !to_.fit(s_[c.s], t_[c.t]); });
    std::sort(out.begin(), out.end(),
              [](const candidate& a, const candidate& b) { return a.s != b.s ? a.s < b.s : a.t < b.t; });
    return out;
}

CKPT_DETAIL_DEF void family_matcher::add_candidate(std::uint32_t s, std::uint32_t t,
                                                   std::vector<candidate>& out) const {
    constexpr std::size_t most_candidates = 2'000'000;
    if (out.size() >= most_candidates || leaves_differ(s_[s], t_[t])) return;
    const float half = s_[s].leaf != t_[t].leaf ? 0.7F : 1.0F; // where the meaning of one last word is not known
    out.push_back({s, t, half * similarity(s_[s], t_[t], worth_)});
}

CKPT_DETAIL_DEF void family_matcher::add_candidates(const bucket& of, std::vector<candidate>& out) const {
    constexpr std::size_t most_pairs = 20'000; // of a bucket that is compared in full
    constexpr std::size_t most_of_word = 24;
    const auto& [left, right] = of;
    if (left.size() * right.size() <= most_pairs) {
        for (const std::uint32_t a : left)
            for (const std::uint32_t b : right) add_candidate(a, b, out);
        return;
    }
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
        std::sort(sharing.begin(), sharing.end());
        sharing.erase(std::unique(sharing.begin(), sharing.end()), sharing.end());
        for (const std::uint32_t b : sharing) add_candidate(a, b, out);
    }
}

CKPT_DETAIL_DEF void family_matcher::choice::offer(float to_score, std::uint32_t to_which) noexcept {
    if (to_score > score) {
        next = score;
        score = to_score;
        which = to_which;
    } else if (to_score > next) {
        next = to_score;
    }
}

CKPT_DETAIL_DEF bool family_matcher::take_best(const std::vector<candidate>& open, float least) {
    constexpr float margin = 0.02F;
    constexpr float sure_score = 0.45F;
    std::vector<choice> best_s(s_.size());
    std::vector<choice> best_t(t_.size());
    for (const candidate& c : open) {
        const float score = c.score + to_.neighbours(s_[c.s], t_[c.t]);
        best_s[c.s].offer(score, c.t);
        best_t[c.t].offer(score, c.s);
    }
    bool any = false;
    for (std::uint32_t a = 0; a < s_.size(); ++a) {
        const choice& mine = best_s[a];
        if (mine.which == nothing || best_t[mine.which].which != a || mine.score < least) continue;
        const choice& theirs = best_t[mine.which];
        if (mine.next > mine.score - margin || theirs.next > theirs.score - margin) continue;
        take(a, mine.which, mine.score < sure_score ? surety::guess : surety::named);
        any = true;
    }
    return any;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
