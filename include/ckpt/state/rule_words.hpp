// ckpt/state/rule_words.hpp: the words, signs and integers of one key rule, taken from the left.
//
// SPDX-License-Identifier: MIT
// In:      the text of a rule, and what word or sign should stand next.
// Out:     words with the escapes of their quotes undone, integers; the place behind what was taken.
// Refuses: what is missing or unfinished, with its place. All of it is constexpr: see key_rules.hpp.
#pragma once

#include <ckpt/core/constexpr_vector.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/pattern.hpp>
#include <ckpt/core/utf8.hpp>
#include <ckpt/state/rule_code.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

inline constexpr std::size_t rule_line_limit = 4096;

/// Whether all of [from, to) may stand in a rules text: UTF-8 without control characters but tabs.
constexpr bool check_rule_text(std::string_view text, std::size_t from, std::size_t to, syntax_fault& fault) {
    if (to - from > rule_line_limit) return fault.fail("ckpt: a rule is longer than 4096 bytes", from, from + 1);
    for (std::size_t i = from; i < to;) {
        const auto c = static_cast<unsigned char>(text[i]);
        if ((c < 0x20 && c != '\t') || c == 0x7F) return fault.fail("ckpt: a control character in a rule", i, i + 1);
        const std::size_t n = utf8_length(text.substr(0, to), i);
        if (n == 0) return fault.fail("ckpt: bytes in a rule that are not UTF-8", i, i + 1);
        if (c == 0xC2 && static_cast<unsigned char>(text[i + 1]) < 0xA0)
            return fault.fail("ckpt: a control character in a rule", i, i + 2);
        i += n;
    }
    return true;
}

/// A word in quotes that begins at `at`; moves `at` behind it.
constexpr bool parse_quoted_word(std::string_view s, std::size_t& at, spelled& out, rule_code& owner,
                                 syntax_fault& fault) {
    const std::size_t open = at++;
    bool escapes = false;
    while (at < s.size() && s[at] != '"') {
        const bool escape = s[at] == '\\' && at + 1 < s.size() && (s[at + 1] == '"' || s[at + 1] == '\\');
        escapes = escapes || escape;
        at += escape ? 2 : 1;
    }
    if (at >= s.size()) return fault.fail("ckpt: a quote that is not closed", open, open + 1);
    out.raw = s.substr(open + 1, at - open - 1);
    out.at = open + 1;
    out.in_quotes = true;
    out.text = out.raw;
    ++at;
    if (!escapes) return true;
    constexpr_vector<char> plain;
    for (std::size_t i = 0; i < out.raw.size(); ++i) {
        if (out.raw[i] == '\\' && i + 1 < out.raw.size() && (out.raw[i + 1] == '"' || out.raw[i + 1] == '\\')) ++i;
        plain.push_back(out.raw[i]);
    }
    owner.cooked.push_back(std::move(plain)); // its bytes stay where they are when the list grows
    out.text = {owner.cooked.back().data(), owner.cooked.back().size()};
    return true;
}

/// Reads a rule word by word. Each function begins at `at_`, skips blanks, and moves `at_` behind what it took.
class rule_words {
  public:
    /// The rule stands in [from, to) of `whole`; places in the fault are of `whole`.
    constexpr rule_words(std::string_view whole, std::size_t from, std::size_t to, rule_code& out, syntax_fault& fault)
        : s_{whole.substr(0, to)}, at_{from}, out_{out}, fault_{fault} {}

  protected:
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

    constexpr bool peek_comma() {
        blanks();
        if (peek() != ',') return false;
        ++at_;
        return true;
    }
    /// A pattern, a template, a prefix or a name: bare or in quotes.
    constexpr bool word(spelled& out, const char* what_is_missing) {
        blanks();
        const std::size_t from = at_;
        if (peek() == '"') {
            if (!parse_quoted_word(s_, at_, out, out_, fault_)) return false;
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
    constexpr bool integer(std::int64_t& out, const char* what_is_missing) {
        blanks();
        const std::size_t from = at_;
        if (peek() == '-') ++at_;
        while (at_ < s_.size() && is_digit(s_[at_])) ++at_;
        if (!parse_decimal(s_.substr(from, at_ - from), out)) {
            at_ = from;
            return fault_.fail(what_is_missing, from, word_end());
        }
        return true;
    }
    /// Whether a blank or the end follows.
    constexpr bool ends_here() {
        return at_blank_or_end() || fault_.fail("ckpt: {it} where a blank should be", at_, word_end());
    }

    std::string_view s_;
    std::size_t at_;
    rule_code& out_;
    syntax_fault& fault_;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
