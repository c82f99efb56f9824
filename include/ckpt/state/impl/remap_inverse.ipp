// ckpt/state/impl/remap_inverse.ipp: the definitions of remap_inverse.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/remap_formula.hpp>
#include <ckpt/state/remap_inverse.hpp>
#include <ckpt/state/rule_text.hpp>
#include <ckpt/tensor/convert.hpp>
#include <ckpt/tensor/shape_text.hpp>

#include <algorithm>
#include <cstddef>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF result<void> inverse_writer::check() const {
    std::uint32_t first = ~std::uint32_t{0};
    std::string why;
    const auto blame = [&](std::uint32_t rule, std::string reason) {
        if (rule >= first || reason.empty()) return;
        first = rule;
        why = std::move(reason);
    };
    for (const remap_change& d : r_.dropped) blame(d.rule, str_cat("it dropped ", quoted(name_of(r_.inputs(d)[0]))));
    for (const remap_alias& a : r_.aliased) {
        const std::uint32_t rule = (std::max)(r_.rule_of(a.kept), r_.rule_of(a.gone));
        blame(rule, str_cat("it merged two names of one tensor under ", quoted(name_of(a.kept))));
    }
    for (const remap_change& c : r_.changes)
        if (c.rule < first) blame(c.rule, obstacle(c));
    if (why.empty()) return {};
    return error{.code = errc::not_reversible, .detail = str_cat(r_.named(first), " cannot be undone: ", why)};
}

CKPT_DETAIL_DEF std::string inverse_writer::obstacle(const remap_change& change) const {
    const rule_verb verb = r_.rule(change.rule).verb;
    // Tensors that keep their names need no template.
    const bool renames =
        change.removes && (verb <= rule_verb::rename || (verb >= rule_verb::split && verb <= rule_verb::unstack));
    for (const std::uint32_t in : r_.inputs(change))
        if (renames && check_name(name_of(in)) != nullptr)
            return str_cat("no rule can give ", quoted(name_of(in)), " its name back");
    const std::string key = !change.outputs.empty() ? quoted(name_of(r_.outputs(change)[0])) : std::string{};
    if (verb == rule_verb::narrow) return str_cat("it cut ", key);
    if (verb == rule_verb::fill) return str_cat("it filled ", key);
    if (verb != rule_verb::cast) return {};
    const ckpt::dtype from = r_.node_of(r_.inputs(change)[0]).type;
    const ckpt::dtype to = r_.node_of(r_.outputs(change)[0]).type;
    if (holds_all(from, to)) return {};
    return str_cat("its cast of ", key, " from ", ckpt::name(from), " to ", ckpt::name(to), " loses values");
}

CKPT_DETAIL_DEF bool inverse_writer::holds_all(ckpt::dtype from, ckpt::dtype to) noexcept {
    if (!is_convertible(to, from)) return false;
    const ckpt::dtype a = component_type(from);
    const ckpt::dtype b = component_type(to);
    if (a == b) return true;
    const auto is_integer = [](ckpt::dtype t) {
        return carrier_of(t) == carrier::signed_integer || carrier_of(t) == carrier::unsigned_integer;
    };
    if (is_integer(a) != is_integer(b)) return false;
    if (is_integer(a)) {
        const integer_range x = range_of(a);
        const integer_range y = range_of(b);
        return x.least >= y.least && x.most <= y.most;
    }
    switch (b) {
    case dtype::float64: return true;
    case dtype::float32: return a != dtype::float64;
    case dtype::float16: return a != dtype::float64 && a != dtype::float32 && a != dtype::bfloat16;
    case dtype::bfloat16: return a != dtype::float64 && a != dtype::float32 && a != dtype::float16;
    default: return false;
    }
}

CKPT_DETAIL_DEF key_map inverse_writer::run() {
    for (std::size_t i = 0; i < r_.items.size(); ++i)
        while (r_.items[i].name.starts_with(unused_)) unused_.insert(unused_.size() - 1, 1, '_');
    const std::span<const remap_change> all{r_.changes};
    std::size_t end = all.size();
    for (std::size_t step = r_.step_ends.size(); step-- > 0;) {
        const std::size_t begin = step == 0 ? 0 : r_.step_ends[step - 1];
        undo_step(all.subspan(begin, end - begin));
        end = begin;
    }
    return key_map_access::make(out_);
}

CKPT_DETAIL_DEF void inverse_writer::add_move(std::string_view verb, std::string_view from, std::string_view to,
                                              bool in_group) {
    std::string line(verb);
    line += ' ';
    append_key_word(line, from);
    line += " -> ";
    append_key_word(line, to);
    add(line, in_group);
}

CKPT_DETAIL_DEF void inverse_writer::add_about(std::string line, std::string_view key) {
    line += ' ';
    append_key_word(line, key);
    add(line);
}

