// ckpt/state/key_map.hpp: key rules, in C++ and in a file.
//
// SPDX-License-Identifier: MIT
// In:      rules as literals, checked at compile time, or a rules text that is read at run time.
// Out:     a key_map: an immutable list of rules that `plan_remap` applies to the keys of a state_dict.
// Refuses: rules that break the grammar: literals do not compile, texts fail with line, column and a caret.
//
// docs/key-rules.md has the grammar. There is one parser; literals keep their text until the map is made.
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/pattern.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/state/key_rules.hpp>
#include <ckpt/state/rule_code.hpp>
#include <ckpt/state/rule_words.hpp>

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

namespace ckpt::inline CKPT_DETAIL_ABI {

class key_map;

/// One key rule as a literal: `rule("drop **.num_batches_tracked")`. Its text is checked at compile time.
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
    rule(const std::string&) = delete; // a literal is checked while compiling; other text is for key_map::parse

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

/// A group of rules that are applied at once: for each key only the first rule that matches it. Two renames in one
/// group can swap names. `first` makes one.
template <std::size_t N> struct rule_group {
    rule rules[N];

    [[nodiscard]] consteval bool may_stand() const {
        for (const rule& one : rules)
            if (!detail::may_stand_in_group(one.verb_)) return false;
        return true;
    }
};

template <> struct rule_group<0> {};

/// Removes `prefix`, literal text that ends in a dot, from the keys that begin with it; other keys do not change.
[[nodiscard]] consteval rule strip_prefix(const char* prefix) {
    rule out{detail::rule_verb::strip, prefix};
    if (!out.words_[0].ends_with('.')) detail::this_key_rule_is_invalid("ckpt: a prefix ends in a dot");
    return out;
}
/// Adds `prefix`, literal text that ends in a dot, to every key.
[[nodiscard]] consteval rule add_prefix(const char* prefix) {
    rule out = strip_prefix(prefix);
    out.verb_ = detail::rule_verb::add;
    if (detail::has_empty_segment(out.words_[0].substr(0, out.words_[0].size() - 1)))
        detail::this_key_rule_is_invalid("ckpt: an empty segment in a prefix that is added");
    return out;
}
/// Removes the segments that DataParallel, DDP, torch.compile, FSDP and activation checkpointing add to keys:
/// "module.".
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
    detail::template_code made;
    detail::syntax_fault fault;
    code.patterns.push_back({});
    detail::pattern_code& parsed = code.patterns.back();
    if (detail::parse_pattern({out.words_[0], out.words_[0], 0, true}, parsed, fault))
        (void)detail::parse_template({out.words_[1], out.words_[1], 0, true}, parsed.captures, -1, made, code, fault);
    return out;
}
/// Removes the keys that match; the plan lists them as dropped by this rule.
[[nodiscard]] consteval rule drop(const char* pattern) {
    const rule out{detail::rule_verb::drop, pattern};
    detail::pattern_code parsed;
    detail::syntax_fault fault;
    (void)detail::parse_pattern({out.words_[0], out.words_[0], 0, true}, parsed, fault);
    return out;
}
/// Removes the keys that match none of one to four patterns; the plan lists them as dropped by this rule.
[[nodiscard]] consteval rule keep(const char* pattern, const char* second = nullptr, const char* third = nullptr,
                                  const char* fourth = nullptr) {
    rule out = drop(pattern);
    out.verb_ = detail::rule_verb::keep;
    if (second != nullptr) out.words_[out.count_++] = drop(second).words_[0];
    if (third != nullptr) out.words_[out.count_++] = drop(third).words_[0];
    if (fourth != nullptr) out.words_[out.count_++] = drop(fourth).words_[0];
    return out;
}
/// Makes a `rule_group` of strip, add, rename and drop rules.
template <std::same_as<rule>... Rules> [[nodiscard]] consteval rule_group<sizeof...(Rules)> first(Rules... rules);

/// The place of a fault in a rules text. `pretty()` is text for people: the line, with a caret under the fault.
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

struct key_map_data;
struct key_map_access;

/// One argument of key_map's constructor: a rule, or the rules of a group. Borrows them.
struct rule_argument {
    const rule* rules{nullptr};
    std::size_t count{0};
    bool is_group{false};

    explicit rule_argument(const rule& one) noexcept : rules{&one}, count{1} {}
    template <std::size_t N>
    explicit rule_argument(const rule_group<N>& group) noexcept : rules{group.rules}, count{N}, is_group{true} {}
    explicit rule_argument(const rule_group<0>&) noexcept : is_group{true} {}
};

template <class T> struct is_rule_group : std::false_type {};
template <std::size_t N> struct is_rule_group<rule_group<N>> : std::true_type {};

} // namespace detail

/// An argument of `key_map`: a `rule`, or a group of rules from `first`.
template <class T>
concept key_rule = std::same_as<T, rule> || detail::is_rule_group<T>::value;

/// A list of rules that change the keys of a state_dict. A cheap handle to an immutable object: copies share it, and
/// several threads may use it. A map that was moved from may only be assigned to or destroyed.
class key_map {
  public:
    /// A map of these rules and groups, in order. Without rules no key changes.
    template <key_rule... Rules>
    explicit(false) key_map(const Rules&... rules)
        : key_map(std::initializer_list<detail::rule_argument>{detail::rule_argument{rules}...}) {}
    key_map(const key_map& other) noexcept;
    key_map(key_map&& other) noexcept;
    key_map& operator=(const key_map& other) noexcept;
    key_map& operator=(key_map&& other) noexcept;
    ~key_map();

    /// Reads a rules text of at most 1 MiB; docs/key-rules.md has the grammar. Messages show `name` before the line.
    /// Fails with `rule_invalid`, whose `offset` is the byte of the text, and with `rules_unreadable` where the text is
    /// longer. Where it fails, `where` (if given) holds the line and the place for people.
    [[nodiscard]] static result<key_map> parse(std::string_view text, std::string_view name = "rules",
                                               parse_error* where = nullptr);

    /// The number of rules, including those in groups.
    [[nodiscard]] std::size_t size() const noexcept;
    [[nodiscard]] bool empty() const noexcept { return size() == 0; }

    /// The rules as a text for `parse`; literals have the form of a rules text: `rename a -> b`.
    [[nodiscard]] std::string text() const;

  private:
    friend struct detail::key_map_access;
    explicit key_map(detail::shared<detail::key_map_data> data) noexcept;
    explicit key_map(std::initializer_list<detail::rule_argument> steps);

    detail::shared<detail::key_map_data> data_{};
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
