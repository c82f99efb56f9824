// ckpt/pickle/value_access.hpp: the library's own way between handles and nodes, and what only its builders may do.
//
// SPDX-License-Identifier: MIT
// In:      values and calls, as programs have them.
// Out:     the graph and the number of the node behind them, and values made of nodes.
// Refuses: nothing.
#pragma once

#include <ckpt/pickle/graph.hpp>
#include <ckpt/pickle/value.hpp>

#include <cstdint>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Between a `value` and its node.
struct value_access {
    /// The handle of a node; an absent value for the absent node.
    [[nodiscard]] static value make(const graph& g, std::uint32_t node) noexcept { return value::of(&g, node); }
    [[nodiscard]] static std::uint32_t node(const value& v) noexcept { return v.node_; }
    /// Null for an absent value.
    [[nodiscard]] static const detail::graph* graph(const value& v) noexcept { return v.graph_; }
    /// Bytes of the pickle, or of the header, that the value's graph was made of; 0 for an absent value.
    [[nodiscard]] static std::uint64_t metadata_bytes(const value& v) noexcept {
        return v.graph_ != nullptr ? v.graph_->metadata_bytes() : 0;
    }
};

/// Between a `call` and its nodes.
struct call_access {
    /// A call of the object `node`. What its builder makes is taken from `budget`, in bytes; tensors have at most
    /// `rank_limit` dimensions. The graph and the budget must outlive the call.
    [[nodiscard]] static call make_call(detail::graph& g, std::uint32_t node, std::uint64_t& budget,
                                        std::uint32_t rank_limit) noexcept {
        return {g, node, budget, rank_limit};
    }
    [[nodiscard]] static detail::graph& graph(const call& c) noexcept { return *c.graph_; }
    /// The object that is built.
    [[nodiscard]] static std::uint32_t node(const call& c) noexcept { return c.node_; }
    [[nodiscard]] static std::uint32_t rank_limit(const call& c) noexcept { return c.rank_limit_; }
    /// The nodes of `c.args`.
    [[nodiscard]] static std::span<const std::uint32_t> arguments(const call& c) noexcept {
        return c.graph_->elements(c.graph_->nodes[value_access::node(c.args)]);
    }
    /// The same call with other arguments (a tuple node), for builders that wrap another.
    [[nodiscard]] static call with_arguments(const call& c, std::uint32_t tuple) noexcept {
        call out = c;
        out.args = value_access::make(*c.graph_, tuple);
        return out;
    }
    /// Whether a charge failed: the file does not open.
    [[nodiscard]] static bool over_limit(const call& c) noexcept { return c.spent_; }
    /// A value of the node `n`, which takes `bytes` more from the budget than the node itself.
    [[nodiscard]] static result<value> make(call& c, const detail::node& n, std::uint64_t bytes) {
        return c.make(n, bytes);
    }
    [[nodiscard]] static result<value> make_tensor(call& c, const tensor_data& data) { return c.make_tensor(data); }
    /// The object stays what it is: name, arguments and state, without a meaning.
    [[nodiscard]] static result<value> keep_inert(const call& c) noexcept {
        return value_access::make(*c.graph_, c.node_);
    }
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

// What every tensor's builder calls is inline in the library.

inline call::call(detail::graph& graph, std::uint32_t node, std::uint64_t& budget, std::uint32_t rank_limit) noexcept
    : graph_{&graph}, node_{node}, budget_{&budget}, rank_limit_{rank_limit} {
    const detail::node self = graph.nodes[node];
    const detail::node more = graph.nodes[node + 1];
    args = value::of(&graph, self.a);
    kwargs = value::of(&graph, self.link.c);
    state = value::of(&graph, more.a);
    items = {&graph, graph.items_of(more.link.b)};
}

inline result<value> call::make_tensor(const detail::tensor_data& data) {
    if (!charge(sizeof(detail::node) + sizeof data)) return over_budget();
    graph_->tensors.push_back(graph_->memory, data);
    const auto number = static_cast<std::uint32_t>(graph_->tensors.size() - 1);
    return value{graph_, graph_->add(detail::node::of(detail::node_kind::tensor, number))};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
