// ckpt/state/impl/remap_tensors.ipp: the definitions of remap_tensors.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/fill_value.hpp>
#include <ckpt/state/remap_tensors.hpp>
#include <ckpt/tensor/convert.hpp>
#include <ckpt/tensor/shape_text.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF std::vector<std::int64_t> unfolded(std::vector<std::int64_t> shape, std::uint32_t d, std::int64_t a,
                                                   std::int64_t b, std::int64_t c) {
    shape[d] = a;
    const std::int64_t more[]{b, c};
    shape.insert(shape.begin() + d + 1, more, more + 2);
    return shape;
}

CKPT_DETAIL_DEF void tensor_rules::run_split(const map_rule& rule) {
    c_.each_chosen(rule, [&](std::uint32_t item) { split(rule, item); });
}

CKPT_DETAIL_DEF bool tensor_rules::split(const map_rule& rule, std::uint32_t item) {
    std::uint32_t d{};
    if (!c_.usable(rule.number, item) || !c_.dimension(rule.number, item, rule.code.numbers[0], 0, d)) return false;
    std::vector<std::uint32_t> parts;
    const bool made =
        rule.code.layout != qkv_layout::none ? split_qkv(rule, item, d, parts) : split_evenly(rule, item, d, parts);
    if (!made) return false;
    std::vector<std::uint32_t> outputs;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        if (!c_.render(rule, i, item, c_.slots) || !c_.in_proportion(rule.number, item, parts[i])) return false;
        outputs.push_back(c_.new_item(c_.keep_name(c_.text), parts[i], rule.number));
        if (outputs.back() == 0) return false;
    }
    c_.change(rule.number, {&item, 1}, outputs, true, d);
    return true;
}

CKPT_DETAIL_DEF bool tensor_rules::split_evenly(const map_rule& rule, std::uint32_t item, std::uint32_t d,
                                                std::vector<std::uint32_t>& parts) {
    const std::uint32_t node = c_.r.items[item].node;
    const std::int64_t size = c_.plan.node(node).shape[d];
    const auto count = static_cast<std::int64_t>(rule.code.templates.size());
    const std::string where = str_cat(" of dimension ", d);
    if (!rule.code.sizes_given && size % count != 0)
        return c_.fail_at(rule.number, item,
                          str_cat("the size ", size, where, " does not divide into ", count, " parts"));
    std::int64_t at = 0;
    for (std::size_t i = 0; i < rule.code.templates.size(); ++i) {
        const std::int64_t length = rule.code.sizes_given ? rule.code.numbers[i + 1] : size / count;
        if (length > size - at)
            return c_.fail_at(rule.number, item, str_cat("the sizes add up to more than the ", size, where));
        parts.push_back(c_.plan.narrow(node, d, at, length));
        at += length;
    }
    return at == size ||
           c_.fail_at(rule.number, item, str_cat("the sizes add up to ", at, ", dimension ", d, " has ", size));
}

CKPT_DETAIL_DEF bool tensor_rules::split_qkv(const map_rule& rule, std::uint32_t item, std::uint32_t d,
                                             std::vector<std::uint32_t>& parts) {
    const std::uint32_t node = c_.r.items[item].node;
    const std::vector<std::int64_t> shape = c_.shape_of(node);
    const std::int64_t heads = rule.code.heads;
    const std::int64_t kv_heads = rule.code.kv_heads;
    if (heads > (INT64_MAX - 2) / 3) return c_.fail_at(rule.number, item, "there are too many heads");
    const std::int64_t rows = heads + 2 * kv_heads;
    if (shape[d] % rows != 0)
        return c_.fail_at(
            rule.number, item,
            str_cat("the size ", shape[d], " of dimension ", d, " is no multiple of heads + 2 kv_heads, ", rows));
    const std::int64_t head = shape[d] / rows;
    if (rule.code.layout == qkv_layout::concat) {
        parts.push_back(c_.plan.narrow(node, d, 0, heads * head));
        parts.push_back(c_.plan.narrow(node, d, heads * head, kv_heads * head));
        parts.push_back(c_.plan.narrow(node, d, (heads + kv_heads) * head, kv_heads * head));
        return true;
    }
    // Each group holds the queries that share a key and a value, then that key and that value.
    if (shape.size() + 2 > 64) return c_.fail_at(rule.number, item, "the tensor has too many dimensions");
    const std::int64_t each = heads / kv_heads;
    const std::uint32_t grid = c_.plan.reshape(node, unfolded(shape, d, kv_heads, each + 2, head));
    const std::int64_t starts[]{0, each, each + 1};
    const std::int64_t lengths[]{each, 1, 1};
    for (std::size_t i = 0; i < 3; ++i) {
        std::vector<std::int64_t> part = shape;
        part[d] = kv_heads * lengths[i] * head;
        parts.push_back(c_.plan.reshape(c_.plan.narrow(grid, d + 1, starts[i], lengths[i]), part));
    }
    return true;
}

CKPT_DETAIL_DEF void tensor_rules::run_unstack(const map_rule& rule) {
    c_.each_chosen(rule, [&](std::uint32_t item) { unstack(rule, item); });
}

