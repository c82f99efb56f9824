// ckpt/state/key_rules.hpp: the text of one key rule, as data.
//
// SPDX-License-Identifier: MIT
// In:      one line of a rules text: "merge 0 {p:**}.q.{l}, {p:**}.k.{l} -> {p}.qk.{l} where ndim == 2".
// Out:     what it means: verb, patterns, templates, numbers, condition; or the place of the first fault.
// Refuses: what docs/key-rules.md refuses. The parser is constexpr, so that a literal is refused by the compiler and a
//          line of a file at run time, by the same code.
#pragma once

#include <ckpt/core/pattern.hpp>
#include <ckpt/tensor/dtype.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

enum class rule_verb : std::uint8_t {
    strip,
    strip_wrappers,
    add,
    rename,
    drop,
    keep,
    copy,
    tie,
    split,
    merge,
    stack,
    unstack,
    transpose,
    permute,
    reshape,
    squeeze,
    unsqueeze,
    narrow,
    pad,
    cast,
    fill
};

[[nodiscard]] constexpr std::string_view name(rule_verb verb) noexcept {
    constexpr std::string_view names[]{"strip",   "strip",   "add",       "rename", "drop",    "keep",      "copy",
                                       "tie",     "split",   "merge",     "stack",  "unstack", "transpose", "permute",
                                       "reshape", "squeeze", "unsqueeze", "narrow", "pad",     "cast",      "fill"};
    return names[static_cast<std::size_t>(verb)];
}

enum class qkv_layout : std::uint8_t { none, concat, interleaved, grouped };

/// One step of an expression in postfix order.
enum class formula_op : std::uint8_t {
    number,
    capture,
    text,
    text_capture,
    dtype,
    own_dtype,
    ndim,
    numel,
    shape,
    has,
    add,
    subtract,
    multiply,
    divide,
    modulo,
    equal,
    not_equal,
    less,
    less_equal,
    greater,
    greater_equal,
    negate,
    skip_if_false,
    skip_if_true
};
struct formula_step {
    formula_op op{};
    std::int64_t number{0}; ///< a constant, a slot, a dimension, a template, where to skip to
    std::string_view text{};
    ckpt::dtype type{};
};
using formula = std::vector<formula_step>;

enum class template_part : std::uint8_t { literal, capture, number, end };
struct template_piece {
    template_part kind{};
    bool alone{false};       ///< a capture that stands alone between dots: where it is empty, its segment goes
    std::int32_t slot{-1};   ///< of a text capture
    std::string_view text{}; ///< of a literal
    formula steps{};         ///< of a number
};
struct template_code {
    std::vector<template_piece> pieces{};
    spelled word{};
};

/// One rule as data. Borrows the text that it was parsed from; words whose quotes held escapes are kept here.
struct rule_code {
    rule_verb verb{};
    bool optional{false};
    bool every_dimension{false}; ///< squeeze without a dimension
    bool sizes_given{false};
    qkv_layout layout{};
    std::int64_t heads{0};
    std::int64_t kv_heads{0};
    std::string_view text{}; ///< the rule as written
    std::string_view prefix{};
    std::vector<pattern_code> patterns{};
    std::vector<spelled> words{}; ///< of the patterns
    std::vector<template_code> templates{};
    std::vector<std::int64_t> numbers{}; ///< dimensions, sizes, a shape; by verb
    ckpt::dtype type{};
    std::string_view filling{};             ///< the number of fill and pad as written
    std::int32_t counter{-1};               ///< the slot of stack's and unstack's number
    std::vector<formula> conditions{};      ///< one for each pattern of keep, else one for all; empty: none
    std::vector<template_code> mentioned{}; ///< templates of has(...)
    std::vector<std::vector<char>> cooked{};
};

