// ckpt/core/pattern.hpp: patterns over keys: wildcards, captures, alternatives.
//
// SPDX-License-Identifier: MIT
// In:      the text of a pattern: "blocks.{i:int}.**", and keys.
// Out:     whether a key matches, and what its captures are bound to.
// Refuses: text that breaks the grammar: a literal does not compile, other text is an error that names the byte; a
//          match of more than 2^22 steps.
//
// A key is a list of segments joined by dots; a pattern matches the whole key. The grammar is the one of
// docs/key-rules.md. The parser is constexpr: the same code checks literals while the user's program is compiled.
#pragma once

#include <ckpt/core/constexpr_vector.hpp>
#include <ckpt/core/error.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

/// Not constexpr: a call while compiling ends the compilation with the sentence in the compiler's message.
inline void this_key_rule_is_invalid(const char* /*sentence*/) {}

/// The first fault of a pattern or a rule: where it is, and why.
struct syntax_fault {
    std::string_view why{}; ///< a sentence; {it} stands for the text at [from, to)
    std::size_t from{0};    ///< in bytes of the whole text
    std::size_t to{0};

    [[nodiscard]] constexpr bool failed() const noexcept { return !why.empty(); }
    /// Callers pass a literal, so that the messages of all compilers show the sentence.
    constexpr bool fail(const char* sentence, std::size_t begin, std::size_t end) {
        if (std::is_constant_evaluated()) this_key_rule_is_invalid(sentence);
        if (!failed()) {
            why = sentence;
            from = begin;
            to = end > begin ? end : begin + 1;
        }
        return false;
    }
    /// The sentence with {it} replaced by the text at the fault, printable.
    [[nodiscard]] std::string message(std::string_view text) const;
};

/// A word of a rule: its text without quotes and their escapes, and its place in the whole text.
struct spelled {
    std::string_view text{};
    std::string_view raw{}; ///< as written between the quotes
    std::size_t at{0};      ///< of `raw`, in the whole text
    bool in_quotes{false};

    /// The place of byte `i` of `text` in the whole text.
    [[nodiscard]] constexpr std::size_t place(std::size_t i) const noexcept {
        if (text.size() == raw.size()) return at + i;
        std::size_t r = 0;
        for (; i > 0 && r < raw.size(); --i)
            r += raw[r] == '\\' && r + 1 < raw.size() && (raw[r + 1] == '"' || raw[r + 1] == '\\') ? 2u : 1u;
        return at + r;
    }
    constexpr bool fail(syntax_fault& fault, const char* sentence, std::size_t begin, std::size_t end) const {
        return fault.fail(sentence, place(begin), place(end));
    }
};

[[nodiscard]] constexpr bool is_name_start(char c) noexcept {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}
[[nodiscard]] constexpr bool is_name_part(char c) noexcept { return is_name_start(c) || is_digit(c); }

/// Whether a capture must not have this name: words of conditions, and names of dtypes.
[[nodiscard]] constexpr bool is_reserved_name(std::string_view name) noexcept {
    constexpr std::string_view words[]{"ndim",
                                       "numel",
                                       "dtype",
                                       "shape",
                                       "has",
                                       "not",
                                       "and",
                                       "or",
                                       "where",
                                       "uint8",
                                       "int8",
                                       "int16",
                                       "int32",
                                       "int64",
                                       "uint16",
                                       "uint32",
                                       "uint64",
                                       "float16",
                                       "float32",
                                       "float64",
                                       "complex32",
                                       "complex64",
                                       "complex128",
                                       "bool",
                                       "qint8",
                                       "quint8",
                                       "qint32",
                                       "bfloat16",
                                       "quint4x2",
                                       "quint2x4",
                                       "bits1x8",
                                       "bits2x4",
                                       "bits4x2",
                                       "bits8",
                                       "bits16",
                                       "float8_e5m2",
                                       "float8_e4m3fn",
                                       "float8_e5m2fnuz",
                                       "float8_e4m3fnuz",
                                       "float8_e8m0fnu",
                                       "float4_e2m1fn_x2",
                                       "bcomplex32"};
    for (const std::string_view word : words)
        if (word == name) return true;
    return false;
}

enum class pattern_part : std::uint8_t { literal, star, text, integer, choice, many, end };

