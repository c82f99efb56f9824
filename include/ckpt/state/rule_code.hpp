// ckpt/state/rule_code.hpp: what one key rule is, as data.
//
// SPDX-License-Identifier: MIT
// In:      nothing; key_rules.hpp makes it of a line of text.
// Out:     verb, patterns, templates, numbers and conditions: what the planner runs.
// Refuses: nothing.
#pragma once

#include <ckpt/core/constexpr_vector.hpp>
#include <ckpt/core/pattern.hpp>
#include <ckpt/tensor/dtype.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

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

[[nodiscard]] constexpr bool may_stand_in_group(rule_verb verb) noexcept {
    return verb == rule_verb::strip || verb == rule_verb::strip_wrappers || verb == rule_verb::add ||
           verb == rule_verb::rename || verb == rule_verb::drop;
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
using formula = constexpr_vector<formula_step>;

enum class template_part : std::uint8_t { literal, capture, number, end };
struct template_piece {
    template_part kind{};
    bool alone{false};       ///< a capture that stands alone between dots: where it is empty, its segment goes
    std::int32_t slot{-1};   ///< of a text capture
    std::string_view text{}; ///< of a literal
    formula steps{};         ///< of a number
};
struct template_code {
    constexpr_vector<template_piece> pieces{};
    spelled word{};
};

/// One rule as data. Borrows the text that it was parsed from; words whose quotes held escapes are kept here.
struct rule_code {
    rule_verb verb{};
    bool optional{false};
    bool every_dimension{false}; ///< squeeze without a dimension
    bool sizes_given{false};
    bool to_multiple{false}; ///< pad behind the tensor, up to a multiple of the last number
    qkv_layout layout{};
    std::int64_t heads{0};
    std::int64_t kv_heads{0};
    std::string_view text{}; ///< the rule as written
    std::string_view prefix{};
    constexpr_vector<pattern_code> patterns{};
    constexpr_vector<spelled> words{}; ///< of the patterns
    constexpr_vector<template_code> templates{};
    constexpr_vector<std::int64_t> numbers{}; ///< dimensions, sizes, a shape; by verb
    ckpt::dtype type{};
    std::string_view filling{};                  ///< the number of fill and pad as written
    std::int32_t counter{-1};                    ///< the slot of stack's and unstack's number
    constexpr_vector<formula> conditions{};      ///< one for each pattern of keep, else one for all; empty: none
    constexpr_vector<template_code> mentioned{}; ///< templates of has(...)
    constexpr_vector<constexpr_vector<char>> cooked{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
