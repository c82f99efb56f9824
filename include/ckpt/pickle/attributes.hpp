// ckpt/pickle/attributes.hpp: which uses of getattr in a pickle are more than the member of an enum.
//
// SPDX-License-Identifier: MIT
// In:      the graph of a pickle, before its values are resolved; a policy.
// Out:     the occurrences of getattr that can only be an attack.
// Refuses: nothing.
//
// `getattr(class, "name")` is how protocol 2 names what a class has. It is judged as the name "class.name" would be.
#pragma once

#include <ckpt/core/function_ref.hpp>
#include <ckpt/pickle/globals.hpp>
#include <ckpt/pickle/graph.hpp>

#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Whether a policy admits `getattr(class, name)`: the class is an enum in the library's tables, or the program's own
/// entry names it, and the name is one of a member; or the library's tables have "class.name". Of a class outside the
/// policy, which is refused itself, a member's name is no attack.
[[nodiscard]] bool admits_attribute(const allowlist& list, const global_occurrence& owner, std::string_view name);

/// Calls `visit` with every node that a value uses: an element, an argument, a key, a state, an id, the root, and what
/// an application calls that is no plain call. Values of pickles before this one are not looked at.
void for_each_use(const graph& g, function_ref<bool(const node&)> is_plain_call,
                  function_ref<void(std::uint32_t)> visit);

/// Calls `visit` with the occurrences of getattr in a pickle that are no admitted look-up: called with anything else,
/// or used in another way than being called. Two methods of the lazy modules of torch.nn are admitted, too, unless they
/// are called. Values of pickles before this one are not looked at.
void for_each_stray_attribute(const graph& g, const allowlist& list, function_ref<void(std::uint32_t)> visit);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/pickle/impl/attributes.ipp>
#endif
