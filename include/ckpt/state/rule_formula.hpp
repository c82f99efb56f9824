// ckpt/state/rule_formula.hpp: templates, integer expressions and conditions of key rules.
//
// SPDX-License-Identifier: MIT
// In:      a word of a rule, and the names that its pattern binds: "blocks.{i+1}.weight", "ndim == 2 and
//          has({p}.bias)". Out: the pieces of a template; an expression as steps in postfix order. Refuses: what
//          docs/key-rules.md refuses, with its place. All of it is constexpr: see key_rules.hpp.
#pragma once

#include <ckpt/core/constexpr_vector.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/pattern.hpp>
#include <ckpt/state/rule_code.hpp>
#include <ckpt/state/rule_words.hpp>
#include <ckpt/tensor/dtype.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Parses the template that `word` spells. `hidden` is a slot that it must not name; -1: none.
constexpr bool parse_template(const spelled& word, const constexpr_vector<capture_name>& captures, std::int32_t hidden,
                              template_code& out, rule_code& rule, syntax_fault& fault);

/// Parses a formula: the integer expressions of templates and the conditions of rules share it.
class formula_parser {
  public:
    enum class type : std::uint8_t { none, number, text, dtype, truth };

    constexpr formula_parser(const spelled& word, std::size_t from, std::size_t to,
                             const constexpr_vector<capture_name>& captures, bool condition, rule_code& rule,
                             syntax_fault& fault)
        : word_{word},
          s_{word.text.substr(0, to)},
          begin_{from},
          at_{from},
          captures_{captures},
          condition_{condition},
          rule_{rule},
          fault_{fault} {}

    /// `hidden` is a slot that must not be named; -1: none.
    std::int32_t hidden{-1};
    formula steps{};

    /// The whole text is one expression of the kind that is wanted.
    constexpr bool run() {
        type t = type::none;
        if (!(condition_ ? disjunction(t) : sum(t))) return false;
        blanks();
        if (at_ != s_.size()) return fail("ckpt: {it} where the expression should end", at_, at_ + 1);
        while (begin_ < at_ && (s_[begin_] == ' ' || s_[begin_] == '\t')) ++begin_;
        if (condition_ && t != type::truth)
            return fail("ckpt: a bare number, text or dtype is no condition", begin_, at_);
        return true;
    }

  private:
    constexpr bool fail(const char* sentence, std::size_t from, std::size_t to) {
        return word_.fail(fault_, sentence, from, to);
    }
    constexpr void blanks() {
        while (at_ < s_.size() && (s_[at_] == ' ' || s_[at_] == '\t')) ++at_;
    }
    [[nodiscard]] constexpr std::string_view peek_word() {
        blanks();
        std::size_t end = at_;
        if (end < s_.size() && is_name_start(s_[end]))
            while (end < s_.size() && is_name_part(s_[end])) ++end;
        return s_.substr(at_, end - at_);
    }
    constexpr bool take_word(std::string_view word) {
        if (peek_word() != word) return false;
        at_ += word.size();
        return true;
    }
    constexpr void push(formula_op op, std::int64_t number = 0) { steps.push_back({.op = op, .number = number}); }
    /// The value that stands in [from, to), but for blanks behind it.
    constexpr bool wants(type have, type want, const char* sentence, std::size_t from, std::size_t to) {
        while (to > from && (s_[to - 1] == ' ' || s_[to - 1] == '\t')) --to;
        return have == want || fail(sentence, from, to);
    }

