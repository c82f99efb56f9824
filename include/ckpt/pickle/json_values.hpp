// ckpt/pickle/json_values.hpp: a JSON text as values.
//
// SPDX-License-Identifier: MIT
// In:      a whole text in memory.
// Out:     nodes of a graph, of the kinds that Python's json makes: None, bool, int, float, str, list, dict.
// Refuses: what core/json.hpp refuses, numbers that no double holds, and a name that one object has twice: readers
//          differ in which of the two they take.
#pragma once

#include <ckpt/core/limits.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/pickle/graph.hpp>

#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Adds the values of `text` to a graph, and makes the outermost one its root. The text must live as long as the graph.
/// Needs memory and time in proportion to the text, but for sorting names. Fails with `json_invalid`, which names the
/// byte, and with `limit` for an integer of more than `limits::integer_digits`.
[[nodiscard]] result<void> read_json(std::string_view text, graph& to, const limits& budget);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/pickle/impl/json_values.ipp>
#endif
