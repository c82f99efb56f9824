// ckpt/state/impl/suggest_text.ipp: the definitions of suggest_text.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/short_list.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/fold.hpp>
#include <ckpt/state/key_map.hpp>
#include <ckpt/state/key_map_data.hpp>
#include <ckpt/state/remap.hpp>
#include <ckpt/state/remap_access.hpp>
#include <ckpt/state/rule_text.hpp>
#include <ckpt/state/suggest.hpp>
#include <ckpt/state/suggest_prefixes.hpp>
#include <ckpt/state/suggest_text.hpp>
#include <ckpt/tensor/shape_text.hpp>

#include <algorithm>
#include <initializer_list>
#include <unordered_set>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF rule_suggestion suggestion_writer::run() {
    choose();
    if (const std::string more = transposes(); !more.empty()) {
        outcome made = try_out(text_ + more);
        if (made.ok && made.hits > best_.hits) {
            best_ = std::move(made);
            text_ += more;
        } else {
            turned_.clear();
        }
    }
    return finish();
}

CKPT_DETAIL_DEF std::unordered_map<std::string_view, const known_shape*> suggestion_writer::outcome::by_key() const {
    std::unordered_map<std::string_view, const known_shape*> out;
    for (const auto& [key, shape] : results) out.emplace(key, &shape);
    return out;
}

CKPT_DETAIL_DEF suggestion_writer::outcome suggestion_writer::try_out(const std::string& text) const {
    outcome out;
    const auto map = key_map::parse(text);
    if (!map) return out;
    const remap_plan plan = plan_remap(weights_, *map);
    if (!plan.ok()) return out;
    out.ok = true;
    for (planned_tensor& made : planned_tensors(plan)) {
        out.hits += of_.is_target(made.key, made.shape) ? 1u : 0u;
        out.results.emplace_back(std::string(made.key), std::move(made.shape));
    }
    return out;
}

CKPT_DETAIL_DEF void suggestion_writer::choose() {
    claimed_ = of_.equal;
    std::vector<std::size_t> all;
    for (std::size_t i = 0; i < of_.links.size(); ++i) {
        const family_link& l = of_.links[i];
        const bool moves = !l.turned || l.from != l.to ||
                           std::any_of(l.offsets.begin(), l.offsets.end(), [](std::int64_t n) { return n != 0; });
        if (moves) all.push_back(i); // else it is only transposed
        for (const auto& part : of_.links[i].targets) claimed_ += part.size();
    }
    std::vector<std::size_t> rest = all;
    const std::vector<suggested_line> modules = lines_.modules(rest);
    std::vector<suggested_line> general = lines_.specific(rest);
    general.insert(general.end(), modules.begin(), modules.end());
    const std::vector<suggested_line> specific = lines_.specific(all);
    for (const auto* lines : std::initializer_list<const std::vector<suggested_line>*>{&general, &specific})
        for (const bool as_group : {false, true})
            for (const bool fused_first : {true, false}) attempt(*lines, fused_first, as_group);
    attempt(lines_.literal(all), true, true);
    if (best_.ok) return;
    text_ = join({}, false);
    best_ = try_out(text_);
}

CKPT_DETAIL_DEF void suggestion_writer::attempt(std::vector<suggested_line> lines, bool fused_first, bool as_group) {
    constexpr std::uint64_t most_matches = 100'000'000;
    if ((best_.ok && (best_.hits >= claimed_ || !complete_)) || matches_ > most_matches) return;
    const std::uint64_t keys = of_.sources.size() + 1;
    lines_.cut(lines, static_cast<std::size_t>(most_matches / keys));
    for (const suggested_line& l : lines) matches_ += l.text.find('{') != std::string::npos ? keys : 1;
    sort_values(lines, [&](const suggested_line& a, const suggested_line& b) {
        const bool x = a.kind == link_kind::rename;
        const bool y = b.kind == link_kind::rename;
        if (x != y) return fused_first ? !x : x;
        return a.sure < b.sure;
    });
    std::string proposal = join(lines, as_group);
    outcome made = try_out(proposal);
    if (!made.ok || (best_.ok && made.hits <= best_.hits)) return;
    best_ = std::move(made);
    text_ = std::move(proposal);
}

/// What a line rests on, as the comment above it; the same for lines that need no other comment.
[[nodiscard]] inline std::string_view comment_of(const suggested_line& l) noexcept {
    if (l.kind != link_kind::rename)
        return l.sure == surety::named
                   ? "# queries, keys and values one after another: names and shapes cannot tell another order\n"
                   : "# guesses: queries, keys and values one after another, which the names do not tell apart\n";
    switch (l.sure) {
    case surety::named: break;
    case surety::square: return "# guesses: square, so that the shapes do not tell whether these are transposed, too\n";
    case surety::guess: return "# guesses: shapes, and the words of the names, which leave other ways\n";
    case surety::alone: return "# guesses: the only ones of this shape\n";
    case surety::position: return "# guesses: by shape and position only\n";
    }
    return "# by names and shapes\n";
}

