// ckpt/torch/impl/storage_class.ipp: the definitions of storage_class.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/torch/storage_class.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF std::string_view package_key(const node& key, storage_id& into) noexcept {
    if (key.kind != node_kind::integer || key.integer < 0) return {};
    char* const end = into.digits + sizeof into.digits;
    const char* const begin = write_digits(static_cast<std::uint64_t>(key.integer), 10, end);
    return {begin, static_cast<std::size_t>(end - begin)};
}

CKPT_DETAIL_DEF bool is_reduced(const graph& g, const node& persistent) noexcept {
    const node& tuple = g.nodes[persistent.a];
    if ((persistent.flags & node_flag::text_form) != 0 || tuple.kind != node_kind::tuple ||
        (tuple.a != 3 && tuple.a != 4))
        return false;
    const node& tag = g.nodes[tuple.items[0]];
    return tag.kind == node_kind::string && graph::text_of(tag) == "reduce_package";
}

CKPT_DETAIL_DEF bool read_view(const graph& g, const node& n, storage_id& out) noexcept {
    if (n.kind == node_kind::none) return true;
    if (n.kind != node_kind::tuple || n.a != 3) return false;
    const node& key = g.nodes[n.items[0]];
    const node& offset = g.nodes[n.items[1]];
    const node& numel = g.nodes[n.items[2]];
    if (key.kind != node_kind::string || key.a == 0 || offset.kind != node_kind::integer || offset.integer < 0 ||
        numel.kind != node_kind::integer || numel.integer < 0)
        return false;
    out.view_key = graph::text_of(key);
    out.view_offset = static_cast<std::uint64_t>(offset.integer);
    out.view_numel = static_cast<std::uint64_t>(numel.integer);
    return true;
}

CKPT_DETAIL_DEF bool read_storage_tuple(const graph& g, std::uint32_t argument, id_form form, storage_id& out,
                                        storage_class_memory& last) noexcept {
    const node& tuple = g.nodes[argument];
    if (tuple.kind != node_kind::tuple) return false;
    const bool longer =
        form == id_form::legacy || (form == id_form::script && tuple.a == 6 && tuple.items[5] == none_node);
    if (tuple.a != (longer ? 6u : 5u)) return false;
    if (form == id_form::legacy && !read_view(g, g.nodes[tuple.items[5]], out)) return false;
    const auto element = [&](std::size_t i) -> const node& { return g.nodes[tuple.items[i]]; };
    const node& tag = element(0);
    const node& type = element(1);
    const node& key = element(2);
    const node& location = element(3);
    const node& numel = element(4);
    if (tag.kind != node_kind::string || graph::text_of(tag) != "storage" || type.kind != node_kind::global ||
        key.kind != (form == id_form::package ? node_kind::integer : node_kind::string) ||
        location.kind != node_kind::string || numel.kind != node_kind::integer || numel.integer < 0)
        return false;
    if (type.a != last.occurrence) {
        const global_occurrence& named = g.globals[type.a];
        if (!storage_class_type(named.module, named.name, last.type)) return false;
        last.occurrence = type.a;
    }
    out.type = last.type;
    out.key = form == id_form::package ? package_key(key, out) : graph::text_of(key);
    if (out.key.empty() && form == id_form::package) return false;
    out.numel = static_cast<std::uint64_t>(numel.integer);
    out.meta = form == id_form::script && graph::text_of(location) == "meta";
    return true;
}

CKPT_DETAIL_RARE bool read_storage_text(std::string_view text, id_form form, storage_id& out) noexcept {
    const auto eat = [&text](std::string_view expected) {
        if (!text.starts_with(expected)) return false;
        text.remove_prefix(expected.size());
        return true;
    };
    const auto until = [&text](std::string_view stop, std::string_view& found) {
        const std::size_t at = text.find(stop);
        if (at == std::string_view::npos) return false;
        found = text.substr(0, at);
        text.remove_prefix(at + stop.size());
        return true;
    };
    std::string_view qualified{};
    std::string_view location{};
    if (!eat("('storage', <class '") || !until("'>, '", qualified) || !until("', '", out.key) ||
        !until("', ", location))
        return false;
    const std::size_t dot = qualified.rfind('.');
    if (dot == std::string_view::npos ||
        !storage_class_type(qualified.substr(0, dot), qualified.substr(dot + 1), out.type))
        return false;
    if (out.key.find_first_of("'\\") != std::string_view::npos ||
        location.find_first_of("'\\") != std::string_view::npos)
        return false;
    return take_decimal(text, out.numel) && text == (form == id_form::legacy ? ", None)" : ")");
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
