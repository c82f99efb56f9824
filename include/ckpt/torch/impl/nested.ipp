// ckpt/torch/impl/nested.ipp: the definitions of nested.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/torch/nested.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::rebuild {

CKPT_DETAIL_RARE result<void> read_part(call& c, std::uint32_t index, named_data& out) {
    const tensor_data* part = tensor_of(call_access::graph(c), index);
    if (part == nullptr || (part->refusal == nullptr && part->kind != layout::strided))
        return c.fail(errc::bad_arguments, str_cat("the ", out.name, " of a nested tensor are not a strided tensor"));
    if (part->refusal != nullptr) return *part->refusal;
    out.data = *part;
    return {};
}

/// Whether the rows of a batch leave room for the dimension that the batch is.
CKPT_DETAIL_COLD inline result<void> check_batch(const call& c, const char* kind, std::uint64_t dimensions) {
    const std::uint64_t limit = call_access::rank_limit(c);
    if (dimensions < limit) return {};
    return c.fail(errc::shape_invalid,
                  str_cat("a ", kind, " tensor of ", dimensions, " dimensions in a batch, the limit is ", limit));
}

CKPT_DETAIL_RARE bool set_shape(call& c, tensor_data& t, std::span<const std::int64_t> shape) {
    if (!c.charge(2 * shape.size() * sizeof(std::int64_t))) return false;
    auto* numbers = call_access::graph(c).memory.allocate<std::int64_t>(2 * shape.size());
    for (std::size_t i = 0; i < shape.size(); ++i) {
        numbers[i] = shape[i];
        numbers[shape.size() + i] = 0;
    }
    t.shape = numbers;
    t.strides = numbers + shape.size();
    t.rank = static_cast<std::uint32_t>(shape.size());
    return true;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::rebuild

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE result<value> builders::nested_tensor(call& c) {
    const auto args = call_access::arguments(c);
    if (args.size() != 4) return c.fail(errc::bad_arguments, "_rebuild_nested_tensor takes 4 arguments");
    named_data parts[4]{{"buffer", {}}, {"sizes", {}}, {"strides", {}}, {"offsets", {}}};
    for (std::size_t i = 0; i < 4; ++i)
        if (auto read = rebuild::read_part(c, args[i], parts[i]); !read) return std::move(read).failure();
    const tensor_data& buffer = parts[0].data;
    const tensor_data& sizes = parts[1].data;
    const tensor_data& strides = parts[2].data;
    const tensor_data& offsets = parts[3].data;
    // For a nested tensor without any tensor, torch writes sizes and strides as tensors without dimensions, whose value
    // has no meaning.
    const auto nothing = [](const tensor_data& part) { return part.rank == 0 || part.numel == 0; };
    const bool none = offsets.rank == 1 && offsets.numel == 0 && nothing(sizes) && nothing(strides);
    for (std::size_t i = none ? 3 : 1; i < 4; ++i)
        if (parts[i].data.type != ckpt::dtype::int64)
            return c.fail(errc::bad_arguments, str_cat("the ", parts[i].name, " of a nested tensor are ",
                                                       name(parts[i].data.type), ", not int64"));
    const bool agree = buffer.rank == 1 && offsets.rank == 1 && sizes.rank == 2 && strides.rank == 2 &&
                       sizes.shape[0] == offsets.shape[0] && strides.shape[0] == sizes.shape[0] &&
                       strides.shape[1] == sizes.shape[1];
    if (!none && !agree)
        return c.fail(errc::bad_arguments,
                      str_cat("the parts of a nested tensor disagree: buffer ", list_of(buffer.sizes()), ", sizes ",
                              list_of(sizes.sizes()), ", strides ", list_of(strides.sizes()), ", offsets ",
                              list_of(offsets.sizes())));
    const std::uint64_t dimensions = agree ? static_cast<std::uint64_t>(sizes.shape[1]) : 0;
    tensor_data t{};
    t.type = buffer.type;
    t.kind = layout::nested;
    t.requires_grad = buffer.requires_grad;
    t.numel = buffer.numel;
    if (auto fits = rebuild::check_batch(c, "nested", dimensions); !fits) return std::move(fits).failure();
    std::vector<std::int64_t> shape(static_cast<std::size_t>(dimensions) + 1, -1);
    shape[0] = none ? 0 : offsets.shape[0];
    if (!rebuild::set_shape(c, t, shape)) return c.over_budget();
    return rebuild::make_with_parts(c, t, {}, parts);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

namespace rebuild {

/// Checks the parts of a jagged tensor against each other. `lengths` is null where there are no gaps between rows.
CKPT_DETAIL_COLD inline result<void> check_jagged(const call& c, const tensor_data& values, const tensor_data& offsets,
                                                  const tensor_data* lengths, std::int64_t ragged) {
    // The shape has the batch first; the values have all rows one after another in the ragged dimension.
    if (auto fits = check_batch(c, "jagged", values.rank); !fits) return fits;
    if (values.rank == 0 || ragged < 1 || static_cast<std::uint64_t>(ragged) > values.rank)
        return c.fail(errc::bad_arguments,
                      str_cat("dimension ", ragged, " cannot be ragged in a jagged tensor with values ",
                              list_of(values.sizes())));
    for (const tensor_data* part : {&offsets, lengths})
        if (part != nullptr &&
            ((part->type != ckpt::dtype::int64 && part->type != ckpt::dtype::int32) || part->rank != 1))
            return c.fail(errc::bad_arguments, str_cat("the offsets or lengths of a jagged tensor are ",
                                                       name(part->type), " ", list_of(part->sizes())));
    if (offsets.shape[0] < 1 || (lengths != nullptr && lengths->shape[0] != offsets.shape[0] - 1))
        return c.fail(errc::bad_arguments,
                      str_cat("a jagged tensor has ", offsets.shape[0], " offsets",
                              lengths != nullptr ? str_cat(" and ", lengths->shape[0], " lengths") : ""));
    return {};
}

CKPT_DETAIL_RARE result<value> make_jagged(call& c, std::span<const named_data> parts, std::int64_t ragged,
                                           bool requires_grad) {
    const tensor_data& values = parts[0].data;
    const tensor_data& offsets = parts[1].data;
    const tensor_data* const lengths = parts.size() > 2 && parts[2].name == "lengths" ? &parts[2].data : nullptr;
    if (auto fits = check_jagged(c, values, offsets, lengths, ragged); !fits) return std::move(fits).failure();
    tensor_data t{};
    t.requires_grad = requires_grad;
    t.type = values.type;
    t.kind = layout::jagged;
    t.numel = values.numel;
    std::vector<std::int64_t> shape(values.sizes().begin(), values.sizes().end());
    shape[static_cast<std::size_t>(ragged - 1)] = -1;
    shape.insert(shape.begin(), offsets.shape[0] - 1);
    if (!set_shape(c, t, shape)) return c.over_budget();
    tensor_extra extra{};
    extra.axis = static_cast<std::uint32_t>(ragged);
    return make_with_parts(c, t, extra, parts);
}

} // namespace rebuild

CKPT_DETAIL_RARE result<value> builders::jagged_tensor(call& c) {
    const auto args = call_access::arguments(c);
    const value fields = c.args[0];
    if (args.size() != 1 || fields.kind() != kind::dictionary || !c.charge(fields.size()))
        return c.fail(errc::bad_arguments, "_rebuild_njt takes a dictionary");
    named_data parts[5]{};
    std::size_t count = 0;
    std::int64_t ragged = 1;
    bool requires_grad = false;
    const auto add = [&](std::string_view called, const value& v) {
        parts[count].name = called;
        return rebuild::read_part(c, value_access::node(v), parts[count++]);
    };
    for (const std::string_view called :
         {std::string_view("values"), std::string_view("offsets"), std::string_view("lengths")}) {
        const auto field = fields.at(called);
        if (called == "lengths" && (!field || field->is_none())) continue;
        if (!field) return c.fail(errc::bad_arguments, str_cat("a jagged tensor without ", called));
        if (auto read = add(called, *field); !read) return std::move(read).failure();
    }
    if (const auto field = fields.at("_ragged_idx")) {
        const auto number = field->as_int();
        if (!number) return c.fail(errc::bad_arguments, "the ragged dimension of a jagged tensor is not an integer");
        ragged = *number;
    }
    if (const auto field = fields.at("requires_grad"))
        if (!rebuild::read_flag(call_access::graph(c).nodes[value_access::node(*field)], requires_grad))
            return c.fail(errc::bad_arguments, "requires_grad is not a bool");
    if (const auto cache = fields.at("_metadata_cache");
        cache && cache->kind() == kind::dictionary && c.charge(cache->size()))
        for (const std::string_view called : {std::string_view("min_seqlen"), std::string_view("max_seqlen")})
            if (const auto field = cache->at(called); field && field->kind() == kind::tensor)
                if (auto read = add(called, *field); !read) return std::move(read).failure();
    return rebuild::make_jagged(c, {parts, count}, ragged, requires_grad);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
