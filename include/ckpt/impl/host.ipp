// ckpt/impl/host.ipp: the definitions of host.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/host.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF int host_api::allocate(void*& out, std::size_t bytes, stream) const noexcept {
    // The block before the memory remembers how large it is.
    void* const block = bytes <= ~std::size_t{0} - page_bytes ? file_system::take_pages(bytes + page_bytes) : nullptr;
    if (block == nullptr) return 1;
    const std::size_t whole = bytes + page_bytes;
    std::memcpy(block, &whole, sizeof whole);
    out = static_cast<std::byte*>(block) + page_bytes;
    return 0;
}

CKPT_DETAIL_DEF int host_api::release(void* memory, stream) const noexcept {
    void* const block = static_cast<std::byte*>(memory) - page_bytes;
    std::size_t whole{};
    std::memcpy(&whole, block, sizeof whole);
    file_system::give_pages(block, whole);
    return 0;
}

CKPT_DETAIL_DEF loaded_storages::loaded_storages(shared<device_memory<host_api>> memory)
    : memory_{std::move(memory)}, blocks_(memory_->plan().storages) {
    for (const placed_tensor& t : memory_->plan().tensors) {
        block& b = blocks_[t.storage];
        if (t.nbytes == 0) continue;
        if (b.begin == b.end) b = {t.offset, t.offset + t.nbytes};
        b = {(std::min)(b.begin, t.offset), (std::max)(b.end, t.offset + t.nbytes)};
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
    auto plan = plan_upload(weights, options.plan);
    if (!plan) return std::move(plan).error();
    detail::engine_options how;
    how.source = options.source;
    how.readers = options.readers;
    how.verify = options.verify;
    how.progress = options.progress;
    auto memory = detail::run_upload(detail::host_api{}, *plan, how);
    if (!memory) return std::move(memory).error();

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
    out->sort_keys();
    upload_report report = (*memory)->report;
    return loaded{state_dict{std::move(out)}, std::move(report)};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::host