[[nodiscard]] constexpr bool parse_integer(std::string_view text, std::int64_t& out) noexcept {
    const bool minus = text.starts_with('-');
    const std::string_view digits = text.substr(minus ? 1 : 0);
    if (digits.empty()) return false;
    std::uint64_t n = 0;
    const std::uint64_t most = (std::uint64_t{1} << 63) - (minus ? 0 : 1);
    for (const char c : digits) {
        if (!is_digit(c)) return false;
        const auto digit = static_cast<std::uint64_t>(c - '0');
        if (n > (most - digit) / 10) return false;
        n = n * 10 + digit;
    }
    out = minus ? static_cast<std::int64_t>(std::uint64_t{0} - n) : static_cast<std::int64_t>(n);
    return true;
}

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

/// Parses a formula: the integer expressions of templates and the conditions of rules share it.
class formula_parser {
  public:
    enum class type : std::uint8_t { none, number, text, dtype, truth };

    constexpr formula_parser(const spelled& word, std::size_t from, std::size_t to,
                             const std::vector<capture_name>& captures, bool condition, rule_code& rule,
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
        std::vector<std::size_t> skips;
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
        if (c == '(') {
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
        if (is_digit(c) || (c == '-' && at_ + 1 < s_.size() && is_digit(s_[at_ + 1]))) {
            ++at_;
            while (at_ < s_.size() && is_digit(s_[at_])) ++at_;
            std::int64_t n = 0;
            if (!parse_integer(s_.substr(from, at_ - from), n))
                return fail("ckpt: {it} does not fit into 64 bits", from, at_);
            push(formula_op::number, n);
            t = type::number;
            return true;
        }
        if (c == '-') return fail("ckpt: a minus sign stands only before an integer: write 0 - x", from, from + 1);
        if (c == '"' && condition_) return quoted_text(t);
        const std::string_view word = peek_word();
        if (word.empty()) return fail("ckpt: {it} where a value should be", at_, at_ + 1);
        at_ += word.size();
        if (condition_ && own_word(word, from, t)) return !fault_.failed();
        if (const std::int32_t slot = slot_of(captures_, word); slot >= 0) {
            const auto i = static_cast<std::size_t>(slot);
            if (slot == hidden)
                return fail("ckpt: {it} is the number that is counted and cannot be used here", from, at_);
            if (!captures_[i].integer && !condition_)
                return fail(
                    "ckpt: {it} is bound to text, and an expression takes numbers: write {name:int} in the pattern",
                    from, at_);
            push(captures_[i].integer ? formula_op::capture : formula_op::text_capture, slot);
            t = captures_[i].integer ? type::number : type::text;
            return true;
        }
        return fail("ckpt: {it} is not bound by the pattern", from, at_);
    }
    /// The words that only conditions know. True where `word` is one; the fault says whether it went well.
    constexpr bool own_word(std::string_view word, std::size_t from, type& t) {
        t = type::number;
        if (word == "ndim") return push(formula_op::ndim), true;
        if (word == "numel") return push(formula_op::numel), true;
        if (word == "dtype") return push(formula_op::own_dtype), t = type::dtype, true;
        if (word == "shape") {
            blanks();
            const std::size_t open = at_;
            if (at_ == s_.size() || s_[at_] != '[')
                return fail("ckpt: shape is asked by dimension: shape[0]", from, at_), true;
            const std::size_t close = s_.find(']', at_);
            if (close == std::string_view::npos)
                return fail("ckpt: a bracket that is not closed", open, open + 1), true;
            std::size_t first = open + 1;
            std::size_t last = close;
            while (first < last && (s_[first] == ' ' || s_[first] == '\t')) ++first;
            while (last > first && (s_[last - 1] == ' ' || s_[last - 1] == '\t')) --last;
            std::int64_t n = 0;
            if (!parse_integer(s_.substr(first, last - first), n))
                return fail("ckpt: {it} is no dimension", first, last), true;
            at_ = close + 1;
            return push(formula_op::shape, n), true;
        }
        if (word == "has") return has(from, t), true;
        const auto named = parse_dtype(word);
        if (!named) return false;
        steps.push_back({.op = formula_op::dtype, .type = *named});
        t = type::dtype;
        return true;
    }
    constexpr bool has(std::size_t from, type& t);
    constexpr bool quoted_text(type& t);

    spelled word_;
    std::string_view s_;
    std::size_t begin_;
    std::size_t at_;
    const std::vector<capture_name>& captures_;
    bool condition_;
    rule_code& rule_;
    syntax_fault& fault_;
    std::size_t depth_{0};
};

/// Parses the template that `word` spells. `hidden` is a slot that it must not name; -1: none.
constexpr bool parse_template(const spelled& word, const std::vector<capture_name>& captures, std::int32_t hidden,
                              template_code& out, rule_code& rule, syntax_fault& fault) {
    out.word = word;
    const std::string_view s = word.text;
    std::size_t at = 0;
    while (true) {
        const std::size_t start = at;
        const std::size_t pieces = out.pieces.size();
        std::size_t literal = at;
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
            } else if (s[at] == '{') {
                flush(at);
                const std::size_t close = s.find('}', at);
                if (close == std::string_view::npos)
                    return word.fail(fault, "ckpt: a brace that is not closed", at, at + 1);
                std::size_t from = at + 1;
                std::size_t to = close;
                while (from < to && (s[from] == ' ' || s[from] == '\t')) ++from;
                while (to > from && (s[to - 1] == ' ' || s[to - 1] == '\t')) --to;
                if (from == to)
                    return word.fail(fault, "ckpt: empty braces: name a capture or write an expression", at, close + 1);
                bool is_name = is_name_start(s[from]);
                for (std::size_t i = from; i < to; ++i) is_name = is_name && is_name_part(s[i]);
                const std::int32_t slot = is_name ? slot_of(captures, s.substr(from, to - from)) : -1;
                if (is_name && slot < 0)
                    return word.fail(fault, "ckpt: {it} is not bound by the pattern", at, close + 1);
                if (slot >= 0 && slot == hidden)
                    return word.fail(fault, "ckpt: {it} is the number that is counted and cannot stand in the template",
                                     at, close + 1);
                template_piece piece{.kind = template_part::capture, .slot = slot};
                if (!is_name || captures[static_cast<std::size_t>(slot)].integer) {
                    formula_parser parser{word, from, to, captures, false, rule, fault};
                    parser.hidden = hidden;
                    if (!parser.run()) return false;
                    piece.kind = template_part::number;
                    piece.steps = std::move(parser.steps);
                }
                piece.alone = at == start && (close + 1 == s.size() || s[close + 1] == '.');
                out.pieces.push_back(piece);
                literal = at = close + 1;
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

/// The words of one line, taken from the left.
class rule_reader {
  public:
    constexpr rule_reader(std::string_view whole, std::size_t from, std::size_t to, rule_code& out, syntax_fault& fault)
        : s_{whole.substr(0, to)}, at_{from}, out_{out}, fault_{fault} {}

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
            if (name(v) == verb && at_ == from + verb.size()) out_.verb = v, known = true;
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
    [[nodiscard]] constexpr char peek() const noexcept { return at_ < s_.size() ? s_[at_] : '\0'; }
    [[nodiscard]] constexpr bool at_blank_or_end() const noexcept {
        return at_ == s_.size() || s_[at_] == ' ' || s_[at_] == '\t';
    }
    constexpr void blanks() {
        while (at_ < s_.size() && (s_[at_] == ' ' || s_[at_] == '\t')) ++at_;
    }
    [[nodiscard]] constexpr std::size_t word_end() const noexcept {
        std::size_t end = at_;
        while (end < s_.size() && s_[end] != ' ' && s_[end] != '\t' && s_[end] != ',' && s_[end] != '=' &&
               !s_.substr(end).starts_with("->"))
            ++end;
        return end == at_ && end < s_.size() ? end + (s_.substr(end).starts_with("->") ? 2 : 1) : end;
    }
    /// Whether the next word is `keyword`, bare; takes it.
    constexpr bool take(std::string_view keyword) {
        blanks();
        if (!s_.substr(at_).starts_with(keyword)) return false;
        const std::size_t end = at_ + keyword.size();
        const char next = end < s_.size() ? s_[end] : ' ';
        if (next != ' ' && next != '\t') return false;
        at_ = end;
        return true;
    }
    constexpr bool expect(std::string_view sign, const char* sentence) {
        blanks();
        if (!s_.substr(at_).starts_with(sign)) return fault_.fail(sentence, at_, word_end());
        at_ += sign.size();
        return true;
    }

    /// A pattern, a template, a prefix or a name: bare or in quotes.
    constexpr bool word(spelled& out, const char* what_is_missing) {
        blanks();
        const std::size_t from = at_;
        if (peek() == '"') {
            if (!quoted_word(s_, at_, out, out_, fault_)) return false;
            const bool ends = at_blank_or_end() || peek() == ',' || peek() == '=' || s_.substr(at_).starts_with("->");
            return ends || fault_.fail("ckpt: {it} directly behind a quote: a word ends there", at_, word_end());
        }
        while (!at_blank_or_end() && s_[at_] != ',' && s_[at_] != '=' && !s_.substr(at_).starts_with("->")) {
            if (s_[at_] == '"')
                return fault_.fail("ckpt: a quote inside a bare word: put the whole word in quotes", at_, at_ + 1);
            ++at_;
        }
        out.text = out.raw = s_.substr(from, at_ - from);
        out.at = from;
        if (out.text.empty()) return fault_.fail(what_is_missing, at_, word_end());
        return true;
    }
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
    constexpr bool one_pattern(std::vector<char>* binds = nullptr) {
        spelled w;
        if (!pattern_word(w)) return false;
        out_.words.push_back(w);
        out_.patterns.emplace_back();
        return parse_pattern(w, out_.patterns.back(), fault_, binds);
    }
    /// Patterns joined by commas that all bind the same names, in the slots of the first.
    constexpr bool pattern_list_of_one_set() {
        if (!one_pattern()) return false;
        while (peek_comma()) {
            pattern_code next;
            next.captures = out_.patterns.front().captures;
            spelled w;
            std::vector<char> binds;
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
    constexpr bool peek_comma() {
        blanks();
        if (peek() != ',') return false;
        ++at_;
        return true;
    }
    constexpr bool one_template() {
        spelled w;
        if (!pattern_word(w)) return false;
        out_.templates.emplace_back();
        return parse_template(w, out_.patterns.front().captures, -1, out_.templates.back(), out_, fault_);
    }
    constexpr bool template_list() {
        do {
            if (!one_template()) return false;
        } while (peek_comma());
        return true;
    }
    constexpr bool arrow() { return expect("->", "ckpt: {it} where -> should be"); }

    constexpr bool integer(std::int64_t& out, const char* what_is_missing) {
        blanks();
        const std::size_t from = at_;
        if (peek() == '-') ++at_;
        while (at_ < s_.size() && is_digit(s_[at_])) ++at_;
        if (!parse_integer(s_.substr(from, at_ - from), out)) {
            at_ = from;
            return fault_.fail(what_is_missing, from, word_end());
        }
        return true;
    }
    constexpr bool number(const char* what_is_missing) {
        std::int64_t n = 0;
        if (!integer(n, what_is_missing)) return false;
        const char next = peek();
        if (!at_blank_or_end() && next != ',' && next != ')' && next != ']')
            return fault_.fail("ckpt: {it} is no part of an integer", at_, at_ + 1);
        out_.numbers.push_back(n);
        return true;
    }
    /// Whether a blank or the end follows.
    constexpr bool ends_here() {
        return at_blank_or_end() || fault_.fail("ckpt: {it} where a blank should be", at_, word_end());
    }
    constexpr bool dimension() { return number("ckpt: {it} where a dimension should be"); }
    /// Integers between `open` and `close`, joined by commas, a last comma allowed.
    constexpr bool number_list(char open, char close, const char* what_is_missing) {
        const char sign[2]{open, '\0'};
        if (!expect(std::string_view{sign, 1}, what_is_missing)) return false;
        while (true) {
            blanks();
            if (peek() == close) return ++at_, ends_here();
            if (!number("ckpt: {it} where an integer should be")) return false;
            blanks();
            if (peek() == ',') ++at_;
            else if (peek() != close)
                return fault_.fail("ckpt: {it} where a comma or the end of the list should be", at_, at_ + 1);
        }
    }

    constexpr bool qkv() {
        const std::size_t from = at_;
        if (!expect("(", "ckpt: {it} where ( should be")) return false;
        bool heads = false;
        bool kv_heads = false;
        for (int i = 0; i < 3; ++i) {
            if (i != 0 && !expect(",", "ckpt: qkv takes heads=, kv_heads= and layout=, all three")) return false;
            blanks();
            const std::size_t key = at_;
            while (at_ < s_.size() && is_name_part(s_[at_])) ++at_;
            const std::string_view which = s_.substr(key, at_ - key);
            const std::size_t key_end = at_;
            if (!expect("=", "ckpt: qkv takes heads=, kv_heads= and layout=, all three")) return false;
            blanks();
            const std::size_t value = at_;
            if (which == "heads" && !heads) heads = true;
            else if (which == "kv_heads" && !kv_heads) kv_heads = true;
            else if (which != "layout" || out_.layout != qkv_layout::none)
                return fault_.fail("ckpt: {it} is no argument of qkv that is missing: it takes heads=, kv_heads= and "
                                   "layout=, all three",
                                   key, key_end);
            if (which == "layout") {
                while (at_ < s_.size() && is_name_part(s_[at_])) ++at_;
                const std::string_view layout = s_.substr(value, at_ - value);
                if (layout == "concat") out_.layout = qkv_layout::concat;
                else if (layout == "interleaved") out_.layout = qkv_layout::interleaved;
                else if (layout == "grouped") out_.layout = qkv_layout::grouped;
                else return fault_.fail("ckpt: {it} is no layout: concat, interleaved or grouped", value, at_);
            } else {
                std::int64_t& n = which == "heads" ? out_.heads : out_.kv_heads;
                if (!integer(n, "ckpt: {it} is no number of heads")) return false;
                if (n < 1) return fault_.fail("ckpt: {it} is no number of heads: at least 1", value, at_);
            }
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
        out_.templates.emplace_back();
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
        std::vector<capture_name> captures = out_.patterns.front().captures;
        out_.counter = static_cast<std::int32_t>(captures.size());
        captures.push_back({name, true});
        out_.templates.emplace_back();
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
        case rule_verb::keep:
            do {
                if (!one_pattern()) return false;
            } while (peek_comma());
            return condition();
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
        case rule_verb::squeeze: {
            blanks();
            const std::size_t from = at_;
            std::int64_t n = 0;
            std::size_t end = from + (peek() == '-' ? 1u : 0u);
            while (end < s_.size() && is_digit(s_[end])) ++end;
            // A number that ends the rule is its pattern.
            std::size_t next = end;
            while (next < s_.size() && (s_[next] == ' ' || s_[next] == '\t')) ++next;
            const bool is_dimension =
                parse_integer(s_.substr(from, end - from), n) && end < next && next < s_.size() && !starts_where(next);
            out_.every_dimension = !is_dimension;
            if (is_dimension && !dimension()) return false;
            return one_pattern() && condition();
        }
        case rule_verb::unsqueeze: return dimension() && one_pattern() && condition();
        case rule_verb::narrow: {
            if (!dimension()) return false;
            blanks();
            const std::size_t from = at_;
            return number("ckpt: {it} where a start should be") && number("ckpt: {it} where a length should be") &&
                   not_negative(1, "ckpt: start and length of narrow are not negative", from) && one_pattern() &&
                   condition();
        }
        case rule_verb::pad: {
            if (!dimension()) return false;
            blanks();
            const std::size_t from = at_;
            if (!number("ckpt: {it} where a count should be") || !number("ckpt: {it} where a count should be") ||
                !not_negative(1, "ckpt: the counts of pad are not negative", from))
                return false;
            out_.filling = "0";
            if (take("with") && !fill_value()) return false;
            return one_pattern() && condition();
        }
        case rule_verb::cast: {
            if (!dtype_word()) return false;
            if (out_.type == ckpt::dtype::float8_e8m0fnu)
                return fault_.fail("ckpt: nothing can be cast to {it}", at_ - ckpt::name(out_.type).size(), at_);
            return one_pattern() && condition();
        }
        case rule_verb::fill: return fill();
        }
        return false;
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
        out_.templates.emplace_back();
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

  public:
    /// A word in quotes that begins at `at`; moves `at` behind it.
    static constexpr bool quoted_word(std::string_view s, std::size_t& at, spelled& out, rule_code& owner,
                                      syntax_fault& fault) {
        const std::size_t open = at++;
        bool escapes = false;
        while (at < s.size() && s[at] != '"') {
            if (s[at] == '\\' && at + 1 < s.size() && (s[at + 1] == '"' || s[at + 1] == '\\')) escapes = true, ++at;
            ++at;
        }
        if (at >= s.size()) return fault.fail("ckpt: a quote that is not closed", open, open + 1);
        out.raw = s.substr(open + 1, at - open - 1);
        out.at = open + 1;
        out.in_quotes = true;
        out.text = out.raw;
        ++at;
        if (!escapes) return true;
        std::vector<char> plain;
        for (std::size_t i = 0; i < out.raw.size(); ++i) {
            if (out.raw[i] == '\\' && i + 1 < out.raw.size() && (out.raw[i + 1] == '"' || out.raw[i + 1] == '\\')) ++i;
            plain.push_back(out.raw[i]);
        }
        owner.cooked.push_back(std::move(plain)); // its bytes stay where they are when the list grows
        out.text = {owner.cooked.back().data(), owner.cooked.back().size()};
        return true;
    }

  private:
    std::string_view s_;
    std::size_t at_;
    rule_code& out_;
    syntax_fault& fault_;
};

constexpr bool formula_parser::quoted_text(type& t) {
    spelled w;
    if (!rule_reader::quoted_word(s_, at_, w, rule_, fault_)) return false;
    steps.push_back({.op = formula_op::text, .text = w.text});
    t = type::text;
    return true;
}

constexpr bool formula_parser::has(std::size_t from, type& t) {
    blanks();
    if (at_ == s_.size() || s_[at_] != '(') return fail("ckpt: has is asked for a key: has(name)", from, at_);
    ++at_;
    blanks();
    spelled w;
    if (at_ < s_.size() && s_[at_] == '"') {
        if (!rule_reader::quoted_word(s_, at_, w, rule_, fault_)) return false;
        blanks();
    } else {
        const std::size_t begin = at_;
        bool braces = false;
        while (at_ < s_.size() && (braces || s_[at_] != ')')) {
            if (s_[at_] == '{') braces = true;
            else if (s_[at_] == '}') braces = false;
            ++at_;
        }
        std::size_t end = at_;
        while (end > begin && (s_[end - 1] == ' ' || s_[end - 1] == '\t')) --end;
        w.text = w.raw = s_.substr(begin, end - begin);
        w.at = begin;
        for (std::size_t i = begin; i < end; ++i)
            if (s_[i] == ' ' || s_[i] == '\t' || s_[i] == ',' || s_[i] == '=' || s_[i] == '"' ||
                s_.substr(i, end - i).starts_with("->"))
                return fail("ckpt: {it} inside a bare word: put the whole word in quotes", i, i + 1);
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