    constexpr bool disjunction(type& t) { return chain(t, true); }
    constexpr bool chain(type& t, bool any) {
        blanks();
        const std::size_t from = at_;
        if (!(any ? chain(t, false) : negation(t))) return false;
        constexpr_vector<std::size_t> skips;
        for (std::size_t end = at_; take_word(any ? "or" : "and"); end = at_) {
            if (!wants(t, type::truth, "ckpt: {it} is no condition, but `and` and `or` join conditions", from, end))
                return false;
            skips.push_back(steps.size());
            push(any ? formula_op::skip_if_true : formula_op::skip_if_false);
            blanks();
            const std::size_t right = at_;
            if (!(any ? chain(t, false) : negation(t))) return false;
            if (!wants(t, type::truth, "ckpt: {it} is no condition, but `and` and `or` join conditions", right, at_))
                return false;
        }
        for (const std::size_t skip : skips) steps[skip].number = static_cast<std::int64_t>(steps.size());
        return true;
    }
    constexpr bool negation(type& t) {
        std::size_t times = 0;
        while (take_word("not")) ++times;
        blanks();
        const std::size_t from = at_;
        if (!comparison(t)) return false;
        if (times == 0) return true;
        if (!wants(t, type::truth, "ckpt: {it} is no condition, so `not` means nothing", from, at_)) return false;
        if (times % 2 == 1) push(formula_op::negate);
        return true;
    }
    [[nodiscard]] constexpr bool comparison_sign(formula_op& op, std::size_t& length) {
        blanks();
        const std::string_view rest = s_.substr(at_);
        length = 2;
        if (rest.starts_with("==")) op = formula_op::equal;
        else if (rest.starts_with("!=")) op = formula_op::not_equal;
        else if (rest.starts_with("<=")) op = formula_op::less_equal;
        else if (rest.starts_with(">=")) op = formula_op::greater_equal;
        else {
            length = 1;
            if (rest.starts_with('<')) op = formula_op::less;
            else if (rest.starts_with('>')) op = formula_op::greater;
            else return false;
        }
        return true;
    }
    constexpr bool comparison(type& t) {
        blanks();
        const std::size_t from = at_;
        if (!sum(t)) return false;
        formula_op op{};
        std::size_t length = 0;
        if (!comparison_sign(op, length)) return true;
        const std::size_t sign = at_;
        at_ += length;
        type right = type::none;
        if (!sum(right)) return false;
        if (t == type::truth || right == type::truth || t != right)
            return fail("ckpt: {it} compares two things of different kinds", from, at_);
        if (t != type::number && op != formula_op::equal && op != formula_op::not_equal)
            return fail("ckpt: {it} has no order here: text and dtypes take only == and !=", sign, sign + length);
        push(op);
        t = type::truth;
        if (comparison_sign(op, length))
            return fail("ckpt: comparisons do not chain: join two of them with `and`", at_, at_ + length);
        return true;
    }
    constexpr bool sum(type& t) { return series(t, false); }
    constexpr bool series(type& t, bool product) {
        blanks();
        const std::size_t from = at_;
        if (!(product ? primary(t) : series(t, true))) return false;
        while (true) {
            blanks();
            const char c = at_ < s_.size() ? s_[at_] : '\0';
            formula_op op{};
            if (product && c == '*') op = formula_op::multiply;
            else if (product && c == '/') op = formula_op::divide;
            else if (product && c == '%') op = formula_op::modulo;
            else if (!product && c == '+') op = formula_op::add;
            else if (!product && c == '-') op = formula_op::subtract;
            else return true;
            if (!wants(t, type::number, "ckpt: {it} is no number", from, at_)) return false;
            ++at_;
            blanks();
            const std::size_t right = at_;
            if (!(product ? primary(t) : series(t, true))) return false;
            if (!wants(t, type::number, "ckpt: {it} is no number", right, at_)) return false;
            push(op);
        }
    }
    constexpr bool primary(type& t) {
        blanks();
        const std::size_t from = at_;
        if (at_ == s_.size()) return fail("ckpt: {it} where a value should be", at_, at_ + 1);
        const char c = s_[at_];
        if (c == '(') return parenthesised(t);
        if (is_digit(c) || (c == '-' && at_ + 1 < s_.size() && is_digit(s_[at_ + 1]))) return integer_literal(t);
        if (c == '-') return fail("ckpt: a minus sign stands only before an integer: write 0 - x", from, from + 1);
        if (c == '"' && condition_) return quoted_text(t);
        const std::string_view word = peek_word();
        if (word.empty()) return fail("ckpt: {it} where a value should be", at_, at_ + 1);
        at_ += word.size();
        if (condition_) {
            bool known = false;
            if (!own_word(word, from, t, known)) return false;
            if (known) return true;
        }
        return capture(word, from, t);
    }
    constexpr bool parenthesised(type& t) {
        if (depth_ == 64) return fail("ckpt: more than 64 nested parentheses", at_, at_ + 1);
        ++depth_;
        ++at_;
        if (!(condition_ ? disjunction(t) : sum(t))) return false;
        blanks();
        if (at_ == s_.size() || s_[at_] != ')')
            return fail("ckpt: {it} where the closing parenthesis should be", at_, at_ + 1);
        ++at_;
        --depth_;
        return true;
    }
    constexpr bool integer_literal(type& t) {
        const std::size_t from = at_++;
        while (at_ < s_.size() && is_digit(s_[at_])) ++at_;
        std::int64_t n = 0;
        if (!parse_decimal(s_.substr(from, at_ - from), n))
            return fail("ckpt: {it} does not fit into 64 bits", from, at_);
        push(formula_op::number, n);
        t = type::number;
        return true;
    }
    /// A name that the pattern binds; it stands in [from, at_).
    constexpr bool capture(std::string_view name, std::size_t from, type& t) {
        const std::int32_t slot = slot_of(captures_, name);
        if (slot < 0) return fail("ckpt: {it} is not bound by the pattern", from, at_);
        if (slot == hidden) return fail("ckpt: {it} is the number that is counted and cannot be used here", from, at_);
        const bool integer = captures_[static_cast<std::size_t>(slot)].integer;
        if (!integer && !condition_)
            return fail("ckpt: {it} is bound to text, and an expression takes numbers: write {name:int} in the pattern",
                        from, at_);
        push(integer ? formula_op::capture : formula_op::text_capture, slot);
        t = integer ? type::number : type::text;
        return true;
    }
    /// The words that only conditions know. Sets `known` where `word` is one of them.
    constexpr bool own_word(std::string_view word, std::size_t from, type& t, bool& known) {
        known = true;
        t = type::number;
        if (word == "shape") return shape_size(from);
        if (word == "has") return has(from, t);
        if (word == "ndim") {
            push(formula_op::ndim);
        } else if (word == "numel") {
            push(formula_op::numel);
        } else if (word == "dtype") {
            push(formula_op::own_dtype);
            t = type::dtype;
        } else if (const auto named = parse_dtype(word)) {
            steps.push_back({.op = formula_op::dtype, .type = *named});
            t = type::dtype;
        } else {
            known = false;
        }
        return true;
    }
    /// What follows `shape`: a dimension in brackets.
    constexpr bool shape_size(std::size_t from) {
        blanks();
        const std::size_t open = at_;
        if (at_ == s_.size() || s_[at_] != '[') return fail("ckpt: shape is asked by dimension: shape[0]", from, at_);
        const std::size_t close = s_.find(']', at_);
        if (close == std::string_view::npos) return fail("ckpt: a bracket that is not closed", open, open + 1);
        std::size_t first = open + 1;
        std::size_t last = close;
        while (first < last && (s_[first] == ' ' || s_[first] == '\t')) ++first;
        while (last > first && (s_[last - 1] == ' ' || s_[last - 1] == '\t')) --last;
        std::int64_t n = 0;
        if (!parse_decimal(s_.substr(first, last - first), n)) return fail("ckpt: {it} is no dimension", first, last);
        at_ = close + 1;
        push(formula_op::shape, n);
        return true;
    }
    constexpr bool has(std::size_t from, type& t) {
        blanks();
        if (at_ == s_.size() || s_[at_] != '(') return fail("ckpt: has is asked for a key: has(name)", from, at_);
        ++at_;
        blanks();
        spelled w;
        if (at_ < s_.size() && s_[at_] == '"') {
            if (!parse_quoted_word(s_, at_, w, rule_, fault_)) return false;
            blanks();
        } else if (!bare_key(w)) {
            return false;
        }
        if (at_ == s_.size() || s_[at_] != ')')
            return fail("ckpt: {it} where the closing parenthesis should be", at_, at_ + 1);
        if (w.text.empty()) return fail("ckpt: has is asked for a key: has(name)", from, at_);
        ++at_;
        template_code key;
        if (!parse_template(w, captures_, hidden, key, rule_, fault_)) return false;
        push(formula_op::has, static_cast<std::int64_t>(rule_.mentioned.size()));
        rule_.mentioned.push_back(std::move(key));
        t = type::truth;
        return true;
    }
    /// A template without quotes, up to the closing parenthesis.
    constexpr bool bare_key(spelled& out) {
        const std::size_t begin = at_;
        bool braces = false;
        while (at_ < s_.size() && (braces || s_[at_] != ')')) {
            if (s_[at_] == '{') braces = true;
            else if (s_[at_] == '}') braces = false;
            ++at_;
        }
        std::size_t end = at_;
        while (end > begin && (s_[end - 1] == ' ' || s_[end - 1] == '\t')) --end;
        out.text = out.raw = s_.substr(begin, end - begin);
        out.at = begin;
        for (std::size_t i = begin; i < end; ++i)
            if (s_[i] == ' ' || s_[i] == '\t' || s_[i] == ',' || s_[i] == '=' || s_[i] == '"' ||
                s_.substr(i, end - i).starts_with("->"))
                return fail("ckpt: {it} inside a bare word: put the whole word in quotes", i, i + 1);
        return true;
    }
    constexpr bool quoted_text(type& t) {
        spelled w;
        if (!parse_quoted_word(s_, at_, w, rule_, fault_)) return false;
        steps.push_back({.op = formula_op::text, .text = w.text});
        t = type::text;
        return true;
    }

