// ckpt/state/key_map.hpp: key rules, in C++ and in a file.
//
// SPDX-License-Identifier: MIT
// In:      rules as literals, checked while compiling, or a rules text that comes in at run time.
// Out:     a key_map: an immutable list of steps that `plan_remap` runs over the keys of a state_dict.
// Refuses: rules that cannot mean anything: literals by the compiler, texts by an error with line, column and a caret.
//
// The grammar is docs/key-rules.md. There is one parser; the literals only keep their text until the map is made.
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/state/key_rules.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

inline constexpr std::size_t rule_line_limit = 4096;
inline constexpr std::size_t rules_text_limit = std::size_t{1} << 20;

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

[[nodiscard]] constexpr bool may_stand_in_group(rule_verb verb) noexcept {
    return verb == rule_verb::strip || verb == rule_verb::strip_wrappers || verb == rule_verb::add ||
           verb == rule_verb::rename || verb == rule_verb::drop;
}

/// Appends a word of a rule, in quotes where it would mean something else without them.
inline void append_rule_word(std::string& out, std::string_view word) {
    bool quotes = word.empty() || word.front() == '#' || word.front() == '[' || word.front() == '?' ||
                  word.starts_with("qkv(") || word == "where" || word == "with" || word == "by" || word == "wrappers";
    for (std::size_t i = 0; i < word.size(); ++i) {
        const char c = word[i];
        quotes = quotes || c == ' ' || c == '\t' || c == ',' || c == '=' || c == '"' ||
                 (c == '-' && i + 1 < word.size() && word[i + 1] == '>');
    }
    // A word that is digits only could be read as a dimension.
    quotes = quotes || word.find_first_not_of("-0123456789") == std::string_view::npos;
    if (!quotes) {
        out += word;
        return;
    }
    out += '"';
    for (const char c : word) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    out += '"';
}

/// Appends a character of a key to a pattern or template, escaped where it would mean something else.
inline void append_literal(std::string& out, char c) {
    if (c == '\\' || c == '{' || c == '}' || c == '*') out += '\\';
    out += c;
}
/// Appends a key as a pattern or template that means just it.
inline void append_key_word(std::string& out, std::string_view key) {
    std::string literal;
    for (const char c : key) append_literal(literal, c);
    append_rule_word(out, literal);
}

} // namespace detail

class key_map;

/// One key rule as a literal: `rule("drop **.num_batches_tracked")`. Its text is checked while compiling.
class rule {
  public:
    consteval rule(const char* text) : words_{text, {}, {}, {}} {
        detail::rule_code code;
        detail::syntax_fault fault;
        const std::string_view s = words_[0];
        if (detail::check_rule_text(s, 0, s.size(), fault) &&
            detail::parse_rule(s, 0, detail::end_of_rule(s, 0, s.size()), code, fault))
            verb_ = code.verb;
    }

  private:
    friend class key_map;
    template <std::size_t N> friend struct rule_group;
    friend consteval rule strip_prefix(const char* prefix);
    friend consteval rule add_prefix(const char* prefix);
    friend consteval rule strip_wrappers();
    friend consteval rule rename(const char* pattern, const char* replacement);
    friend consteval rule drop(const char* pattern);
    friend consteval rule keep(const char* pattern, const char* second, const char* third, const char* fourth);

    consteval rule() = default;
    /// A short form; its words are patterns, templates or prefixes.
    consteval rule(detail::rule_verb verb, std::string_view word)
        : words_{word, {}, {}, {}}, count_{1}, verb_{verb}, short_form_{true} {
        check_word(word);
    }
    static consteval void check_word(std::string_view word) {
        detail::syntax_fault fault;
        (void)detail::check_rule_text(word, 0, word.size(), fault);
    }

    /// The rule as a line of a rules text.
    [[nodiscard]] std::string line() const {
        if (!short_form_) return std::string(words_[0]);
        std::string out(name(verb_));
        if (verb_ == detail::rule_verb::strip_wrappers) return out + " wrappers";
        for (std::size_t i = 0; i < count_; ++i) {
            out += i == 0 ? " " : verb_ == detail::rule_verb::keep ? ", " : " -> ";
            detail::append_rule_word(out, words_[i]);
        }
        return out;
    }

    std::string_view words_[4]{}; ///< the rule; or the words of a short form, as after unquoting
    std::size_t count_{0};
    detail::rule_verb verb_{};
    bool short_form_{false};
};