CKPT_DETAIL_DEF bool tensor_rules::unstack(const map_rule& rule, std::uint32_t item) {
    std::uint32_t d{};
    if (!c_.usable(rule.number, item) || !c_.dimension(rule.number, item, rule.code.numbers[0], 0, d)) return false;
    const std::uint32_t node = c_.r.items[item].node;
    std::vector<std::int64_t> shape = c_.shape_of(node);
    const std::int64_t count = shape[d];
    if (count == 0)
        return c_.fail_at(rule.number, item, str_cat("dimension ", d, " has the size 0, so the tensor would vanish"));
    if (static_cast<std::uint64_t>(count) > c_.most_keys()) return c_.fail_at(rule.number, item, c_.too_many_keys());
    shape.erase(shape.begin() + d);
    std::vector<std::uint32_t> outputs;
    std::vector<binding_value> slots = c_.slots;
    const auto counter = static_cast<std::size_t>(rule.code.counter);
    slots.resize(counter + 1);
    for (std::int64_t i = 0; i < count; ++i) {
        slots[counter].number = i;
        if (!c_.render(rule, 0, item, slots)) return false;
        const std::uint32_t part = c_.plan.reshape(c_.plan.narrow(node, d, i, 1), shape);
        if (!c_.in_proportion(rule.number, item, part)) return false;
        outputs.push_back(c_.new_item(c_.keep_name(c_.text), part, rule.number));
        if (outputs.back() == 0) return false;
    }
    c_.change(rule.number, {&item, 1}, outputs, true, d);
    return true;
}

CKPT_DETAIL_DEF void tensor_rules::run_transform(const map_rule& rule) {
    c_.each_chosen(rule, [&](std::uint32_t item) {
        if (!c_.usable(rule.number, item)) return;
        std::uint32_t node = c_.r.items[item].node;
        std::uint32_t d{};
        if (!transform(rule, item, node, d) || node == c_.r.items[item].node) return;
        if (c_.in_proportion(rule.number, item, node)) c_.replace_tensor(rule.number, item, node, d);
    });
}

CKPT_DETAIL_DEF bool tensor_rules::transform(const map_rule& rule, std::uint32_t item, std::uint32_t& node,
                                             std::uint32_t& d) {
    switch (rule.code.verb) {
    case rule_verb::transpose: return transpose(rule, item, node, d);
    case rule_verb::permute: return permute(rule, item, node, d);
    case rule_verb::reshape: return reshape(rule, item, node);
    case rule_verb::squeeze: return squeeze(rule, item, node, d);
    case rule_verb::unsqueeze: return unsqueeze(rule, item, node, d);
    case rule_verb::narrow: return narrow(rule, item, node, d);
    case rule_verb::pad: return pad(rule, item, node, d);
    default: return cast(rule, item, node);
    }
}

CKPT_DETAIL_DEF bool tensor_rules::transpose(const map_rule& rule, std::uint32_t item, std::uint32_t& node,
                                             std::uint32_t& d) {
    std::uint32_t second{};
    if (!c_.dimension(rule.number, item, rule.code.numbers[0], 0, d) ||
        !c_.dimension(rule.number, item, rule.code.numbers[1], 0, second))
        return false;
    if (d == second) return true;
    std::vector<std::int64_t> order;
    for (std::uint32_t i = 0; i < c_.plan.node(node).rank; ++i) order.push_back(i);
    std::swap(order[d], order[second]);
    node = c_.plan.permute(node, order);
    return true;
}

CKPT_DETAIL_DEF bool tensor_rules::permute(const map_rule& rule, std::uint32_t item, std::uint32_t& node,
                                           std::uint32_t& d) {
    const std::span<const std::int64_t> numbers = rule.code.numbers;
    const std::uint32_t rank = c_.plan.node(node).rank;
    if (numbers.size() != rank)
        return c_.fail_at(rule.number, item,
                          str_cat("the tensor has ", rank, " dimensions, the rule names ", numbers.size()));
    std::vector<std::int64_t> order;
    bool identity = true;
    for (const std::int64_t number : numbers) {
        if (!c_.dimension(rule.number, item, number, 0, d)) return false;
        if (std::find(order.begin(), order.end(), static_cast<std::int64_t>(d)) != order.end())
            return c_.fail_at(rule.number, item, str_cat("dimension ", number, " is named twice"));
        identity = identity && d == order.size();
        order.push_back(static_cast<std::int64_t>(d));
    }
    if (!identity) node = c_.plan.permute(node, order);
    return true;
}