CKPT_DETAIL_DEF std::string suggestion_writer::join(const std::vector<suggested_line>& lines, bool as_group) {
    std::string out;
    for (const std::string& p : of_.prefixes) out += p + '\n';
    append_turns(out);
    const std::string_view named = comment_of({.kind = link_kind::rename});
    std::string_view last = named; // renames by names come first and need no comment
    bool opened = false;
    for (const suggested_line& l : lines) {
        if (out.size() + l.text.size() + 256 > rules_text_limit / 2) {
            complete_ = false;
            break;
        }
        if (as_group && !opened && l.kind == link_kind::rename) {
            out += "first {\n";
            opened = true;
            last = named;
        }
        const std::string_view indent = opened ? "  " : "";
        const std::string_view comment = comment_of(l);
        if (comment != last) out.append(indent).append(comment);
        last = comment;
        out.append(indent).append(l.text) += '\n';
    }
    if (opened) out += "}\n";
    if (!complete_) out += "# there are more rules than fit into a text\n";
    return out;
}

CKPT_DETAIL_DEF void suggestion_writer::append_turns(std::string& out) {
    bool any = false;
    for (const family_link& l : of_.links) {
        if (!l.turned) continue;
        const std::string turn = rule_of_turn(l);
        if (out.size() + turn.size() + 256 > rules_text_limit / 2) complete_ = false;
        if (!complete_ || !is_rule(turn)) continue;
        if (!any) out += "# transposed, as the shapes are\n";
        any = true;
        out += turn + '\n';
    }
    if (any) out += comment_of({.kind = link_kind::rename});
}

CKPT_DETAIL_DEF std::string suggestion_writer::transposes() {
    struct matrix {
        std::int64_t rows{};
        std::int64_t columns{};
        std::string_view name{};
    };
    const auto is_matrix = [](const known_shape& s) { return s && s->size() == 2 && (*s)[0] != (*s)[1]; };
    const auto results = best_.by_key();
    std::string out;
    const auto add = [&](std::string_view from, std::string_view to) {
        std::string turn = "transpose 0 1 ";
        append_key_word(turn, from);
        const std::string name = literal_rename(from, to);
        if (!is_rule(turn) || (from != to && !is_rule(name))) return;
        out += turn + '\n';
        turned_.emplace_back(to);
        if (from != to) out += name + '\n';
    };
    std::vector<matrix> missing;
    for (const family_key& t : of_.targets) {
        if (!is_matrix(t.shape)) continue;
        const std::vector<std::int64_t>& shape = *t.shape;
        const auto found = results.find(t.name);
        if (found == results.end()) missing.push_back({shape[0], shape[1], t.name});
        else if (*found->second && **found->second == std::vector<std::int64_t>{shape[1], shape[0]})
            add(t.name, t.name);
    }
    std::vector<matrix> left; // as they would lie after a transposition
    for (const auto& [key, shape] : best_.results)
        if (is_matrix(shape) && !of_.target_of.contains(key)) left.push_back({(*shape)[1], (*shape)[0], key});
    const auto before = [](const matrix& a, const matrix& b) {
        return a.rows != b.rows ? a.rows < b.rows : a.columns < b.columns;
    };
    sort_values(left, before);
    sort_values(missing, before);
    for (std::size_t i = 0; i < missing.size(); ++i) {
        const bool alone = (i == 0 || before(missing[i - 1], missing[i])) &&
                           (i + 1 == missing.size() || before(missing[i], missing[i + 1]));
        const auto [first, last] = std::equal_range(left.begin(), left.end(), missing[i], before);
        if (alone && last - first == 1) add(first->name, missing[i].name);
    }
    return out.empty() ? out : str_cat("# guesses: transposed, because of the shapes alone\n", out);
}

CKPT_DETAIL_DEF std::vector<std::string> suggestion_writer::guessed_keys() const {
    std::vector<std::string> out = turned_;
    for (const family_link& l : of_.links)
        if (l.sure != surety::named)
            for (const auto& part : l.targets)
                for (const std::uint32_t t : part) out.push_back(of_.targets[t].name);
    for (const family_key& s : of_.sources)
        if (s.doubtful) out.push_back(s.name);
    sort_values(out);
    return out;
}

CKPT_DETAIL_DEF void suggestion_writer::append_doubtful(std::string& out) const {
    std::vector<std::string> keys;
    for (const family_key& s : of_.sources)
        if (s.doubtful) keys.push_back(s.name);
    if (keys.empty()) return;
    out += "# guesses: these keep their names, and what stands beside them leaves other ways\n";
    key_folding{keys}.append_to(out, "#   ", 50);
}