/// A group in which each key takes the first rule that matches it, all at once: a swap is two renames in one group.
template <std::size_t N> struct rule_group {
    rule rules[N];

    [[nodiscard]] consteval bool may_stand() const {
        for (const rule& one : rules)
            if (!detail::may_stand_in_group(one.verb_)) return false;
        return true;
    }
};

template <> struct rule_group<0> {};

/// Takes `prefix`, literal text that ends in a dot, off the keys that begin with it; the others stay.
[[nodiscard]] consteval rule strip_prefix(const char* prefix) {
    rule out{detail::rule_verb::strip, prefix};
    if (!out.words_[0].ends_with('.')) detail::this_key_rule_is_invalid("ckpt: a prefix ends in a dot");
    return out;
}
/// Puts `prefix`, literal text that ends in a dot, before every key.
[[nodiscard]] consteval rule add_prefix(const char* prefix) {
    rule out = strip_prefix(prefix);
    out.verb_ = detail::rule_verb::add;
    if (detail::has_empty_segment(out.words_[0].substr(0, out.words_[0].size() - 1)))
        detail::this_key_rule_is_invalid("ckpt: an empty segment in a prefix that is added");
    return out;
}
/// Takes the segments out of all keys that DataParallel, DDP, torch.compile, FSDP and activation checkpointing put in.
[[nodiscard]] consteval rule strip_wrappers() {
    rule out;
    out.verb_ = detail::rule_verb::strip_wrappers;
    out.short_form_ = true;
    return out;
}
/// Renames the keys that match `pattern`; `replacement` may use what it captures: rename("a.{i:int}.w", "b.{i+1}.w").
[[nodiscard]] consteval rule rename(const char* pattern, const char* replacement) {
    rule out{detail::rule_verb::rename, pattern};
    rule::check_word(replacement);
    out.words_[out.count_++] = replacement;
    detail::rule_code code;
    detail::pattern_code parsed;
    detail::template_code made;
    detail::syntax_fault fault;
    if (detail::parse_pattern({out.words_[0], out.words_[0], 0, true}, parsed, fault))
        (void)detail::parse_template({out.words_[1], out.words_[1], 0, true}, parsed.captures, -1, made, code, fault);
    return out;
}
/// Leaves out the keys that match; each is listed as dropped, with this rule.
[[nodiscard]] consteval rule drop(const char* pattern) {
    const rule out{detail::rule_verb::drop, pattern};
    detail::pattern_code parsed;
    detail::syntax_fault fault;
    (void)detail::parse_pattern({out.words_[0], out.words_[0], 0, true}, parsed, fault);
    return out;
}
/// Leaves out the keys that match none of one to four patterns; each is listed as dropped, with this rule.
[[nodiscard]] consteval rule keep(const char* pattern, const char* second = nullptr, const char* third = nullptr,
                                  const char* fourth = nullptr) {
    rule out = drop(pattern);
    out.verb_ = detail::rule_verb::keep;
    if (second != nullptr) out.words_[out.count_++] = drop(second).words_[0];
    if (third != nullptr) out.words_[out.count_++] = drop(third).words_[0];
    if (fourth != nullptr) out.words_[out.count_++] = drop(fourth).words_[0];
    return out;
}
/// See `rule_group`. Takes strip, add, rename and drop rules.
template <std::same_as<rule>... Rules> [[nodiscard]] consteval rule_group<sizeof...(Rules)> first(Rules... rules);

/// Where a rules text cannot be read, for people: `pretty()` shows the line with a caret under the place.
struct parse_error {
    ckpt::error error{};
    std::string name{};      ///< of the text, as given to `key_map::parse`
    std::size_t line{0};     ///< 1-based
    std::size_t column{0};   ///< 1-based, in code points
    std::size_t width{0};    ///< of what is under the carets, in code points
    std::string line_text{}; ///< the line, printable, clipped around the place
    std::size_t caret{0};    ///< code points of `line_text` before the first caret

    [[nodiscard]] std::string pretty() const {
        std::string out = error.detail;
        if (line != 0) out += "\n  " + line_text + "\n  " + std::string(caret, ' ') + std::string(width, '^');
        return out;
    }
};

namespace detail {

struct map_rule {
    rule_code code{};
    std::uint32_t number{0}; ///< 1-based, in the order of the text
};
struct map_step {
    std::uint32_t first{0};
    std::uint32_t count{0};
    bool group{false};
};
struct key_map_data final : counted {
    std::vector<shared<owned_text>> texts{}; ///< what the rules borrow from
    std::vector<map_rule> rules{};
    std::vector<map_step> steps{};

