// ckpt/torch/impl/wrapper.ipp: the definitions of wrapper.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/torch/wrapper.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::rebuild {

CKPT_DETAIL_RARE void part_collector::attributes(const value& state, const std::string& prefix, int level) {
    if (state.kind() == kind::tuple && state.size() == 2 && is_names(state[0]) && is_names(state[1])) {
        look(state[0], prefix, level);
        look(state[1], prefix, level);
    } else {
        look(state, prefix, level);
    }
}

CKPT_DETAIL_RARE void part_collector::look(const value& v, const std::string& prefix, int level) {
    if (!enter(v, level)) return;
    const auto below = [&](const value& key, std::size_t position, const value& inner) {
        std::string name = prefix;
        if (!name.empty()) name += '.';
        const auto text = key.as_string();
        const auto number = key.as_int();
        if (text) name += *text;
        else if (!key || number) name += decimal(number ? *number : static_cast<std::int64_t>(position));
        else return;
        step(inner, name, level);
    };
    switch (v.kind()) {
    case kind::dictionary:
        for (const value::entry e : v.entries())
            if (pay(1)) below(e.key, 0, e.mapped);
        break;
    case kind::list:
    case kind::tuple: {
        std::size_t i = 0;
        for (const value e : v.elements())
            if (pay(1)) below({}, i++, e);
        break;
    }
    case kind::object:
        attributes(v.state(), prefix, level + 1);
        look(v.args(), prefix, level + 1);
        break;
    default: break;
    }
}

CKPT_DETAIL_RARE void part_collector::step(const value& inner, const std::string& name, int level) {
    if (inner.kind() == kind::tensor || inner.kind() == kind::array) {
        const tensor_data* found = tensor_of(call_access::graph(call_), value_access::node(inner));
        if (pay(sizeof(named_data))) parts_.push_back({keep_text(call_, name), *found});
        return;
    }
    if (is_container(inner) && pay(name.size())) look(inner, name, level + 1);
}

CKPT_DETAIL_RARE bool part_collector::is_container(const value& v) noexcept {
    return v.kind() == kind::dictionary || v.kind() == kind::list || v.kind() == kind::tuple ||
           v.kind() == kind::object;
}

CKPT_DETAIL_RARE bool part_collector::enter(const value& v, int level) {
    if (!is_container(v) || too_deep_ || !pay(entered_.size() / 8)) return false;
    if (std::find(entered_.begin(), entered_.end(), v.object_id()) != entered_.end()) return false;
    too_deep_ = level > most_levels || entered_.size() == most_containers;
    if (too_deep_) return false;
    if (v.size() > 0 || v.kind() == kind::object) entered_.push_back(v.object_id()); // all empty tuples are one
    return true;
}

CKPT_DETAIL_RARE value attribute_of(call& c, const value& of, std::string_view name, std::string_view early) {
    const value state = of.kind() == kind::object ? of.state() : of;
    const bool pair = state.kind() == kind::tuple && state.size() == 2;
    for (const value& from : {state, pair ? state[0] : value{}, pair ? state[1] : value{}}) {
        if (from.kind() != kind::dictionary || !c.charge(from.size())) continue;
        for (const value::entry e : from.entries())
            if (const auto key = e.key.as_string(); key && (*key == name || (!early.empty() && *key == early)))
                return e.mapped;
    }
    return {};
}

CKPT_DETAIL_RARE bool read_list(const value& v, std::vector<std::int64_t>& out) {
    if (v.kind() != kind::list && v.kind() != kind::tuple) return false;
    for (const value e : v.elements()) {
        const auto n = e.as_int();
        if (!n || out.size() == 64) return false;
        out.push_back(*n);
    }
    return true;
}

CKPT_DETAIL_RARE std::string placements_text(call& c, const value& placements) {
    std::string out;
    std::size_t shown = 0;
    for (const value p : placements.elements()) {
        if (shown++ == most_shown) return str_cat(out, ", ...");
        const auto named = p.class_of().as_global();
        out += (shown > 1 ? ", " : "") + (named ? printable(named->name) : std::string("?")) + '(';
        if (const auto dim = attribute_of(c, p, "dim").as_int()) out += decimal(*dim);
        if (const auto factor = attribute_of(c, p, "split_factor").as_int()) out += str_cat(", split_factor=", *factor);
        if (const auto op = attribute_of(c, p, "reduce_op").as_string()) out += printable(*op);
        out += ')';
    }
    return out;
}