    spelled word_;
    std::string_view s_;
    std::size_t begin_;
    std::size_t at_;
    const constexpr_vector<capture_name>& captures_;
    bool condition_;
    rule_code& rule_;
    syntax_fault& fault_;
    std::size_t depth_{0};
};

/// Parses what stands in braces at `at` of a template: a capture or an expression. Moves `at` behind the braces.
constexpr bool parse_template_braces(const spelled& word, std::size_t& at, bool begins_segment,
                                     const constexpr_vector<capture_name>& captures, std::int32_t hidden,
                                     template_code& out, rule_code& rule, syntax_fault& fault) {
    const std::string_view s = word.text;
    const std::size_t open = at;
    const std::size_t close = s.find('}', open);
    if (close == std::string_view::npos) return word.fail(fault, "ckpt: a brace that is not closed", open, open + 1);
    std::size_t from = open + 1;
    std::size_t to = close;
    while (from < to && (s[from] == ' ' || s[from] == '\t')) ++from;
    while (to > from && (s[to - 1] == ' ' || s[to - 1] == '\t')) --to;
    if (from == to)
        return word.fail(fault, "ckpt: empty braces: name a capture or write an expression", open, close + 1);
    bool is_name = is_name_start(s[from]);
    for (std::size_t i = from; i < to; ++i) is_name = is_name && is_name_part(s[i]);
    const std::int32_t slot = is_name ? slot_of(captures, s.substr(from, to - from)) : -1;
    if (is_name && slot < 0) return word.fail(fault, "ckpt: {it} is not bound by the pattern", open, close + 1);
    if (slot >= 0 && slot == hidden)
        return word.fail(fault, "ckpt: {it} is the number that is counted and cannot stand in the template", open,
                         close + 1);
    template_piece piece{.kind = template_part::capture, .slot = slot};
    if (!is_name || captures[static_cast<std::size_t>(slot)].integer) {
        formula_parser parser{word, from, to, captures, false, rule, fault};
        parser.hidden = hidden;
        if (!parser.run()) return false;
        piece.kind = template_part::number;
        piece.steps = std::move(parser.steps);
    }
    at = close + 1;
    piece.alone = begins_segment && (at == s.size() || s[at] == '.');
    out.pieces.push_back(std::move(piece));
    return true;
}

