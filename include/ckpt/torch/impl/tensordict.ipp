// ckpt/torch/impl/tensordict.ipp: the definitions of tensordict.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/torch/tensordict.hpp>

#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE result<value> tensordict_leaves::read(const value& metadata) {
    auto root = add(metadata, {});
    if (!root) return std::move(root).failure();
    while (!todo_.empty()) {
        const pending next = todo_.back();
        todo_.pop_back();
        if (auto filled = fill(next); !filled) return std::move(filled).failure();
    }
    return value_access::make(call_access::graph(call_), *root);
}

CKPT_DETAIL_RARE result<std::uint32_t> tensordict_leaves::add(const value& metadata, const dictionary_place& at) {
    if (metadata.kind() != kind::dictionary) return other_form();
    node n = node::of(node_kind::dictionary);
    n.link = {absent_node, 0};
    auto made = call_access::make(call_, n, 0);
    if (!made) return std::move(made).failure();
    levels_.push_back(at);
    todo_.push_back({metadata, value_access::node(*made), static_cast<std::uint32_t>(levels_.size() - 1)});
    return todo_.back().node;
}

CKPT_DETAIL_RARE void tensordict_leaves::put(std::uint32_t& entries, const value& key, std::uint32_t mapped) {
    const std::uint32_t pair[2]{value_access::node(key), mapped};
    call_access::graph(call_).append(entries, pair);
}

CKPT_DETAIL_RARE result<void> tensordict_leaves::fill(const pending& of) {
    std::uint32_t entries = 0;
    const auto pay = [&](std::size_t n) { return call_.charge(n * 4 * sizeof(std::uint32_t)); };
    if (!pay(of.metadata.entries().size())) return call_.over_budget();
    const auto others = of.metadata.at("non_tensors");
    const auto leaves = of.metadata.at("leaves");
    if (!others || !leaves || others->kind() != kind::dictionary || leaves->kind() != kind::dictionary)
        return other_form();
    if (!pay(others->entries().size()) || !pay(leaves->entries().size())) return call_.over_budget();
    for (const value::entry e : others->entries()) {
        if (!e.mapped[0]) return other_form(); // the value, and the batch size
        put(entries, e.key, value_access::node(e.mapped[0]));
    }
    if (auto added = add_leaves(*leaves, of.level, entries); !added) return added;
    for (const value::entry e : of.metadata.entries()) {
        const auto name = e.key.as_string();
        if (name && (*name == "non_tensors" || *name == "leaves" || *name == "cls" || *name == "cls_metadata" ||
                     *name == "size"))
            continue;
        auto below = add(e.mapped, {e.key, of.level});
        if (!below) return std::move(below).failure();
        put(entries, e.key, *below);
    }
    call_access::graph(call_).nodes[of.node].a = entries;
    make_list(of, entries);
    return {};
}

CKPT_DETAIL_RARE void tensordict_leaves::make_list(const pending& of, std::uint32_t entries) {
    const auto cls = of.metadata.at("cls");
    const auto text = cls ? cls->as_string() : result<std::string_view>{std::string_view{}};
    const auto global = cls ? cls->as_global() : result<global_name>{global_name{}};
    if ((text ? *text : global ? global->name : std::string_view{}) != "LazyStackedTensorDict") return;
    graph& g = call_access::graph(call_);
    std::uint32_t stacked = 0;
    const std::span<const std::uint32_t> pairs = g.items_of(entries);
    for (std::size_t i = 0; i < pairs.size(); i += 2)
        if (const node& key = g.nodes[pairs[i]]; key.kind != node_kind::string || graph::text_of(key) != decimal(i / 2))
            return;
    for (std::size_t i = 1; i < pairs.size(); i += 2) g.append(stacked, std::span(&pairs[i], 1));
    g.nodes[of.node] = node::of(node_kind::list, stacked);
}

