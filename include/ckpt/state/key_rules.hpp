// ckpt/state/key_rules.hpp: the text of one key rule, as data.
//
// SPDX-License-Identifier: MIT
// In:      one line of a rules text: "merge 0 {p:**}.q.{l}, {p:**}.k.{l} -> {p}.qk.{l} where ndim == 2".
// Out:     what it means: verb, patterns, templates, numbers, condition; or the place of the first fault.
// Refuses: what docs/key-rules.md refuses. The parser is constexpr, so that a literal is refused by the compiler and a
//          line of a file at run time, by the same code.
#pragma once

#include <ckpt/core/constexpr_vector.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/pattern.hpp>
#include <ckpt/state/rule_code.hpp>
#include <ckpt/state/rule_formula.hpp>
#include <ckpt/tensor/dtype.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Whether `text` is an integer, a decimal, inf, nan, true or false: what fill and pad may write.
[[nodiscard]] constexpr bool is_filling(std::string_view text) noexcept {
    if (text == "true" || text == "false" || text == "nan" || text == "inf" || text == "-inf") return true;
    std::size_t i = text.starts_with('-') ? 1 : 0;
    std::size_t digits = 0;
    for (; i < text.size() && is_digit(text[i]); ++i) ++digits;
    if (i < text.size() && text[i] == '.')
        for (++i; i < text.size() && is_digit(text[i]); ++i) ++digits;
    if (digits == 0) return false;
    if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
        ++i;
        if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
        const std::size_t first = i;
        for (; i < text.size() && is_digit(text[i]); ++i) {}
        if (i == first) return false;
    }
    return i == text.size();
}

/// One rule: its verb, and the arguments that the verb takes.
class rule_reader : rule_words {
  public:
    using rule_words::rule_words;

    constexpr bool run() {
        blanks();
        const std::size_t begin = at_;
        if (peek() == '?') {
            out_.optional = true;
            ++at_;
            blanks();
        }
        const std::size_t from = at_;
        while (at_ < s_.size() && s_[at_] >= 'a' && s_[at_] <= 'z') ++at_;
        const std::string_view verb = s_.substr(from, at_ - from);
        if (!at_blank_or_end()) ++at_;
        constexpr rule_verb verbs[]{rule_verb::strip,   rule_verb::add,     rule_verb::rename,  rule_verb::drop,
                                    rule_verb::keep,    rule_verb::copy,    rule_verb::tie,     rule_verb::split,
                                    rule_verb::merge,   rule_verb::stack,   rule_verb::unstack, rule_verb::transpose,
                                    rule_verb::permute, rule_verb::reshape, rule_verb::squeeze, rule_verb::unsqueeze,
                                    rule_verb::narrow,  rule_verb::pad,     rule_verb::cast,    rule_verb::fill};
        bool known = false;
        for (const rule_verb v : verbs)
            if (name(v) == verb && at_ == from + verb.size()) {
                out_.verb = v;
                known = true;
            }
        if (!known) {
            while (!at_blank_or_end()) ++at_;
            return fault_.fail("ckpt: {it} is no verb of a key rule", from, at_);
        }
        if (!arguments()) return false;
        blanks();
        if (at_ != s_.size()) return fault_.fail("ckpt: {it} where the rule should end", at_, word_end());
        std::size_t end = s_.size();
        while (end > begin && (s_[end - 1] == ' ' || s_[end - 1] == '\t')) --end;
        out_.text = s_.substr(begin, end - begin);
        return true;
    }

