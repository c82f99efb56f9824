// ckpt/torch/impl/quantized.ipp: the definitions of quantized.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/torch/quantized.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::rebuild {

CKPT_DETAIL_RARE bool read_scheme(const graph& g, const node& n, qscheme& out) noexcept {
    if (n.kind != node_kind::global) return false;
    const global_occurrence& named = g.globals[n.a];
    if (named.module != "torch") return false;
    for (const qscheme known : {qscheme::per_tensor_affine, qscheme::per_tensor_symmetric, qscheme::per_channel_affine,
                                qscheme::per_channel_symmetric, qscheme::per_channel_affine_float_qparams})
        if (named.name == name(known)) {
            out = known;
            return true;
        }
    return false;
}

CKPT_DETAIL_RARE bool read_number(const node& n, double& out) noexcept {
    if (n.kind != node_kind::real && n.kind != node_kind::integer) return false;
    out = n.kind == node_kind::real ? n.real : static_cast<double>(n.integer);
    return true;
}

CKPT_DETAIL_RARE bool tensor_of_list(call& c, const node& list, bool integers, tensor_data& out) {
    graph& g = call_access::graph(c);
    const std::span<const std::uint32_t> elements = g.elements(list);
    if (!c.charge((elements.size() + 2) * 8)) return false;
    auto* bytes = g.memory.allocate<std::byte>(elements.size() * 8 + 1);
    for (std::size_t i = 0; i < elements.size(); ++i) {
        const node& e = g.nodes[elements[i]];
        double real{};
        if (integers ? e.kind != node_kind::integer : !read_number(e, real)) return false;
        const std::uint64_t word =
            integers ? static_cast<std::uint64_t>(e.integer) : std::bit_cast<std::uint64_t>(real);
        std::memcpy(bytes + 8 * i, &word, 8);
    }
    auto* numbers = g.memory.allocate<std::int64_t>(2);
    numbers[0] = static_cast<std::int64_t>(elements.size());
    numbers[1] = 1;
    out.type = integers ? ckpt::dtype::int64 : ckpt::dtype::float64;
    out.rank = 1;
    out.shape = numbers;
    out.strides = numbers + 1;
    out.numel = elements.size();
    out.storage = g.maker->add({bytes, elements.size() * 8}, native_order(), no_offset);
    return true;
}

