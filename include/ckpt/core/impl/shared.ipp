// ckpt/core/impl/shared.ipp: the definitions of shared.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/shared.hpp>

#include <atomic>
#include <cstdint>
#include <new>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

using reference_count = std::atomic<std::uint32_t>;

inline reference_count& count_in(unsigned char* place) noexcept {
    return *std::launder(reinterpret_cast<reference_count*>(place));
}

CKPT_DETAIL_DEF counted::counted() noexcept {
    static_assert(sizeof(reference_count) == sizeof count_ && alignof(reference_count) <= alignof(std::uint32_t));
    ::new (static_cast<void*>(count_)) reference_count{0};
}

CKPT_DETAIL_DEF counted::~counted() = default;

CKPT_DETAIL_DEF void counted::retain() const noexcept { count_in(count_).fetch_add(1, std::memory_order_relaxed); }

CKPT_DETAIL_DEF void counted::release() const noexcept {
    if (count_in(count_).fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
