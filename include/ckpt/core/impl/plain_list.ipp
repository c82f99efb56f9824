// ckpt/core/impl/plain_list.ipp: the definitions of plain_list.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/plain_list.hpp>

#include <cstring>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF plain_memory::plain_memory(const plain_memory& other) {
    const auto bytes = static_cast<std::size_t>(other.last_ - other.first_);
    if (bytes == 0) return;
    grow(bytes);
    std::memcpy(first_, other.first_, bytes);
    last_ = first_ + bytes;
}

CKPT_DETAIL_DEF plain_memory::plain_memory(plain_memory&& other) noexcept
    : first_{std::exchange(other.first_, nullptr)},
      last_{std::exchange(other.last_, nullptr)},
      end_{std::exchange(other.end_, nullptr)} {}

CKPT_DETAIL_DEF plain_memory& plain_memory::operator=(plain_memory other) noexcept {
    std::swap(first_, other.first_);
    std::swap(last_, other.last_);
    std::swap(end_, other.end_);
    return *this;
}

CKPT_DETAIL_DEF plain_memory::~plain_memory() { ::operator delete(first_); }

CKPT_DETAIL_RARE plain_memory plain_memory::larger(std::size_t bytes) const {
    const auto used = static_cast<std::size_t>(last_ - first_);
    const auto room = static_cast<std::size_t>(end_ - first_);
    // More than half of the address space is asked of the allocator, which refuses it.
    const std::size_t needed = bytes > ~std::size_t{0} / 2 - used ? ~std::size_t{0} / 2 : used + bytes;
    const std::size_t wanted = needed > 2 * room ? needed : 2 * room;
    plain_memory out;
    out.first_ = static_cast<std::byte*>(::operator new(wanted));
    if (used != 0)
        std::memmove(out.first_, first_, used); // of memcpy GCC 14 warns at -O3: half of memory would overlap
    out.last_ = out.first_ + used;
    out.end_ = out.first_ + wanted;
    return out;
}

CKPT_DETAIL_DEF void plain_memory::grow(std::size_t bytes) { *this = larger(bytes); }

CKPT_DETAIL_DEF void plain_memory::append_grown(const void* value, std::size_t bytes) {
    plain_memory grown = larger(bytes);
    std::memcpy(grown.last_, value, bytes);
    grown.last_ += bytes;
    *this = std::move(grown);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
