// ckpt/state/impl/remap_formula.ipp: the definitions of remap_formula.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/state/remap_formula.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF const char* check_name(std::string_view name) noexcept {
    if (name.empty()) return "the new name is empty";
    return has_empty_segment(name) ? "the new name has an empty segment" : nullptr;
}

CKPT_DETAIL_DEF const char* calculate(formula_op op, std::int64_t a, std::int64_t b, std::int64_t& out) noexcept {
    constexpr std::int64_t least = INT64_MIN;
    constexpr std::int64_t most = INT64_MAX;
    constexpr const char* overflow = "a number does not fit into 64 bits";
    switch (op) {
    case formula_op::add:
        if ((b > 0 && a > most - b) || (b < 0 && a < least - b)) return overflow;
        out = a + b;
        return nullptr;
    case formula_op::subtract:
        if ((b < 0 && a > most + b) || (b > 0 && a < least + b)) return overflow;
        out = a - b;
        return nullptr;
    case formula_op::multiply: {
        const bool negative = (a < 0) != (b < 0);
        const auto magnitude = [](std::int64_t n) {
            return n < 0 ? std::uint64_t{0} - static_cast<std::uint64_t>(n) : static_cast<std::uint64_t>(n);
        };
        std::uint64_t product{};
        if (!checked_mul(magnitude(a), magnitude(b), product) ||
            product > static_cast<std::uint64_t>(most) + (negative ? 1u : 0u))
            return overflow;
        out = static_cast<std::int64_t>(negative ? std::uint64_t{0} - product : product);
        return nullptr;
    }
    default: { // divide and modulo; quotients are rounded down
        if (b == 0) return "a division by zero";
        if (a == least && b == -1) {
            out = 0;
            return op == formula_op::modulo ? nullptr : overflow;
        }
        const std::int64_t quotient = a % b != 0 && (a < 0) != (b < 0) ? a / b - 1 : a / b;
        out = op == formula_op::divide ? quotient : a - quotient * b;
        return nullptr;
    }
    }
}

[[nodiscard]] constexpr bool compare_numbers(formula_op op, std::int64_t a, std::int64_t b) noexcept {
    switch (op) {
    case formula_op::equal: return a == b;
    case formula_op::not_equal: return a != b;
    case formula_op::less: return a < b;
    case formula_op::less_equal: return a <= b;
    case formula_op::greater: return a > b;
    default: return a >= b;
    }
}

/// Whether a step leaves text or a dtype. The parser lets only things of one kind be compared, so that the step before
/// a comparison, which is the last of its right side, tells the kind of both.
[[nodiscard]] constexpr bool leaves_no_number(formula_op op) noexcept {
    return op == formula_op::text || op == formula_op::text_capture || op == formula_op::dtype ||
           op == formula_op::own_dtype;
}

CKPT_DETAIL_DEF bool rule_formulas::has_key(const template_code& code, const subject& about) const {
    std::string key;
    return render(code, about, key) == nullptr && keys_.find(key) != 0;
}

CKPT_DETAIL_DEF formula_value rule_formulas::operand(const formula_step& step, const subject& about) const {
    const gather_node& node = r_.node_of(about.item);
    const auto slot = static_cast<std::size_t>(step.number);
    switch (step.op) {
    case formula_op::number: return {.number = step.number};
    case formula_op::capture: return {.number = about.slots[slot].number};
    case formula_op::text: return {.text = step.text};
    case formula_op::text_capture: return {.text = about.slots[slot].text};
    case formula_op::dtype: return {.type = step.type};
    case formula_op::own_dtype: return {.type = node.type};
    case formula_op::ndim: return {.number = static_cast<std::int64_t>(node.rank)};
    case formula_op::numel: return {.number = static_cast<std::int64_t>(node.numel)};
    case formula_op::shape: {
        const auto rank = static_cast<std::int64_t>(node.rank);
        const std::int64_t d = step.number < 0 ? step.number + rank : step.number;
        if (d < 0 || d >= rank) return {.absent = true};
        return {.number = node.shape[d]};
    }
    default: return {.number = has_key(about.code.mentioned[slot], about) ? 1 : 0}; // has
    }
}

CKPT_DETAIL_DEF const char* rule_formulas::evaluate(const formula& steps, const subject& about,
                                                    formula_value& out) const {
    std::vector<formula_value> stack;
    for (std::size_t i = 0; i < steps.size(); ++i) {
        const formula_step& s = steps[i];
        if (s.op <= formula_op::has) {
            stack.push_back(operand(s, about));
        } else if (s.op == formula_op::negate) {
            stack.back().number = stack.back().number == 0 ? 1 : 0;
        } else if (s.op == formula_op::skip_if_false || s.op == formula_op::skip_if_true) {
            // `a and b` is a's value where that is false, and else b's: what decides stays, and the rest is left out.
            if ((stack.back().number != 0) == (s.op == formula_op::skip_if_true))
                i = static_cast<std::size_t>(s.number) - 1;
            else stack.pop_back();
        } else {
            const formula_value b = stack.back();
            stack.pop_back();
            formula_value& a = stack.back();
            if (s.op < formula_op::equal) {
                a.absent = a.absent || b.absent;
                if (a.absent) continue;
                if (const char* why = calculate(s.op, a.number, b.number, a.number); why != nullptr) return why;
            } else if (a.absent || b.absent) {
                a = {.number = 0};
            } else if (leaves_no_number(steps[i - 1].op)) {
                const bool same = a.text == b.text && a.type == b.type;
                a = {.number = same == (s.op == formula_op::equal) ? 1 : 0};
            } else {
                a = {.number = compare_numbers(s.op, a.number, b.number) ? 1 : 0};
            }
        }
    }
    out = stack.empty() ? formula_value{} : stack.back();
    return nullptr;
}

CKPT_DETAIL_DEF const char* rule_formulas::render(const template_code& code, const subject& about,
                                                  std::string& out) const {
    out.clear();
    bool any = false;
    bool empty_capture = false;
    for (const template_piece& piece : code.pieces) {
        switch (piece.kind) {
        case template_part::literal: out += piece.text; break;
        case template_part::capture: {
            const std::string_view text = about.slots[static_cast<std::size_t>(piece.slot)].text;
            empty_capture = piece.alone && text.empty();
            out += text;
            break;
        }
        case template_part::number: {
            formula_value v;
            if (const char* why = evaluate(piece.steps, about, v); why != nullptr) return why;
            if (v.number < 0 || v.number >= (std::int64_t{1} << 31))
                return "a number in the new name is not in 0 to 2147483647";
            out += decimal(v.number);
            break;
        }
        case template_part::end:
            if (!empty_capture) {
                any = true;
                out += '.';
            }
            empty_capture = false;
            break;
        }
    }
    if (!any) return "the new name is empty";
    out.pop_back();
    return check_name(out);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
