// ckpt/pickle/graph_fwd.hpp: what a handle to a node needs to know of the graph.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/config.hpp>

#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class graph; // pickle/graph.hpp
struct node;
enum class node_kind : std::uint8_t;
struct tensor_data;  // tensor/layout.hpp
struct value_access; // pickle/value_access.hpp
struct call_access;

/// The number of the node that stands for nothing, the first of every graph.
inline constexpr std::uint32_t absent_node = 0;

/// A complex number of Python.
struct complex_value {
    double real{};
    double imaginary{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
