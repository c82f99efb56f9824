// ckpt/state/impl/suggest.ipp: the definitions of suggest.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/suggest.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF key_form form_of(std::string_view key, family_grain grain) {
    constexpr std::size_t longest = 9;
    key_form out;
    out.pattern.reserve(key.size());
    for (std::size_t i = 0; i < key.size();) {
        std::size_t end = i;
        while (end < key.size() && key[end] >= '0' && key[end] <= '9') ++end;
        const bool whole = (i == 0 || key[i - 1] == '.') && (end == key.size() || key[end] == '.');
        const bool counts = end > i && end - i <= longest && (end - i == 1 || key[i] != '0') &&
                            (grain == family_grain::digits || (grain == family_grain::segments && whole));
        if (counts) {
            std::int64_t n = 0;
            for (; i < end; ++i) n = n * 10 + (key[i] - '0');
            out.pattern += number_mark;
            out.numbers.push_back(n);
        } else if (end > i) {
            out.pattern.append(key.substr(i, end - i));
            i = end;
        } else {
            out.pattern += key[i++];
        }
    }
    return out;
}

CKPT_DETAIL_DEF std::vector<std::uint32_t> word_table::words(std::string_view pattern) {
    std::vector<std::uint32_t> out;
    for (std::size_t at = 0; at <= pattern.size();) {
        const std::size_t end = (std::min)(pattern.find('.', at), pattern.size());
        segment(pattern.substr(at, end - at), out);
        at = end + 1;
    }
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
}

CKPT_DETAIL_DEF void word_table::add(std::string_view means, std::vector<std::uint32_t>& out) {
    while (!means.empty()) {
        const std::size_t end = (std::min)(means.find(' '), means.size());
        const auto [it, is_new] =
            known_.try_emplace(std::string(means.substr(0, end)), static_cast<std::uint32_t>(known_.size()));
        out.push_back(it->second);
        means.remove_prefix((std::min)(end + 1, means.size()));
    }
}

CKPT_DETAIL_DEF void word_table::word(std::string_view w, std::vector<std::uint32_t>& out) {
    for (const synonym& s : words_)
        if (s.word == w) return add(s.means, out);
    add(w, out);
}

CKPT_DETAIL_DEF void word_table::segment(std::string_view s, std::vector<std::uint32_t>& out) {
    for (const synonym& known : segments)
        if (known.word == s) return add(known.means, out);
    std::string w;
    bool lower = false;
    for (const char c : s) {
        const bool capital = c >= 'A' && c <= 'Z';
        const bool letter = capital || (c >= 'a' && c <= 'z') || static_cast<unsigned char>(c) >= 0x80;
        if ((!letter || (capital && lower)) && !w.empty()) {
            word(w, out);
            w.clear();
        }
        lower = letter && !capital;
        if (letter) w += capital ? static_cast<char>(c - 'A' + 'a') : c;
    }
    if (!w.empty()) word(w, out);
}

CKPT_DETAIL_DEF rule_suggester::rule_suggester(const state_dict& weights, std::span<const wanted_tensor> wanted)
    : weights_{weights} {
    for (const auto entry : weights) {
        item& i = sources_.emplace_back();
        i.name = entry.key;
        if (entry.tensor.refusal() == nullptr)
            i.shape.emplace(entry.tensor.shape().begin(), entry.tensor.shape().end());
    }
    for (const wanted_tensor& w : wanted) {
        item& i = targets_.emplace_back();
        i.name = w.key;
        i.shape = w.shape;
    }
    for (std::uint32_t i = 0; i < targets_.size(); ++i) target_of_.emplace(targets_[i].name, i);
}

CKPT_DETAIL_DEF rule_suggestion rule_suggester::run() {
    find_prefixes();
    match_equal();
    for (const family_grain grain : {family_grain::digits, family_grain::segments, family_grain::literal})
        find_fused(grain);
    for (const family_grain grain : {family_grain::digits, family_grain::segments, family_grain::literal})
        match_families(grain, false);
    for (const family_grain grain : {family_grain::digits, family_grain::segments, family_grain::literal})
        match_families(grain, true);
    free_borne_names();
    return write();
}

CKPT_DETAIL_DEF bool rule_suggester::is_wrapped(std::string_view key) {
    std::string ignored;
    return without_wrappers(key, ignored);
}

CKPT_DETAIL_DEF std::string rule_suggester::prefix_rule::apply(std::string_view name) const {
    if (std::string out; wrappers && without_wrappers(name, out)) return out;
    if (!add.empty()) return add + std::string(name);
    return std::string(name.starts_with(strip) ? name.substr(strip.size()) : name);
}

CKPT_DETAIL_DEF bool rule_suggester::is_target(std::string_view name, const shape_type& shape) const {
    const auto found = target_of_.find(name);
    return found != target_of_.end() && fits(shape, targets_[found->second].shape);
}

CKPT_DETAIL_DEF std::vector<std::string>
rule_suggester::best_of(const std::unordered_map<std::string, std::size_t>& votes) {
    std::vector<std::pair<std::size_t, std::string>> all;
    for (const auto& [prefix, n] : votes) all.emplace_back(n, prefix);
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
        return a.first != b.first ? a.first > b.first : a.second < b.second;
    });
    if (all.size() > 3) all.resize(3);
    std::vector<std::string> out;
    for (auto& [n, prefix] : all) out.push_back(std::move(prefix));
    return out;
}

