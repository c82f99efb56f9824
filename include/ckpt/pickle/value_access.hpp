// ckpt/pickle/value_access.hpp: access to the nodes behind values and calls, for the library.
//
// SPDX-License-Identifier: MIT
// In:      values and calls.
// Out:     the graph and the node number behind them; values made from nodes; the type of a value in words.
// Refuses: nothing.
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/pickle/graph.hpp>
#include <ckpt/pickle/value.hpp>

#include <cstdint>
#include <span>
#include <string>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The type of a value as it stands in a sentence: "an int", "a dict", "None".
[[nodiscard]] inline std::string with_article(kind k) {
    switch (k) {
    case kind::absent: return "nothing";
    case kind::none:
    case kind::bytes: return std::string(name(k));
    case kind::complex: return "a complex number";
    case kind::integer:
    case kind::array:
    case kind::object: return str_cat("an ", name(k));
    default: return str_cat("a ", name(k));
    }
}

/// Access to the node of a `value`.
struct value_access {
    /// The handle of a node; an absent value for the absent node.
    [[nodiscard]] static value make(const graph& g, std::uint32_t node) noexcept { return value::of(&g, node); }
    [[nodiscard]] static std::uint32_t node(const value& v) noexcept { return v.node_; }
    /// The same error with the name of the value's file, where it has none.
    [[nodiscard]] static error in_file(const value& v, error e) { return v.in_file(std::move(e)); }
    /// Null for an absent value.
    [[nodiscard]] static const detail::graph* graph(const value& v) noexcept { return v.graph_; }
    /// What stands at a position of an object: its items, the elements of a state that is a tuple or a list, and the
    /// arguments of its call, one behind the other. Absent past the last.
    [[nodiscard]] static value at_position(const value& object, std::size_t position) noexcept {
        return object.at_position(position);
    }
    /// The bytes of the pickles or headers that the value's graph was made from; 0 for an absent value.
    [[nodiscard]] static std::uint64_t metadata_bytes(const value& v) noexcept {
        return v.graph_ != nullptr ? v.graph_->metadata_bytes() : 0;
    }
};

/// Access to the nodes of a `call`, and functions for the library's own builders.
struct call_access {
    /// A call for the object `node`. `budget`: bytes that its builder may still make; `rank_limit`: the most dimensions
    /// of a tensor. The graph and the budget must outlive the call.
    [[nodiscard]] static call make_call(detail::graph& g, std::uint32_t node, std::uint64_t& budget,
                                        std::uint32_t rank_limit) noexcept {
        return {g, node, budget, rank_limit};
    }
    [[nodiscard]] static detail::graph& graph(const call& c) noexcept { return *c.graph_; }
    /// The node of the object that is built.
    [[nodiscard]] static std::uint32_t node(const call& c) noexcept { return c.node_; }
    [[nodiscard]] static std::uint32_t rank_limit(const call& c) noexcept { return c.rank_limit_; }
    /// The nodes of `c.args`.
    [[nodiscard]] static std::span<const std::uint32_t> arguments(const call& c) noexcept {
        return c.graph_->elements(c.graph_->nodes[value_access::node(c.args)]);
    }
    /// The same call with other arguments (a tuple node), for builders that call another builder.
    [[nodiscard]] static call with_arguments(const call& c, std::uint32_t tuple) noexcept {
        call out = c;
        out.args = value_access::make(*c.graph_, tuple);
        return out;
    }
    /// What `charge` takes from.
    [[nodiscard]] static std::uint64_t& budget(const call& c) noexcept { return *c.budget_; }
    /// Whether a charge failed; then the file does not open.
    [[nodiscard]] static bool over_limit(const call& c) noexcept { return c.spent_; }
    /// Adds the node `n`, and charges its size plus `bytes`.
    [[nodiscard]] static result<value> make(call& c, const detail::node& n, std::uint64_t bytes) {
        return c.make(n, bytes);
    }
    [[nodiscard]] static result<value> make_tensor(call& c, const tensor_data& data) { return c.make_tensor(data); }
    /// The object itself, kept inert: name, arguments, state and items.
    [[nodiscard]] static result<value> keep_inert(const call& c) noexcept {
        return value_access::make(*c.graph_, c.node_);
    }
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

// Functions that the builder of every tensor calls are inline.

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