CKPT_DETAIL_RARE std::vector<std::int64_t> mesh_sizes(call& c, const value& mesh) {
    std::vector<std::int64_t> shape;
    const value layout = attribute_of(c, mesh, "_layout");
    if (const auto ranks = attribute_of(c, mesh, "mesh").as_tensor()) {
        shape.assign(ranks->shape().begin(), ranks->shape().end());
    } else if (!read_list(attribute_of(c, layout, "shape"), shape)) {
        shape.clear();
        for (const value axis : attribute_of(c, layout, "axes").elements()) {
            std::vector<std::int64_t> sizes;
            std::uint64_t n = 1;
            if (shape.size() == most_shown || !read_list(attribute_of(c, axis, "shape"), sizes)) break;
            for (const std::int64_t size : sizes)
                if (size < 0 || !checked_mul(n, static_cast<std::uint64_t>(size), n)) n = 0;
            shape.push_back(static_cast<std::int64_t>(n));
        }
    }
    return shape;
}

CKPT_DETAIL_RARE const rank_place* place_of(call& c, const value& spec, std::uint32_t rank) {
    const value mesh = attribute_of(c, spec, "mesh");
    const std::vector<std::int64_t> sizes = mesh_sizes(c, mesh);
    std::vector<std::int64_t> here;
    rank_place out;
    out.is_known = read_list(attribute_of(c, mesh, "_coordinate_on_dim"), here) && here.size() == sizes.size();
    out.ranks = 1;
    plain_list<mesh_cut> cuts;
    for (const value p : attribute_of(c, spec, "placements").elements()) {
        const std::size_t i = cuts.size();
        if (i >= sizes.size() || i >= here.size()) {
            out.is_known = false;
            break;
        }
        mesh_cut cut{.size = sizes[i], .at = here[i]};
        const auto named = p.class_of().as_global();
        const auto dim = attribute_of(c, p, "dim").as_int();
        const bool strided = named && named->name == "_StridedShard";
        if (strided || (named && named->name == "Shard")) {
            const auto factor = attribute_of(c, p, "split_factor").as_int();
            if (factor) cut.split_factor = *factor;
            const bool good = dim && *dim >= 0 && *dim < static_cast<std::int64_t>(rank) && (!strided || factor) &&
                              cut.split_factor > 0;
            cut.kind = good ? mesh_cut::how::cut : mesh_cut::how::other;
            if (good) cut.dimension = static_cast<std::uint32_t>(*dim);
        } else if (!named || named->name != "Replicate") {
            cut.kind = mesh_cut::how::other;
        }
        if (cut.kind == mesh_cut::how::other || cut.size <= 0 || cut.at < 0 || cut.at >= cut.size ||
            !checked_mul(out.ranks, static_cast<std::uint64_t>(cut.size), out.ranks)) {
            out.is_known = false;
            break;
        }
        cuts.push_back(cut);
    }
    out.is_known = out.is_known && cuts.size() == sizes.size();
    // Recent versions can shard a tensor in another order than that of the mesh's dimensions; "shard_order" has it.
    for (const value entry : attribute_of(c, spec, "shard_order").elements()) {
        std::vector<std::int64_t> order;
        if (!c.charge(1) || !read_list(entry.args()[1], order) || !std::is_sorted(order.begin(), order.end()))
            out.is_known = false;
    }
    if (const auto own = attribute_of(c, mesh, "_rank").as_int(); own && *own >= 0)
        out.rank = static_cast<std::uint64_t>(*own);
    if (!c.charge(sizeof out + cuts.size() * sizeof(mesh_cut))) return nullptr;
    auto* kept = call_access::graph(c).memory.allocate<mesh_cut>(cuts.size() + 1);
    std::copy(cuts.begin(), cuts.end(), kept);
    out.cuts = kept;
    out.count = static_cast<std::uint32_t>(cuts.size());
    return ::new (call_access::graph(c).memory.allocate(sizeof out, alignof(rank_place))) rank_place(out);
}