CKPT_DETAIL_DEF rule_suggestion suggestion_writer::finish() const {
    constexpr std::size_t most = 50;
    const auto results = best_.by_key();
    rule_suggestion out;
    out.matched = best_.hits;
    std::vector<std::string> missing;
    for (const family_key& t : of_.targets) {
        const auto found = results.find(t.name);
        if (found != results.end() && shapes_agree(*found->second, t.shape)) continue;
        out.unexplained_targets.push_back(t.name);
        if (found == results.end()) missing.push_back(t.name);
    }
    for (const auto& [key, shape] : best_.results)
        if (!of_.target_of.contains(key)) out.unexplained_sources.push_back(key);
    const auto n = [](std::size_t count) { return decimal(std::uint64_t{count}); };
    for (const std::string& key : guessed_keys())
        if (const auto found = results.find(key); found != results.end() && of_.is_target(key, *found->second))
            out.guessed_targets.push_back(key);
    out.text = str_cat("# ", n(of_.sources.size()), " keys, ", n(of_.targets.size()), " are wanted: ", n(best_.hits),
                       " of them come out in their shapes, ", n(of_.equal), " under the names that they have");
    out.text += of_.prefixes.empty() ? ".\n" : " after the first rules.\n";
    if (!out.guessed_targets.empty())
        out.text += str_cat("# ", n(out.guessed_targets.size()), " of them are guesses.\n");
    out.text += str_cat("# From names and shapes alone: read the rules before you use them.\n", text_);
    append_doubtful(out.text);
    append_wrong_shapes(out.text);
    if (!missing.empty()) {
        out.text += "# nothing becomes:\n";
        key_folding{missing}.append_to(out.text, "#   ", most);
    }
    if (!out.unexplained_sources.empty()) {
        out.text += "# not wanted; take the # away to drop them:\n";
        append_drops(out.text, out.unexplained_sources);
    }
    return out;
}

/// Lists of comments: a line for each element, and one that says how many more there are.
[[nodiscard]] constexpr list_style comment_lines(std::size_t most) noexcept {
    return {.most = most, .separator = "", .before_rest = "#   +", .after_rest = " more\n"};
}

CKPT_DETAIL_DEF void suggestion_writer::append_wrong_shapes(std::string& out) const {
    const auto results = best_.by_key();
    std::string lines;
    short_list list{lines, comment_lines(50)};
    for (const family_key& t : of_.targets) {
        const auto found = results.find(t.name);
        if (found == results.end() || shapes_agree(*found->second, t.shape) || !list.next()) continue;
        lines +=
            str_cat("#   ", report_text(t.name), ": ", shape_text(**found->second), ", not ", shape_text(*t.shape));
        lines += '\n';
    }
    list.end();
    if (!lines.empty()) out += str_cat("# another shape than the one that is wanted:\n", lines);
}

/// Calls `f(module)` for each module that a key is in, the outermost first, until `f` returns true.
template <class F> void each_module(std::string_view key, F&& f) {
    for (std::size_t dot = key.find('.'); dot != std::string_view::npos; dot = key.find('.', dot + 1))
        if (f(key.substr(0, dot))) return;
}

CKPT_DETAIL_DEF void suggestion_writer::append_drops(std::string& out, const std::vector<std::string>& unwanted) const {
    struct keys_below {
        std::size_t all{0};
        std::size_t unwanted{0};
    };
    std::unordered_map<std::string_view, keys_below> modules;
    const std::unordered_set<std::string_view> gone(unwanted.begin(), unwanted.end());
    for (const auto& made : best_.results) {
        const bool is_unwanted = gone.contains(made.first);
        each_module(made.first, [&](std::string_view module) {
            keys_below& below = modules[module];
            ++below.all;
            below.unwanted += is_unwanted ? 1u : 0u;
            return false;
        });
    }
    short_list list{out, comment_lines(200)};
    std::unordered_set<std::string_view> said;
    for (const std::string& key : unwanted) {
        std::string_view whole; // the outermost module of which nothing is wanted, where it has more keys than this
        each_module(key, [&](std::string_view module) {
            const keys_below& below = modules.find(module)->second;
            if (below.all != below.unwanted || below.all < 2) return false;
            whole = module;
            return true;
        });
        std::string line = "drop ";
        if (whole.empty()) {
            append_key_word(line, key);
        } else {
            if (!said.insert(whole).second) continue;
            std::string pattern;
            for (const char c : whole) append_literal(pattern, c);
            append_rule_word(line, str_cat(pattern, ".**"));
        }
        if (!list.next()) continue;
        if (is_rule(line)) out += str_cat("# ", line, "\n");
        else out += str_cat("#   ", report_text(key), " (no rule can spell it)\n");
    }
    list.end();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
