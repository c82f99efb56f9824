// ckpt/torch/impl/sparse.ipp: the definitions of sparse.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/torch/sparse.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::rebuild {

CKPT_DETAIL_RARE layout read_sparse_layout(const graph& g, std::uint32_t index) {
    const value v = value_access::make(g, index);
    if (const auto number = v.as_int()) {
        switch (*number) {
        case 1: return layout::sparse_coo;
        case 2: return layout::sparse_csr;
        case 4: return layout::sparse_csc;
        case 5: return layout::sparse_bsr;
        case 6: return layout::sparse_bsc;
        default: return layout::strided;
        }
    }
    const auto callable = v.class_of().as_global();
    const auto text = v.args()[0].as_string();
    if (!callable || callable->name != "_get_layout" || !text || !text->starts_with("torch.")) return layout::strided;
    for (const layout known :
         {layout::sparse_coo, layout::sparse_csr, layout::sparse_csc, layout::sparse_bsr, layout::sparse_bsc})
        if (text->substr(6) == name(known)) return known;
    return layout::strided;
}

CKPT_DETAIL_RARE std::string coo_fault(const tensor_data& t, const tensor_data& indices, const tensor_data& values) {
    if (indices.type != ckpt::dtype::int64) return str_cat("its indices are ", name(indices.type), ", not int64");
    if (indices.rank != 2 || values.rank == 0)
        return str_cat("its indices have the shape ", list_of(indices.sizes()), ", its values ",
                       list_of(values.sizes()));
    const auto sparse = static_cast<std::uint64_t>(indices.shape[0]);
    const auto dense = std::uint64_t{values.rank} - 1;
    if (sparse > t.rank || dense != t.rank - sparse)
        return str_cat("its shape ", list_of(t.sizes()), " is not made of ", sparse, " sparse and ", dense,
                       " dense dimensions");
    if (values.shape[0] != indices.shape[1])
        return str_cat("there are ", indices.shape[1], " indices and ", values.shape[0], " values");
    for (std::uint64_t i = 0; i < dense; ++i)
        if (values.shape[1 + i] != t.shape[sparse + i])
            return str_cat("its shape is ", list_of(t.sizes()), ", that of its values ", list_of(values.sizes()));
    return {};
}

CKPT_DETAIL_RARE std::string compressed_fault(const tensor_data& t, const tensor_data& compressed,
                                              const tensor_data& plain, const tensor_data& values) {
    const bool by_rows = t.kind == layout::sparse_csr || t.kind == layout::sparse_bsr;
    const std::uint32_t block = t.kind == layout::sparse_bsr || t.kind == layout::sparse_bsc ? 2 : 0;
    if (!is_index_type(compressed.type) || compressed.type != plain.type)
        return str_cat("its indices are ", name(compressed.type), " and ", name(plain.type),
                       ", not both int64 or both int32");
    const std::string shapes =
        str_cat("its indices have the shapes ", list_of(compressed.sizes()), " and ", list_of(plain.sizes()),
                ", its values ", list_of(values.sizes()), ", and it has ", list_of(t.sizes()));
    if (compressed.rank == 0 || plain.rank != compressed.rank || values.rank < compressed.rank + block) return shapes;
    const std::uint32_t batch = compressed.rank - 1;
    const std::uint32_t dense = values.rank - compressed.rank - block;
    if (std::uint64_t{batch} + 2 + dense != t.rank) return shapes;
    for (std::uint32_t i = 0; i < batch; ++i)
        if (compressed.shape[i] != t.shape[i] || plain.shape[i] != t.shape[i] || values.shape[i] != t.shape[i])
            return shapes;
    if (values.shape[batch] != plain.shape[batch])
        return str_cat("there are ", plain.shape[batch], " indices and ", values.shape[batch], " values");
    std::int64_t size[2]{t.shape[batch], t.shape[batch + 1]};
    for (std::uint32_t i = 0; i < block; ++i) {
        const std::int64_t n = values.shape[batch + 1 + i];
        if (n <= 0 || size[i] % n != 0)
            return str_cat("its blocks of ", values.shape[batch + 1], " by ", values.shape[batch + 2],
                           " do not divide its shape ", list_of(t.sizes()));
        size[i] /= n;
    }
    const std::int64_t lines = by_rows ? size[0] : size[1];
    if (compressed.shape[batch] - 1 != lines)
        return str_cat("there are ", compressed.shape[batch], " compressed indices for ", lines,
                       by_rows ? " rows" : " columns");
    for (std::uint32_t i = 0; i < dense; ++i)
        if (values.shape[batch + 1 + block + i] != t.shape[batch + 2 + i]) return shapes;
    return {};
}

CKPT_DETAIL_RARE result<void> read_shape(call& c, std::uint32_t size, tensor_data& t) {
    graph& g = call_access::graph(c);
    if (!read_numbers(c, g.nodes[size], t.shape, t.rank)) {
        if (call_access::over_limit(c)) return c.over_budget();
        return c.fail(errc::bad_arguments, "the size of a tensor is not a tuple of integers");
    }
    if (t.rank > call_access::rank_limit(c)) return refuse_geometry(c, errc::shape_invalid, t, 0);
    if (!c.charge(t.rank * sizeof(std::int64_t))) return c.over_budget();
    auto* strides = g.memory.allocate<std::int64_t>(t.rank);
    set_dense_strides(t.sizes(), false, strides);
    t.strides = strides;
    // A sparse matrix may have so many elements that their bytes or bits overflow 64 bits.
    bool valid = true;
    bool empty = false;
    for (const std::int64_t n : t.sizes()) {
        valid = valid && n >= 0;
        empty = empty || n == 0;
    }
    t.numel = empty ? 0 : 1;
    for (const std::int64_t n : t.sizes())
        valid = valid &&
                (empty || (checked_mul(t.numel, static_cast<std::uint64_t>(n), t.numel) && t.numel <= largest_signed));
    if (!valid) return refuse_geometry(c, errc::shape_invalid, t, 0);
    return {};
}

