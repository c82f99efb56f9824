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
#include <ckpt/core/utf8.hpp>
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
void append_rule_word(std::string& out, std::string_view word);

/// Appends a character of a key to a pattern or template, escaped where it would mean something else.
void append_literal(std::string& out, char c);
/// Appends a key as a pattern or template that means just it.
void append_key_word(std::string& out, std::string_view key);

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
    [[nodiscard]] std::string line() const;

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

    [[nodiscard]] std::string pretty() const;
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
    bool add(std::string_view text, std::size_t from, std::size_t to, syntax_fault& fault, bool in_group);
    void begin_group() { steps.push_back({static_cast<std::uint32_t>(rules.size()), 0, true}); }

    [[nodiscard]] std::string_view own(std::string_view text);
    /// A rule that was checked, or that is made here.
    void add_known(std::string_view line, bool in_group);
};

/// The 1-based line and column of byte `at`, and the line for people.
void locate(std::string_view text, const syntax_fault& fault, parse_error& out);

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
                                               parse_error* where = nullptr);

    /// How many rules there are, those in groups counted one by one.
    [[nodiscard]] std::size_t size() const noexcept { return data_->rules.size(); }
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }

    /// The rules as a text that `parse` reads.
    [[nodiscard]] std::string text() const;

    explicit key_map(detail::shared<detail::key_map_data> data) noexcept : data_{std::move(data)} {}
    [[nodiscard]] const detail::key_map_data& data() const noexcept { return *data_; }

  private:
    static void append(detail::key_map_data& to, const rule& one) { to.add_known(one.line(), false); }
    template <std::size_t N> static void append(detail::key_map_data& to, const rule_group<N>& group) {
        to.begin_group();
        for (const rule& one : group.rules) to.add_known(one.line(), true);
    }
    static void append(detail::key_map_data& to, const rule_group<0>&) { to.begin_group(); }

    static bool read(detail::key_map_data& to, std::string_view text, detail::syntax_fault& fault);
    [[nodiscard]] static bool is_first(std::string_view line) noexcept;

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

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/key_map.ipp>
#endif