struct pattern_element {
    pattern_part kind{};
    bool repeated{false};    ///< the name is bound further left: the same text must follow
    std::int32_t slot{-1};   ///< of the capture; -1: none
    std::string_view text{}; ///< of a literal
    std::uint32_t first{0};  ///< of the alternatives
    std::uint32_t count{0};
};

struct capture_name {
    std::string_view name{};
    bool integer{false};
};

/// The index of the capture that has this name, or -1.
[[nodiscard]] constexpr std::int32_t slot_of(const constexpr_vector<capture_name>& captures,
                                             std::string_view name) noexcept {
    for (std::size_t i = 0; i < captures.size(); ++i)
        if (captures[i].name == name) return static_cast<std::int32_t>(i);
    return -1;
}

/// Whether a key is empty, begins or ends with a dot, or has two dots in a row.
[[nodiscard]] constexpr bool has_empty_segment(std::string_view key) noexcept {
    return key.empty() || key.front() == '.' || key.back() == '.' || key.find("..") != std::string_view::npos;
}

/// A parsed pattern, as the matcher runs it. Borrows the pattern's text.
struct pattern_code {
    constexpr_vector<pattern_element> elements{};
    constexpr_vector<std::string_view> choices{};
    constexpr_vector<capture_name> captures{};
    bool literal{true};  ///< no wildcard and no capture: it matches one key
    bool repeats{false}; ///< some name is bound twice
    // Text with which every matching key begins and ends, and text that it contains. Most other keys fail by these
    // alone.
    std::string_view head{};
    std::string_view tail{};
    std::string_view inside{};

    /// The key of a literal pattern.
    [[nodiscard]] std::string literal_key() const;
};

/// What a capture is bound to.
struct binding_value {
    std::string_view text{};
    std::int64_t number{0};
};

/// Parses one pattern. Names that `out.captures` already holds keep their slots.
class pattern_parser {
  public:
    constexpr pattern_parser(const spelled& word, pattern_code& out, syntax_fault& fault)
        : word_{word}, s_{word.text}, out_{out}, fault_{fault} {}

    constexpr bool run() {
        bound_.assign(out_.captures.size(), char{0});
        while (true) {
            bool many = false;
            if (!segment(many)) return false;
            if (!many)
                out_.elements.push_back({.kind = pattern_part::end}); // `many` also matches the dots of its segments
            if (at_ == s_.size()) break;
            ++at_; // the dot
        }
        const std::size_t n = out_.elements.size();
        if (n >= 2 && out_.elements[n - 1].kind == pattern_part::end &&
            out_.elements[n - 2].kind == pattern_part::literal)
            out_.tail = out_.elements[n - 2].text;
        return true;
    }
    /// Whether the pattern binds the capture of `slot`.
    [[nodiscard]] constexpr bool binds(std::size_t slot) const noexcept {
        return slot < bound_.size() && bound_[slot] != 0;
    }

  private:
    [[nodiscard]] constexpr bool ends_segment(std::size_t i) const noexcept { return i == s_.size() || s_[i] == '.'; }
    constexpr bool fail(const char* sentence, std::size_t from, std::size_t to) {
        return word_.fail(fault_, sentence, from, to);
    }

    constexpr bool segment(bool& many) {
        const std::size_t start = at_;
        if (s_.substr(at_).starts_with("**")) {
            if (!ends_segment(at_ + 2)) return fail("ckpt: ** stands alone between dots", at_, at_ + 2);
            out_.elements.push_back({.kind = pattern_part::many});
            out_.literal = false;
            at_ += 2;
            return many = true;
        }
        std::size_t literal = at_;
        const auto flush = [&](std::size_t to) {
            if (to > literal)
                out_.elements.push_back({.kind = pattern_part::literal, .text = s_.substr(literal, to - literal)});
        };
        while (!ends_segment(at_)) {
            const char c = s_[at_];
            if (c == '\\') {
                flush(at_);
                if (at_ + 1 == s_.size()) return fail("ckpt: a backslash at the end escapes nothing", at_, at_ + 1);
                if (s_[at_ + 1] == '.')
                    return fail("ckpt: a dot always separates segments and cannot be escaped", at_, at_ + 2);
                literal = at_ + 1;
                at_ += 2;
                // Bytes of one character stay together.
                while (at_ < s_.size() && (static_cast<unsigned char>(s_[at_]) & 0xC0) == 0x80) ++at_;
            } else if (c == '*') {
                flush(at_);
                if (at_ + 1 < s_.size() && s_[at_ + 1] == '*')
                    return fail("ckpt: ** stands alone between dots", at_, at_ + 2);
                out_.elements.push_back({.kind = pattern_part::star});
                out_.literal = false;
                literal = ++at_;
            } else if (c == '{') {
                flush(at_);
                if (!capture(at_ == start, many)) return false;
                literal = at_;
            } else if (c == '}') {
                return fail("ckpt: a closing brace without an opening one: write \\} for the character", at_, at_ + 1);
            } else {
                ++at_;
            }
        }
        flush(at_);
        return true;
    }

