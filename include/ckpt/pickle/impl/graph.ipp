// ckpt/pickle/impl/graph.ipp: the definitions of graph.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/pickle/graph.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE graph::graph(const shared<block_pool>& pool) : memory{pool} {
    node n{};
    nodes.push_back(memory, n);
    n.kind = node_kind::none;
    nodes.push_back(memory, n);
    n.kind = node_kind::boolean;
    nodes.push_back(memory, n);
    n.integer = 1;
    nodes.push_back(memory, n);
    n = {};
    n.kind = node_kind::tuple;
    n.items = nullptr;
    n.flags = node_flag::hashable;
    nodes.push_back(memory, n);
    n = {};
    n.kind = node_kind::integer;
    for (n.integer = 0; n.integer < 256; ++n.integer) nodes.push_back(memory, n);
    containers.push_back(memory, container{}); // number 0: the empty container, which all empty values share
}

CKPT_DETAIL_DEF void graph::begin(std::span<const std::byte> bytes, std::uint64_t offset,
                                  std::string_view of) noexcept {
    joined_bytes += pickle.size();
    pickle = bytes;
    base = offset;
    record = of;
    transcoded = false;
}

CKPT_DETAIL_RARE void graph::go_back(const graph_mark& to) noexcept {
    nodes.shrink(to.nodes);
    containers.shrink(to.containers);
    pending.shrink(to.pending);
    globals.shrink(to.globals);
    tensors.shrink(to.tensors);
    for (; errors.size() > to.errors; errors.pop_back()) delete errors.back();
}

CKPT_DETAIL_DEF void graph::forget_pending() noexcept {
    pending.shrink(resolved_pending);
    resolved_nodes = nodes.size();
}

CKPT_DETAIL_DEF std::uint32_t graph::add_text(std::string_view text) {
    node n = node::of(node_kind::string, static_cast<std::uint32_t>(text.size()));
    n.text = text.data();
    return add(n);
}

CKPT_DETAIL_DEF std::uint32_t graph::add_dictionary(std::span<const std::uint32_t> pairs, std::uint32_t state) {
    std::uint32_t entries = 0;
    append(entries, pairs);
    has_given_keys = true;
    node n = node::of(node_kind::dictionary, entries);
    n.link = {absent_node, 0};
    if (state != absent_node) n.link.c = add(node::of(node_kind::extension, state));
    return add(n);
}

CKPT_DETAIL_DEF std::uint32_t graph::add_metadata(std::span<const std::uint32_t> pairs) {
    const std::uint32_t entry[2]{add_text("__metadata__"), add_dictionary(pairs)};
    return add_dictionary(entry);
}

CKPT_DETAIL_DEF std::uint32_t graph::add_tensor(const tensor_data& t) {
    tensors.push_back(memory, t);
    return add(node::of(node_kind::tensor, static_cast<std::uint32_t>(tensors.size() - 1)));
}

CKPT_DETAIL_DEF void graph::append(std::uint32_t& index, std::span<const std::uint32_t> values) {
    if (values.empty()) return;
    if (index == 0) {
        containers.push_back(memory, container{});
        index = static_cast<std::uint32_t>(containers.size() - 1);
    }
    container& c = containers[index];
    const std::size_t needed = c.count + values.size();
    if (needed > c.capacity) {
        // The first batch gets no spare capacity: one opcode fills most containers.
        const std::size_t capacity = c.count == 0 ? needed : needed > 2u * c.capacity ? needed : 2u * c.capacity;
        auto* data = memory.allocate<std::uint32_t>(capacity);
        for (std::uint32_t i = 0; i < c.count; ++i) data[i] = c.data[i];
        c.data = data;
        c.capacity = static_cast<std::uint32_t>(capacity);
    }
    for (const std::uint32_t v : values) c.data[c.count++] = v;
}

CKPT_DETAIL_RARE std::uint32_t graph::keep(error e) {
    if (e.record.size() > 4 * quoted_limit) e.record = printable(e.record); // a name may have 64 KiB
    if (!describes_errors()) {
        for (std::size_t i = described_errors; i < errors.size(); ++i)
            if (errors[i]->code == e.code) return static_cast<std::uint32_t>(i);
        e = error{.code = e.code, .hint = "one of very many faults of this kind; see the first ones for places"};
    }
    errors.push_back(nullptr);
    errors.back() = new error(std::move(e));
    return static_cast<std::uint32_t>(errors.size() - 1);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
