// ckpt/pickle/impl/attributes.ipp: the definitions of attributes.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/plain_list.hpp>
#include <ckpt/pickle/attributes.hpp>

#include <string>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Whether a name is one of a member of an enum: letters, digits and underscores, none of these first.
inline bool is_member_name(std::string_view name) noexcept {
    if (name.empty() || name[0] == '_' || (name[0] >= '0' && name[0] <= '9')) return false;
    for (const char c : name)
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) return false;
    return true;
}

CKPT_DETAIL_RARE bool admits_attribute(const allowlist& list, const global_occurrence& owner, std::string_view name) {
    const global_lookup type = look_up(list, owner.module, owner.name);
    // A class outside the policy is refused at its own place, so its members need no verdict of their own.
    if (type.verdict == verdict::refuse) return is_class_name(owner.name) && is_member_name(name);
    if (type.verdict != verdict::inert && type.verdict != verdict::build) return false;
    if (is_member_name(name) && (type.entry->kind == global_kind::enumeration || !type.shipped)) return true;
    const std::string dotted = std::string(owner.name) + '.' + std::string(name);
    const global_lookup member = look_up(list, owner.module, dotted);
    return member.verdict == verdict::inert && (!member.shipped || !is_pattern(*member.entry));
}

namespace attributes {

inline const global_occurrence* as_getattr(const graph& g, std::uint32_t index) {
    const node& n = g.nodes[index];
    if (n.kind != node_kind::global) return nullptr;
    const global_occurrence& named = g.globals[n.a];
    return named.entry != nullptr && named.entry->kind == global_kind::attribute ? &named : nullptr;
}

/// Whether an application of getattr has the arguments of a look-up that the policy admits.
inline bool is_admitted(const graph& g, const node& call, const allowlist& list) {
    const node& arguments = g.nodes[call.a];
    if (arguments.kind != node_kind::tuple || arguments.a != 2) return false;
    const node& owner = g.nodes[arguments.items[0]];
    const node& name = g.nodes[arguments.items[1]];
    if (name.kind != node_kind::string) return false;
    if (owner.kind == node_kind::refused) // a class outside the policy, at its place
        return is_class_name(g.errors[owner.a]->name) && is_member_name(graph::text_of(name));
    return owner.kind == node_kind::global && admits_attribute(list, g.globals[owner.a], graph::text_of(name));
}

} // namespace attributes

CKPT_DETAIL_RARE void for_each_use(const graph& g, function_ref<bool(const node&)> is_plain_call,
                                   function_ref<void(std::uint32_t)> visit) {
    for (std::size_t i = g.resolved_nodes; i < g.nodes.size(); ++i) {
        const node& n = g.nodes[i];
        if (n.kind == node_kind::tuple) {
            for (const std::uint32_t item : g.elements(n)) visit(item);
        } else if (n.kind == node_kind::persistent) {
            visit(n.a);
        } else if (n.kind == node_kind::extension && n.a != absent_node) {
            visit(n.a);
        } else if (n.kind == node_kind::application && !is_plain_call(n)) {
            visit(n.link.b);
        }
    }
    for (std::size_t i = 0; i < g.containers.size(); ++i)
        for (const std::uint32_t item : g.items_of(static_cast<std::uint32_t>(i))) visit(item);
    if (g.root != absent_node) visit(g.root);
}

CKPT_DETAIL_RARE void for_each_stray_attribute(const graph& g, const allowlist& list,
                                               function_ref<void(std::uint32_t)> visit) {
    for_each_use(
        g, [&](const node& call) { return attributes::is_admitted(g, call, list); },
        [&](std::uint32_t index) {
            if (attributes::as_getattr(g, index) != nullptr) visit(g.nodes[index].a);
        });
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
