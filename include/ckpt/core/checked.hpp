// ckpt/core/checked.hpp: arithmetic on numbers that come from a file.
//
// SPDX-License-Identifier: MIT
// In:      unsigned 64-bit operands.
// Out:     true and the result, or false where the result does not fit.
// Refuses: nothing; the caller turns false into an error with a place.
#pragma once

#include <ckpt/core/config.hpp>

#include <concepts>
#include <cstdint>
#include <limits>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

[[nodiscard]] constexpr bool checked_add(std::uint64_t a, std::uint64_t b, std::uint64_t& out) noexcept {
    out = a + b;
    return out >= a;
}

[[nodiscard]] constexpr bool checked_mul(std::uint64_t a, std::uint64_t b, std::uint64_t& out) noexcept {
    out = a * b;
    return a == 0 || out / a == b;
}

/// Whether `value` is representable in `To`; `out` is set only then.
template <std::integral To, std::integral From>
[[nodiscard]] constexpr bool checked_narrow(From value, To& out) noexcept {
    if (!std::in_range<To>(value)) return false;
    out = static_cast<To>(value);
    return true;
}

/// factor * units + extra, or all ones (no limit) where that does not fit. Budgets are computed from sizes with it: 64
/// steps for each byte of a pickle, plus one million.
[[nodiscard]] constexpr std::uint64_t budget_for(std::uint64_t factor, std::uint64_t units,
                                                 std::uint64_t extra) noexcept {
    std::uint64_t out{};
    return checked_mul(factor, units, out) && checked_add(out, extra, out) ? out : ~std::uint64_t{0};
}

/// Whether [offset, offset + length) lies in [0, size); never wraps.
[[nodiscard]] constexpr bool range_inside(std::uint64_t offset, std::uint64_t length, std::uint64_t size) noexcept {
    return offset <= size && length <= size - offset;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