CKPT_DETAIL_DEF void rule_suggester::find_prefixes() {
    for (int round = 0; round < 4; ++round) {
        std::vector<prefix_rule> candidates;
        std::unordered_map<std::string, std::size_t> strips;
        std::unordered_map<std::string, std::size_t> adds;
        std::unordered_map<std::string_view, std::uint32_t> source_of;
        for (std::uint32_t i = 0; i < sources_.size(); ++i) source_of.emplace(sources_[i].name, i);
        std::size_t base = 0;
        std::size_t wrapped = 0;
        for (const item& s : sources_) {
            wrapped += is_wrapped(s.name) ? 1u : 0u;
            if (is_target(s.name, s.shape)) {
                ++base;
                continue;
            }
            for (std::size_t dot = s.name.find('.'); dot != std::string::npos; dot = s.name.find('.', dot + 1))
                if (is_target(std::string_view(s.name).substr(dot + 1), s.shape)) ++strips[s.name.substr(0, dot + 1)];
        }
        bool targets_wrapped = false;
        for (const item& t : targets_) {
            targets_wrapped = targets_wrapped || is_wrapped(t.name);
            if (source_of.contains(t.name)) continue;
            for (std::size_t dot = t.name.find('.'); dot != std::string::npos; dot = t.name.find('.', dot + 1))
                if (const auto s = source_of.find(std::string_view(t.name).substr(dot + 1));
                    s != source_of.end() && fits(sources_[s->second].shape, t.shape))
                    ++adds[t.name.substr(0, dot + 1)];
        }
        if (wrapped > 0) candidates.push_back({"strip wrappers", {}, {}, true});
        for (std::string& p : best_of(strips)) candidates.push_back({prefixed("strip ", p), p, {}, false});
        for (std::string& p : best_of(adds)) candidates.push_back({prefixed("add ", p), {}, p, false});
        const prefix_rule* best = nullptr;
        std::size_t most = 0;
        for (const prefix_rule& c : candidates) {
            if (!parses(c.line)) continue;
            std::size_t changed = 0;
            const std::size_t got = matches_after(c, changed);
            // Wrappers never mean anything, so that they go also where names differ otherwise.
            const bool harmless = c.wrappers && !targets_wrapped && wrapped * 2 > sources_.size() && got >= base &&
                                  got != std::size_t(-1);
            if (got == std::size_t(-1) || (!harmless && (got <= base || (got - base) * 4 < changed))) continue;
            if (best != nullptr && got <= most) continue;
            best = &c;
            most = got;
        }
        if (best == nullptr) return;
        prefixes_.push_back(best->line);
        for (item& s : sources_) s.name = best->apply(s.name);
    }
}

CKPT_DETAIL_DEF std::string rule_suggester::prefixed(std::string_view verb, std::string_view prefix) {
    std::string out(verb);
    append_rule_word(out, prefix);
    return out;
}

CKPT_DETAIL_DEF std::size_t rule_suggester::matches_after(const prefix_rule& rule, std::size_t& changed) const {
    std::unordered_set<std::string> names;
    std::size_t out = 0;
    for (const item& s : sources_) {
        std::string name = rule.apply(s.name);
        const bool wanted = is_target(name, s.shape);
        changed += name != s.name ? 1u : 0u;
        out += wanted ? 1u : 0u;
        if (!names.insert(std::move(name)).second) return std::size_t(-1);
    }
    return out;
}

CKPT_DETAIL_DEF void rule_suggester::match_equal() {
    for (item& s : sources_) {
        const auto found = target_of_.find(s.name);
        if (found == target_of_.end() || !fits(s.shape, targets_[found->second].shape)) continue;
        s.matched = true;
        targets_[found->second].matched = true;
        ++equal_;
    }
}

CKPT_DETAIL_DEF std::uint32_t rule_suggester::leaf_of(std::string_view pattern) noexcept {
    struct known_leaf {
        std::string_view end{};
        std::uint32_t means{};
    };
    constexpr known_leaf leaves[]{{"num_batches_tracked", 5},
                                  {"running_mean", 3},
                                  {"running_var", 4},
                                  {"weight", 1},
                                  {"gamma", 1},
                                  {"bias", 2},
                                  {"beta", 2}};
    for (const known_leaf& l : leaves) {
        if (!pattern.ends_with(l.end)) continue;
        if (pattern.size() == l.end.size()) return l.means;
        const char before = pattern[pattern.size() - l.end.size() - 1];
        if (before == '.' || before == '_') return l.means;
    }
    return 0;
}

CKPT_DETAIL_DEF std::vector<rule_suggester::family> rule_suggester::families(const std::vector<item>& items,
                                                                             family_grain grain, bool shapes) {
    std::vector<family> out;
    std::unordered_map<std::string, std::size_t> known;
    for (std::uint32_t i = 0; i < items.size(); ++i) {
        if (items[i].matched || has_controls(items[i].name)) continue; // no rule can spell those
        key_form form = form_of(items[i].name, grain);
        const auto [it, is_new] = known.try_emplace(form.pattern, out.size());
        if (is_new) {
            out.emplace_back();
            out.back().pattern = form.pattern;
        }
        out[it->second].members.push_back(i);
        out[it->second].numbers.push_back(std::move(form.numbers));
    }
    for (family& f : out) {
        std::vector<std::size_t> order(f.members.size());
        for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
        std::sort(order.begin(), order.end(),
                  [&f](std::size_t a, std::size_t b) { return f.numbers[a] < f.numbers[b]; });
        family sorted;
        for (const std::size_t i : order) {
            sorted.members.push_back(f.members[i]);
            sorted.numbers.push_back(std::move(f.numbers[i]));
        }
        f.members = std::move(sorted.members);
        f.numbers = std::move(sorted.numbers);
        f.words = table_.words(f.pattern);
        f.leaf = leaf_of(f.pattern);
        std::string_view stem = f.pattern;
        for (std::uint64_t& hash : f.stems) {
            const std::size_t dot = stem.rfind('.');
            if (dot == std::string_view::npos) break;
            stem = stem.substr(0, dot);
            hash = hash_bytes(stem);
        }
        add_number(f.fingerprint, f.numbers.front().size());
        add_number(f.fingerprint, f.members.size());
        if (!shapes) continue;
        for (const std::uint32_t m : f.members) {
            const shape_type& shape = items[m].shape;
            add_number(f.fingerprint, shape ? shape->size() + 1 : 0);
            if (shape)
                for (const std::int64_t n : *shape) add_number(f.fingerprint, static_cast<std::uint64_t>(n));
        }
    }
    return out;
}

CKPT_DETAIL_DEF bool rule_suggester::aligned(const family& s, const family& t) noexcept {
    if (s.members.size() != t.members.size() || s.numbers.front().size() != t.numbers.front().size()) return false;
    for (std::size_t i = 0; i < s.members.size(); ++i)
        for (std::size_t k = 0; k < s.numbers[i].size(); ++k)
            if (t.numbers[i][k] - s.numbers[i][k] != t.numbers[0][k] - s.numbers[0][k]) return false;
    return true;
}

CKPT_DETAIL_DEF bool rule_suggester::aligned_with_shapes(const family& s, const family& t) const noexcept {
    if (!aligned(s, t)) return false;
    for (std::size_t i = 0; i < s.members.size(); ++i)
        if (!fits(sources_[s.members[i]].shape, targets_[t.members[i]].shape)) return false;
    return true;
}

