// ckpt/tensor/impl/stored_run.ipp: the definitions of stored_run.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/tensor/stored_run.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE std::span<const std::byte> stored_run::read(std::uint64_t at, std::span<std::byte> buffer) const {
    if (memory != nullptr) return {memory + at, buffer.size()};
    if (!source->read(storage, offset + at, buffer)) return {};
    return buffer;
}

CKPT_DETAIL_RARE stored_run find_stored_run(const tensor_data* handle, const storage_source* source, byte_order order) {
    if (!check_access(handle, source) || handle->numel == 0 || !check_output(*handle, *source)) return {};
    const tensor_data& data = *handle;
    if (source->is_gathered(data.storage) || source->is_compressed(data.storage) || bits(data.type) < 8) return {};
    box whole;
    if (!make_box(data.sizes(), data.steps(), data.storage_offset, whole) || !is_dense(whole) ||
        !is_finished(data.type, source->order(data.storage), order, data.neg, data.conj))
        return {};
    const auto access = open_storage(data, *source);
    if (!access) return {};
    const std::size_t size = itemsize(data.type);
    stored_run out;
    out.source = source;
    out.storage = data.storage;
    out.offset = whole.offset * size;
    out.length = data.numel * size;
    if (access->memory != nullptr) out.memory = access->memory + out.offset;
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
