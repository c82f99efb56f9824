// ckpt/state/gathered_storages.hpp: the storages of a state_dict that is made of others.
//
// SPDX-License-Identifier: MIT
// In:      a gather plan; the storages of its leaves, and nodes that are no views.
// Out:     both as storages under numbers of their own. A gathered one is written when it is read.
// Refuses: bytes and places of gathered storages: they have none before they are read.
#pragma once

#include <ckpt/core/index_table.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/state/gather.hpp>
#include <ckpt/tensor/storage.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The storages of a remapped or overlaid state_dict: those of its sources under new numbers, and one for each tensor
/// that is gathered.
class gathered_storages final : public storage_source {
  public:
    explicit gathered_storages(shared<gather_plan> plan) : plan_{std::move(plan)} {}

    /// The number under which a storage of a source is known here.
    [[nodiscard]] std::uint32_t number_of(const storage_source* source, std::uint32_t storage);
    /// The number of the storage of a gathered tensor: one for each node.
    [[nodiscard]] std::uint32_t number_of_node(std::uint32_t node) { return number_of(nullptr, node); }

    [[nodiscard]] CKPT_DETAIL_DEF std::uint64_t nbytes(std::uint32_t i) const noexcept override;
    [[nodiscard]] byte_order order(std::uint32_t i) const noexcept override {
        return slots_[i].source != nullptr ? slots_[i].source->order(slots_[i].number) : native_order();
    }
    [[nodiscard]] std::string_view key(std::uint32_t i) const noexcept override {
        return slots_[i].source != nullptr ? slots_[i].source->key(slots_[i].number) : std::string_view{};
    }
    [[nodiscard]] CKPT_DETAIL_DEF std::string_view file(std::uint32_t i) const noexcept override;
    [[nodiscard]] bool is_compressed(std::uint32_t i) const noexcept override {
        return slots_[i].source != nullptr ? slots_[i].source->is_compressed(slots_[i].number)
                                           : plan_->node(slots_[i].number).compressed;
    }
    [[nodiscard]] bool is_gathered(std::uint32_t i) const noexcept override {
        return slots_[i].source == nullptr || slots_[i].source->is_gathered(slots_[i].number);
    }
    [[nodiscard]] storage_origin origin(std::uint32_t i) const noexcept override {
        return slots_[i].source != nullptr ? slots_[i].source->origin(slots_[i].number) : storage_origin{this, i};
    }
    [[nodiscard]] CKPT_DETAIL_DEF result<stored_place> place_of(std::uint32_t i) const override;
    CKPT_DETAIL_DEF void find_touched(std::uint32_t i, std::uint64_t begin, std::uint64_t end,
                                      range_visitor visit) const override;
    [[nodiscard]] CKPT_DETAIL_DEF result<std::uint64_t> file_offset(std::uint32_t i) const override;
    [[nodiscard]] CKPT_DETAIL_DEF result<std::span<const std::byte>> bytes(std::uint32_t i) const override;
    [[nodiscard]] CKPT_DETAIL_DEF result<shared<storage_reader>> reader(std::uint32_t i,
                                                                        storage_readers& others) const override;
    [[nodiscard]] CKPT_DETAIL_DEF result<void> read(std::uint32_t i, std::uint64_t offset,
                                                    std::span<std::byte> out) const override;

  private:
    struct slot {
        const storage_source* source{nullptr}; ///< null: a node of the plan
        std::uint32_t number{0};
    };
    shared<gather_plan> plan_;
    std::vector<slot> slots_{};
    growing_index_table table_{}; ///< of slots
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/gathered_storages.ipp>
#endif