CKPT_DETAIL_RARE std::string mesh_text(call& c, const value& mesh) {
    std::string out;
    if (const auto device = attribute_of(c, mesh, "_device_type", "device_type").as_string())
        out += printable(*device) + ' ';
    out += "mesh";
    const std::vector<std::int64_t> shape = mesh_sizes(c, mesh);
    if (!shape.empty()) out += ' ' + list_of(shape);
    std::string names;
    std::size_t shown = 0;
    for (const value name : attribute_of(c, mesh, "_mesh_dim_names", "mesh_dim_names").elements()) {
        const auto text = name.as_string();
        if (!text || shown++ == most_shown) break;
        names += (names.empty() ? "" : ", ") + printable(*text);
    }
    if (!names.empty()) out += str_cat(" (", names, ")");
    std::vector<std::int64_t> here;
    if (read_list(attribute_of(c, mesh, "_coordinate_on_dim"), here)) out += str_cat(" at ", list_of(here));
    return out;
}

CKPT_DETAIL_RARE bool annotate(call& c, tensor_data& t, std::string_view class_name, std::string_view placement,
                               std::span<const std::int64_t> offsets) {
    if (!c.charge(sizeof(tensor_extra) + offsets.size_bytes())) return false;
    auto* extra = ::new (call_access::graph(c).memory.allocate(sizeof(tensor_extra), alignof(tensor_extra)))
        tensor_extra(t.extra != nullptr ? *t.extra : tensor_extra{});
    if (!class_name.empty()) extra->class_name = class_name;
    if (!placement.empty()) {
        extra->placement = placement;
        auto* kept = call_access::graph(c).memory.allocate<std::int64_t>(offsets.size() + 1);
        std::copy(offsets.begin(), offsets.end(), kept);
        extra->offsets = kept;
    }
    t.extra = extra;
    return true;
}

CKPT_DETAIL_RARE result<void> read_shards(call& c, const value& state, const tensor_data& whole,
                                          plain_list<named_data>& parts, tensor_extra& extra, std::string& placement) {
    for (const value shard : state[0].elements()) {
        const value piece = attribute_of(c, shard, "tensor");
        const value where = attribute_of(c, shard, "metadata");
        const tensor_data* found = tensor_of(call_access::graph(c), value_access::node(piece));
        std::vector<std::int64_t> offsets;
        std::vector<std::int64_t> sizes;
        if (found == nullptr || !read_list(attribute_of(c, where, "shard_offsets"), offsets) ||
            !read_list(attribute_of(c, where, "shard_sizes"), sizes))
            return c.fail(errc::bad_arguments, "a shard of a ShardedTensor is not a tensor with offsets and sizes");
        bool fits = offsets.size() == whole.rank && sizes.size() == whole.rank;
        for (std::uint32_t i = 0; fits && i < whole.rank; ++i)
            fits = offsets[i] >= 0 && sizes[i] >= 0 && sizes[i] <= whole.shape[i] &&
                   offsets[i] <= whole.shape[i] - sizes[i];
        const bool same = found->refusal != nullptr ||
                          std::equal(sizes.begin(), sizes.end(), found->shape, found->shape + found->rank);
        if (!fits || !same)
            return c.fail(errc::bad_arguments,
                          str_cat("a shard of shape ", list_of(found->sizes()), ", said to have sizes ", list_of(sizes),
                                  " at offsets ", list_of(offsets), ", of a ShardedTensor of shape ",
                                  list_of(whole.sizes())));
        named_data part{keep_text(c, str_cat("_local_shards.", parts.size())), *found};
        if (!c.charge(sizeof part)) return c.over_budget();
        if (part.data.refusal == nullptr &&
            !annotate(c, part.data, {}, keep_text(c, str_cat("offsets ", list_of(offsets))), offsets))
            return c.over_budget();
        parts.push_back(part);
    }
    const auto named = state[3].class_of().as_global();
    if (named) placement = printable(named->name);
    if (const auto dim = attribute_of(c, state[3], "dim").as_int()) placement += '(' + decimal(*dim) + ')';
    if (const value all = attribute_of(c, state[1], "shards_metadata"); all.kind() == kind::list)
        placement += str_cat(placement.empty() ? "" : ", ", all.size(), " shards");
    rank_place place;
    if (const auto own = attribute_of(c, state[2], "global_rank").as_int(); own && *own >= 0)
        place.rank = static_cast<std::uint64_t>(*own);
    if (const auto all = attribute_of(c, state[2], "local_world_size").as_int(); all && *all >= 0)
        place.ranks = static_cast<std::uint64_t>(*all);
    if (!c.charge(sizeof place)) return c.over_budget();
    extra.place = ::new (call_access::graph(c).memory.allocate(sizeof place, alignof(rank_place))) rank_place{place};
    return {};
}

