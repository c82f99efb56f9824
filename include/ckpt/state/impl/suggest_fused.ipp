// ckpt/state/impl/suggest_fused.ipp: the definitions of suggest_fused.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sorting.hpp>
#include <ckpt/state/suggest_fused.hpp>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// A word for the query, and those for the key and the value that go with it.
struct query_word {
    std::string_view word{};
    std::array<std::string_view, 2> others{};
};

/// The word for the query that stands at `at`, not inside of another word: `q_proj`, `self.query`, `Wq`.
[[nodiscard]] inline std::optional<query_word> query_at(std::string_view pattern, std::size_t at) noexcept {
    constexpr query_word words[]{
        {"query", {"key", "value"}}, {"Query", {"Key", "Value"}}, {"q", {"k", "v"}}, {"Q", {"K", "V"}}};
    const auto letter = [&](std::size_t i) {
        return (pattern[i] >= 'a' && pattern[i] <= 'z') || (pattern[i] >= 'A' && pattern[i] <= 'Z');
    };
    for (const query_word& w : words) {
        const std::size_t end = at + w.word.size();
        if (!pattern.substr(at).starts_with(w.word) || (end < pattern.size() && letter(end))) continue;
        const bool behind_w = w.word.size() == 1 && at > 0 && (pattern[at - 1] == 'w' || pattern[at - 1] == 'W') &&
                              (at == 1 || !letter(at - 2));
        if (at == 0 || !letter(at - 1) || behind_w) return w;
    }
    return std::nullopt;
}

[[nodiscard]] inline bool is_fused_name(std::string_view pattern) noexcept {
    for (const std::string_view word : {"qkv", "query_key_value", "in_proj", "c_attn", "q_k_v"})
        if (pattern.find(word) != std::string_view::npos) return true;
    return false;
}

/// Whether the rows of three shapes one after another have the fourth.
[[nodiscard]] inline bool rows_add_up(const known_shape& q, const known_shape& k, const known_shape& v,
                                      const known_shape& whole) noexcept {
    if (!q || !k || !v || !whole) return false;
    const std::size_t rank = q->size();
    if (rank == 0 || k->size() != rank || v->size() != rank || whole->size() != rank) return false;
    for (std::size_t d = 1; d < rank; ++d)
        if ((*q)[d] != (*k)[d] || (*q)[d] != (*v)[d] || (*q)[d] != (*whole)[d]) return false;
    return (*q)[0] + (*k)[0] + (*v)[0] == (*whole)[0];
}

CKPT_DETAIL_DEF fused_matcher::fused_matcher(suggestion& to, family_grain grain, bool merges)
    : to_{to},
      grain_{grain},
      merges_{merges},
      part_keys_{merges ? to.sources : to.targets},
      whole_keys_{merges ? to.targets : to.sources},
      parts_{families_of(part_keys_, grain, false, merges ? to.source_structure : to.target_structure, to.words)},
      wholes_{families_of(whole_keys_, grain, false, merges ? to.target_structure : to.source_structure, to.words)} {}

CKPT_DETAIL_DEF void fused_matcher::run(name_evidence least) {
    if (parts_.size() < 3 || wholes_.empty()) return;
    triples_ = find_triples();
    if (triples_.empty()) return;
    for (const triple& t : triples_) triple_units_.push_back(unit_of(t));
    for (const key_family& w : wholes_) whole_units_.push_back(unit_of(w));
    for (std::uint32_t i = 0; i < wholes_.size(); ++i)
        if (const known_shape& shape = whole_keys_[wholes_[i].members.front()].shape)
            by_shape_[shape_key(*shape, wholes_[i].members.size())].push_back(i);
    name_matcher matcher{to_, merges_ ? triple_units_ : whole_units_, merges_ ? whole_units_ : triple_units_};
    for (std::uint32_t i = 0; i < triples_.size(); ++i) add_candidates(i, matcher);
    const auto taken = [this](std::uint32_t s, std::uint32_t t, surety sure) {
        take(merges_ ? s : t, merges_ ? t : s, sure);
    };
    matcher.match(least, taken);
}

/// Takes the last segment off a unit: its modules begin one further out.
inline void leave_module(key_family& f) noexcept { f.stems = {f.stems[1], f.stems[2], 0}; }

inline void drop_word(key_family& f, std::string_view word, word_table& words) {
    std::vector<std::uint32_t> number;
    words.add_word(word, number);
    std::erase(f.words, number.front());
    std::erase(f.ends, number.front());
}

CKPT_DETAIL_DEF key_family fused_matcher::unit_of(const triple& parts) const {
    key_family out = parts_[parts[0]];
    drop_word(out, "q", to_.words);
    out.beside = 0;
    leave_module(out);
    return out;
}