  private:
    constexpr bool pattern_word(spelled& out) {
        if (!word(out, "ckpt: {it} where a pattern should be")) return false;
        if (out.in_quotes) return true;
        for (const std::string_view keyword : {"where", "with", "by", "wrappers"})
            if (out.text == keyword)
                return fault_.fail("ckpt: {it} is a word of the grammar: as a pattern it stands in quotes", out.at,
                                   out.at + out.text.size());
        if (out.text.starts_with("qkv(") || out.text.starts_with('['))
            return fault_.fail("ckpt: {it} is read as grammar here: as a pattern it stands in quotes", out.at,
                               out.at + out.text.size());
        return true;
    }
    constexpr bool one_pattern(constexpr_vector<char>* binds = nullptr) {
        spelled w;
        if (!pattern_word(w)) return false;
        out_.words.push_back(w);
        out_.patterns.push_back({});
        return parse_pattern(w, out_.patterns.back(), fault_, binds);
    }
    /// Patterns joined by commas that all bind the same names, in the slots of the first.
    constexpr bool pattern_list_of_one_set() {
        if (!one_pattern()) return false;
        while (peek_comma()) {
            pattern_code next;
            next.captures = out_.patterns.front().captures;
            spelled w;
            constexpr_vector<char> binds;
            if (!pattern_word(w) || !parse_pattern(w, next, fault_, &binds)) return false;
            const std::size_t names = out_.patterns.front().captures.size();
            bool same = next.captures.size() == names;
            for (std::size_t i = 0; i < names; ++i) same = same && binds[i] != 0;
            if (!same)
                return w.fail(fault_, "ckpt: {it} does not bind the names that the first pattern binds", 0,
                              w.text.size());
            out_.words.push_back(w);
            out_.patterns.push_back(std::move(next));
        }
        return true;
    }
    constexpr bool one_template() {
        spelled w;
        if (!pattern_word(w)) return false;
        out_.templates.push_back({});
        return parse_template(w, out_.patterns.front().captures, -1, out_.templates.back(), out_, fault_);
    }
    constexpr bool template_list() {
        do {
            if (!one_template()) return false;
        } while (peek_comma());
        return true;
    }
    constexpr bool arrow() { return expect("->", "ckpt: {it} where -> should be"); }

    constexpr bool number(const char* what_is_missing) {
        std::int64_t n = 0;
        if (!integer(n, what_is_missing)) return false;
        const char next = peek();
        if (!at_blank_or_end() && next != ',' && next != ')' && next != ']')
            return fault_.fail("ckpt: {it} is no part of an integer", at_, at_ + 1);
        out_.numbers.push_back(n);
        return true;
    }
    constexpr bool dimension() { return number("ckpt: {it} where a dimension should be"); }
    /// Integers between `open` and `close`, joined by commas, a last comma allowed.
    constexpr bool number_list(char open, char close, const char* what_is_missing) {
        const char sign[2]{open, '\0'};
        if (!expect(std::string_view{sign, 1}, what_is_missing)) return false;
        while (true) {
            blanks();
            if (peek() == close) {
                ++at_;
                return ends_here();
            }
            if (!number("ckpt: {it} where an integer should be")) return false;
            blanks();
            if (peek() == ',') ++at_;
            else if (peek() != close)
                return fault_.fail("ckpt: {it} where a comma or the end of the list should be", at_, at_ + 1);
        }
    }

    /// One of heads=, kv_heads= and layout=. Numbers of heads are at least 1, so that 0 means that none was given.
    constexpr bool qkv_argument() {
        blanks();
        const std::size_t key = at_;
        while (at_ < s_.size() && is_name_part(s_[at_])) ++at_;
        const std::string_view which = s_.substr(key, at_ - key);
        const std::size_t key_end = at_;
        if (!expect("=", "ckpt: qkv takes heads=, kv_heads= and layout=, all three")) return false;
        blanks();
        if (which == "heads" && out_.heads == 0) return head_count(out_.heads);
        if (which == "kv_heads" && out_.kv_heads == 0) return head_count(out_.kv_heads);
        if (which == "layout" && out_.layout == qkv_layout::none) return qkv_layout_name();
        return fault_.fail("ckpt: {it} is no argument of qkv that is missing: it takes heads=, kv_heads= and "
                           "layout=, all three",
                           key, key_end);
    }
    constexpr bool head_count(std::int64_t& out) {
        const std::size_t from = at_;
        if (!integer(out, "ckpt: {it} is no number of heads")) return false;
        return out >= 1 || fault_.fail("ckpt: {it} is no number of heads: at least 1", from, at_);
    }
    constexpr bool qkv_layout_name() {
        const std::size_t from = at_;
        while (at_ < s_.size() && is_name_part(s_[at_])) ++at_;
        const std::string_view layout = s_.substr(from, at_ - from);
        if (layout == "concat") out_.layout = qkv_layout::concat;
        else if (layout == "interleaved") out_.layout = qkv_layout::interleaved;
        else if (layout == "grouped") out_.layout = qkv_layout::grouped;
        else return fault_.fail("ckpt: {it} is no layout: concat, interleaved or grouped", from, at_);
        return true;
    }
    constexpr bool qkv() {
        const std::size_t from = at_;
        if (!expect("(", "ckpt: {it} where ( should be")) return false;
        for (int i = 0; i < 3; ++i) {
            if (i != 0 && !expect(",", "ckpt: qkv takes heads=, kv_heads= and layout=, all three")) return false;
            if (!qkv_argument()) return false;
        }
        if (!expect(")", "ckpt: {it} where ) should be")) return false;
        if (out_.heads % out_.kv_heads != 0) return fault_.fail("ckpt: heads is no multiple of kv_heads", from, at_);
        if (out_.layout == qkv_layout::interleaved && out_.heads != out_.kv_heads)
            return fault_.fail("ckpt: the interleaved layout needs as many kv_heads as heads", from, at_);
        return ends_here();
    }

