// ckpt/torch/impl/rebuild.ipp: the definitions of rebuild.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/torch/rebuild.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::rebuild {

CKPT_DETAIL_DEF bool read_numbers(call& c, const node& n, const std::int64_t*& out, std::uint32_t& count) {
    if (n.kind != node_kind::tuple && n.kind != node_kind::list) return false;
    graph& g = call_access::graph(c);
    const std::span<const std::uint32_t> elements = g.elements(n);
    if (!c.charge(elements.size() * sizeof(std::int64_t))) return false;
    auto* numbers = g.memory.allocate<std::int64_t>(elements.size());
    for (std::size_t i = 0; i < elements.size(); ++i) {
        const node& e = g.nodes[elements[i]];
        if (e.kind != node_kind::integer) return false;
        numbers[i] = e.integer;
    }
    out = numbers;
    count = static_cast<std::uint32_t>(elements.size());
    return true;
}

CKPT_DETAIL_DEF bool read_metadata(const graph& g, const node& n, tensor_data& t) noexcept {
    if (n.kind == node_kind::none) return true;
    if (n.kind != node_kind::dictionary) return false;
    const std::span<const std::uint32_t> entries = g.elements(n);
    if (entries.size() > 4)
        return false; // more than two names: a long dictionary, shared by many tensors, would cost time for each
    for (std::size_t i = 0; i + 1 < entries.size(); i += 2) {
        const node& key = g.nodes[entries[i]];
        bool set = false;
        if (key.kind != node_kind::string || !read_flag(g.nodes[entries[i + 1]], set)) return false;
        if (graph::text_of(key) == "conj") t.conj = set;
        else if (graph::text_of(key) == "neg") t.neg = set;
        else return false;
    }
    return true;
}

CKPT_DETAIL_DEF error refuse_geometry(const call& c, errc code, const tensor_data& t, std::uint64_t bytes) {
    error e = geometry_error(code, t, bytes, call_access::rank_limit(c));
    const error place = c.fail(code, {});
    e.offset = place.offset;
    e.record = place.record;
    return e;
}

CKPT_DETAIL_DEF result<value> make_strided(call& c, std::span<const std::uint32_t> args, tensor_data& t) {
    if (auto read = read_strided(c, args, t); !read) return std::move(read).failure();
    return call_access::make_tensor(c, t);
}

CKPT_DETAIL_RARE error unsupported(const call& c, std::string_view what) {
    error e = c.fail(errc::unsupported_tensor, str_cat(what, " is not read by this version"));
    e.hint = "the other entries of the file are not affected";
    return e;
}

CKPT_DETAIL_DEF const tensor_data* tensor_of(const graph& g, std::uint32_t index) noexcept {
    const node& n = g.nodes[index];
    if (n.kind == node_kind::tensor) return &g.tensors[n.a];
    return n.kind == node_kind::array ? &g.tensors[g.arrays[n.a].tensor] : nullptr;
}

CKPT_DETAIL_RARE std::string_view keep_text(call& c, std::string_view text) {
    if (!c.charge(text.size())) return {};
    char* out = call_access::graph(c).memory.allocate<char>(text.size() + 1);
    if (!text.empty()) std::memcpy(out, text.data(), text.size());
    return {out, text.size()};
}

CKPT_DETAIL_RARE result<value> make_with_parts(call& c, tensor_data& t, tensor_extra extra,
                                               std::span<const named_data> parts) {
    std::uint64_t total = parts.size();
    extra.depth = parts.empty() ? 0 : 1;
    for (const named_data& part : parts) {
        if (part.data.extra == nullptr) continue;
        total += part.data.extra->total;
        if (part.data.extra->depth >= extra.depth) extra.depth = static_cast<std::uint8_t>(part.data.extra->depth + 1);
    }
    if (extra.depth > most_part_depth)
        return unsupported(c, str_cat("a tensor whose parts have parts more than ", most_part_depth, " levels down"));
    if (!c.charge(sizeof extra + total * sizeof(named_data))) return c.over_budget();
    graph& g = call_access::graph(c);
    auto* kept = g.memory.allocate<named_data>(parts.size());
    for (std::size_t i = 0; i < parts.size(); ++i) ::new (static_cast<void*>(kept + i)) named_data(parts[i]);
    extra.first = kept;
    extra.count = static_cast<std::uint32_t>(parts.size());
    extra.total = static_cast<std::uint32_t>(total);
    t.extra = ::new (g.memory.allocate(sizeof(tensor_extra), alignof(tensor_extra))) tensor_extra(extra);
    return call_access::make_tensor(c, t);
}

CKPT_DETAIL_RARE void keep_attributes(call& c, const value& made, std::uint32_t state) {
    graph& g = call_access::graph(c);
    node& tensor = g.nodes[value_access::node(made)];
    const node_kind k = g.nodes[state].kind;
    if (tensor.kind != node_kind::tensor || (k != node_kind::dictionary && k != node_kind::tuple)) return;
    tensor.link.c = state;
}

