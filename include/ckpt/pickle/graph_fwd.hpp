// ckpt/pickle/graph_fwd.hpp: declarations of the graph, for handles to its nodes.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/config.hpp>

#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class graph; // pickle/graph.hpp
struct node;
enum class node_kind : std::uint8_t;
struct tensor_data;  // tensor/geometry.hpp
struct value_access; // pickle/value_access.hpp
struct call_access;

/// The number of the node for no value, which is the first of every graph.
inline constexpr std::uint32_t absent_node = 0;

/// A complex number of Python.
struct complex_value {
    double real{};
    double imaginary{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
