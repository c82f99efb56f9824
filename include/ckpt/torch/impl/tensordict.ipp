// ckpt/torch/impl/tensordict.ipp: the definitions of tensordict.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/torch/tensordict.hpp>

#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE result<value> tensordict_leaves::read(const value& metadata) {
    auto root = add(metadata);
    if (!root) return std::move(root).error();
    while (!todo_.empty()) {
        const pending next = todo_.back();
        todo_.pop_back();
        if (auto filled = fill(next); !filled) return std::move(filled).error();
    }
    return value_access::make(call_access::graph(call_), *root);
}

CKPT_DETAIL_RARE result<std::uint32_t> tensordict_leaves::add(const value& metadata) {
    if (metadata.kind() != kind::dictionary) return other_form();
    node n = node::of(node_kind::dictionary);
    n.link = {absent_node, 0};
    auto made = call_access::make(call_, n, 0);
    if (!made) return std::move(made).error();
    todo_.push_back({metadata, value_access::node(*made)});
    return todo_.back().node;
}

CKPT_DETAIL_RARE result<void> tensordict_leaves::fill(const pending& of) {
    graph& g = call_access::graph(call_);
    std::uint32_t entries = 0;
    const auto pay = [&](std::size_t n) { return call_.charge(n * 4 * sizeof(std::uint32_t)); };
    const auto put = [&](const value& key, std::uint32_t mapped) {
        const std::uint32_t pair[2]{value_access::node(key), mapped};
        g.append(entries, pair);
    };
    if (!pay(of.metadata.entries().size())) return call_.over_budget();
    const auto others = of.metadata.at("non_tensors");
    const auto leaves = of.metadata.at("leaves");
    if (!others || !leaves || others->kind() != kind::dictionary || leaves->kind() != kind::dictionary)
        return other_form();
    if (!pay(others->entries().size()) || !pay(leaves->entries().size())) return call_.over_budget();
    for (const value::entry e : others->entries()) {
        if (!e.mapped[0]) return other_form(); // the value, and the batch size
        put(e.key, value_access::node(e.mapped[0]));
    }
    for (const value::entry e : leaves->entries()) {
        auto made = leaf(e.mapped);
        if (!made) return std::move(made).error();
        put(e.key, *made);
    }
    for (const value::entry e : of.metadata.entries()) {
        const auto name = e.key.as_string();
        if (name && (*name == "non_tensors" || *name == "leaves" || *name == "cls" || *name == "cls_metadata" ||
                     *name == "size"))
            continue;
        auto below = add(e.mapped);
        if (!below) return std::move(below).error();
        put(e.key, *below);
    }
    g.nodes[of.node].a = entries;
    return {};
}

CKPT_DETAIL_RARE result<std::uint32_t> tensordict_leaves::leaf(const value& about) {
    auto made = tensor_of(about);
    if (!made) {
        if (call_access::over_limit(call_)) return std::move(made).error();
        graph& g = call_access::graph(call_);
        tensor_data refused{};
        refused.refusal = g.errors[g.keep(std::move(made).error())];
        auto error = call_access::make_tensor(call_, refused);
        if (!error) return std::move(error).error();
        return value_access::node(*error);
    }
    return value_access::node(*made);
}

CKPT_DETAIL_RARE result<value> tensordict_leaves::tensor_of(const value& about) {
    const auto text = about[0].as_string();
    const auto first = about[2].as_int();
    const auto end = about[3].as_int();
    if (!text || !first || !end || !about[4]) return other_form();
    const auto type = text->starts_with("torch.") ? parse_dtype(text->substr(6)) : std::nullopt;
    if (!type) return call_.fail(errc::dtype_unknown, "the dtype " + quoted(*text) + " is not one that is known");
    const auto from = static_cast<std::uint64_t>(*first);
    const auto to = static_cast<std::uint64_t>(*end);
    if (*first < 0 || from > to || to > bytes_.numel || (bytes_.storage_offset + from) % itemsize(*type) != 0)
        return call_.fail(errc::out_of_bounds, "bytes " + decimal(*first) + " to " + decimal(*end) + " of " +
                                                   decimal(bytes_.numel) + " are no elements of " +
                                                   std::string(name(*type)));
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
        return call_.fail(errc::out_of_bounds, decimal(t.numel) + " elements of " + std::string(name(*type)) + " in " +
                                                   decimal(to - from) + " bytes");
    return call_access::make_tensor(call_, t);
}

CKPT_DETAIL_RARE error tensordict_leaves::other_form() const {
    return call_access::over_limit(call_)
               ? call_.over_budget()
               : call_.fail(errc::bad_arguments, "the metadata of a consolidated TensorDict have another form");
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
