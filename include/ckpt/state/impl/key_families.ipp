// ckpt/state/impl/key_families.ipp: the definitions of key_families.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sorting.hpp>
#include <ckpt/state/key_families.hpp>

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF key_form form_of(std::string_view key, family_grain grain, const key_structure& structure) {
    key_form out;
    out.pattern.reserve(key.size());
    std::size_t done = 0;
    number_run run = next_number(key, 0);
    for (std::size_t n = 0; run.begin < run.end; ++n, run = next_number(key, run.end)) {
        const bool counts = grain == family_grain::digits || (grain == family_grain::segments && run.whole) ||
                            (grain == family_grain::modules && n < most_numbers && structure.is_index(key, run));
        if (!counts) continue;
        out.pattern.append(key.substr(done, run.begin - done)) += number_mark;
        out.numbers.push_back(run.number);
        done = run.end;
    }
    out.pattern.append(key.substr(done));
    return out;
}

CKPT_DETAIL_DEF std::size_t count_marks(std::string_view pattern) noexcept {
    return static_cast<std::size_t>(std::count(pattern.begin(), pattern.end(), number_mark));
}

/// What the last word of a pattern means: see key_family::leaf.
[[nodiscard]] inline std::uint32_t leaf_of(std::string_view pattern) noexcept {
    struct known_leaf {
        std::string_view end{};
        std::uint32_t means{};
    };
    constexpr known_leaf leaves[]{{"num_batches_tracked", 5},
                                  {"running_mean", 3},
                                  {"running_var", 4},
                                  {"weight", 1},
                                  {"kernel", 1},
                                  {"scale", 1},
                                  {"gamma", 1},
                                  {"lambda1", 1},
                                  {"bias", 2},
                                  {"beta", 2}};
    for (const known_leaf& l : leaves) {
        if (!pattern.ends_with(l.end)) continue;
        if (pattern.size() == l.end.size()) return l.means;
        const char before = pattern[pattern.size() - l.end.size() - 1];
        if (before == '.' || before == '_' || before == '/') return l.means;
    }
    return 0;
}

/// Sorts the members of a family by their numbers.
inline void sort_members(key_family& f) {
    key_family sorted;
    for (const std::uint32_t i : sorted_indices(
             f.members.size(), [&f](std::uint32_t a, std::uint32_t b) { return f.numbers[a] < f.numbers[b]; })) {
        sorted.members.push_back(f.members[i]);
        sorted.numbers.push_back(std::move(f.numbers[i]));
    }
    f.members = std::move(sorted.members);
    f.numbers = std::move(sorted.numbers);
}

/// Fills in what a family is compared by.
inline void describe_family(key_family& f, const std::vector<family_key>& keys, bool shapes,
                            const key_structure& structure, word_table& words) {
    const std::string& first = keys[f.members.front()].name;
    f.words = structure.words(first, f.pattern, words, f.ends);
    f.leaf = leaf_of(f.pattern);
    f.beside = structure.weight_beside(first);
    f.block = block_of(f.pattern);
    f.indices = structure.indices(first, f.pattern);
    std::string_view stem = f.pattern;
    for (std::uint64_t& hash : f.stems) {
        const std::size_t dot = stem.find_last_of("./");
        if (dot == std::string_view::npos) break;
        stem = stem.substr(0, dot);
        hash = hash_bytes(stem);
    }
    add_number(f.fingerprint, f.numbers.front().size());
    add_number(f.fingerprint, f.members.size());
    if (!shapes) return;
    for (const std::uint32_t m : f.members) {
        const known_shape& shape = keys[m].shape;
        add_number(f.fingerprint, shape ? shape->size() + 1 : 0);
        add_number(f.fingerprint, hash_of_sizes(shape, !shape || shape->size() != 2)); // matrices may be transposed
    }
}

CKPT_DETAIL_DEF std::uint64_t block_of(std::string_view pattern) noexcept {
    const std::size_t last = pattern.rfind(number_mark);
    return last == std::string_view::npos ? 0 : hash_bytes(pattern.substr(0, last));
}