    constexpr bool capture(bool at_start, bool& whole) {
        const std::size_t open = at_++;
        const std::size_t begin = at_;
        if (at_ < s_.size() && is_name_start(s_[at_]))
            while (at_ < s_.size() && is_name_part(s_[at_])) ++at_;
        const std::string_view name = s_.substr(begin, at_ - begin);
        if (name.empty())
            return fail("ckpt: a capture begins with its name: {name}, {name:int}, {name:a|b} or {name:**}", open,
                        at_ + 1);
        if (is_reserved_name(name))
            return fail("ckpt: {it} is a word of conditions and cannot name a capture", begin, at_);
        pattern_element element{.kind = pattern_part::text};
        if (at_ < s_.size() && s_[at_] == ':') {
            const std::size_t type = ++at_;
            while (at_ < s_.size() && s_[at_] != '}' && s_[at_] != '{') ++at_;
            const std::string_view text = s_.substr(type, at_ - type);
            if (text == "int") element.kind = pattern_part::integer;
            else if (text == "**") element.kind = pattern_part::many;
            else if (!alternatives(text, type, element)) return false;
        }
        if (at_ == s_.size() || s_[at_] != '}')
            return fail("ckpt: {it} where the closing brace of a capture should be", at_, at_ + 1);
        ++at_;
        whole = element.kind == pattern_part::many;
        if (whole && !(at_start && ends_segment(at_)))
            return fail("ckpt: a capture of whole segments stands alone between dots", open, at_);
        const bool integer = element.kind == pattern_part::integer;
        element.slot = slot_of(out_.captures, name);
        if (element.slot < 0) {
            element.slot = static_cast<std::int32_t>(out_.captures.size());
            out_.captures.push_back({name, integer});
            bound_.push_back(char{0});
        }
        const auto slot = static_cast<std::size_t>(element.slot);
        if (out_.captures[slot].integer != integer) return fail("ckpt: {it} has two types", open, at_);
        element.repeated = bound_[slot] != 0;
        bound_[slot] = 1;
        out_.repeats = out_.repeats || element.repeated;
        out_.literal = false;
        out_.elements.push_back(element);
        return true;
    }

    constexpr bool alternatives(std::string_view text, std::size_t at, pattern_element& element) {
        element.kind = pattern_part::choice;
        element.first = static_cast<std::uint32_t>(out_.choices.size());
        for (std::size_t i = 0;; ++i) {
            const std::size_t bar = text.find('|', i);
            const std::string_view one = text.substr(i, bar == std::string_view::npos ? bar : bar - i);
            if (bar == std::string_view::npos && i == 0)
                return fail("ckpt: {it} is no type of a capture: int, ** or alternatives such as a|b", at,
                            at + text.size());
            if (one.empty()) return fail("ckpt: an alternative is empty", at + i, at + i + 1);
            for (const char c : one)
                if (c == '.' || c == '\\' || c == '*')
                    return fail("ckpt: an alternative is plain text without dots, backslashes and stars", at + i,
                                at + i + one.size());
            // Shortest first: insertion keeps the order of equals.
            std::size_t to = out_.choices.size();
            out_.choices.push_back(one);
            for (; to > element.first && out_.choices[to - 1].size() > one.size(); --to)
                out_.choices[to] = out_.choices[to - 1];
            out_.choices[to] = one;
            ++element.count;
            if (bar == std::string_view::npos) return true;
            i = bar;
        }
    }

    spelled word_;
    std::string_view s_;
    pattern_code& out_;
    syntax_fault& fault_;
    constexpr_vector<char> bound_{};
    std::size_t at_{0};
};

