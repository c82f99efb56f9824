// ckpt/state/impl/remap_context.ipp: the definitions of remap_context.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/caster.hpp>
#include <ckpt/state/remap_context.hpp>
#include <ckpt/tensor/dtype.hpp>

#include <cstring>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF bool remap_context::fail(std::uint32_t rule, std::string what) {
    if (r.errors.size() < most_errors)
        r.errors.push_back({.code = errc::remap_failed, .detail = str_cat(r.named(rule), ": ", what)});
    return false;
}

CKPT_DETAIL_DEF bool remap_context::matches(std::uint32_t rule, const pattern_code& code, std::uint32_t item) {
    if (gave_up_) return false;
    const match_outcome outcome = matcher_.match(code, r.items[item].name, slots);
    if (outcome != match_outcome::too_many_steps) return outcome == match_outcome::yes;
    gave_up_ = true;
    return fail_at(rule, item, "the pattern takes too many steps to match this key");
}

CKPT_DETAIL_DEF bool remap_context::holds(const map_rule& rule, std::size_t which, std::uint32_t item,
                                          const std::vector<binding_value>& bound) {
    if (rule.code.conditions.empty()) return true;
    formula_value value;
    const char* why = formulas.evaluate(rule.code.conditions[which], {rule.code, item, bound}, value);
    if (why != nullptr) return fail_at(rule.number, item, why);
    return value.number != 0;
}

CKPT_DETAIL_DEF bool remap_context::render(const map_rule& rule, std::size_t which, std::uint32_t item,
                                           const std::vector<binding_value>& bound) {
    const char* why = formulas.render(rule.code.templates[which], {rule.code, item, bound}, text);
    return why == nullptr || fail_at(rule.number, item, why);
}

CKPT_DETAIL_DEF std::string_view remap_context::keep_name(std::string_view name) {
    char* out = r.names.allocate<char>(name.size() + 1);
    std::memcpy(out, name.data(), name.size());
    return {out, name.size()};
}

CKPT_DETAIL_DEF std::uint32_t remap_context::new_item(std::string_view name, std::uint32_t node, std::uint32_t rule) {
    if (r.items.size() > most_keys_) { // item 0 is none
        if (!gave_up_) fail(rule, too_many_keys());
        gave_up_ = true;
        return 0;
    }
    r.items.push_back(r.names, {.name = name, .node = node});
    return static_cast<std::uint32_t>(r.items.size() - 1);
}

CKPT_DETAIL_DEF void remap_context::change(std::uint32_t rule, std::span<const std::uint32_t> inputs,
                                           std::span<const std::uint32_t> outputs, bool removes,
                                           std::uint32_t dimension) {
    const auto link = [this](std::span<const std::uint32_t> items) {
        if (items.size() <= 1) return item_list{items.empty() ? 0 : items[0]};
        const auto at = static_cast<std::uint32_t>(r.links.size());
        r.links.push_back(static_cast<std::uint32_t>(items.size()));
        r.links.insert(r.links.end(), items.begin(), items.end());
        return item_list{at | item_list::several};
    };
    r.changes.push_back({.rule = rule,
                         .inputs = link(inputs),
                         .outputs = link(outputs),
                         .dimension = static_cast<std::uint16_t>(dimension),
                         .removes = removes});
    for (const std::uint32_t out : outputs) r.items[out].change = static_cast<std::uint32_t>(r.changes.size());
}

CKPT_DETAIL_DEF void remap_context::drop(std::uint32_t rule, std::uint32_t item) {
    r.dropped.push_back({.rule = rule, .inputs = {item}});
    dropped_items.push_back(item);
}

CKPT_DETAIL_DEF void remap_context::rename(std::uint32_t rule, std::uint32_t item, std::string_view name) {
    if (const char* why = check_name(name); why != nullptr) {
        fail_at(rule, item, why);
        return;
    }
    const std::string_view had = r.items[item].name;
    if (name == had) return;
    const std::string_view kept = had.ends_with(name) ? had.substr(had.size() - name.size()) : keep_name(name);
    const std::uint32_t out = new_item(kept, r.items[item].node, rule);
    if (out != 0) change(rule, {&item, 1}, {&out, 1}, true);
}

CKPT_DETAIL_DEF void remap_context::replace_tensor(std::uint32_t rule, std::uint32_t item, std::uint32_t node,
                                                   std::uint32_t dimension) {
    const std::uint32_t out = new_item(r.items[item].name, node, rule);
    if (out != 0) change(rule, {&item, 1}, {&out, 1}, true, dimension);
}

CKPT_DETAIL_DEF void remap_context::add_name(std::uint32_t rule, std::uint32_t item) {
    const std::uint32_t out = new_item(keep_name(text), r.items[item].node, rule);
    if (out != 0) change(rule, {&item, 1}, {&out, 1}, false);
}

CKPT_DETAIL_DEF bool remap_context::usable(std::uint32_t rule, std::uint32_t item) {
    const std::string why = elements_obstacle(r.node_of(item));
    return why.empty() || fail_at(rule, item, why);
}

CKPT_DETAIL_DEF bool remap_context::fits(std::span<const std::int64_t> shape, ckpt::dtype type) noexcept {
    std::uint64_t n = bits(type);
    bool empty = false;
    for (const std::int64_t size : shape) empty = empty || size == 0;
    for (const std::int64_t size : shape)
        if (size < 0 || (!empty && !checked_mul(n, static_cast<std::uint64_t>(size), n))) return false;
    return shape.size() <= 64 && n <= largest_signed;
}

CKPT_DETAIL_DEF std::string remap_context::take_filled(std::uint64_t bytes) {
    if (bytes <= fill_left_) {
        fill_left_ -= bytes;
        return {};
    }
    return str_cat("it would fill ", bytes, " bytes; the rules of one map fill ", most_filled_,
                   " bytes at most (limits::filled_bytes): fill less, or in several maps, one after the other");
}

CKPT_DETAIL_DEF bool remap_context::in_proportion(std::uint32_t rule, std::uint32_t item, std::uint32_t node,
                                                  bool is_read) {
    const gather_node& n = plan.node(node);
    if ((n.op == gather_op::leaf && !is_read) || plan.in_proportion(node)) return true;
    return fail_at(
        rule, item,
        str_cat("the values would be ", bytes_of(n.type, n.numel), " bytes, more than 16 times what is stored"));
}

CKPT_DETAIL_DEF bool remap_context::dimension(std::uint32_t rule, std::uint32_t item, std::int64_t d,
                                              std::uint32_t extra, std::uint32_t& out) {
    const auto rank = static_cast<std::int64_t>(r.node_of(item).rank + extra);
    if (d < -rank || d >= rank)
        return fail_at(rule, item, str_cat("there is no dimension ", d, " in ", describe(r.node_of(item))));
    out = static_cast<std::uint32_t>(d < 0 ? d + rank : d);
    return true;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