CKPT_DETAIL_RARE result<value> make_sparse(call& c, layout kind, std::uint32_t size, std::uint32_t indices,
                                           std::uint32_t plain, std::uint32_t values, bool requires_grad,
                                           bool coalesced) {
    graph& g = call_access::graph(c);
    tensor_data t{};
    t.kind = kind;
    t.requires_grad = requires_grad;
    const bool coo = kind == layout::sparse_coo;
    const bool by_rows = kind == layout::sparse_csr || kind == layout::sparse_bsr;
    named_data parts[3]{{coo       ? "indices"
                         : by_rows ? "crow_indices"
                                   : "ccol_indices",
                         {}},
                        {by_rows ? "col_indices" : "row_indices", {}},
                        {"values", {}}};
    const std::uint32_t nodes[3]{indices, plain, values};
    for (std::uint32_t i = 0; i < 3; ++i) {
        if (coo && i == 1) continue;
        const tensor_data* part = tensor_of(g, nodes[i]);
        if (part == nullptr)
            return c.fail(errc::bad_arguments, str_cat("the ", parts[i].name, " of a sparse tensor are not a tensor"));
        if (part->refusal != nullptr) return *part->refusal;
        if (part->kind != layout::strided)
            return c.fail(errc::bad_arguments,
                          str_cat("the ", parts[i].name, " of a sparse tensor are not strided but ", name(part->kind)));
        parts[i].data = *part;
    }
    t.type = parts[2].data.type;
    if (auto read = read_shape(c, size, t); !read) return std::move(read).failure();
    const std::string fault = coo ? coo_fault(t, parts[0].data, parts[2].data)
                                  : compressed_fault(t, parts[0].data, parts[1].data, parts[2].data);
    if (!fault.empty()) return c.fail(errc::bad_arguments, str_cat("a ", name(kind), " tensor is invalid: ", fault));
    tensor_extra extra{};
    extra.coalesced = coalesced;
    if (coo) parts[1] = parts[2];
    return make_with_parts(c, t, extra, {parts, coo ? 2u : 3u});
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::rebuild

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE result<value> builders::sparse_tensor(call& c) {
    graph& g = call_access::graph(c);
    const auto args = call_access::arguments(c);
    if (args.size() != 2 && args.size() != 6 && args.size() != 7)
        return c.fail(errc::bad_arguments, "_rebuild_sparse_tensor takes 2, 6 or 7 arguments");
    const layout kind = rebuild::read_sparse_layout(g, args[0]);
    if (kind == layout::strided)
        return c.fail(errc::bad_arguments, "the layout of a sparse tensor is none that is known");
    const bool coo = kind == layout::sparse_coo;
    bool flag = false;
    if (args.size() != 2) {
        if (args.size() != (coo ? 6u : 7u))
            return c.fail(errc::bad_arguments,
                          str_cat("_rebuild_sparse_tensor of ", name(kind), " takes ", coo ? "6" : "7", " arguments"));
        if (!rebuild::read_flag(g.nodes[args[2]], flag))
            return c.fail(errc::bad_arguments, "requires_grad is not a bool");
        return rebuild::make_sparse(c, kind, args[1], args[3], args[4], coo ? args[4] : args[5], flag, false);
    }
    const node& data = g.nodes[args[1]];
    if (data.kind != node_kind::tuple || (data.a != 4 && (!coo || data.a != 3)))
        return c.fail(errc::bad_arguments,
                      str_cat("the data of a sparse tensor are not a tuple of ", coo ? "3 or 4" : "4"));
    const auto part = [&data](std::size_t i) { return data.items[i]; };
    if (!coo) return rebuild::make_sparse(c, kind, part(3), part(0), part(1), part(2), false, false);
    if (data.a == 4 && !rebuild::read_flag(g.nodes[part(3)], flag))
        return c.fail(errc::bad_arguments, "is_coalesced is not a bool");
    return rebuild::make_sparse(c, kind, part(2), part(0), part(0), part(1), false, flag);
}

CKPT_DETAIL_RARE result<value> builders::sparse_csr_tensor(call& c) {
    graph& g = call_access::graph(c);
    const auto args = call_access::arguments(c);
    if (args.size() != 2 || g.nodes[args[1]].kind != node_kind::tuple || g.nodes[args[1]].a != 4)
        return c.fail(errc::bad_arguments, "_rebuild_sparse_csr_tensor takes a layout and a tuple of 4");
    if (rebuild::read_sparse_layout(g, args[0]) != layout::sparse_csr)
        return c.fail(errc::bad_arguments, "the layout of a sparse tensor is none that is known");
    const std::uint32_t* part = g.nodes[args[1]].items;
    return rebuild::make_sparse(c, layout::sparse_csr, part[3], part[0], part[1], part[2], false, false);
}

CKPT_DETAIL_RARE result<value> builders::sparse_class(call& c) {
    const auto args = call_access::arguments(c);
    if (args.size() != 3) return c.fail(errc::bad_arguments, "a sparse tensor's class takes 3 arguments");
    return rebuild::make_sparse(c, layout::sparse_coo, args[2], args[0], args[0], args[1], false, false);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