CKPT_DETAIL_RARE bool is_distributed(std::string_view class_name, std::string_view name) noexcept {
    return class_name.starts_with("torch.distributed.") && class_name.ends_with(name) &&
           class_name[class_name.size() - name.size() - 1] == '.';
}

CKPT_DETAIL_RARE std::string_view read_class(call& c, std::uint32_t index) {
    const auto named = value_access::make(call_access::graph(c), index).as_global();
    if (!named || named->module == "torch.nn.parameter" || (named->module == "torch" && named->name == "Tensor"))
        return {};
    return keep_text(c, canonical(*named));
}

CKPT_DETAIL_RARE result<void> read_shell(call& c, std::span<const std::uint32_t> args, tensor_data& t) {
    graph& g = call_access::graph(c);
    if (args.size() != 8) return c.fail(errc::bad_arguments, "_rebuild_wrapper_subclass takes 8 arguments");
    const auto type = value_access::make(g, args[1]).as_dtype();
    if (!type) return c.fail(errc::dtype_unknown, "the dtype of a tensor is not one that is known");
    t.type = *type;
    t.kind = layout::wrapper;
    std::uint32_t strides = 0;
    if (!read_numbers(c, g.nodes[args[2]], t.shape, t.rank) || !read_numbers(c, g.nodes[args[3]], t.strides, strides) ||
        strides != t.rank) {
        if (call_access::over_limit(c)) return c.over_budget();
        return c.fail(errc::bad_arguments, "the size or the stride of a tensor is not a tuple of integers");
    }
    if (!read_flag(g.nodes[args[7]], t.requires_grad))
        return c.fail(errc::bad_arguments, "requires_grad is not a bool");
    if (const errc code = check_sizes(t, call_access::rank_limit(c)); code != errc::none)
        return refuse_geometry(c, code, t, 0);
    return {};
}