CKPT_DETAIL_DEF void inverse_writer::undo_step(std::span<const remap_change> changes) {
    borne_.clear();
    for (const remap_change& c : changes)
        for (const std::uint32_t out : r_.outputs(c)) borne_.push_back(name_of(out));
    sort_values(borne_);
    pending_.clear();
    bool group = false;
    for (const remap_change& c : changes) {
        if (!is_rename(c)) continue;
        if (!group) out_->begin_group();
        group = true;
        add_move("rename", name_of(r_.outputs(c)[0]), name_of(r_.inputs(c)[0]), true);
    }
    for (const remap_change& c : changes)
        if (!is_rename(c)) undo(c);
    if (pending_.empty()) return;
    out_->begin_group();
    for (const auto& [from, to] : pending_) add_move("rename", from, to, true);
}

CKPT_DETAIL_DEF std::string inverse_writer::target(std::uint32_t item) {
    std::string name(name_of(item));
    if (!std::binary_search(borne_.begin(), borne_.end(), std::string_view{name})) return name;
    std::string other = unused_ + decimal(std::uint64_t{next_++}) + '.' + name;
    pending_.push_back({other, std::move(name)});
    return other;
}

/// The dimension of a split or merge, and how queries, keys and values stand in it: `0 qkv(...) `.
[[nodiscard]] inline std::string layout_text(const remap_change& change, const rule_code& code) {
    std::string out = decimal(std::uint64_t{change.dimension}) + ' ';
    if (code.layout == qkv_layout::none) return out;
    out += str_cat("qkv(heads=", code.heads, ", kv_heads=", code.kv_heads, ", layout=");
    switch (code.layout) {
    case qkv_layout::concat: out += "concat"; break;
    case qkv_layout::grouped: out += "grouped"; break;
    default: out += "interleaved"; break;
    }
    return str_cat(out, ") ");
}

CKPT_DETAIL_DEF void inverse_writer::join_parts(const remap_change& change, const rule_code& code) {
    const std::uint32_t whole = r_.inputs(change)[0];
    const std::span<const std::uint32_t> parts = r_.outputs(change);
    if (code.verb == rule_verb::unstack)
        for (const std::uint32_t part : parts) add_about(str_cat("unsqueeze ", change.dimension), name_of(part));
    const std::string name = target(whole);
    if (parts.size() == 1) {
        if (name_of(parts[0]) != name) add_move("rename", name_of(parts[0]), name, false);
        return;
    }
    std::string line = str_cat("merge ", layout_text(change, code));
    for (std::size_t i = 0; i < parts.size(); ++i) {
        if (i != 0) line += ", ";
        append_key_word(line, name_of(parts[i]));
    }
    line += " -> ";
    append_key_word(line, name);
    add(line);
}

CKPT_DETAIL_DEF void inverse_writer::separate_parts(const remap_change& change, const rule_code& code) {
    std::vector<std::string> names;
    std::vector<std::int64_t> sizes;
    for (const std::uint32_t part : r_.inputs(change)) {
        names.push_back(target(part));
        sizes.push_back(code.verb == rule_verb::stack ? 1 : r_.node_of(part).shape[change.dimension]);
    }
    std::string line = str_cat("split ", layout_text(change, code));
    if (code.layout == qkv_layout::none) line += shape_text(sizes) + ' ';
    append_key_word(line, name_of(r_.outputs(change)[0]));
    line += " -> ";
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (i != 0) line += ", ";
        append_key_word(line, names[i]);
    }
    add(line);
    if (code.verb != rule_verb::stack) return;
    for (const std::string& part : names) add_about(str_cat("squeeze ", change.dimension), part);
}

/// The order of dimensions that undoes a permutation.
[[nodiscard]] inline std::vector<std::int64_t> inverse_order(std::span<const std::int64_t> order) {
    const auto rank = static_cast<std::int64_t>(order.size());
    std::vector<std::int64_t> out(order.size());
    for (std::size_t i = 0; i < out.size(); ++i)
        out[static_cast<std::size_t>(order[i] < 0 ? order[i] + rank : order[i])] = static_cast<std::int64_t>(i);
    return out;
}

CKPT_DETAIL_DEF void inverse_writer::undo(const remap_change& change) {
    const rule_code& code = r_.rule(change.rule);
    const std::uint32_t in = r_.inputs(change)[0];
    constexpr shape_style in_parentheses{.open = '(', .close = ')'};
    switch (code.verb) {
    case rule_verb::copy:
    case rule_verb::tie: return add_about("drop", name_of(r_.outputs(change)[0]));
    case rule_verb::split:
    case rule_verb::unstack: return join_parts(change, code);
    case rule_verb::merge:
    case rule_verb::stack: return separate_parts(change, code);
    case rule_verb::transpose:
        return add_about(str_cat("transpose ", code.numbers[0], " ", code.numbers[1]), name_of(in));
    case rule_verb::permute:
        return add_about(str_cat("permute ", shape_text(inverse_order(code.numbers), in_parentheses)), name_of(in));
    case rule_verb::pad:
        return add_about(
            str_cat("narrow ", change.dimension, " ", code.numbers[1], " ", r_.node_of(in).shape[change.dimension]),
            name_of(in));
    case rule_verb::cast: return add_about(str_cat("cast ", ckpt::name(r_.node_of(in).type)), name_of(in));
    default: // reshape, squeeze, unsqueeze
        return add_about(str_cat("reshape ", shape_text(r_.node_of(in).sizes(), in_parentheses)), name_of(in));
    }
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
