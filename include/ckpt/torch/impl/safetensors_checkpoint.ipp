// ckpt/torch/impl/safetensors_checkpoint.ipp: the definitions of safetensors_checkpoint.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/torch/safetensors_checkpoint.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF result<std::span<const std::byte>> safetensors_storages::bytes(std::uint32_t storage) const {
    if (!from_.is_mapped()) return not_mapped_error(entries_[storage].name);
    return from_.mapped().subspan(static_cast<std::size_t>(place(storage)), static_cast<std::size_t>(nbytes(storage)));
}

CKPT_DETAIL_RARE result<shared<checkpoint_file>> safetensors_checkpoint::open(shared<source> from, const limits& budget,
                                                                              const scratch& reuse) {
    auto out = detail::make_shared<safetensors_checkpoint>(std::move(from), budget, reuse);
    auto header = safetensors_header::read(*out->from_, out->limits_, out->graph_.memory);
    if (!header) return std::move(header).failure();
    out->header_ = std::move(*header);
    out->facts_ = {"safetensors", "a safetensors library", byte_order::little, true, out->from_->size(), {}};
    out->storages_.emplace(*out->from_, out->header_.entries, out->header_.data_offset);
    out->build();
    return shared<checkpoint_file>{out};
}

CKPT_DETAIL_RARE void safetensors_checkpoint::check(const file_check&, verify_report& out) const {
    out.records += header_.entries.size();
    out.unchecked_crc += header_.entries.size();
}

CKPT_DETAIL_RARE void safetensors_checkpoint::build() {
    detail::graph& g = graph_;
    g.pickle = std::as_bytes(std::span<const char>{header_.json.data(), header_.json.size()});
    g.base = from_->base() + 8;
    g.record = "header";
    g.storages = &*storages_;
    std::vector<std::uint32_t> pairs;
    pairs.reserve(2 * header_.entries.size());
    for (std::size_t i = 0; i < header_.entries.size(); ++i) {
        pairs.push_back(g.add_text(header_.entries[i].name));
        pairs.push_back(tensor_node(i));
    }
    g.root = g.add_dictionary(pairs, header_.has_metadata ? metadata_node() : absent_node);
}

CKPT_DETAIL_RARE std::uint32_t safetensors_checkpoint::metadata_node() {
    std::vector<std::uint32_t> pairs;
    for (const safetensors_pair& p : header_.metadata) {
        pairs.push_back(graph_.add_text(p.key));
        pairs.push_back(graph_.add_text(p.text));
    }
    return graph_.add_metadata(pairs);
}

CKPT_DETAIL_DEF std::uint32_t safetensors_checkpoint::tensor_node(std::size_t index) {
    const safetensors_entry& e = header_.entries[index];
    tensor_data t{};
    t.storage = static_cast<std::uint32_t>(index);
    t.rank = e.rank;
    t.shape = e.shape;
    if (auto built = describe(e, t); !built) {
        error refusal = std::move(built).error();
        refusal.path = printable(e.name);
        t = {};
        t.refusal = graph_.errors[graph_.keep(std::move(refusal))];
    }
    return graph_.add_tensor(t);
}

CKPT_DETAIL_DEF result<void> safetensors_checkpoint::describe(const safetensors_entry& e, tensor_data& t) {
    const auto type = dtype_of_safetensors(e.type->name);
    if (!type)
        return error{.code = errc::unsupported_tensor,
                     .detail = str_cat("PyTorch has no dtype for ", e.type->name),
                     .hint = "the other entries of the file are not affected"};
    t.type = *type;
    if (*type == ckpt::dtype::float4_e2m1fn_x2) {
        // PyTorch's shape counts bytes, of two values each, in the last dimension.
        if (e.rank == 0 || e.shape[e.rank - 1] % 2 != 0)
            return error{.code = errc::unsupported_tensor,
                         .detail = "4-bit values whose last dimension is odd",
                         .hint = "the other entries of the file are not affected"};
        auto* halved = graph_.memory.allocate<std::int64_t>(e.rank);
        std::copy(e.shape, e.shape + e.rank, halved);
        halved[e.rank - 1] /= 2;
        t.shape = halved;
    }
    auto* strides = graph_.memory.allocate<std::int64_t>(e.rank + 1);
    set_dense_strides(t.sizes(), false, strides);
    t.strides = strides;
    const std::uint64_t bytes = e.end - e.begin;
    if (const errc code = check_geometry(t, bytes, limits_.tensor_rank); code != errc::none)
        return geometry_error(code, t, bytes, limits_.tensor_rank);
    return {};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