CKPT_DETAIL_DEF float rule_suggester::similarity(const family& s, const family& t,
                                                 const std::vector<float>& worth) const noexcept {
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

CKPT_DETAIL_DEF std::vector<float> rule_suggester::worth_of_words(const std::vector<family>& s,
                                                                  const std::vector<family>& t) const {
    std::vector<float> out(table_.size(), 0);
    for (const std::vector<family>* all : {&s, &t})
        for (const family& f : *all)
            for (const std::uint32_t w : f.words) out[w] += 1;
    for (float& n : out) { // words of stems that no family has count as rare
        float steps = 1;
        for (float x = n; x > 1; x /= 2) steps += 1;
        n = 1 / steps;
    }
    return out;
}

CKPT_DETAIL_DEF void rule_suggester::match_families(family_grain grain, bool by_place) {
    bool known = true; // whether shapes can tell families apart
    for (const item& t : targets_) known = known && (t.matched || t.shape.has_value());
    for (const item& s : sources_) known = known && (s.matched || s.shape.has_value());
    const std::vector<family> s = families(sources_, grain, known);
    const std::vector<family> t = families(targets_, grain, known);
    if (s.empty() || t.empty()) return;
    const std::vector<float> worth = worth_of_words(s, t);
    std::unordered_map<std::uint64_t, std::pair<std::vector<std::uint32_t>, std::vector<std::uint32_t>>> buckets;
    for (std::uint32_t i = 0; i < s.size(); ++i) buckets[s[i].fingerprint].first.push_back(i);
    for (std::uint32_t i = 0; i < t.size(); ++i)
        if (const auto b = buckets.find(t[i].fingerprint); b != buckets.end()) b->second.second.push_back(i);
    std::vector<char> s_done(s.size(), 0);
    std::vector<char> t_done(t.size(), 0);
    const auto take = [&](std::uint32_t a, std::uint32_t b, surety sure) {
        s_done[a] = t_done[b] = 1;
        for (const std::uint32_t m : s[a].members) sources_[m].matched = true;
        for (const std::uint32_t m : t[b].members) targets_[m].matched = true;
        for (std::size_t d = 0; d < 3; ++d) stems_.insert(pair_hash(s[a].stems[d], t[b].stems[d]));
        add_link(link_kind::rename, sure, grain, {&s[a]}, {&t[b]});
    };
    if (by_place) {
        if (!known) return; // positions mean nothing where shapes are not known
        match_by_place(s, t, buckets, take);
        return;
    }
    std::vector<candidate> open;
    for (auto& [fingerprint, b] : buckets) add_candidates(s, t, b.first, b.second, worth, open);
    std::erase_if(open, [&](const candidate& c) { return !aligned_with_shapes(s[c.s], t[c.t]); });
    std::sort(open.begin(), open.end(),
              [](const candidate& a, const candidate& b) { return a.s != b.s ? a.s < b.s : a.t < b.t; });
    float least = 0.6F;
    for (int round = 0; round < 24 && !open.empty(); ++round) {
        struct best {
            float score{-1};
            float next{-1};
            std::uint32_t which{nothing};
        };
        std::vector<best> best_s(s.size());
        std::vector<best> best_t(t.size());
        const auto offer = [](best& to, float score, std::uint32_t which) {
            if (score > to.score) {
                to.next = to.score;
                to.score = score;
                to.which = which;
            } else if (score > to.next) {
                to.next = score;
            }
        };
        for (const candidate& c : open) {
            const float score = c.score + bonus(s[c.s], t[c.t]);
            offer(best_s[c.s], score, c.t);
            offer(best_t[c.t], score, c.s);
        }
        bool any = false;
        for (std::uint32_t a = 0; a < s.size(); ++a) {
            const std::uint32_t b = best_s[a].which;
            constexpr float margin = 0.02F;
            constexpr float sure_score = 0.45F;
            if (b == nothing || best_t[b].which != a || best_s[a].score < least) continue;
            if (best_s[a].next > best_s[a].score - margin || best_t[b].next > best_t[b].score - margin) continue;
            take(a, b, best_s[a].score < sure_score ? surety::guess : surety::named);
            any = true;
        }
        if (any) std::erase_if(open, [&](const candidate& c) { return s_done[c.s] != 0 || t_done[c.t] != 0; });
        else if (least > 0.5F) least = 0.45F;
        else if (least > 0.4F) least = 0.3F;
        else break;
    }
}

CKPT_DETAIL_DEF void rule_suggester::add_candidates(const std::vector<family>& s, const std::vector<family>& t,
                                                    const std::vector<std::uint32_t>& left,
                                                    const std::vector<std::uint32_t>& right,
                                                    const std::vector<float>& worth,
                                                    std::vector<candidate>& out) const {
    constexpr std::size_t most_pairs = 20'000; // of a bucket that is compared in full
    constexpr std::size_t most_of_word = 24;
    constexpr std::size_t most_candidates = 2'000'000;
    const auto add = [&](std::uint32_t a, std::uint32_t b) {
        if (out.size() >= most_candidates || (s[a].leaf != t[b].leaf && s[a].leaf != 0 && t[b].leaf != 0)) return;
        const float half = s[a].leaf != t[b].leaf ? 0.7F : 1.0F;
        out.push_back({a, b, half * similarity(s[a], t[b], worth)});
    };
    if (left.size() * right.size() <= most_pairs) {
        for (const std::uint32_t a : left)
            for (const std::uint32_t b : right) add(a, b);
        return;
    }
    std::unordered_map<std::uint32_t, std::vector<std::uint32_t>> of_word;
    for (const std::uint32_t b : right)
        for (const std::uint32_t w : t[b].words) {
            std::vector<std::uint32_t>& all = of_word[w];
            if (all.size() <= most_of_word) all.push_back(b);
        }
    std::vector<std::uint32_t> sharing;
    for (const std::uint32_t a : left) {
        sharing.clear();
        for (const std::uint32_t w : s[a].words)
            if (const auto all = of_word.find(w); all != of_word.end() && all->second.size() <= most_of_word)
                sharing.insert(sharing.end(), all->second.begin(), all->second.end());
        std::sort(sharing.begin(), sharing.end());
        sharing.erase(std::unique(sharing.begin(), sharing.end()), sharing.end());
        for (const std::uint32_t b : sharing) add(a, b);
    }
}

CKPT_DETAIL_DEF float rule_suggester::bonus(const family& s, const family& t) const {
    constexpr float worth[]{1.0F, 0.5F, 0.25F};
    for (std::size_t d = 0; d < 3; ++d)
        if (s.stems[d] != 0 && t.stems[d] != 0 && stems_.contains(pair_hash(s.stems[d], t.stems[d]))) return worth[d];
    return 0;
}

CKPT_DETAIL_DEF std::optional<rule_suggester::query_word> rule_suggester::query_at(std::string_view pattern,
                                                                                   std::size_t at) noexcept {
    const auto bounded = [&](std::size_t from, std::size_t length) {
        const auto letter = [&](std::size_t i) {
            return (pattern[i] >= 'a' && pattern[i] <= 'z') || (pattern[i] >= 'A' && pattern[i] <= 'Z');
        };
        const bool w = length == 1 && from > 0 && (pattern[from - 1] == 'w' || pattern[from - 1] == 'W') &&
                       (from == 1 || !letter(from - 2));
        return (from == 0 || !letter(from - 1) || w) && (from + length == pattern.size() || !letter(from + length));
    };
    constexpr query_word words[]{
        {0, "query", {"key", "value"}}, {0, "Query", {"Key", "Value"}}, {0, "q", {"k", "v"}}, {0, "Q", {"K", "V"}}};
    for (query_word w : words)
        if (pattern.substr(at).starts_with(w.word) && bounded(at, w.word.size())) {
            w.at = at;
            return w;
        }
    return std::nullopt;
}

CKPT_DETAIL_DEF std::vector<rule_suggester::triple> rule_suggester::triples(const std::vector<family>& all) {
    std::unordered_map<std::string_view, std::uint32_t> by_pattern;
    for (std::uint32_t i = 0; i < all.size(); ++i) by_pattern.emplace(all[i].pattern, i);
    std::vector<triple> out;
    for (std::uint32_t i = 0; i < all.size(); ++i) {
        const std::string& pattern = all[i].pattern;
        for (std::size_t at = 0; at < pattern.size(); ++at) {
            const auto word = query_at(pattern, at);
            if (!word) continue;
            triple t{{i, nothing, nothing}, pattern};
            for (std::size_t k = 0; k < 2; ++k) {
                std::string other = pattern;
                other.replace(at, word->word.size(), word->others[k]);
                if (const auto found = by_pattern.find(other);
                    found != by_pattern.end() && aligned(all[i], all[found->second]))
                    t.parts[k + 1] = found->second;
            }
            if (t.parts[1] == nothing || t.parts[2] == nothing) continue;
            if (all[i].numbers != all[t.parts[1]].numbers || all[i].numbers != all[t.parts[2]].numbers) continue;
            t.stem.erase(at, word->word.size());
            out.push_back(std::move(t));
            break;
        }
    }
    return out;
}

CKPT_DETAIL_DEF bool rule_suggester::is_fused_name(std::string_view pattern) noexcept {
    for (const std::string_view word : {"qkv", "query_key_value", "in_proj", "c_attn", "q_k_v"})
        if (pattern.find(word) != std::string_view::npos) return true;
    return false;
}

CKPT_DETAIL_DEF bool rule_suggester::adds_up(const shape_type& q, const shape_type& k, const shape_type& v,
                                             const shape_type& whole) noexcept {
    if (!q || !k || !v || !whole) return false;
    const std::size_t rank = q->size();
    if (rank == 0 || k->size() != rank || v->size() != rank || whole->size() != rank) return false;
    for (std::size_t d = 1; d < rank; ++d)
        if ((*q)[d] != (*k)[d] || (*q)[d] != (*v)[d] || (*q)[d] != (*whole)[d]) return false;
    return (*q)[0] + (*k)[0] + (*v)[0] == (*whole)[0];
}

CKPT_DETAIL_DEF void rule_suggester::find_fused(family_grain grain) {
    find_fused(grain, true);
    find_fused(grain, false);
}

CKPT_DETAIL_DEF void rule_suggester::find_fused(family_grain grain, bool merges) {
    const std::vector<family> parts = families(merges ? sources_ : targets_, grain, false);
    const std::vector<family> wholes = families(merges ? targets_ : sources_, grain, false);
    if (parts.size() < 3 || wholes.empty()) return;
    const std::vector<item>& part_items = merges ? sources_ : targets_;
    const std::vector<item>& whole_items = merges ? targets_ : sources_;
    const std::vector<triple> found = triples(parts);
    if (found.empty()) return;
    std::vector<std::vector<std::uint32_t>> stem_words;
    for (const triple& t : found) stem_words.push_back(table_.words(t.stem));
    const std::vector<float> worth = worth_of_words(parts, wholes);
    std::unordered_map<std::uint64_t, std::vector<std::uint32_t>>
        by_first; // wholes by the shape of their first member, and how many there are
    const auto first_key = [](const std::vector<std::int64_t>& shape, std::size_t count) {
        std::uint64_t out = count;
        for (const std::int64_t n : shape) add_number(out, static_cast<std::uint64_t>(n));
        return out;
    };
    for (std::uint32_t i = 0; i < wholes.size(); ++i)
        if (const shape_type& shape = whole_items[wholes[i].members.front()].shape)
            by_first[first_key(*shape, wholes[i].members.size())].push_back(i);
    struct pairing {
        float score{};
        std::uint32_t t{};
        std::uint32_t whole{};
    };
    std::vector<pairing> pairs;
    for (std::uint32_t i = 0; i < found.size(); ++i) {
        const auto& [q, k, v] = found[i].parts;
        const shape_type& a = part_items[parts[q].members.front()].shape;
        const shape_type& b = part_items[parts[k].members.front()].shape;
        const shape_type& c = part_items[parts[v].members.front()].shape;
        if (!a || !b || !c || a->empty() || b->size() != a->size() || c->size() != a->size()) continue;
        std::vector<std::int64_t> sum = *a;
        sum[0] += (*b)[0] + (*c)[0];
        const auto sums = by_first.find(first_key(sum, parts[q].members.size()));
        if (sums == by_first.end()) continue;
        family stem;
        stem.leaf = parts[q].leaf;
        stem.words = stem_words[i];
        std::size_t looked = 0;
        for (const std::uint32_t w : sums->second) {
            if (++looked > 64) break;
            if (stem.leaf != wholes[w].leaf && stem.leaf != 0 && wholes[w].leaf != 0) continue;
            bool fit = aligned(parts[q], wholes[w]);
            for (std::size_t m = 0; m < wholes[w].members.size() && fit; ++m)
                fit = adds_up(part_items[parts[q].members[m]].shape, part_items[parts[k].members[m]].shape,
                              part_items[parts[v].members[m]].shape, whole_items[wholes[w].members[m]].shape);
            const float score = similarity(stem, wholes[w], worth) + (is_fused_name(wholes[w].pattern) ? 0.5F : 0.0F);
            if (fit && score >= 0.4F) pairs.push_back({score, i, w});
        }
    }
    std::stable_sort(pairs.begin(), pairs.end(), [](const pairing& a, const pairing& b) { return a.score > b.score; });
    std::vector<char> done(wholes.size(), 0);
    std::vector<char> part_done(parts.size(), 0);
    for (const pairing& p : pairs) {
        const auto& [q, k, v] = found[p.t].parts;
        if (done[p.whole] != 0 || part_done[q] != 0 || part_done[k] != 0 || part_done[v] != 0) continue;
        done[p.whole] = part_done[q] = part_done[k] = part_done[v] = 1;
        std::vector<const family*> three{&parts[q], &parts[k], &parts[v]};
        for (const family* f : three)
            for (const std::uint32_t m : f->members) (merges ? sources_ : targets_)[m].matched = true;
        for (const std::uint32_t m : wholes[p.whole].members) (merges ? targets_ : sources_)[m].matched = true;
        for (std::size_t d = 0; d < 3; ++d) {
            const std::uint64_t a = parts[q].stems[d];
            const std::uint64_t b = wholes[p.whole].stems[d];
            // The parts stand one module further down than the whole, or beside it.
            for (const std::uint64_t other : {b, d > 0 ? wholes[p.whole].stems[d - 1] : b})
                stems_.insert(merges ? pair_hash(a, other) : pair_hash(other, a));
        }
        if (merges) add_link(link_kind::merge, surety::named, grain, three, {&wholes[p.whole]});
        else add_link(link_kind::split, surety::named, grain, {&wholes[p.whole]}, three);
        link& made = links_.back();
        if (merges) continue;
        for (const family* f : three) made.sizes.push_back((*targets_[f->members.front()].shape)[0]);
        if (made.sizes[0] == made.sizes[1] && made.sizes[0] == made.sizes[2]) made.sizes.clear();
    }
}

CKPT_DETAIL_DEF void rule_suggester::add_link(link_kind kind, surety sure, family_grain grain,
                                              const std::vector<const family*>& from,
                                              const std::vector<const family*>& to) {
    link out{kind, sure, grain, {}, {}, {}, {}, {}, {}, {}};
    const family& s = *from.front();
    const family& t = *to.front();
    for (std::size_t k = 0; k < s.numbers.front().size(); ++k) {
        out.offsets.push_back(t.numbers[0][k] - s.numbers[0][k]);
        bool same = true;
        for (const auto& numbers : s.numbers) same = same && numbers[k] == s.numbers[0][k];
        out.constants.push_back(same ? std::optional(s.numbers[0][k]) : std::nullopt);
    }
    for (const family* f : from) {
        out.from.push_back(f->pattern);
        out.sources.push_back(f->members);
    }
    for (const family* f : to) {
        out.to.push_back(f->pattern);
        out.targets.push_back(f->members);
    }
    links_.push_back(std::move(out));
}

CKPT_DETAIL_DEF void rule_suggester::free_borne_names() {
    constexpr int most_rounds = 16;
    int round = 0;
    for (bool again = true; again; ++round) {
        again = false;
        std::unordered_set<std::string_view> kept;
        for (const item& s : sources_)
            if (!s.matched || round >= most_rounds) kept.insert(s.name);
        std::erase_if(links_, [&](const link& l) {
            bool borne = round == 0 && !parses(rule_of(l, 0, {}, {}));
            for (const auto& part : l.targets)
                for (const std::uint32_t t : part) borne = borne || kept.contains(targets_[t].name);
            if (!borne) return false;
            for (const auto& part : l.sources)
                for (const std::uint32_t s : part) sources_[s].matched = false;
            for (const auto& part : l.targets)
                for (const std::uint32_t t : part) targets_[t].matched = false;
            return again = true;
        });
    }
}

CKPT_DETAIL_DEF std::string rule_suggester::number_name(std::size_t k) {
    constexpr std::string_view names = "ijkmn";
    return k < names.size() ? std::string(1, names[k]) : "n" + decimal(std::uint64_t{k});
}

CKPT_DETAIL_DEF std::string rule_suggester::literal_rename(std::string_view from, std::string_view to) {
    std::string out = "rename ";
    append_key_word(out, from);
    out += " -> ";
    append_key_word(out, to);
    return out;
}

CKPT_DETAIL_DEF std::string rule_suggester::word_of(const link& l, std::string_view pattern, bool is_template,
                                                    std::size_t leaf, std::string_view leaf_text) {
    std::string out;
    std::size_t k = 0;
    for (const char c : pattern.substr(0, pattern.size() - leaf)) {
        if (c != number_mark) {
            append_literal(out, c);
            continue;
        }
        const std::size_t at = k++;
        if (l.constants[at]) {
            out += decimal(std::uint64_t(*l.constants[at] + (is_template ? l.offsets[at] : 0)));
            continue;
        }
        out += '{' + number_name(at);
        if (!is_template) out += ":int";
        else if (l.offsets[at] > 0) out += '+' + decimal(l.offsets[at]);
        else if (l.offsets[at] < 0) out += decimal(l.offsets[at]);
        out += '}';
    }
    out += leaf_text;
    return out;
}

CKPT_DETAIL_DEF std::size_t rule_suggester::common_leaf(const link& l) noexcept {
    std::size_t n = 0;
    const std::string& first = l.from.front();
    const auto same = [&](std::size_t length) {
        for (const std::vector<std::string>* side : {&l.from, &l.to})
            for (const std::string& s : *side)
                if (s.size() < length || s[s.size() - length] != first[first.size() - length]) return false;
        return true;
    };
    while (n < first.size() && first[first.size() - n - 1] != '.' && first[first.size() - n - 1] != number_mark &&
           same(n + 1))
        ++n;
    const auto begins_word = [](const std::string& s, std::size_t length) {
        return length == s.size() || s[s.size() - length - 1] == '.' || s[s.size() - length - 1] == '_';
    };
    for (; n > 0; --n) {
        bool whole = true;
        for (const std::vector<std::string>* side : {&l.from, &l.to})
            for (const std::string& s : *side) whole = whole && begins_word(s, n);
        if (whole) break;
    }
    const std::string_view leaf = std::string_view(first).substr(first.size() - n);
    return leaf.find_first_of("\\{}*|:\"#, =>") == std::string_view::npos ? n : 0;
}

CKPT_DETAIL_DEF std::string rule_suggester::rule_of(const link& l, std::size_t leaf, std::string_view in_pattern,
                                                    std::string_view in_template) {
    std::string out = l.kind == link_kind::rename ? "rename " : l.kind == link_kind::merge ? "merge 0 " : "split 0 ";
    if (!l.sizes.empty()) {
        out += '[';
        for (std::size_t i = 0; i < l.sizes.size(); ++i) out += (i > 0 ? ", " : "") + decimal(l.sizes[i]);
        out += "] ";
    }
    for (std::size_t i = 0; i < l.from.size(); ++i) {
        if (i > 0) out += ", ";
        append_rule_word(out, word_of(l, l.from[i], false, leaf, in_pattern));
    }
    out += " -> ";
    for (std::size_t i = 0; i < l.to.size(); ++i) {
        if (i > 0) out += ", ";
        append_rule_word(out, word_of(l, l.to[i], true, leaf, in_template));
    }
    return out;
}

CKPT_DETAIL_DEF std::vector<rule_suggester::line>
rule_suggester::specific_lines(const std::vector<std::size_t>& which) const {
    struct group {
        std::vector<std::string> leaves{};
        std::vector<std::size_t> links{};
    };
    constexpr std::size_t most_leaves = 8;
    std::vector<group> groups;
    std::unordered_map<std::string, std::size_t> known;
    for (const std::size_t i : which) {
        const link& l = links_[i];
        const std::size_t n = common_leaf(l);
        const std::string leaf = l.from.front().substr(l.from.front().size() - n);
        const std::string rest =
            rule_of(l, n, "\x02", "\x02") + char('0' + static_cast<int>(l.sure)) + (n == 0 ? "-" : "");
        const auto [it, is_new] = known.try_emplace(rest, groups.size());
        if (!is_new && groups[it->second].leaves.size() >= most_leaves) it->second = groups.size();
        if (it->second == groups.size()) groups.emplace_back();
        group& g = groups[it->second];
        if (std::find(g.leaves.begin(), g.leaves.end(), leaf) == g.leaves.end()) g.leaves.push_back(leaf);
        g.links.push_back(i);
    }
    std::vector<line> out;
    for (const group& g : groups) {
        const link& l = links_[g.links.front()];
        std::string text;
        if (g.leaves.size() < 2) {
            text = rule_of(l, 0, {}, {});
        } else {
            std::string alternatives = "{leaf:";
            for (std::size_t i = 0; i < g.leaves.size(); ++i) alternatives += (i > 0 ? "|" : "") + g.leaves[i];
            text = rule_of(l, common_leaf(l), alternatives + '}', "{leaf}");
        }
        if (g.leaves.size() < 2 || parses(text)) {
            out.push_back({std::move(text), l.sure, l.kind, g.links.front(), g.links});
            continue;
        }
        for (const std::size_t i : g.links) out.push_back({rule_of(links_[i], 0, {}, {}), l.sure, l.kind, i, {i}});
    }
    return out;
}

CKPT_DETAIL_DEF std::vector<rule_suggester::line> rule_suggester::module_lines(std::vector<std::size_t>& which) const {
    struct head {
        std::string from{};
        std::string to{};
        family_grain grain{};
        std::vector<std::size_t> links{};
        std::set<std::string> tails{};
    };
    std::vector<head> heads;
    std::map<std::string, std::size_t> known;
    for (const std::size_t i : which) {
        const link& l = links_[i];
        if (l.kind != link_kind::rename || l.sure != surety::named) continue;
        std::size_t n = 0; // common tail, whole segments, numbers without an offset
        std::size_t number = l.offsets.size();
        const std::string& a = l.from.front();
        const std::string& b = l.to.front();
        std::size_t whole = 0;
        for (; n < a.size() && n < b.size(); ++n) {
            const char c = a[a.size() - n - 1];
            if (c != b[b.size() - n - 1]) break;
            if (c == number_mark && l.offsets[--number] != 0) break;
            if (c == '.') whole = n;
        }
        if (whole == 0) continue;
        std::string from = a.substr(0, a.size() - whole - 1);
        std::string to = b.substr(0, b.size() - whole - 1);
        std::string key = from + '\n' + to + '\n' + char('0' + static_cast<int>(l.grain));
        for (std::size_t k = 0; k < marks(from); ++k) key += ',' + decimal(l.offsets[k]);
        const auto [it, is_new] = known.try_emplace(key, heads.size());
        if (is_new) heads.push_back({from, to, l.grain, {}, {}});
        heads[it->second].links.push_back(i);
        heads[it->second].tails.insert(a.substr(a.size() - whole));
    }
    std::stable_sort(heads.begin(), heads.end(),
                     [](const head& x, const head& y) { return x.links.size() > y.links.size(); });
    std::vector<line> out;
    constexpr std::size_t examined = 24;
    for (std::size_t h = 0; h < heads.size() && h < examined; ++h) {
        const head& one = heads[h];
        if (one.tails.size() < 3 || marks(one.from) != marks(one.to)) continue;
        // No key that keeps its name may be taken along.
        bool clean = true;
        for (std::uint32_t s = 0; s < sources_.size() && clean; ++s) {
            if (!sources_[s].matched || !keeps_name(s)) continue;
            const std::string form = form_of(sources_[s].name, one.grain).pattern;
            clean = !(form.size() > one.from.size() && form.starts_with(one.from) && form[one.from.size()] == '.');
        }
        if (!clean) continue;
        link made = links_[one.links.front()];
        made.offsets.resize(marks(one.from));
        made.constants.resize(marks(one.from));
        for (const std::size_t i : one.links)
            for (std::size_t k = 0; k < made.constants.size(); ++k)
                if (made.constants[k] != links_[i].constants[k]) made.constants[k].reset();
        std::string text = "rename ";
        append_rule_word(text, word_of(made, one.from, false, 0, ".{rest:**}"));
        text += " -> ";
        append_rule_word(text, word_of(made, one.to, true, 0, ".{rest}"));
        out.push_back({std::move(text), surety::named, link_kind::rename, one.links.front(), one.links});
        const std::unordered_set<std::size_t> gone(one.links.begin(), one.links.end());
        std::erase_if(which, [&](std::size_t i) { return gone.contains(i); });
    }
    return out;
}

CKPT_DETAIL_DEF std::string rule_suggester::join(const std::vector<std::string>& prefixes,
                                                 const std::vector<line>& lines, bool group, bool& whole) {
    std::string out;
    for (const std::string& p : prefixes) out += p + '\n';
    const auto comment = [](const line& l) -> std::string_view {
        if (l.kind != link_kind::rename)
            return "# queries, keys and values one after another: names and shapes cannot tell another order\n";
        if (l.sure == surety::guess) return "# guesses: shapes, and few words in common\n";
        if (l.sure == surety::alone) return "# the only ones of this shape\n";
        if (l.sure == surety::position) return "# by shape and position only\n";
        return "";
    };
    std::string_view last;
    bool opened = false;
    for (const line& l : lines) {
        if (out.size() + l.text.size() + 256 > rules_text_limit / 2) {
            whole = false;
            break;
        }
        if (group && !opened && l.kind == link_kind::rename) {
            out += "first {\n";
            opened = true;
            last = {};
        }
        const std::string_view said = comment(l);
        if (said != last)
            out += std::string(opened ? "  " : "") + std::string(said.empty() ? "# by names and shapes\n" : said);
        last = said;
        out += (opened ? "  " : "") + l.text + '\n';
    }
    if (opened) out += "}\n";
    if (!whole) out += "# there are more rules than fit into a text\n";
    return out;
}

CKPT_DETAIL_DEF rule_suggester::outcome rule_suggester::try_out(const std::string& text) const {
    outcome out;
    const auto map = key_map::parse(text);
    if (!map) return out;
    const remap_plan plan = plan_remap(weights_, *map);
    if (!plan.ok()) return out;
    out.ok = true;
    const remap_record& r = plan.record();
    for (std::uint32_t i = r.items[0].next; i != 0; i = r.items[i].next) {
        const gather_node& node = r.plan->node(r.items[i].node);
        out.results.emplace_back(std::string(r.items[i].name), shape_type{});
        if (node.data == nullptr || node.data->refusal == nullptr)
            out.results.back().second.emplace(node.sizes().begin(), node.sizes().end());
        out.hits += is_target(out.results.back().first, out.results.back().second) ? 1u : 0u;
    }
    return out;
}

CKPT_DETAIL_DEF rule_suggestion rule_suggester::write() {
    std::size_t claimed = equal_;
    std::vector<std::size_t> all;
    for (std::size_t i = 0; i < links_.size(); ++i) {
        all.push_back(i);
        for (const auto& part : links_[i].targets) claimed += part.size();
        for (const auto& part : links_[i].sources) moved_.insert(part.begin(), part.end());
    }
    std::vector<std::size_t> rest = all;
    const std::vector<line> modules = module_lines(rest);
    const auto ordered = [](std::vector<line> lines, bool fused_first) {
        std::stable_sort(lines.begin(), lines.end(), [&](const line& a, const line& b) {
            const bool x = a.kind == link_kind::rename;
            const bool y = b.kind == link_kind::rename;
            if (x != y) return fused_first ? !x : x;
            return a.sure < b.sure;
        });
        return lines;
    };
    std::vector<line> general = specific_lines(rest);
    general.insert(general.end(), modules.begin(), modules.end());
    const std::vector<line> specific = specific_lines(all);
    outcome best;
    std::string text;
    bool whole = true;
    std::uint64_t spent = 0; // keys that patterns are tried on
    const auto attempt = [&](std::vector<line> lines, bool fused_first, bool group) {
        if (best.ok && (best.hits >= claimed || !whole)) return;
        const std::uint64_t keys = sources_.size() + 1;
        if (spent > most_matches) return;
        cut(lines, static_cast<std::size_t>(most_matches / keys));
        for (const line& l : lines) spent += l.text.find('{') != std::string::npos ? keys : 1;
        std::string proposal = join(prefixes_, ordered(std::move(lines), fused_first), group, whole);
        outcome made = try_out(proposal);
        if (!made.ok || (best.ok && made.hits <= best.hits)) return;
        best = std::move(made);
        text = std::move(proposal);
    };
    for (const std::vector<line>* lines : std::initializer_list<const std::vector<line>*>{&general, &specific})
        for (const bool group : {false, true})
            for (const bool fused_first : {true, false}) attempt(*lines, fused_first, group);
    attempt(literal_lines(all), true, true);
    if (!best.ok) {
        text = join(prefixes_, {}, false, whole);
        best = try_out(text);
    }
    if (const std::string more = transposes(best); !more.empty())
        if (outcome made = try_out(text + more); made.ok && made.hits > best.hits) {
            best = std::move(made);
            text += more;
        }
    return finish(std::move(text), best);
}

CKPT_DETAIL_DEF std::string rule_suggester::transposes(const outcome& made) const {
    struct matrix {
        std::int64_t rows{};
        std::int64_t columns{};
        std::string_view name{};
    };
    const auto is_matrix = [](const shape_type& s) { return s && s->size() == 2 && (*s)[0] != (*s)[1]; };
    std::unordered_map<std::string_view, const shape_type*> results;
    for (const auto& [key, shape] : made.results) results.emplace(key, &shape);
    std::string out;
    const auto add = [&out](std::string_view from, std::string_view to) {
        std::string turn = "transpose 0 1 ";
        append_key_word(turn, from);
        const std::string name = literal_rename(from, to);
        if (!parses(turn) || (from != to && !parses(name))) return;
        out += turn + '\n';
        if (from != to) out += name + '\n';
    };
    std::vector<matrix> missing;
    for (const item& t : targets_) {
        if (!is_matrix(t.shape)) continue;
        const std::vector<std::int64_t>& shape = *t.shape;
        const auto found = results.find(t.name);
        if (found == results.end()) missing.push_back({shape[0], shape[1], t.name});
        else if (*found->second && **found->second == std::vector<std::int64_t>{shape[1], shape[0]})
            add(t.name, t.name);
    }
    std::vector<matrix> left;
    for (const auto& [key, shape] : made.results)
        if (is_matrix(shape) && !target_of_.contains(key)) left.push_back({(*shape)[1], (*shape)[0], key});
    const auto before = [](const matrix& a, const matrix& b) {
        return a.rows != b.rows ? a.rows < b.rows : a.columns < b.columns;
    };
    std::sort(left.begin(), left.end(), before);
    std::sort(missing.begin(), missing.end(), before);
    for (std::size_t i = 0; i < missing.size(); ++i) {
        const bool alone = (i == 0 || before(missing[i - 1], missing[i])) &&
                           (i + 1 == missing.size() || before(missing[i], missing[i + 1]));
        const auto [first, last] = std::equal_range(left.begin(), left.end(), missing[i], before);
        if (alone && last - first == 1) add(first->name, missing[i].name);
    }
    return out.empty() ? out : "# transposed, because of the shapes alone\n" + out;
}

CKPT_DETAIL_DEF void rule_suggester::cut(std::vector<line>& lines, std::size_t most) const {
    if (lines.size() <= most) return;
    const auto weight = [this](const line& l) {
        std::size_t n = 0;
        for (const std::size_t i : l.links) n += links_[i].sources.front().size();
        return n;
    };
    std::stable_sort(lines.begin(), lines.end(), [&](const line& a, const line& b) { return weight(a) > weight(b); });
    std::size_t patterns = 0;
    std::erase_if(lines, [&](const line& l) { return l.text.find('{') != std::string::npos && ++patterns > most; });
    std::stable_sort(lines.begin(), lines.end(), [](const line& a, const line& b) { return a.order < b.order; });
}

CKPT_DETAIL_DEF std::vector<rule_suggester::line>
rule_suggester::literal_lines(const std::vector<std::size_t>& which) const {
    std::vector<line> out;
    for (const std::size_t i : which) {
        const link& l = links_[i];
        if (l.kind != link_kind::rename) {
            out.push_back({rule_of(l, 0, {}, {}), l.sure, l.kind, i, {i}});
            continue;
        }
        for (std::size_t m = 0; m < l.sources[0].size(); ++m) {
            out.push_back({literal_rename(sources_[l.sources[0][m]].name, targets_[l.targets[0][m]].name),
                           l.sure,
                           l.kind,
                           i,
                           {i}});
        }
    }
    return out;
}

CKPT_DETAIL_DEF rule_suggestion rule_suggester::finish(std::string rules, const outcome& made) const {
    rule_suggestion out;
    out.matched = made.hits;
    std::unordered_map<std::string_view, const shape_type*> results;
    for (const auto& [key, shape] : made.results) results.emplace(key, &shape);
    std::string wrong;
    std::size_t wrongs = 0;
    constexpr std::size_t most = 50;
    for (const item& t : targets_) {
        const auto found = results.find(t.name);
        if (found != results.end() && fits(*found->second, t.shape)) continue;
        out.unexplained_targets.push_back(t.name);
        if (found == results.end() || ++wrongs > most) continue;
        wrong += "#   " + report_text(t.name) + ": " + sizes_of(**found->second) + ", not " + sizes_of(*t.shape) + '\n';
    }
    std::vector<std::string> unwanted;
    for (const auto& [key, shape] : made.results)
        if (!target_of_.contains(key)) unwanted.push_back(key);
    out.unexplained_sources = unwanted;
    const auto n = [](std::size_t count) { return decimal(std::uint64_t{count}); };
    out.text = "# " + n(sources_.size()) + " keys, " + n(targets_.size()) + " are wanted: " + n(made.hits) +
               " of them come out in their shapes, " + n(equal_) + " under the names that they have";
    out.text += prefixes_.empty() ? ".\n" : " after the first rules.\n";
    out.text += "# From names and shapes alone: read the rules before you use them.\n" + rules;
    if (!wrong.empty()) out.text += "# another shape than the one that is wanted:\n" + wrong;
    if (wrongs > most) out.text += "#   +" + n(wrongs - most) + " more\n";
    std::vector<std::string> missing;
    for (const std::string& key : out.unexplained_targets)
        if (!results.contains(key)) missing.push_back(key);
    if (!missing.empty()) {
        out.text += "# nothing becomes:\n";
        key_folding{missing}.append_to(out.text, "#   ", most);
    }
    if (!unwanted.empty()) {
        out.text += "# not wanted; take the # away to drop them:\n";
        append_drops(out.text, unwanted, made);
    }
    return out;
}

CKPT_DETAIL_DEF std::string rule_suggester::sizes_of(const std::vector<std::int64_t>& shape) {
    std::string out = "[";
    for (std::size_t i = 0; i < shape.size(); ++i) out += (i > 0 ? ", " : "") + decimal(shape[i]);
    return out + ']';
}

CKPT_DETAIL_DEF void rule_suggester::append_drops(std::string& out, const std::vector<std::string>& unwanted,
                                                  const outcome& made) {
    std::unordered_map<std::string_view, std::pair<std::size_t, std::size_t>>
        below; // of a module: keys, and those not wanted
    const std::unordered_set<std::string_view> gone(unwanted.begin(), unwanted.end());
    for (const auto& [key, shape] : made.results) {
        const std::string_view k = key;
        for (std::size_t dot = k.find('.'); dot != std::string_view::npos; dot = k.find('.', dot + 1)) {
            auto& [all, not_wanted] = below[k.substr(0, dot)];
            ++all;
            not_wanted += gone.contains(k) ? 1u : 0u;
        }
    }
    constexpr std::size_t most = 200;
    std::size_t shown = 0;
    std::unordered_set<std::string_view> said;
    for (const std::string& key : unwanted) {
        const std::string_view k = key;
        std::string line;
        for (std::size_t dot = k.find('.'); dot != std::string_view::npos; dot = k.find('.', dot + 1)) {
            const auto& [all, not_wanted] = below.find(k.substr(0, dot))->second;
            if (all != not_wanted || all < 2) continue;
            if (!said.insert(k.substr(0, dot)).second) line = "said";
            else if (line = "drop "; true) {
                std::string pattern;
                for (const char c : k.substr(0, dot))
                    pattern +=
                        (c == '\\' || c == '{' || c == '}' || c == '*') ? std::string("\\") + c : std::string(1, c);
                append_rule_word(line, pattern + ".**");
            }
            break;
        }
        if (line == "said") continue;
        if (line.empty()) {
            line = "drop ";
            append_key_word(line, k);
        }
        if (++shown > most) continue;
        if (parses(line)) out += "# " + line + '\n';
        else out += "#   " + report_text(k) + " (no rule can spell it)\n";
    }
    if (shown > most) out += "#   +" + decimal(std::uint64_t{shown - most}) + " more\n";
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