CKPT_DETAIL_RARE result<value> make_variable(call& c, bool is_parameter) {
    graph& g = call_access::graph(c);
    const auto args = call_access::arguments(c);
    const bool first_form = c.state.kind() == kind::tuple && c.state.size() == 5;
    if (args.size() > 2 || (args.empty() && !first_form))
        return c.fail(errc::bad_arguments, "Parameter takes 1 or 2 arguments");
    const node& data = g.nodes[first_form ? value_access::node(c.state[0]) : args[0]];
    if (data.kind != node_kind::tensor)
        return c.fail(errc::bad_arguments, "a parameter is made from something that is not a tensor");
    tensor_data t = g.tensors[data.a];
    t.requires_grad = t.parameter = is_parameter;
    if (args.size() == 2 && !read_flag(g.nodes[args[1]], t.requires_grad))
        return c.fail(errc::bad_arguments, "requires_grad is not a bool");
    if (c.state && !c.state.is_none()) {
        const auto flag = c.state[first_form ? 3 : 0].as_bool();
        if (!flag) return c.fail(errc::bad_arguments, "the state of a Parameter has no requires_grad");
        t.requires_grad = *flag;
    }
    return call_access::make_tensor(c, t);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::rebuild

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE result<value> builders::listed_storage(call& c) {
    graph& g = call_access::graph(c);
    const global_occurrence& named = g.globals[g.nodes[g.nodes[call_access::node(c)].link.b].a];
    const value list = c.args[0];
    std::uint16_t type = untyped;
    if (c.args.size() != 1 || list.kind() != kind::list || !storage_class_type(named.module, named.name, type))
        return c.fail(errc::bad_arguments, "a storage is made from one list of numbers");
    const auto of = static_cast<dtype>(type);
    const std::size_t n = list.size();
    if (!c.charge(n * (sizeof(std::int64_t) + itemsize(of)))) return c.over_budget();
    const bool floating = info(of).kind == dtype_kind::floating;
    std::vector<std::byte> numbers;
    numbers.reserve(n * sizeof(std::int64_t));
    for (const value v : list.elements()) {
        std::array<std::byte, 8> bytes{};
        const auto whole = v.as_int();
        const auto real = v.as_real();
        if (floating && real) bytes = std::bit_cast<std::array<std::byte, 8>>(*real);
        else if (whole && v.kind() == kind::integer)
            bytes = std::bit_cast<std::array<std::byte, 8>>(
                floating ? std::bit_cast<std::int64_t>(static_cast<double>(*whole)) : *whole);
        else
            return c.fail(errc::bad_arguments,
                          "an element of the list that a storage is made from is not a number of its type");
        numbers.insert(numbers.end(), bytes.begin(), bytes.end());
    }
    auto* values = g.memory.allocate<std::byte>(n * itemsize(of) + 1);
    if (convert(floating ? dtype::float64 : dtype::int64, numbers.data(), of, values, n) != n)
        return c.fail(errc::bad_arguments, "an element of the list that a storage is made from does not fit its type");
    node made = node::of(node_kind::storage, g.maker->add({values, n * itemsize(of)}, native_order(), no_offset));
    made.extra = type;
    made.integer = static_cast<std::int64_t>(n);
    return call_access::make(c, made, 0);
}

CKPT_DETAIL_RARE result<value> builders::rebuild_tensor(call& c) {
    graph& g = call_access::graph(c);
    const auto args = call_access::arguments(c);
    if (args.size() != 4) return c.fail(errc::bad_arguments, "_rebuild_tensor takes 4 arguments");
    tensor_data t{};
    if (const node& s = g.nodes[args[0]]; s.kind == node_kind::storage) t.type = static_cast<ckpt::dtype>(s.extra);
    return rebuild::make_strided(c, args, t);
}

CKPT_DETAIL_DEF result<value> builders::rebuild_tensor_v2(call& c) {
    graph& g = call_access::graph(c);
    const auto args = call_access::arguments(c);
    if (args.size() != 6 && args.size() != 7)
        return c.fail(errc::bad_arguments, "_rebuild_tensor_v2 takes 6 or 7 arguments");
    tensor_data t{};
    if (const node& s = g.nodes[args[0]]; s.kind == node_kind::storage) {
        // An untyped storage has bytes as its elements. Tensors of other types on one are written with v3.
        t.type = s.extra == untyped ? ckpt::dtype::uint8 : static_cast<ckpt::dtype>(s.extra);
    }
    if (!rebuild::read_flag(g.nodes[args[4]], t.requires_grad))
        return c.fail(errc::bad_arguments, "requires_grad is not a bool");
    if (args.size() == 7 && !rebuild::read_metadata(g, g.nodes[args[6]], t))
        return c.fail(errc::bad_arguments, "the metadata of a tensor holds something other than conj and neg");
    return rebuild::make_strided(c, args, t);
}

CKPT_DETAIL_RARE result<value> builders::rebuild_tensor_v3(call& c) {
    graph& g = call_access::graph(c);
    const auto args = call_access::arguments(c);
    if (args.size() != 7 && args.size() != 8)
        return c.fail(errc::bad_arguments, "_rebuild_tensor_v3 takes 7 or 8 arguments");
    tensor_data t{};
    const auto type = value_access::make(g, args[6]).as_dtype();
    if (!type) return c.fail(errc::dtype_unknown, "the dtype of a tensor is not one that is known");
    t.type = *type;
    if (!rebuild::read_flag(g.nodes[args[4]], t.requires_grad))
        return c.fail(errc::bad_arguments, "requires_grad is not a bool");
    if (args.size() == 8 && !rebuild::read_metadata(g, g.nodes[args[7]], t))
        return c.fail(errc::bad_arguments, "the metadata of a tensor holds something other than conj and neg");
    return rebuild::make_strided(c, args, t);
}

CKPT_DETAIL_RARE result<value> builders::rebuild_parameter(call& c) {
    graph& g = call_access::graph(c);
    const auto args = call_access::arguments(c);
    if (args.size() != 3 && args.size() != 4)
        return c.fail(errc::bad_arguments, "_rebuild_parameter takes 3 or 4 arguments");
    const node& data = g.nodes[args[0]];
    if (data.kind != node_kind::tensor)
        return c.fail(errc::bad_arguments, "a parameter is made from something that is not a tensor");
    tensor_data t = g.tensors[data.a];
    t.parameter = true;
    if (!rebuild::read_flag(g.nodes[args[1]], t.requires_grad))
        return c.fail(errc::bad_arguments, "requires_grad is not a bool");
    auto made = call_access::make_tensor(c, t);
    if (made && args.size() == 4) rebuild::keep_attributes(c, *made, args[3]);
    return made;
}

CKPT_DETAIL_DEF result<value> builders::parameter_class(call& c) { return rebuild::make_variable(c, true); }

CKPT_DETAIL_DEF result<value> builders::variable_class(call& c) { return rebuild::make_variable(c, false); }

CKPT_DETAIL_RARE result<value> builders::tensor_class(call& c) {
    graph& g = call_access::graph(c);
    const node& state = g.nodes[value_access::node(c.state)];
    if (!call_access::arguments(c).empty() || state.kind != node_kind::tuple || state.a != 4)
        return c.fail(
            errc::bad_arguments,
            "a tensor of torch 0.1 is not a class without arguments and the state (storage, offset, size, stride)");
    tensor_data t{};
    if (const node& s = g.nodes[state.items[0]]; s.kind == node_kind::storage)
        t.type = static_cast<ckpt::dtype>(s.extra);
    return rebuild::make_strided(c, g.elements(state), t);
}

CKPT_DETAIL_RARE result<value> builders::rebuild_meta(call& c) {
    graph& g = call_access::graph(c);
    const auto args = call_access::arguments(c);
    if (args.size() != 4) return c.fail(errc::bad_arguments, "_rebuild_meta_tensor_no_storage takes 4 arguments");
    tensor_data t{};
    const auto type = value_access::make(g, args[0]).as_dtype();
    if (!type) return c.fail(errc::dtype_unknown, "the dtype of a tensor is not one that is known");
    t.type = *type;
    t.kind = layout::meta;
    std::uint32_t strides = 0;
    if (!rebuild::read_numbers(c, g.nodes[args[1]], t.shape, t.rank) ||
        !rebuild::read_numbers(c, g.nodes[args[2]], t.strides, strides) || strides != t.rank) {
        if (call_access::over_limit(c)) return c.over_budget();
        return c.fail(errc::bad_arguments, "the size or the stride of a tensor is not a tuple of integers");
    }
    if (!rebuild::read_flag(g.nodes[args[3]], t.requires_grad))
        return c.fail(errc::bad_arguments, "requires_grad is not a bool");
    if (const errc code = check_sizes(t, call_access::rank_limit(c)); code != errc::none)
        return rebuild::refuse_geometry(c, code, t, 0);
    return call_access::make_tensor(c, t);
}

CKPT_DETAIL_RARE result<value> builders::uninitialised(call& c) {
    const auto args = call_access::arguments(c);
    bool requires_grad = false;
    if (args.size() != 1 || !rebuild::read_flag(call_access::graph(c).nodes[args[0]], requires_grad))
        return c.fail(errc::bad_arguments, "an uninitialised parameter takes one argument, requires_grad");
    error none = c.fail(errc::uninitialized, "a parameter or buffer that was not initialised: its lazy module was "
                                             "saved before its first forward, so it has no shape and no values");
    none.hint = "run the model once and save it again";
    return none;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