CKPT_DETAIL_DEF std::vector<key_family> families_of(const std::vector<family_key>& keys, family_grain grain,
                                                    bool shapes, const key_structure& structure, word_table& words) {
    const auto has_controls = [](std::string_view key) {
        return std::any_of(key.begin(), key.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; });
    };
    std::vector<key_family> out;
    std::unordered_map<std::string, std::size_t> known;
    for (std::uint32_t i = 0; i < keys.size(); ++i) {
        if (keys[i].matched || has_controls(keys[i].name)) continue;
        key_form form = form_of(keys[i].name, grain, structure);
        const auto [it, is_new] = known.try_emplace(form.pattern, out.size());
        if (is_new) out.emplace_back().pattern = form.pattern;
        out[it->second].members.push_back(i);
        out[it->second].numbers.push_back(std::move(form.numbers));
    }
    for (key_family& f : out) {
        sort_members(f);
        describe_family(f, keys, shapes, structure, words);
    }
    return out;
}

CKPT_DETAIL_DEF bool aligned(const key_family& s, const key_family& t) noexcept {
    if (s.members.size() != t.members.size() || s.numbers.front().size() != t.numbers.front().size()) return false;
    for (std::size_t i = 0; i < s.members.size(); ++i)
        for (std::size_t k = 0; k < s.numbers[i].size(); ++k)
            if (t.numbers[i][k] - s.numbers[i][k] != t.numbers[0][k] - s.numbers[0][k]) return false;
    return true;
}

CKPT_DETAIL_DEF std::vector<float> worth_of_words(const std::vector<key_family>& s, const std::vector<key_family>& t,
                                                  const word_table& words) {
    std::vector<float> out(words.size(), 0);
    for (const std::vector<key_family>* all : {&s, &t})
        for (const key_family& f : *all)
            for (const std::uint32_t w : f.words) out[w] += 1;
    for (float& n : out) { // 0 for a word that only the stem of a fused family has: it counts as rare
        float steps = 1;
        for (float x = n; x > 1; x /= 2) steps += 1;
        n = 1 / steps;
    }
    return out;
}

CKPT_DETAIL_DEF float similarity(const key_family& s, const key_family& t, const std::vector<float>& worth) noexcept {
    float common = 0;
    float all = 0;
    auto a = s.words.begin();
    auto b = t.words.begin();
    while (a != s.words.end() || b != t.words.end()) {
        if (b == t.words.end() || (a != s.words.end() && *a < *b)) {
            all += worth[*a++];
        } else if (a == s.words.end() || *b < *a) {
            all += worth[*b++];
        } else {
            common += 2 * worth[*a];
            all += 2 * worth[*a];
            ++a;
            ++b;
        }
    }
    return all > 0 ? common / all : 0;
}

CKPT_DETAIL_DEF bool words_conflict(const key_family& s, const key_family& t) noexcept {
    std::array<std::uint8_t, 16> seen{}; // by slot: 1 of s, 2 of t, 4 of both
    for (const std::uint32_t w : s.words)
        if (const std::uint8_t slot = word_table::slot_of(w); slot != 0)
            seen[slot] = std::uint8_t(seen[slot] | (has_word(t.words, w) ? 4 : 1));
    for (const std::uint32_t w : t.words)
        if (const std::uint8_t slot = word_table::slot_of(w); slot != 0) seen[slot] = std::uint8_t(seen[slot] | 2);
    if (std::any_of(seen.begin(), seen.end(), [](std::uint8_t bits) { return bits == 3; })) return true;
    // One is a norm, and the other is a matrix by its name, such as "q_proj".
    const auto is = [](const key_family& f, bool (*what)(std::uint32_t)) {
        return std::any_of(f.words.begin(), f.words.end(), what);
    };
    return (is(s, word_table::is_norm) && !is(t, word_table::is_norm) && is(t, word_table::is_matrix)) ||
           (is(t, word_table::is_norm) && !is(s, word_table::is_norm) && is(s, word_table::is_matrix));
}

CKPT_DETAIL_DEF std::size_t words_beyond(const std::vector<std::uint32_t>& words, const key_family& f,
                                         const std::vector<char>& common) noexcept {
    std::size_t out = 0;
    for (const std::uint32_t w : words)
        out += common[w] == 0 && !word_table::is_generic(w) && !has_word(f.words, w) ? 1u : 0u;
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
