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

/// Whether getattr names a method of a lazy module of torch.nn, as such a module's hooks do until its first forward.
inline bool is_lazy_method(const graph& g, const node& owner, std::string_view name, const allowlist& list) {
    if (owner.kind != node_kind::application || (name != "_infer_parameters" && name != "_lazy_load_hook"))
        return false;
    const node& made_by = g.nodes[owner.link.b];
    if (made_by.kind != node_kind::global) return false;
    const global_occurrence& type = g.globals[made_by.a];
    return type.module.starts_with("torch.nn.modules.") && type.name.starts_with("Lazy") &&
           look_up(list, type.module, type.name).verdict == verdict::inert;
}

/// Whether an application calls what getattr found in an object: a method, which runs code of its own.
inline bool calls_method(const graph& g, const node& call) {
    const node& called = g.nodes[call.link.b];
    if (called.kind != node_kind::application || as_getattr(g, called.link.b) == nullptr) return false;
    const node& arguments = g.nodes[called.a];
    return arguments.kind == node_kind::tuple && arguments.a != 0 &&
           g.nodes[arguments.items[0]].kind == node_kind::application;
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
    if (is_lazy_method(g, owner, graph::text_of(name), list)) return true;
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
    for (std::size_t i = g.resolved_nodes; i < g.nodes.size(); ++i)
        if (const node& n = g.nodes[i]; n.kind == node_kind::application && attributes::calls_method(g, n))
            visit(g.nodes[g.nodes[n.link.b].link.b].a);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
