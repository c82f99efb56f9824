// ckpt/state/impl/name_matcher.ipp: the definitions of name_matcher.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sorting.hpp>
#include <ckpt/state/name_matcher.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF name_matcher::name_matcher(const suggestion& of, const std::vector<key_family>& s,
                                           const std::vector<key_family>& t)
    : of_{of},
      s_{s},
      t_{t},
      worth_{worth_of_words(s, t, of.words)},
      common_s_{of.source_structure.common(of.words)},
      common_t_{of.target_structure.common(of.words)},
      s_done_(s.size(), 0),
      t_done_(t.size(), 0),
      last_s_{last_block(s, true)},
      last_t_{last_block(t, false)} {}

CKPT_DETAIL_DEF std::uint64_t name_matcher::last_block(const std::vector<key_family>& all, bool source) const {
    std::uint64_t out = 0;
    for (const key_family& f : all) {
        if (f.block == 0 || f.block == out || of_.knows_block(f.block, source)) continue;
        if (out != 0) return 0;
        out = f.block;
    }
    return out;
}

CKPT_DETAIL_DEF void name_matcher::add(std::uint32_t s, std::uint32_t t, float score) {
    constexpr std::size_t most_candidates = 2'000'000;
    if (open_.size() < most_candidates) open_.push_back({s, t, score, words_conflict(s_[s], t_[t])});
    else complete_ = false;
}

CKPT_DETAIL_DEF void name_matcher::choice::offer(float to_score, std::uint32_t to_which) noexcept {
    if (to_score > score) {
        next = score;
        score = to_score;
        which = to_which;
    } else if (to_score > next) {
        next = to_score;
    }
}

CKPT_DETAIL_DEF void name_matcher::sort_candidates() {
    sort_values(open_, [](const candidate& a, const candidate& b) { return a.s != b.s ? a.s < b.s : a.t < b.t; });
    drop_done();
}

CKPT_DETAIL_DEF void name_matcher::drop_done() {
    std::size_t kept = 0;
    for (const candidate& c : open_)
        if (s_done_[c.s] == 0 && t_done_[c.t] == 0) open_[kept++] = c;
    open_.shrink(kept);
    const auto starts = [this](plain_list<std::uint32_t>& out, std::size_t count, const auto& of) {
        out.clear();
        for (std::uint32_t i = 0; i < open_.size(); ++i)
            while (out.size() <= of(i)) out.push_back(i);
        while (out.size() <= count) out.push_back(static_cast<std::uint32_t>(open_.size()));
    };
    by_t_.clear();
    for (std::uint32_t i = 0; i < open_.size(); ++i) by_t_.push_back(i);
    sort_values(by_t_, [this](std::uint32_t a, std::uint32_t b) { return open_[a].t < open_[b].t; });
    starts(first_s_, s_.size(), [this](std::uint32_t i) { return open_[i].s; });
    starts(first_t_, t_.size(), [this](std::uint32_t i) { return open_[by_t_[i]].t; });
}

CKPT_DETAIL_DEF void name_matcher::match(name_evidence least, const taker& take) {
    sort_candidates();
    least == name_evidence::best ? match_likely(take) : match_sure(least, take);
}

CKPT_DETAIL_DEF void name_matcher::match_sure(name_evidence least, const taker& take) {
    constexpr int most_rounds = 24;
    if (!complete_) return; // a pair that was left out may be the right one
    for (int round = 0; round < most_rounds && !open_.empty(); ++round) {
        bool any = false;
        const plain_list<choice> best_s = best(true);
        const plain_list<choice> best_t = best(false);
        for (const candidate& c : open_) {
            if (best_s[c.s].which != c.t || best_t[c.t].which != c.s || !is_sure(c, least)) continue;
            s_done_[c.s] = t_done_[c.t] = 1;
            take(c.s, c.t, surety::named);
            any = true;
        }
        if (!any) return;
        drop_done();
    }
}