    constexpr bool prefix() {
        spelled w;
        if (!word(w, "ckpt: {it} where a prefix should be")) return false;
        if (!w.text.ends_with('.')) return w.fail(fault_, "ckpt: a prefix ends in a dot", 0, w.text.size());
        out_.prefix = w.text;
        if (out_.verb == rule_verb::add && (has_empty_segment(w.text.substr(0, w.text.size() - 1))))
            return w.fail(fault_, "ckpt: an empty segment in a prefix that is added", 0, w.text.size());
        return true;
    }

    /// `by {name}`: the slot of the number that stack and unstack count.
    constexpr bool counter(std::string_view& name, std::size_t& from, std::size_t& to) {
        if (!take("by")) return fault_.fail("ckpt: {it} where by {name} should be", at_, word_end());
        spelled w;
        if (!word(w, "ckpt: {it} where {name} should be")) return false;
        from = w.place(0);
        to = w.place(w.text.size());
        bool good = w.text.size() > 2 && w.text.front() == '{' && w.text.back() == '}' && is_name_start(w.text[1]);
        for (std::size_t i = 1; good && i + 1 < w.text.size(); ++i) good = is_name_part(w.text[i]);
        if (!good) return fault_.fail("ckpt: {it} where {name} should be", from, to);
        name = w.text.substr(1, w.text.size() - 2);
        if (is_reserved_name(name))
            return fault_.fail("ckpt: {it} is a word of conditions and cannot name a capture", from, to);
        return true;
    }
    /// What stack and unstack have in common: all their words, of which the template is only parsed by its own.
    constexpr bool counted(spelled& w, std::string_view& name, std::size_t& from, std::size_t& to) {
        return dimension() && one_pattern() && arrow() && pattern_word(w) && counter(name, from, to);
    }
    constexpr bool stack() {
        std::string_view name;
        std::size_t from = 0;
        std::size_t to = 0;
        spelled w;
        if (!counted(w, name, from, to)) return false;
        out_.counter = slot_of(out_.patterns.front().captures, name);
        if (out_.counter < 0) return fault_.fail("ckpt: {it} is not bound by the pattern", from, to);
        if (!out_.patterns.front().captures[static_cast<std::size_t>(out_.counter)].integer)
            return fault_.fail("ckpt: {it} is bound to text, and stack counts numbers: write {name:int} in the pattern",
                               from, to);
        out_.templates.push_back({});
        return parse_template(w, out_.patterns.front().captures, out_.counter, out_.templates.back(), out_, fault_);
    }
    constexpr bool unstack() {
        std::string_view name;
        std::size_t from = 0;
        std::size_t to = 0;
        spelled w;
        if (!counted(w, name, from, to)) return false;
        if (slot_of(out_.patterns.front().captures, name) >= 0)
            return fault_.fail("ckpt: {it} is bound by the pattern, so it cannot count", from, to);
        constexpr_vector<capture_name> captures = out_.patterns.front().captures;
        out_.counter = static_cast<std::int32_t>(captures.size());
        captures.push_back({name, true});
        out_.templates.push_back({});
        if (!parse_template(w, captures, -1, out_.templates.back(), out_, fault_)) return false;
        for (const template_piece& piece : out_.templates.back().pieces)
            for (const formula_step& step : piece.steps)
                if (step.op == formula_op::capture && step.number == out_.counter) return true;
        return w.fail(
            fault_, "ckpt: the template does not contain the number that is counted, so all parts would have one name",
            0, w.text.size());
    }

