// ckpt/core/impl/shared.ipp: the definitions of shared.hpp.
//
// SPDX-License-Identifier: MIT
//
// Uses the compiler's built-in atomic operations: <atomic> would add 3,000 lines to every program.
#pragma once

#include <ckpt/core/shared.hpp>

#include <cstdint>

#if defined(_MSC_VER) && !defined(__clang__)
extern "C" long _InterlockedIncrement(volatile long*);
extern "C" long _InterlockedDecrement(volatile long*);
#pragma intrinsic(_InterlockedIncrement, _InterlockedDecrement)
#endif

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF counted::~counted() = default;

CKPT_DETAIL_DEF void counted::retain() const noexcept {
#if defined(_MSC_VER) && !defined(__clang__)
    (void)_InterlockedIncrement(reinterpret_cast<long volatile*>(&count_));
#else
    (void)__atomic_add_fetch(&count_, std::uint32_t{1}, __ATOMIC_RELAXED);
#endif
}

CKPT_DETAIL_DEF void counted::release() const noexcept {
#if defined(_MSC_VER) && !defined(__clang__)
    const bool last = _InterlockedDecrement(reinterpret_cast<long volatile*>(&count_)) == 0;
#else
    const bool last = __atomic_sub_fetch(&count_, std::uint32_t{1}, __ATOMIC_ACQ_REL) == 0;
#endif
    if (last) delete this;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