/// Parses the pattern that `word` spells into `out`. Sets `binds[slot]` for the captures that it binds, where asked.
constexpr bool parse_pattern(const spelled& word, pattern_code& out, syntax_fault& fault,
                             constexpr_vector<char>* binds = nullptr) {
    pattern_parser parser{word, out, fault};
    if (!parser.run()) return false;
    if (!out.elements.empty() && out.elements.front().kind == pattern_part::literal)
        out.head = out.elements.front().text;
    for (const pattern_element& element : out.elements)
        if (element.kind == pattern_part::literal && element.text.size() > out.inside.size()) out.inside = element.text;
    if (binds != nullptr) {
        binds->assign(out.captures.size(), char{0});
        for (std::size_t i = 0; i < out.captures.size(); ++i) (*binds)[i] = parser.binds(i) ? 1 : 0;
    }
    return true;
}

enum class match_outcome : std::uint8_t { no, yes, too_many_steps };

/// Runs patterns over keys. Keeps its stacks from key to key, so one matcher serves one thread.
class matcher {
  public:
    /// Sets `slots` (one for each capture) where the key matches.
    [[nodiscard]] match_outcome match(const pattern_code& code, std::string_view key,
                                      std::vector<binding_value>& slots);

  private:
    // The key is read as if a dot followed it, so that every segment ends in one.
    static constexpr std::uint64_t memo_after = 4096;
    static constexpr std::uint64_t most_steps = std::uint64_t{1} << 22;
    static constexpr std::size_t most_cells = std::size_t{1}
                                              << 27; // 16 MiB; more would hardly be filled within most_steps
    struct choice_point {
        std::size_t element{0};
        std::size_t from{0};
        std::size_t taken{0}; ///< bytes, or for alternatives the number of the one taken
    };

    [[nodiscard]] bool is_end(std::size_t p) const noexcept {
        return p == key_.size() || (p < key_.size() && key_[p] == '.');
    }
    /// Where the character after the one at `p` begins: bytes of one character stay together.
    [[nodiscard]] std::size_t next_character(std::size_t p) const noexcept;
    [[nodiscard]] std::size_t cell(std::size_t e, std::size_t p) const noexcept { return e * (key_.size() + 2) + p; }

    bool step(const pattern_element& x, std::vector<binding_value>& slots);
    /// Matches a name that is bound already: the same text must follow, and be text that this element can match.
    bool again(const pattern_element& x, std::string_view text);
    bool next_choice(const pattern_element& x, choice_point& point) const;
    void take(const pattern_element& x, const choice_point& point, std::vector<binding_value>& slots);
    /// Lets the last choice match more text, or its next alternative. Choices that have no other way left are dropped.
    bool backtrack(std::vector<binding_value>& slots);

    const pattern_code* code_{nullptr};
    std::string_view key_{};
    std::size_t e_{0};
    std::size_t p_{0};
    std::vector<choice_point> stack_{};
    std::vector<bool> failed_{};
};

/// Owns the text of a pattern or a rule that is parsed at run time.
struct owned_text final : counted {
    std::string text{};
};

} // namespace detail

/// A pattern over keys: `adapter.**`, `blocks.{i:int}.*` (docs/key-rules.md). A literal is checked at compile time, and
/// borrowed.
class pattern {
  public:
    consteval pattern(const char* literal) : text_{literal} {
        detail::pattern_code code;
        detail::syntax_fault fault;
        (void)detail::parse_pattern({text_, text_, 0, false}, code, fault);
    }
    /// A pattern from text that is known at run time, of which it keeps a copy that copies of the pattern share. Fails
    /// with `pattern_invalid`; the message names the byte of the text.
    [[nodiscard]] static result<pattern> parse(std::string_view text);
    /// Whether the whole of `key` matches. A match that would take more than four million steps counts as none.
    [[nodiscard]] bool matches(std::string_view key) const;
    /// As it was written; valid as long as this pattern or a copy of it.
    [[nodiscard]] constexpr std::string_view text() const noexcept { return text_; }

  private:
    constexpr pattern() noexcept = default;
    std::string_view text_{};
    detail::shared<detail::owned_text> owned_{};
};

namespace detail {

/// Several parsed patterns, to be matched against many keys.
class pattern_list {
  public:
    explicit pattern_list(const std::vector<pattern>& patterns);
    /// Whether one of them matches.
    [[nodiscard]] bool matches(std::string_view key);

  private:
    std::vector<pattern_code> codes_{};
    std::vector<binding_value> slots_{};
    matcher matcher_{};
};

} // namespace detail

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/pattern.ipp>
#endif
