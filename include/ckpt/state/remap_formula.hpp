// ckpt/state/remap_formula.hpp: runs the templates, expressions and conditions of rules.
//
// SPDX-License-Identifier: MIT
// In:      a key with its tensor's dtype and shape, and what a pattern's captures are bound to.
// Out:     a new name, a number, or whether a condition holds.
// Refuses: numbers that do not fit into 64 bits or into a name, divisions by zero, names that no key can have.
#pragma once

#include <ckpt/core/pattern.hpp>
#include <ckpt/state/remap_keys.hpp>
#include <ckpt/state/remap_record.hpp>
#include <ckpt/state/rule_code.hpp>
#include <ckpt/tensor/dtype.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Null, or why no rule may give a key this name.
[[nodiscard]] const char* check_name(std::string_view name) noexcept;

/// The value of an expression or of a part of a condition. Truth is the number 0 or 1.
struct formula_value {
    std::int64_t number{0};
    std::string_view text{};
    ckpt::dtype type{};
    bool absent{false}; ///< a dimension that the tensor does not have: comparisons with it are false
};

/// Sets `out` to `a op b`, rounding divisions down. Null, or why there is no result.
[[nodiscard]] const char* calculate(formula_op op, std::int64_t a, std::int64_t b, std::int64_t& out) noexcept;

class rule_formulas {
  public:
    /// What a formula is about.
    struct subject {
        const rule_code& code;
        std::uint32_t item{0};
        const std::vector<binding_value>& slots; ///< one for each capture of the rule's pattern
    };

    rule_formulas(const remap_record& record, const remap_keys& keys) : r_{record}, keys_{keys} {}

    /// Sets `out` to the value of an expression or condition. Null, or why there is none.
    [[nodiscard]] const char* evaluate(const formula& steps, const subject& about, formula_value& out) const;
    /// Sets `out` to the name that a template makes. Null, or why it makes none.
    [[nodiscard]] const char* render(const template_code& code, const subject& about, std::string& out) const;

  private:
    /// The value of a step that takes nothing from the stack.
    [[nodiscard]] formula_value operand(const formula_step& step, const subject& about) const;
    /// Whether a key stands there under the name that a template makes.
    [[nodiscard]] bool has_key(const template_code& code, const subject& about) const;

    const remap_record& r_;
    const remap_keys& keys_;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/remap_formula.ipp>
#endif
