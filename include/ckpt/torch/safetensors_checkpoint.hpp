// ckpt/torch/safetensors_checkpoint.hpp: a safetensors file, opened.
//
// SPDX-License-Identifier: MIT
// In:      a source, options.
// Out:     the same graph that a pickle becomes: a dictionary of tensors, whose state is {"__metadata__": {...}}.
// Refuses: what the header's reader refuses. A tensor of a type that PyTorch has not (F6) is an error at its key.
#pragma once

#include <ckpt/archive/safetensors.hpp>
#include <ckpt/core/arena.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/pickle/graph.hpp>
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/tensor/geometry.hpp>
#include <ckpt/tensor/storage.hpp>
#include <ckpt/torch/checkpoint_file.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The dtype of PyTorch's for a type of a header (bindings/python/py_src/safetensors/torch.py, _TYPES); nothing for F6.
[[nodiscard]] inline std::optional<ckpt::dtype> dtype_of_safetensors(std::string_view name) noexcept {
    constexpr struct {
        std::string_view name{};
        ckpt::dtype type{};
    } rows[]{
        {"F32", ckpt::dtype::float32},
        {"F16", ckpt::dtype::float16},
        {"BF16", ckpt::dtype::bfloat16},
        {"F64", ckpt::dtype::float64},
        {"I64", ckpt::dtype::int64},
        {"I32", ckpt::dtype::int32},
        {"I16", ckpt::dtype::int16},
        {"I8", ckpt::dtype::int8},
        {"U8", ckpt::dtype::uint8},
        {"BOOL", ckpt::dtype::bool_},
        {"U16", ckpt::dtype::uint16},
        {"U32", ckpt::dtype::uint32},
        {"U64", ckpt::dtype::uint64},
        {"C64", ckpt::dtype::complex64},
        {"F8_E4M3", ckpt::dtype::float8_e4m3fn},
        {"F8_E5M2", ckpt::dtype::float8_e5m2},
        {"F8_E8M0", ckpt::dtype::float8_e8m0fnu},
        {"F8_E4M3FNUZ", ckpt::dtype::float8_e4m3fnuz},
        {"F8_E5M2FNUZ", ckpt::dtype::float8_e5m2fnuz},
        {"F4", ckpt::dtype::float4_e2m1fn_x2},
    };
    for (const auto& row : rows)
        if (row.name == name) return row.type;
    return std::nullopt;
}

/// One storage for each tensor: the format shares none.
class safetensors_storages final : public storage_source {
  public:
    safetensors_storages(const source& from, std::span<const safetensors_entry> entries,
                         std::uint64_t data_offset) noexcept
        : from_{from}, entries_{entries}, data_offset_{data_offset} {}

    [[nodiscard]] std::uint64_t nbytes(std::uint32_t storage) const noexcept override {
        return entries_[storage].end - entries_[storage].begin;
    }
    [[nodiscard]] byte_order order(std::uint32_t) const noexcept override { return byte_order::little; }
    [[nodiscard]] std::string_view key(std::uint32_t storage) const noexcept override { return entries_[storage].name; }
    [[nodiscard]] result<std::uint64_t> file_offset(std::uint32_t storage) const override {
        return from_.base() + place(storage);
    }
    [[nodiscard]] result<stored_place> place_of(std::uint32_t storage) const override {
        return stored_place{&from_, place(storage)};
    }
    [[nodiscard]] result<std::span<const std::byte>> bytes(std::uint32_t storage) const override {
        if (!from_.is_mapped()) return not_mapped_error(entries_[storage].name);
        return from_.mapped().subspan(static_cast<std::size_t>(place(storage)),
                                      static_cast<std::size_t>(nbytes(storage)));
    }
    [[nodiscard]] result<void> read(std::uint32_t storage, std::uint64_t offset,
                                    std::span<std::byte> out) const override {
        return from_.read(place(storage) + offset, out);
    }

  private:
    [[nodiscard]] std::uint64_t place(std::uint32_t storage) const noexcept {
        return data_offset_ + entries_[storage].begin;
    }

    const source& from_;
    std::span<const safetensors_entry> entries_;
    std::uint64_t data_offset_;
};

class safetensors_checkpoint final : public checkpoint_file {
  public:
    [[nodiscard]] static result<shared<checkpoint_file>> open(shared<source> from, const limits& budget,
                                                              const scratch& reuse) {
        auto out = detail::make_shared<safetensors_checkpoint>(std::move(from), budget, reuse);
        auto header = safetensors_header::read(*out->from_, out->limits_, out->graph_.memory);
        if (!header) return std::move(header).error();
        out->header_ = std::move(*header);
        out->facts_ = {"safetensors", "a safetensors library", byte_order::little, true, out->from_->size(), {}};
        out->storages_.emplace(*out->from_, out->header_.entries, out->header_.data_offset);
        out->build();
        return shared<checkpoint_file>{out};
    }

    safetensors_checkpoint(shared<source> from, const limits& budget, const scratch& reuse)
        : checkpoint_file{budget, reuse.pool()}, from_{std::move(from)} {}

    /// The header was checked in full when the file was opened, and the format has no checksums.
    void check(bool, verify_report& out) const override {
        out.records += header_.entries.size();
        out.unchecked_crc += header_.entries.size();
    }

  private:
    void build() {
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
    [[nodiscard]] std::uint32_t metadata_node() {
        std::vector<std::uint32_t> pairs;
        for (const safetensors_pair& p : header_.metadata) {
            pairs.push_back(graph_.add_text(p.key));
            pairs.push_back(graph_.add_text(p.text));
        }
        return graph_.add_metadata(pairs);
    }
    [[nodiscard]] std::uint32_t tensor_node(std::size_t index) {
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
    [[nodiscard]] result<void> describe(const safetensors_entry& e, tensor_data& t) {
        const auto type = dtype_of_safetensors(e.type->name);
        if (!type)
            return error{.code = errc::unsupported_tensor,
                         .detail = "PyTorch has no dtype for " + std::string(e.type->name),
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

    shared<source> from_;
    safetensors_header header_{};
    std::optional<safetensors_storages> storages_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