CKPT_DETAIL_RARE result<void> tensordict_leaves::add_leaves(const value& leaves, std::uint32_t level,
                                                            std::uint32_t& entries) {
    constexpr std::string_view of_values = "<NJT_VALUES>", of_values_before = "<NJT>";
    constexpr std::string_view of_lengths = "<NJT_LENGTHS>", of_offsets = "<NJT_OFFSETS>";
    jagged_nodes parts;
    for (const value::entry e : leaves.entries()) {
        const auto text = e.key.as_string();
        const std::string_view name = text ? *text : std::string_view{};
        auto made = or_error(tensor_of(e.key, e.mapped, level));
        if (!made) return std::move(made).failure();
        if (name.starts_with(of_values) || name.starts_with(of_values_before)) {
            if (std::exchange(parts.values, *made) != absent_node) return other_form();
        } else if (name.starts_with(of_lengths)) {
            if (std::exchange(parts.lengths, *made) != absent_node) return other_form();
        } else if (name.starts_with(of_offsets)) {
            if (parts.values == absent_node) return other_form();
            node shorter = call_access::graph(call_).nodes[value_access::node(e.key)];
            shorter.a -= static_cast<std::uint32_t>(of_offsets.size());
            shorter.text += of_offsets.size();
            auto key = call_access::make(call_, shorter, 0);
            if (!key) return std::move(key).failure();
            auto whole = or_error(jagged(std::exchange(parts, {}), *made, e.mapped));
            if (!whole) return std::move(whole).failure();
            put(entries, *key, *whole);
        } else {
            put(entries, e.key, *made);
        }
    }
    if (parts.values != absent_node || parts.lengths != absent_node) return other_form();
    return {};
}

CKPT_DETAIL_RARE result<value> tensordict_leaves::jagged(const jagged_nodes& nodes, std::uint32_t offsets,
                                                         const value& about) {
    named_data parts[3]{{"values", {}}, {"offsets", {}}, {"lengths", {}}};
    const std::uint32_t of[3]{nodes.values, offsets, nodes.lengths};
    const std::size_t count = nodes.lengths == absent_node ? 2 : 3;
    for (std::size_t i = 0; i < count; ++i)
        if (auto read = rebuild::read_part(call_, of[i], parts[i]); !read) return std::move(read).failure();
    constexpr std::size_t ragged_at = 5;
    const value ragged = tensors_ ? value{} : about[ragged_at];
    const auto dimension = ragged && !ragged.is_none() ? ragged.as_int() : result<std::int64_t>{1};
    if (!dimension) return other_form();
    return rebuild::make_jagged(call_, {parts, count}, *dimension, false);
}

CKPT_DETAIL_RARE result<std::uint32_t> tensordict_leaves::or_error(result<value> made) {
    if (made) return value_access::node(*made);
    if (call_access::over_limit(call_)) return std::move(made).failure();
    graph& g = call_access::graph(call_);
    tensor_data refused{};
    refused.refusal = g.errors[g.keep(std::move(made).error())];
    auto error = call_access::make_tensor(call_, refused);
    if (!error) return std::move(error).failure();
    return value_access::node(*error);
}

CKPT_DETAIL_RARE result<value> tensordict_leaves::tensor_of(const value& key, const value& about, std::uint32_t level) {
    return tensors_ ? tensor_under(key, level) : tensor_in_bytes(about);
}

CKPT_DETAIL_RARE bool tensordict_leaves::is_path(const value& tuple, const value& key,
                                                 std::uint32_t level) const noexcept {
    const auto same = [](const value& a, const value& b) {
        const auto left = a.as_string();
        const auto right = b.as_string();
        return left && right && *left == *right;
    };
    std::size_t left = tuple.size();
    if (tuple.kind() != kind::tuple || left == 0 || !same(tuple[--left], key)) return false;
    for (; level != 0; level = levels_[level].above)
        if (left == 0 || !same(tuple[--left], levels_[level].name)) return false;
    return left == 0;
}

CKPT_DETAIL_RARE result<value> tensordict_leaves::tensor_under(const value& key, std::uint32_t level) {
    // The leaves of one level stand in their order, with those of other levels between them.
    const std::size_t count = tensors_.entries().size();
    for (std::size_t i = 0; i < count; ++i) {
        auto at = tensors_.entries().begin();
        at.skip(next_);
        const value::entry e = *at;
        next_ = next_ + 1 == count ? 0 : next_ + 1;
        if (!call_.charge(e.key.size() + 1)) return call_.over_budget();
        if (is_path(e.key, key, level)) return e.mapped;
    }
    return call_.fail(errc::bad_arguments, "the metadata of a TensorDict name a tensor that it has not");
}