CKPT_DETAIL_DEF bool name_matcher::is_sure(const candidate& c, name_evidence least) const {
    const key_family& s = s_[c.s];
    const key_family& t = t_[c.t];
    // Not sure: a bias against a tensor whose meaning is unknown, or against one whose module has no weight.
    if ((s.leaf > 1 || t.leaf > 1) && (s.leaf != t.leaf || (s.beside == 0) != (t.beside == 0))) return false;
    if (c.conflict || s.indices != t.indices || of_.contradicts(s, t)) return false;
    bool nearer = false;
    for (std::uint32_t i = first_s_[c.s]; i < first_s_[c.s + 1]; ++i)
        if (open_[i].t != c.t && t_done_[open_[i].t] == 0 && !excluded(c, open_[i], true, nearer)) return false;
    for (std::uint32_t i = first_t_[c.t]; i < first_t_[c.t + 1]; ++i)
        if (const candidate& other = open_[by_t_[i]];
            other.s != c.s && s_done_[other.s] == 0 && !excluded(c, other, false, nearer))
            return false;
    constexpr float alike = 0.45F;
    const float neighbours = of_.neighbours(s, t);
    if (neighbours >= 1 && s.leaf != 0 && s.leaf == t.leaf) return true; // the weight of a module, and its bias
    const bool other_ends = words_beyond(s.ends, t, common_s_) != 0 && words_beyond(t.ends, s, common_t_) != 0;
    if (other_ends && neighbours < 0.5F) return false;
    const std::size_t s_beyond = words_beyond(s.words, t, common_s_);
    const std::size_t t_beyond = words_beyond(t.words, s, common_t_);
    const bool in_blocks = s.block != 0 && t.block != 0; // which do not contradict each other
    const bool known_block =
        neighbours > 0 || (in_blocks && (of_.knows_block(s.block, true) || (s.block == last_s_ && t.block == last_t_)));
    if (least == name_evidence::same && s_beyond + t_beyond > 0 && neighbours == 0) return false;
    if (nearer) return neighbours > 0 || c.score >= alike;
    if (least != name_evidence::alone || (s_beyond != 0 && t_beyond != 0) || s_beyond + t_beyond > 2) return false;
    return c.score >= alike && (known_block || (!decides(s, t) && !decides(t, s)));
}

CKPT_DETAIL_DEF bool name_matcher::decides(const key_family& a, const key_family& b) const {
    for (const std::uint32_t w : a.words)
        if (word_table::decides(w) && !has_word(b.words, w)) return true;
    return false;
}

CKPT_DETAIL_DEF bool name_matcher::excluded(const candidate& nearest, const candidate& rival, bool same_s,
                                            bool& nearer) const {
    if (rival.conflict || s_[rival.s].indices != t_[rival.t].indices || of_.contradicts(s_[rival.s], t_[rival.t]))
        return true;
    const float mine = of_.neighbours(s_[nearest.s], t_[nearest.t]);
    const float theirs = of_.neighbours(s_[rival.s], t_[rival.t]);
    if (theirs > mine && theirs >= 0.5F) return false;
    const nearness more = same_s ? compare(s_[nearest.s], t_[nearest.t], t_[rival.t])
                                 : compare(t_[nearest.t], s_[nearest.s], s_[rival.s]);
    const bool same_ends = words_beyond(s_[nearest.s].ends, t_[nearest.t], common_s_) == 0 &&
                           words_beyond(t_[nearest.t].ends, s_[nearest.s], common_t_) == 0;
    nearer = nearer || more == nearness::by_words || (more == nearness::by_numbers && same_ends);
    return more != nearness::none || (mine > theirs && mine >= 0.5F);
}

CKPT_DETAIL_DEF name_matcher::nearness name_matcher::compare(const key_family& of, const key_family& nearest,
                                                             const key_family& farther) const {
    nearness out = nearness::none;
    for (const std::uint32_t w : of.words) {
        if (word_table::is_generic(w)) continue;
        const bool in_near = has_word(nearest.words, w);
        const bool in_far = has_word(farther.words, w);
        if (!in_near && in_far) return nearness::none;
        if (in_near && !in_far && out != nearness::by_words)
            out = of_.words.is_number(w) ? nearness::by_numbers : nearness::by_words;
    }
    return out;
}

CKPT_DETAIL_DEF void name_matcher::match_likely(const taker& take) {
    // What one round takes raises the scores of its neighbours in the next. Where no pair is good enough, less is
    // asked.
    constexpr float least[]{0.6F, 0.45F, 0.3F};
    std::size_t asked = 0;
    constexpr int most_rounds = 24;
    for (int round = 0; round < most_rounds && !open_.empty(); ++round) {
        if (take_best(least[asked], take)) drop_done();
        else if (++asked == 3) return;
    }
}

CKPT_DETAIL_DEF plain_list<name_matcher::choice> name_matcher::best(bool by_s) const {
    plain_list<choice> out;
    for (std::size_t i = 0; i < (by_s ? s_.size() : t_.size()); ++i) out.push_back({});
    for (const candidate& c : open_) {
        const float score = c.score + of_.neighbours(s_[c.s], t_[c.t]) - (c.conflict ? 0.5F : 0.0F);
        out[by_s ? c.s : c.t].offer(score, by_s ? c.t : c.s);
    }
    return out;
}

CKPT_DETAIL_DEF bool name_matcher::take_best(float least, const taker& take) {
    constexpr float margin = 0.02F;
    const plain_list<choice> best_s = best(true);
    const plain_list<choice> best_t = best(false);
    bool any = false;
    for (std::uint32_t a = 0; a < s_.size(); ++a) {
        const choice& mine = best_s[a];
        if (mine.which == nothing || best_t[mine.which].which != a || mine.score < least) continue;
        const choice& theirs = best_t[mine.which];
        if (mine.next > mine.score - margin || theirs.next > theirs.score - margin) continue;
        s_done_[a] = t_done_[mine.which] = 1;
        take(a, mine.which, surety::guess);
        any = true;
    }
    return any;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