/// Whether a pattern of the rule has a star whose text has no name.
[[nodiscard]] constexpr bool has_nameless_star(const rule_code& rule) noexcept {
    for (const pattern_code& pattern : rule.patterns)
        for (const pattern_element& e : pattern.elements)
            if ((e.kind == pattern_part::star || e.kind == pattern_part::many) && e.slot < 0) return true;
    return false;
}

constexpr bool parse_template(const spelled& word, const constexpr_vector<capture_name>& captures, std::int32_t hidden,
                              template_code& out, rule_code& rule, syntax_fault& fault) {
    out.word = word;
    const bool wants_names = has_nameless_star(rule);
    const std::string_view s = word.text;
    std::size_t at = 0;
    while (true) {
        const std::size_t start = at;
        const std::size_t pieces = out.pieces.size();
        std::size_t literal = at; // where the literal text that was met last begins
        const auto flush = [&](std::size_t to) {
            if (to > literal)
                out.pieces.push_back({.kind = template_part::literal, .text = s.substr(literal, to - literal)});
        };
        while (at < s.size() && s[at] != '.') {
            if (s[at] == '\\') {
                flush(at);
                if (at + 1 == s.size())
                    return word.fail(fault, "ckpt: a backslash at the end escapes nothing", at, at + 1);
                if (s[at + 1] == '.')
                    return word.fail(fault, "ckpt: a dot always separates segments and cannot be escaped", at, at + 2);
                literal = at + 1;
                at += 2;
            } else if (s[at] == '}') {
                return word.fail(fault, "ckpt: a closing brace without an opening one: write \\} for the character", at,
                                 at + 1);
            } else if (s[at] == '*' && wants_names) {
                return word.fail(fault,
                                 "ckpt: a star stands for nothing in a template: give what the pattern matches a name, "
                                 "as in a.{x} -> b.{x}, or write \\* for the character",
                                 at, at + 1);
            } else if (s[at] == '{') {
                flush(at);
                if (!parse_template_braces(word, at, at == start, captures, hidden, out, rule, fault)) return false;
                literal = at;
            } else {
                ++at;
            }
        }
        flush(at);
        if (out.pieces.size() == pieces) return word.fail(fault, "ckpt: an empty segment in a template", at, at + 1);
        out.pieces.push_back({.kind = template_part::end});
        if (at == s.size()) return true;
        ++at;
    }
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