CKPT_DETAIL_RARE result<value> tensordict_leaves::tensor_in_bytes(const value& about) {
    const auto text = about[0].as_string();
    const auto first = about[2].as_int();
    const auto end = about[3].as_int();
    if (!text || !first || !end || !about[4]) return other_form();
    const auto type = text->starts_with("torch.") ? parse_dtype(text->substr(6)) : std::nullopt;
    if (!type)
        return call_.fail(errc::dtype_unknown, str_cat("the dtype ", quoted(*text), " is not one that is known"));
    const auto from = static_cast<std::uint64_t>(*first);
    const auto to = static_cast<std::uint64_t>(*end);
    if (*first < 0 || from > to || to > bytes_.numel || (bytes_.storage_offset + from) % itemsize(*type) != 0)
        return call_.fail(errc::out_of_bounds, str_cat("bytes ", *first, " to ", *end, " of ", bytes_.numel,
                                                       " are no elements of ", name(*type)));
    tensor_data t{};
    t.type = *type;
    t.storage = bytes_.storage;
    t.storage_offset = (bytes_.storage_offset + from) / itemsize(*type);
    graph& g = call_access::graph(call_);
    if (!rebuild::read_numbers(call_, g.nodes[value_access::node(about[1])], t.shape, t.rank)) return other_form();
    if (!call_.charge(t.rank * sizeof(std::int64_t))) return call_.over_budget();
    auto* const strides = g.memory.allocate<std::int64_t>(t.rank);
    set_dense_strides(t.sizes(), false, strides);
    t.strides = strides;
    const std::uint64_t held = g.storages->nbytes(t.storage);
    if (const errc code = check_geometry(t, held, call_access::rank_limit(call_)); code != errc::none)
        return rebuild::refuse_geometry(call_, code, t, held);
    if (detail::bytes_of(*type, t.numel) > to - from)
        return call_.fail(errc::out_of_bounds,
                          str_cat(t.numel, " elements of ", name(*type), " in ", to - from, " bytes"));
    return call_access::make_tensor(call_, t);
}

CKPT_DETAIL_RARE error tensordict_leaves::other_form() const {
    return call_access::over_limit(call_)
               ? call_.over_budget()
               : call_.fail(errc::bad_arguments, "the metadata of a TensorDict have another form");
}

CKPT_DETAIL_RARE result<value> builders::tensordict(call& c) {
    graph& g = call_access::graph(c);
    const bool called = c.args.size() == 2;
    const value state = called ? c.args[1] : c.state;
    if (!c.charge(state.size() * 2 * sizeof(std::uint32_t))) return c.over_budget();
    const auto stacked = state.at("tensordicts");
    if (stacked && stacked->kind() == kind::list) {
        if (!c.charge(stacked->size() * sizeof(std::uint32_t))) return c.over_budget();
        return *stacked;
    }
    const auto held = state.at("_tensordict");
    if (!held || held->kind() != kind::dictionary) return call_access::keep_inert(c);
    // Several objects may share the entries: each pays for those that can be reached.
    if (!c.charge(held->size() * 2 * sizeof(std::uint32_t))) return c.over_budget();
    auto attributes = call_access::make(c, node::of(node_kind::extension, value_access::node(state)), 0);
    if (!attributes) return attributes;
    node n = g.nodes[value_access::node(*held)];
    n.link.b = called ? value_access::node(c.args[0]) : g.nodes[call_access::node(c)].link.b;
    n.link.c = value_access::node(*attributes);
    return call_access::make(c, n, 0);
}

CKPT_DETAIL_RARE result<value> builders::tensordict_files(call& c) {
    if (c.args.size() < 2 || c.args.size() > 3 || c.args[0].kind() != kind::dictionary)
        return c.fail(errc::bad_arguments, "a TensorDict is made from a dictionary of tensors and its metadata");
    return tensordict_leaves{c, c.args[0]}.read(c.args[1]);
}

CKPT_DETAIL_RARE result<value> builders::consolidated_tensordict(call& c) {
    const auto args = call_access::arguments(c);
    const tensor_data* const bytes = args.size() == 2 ? rebuild::tensor_of(call_access::graph(c), args[1]) : nullptr;
    if (bytes == nullptr) return c.fail(errc::bad_arguments, "a TensorDict is made from its metadata and a tensor");
    if (bytes->refusal != nullptr) return *bytes->refusal;
    if (bytes->kind != layout::strided || bytes->type != ckpt::dtype::uint8 || bytes->rank != 1 ||
        bytes->extra != nullptr || !is_contiguous(*bytes))
        return c.fail(errc::bad_arguments, "the bytes of a TensorDict are not a tensor of uint8 with one dimension");
    return tensordict_leaves{c, *bytes}.read(c.args[0]);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