    /// Adds a rule whose text is known to be good; `false` where it is not (a bug for literals).
    bool add(std::string_view text, std::size_t from, std::size_t to, syntax_fault& fault, bool in_group) {
        rules.emplace_back();
        map_rule& added = rules.back();
        added.number = static_cast<std::uint32_t>(rules.size());
        if (!parse_rule(text, from, to, added.code, fault)) return false;
        if (in_group) ++steps.back().count;
        else steps.push_back({static_cast<std::uint32_t>(rules.size() - 1), 1, false});
        return true;
    }
    void begin_group() { steps.push_back({static_cast<std::uint32_t>(rules.size()), 0, true}); }

    [[nodiscard]] std::string_view own(std::string_view text) {
        texts.push_back(detail::make_shared<owned_text>());
        texts.back()->text = text;
        return texts.back()->text;
    }
    /// A rule that was checked, or that is made here.
    void add_known(std::string_view line, bool in_group) {
        const std::string_view text = own(line);
        syntax_fault fault;
        (void)add(text, 0, end_of_rule(text, 0, text.size()), fault, in_group);
    }
};

/// The 1-based line and column of byte `at`, and the line for people.
inline void locate(std::string_view text, const syntax_fault& fault, parse_error& out) {
    const std::size_t at = fault.from < text.size() ? fault.from : text.size();
    std::size_t begin = at;
    while (begin > 0 && text[begin - 1] != '\n') --begin;
    std::size_t end = text.find('\n', at);
    if (end == std::string_view::npos) end = text.size();
    if (end > begin && text[end - 1] == '\r') --end;
    out.line = 1;
    for (std::size_t i = 0; i < begin; ++i) out.line += text[i] == '\n' ? 1u : 0u;
    if (begin == 0 && text.starts_with("\xEF\xBB\xBF")) begin = 3;
    // One printed character for each code point, so that the caret stands below its place.
    std::vector<std::string> points;
    std::size_t caret = 0;
    std::size_t width = 0;
    for (std::size_t i = begin; i < end;) {
        const std::size_t n = utf8_length(text.substr(0, end), i);
        const std::size_t step = n == 0 ? 1 : n;
        if (i < at) ++caret;
        else if (i < fault.to) ++width;
        const auto c = static_cast<unsigned char>(text[i]);
        const bool plain = n != 0 && c >= 0x20 && c != 0x7F && !invisible(text, i, n);
        points.push_back(plain ? std::string(text.substr(i, n)) : std::string(c == '\t' ? " " : "?"));
        i += step;
    }
    out.column = caret + 1;
    out.width = width == 0 ? 1 : width;
    constexpr std::size_t most = 100;
    std::size_t first = 0;
    std::size_t last = points.size();
    if (points.size() > most) {
        first = caret > most / 2 ? caret - most / 2 : 0;
        last = first + most < points.size() ? first + most : points.size();
    }
    if (first > 0) out.line_text += "...";
    out.caret = caret - first + out.line_text.size();
    for (std::size_t i = first; i < last; ++i) out.line_text += points[i];
    if (last < points.size()) out.line_text += "...";
    if (out.width > last - caret && last > caret) out.width = last - caret;
}

template <class T> struct is_rule_group : std::false_type {};
template <std::size_t N> struct is_rule_group<rule_group<N>> : std::true_type {};

} // namespace detail

template <class T>
concept key_rule = std::same_as<T, rule> || detail::is_rule_group<T>::value;

/// What shall become of the keys of a state_dict: a list of steps. A cheap handle to an immutable object.
class key_map {
  public:
    /// The map of the given rules and groups, in order. No rules: every key stays as it is.
    template <key_rule... Rules> explicit(false) key_map(const Rules&... rules) {
        auto made = detail::make_shared<detail::key_map_data>();
        (append(*made, rules), ...);
        data_ = std::move(made);
    }

    /// Reads a rules text. `name` stands before the line in messages. Where it fails, `where` (if given) holds the line
    /// and the place for people; the error's `offset` is the byte of the text.
    [[nodiscard]] static result<key_map> parse(std::string_view text, std::string_view name = "rules",
                                               parse_error* where = nullptr) {
        auto made = detail::make_shared<detail::key_map_data>();
        const std::string_view kept = made->own(text);
        detail::syntax_fault fault;
        const bool too_long = text.size() > detail::rules_text_limit;
        if (!too_long && read(*made, kept, fault)) {
            key_map out;
            out.data_ = std::move(made);
            return out;
        }
        parse_error problem;
        problem.name = name;
        problem.error.code = too_long ? errc::rules_unreadable : errc::rule_invalid;
        if (too_long) {
            problem.error.detail = detail::printable(name) + ": the rules are " +
                                   detail::decimal(std::uint64_t{text.size()}) + " bytes long, at most 1 MiB is read";
        } else {
            detail::locate(text, fault, problem);
            problem.error.offset = fault.from;
            problem.error.detail = detail::printable(name) + ':' + detail::decimal(std::uint64_t{problem.line}) + ": " +
                                   fault.message(text);
        }
        if (where != nullptr) *where = problem;
        return std::move(problem.error);
    }

