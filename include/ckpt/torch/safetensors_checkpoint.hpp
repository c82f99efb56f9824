// ckpt/torch/safetensors_checkpoint.hpp: opens a safetensors file.
//
// SPDX-License-Identifier: MIT
// In:      a source, options.
// Out:     a graph as of a pickle: a dictionary of tensors, whose state is {"__metadata__": {...}}.
// Refuses: what archive/safetensors.hpp refuses. A tensor of a type that PyTorch does not have (F6) is an error at its
//          key.
#pragma once

#include <ckpt/archive/safetensors.hpp>
#include <ckpt/core/arena.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/scratch.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/pickle/graph.hpp>
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/tensor/geometry.hpp>
#include <ckpt/tensor/storage.hpp>
#include <ckpt/torch/checkpoint_file.hpp>
#include <ckpt/torch/safetensors_types.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The storages of a safetensors file, one for each tensor: tensors do not share bytes in this format.
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
    void find_touched(std::uint32_t storage, std::uint64_t begin, std::uint64_t end,
                      range_visitor visit) const override {
        visit(from_, place(storage) + begin, place(storage) + end);
    }
    [[nodiscard]] CKPT_DETAIL_DEF result<std::span<const std::byte>> bytes(std::uint32_t storage) const override;
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
                                                              const scratch& reuse);

    safetensors_checkpoint(shared<source> from, const limits& budget, const scratch& reuse)
        : checkpoint_file{budget, reuse.pool()}, from_{std::move(from)} {}

    /// Adds nothing: opening has checked the whole header, and the format has no checksums.
    CKPT_DETAIL_DEF void check(const file_check&, verify_report& out) const override;

  private:
    void build();
    [[nodiscard]] std::uint32_t metadata_node();
    [[nodiscard]] std::uint32_t tensor_node(std::size_t index);
    [[nodiscard]] result<void> describe(const safetensors_entry& e, tensor_data& t);

    shared<source> from_;
    safetensors_header header_{};
    std::optional<safetensors_storages> storages_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/safetensors_checkpoint.ipp>
#endif