CKPT_DETAIL_DEF bool tensor_rules::reshape(const map_rule& rule, std::uint32_t item, std::uint32_t& node) {
    std::vector<std::int64_t> shape(rule.code.numbers.begin(), rule.code.numbers.end());
    const std::uint64_t numel = c_.plan.node(node).numel;
    std::uint64_t product = 1;
    std::size_t open = shape.size();
    bool sized = true;
    bool empty = false;
    for (const std::int64_t n : shape) empty = empty || n == 0;
    for (std::size_t i = 0; i < shape.size(); ++i) {
        if (shape[i] < 0) open = i;
        else if (!empty) sized = sized && checked_mul(product, static_cast<std::uint64_t>(shape[i]), product);
    }
    if (empty) product = 0;
    if (open < shape.size()) {
        if (product == 0) return c_.fail_at(rule.number, item, "-1 has no meaning beside a size of 0");
        if (sized && numel % product == 0) {
            shape[open] = static_cast<std::int64_t>(numel / product);
            product = numel;
        }
    }
    if (!sized || product != numel || shape.size() > 64)
        return c_.fail_at(rule.number, item,
                          str_cat("the ", numel, " elements of ", describe(c_.plan.node(node)), " do not fit into ",
                                  list_of(rule.code.numbers)));
    node = c_.plan.reshape(node, shape);
    return true;
}

CKPT_DETAIL_DEF bool tensor_rules::squeeze(const map_rule& rule, std::uint32_t item, std::uint32_t& node,
                                           std::uint32_t& d) {
    std::vector<std::int64_t> shape = c_.shape_of(node);
    if (rule.code.every_dimension) {
        shape.erase(std::remove(shape.begin(), shape.end(), 1), shape.end());
    } else {
        const std::int64_t number = rule.code.numbers[0];
        if (!c_.dimension(rule.number, item, number, 0, d)) return false;
        if (shape[d] != 1)
            return c_.fail_at(rule.number, item, str_cat("dimension ", number, " has the size ", shape[d], ", not 1"));
        shape.erase(shape.begin() + d);
    }
    node = c_.plan.reshape(node, shape);
    return true;
}

CKPT_DETAIL_DEF bool tensor_rules::unsqueeze(const map_rule& rule, std::uint32_t item, std::uint32_t& node,
                                             std::uint32_t& d) {
    if (!c_.dimension(rule.number, item, rule.code.numbers[0], 1, d)) return false;
    std::vector<std::int64_t> shape = c_.shape_of(node);
    if (shape.size() == 64) return c_.fail_at(rule.number, item, "the tensor has too many dimensions");
    shape.insert(shape.begin() + d, 1);
    node = c_.plan.reshape(node, shape);
    return true;
}

CKPT_DETAIL_DEF bool tensor_rules::narrow(const map_rule& rule, std::uint32_t item, std::uint32_t& node,
                                          std::uint32_t& d) {
    const std::span<const std::int64_t> numbers = rule.code.numbers; // dimension, start, length
    if (!c_.dimension(rule.number, item, numbers[0], 0, d)) return false;
    const std::int64_t size = c_.plan.node(node).shape[d];
    if (numbers[1] > size || numbers[2] > size - numbers[1])
        return c_.fail_at(rule.number, item,
                          str_cat("elements ", numbers[1], " and ", numbers[2], " more reach past the size ", size,
                                  " of dimension ", d));
    node = c_.plan.narrow(node, d, numbers[1], numbers[2]);
    return true;
}

CKPT_DETAIL_DEF bool tensor_rules::pad(const map_rule& rule, std::uint32_t item, std::uint32_t& node,
                                       std::uint32_t& d) {
    const std::span<const std::int64_t> numbers = rule.code.numbers; // dimension, how many before, how many behind
    if (!c_.dimension(rule.number, item, numbers[0], 0, d)) return false;
    std::int64_t behind = numbers[2];
    if (rule.code.to_multiple) {
        const std::int64_t over = c_.plan.node(node).shape[d] % behind;
        behind = over == 0 ? 0 : behind - over;
    }
    const ckpt::dtype type = c_.plan.node(node).type;
    std::array<std::byte, 16> value{};
    if (const char* why = encode_value(rule.code.filling, type, value); why != nullptr)
        return c_.fail_at(rule.number, item, why);
    std::vector<std::int64_t> shape = c_.shape_of(node);
    const bool sized = numbers[1] <= INT64_MAX - shape[d] && behind <= INT64_MAX - shape[d] - numbers[1];
    if (sized) shape[d] += numbers[1] + behind;
    if (!sized || !remap_context::fits(shape, type)) return c_.fail_at(rule.number, item, "the padded shape overflows");
    const std::uint64_t before = c_.plan.node(node).numel;
    node = c_.plan.pad(node, d, numbers[1], behind, value);
    if (std::string much = c_.take_filled(bytes_of(type, c_.plan.node(node).numel - before)); !much.empty())
        return c_.fail_at(rule.number, item, much);
    return true;
}

CKPT_DETAIL_DEF bool tensor_rules::cast(const map_rule& rule, std::uint32_t item, std::uint32_t& node) {
    const ckpt::dtype from = c_.plan.node(node).type;
    const ckpt::dtype to = rule.code.type;
    if (!is_convertible(from, to))
        return c_.fail_at(
            rule.number, item,
            str_cat(ckpt::name(from), " cannot be cast to ", ckpt::name(to), " without losing what the values mean"));
    if (!remap_context::fits(c_.plan.node(node).sizes(), to))
        return c_.fail_at(rule.number, item, "the cast shape overflows");
    node = c_.plan.cast(node, to);
    return true;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
