// ckpt/gpu/impl/host_api.ipp: the definitions of host_api.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/gpu/host_api.hpp>
#include <ckpt/io/file.hpp>
#include <ckpt/io/pages.hpp>

#include <cstring>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The page before memory that was handed out. It holds how many bytes were taken, for whoever gives them back.
inline constexpr std::size_t block_head = file::direct_alignment;

CKPT_DETAIL_DEF int host_api::allocate(void*& out, std::size_t bytes, stream) const noexcept {
    void* const block = bytes <= ~std::size_t{0} - block_head ? file_system::take_pages(bytes + block_head) : nullptr;
    if (block == nullptr) return 1;
    const std::size_t whole = bytes + block_head;
    std::memcpy(block, &whole, sizeof whole);
    out = static_cast<std::byte*>(block) + block_head;
    return 0;
}

CKPT_DETAIL_DEF int host_api::release(void* memory, stream) const noexcept {
    void* const block = static_cast<std::byte*>(memory) - block_head;
    std::size_t whole{};
    std::memcpy(&whole, block, sizeof whole);
    file_system::give_pages(block, whole);
    return 0;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
