// ckpt/folder/impl/dcp_tree.ipp: the definitions of dcp_tree.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/folder/dcp_tree.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF dcp_tree::dcp_tree(const value& planner_data, std::uint64_t budget) : budget_{budget + 1'000} {
    for (const value::entry e : planner_data.entries())
        if (const auto key = e.key.as_string(); key && e.mapped.kind() == kind::tuple) paths_.emplace(*key, e.mapped);
}

CKPT_DETAIL_DEF bool dcp_tree::add(std::string_view key, std::uint32_t node) {
    const auto path = paths_.find(key);
    if (path == paths_.end()) return put(0, {key, 0, true}, node);
    const value::range steps = path->second.elements();
    std::size_t at = 0;
    for (std::size_t i = 0; i < steps.size(); ++i) {
        step next{};
        if (const auto text = steps[i].as_string()) {
            next = {*text, 0, true};
        } else {
            const auto position = steps[i].as_int();
            if (!position || *position < 0) return false;
            next = {{}, static_cast<std::uint64_t>(*position), false};
        }
        if (i + 1 == steps.size()) return put(at, next, node);
        if (!enter(at, next)) return false;
    }
    return false;
}

CKPT_DETAIL_DEF std::uint32_t dcp_tree::build(joined_checkpoint& out) {
    // The place that an entry is in has a smaller number than the entry's own: going from the last place to the first,
    // the parts of each are made before it.
    std::vector<std::uint32_t> made(places_.size());
    for (std::size_t i = places_.size(); i-- > 0;) {
        const place& p = places_[i];
        std::vector<std::uint32_t> parts(p.is_list ? static_cast<std::size_t>(p.length) : 0, none_node);
        for (const child& c : p.children) {
            const std::uint32_t node = c.is_place ? made[c.node] : c.node;
            if (p.is_list) {
                parts[static_cast<std::size_t>(c.name.position)] = node;
            } else {
                parts.push_back(out.text(c.name.text));
                parts.push_back(node);
            }
        }
        made[i] = p.is_list ? list_of_nodes(out, parts) : out.values().add_dictionary(parts);
    }
    return made[0];
}

CKPT_DETAIL_DEF dcp_tree::child* dcp_tree::new_child(std::size_t at, const step& name) {
    place& p = places_[at];
    if (p.children.empty() && at != 0) p.is_list = !name.is_text;
    if (p.is_list == name.is_text || p.by_name.count(name) > 0) return nullptr;
    if (p.is_list && name.position >= p.length) {
        const std::uint64_t more = name.position - p.length + 1;
        if (more > budget_) return nullptr;
        budget_ -= more;
        p.length = name.position + 1;
    }
    p.by_name.emplace(name, static_cast<std::uint32_t>(p.children.size()));
    return &p.children.emplace_back(child{name, 0, false});
}

CKPT_DETAIL_DEF bool dcp_tree::put(std::size_t at, const step& name, std::uint32_t node) {
    child* const made = new_child(at, name);
    if (made == nullptr) return false;
    made->node = node;
    return true;
}

CKPT_DETAIL_DEF bool dcp_tree::enter(std::size_t& at, const step& name) {
    const auto found = places_[at].by_name.find(name);
    if (found != places_[at].by_name.end()) {
        const child& c = places_[at].children[found->second];
        at = c.node;
        return c.is_place;
    }
    child* const made = new_child(at, name);
    if (made == nullptr) return false;
    made->node = static_cast<std::uint32_t>(places_.size());
    made->is_place = true;
    at = places_.size();
    places_.emplace_back();
    return true;
}

CKPT_DETAIL_DEF std::uint32_t dcp_tree::list_of_nodes(joined_checkpoint& out, const std::vector<std::uint32_t>& parts) {
    std::uint32_t container = 0;
    out.values().append(container, parts);
    return out.values().add(node::of(node_kind::list, container));
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