CKPT_DETAIL_RARE result<value> make_wrapper(call& c, std::span<const std::uint32_t> args, std::uint32_t class_node,
                                            const value& state) {
    tensor_data t{};
    if (auto shell = read_shell(c, args, t); !shell) return std::move(shell).failure();
    tensor_extra extra{};
    extra.class_name = read_class(c, class_node);
    plain_list<named_data> parts;
    std::string placement;
    const value local = is_distributed(extra.class_name, "DTensor") ? attribute_of(c, state, "_local_tensor") : value{};
    if (local.kind() == kind::tensor) {
        parts.push_back({"_local_tensor", *tensor_of(call_access::graph(c), value_access::node(local))});
        const value spec = attribute_of(c, state, "_spec");
        placement = placements_text(c, attribute_of(c, spec, "placements"));
        if (const value mesh = attribute_of(c, spec, "mesh"); mesh.kind() == kind::object)
            placement += str_cat(" on ", mesh_text(c, mesh));
        extra.place = place_of(c, spec, t.rank);
    } else if (is_distributed(extra.class_name, "ShardedTensor") && state.kind() == kind::tuple && state.size() == 5 &&
               state[0].kind() == kind::list) {
        if (auto read = read_shards(c, state, t, parts, extra, placement); !read) return std::move(read).failure();
    } else {
        part_collector all{c};
        all.collect(state);
        if (call_access::over_limit(c)) return c.over_budget();
        if (all.too_deep()) return unsupported(c, "a tensor subclass whose attributes are nested this deeply");
        parts = std::move(all.parts());
    }
    extra.placement = keep_text(c, placement);
    if (call_access::over_limit(c)) return c.over_budget();
    return make_with_parts(c, t, extra, parts);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::rebuild

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE result<value> builders::wrapper_tensor(call& c) {
    const auto args = call_access::arguments(c);
    return rebuild::make_wrapper(c, args, args.empty() ? absent_node : args[0], {});
}

CKPT_DETAIL_RARE result<value> builders::rebuild_from_type(call& c) {
    graph& g = call_access::graph(c);
    const auto args = call_access::arguments(c);
    if (args.size() != 4) return c.fail(errc::bad_arguments, "_rebuild_from_type_v2 takes 4 arguments");
    const node& function = g.nodes[args[0]];
    const node& inner = g.nodes[args[2]];
    if (function.kind != node_kind::global || inner.kind != node_kind::tuple)
        return c.fail(errc::bad_arguments, "_rebuild_from_type_v2 takes a function and a tuple");
    const global_occurrence& f = g.globals[function.a];
    if (f.entry == nullptr || f.entry->kind != global_kind::tensor || f.entry->build == nullptr ||
        f.entry->build == &builders::rebuild_from_type)
        return rebuild::unsupported(c, str_cat("a tensor that is rebuilt by ", quoted(f.module), " ", quoted(f.name)));
    if (f.entry->build == &builders::wrapper_tensor)
        return rebuild::make_wrapper(c, g.elements(inner), args[1], value_access::make(g, args[3]));
    call nested = call_access::with_arguments(c, args[2]);
    result<value> out = f.entry->build(nested);
    if (call_access::over_limit(nested)) (void)c.charge(no_offset);
    if (!out) return out;
    const node made = g.nodes[value_access::node(*out)];
    const std::string_view of_class = rebuild::read_class(c, args[1]);
    if (!of_class.empty() && made.kind == node_kind::tensor && !rebuild::annotate(c, g.tensors[made.a], of_class, {}))
        return c.over_budget();
    // Those of a jagged tensor are its parts again.
    if (f.entry->build != &builders::jagged_tensor) rebuild::keep_attributes(c, *out, args[3]);
    return out;
}

CKPT_DETAIL_RARE result<value> builders::device_tensor(call& c) {
    graph& g = call_access::graph(c);
    const auto args = call_access::arguments(c);
    if (args.size() != 4) return c.fail(errc::bad_arguments, "a tensor of another device is rebuilt from 4 arguments");
    const tensor_data* from = rebuild::tensor_of(g, args[0]);
    if (from == nullptr)
        return c.fail(errc::bad_arguments,
                      "a tensor of another device is rebuilt from something that is neither an array nor a tensor");
    if (from->refusal != nullptr) return *from->refusal;
    const auto type = value_access::make(g, args[1]).as_dtype();
    if (!type) return c.fail(errc::dtype_unknown, "the dtype of a tensor is not one that is known");
    tensor_data t = *from;
    if (!rebuild::read_flag(g.nodes[args[3]], t.requires_grad))
        return c.fail(errc::bad_arguments, "requires_grad is not a bool");
    if (t.type == *type) return call_access::make_tensor(c, t);
    if (g.nodes[args[0]].kind != node_kind::array || !is_convertible(t.type, *type))
        return rebuild::unsupported(c, str_cat("a tensor of ", name(*type), " that was saved as ", name(t.type)));
    std::uint64_t bytes{};
    if (!checked_mul(t.numel, itemsize(*type), bytes) || !c.charge(bytes + t.rank * sizeof(std::int64_t)))
        return c.over_budget();
    auto* values = g.memory.allocate<std::byte>(static_cast<std::size_t>(bytes) + 1);
    if (auto copied = copy_tensor(from, g.storages, *type, false, values, t.numel); !copied)
        return std::move(copied).failure();
    auto* strides = g.memory.allocate<std::int64_t>(t.rank);
    set_dense_strides(t.sizes(), false, strides);
    t.strides = strides;
    t.storage_offset = 0;
    t.type = *type;
    t.storage = g.maker->add({values, static_cast<std::size_t>(bytes)}, native_order(), no_offset);
    return call_access::make_tensor(c, t);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