CKPT_DETAIL_RARE result<void> read_quantizer(call& c, std::uint32_t parameters, tensor_extra& out,
                                             named_data (&parts)[2]) {
    graph& g = call_access::graph(c);
    const node& tuple = g.nodes[parameters];
    if (tuple.kind != node_kind::tuple || tuple.a < 3 || !read_scheme(g, g.nodes[tuple.items[0]], out.scheme))
        return c.fail(errc::bad_arguments, "the quantizer of a tensor does not begin with a scheme that is known");
    out.quantised = true;
    if (!is_per_channel(out.scheme)) {
        const node& zero = g.nodes[tuple.items[2]];
        if (tuple.a != 3 || !read_number(g.nodes[tuple.items[1]], out.scale) || zero.kind != node_kind::integer)
            return c.fail(errc::bad_arguments, "a quantizer per tensor is a scheme, a scale and a zero point");
        out.zero_point = zero.integer;
        if (out.zero_point != static_cast<std::int32_t>(out.zero_point))
            return c.fail(errc::bad_arguments, str_cat("the zero point ", out.zero_point,
                                                       " of a quantised tensor does not fit into 32 bits"));
        return {};
    }
    const node* const axis = tuple.a == 4 ? &g.nodes[tuple.items[3]] : nullptr;
    if (axis == nullptr || axis->kind != node_kind::integer)
        return c.fail(errc::bad_arguments, "a quantizer per channel is a scheme, scales, zero points and an axis");
    if (axis->integer < 0 || axis->integer > 0xFFFF)
        return c.fail(errc::bad_arguments,
                      str_cat("the axis ", axis->integer, " of a quantised tensor is not in its shape"));
    out.axis = static_cast<std::uint32_t>(axis->integer);
    parts[0].name = "scales";
    parts[1].name = "zero_points";
    for (std::uint32_t i = 0; i < 2; ++i) {
        const std::uint32_t at = tuple.items[1 + i];
        if (g.nodes[at].kind == node_kind::list || g.nodes[at].kind == node_kind::tuple) {
            if (tensor_of_list(c, g.nodes[at], i == 1, parts[i].data)) continue;
            if (call_access::over_limit(c)) return c.over_budget();
        } else if (const tensor_data* given = tensor_of(g, at); given != nullptr) {
            if (given->refusal != nullptr) return *given->refusal;
            parts[i].data = *given;
            if (given->kind == layout::strided && given->extra == nullptr) continue;
        }
        return c.fail(errc::bad_arguments,
                      str_cat("the ", parts[i].name, " of a quantised tensor are not a plain tensor"));
    }
    // The type of the zero points tells the scheme: torch writes per_channel_affine also for floating parameters.
    const dtype_kind scales = info(parts[0].data.type).kind;
    const dtype_kind zeros = info(parts[1].data.type).kind;
    if (scales != dtype_kind::floating || info(parts[0].data.type).packed ||
        (zeros != dtype_kind::integer && (zeros != dtype_kind::floating || info(parts[1].data.type).packed)))
        return c.fail(errc::bad_arguments, str_cat("the scales and zero points of a quantised tensor are of ",
                                                   name(parts[0].data.type), " and ", name(parts[1].data.type)));
    if (zeros == dtype_kind::floating) out.scheme = qscheme::per_channel_affine_float_qparams;
    else if (out.scheme == qscheme::per_channel_affine_float_qparams)
        return c.fail(errc::bad_arguments,
                      "the zero points of a quantised tensor are integers, its scheme takes floating ones");
    return {};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::rebuild

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE result<value> builders::quantised_tensor(call& c) {
    graph& g = call_access::graph(c);
    const auto args = call_access::arguments(c);
    if (args.size() != 7) return c.fail(errc::bad_arguments, "_rebuild_qtensor takes 7 arguments");
    tensor_data t{};
    if (const node& s = g.nodes[args[0]]; s.kind == node_kind::storage) {
        if (s.extra == untyped || info(static_cast<ckpt::dtype>(s.extra)).kind != dtype_kind::quantised)
            return c.fail(errc::bad_arguments,
                          str_cat("a quantised tensor is rebuilt from a storage of ",
                                  s.extra == untyped ? std::string("bytes")
                                                     : std::string(name(static_cast<ckpt::dtype>(s.extra)))));
        t.type = static_cast<ckpt::dtype>(s.extra);
    }
    if (!rebuild::read_flag(g.nodes[args[5]], t.requires_grad))
        return c.fail(errc::bad_arguments, "requires_grad is not a bool");
    tensor_extra quantizer{};
    named_data parts[2]{};
    if (auto read = rebuild::read_quantizer(c, args[4], quantizer, parts); !read) return std::move(read).failure();
    if (auto read = rebuild::read_strided(c, args, t); !read) return std::move(read).failure();
    if (t.kind == layout::meta) return rebuild::unsupported(c, "a quantised tensor of the device meta");
    if (!is_per_channel(quantizer.scheme)) return rebuild::make_with_parts(c, t, quantizer, {});
    if (quantizer.axis >= t.rank)
        return c.fail(errc::bad_arguments, str_cat("the axis ", quantizer.axis,
                                                   " of a quantised tensor is not in its shape ", list_of(t.sizes())));
    for (const named_data& part : parts)
        if (part.data.rank != 1 || part.data.shape[0] != t.shape[quantizer.axis])
            return c.fail(errc::bad_arguments, str_cat("the ", part.name, " of a quantised tensor have the shape ",
                                                       list_of(part.data.sizes()), ", its axis ", quantizer.axis,
                                                       " has ", t.shape[quantizer.axis]));
    return rebuild::make_with_parts(c, t, quantizer, parts);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