    constexpr bool fill_value() {
        blanks();
        const std::size_t from = at_;
        while (!at_blank_or_end()) ++at_;
        out_.filling = s_.substr(from, at_ - from);
        if (!is_filling(out_.filling))
            return fault_.fail("ckpt: {it} is no value: an integer, a decimal, inf, nan, true or false", from, at_);
        return true;
    }
    constexpr bool dtype_word() {
        blanks();
        const std::size_t from = at_;
        while (at_ < s_.size() && is_name_part(s_[at_])) ++at_;
        const auto named = parse_dtype(s_.substr(from, at_ - from));
        if (named && at_blank_or_end()) out_.type = *named;
        else if (named) return ends_here();
        else
            return fault_.fail("ckpt: {it} is no dtype: PyTorch's names without torch., as in float16", from,
                               at_ == from ? word_end() : at_);
        return true;
    }
    constexpr bool fill() {
        if (!fill_value() || !dtype_word()) return false;
        blanks();
        const std::size_t from = at_;
        if (!number_list('(', ')', "ckpt: {it} where a shape such as (2, 3) should be") ||
            !not_negative(0, "ckpt: {it} has a negative size", from))
            return false;
        if (!one_pattern()) return false;
        const spelled& w = out_.words.back();
        if (!out_.patterns.front().literal)
            return w.fail(fault_, "ckpt: {it} is filled, so it is one key without wildcards and captures", 0,
                          w.text.size());
        if (has_empty_segment(w.text))
            return w.fail(fault_, "ckpt: a key with an empty segment cannot be filled", 0, w.text.size());
        return true;
    }
    constexpr bool not_negative(std::size_t first, const char* sentence, std::size_t from) {
        for (std::size_t i = first; i < out_.numbers.size(); ++i)
            if (out_.numbers[i] < 0) return fault_.fail(sentence, from, at_);
        return true;
    }

    constexpr bool split_or_merge() {
        if (!dimension()) return false;
        blanks();
        const bool is_split = out_.verb == rule_verb::split;
        if (peek() == '[' && is_split) {
            const std::size_t from = at_;
            out_.sizes_given = true;
            if (!number_list('[', ']', "ckpt: {it} where [ should be") ||
                !not_negative(1, "ckpt: a size is negative", from))
                return false;
        } else if (s_.substr(at_).starts_with("qkv(")) {
            at_ += 3;
            if (!qkv()) return false;
        }
        if (!(is_split ? one_pattern() : pattern_list_of_one_set()) || !arrow()) return false;
        blanks();
        const std::size_t from = at_;
        if (!(is_split ? template_list() : one_template())) return false;
        const std::size_t parts = is_split ? out_.templates.size() : out_.patterns.size();
        if (out_.layout != qkv_layout::none && parts != 3)
            return fault_.fail("ckpt: qkv has three parts: q, k and v", from, at_);
        if (out_.sizes_given && parts != out_.numbers.size() - 1)
            return fault_.fail("ckpt: there are not as many templates as sizes", from, at_);
        return true;
    }

