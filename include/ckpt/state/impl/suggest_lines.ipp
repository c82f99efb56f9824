// ckpt/state/impl/suggest_lines.ipp: the definitions of suggest_lines.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/rule_text.hpp>
#include <ckpt/state/suggest_lines.hpp>
#include <ckpt/state/suggest_prefixes.hpp>
#include <ckpt/tensor/shape_text.hpp>

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// What the k-th number of a pattern is called: i, j, k, m, n, n5.
[[nodiscard]] inline std::string number_name(std::size_t k) {
    constexpr std::string_view names = "ijkmn";
    return k < names.size() ? std::string(1, names[k]) : str_cat("n", k);
}

/// A pattern or a template of a link. `leaf`: bytes at the end that `leaf_text` stands for.
[[nodiscard]] inline std::string word_of(const family_link& l, std::string_view pattern, bool is_template,
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

/// Whether `f` holds for all names of a link.
template <class F> [[nodiscard]] bool all_names(const family_link& l, F&& f) {
    return std::all_of(l.from.begin(), l.from.end(), f) && std::all_of(l.to.begin(), l.to.end(), f);
}

/// The bytes at the end of all names of a link that are the same in each, whole words in the last segment.
[[nodiscard]] inline std::size_t common_leaf(const family_link& l) {
    const std::string_view first = l.from.front();
    std::size_t n = 0;
    while (n < first.size()) {
        const char c = first[first.size() - n - 1];
        if (c == '.' || c == number_mark ||
            !all_names(l, [&](const std::string& s) { return s.size() > n && s[s.size() - n - 1] == c; }))
            break;
        ++n;
    }
    const auto begins_word = [&n](const std::string& s) {
        return n == s.size() || s[s.size() - n - 1] == '.' || s[s.size() - n - 1] == '_';
    };
    while (n > 0 && !all_names(l, begins_word)) --n;
    const bool is_plain = first.substr(first.size() - n).find_first_of("\\{}*|:\"#, =>") == std::string_view::npos;
    return is_plain ? n : 0;
}

CKPT_DETAIL_DEF std::string literal_rename(std::string_view from, std::string_view to) {
    std::string out = "rename ";
    append_key_word(out, from);
    out += " -> ";
    append_key_word(out, to);
    return out;
}

CKPT_DETAIL_DEF std::string rule_of(const family_link& l, std::size_t leaf, std::string_view in_pattern,
                                    std::string_view in_template) {
    std::string out = l.kind == link_kind::rename ? "rename " : l.kind == link_kind::merge ? "merge 0 " : "split 0 ";
    if (!l.sizes.empty()) out += shape_text(l.sizes) + ' ';
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

CKPT_DETAIL_DEF std::string rule_of_turn(const family_link& l) {
    std::string out = "transpose 0 1 ";
    append_rule_word(out, word_of(l, l.from.front(), false, 0, {}));
    return out;
}

CKPT_DETAIL_DEF line_writer::line_writer(const suggestion& of) : of_{of} {
    for (const family_link& l : of_.links)
        if (l.sure == surety::named)
            for (const auto& part : l.sources) moved_.insert(part.begin(), part.end());
}

CKPT_DETAIL_DEF std::vector<suggested_line> line_writer::specific(const std::vector<std::size_t>& which) const {
    struct group {
        std::vector<std::string> leaves{};
        std::vector<std::size_t> links{};
    };
    constexpr std::size_t most_leaves = 8;
    std::vector<group> groups;
    std::unordered_map<std::string, std::size_t> known; // groups by the rule without its last word
    for (const std::size_t i : which) {
        const family_link& l = of_.links[i];
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
    std::vector<suggested_line> out;
    for (const group& g : groups) {
        const family_link& l = of_.links[g.links.front()];
        std::string text;
        if (g.leaves.size() < 2) {
            text = rule_of(l);
        } else {
            std::string alternatives = "{leaf:";
            for (std::size_t i = 0; i < g.leaves.size(); ++i) alternatives += (i > 0 ? "|" : "") + g.leaves[i];
            text = rule_of(l, common_leaf(l), alternatives + '}', "{leaf}");
        }
        if (g.leaves.size() < 2 || is_rule(text)) {
            out.push_back({std::move(text), l.sure, l.kind, g.links.front(), g.links});
            continue;
        }
        for (const std::size_t i : g.links) out.push_back({rule_of(of_.links[i]), l.sure, l.kind, i, {i}});
    }
    return out;
}

CKPT_DETAIL_DEF std::vector<line_writer::module_move>
line_writer::module_moves(const std::vector<std::size_t>& which) const {
    std::vector<module_move> out;
    std::unordered_map<std::string, std::size_t> known;
    std::vector<std::unordered_set<std::string>> tails; // by place in `out`
    for (const std::size_t i : which) {
        const family_link& l = of_.links[i];
        if (l.kind != link_kind::rename || l.sure != surety::named) continue;
        // The common end: whole segments, numbers without an offset.
        const std::string& a = l.from.front();
        const std::string& b = l.to.front();
        std::size_t number = l.offsets.size();
        std::size_t whole = 0;
        for (std::size_t n = 0; n < a.size() && n < b.size(); ++n) {
            const char c = a[a.size() - n - 1];
            if (c != b[b.size() - n - 1]) break;
            if (c == number_mark && l.offsets[--number] != 0) break;
            if (c == '.') whole = n;
        }
        if (whole == 0) continue;
        std::string from = a.substr(0, a.size() - whole - 1);
        std::string to = b.substr(0, b.size() - whole - 1);
        std::string key = from + '\n' + to + '\n' + char('0' + static_cast<int>(l.grain));
        for (std::size_t k = 0; k < count_marks(from); ++k) key += ',' + decimal(l.offsets[k]);
        const auto [it, is_new] = known.try_emplace(std::move(key), out.size());
        if (is_new) {
            out.push_back({std::move(from), std::move(to), l.grain, {}, 0});
            tails.emplace_back();
        }
        out[it->second].links.push_back(i);
        tails[it->second].insert(a.substr(a.size() - whole));
    }
    for (std::size_t i = 0; i < out.size(); ++i) out[i].tails = tails[i].size();
    sort_values(out, [](const module_move& x, const module_move& y) { return x.links.size() > y.links.size(); });
    return out;
}

CKPT_DETAIL_DEF bool line_writer::takes_others_along(const module_move& move) const {
    for (std::uint32_t s = 0; s < of_.sources.size(); ++s) {
        if (!of_.sources[s].matched || moved_.contains(s)) continue;
        const std::string form = form_of(of_.sources[s].name, move.grain, of_.source_structure).pattern;
        if (form.size() > move.from.size() && form.starts_with(move.from) && form[move.from.size()] == '.') return true;
    }
    return false;
}

CKPT_DETAIL_DEF std::string line_writer::rule_of_module(const module_move& move) const {
    family_link made = of_.links[move.links.front()];
    made.offsets.resize(count_marks(move.from));
    made.constants.resize(count_marks(move.from));
    for (const std::size_t i : move.links)
        for (std::size_t k = 0; k < made.constants.size(); ++k)
            if (made.constants[k] != of_.links[i].constants[k]) made.constants[k].reset();
    std::string out = "rename ";
    append_rule_word(out, word_of(made, move.from, false, 0, ".{rest:**}"));
    out += " -> ";
    append_rule_word(out, word_of(made, move.to, true, 0, ".{rest}"));
    return out;
}

CKPT_DETAIL_DEF std::vector<suggested_line> line_writer::modules(std::vector<std::size_t>& which) const {
    constexpr std::size_t most_examined = 24;
    const std::vector<module_move> moves = module_moves(which);
    std::vector<suggested_line> out;
    for (std::size_t m = 0; m < moves.size() && m < most_examined; ++m) {
        const module_move& move = moves[m];
        if (move.tails < 3 || count_marks(move.from) != count_marks(move.to) || takes_others_along(move)) continue;
        out.push_back({rule_of_module(move), surety::named, link_kind::rename, move.links.front(), move.links});
        const std::unordered_set<std::size_t> gone(move.links.begin(), move.links.end());
        std::erase_if(which, [&](std::size_t i) { return gone.contains(i); });
    }
    return out;
}

CKPT_DETAIL_DEF std::vector<suggested_line> line_writer::literal(const std::vector<std::size_t>& which) const {
    std::vector<suggested_line> out;
    for (const std::size_t i : which) {
        const family_link& l = of_.links[i];
        if (l.kind != link_kind::rename) {
            out.push_back({rule_of(l), l.sure, l.kind, i, {i}});
            continue;
        }
        for (std::size_t m = 0; m < l.sources[0].size(); ++m) {
            std::string text = literal_rename(of_.sources[l.sources[0][m]].name, of_.targets[l.targets[0][m]].name);
            out.push_back({std::move(text), l.sure, l.kind, i, {i}});
        }
    }
    return out;
}

CKPT_DETAIL_DEF void line_writer::cut(std::vector<suggested_line>& lines, std::size_t most) const {
    if (lines.size() <= most) return;
    const auto weight = [this](const suggested_line& l) {
        std::size_t n = 0;
        for (const std::size_t i : l.links) n += of_.links[i].sources.front().size();
        return n;
    };
    sort_values(lines, [&](const suggested_line& a, const suggested_line& b) { return weight(a) > weight(b); });
    std::size_t patterns = 0;
    std::erase_if(lines,
                  [&](const suggested_line& l) { return l.text.find('{') != std::string::npos && ++patterns > most; });
    sort_values(lines, [](const suggested_line& a, const suggested_line& b) { return a.order < b.order; });
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
