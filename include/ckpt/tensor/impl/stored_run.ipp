// ckpt/tensor/impl/stored_run.ipp: the definitions of stored_run.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/tensor/access.hpp>
#include <ckpt/tensor/stored_bytes.hpp>
#include <ckpt/tensor/stored_run.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE std::span<const std::byte> stored_run::read(std::uint64_t at, std::span<std::byte> buffer) const {
    if (memory != nullptr) return {memory + at, buffer.size()};
    if (!source->read(storage, offset + at, buffer)) return {};
    return buffer;
}

CKPT_DETAIL_RARE stored_run find_stored_run(const tensor_data* handle, const storage_source* source) {
    stored_run out;
    if (!check_stored_bytes(handle, source) || source->is_gathered(handle->storage) ||
        source->is_compressed(handle->storage) || !is_stored_range(*handle, *source, out.offset, out.length))
        return {};
    const auto access = open_storage(*handle, *source);
    if (!access) return {};
    out.source = source;
    out.storage = handle->storage;
    if (access->memory != nullptr) out.memory = access->memory + out.offset;
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