    constexpr bool arguments() {
        switch (out_.verb) {
        case rule_verb::strip:
            if (take("wrappers")) {
                out_.verb = rule_verb::strip_wrappers;
                return true;
            }
            return prefix();
        case rule_verb::strip_wrappers:
        case rule_verb::add: return prefix();
        case rule_verb::rename:
        case rule_verb::copy: return one_pattern() && arrow() && one_template() && condition();
        case rule_verb::drop: return one_pattern() && condition();
        case rule_verb::keep: return pattern_list() && condition();
        case rule_verb::tie: return tie();
        case rule_verb::split:
        case rule_verb::merge: return split_or_merge() && condition();
        case rule_verb::stack: return stack() && condition();
        case rule_verb::unstack: return unstack() && condition();
        case rule_verb::transpose: return dimension() && dimension() && one_pattern() && condition();
        case rule_verb::permute:
            return number_list('(', ')', "ckpt: {it} where a list such as (1, 0) should be") && one_pattern() &&
                   condition();
        case rule_verb::reshape: return reshape() && one_pattern() && condition();
        case rule_verb::squeeze: return squeeze() && condition();
        case rule_verb::unsqueeze: return dimension() && one_pattern() && condition();
        case rule_verb::narrow: return narrow() && condition();
        case rule_verb::pad: return pad() && condition();
        case rule_verb::cast: return cast() && condition();
        case rule_verb::fill: return fill();
        }
        return false;
    }
    constexpr bool pattern_list() {
        do {
            if (!one_pattern()) return false;
        } while (peek_comma());
        return true;
    }
    constexpr bool squeeze() {
        blanks();
        const std::size_t from = at_;
        std::int64_t n = 0;
        std::size_t end = from + (peek() == '-' ? 1u : 0u);
        while (end < s_.size() && is_digit(s_[end])) ++end;
        // A number that ends the rule is its pattern.
        std::size_t next = end;
        while (next < s_.size() && (s_[next] == ' ' || s_[next] == '\t')) ++next;
        const bool is_dimension =
            parse_decimal(s_.substr(from, end - from), n) && end < next && next < s_.size() && !starts_where(next);
        out_.every_dimension = !is_dimension;
        return (!is_dimension || dimension()) && one_pattern();
    }
    constexpr bool narrow() {
        if (!dimension()) return false;
        blanks();
        const std::size_t from = at_;
        return number("ckpt: {it} where a start should be") && number("ckpt: {it} where a length should be") &&
               not_negative(1, "ckpt: start and length of narrow are not negative", from) && one_pattern();
    }
    constexpr bool pad() {
        if (!dimension()) return false;
        blanks();
        const std::size_t from = at_;
        if (take("multiple")) {
            out_.to_multiple = true;
            out_.numbers.push_back(0); // how many before
            blanks();
            const std::size_t size = at_;
            if (!number("ckpt: {it} where a size should be")) return false;
            if (out_.numbers.back() < 1) return fault_.fail("ckpt: {it} is no size to pad to multiples of", size, at_);
        } else if (!number("ckpt: {it} where a count or the word multiple should be") ||
                   !number("ckpt: {it} where a count should be") ||
                   !not_negative(1, "ckpt: the counts of pad are not negative", from)) {
            return false;
        }
        out_.filling = "0";
        if (take("with") && !fill_value()) return false;
        return one_pattern();
    }
    constexpr bool cast() {
        if (!dtype_word()) return false;
        if (out_.type == ckpt::dtype::float8_e8m0fnu)
            return fault_.fail("ckpt: nothing can be cast to {it}", at_ - ckpt::name(out_.type).size(), at_);
        return one_pattern();
    }
    constexpr bool reshape() {
        blanks();
        const std::size_t from = at_;
        if (!number_list('(', ')', "ckpt: {it} where a shape such as (2, -1) should be")) return false;
        std::size_t open = 0;
        for (const std::int64_t n : out_.numbers) {
            if (n < -1) return fault_.fail("ckpt: {it} has a negative size that is not -1", from, at_);
            open += n == -1 ? 1u : 0u;
        }
        if (open > 1) return fault_.fail("ckpt: {it} has more than one -1", from, at_);
        return true;
    }
    constexpr bool tie() {
        // The left side is a template over what the right side binds.
        spelled left;
        if (!pattern_word(left) || !expect("=", "ckpt: {it} where = should be") || !one_pattern()) return false;
        out_.templates.push_back({});
        return parse_template(left, out_.patterns.front().captures, -1, out_.templates.back(), out_, fault_);
    }
    [[nodiscard]] constexpr bool starts_where(std::size_t at) const noexcept {
        const std::string_view rest = s_.substr(at);
        return rest.starts_with("where") && (rest.size() == 5 || rest[5] == ' ' || rest[5] == '\t');
    }
    constexpr bool condition() {
        blanks();
        if (!starts_where(at_)) return true;
        const std::size_t from = at_ + 5;
        const spelled all{s_, s_, 0, false};
        for (const pattern_code& p : out_.patterns) {
            formula_parser parser{all, from, s_.size(), p.captures, true, out_, fault_};
            if (out_.verb == rule_verb::stack) parser.hidden = out_.counter;
            if (!parser.run()) return false;
            out_.conditions.push_back(std::move(parser.steps));
            if (out_.verb != rule_verb::keep) break;
        }
        at_ = s_.size();
        return true;
    }
};

/// Where the part of a line before its comment ends: `#` at the start or after a blank, outside quotes.
[[nodiscard]] constexpr std::size_t end_of_rule(std::string_view s, std::size_t from, std::size_t to) noexcept {
    bool quotes = false;
    for (std::size_t i = from; i < to; ++i) {
        if (quotes) {
            if (s[i] == '\\' && i + 1 < to && (s[i + 1] == '"' || s[i + 1] == '\\')) ++i;
            else if (s[i] == '"') quotes = false;
        } else if (s[i] == '"') {
            quotes = true;
        } else if (s[i] == '#' && (i == from || s[i - 1] == ' ' || s[i - 1] == '\t')) {
            return i;
        }
    }
    return to;
}

/// Parses the rule that stands in [from, to) of `whole`. Places in the fault are of `whole`.
constexpr bool parse_rule(std::string_view whole, std::size_t from, std::size_t to, rule_code& out,
                          syntax_fault& fault) {
    return rule_reader{whole, from, to, out, fault}.run();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
