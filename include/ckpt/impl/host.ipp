// ckpt/impl/host.ipp: the definitions of host.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/gpu/engine.hpp>
#include <ckpt/gpu/host_api.hpp>
#include <ckpt/gpu/plan_data.hpp>
#include <ckpt/host.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/state/state_dict_data.hpp>
#include <ckpt/tensor/storage.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The tensors of a plan in the host's memory.
class loaded_storages final : public storage_source {
  public:
    explicit loaded_storages(shared<device_memory<host_api>> memory);
    [[nodiscard]] std::uint64_t offset(const placed_tensor& t) const noexcept {
        return t.offset - blocks_[t.storage].begin;
    }

    [[nodiscard]] std::uint64_t nbytes(std::uint32_t storage) const noexcept override {
        return blocks_[storage].end - blocks_[storage].begin;
    }
    [[nodiscard]] byte_order order(std::uint32_t) const noexcept override { return native_order(); }
    [[nodiscard]] std::string_view key(std::uint32_t) const noexcept override { return {}; }
    [[nodiscard]] result<std::uint64_t> file_offset(std::uint32_t) const override {
        return error{.code = errc::no_data, .detail = "the storage is a copy in memory, without a place in the file"};
    }
    [[nodiscard]] result<std::span<const std::byte>> bytes(std::uint32_t storage) const override {
        return std::span<const std::byte>{base(storage), static_cast<std::size_t>(nbytes(storage))};
    }
    [[nodiscard]] result<void> read(std::uint32_t storage, std::uint64_t offset,
                                    std::span<std::byte> out) const override;

  private:
    struct block {
        std::uint64_t begin{};
        std::uint64_t end{};
    };
    [[nodiscard]] const std::byte* base(std::uint32_t storage) const noexcept {
        return static_cast<const std::byte*>(memory_->at(0).memory) + blocks_[storage].begin;
    }

    shared<device_memory<host_api>> memory_;
    std::vector<block> blocks_;
};

CKPT_DETAIL_DEF loaded_storages::loaded_storages(shared<device_memory<host_api>> memory)
    : memory_{std::move(memory)}, blocks_(memory_->plan().storages) {
    for (const placed_tensor& t : memory_->plan().tensors) {
        block& b = blocks_[t.storage];
        if (t.nbytes == 0) continue;
        // An offset in it counts elements, of which a type that overlaps another one may begin between two of that.
        const std::uint64_t begin = t.offset / 16 * 16;
        if (b.begin == b.end) b = {begin, t.offset + t.nbytes};
        b = {(std::min)(b.begin, begin), (std::max)(b.end, t.offset + t.nbytes)};
    }
}

CKPT_DETAIL_DEF result<void> loaded_storages::read(std::uint32_t storage, std::uint64_t offset,
                                                   std::span<std::byte> out) const {
    if (!out.empty()) std::memcpy(out.data(), base(storage) + offset, out.size());
    return {};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI::host {

CKPT_DETAIL_DEF result<loaded> load(const state_dict& weights, const load_options& options) {
    upload_plan_options wanted = options.plan;
    wanted.kernels = nullptr; // the host has none
    auto plan = plan_upload(weights, wanted);
    if (!plan) return std::move(plan).failure();
    detail::engine_options how;
    how.source = options.source;
    how.readers = options.readers.value_or(detail::useful_readers());
    how.verify = options.verify;
    how.progress = options.progress;
    auto memory = detail::run_upload(detail::host_api{}, *plan, how);
    if (!memory) return std::move(memory).failure();

    auto out = detail::make_shared<detail::state_dict_data>();
    const auto& from = *detail::state_dict_access::data(weights);
    const auto storages = detail::make_shared<detail::loaded_storages>(*memory);
    out->path = from.path;
    out->file = *memory; // the plan, where shapes are
    out->storages = storages;
    out->source = storages.get();
    for (const detail::placed_tensor& t : (*memory)->plan().tensors) {
        char* const key = out->memory.allocate<char>(t.key.size() + 1);
        std::memcpy(key, t.key.data(), t.key.size());
        auto* data = ::new (out->memory.allocate(sizeof(detail::tensor_data), alignof(detail::tensor_data)))
            detail::tensor_data{};
        data->type = t.type;
        data->rank = t.rank;
        data->shape = t.shape;
        data->strides = t.strides;
        data->numel = t.numel;
        data->storage = t.storage;
        data->extra = t.quantised;
        if (t.nbytes != 0) data->storage_offset = storages->offset(t) * 8 / bits(t.type);
        out->entries.push_back({{key, t.key.size()}, data});
    }
    upload_report report = (*memory)->report;
    return loaded{detail::state_dict_access::make(std::move(out)), std::move(report)};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::host