CKPT_DETAIL_DEF key_family fused_matcher::unit_of(const key_family& whole) const {
    key_family out = whole;
    drop_word(out, "qkv", to_.words);
    out.beside = 0;
    const std::size_t last = whole.pattern.find_last_of("./");
    if (last != std::string::npos && !is_fused_name(std::string_view(whole.pattern).substr(last))) leave_module(out);
    return out;
}

CKPT_DETAIL_DEF std::vector<fused_matcher::triple> fused_matcher::find_triples() const {
    constexpr std::uint32_t nothing = ~std::uint32_t{0};
    std::unordered_map<std::string_view, std::uint32_t> by_pattern;
    for (std::uint32_t i = 0; i < parts_.size(); ++i) by_pattern.emplace(parts_[i].pattern, i);
    std::vector<triple> out;
    for (std::uint32_t i = 0; i < parts_.size(); ++i) {
        const std::string& pattern = parts_[i].pattern;
        for (std::size_t at = 0; at < pattern.size(); ++at) {
            const auto word = query_at(pattern, at);
            if (!word) continue;
            triple t{i, nothing, nothing};
            for (std::size_t k = 0; k < 2; ++k) {
                std::string other = pattern;
                other.replace(at, word->word.size(), word->others[k]);
                const auto found = by_pattern.find(other);
                if (found != by_pattern.end() && parts_[i].numbers == parts_[found->second].numbers)
                    t[k + 1] = found->second;
            }
            if (t[1] == nothing || t[2] == nothing) continue;
            out.push_back(t);
            break;
        }
    }
    return out;
}

CKPT_DETAIL_DEF std::uint64_t fused_matcher::shape_key(const std::vector<std::int64_t>& shape,
                                                       std::size_t count) noexcept {
    std::uint64_t out = count;
    for (const std::int64_t n : shape) add_number(out, static_cast<std::uint64_t>(n));
    return out;
}

CKPT_DETAIL_DEF void fused_matcher::add_candidates(std::uint32_t number, name_matcher& out) const {
    constexpr std::size_t most_looked_at = 64;
    const auto& [q, k, v] = triples_[number];
    const known_shape& a = part_keys_[parts_[q].members.front()].shape;
    const known_shape& b = part_keys_[parts_[k].members.front()].shape;
    const known_shape& c = part_keys_[parts_[v].members.front()].shape;
    if (!a || !b || !c || a->empty() || b->size() != a->size() || c->size() != a->size()) return;
    std::vector<std::int64_t> sum = *a;
    sum[0] += (*b)[0] + (*c)[0];
    const auto wholes = by_shape_.find(shape_key(sum, parts_[q].members.size()));
    if (wholes == by_shape_.end()) return;
    std::size_t looked = 0;
    for (const std::uint32_t w : wholes->second) {
        if (++looked > most_looked_at) return out.leave_out();
        if (leaves_differ(parts_[q], wholes_[w]) || !adds_up(triples_[number], wholes_[w])) continue;
        const float score = similarity(triple_units_[number], whole_units_[w], out.worth()) +
                            (is_fused_name(wholes_[w].pattern) ? 0.5F : 0.0F);
        if (score >= 0.4F) out.add(merges_ ? number : w, merges_ ? w : number, score);
    }
}

CKPT_DETAIL_DEF bool fused_matcher::adds_up(const triple& parts, const key_family& whole) const {
    const key_family& q = parts_[parts[0]];
    const key_family& k = parts_[parts[1]];
    const key_family& v = parts_[parts[2]];
    if (!aligned(q, whole)) return false;
    for (std::size_t m = 0; m < whole.members.size(); ++m)
        if (!rows_add_up(part_keys_[q.members[m]].shape, part_keys_[k.members[m]].shape, part_keys_[v.members[m]].shape,
                         whole_keys_[whole.members[m]].shape))
            return false;
    return true;
}

CKPT_DETAIL_DEF void fused_matcher::take(std::uint32_t number, std::uint32_t which, surety sure) {
    const key_family& whole = wholes_[which];
    const std::vector<const key_family*> three{&parts_[triples_[number][0]], &parts_[triples_[number][1]],
                                               &parts_[triples_[number][2]]};
    for (const key_family* f : three)
        if (part_keys_[f->members.front()].matched) return; // as a part of another triple
    const key_family& parts = triple_units_[number];
    merges_ ? to_.add_neighbours(parts, whole_units_[which]) : to_.add_neighbours(whole_units_[which], parts);
    if (merges_) {
        to_.add_link(link_kind::merge, sure, grain_, three, {&whole});
        return;
    }
    to_.add_link(link_kind::split, sure, grain_, {&whole}, three);
    std::vector<std::int64_t>& sizes = to_.links.back().sizes;
    for (const key_family* f : three) sizes.push_back((*part_keys_[f->members.front()].shape)[0]);
    if (sizes[0] == sizes[1] && sizes[0] == sizes[2]) sizes.clear(); // equal parts need no sizes
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