    /// How many rules there are, those in groups counted one by one.
    [[nodiscard]] std::size_t size() const noexcept { return data_->rules.size(); }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }

    /// The rules as a text that `parse` reads.
    [[nodiscard]] std::string text() const {
        std::string out;
        for (const detail::map_step& step : data_->steps) {
            if (step.group) out += "first {\n";
            for (std::uint32_t i = 0; i < step.count; ++i)
                out.append(step.group ? "  " : "").append(data_->rules[step.first + i].code.text).append("\n");
            if (step.group) out += "}\n";
        }
        return out;
    }

    explicit key_map(detail::shared<detail::key_map_data> data) noexcept : data_{std::move(data)} {}
    [[nodiscard]] const detail::key_map_data& data() const noexcept { return *data_; }

  private:
    static void append(detail::key_map_data& to, const rule& one) { to.add_known(one.line(), false); }
    template <std::size_t N> static void append(detail::key_map_data& to, const rule_group<N>& group) {
        to.begin_group();
        for (const rule& one : group.rules) to.add_known(one.line(), true);
    }
    static void append(detail::key_map_data& to, const rule_group<0>&) { to.begin_group(); }

    static bool read(detail::key_map_data& to, std::string_view text, detail::syntax_fault& fault) {
        bool in_group = false;
        std::size_t opened = 0;
        for (std::size_t at = text.starts_with("\xEF\xBB\xBF") ? 3 : 0; at < text.size();) {
            const std::size_t line_end = text.find('\n', at);
            std::size_t end = line_end == std::string_view::npos ? text.size() : line_end;
            const std::size_t next = line_end == std::string_view::npos ? end : end + 1;
            if (end > at && text[end - 1] == '\r' && line_end != std::string_view::npos) --end;
            if (!detail::check_rule_text(text, at, end, fault)) return false;
            end = detail::end_of_rule(text, at, end);
            while (at < end && (text[at] == ' ' || text[at] == '\t')) ++at;
            while (end > at && (text[end - 1] == ' ' || text[end - 1] == '\t')) --end;
            const std::string_view line = text.substr(at, end - at);
            if (line == "}") {
                if (!in_group) return fault.fail("ckpt: a closing brace without a group", at, end);
                in_group = false;
            } else if (is_first(line)) {
                if (in_group) return fault.fail("ckpt: a group inside a group", at, end);
                in_group = true;
                opened = at;
                to.begin_group();
            } else if (line.starts_with("first") &&
                       (line.size() == 5 || line[5] == ' ' || line[5] == '\t' || line[5] == '{')) {
                return fault.fail("ckpt: a group begins with first { at the end of its line", at, end);
            } else if (!line.empty()) {
                if (line.front() == '?') {
                    std::size_t word = 1;
                    while (word < line.size() && (line[word] == ' ' || line[word] == '\t')) ++word;
                    if (is_first(line.substr(word)))
                        return fault.fail("ckpt: ? does not stand before first", at, at + 1);
                }
                if (!to.add(text, at, end, fault, in_group)) return false;
                if (in_group && !detail::may_stand_in_group(to.rules.back().code.verb))
                    return fault.fail("ckpt: {it} cannot stand in a group, which takes strip, add, rename and drop", at,
                                      end);
            }
            at = next;
        }
        if (in_group) return fault.fail("ckpt: a group that is not closed", opened, opened + 5);
        return true;
    }
    [[nodiscard]] static bool is_first(std::string_view line) noexcept {
        if (!line.starts_with("first") || line.back() != '{') return false;
        for (const char c : line.substr(5, line.size() - 6))
            if (c != ' ' && c != '\t') return false;
        return true;
    }

    detail::shared<detail::key_map_data> data_;
};

template <std::same_as<rule>... Rules> consteval rule_group<sizeof...(Rules)> first(Rules... rules) {
    if constexpr (sizeof...(Rules) == 0) {
        return {};
    } else {
        rule_group<sizeof...(Rules)> out{{rules...}};
        if (!out.may_stand()) detail::this_key_rule_is_invalid("ckpt: a group takes strip, add, rename and drop");
        return out;
    }
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
