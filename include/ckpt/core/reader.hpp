// ckpt/core/reader.hpp: numbers at a place in memory, and a cursor that cannot leave its bytes.
//
// SPDX-License-Identifier: MIT
// In:      bytes that are already in memory.
// Out:     little-endian or big-endian unsigned numbers, whatever the machine's order and alignment.
// Refuses: to read past the end: `reader` returns false and does not move.
#pragma once

#include <ckpt/core/byte_order.hpp>
#include <ckpt/core/config.hpp>

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

static_assert(std::endian::native == std::endian::little || std::endian::native == std::endian::big);

[[nodiscard]] constexpr byte_order native_order() noexcept {
    return std::endian::native == std::endian::little ? byte_order::little : byte_order::big;
}

template <std::unsigned_integral T> [[nodiscard]] CKPT_DETAIL_HOST_DEVICE constexpr T byte_swap(T value) noexcept {
    T out{};
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        out = static_cast<T>(static_cast<T>(out << 8) | static_cast<T>(value & 0xFFu));
        value = static_cast<T>(value >> 8);
    }
    return out;
}
template <> [[nodiscard]] CKPT_DETAIL_HOST_DEVICE constexpr std::uint8_t byte_swap(std::uint8_t value) noexcept {
    return value;
}

/// The number whose bytes begin at `at`; the caller has checked that they are there.
template <std::unsigned_integral T> [[nodiscard]] inline T load(const std::byte* at, byte_order order) noexcept {
    T value{};
    std::memcpy(&value, at, sizeof value);
    return order == native_order() ? value : byte_swap(value);
}
template <std::unsigned_integral T> [[nodiscard]] inline T load_le(const std::byte* at) noexcept {
    return load<T>(at, byte_order::little);
}

/// A cursor over bytes. Every `take` checks what remains before it touches anything.
class reader {
  public:
    explicit reader(std::span<const std::byte> bytes) noexcept
        : begin_{bytes.data()}, at_{bytes.data()}, end_{bytes.data() + bytes.size()} {}

    [[nodiscard]] std::uint64_t offset() const noexcept { return static_cast<std::uint64_t>(at_ - begin_); }
    [[nodiscard]] std::uint64_t remaining() const noexcept { return static_cast<std::uint64_t>(end_ - at_); }

    template <std::unsigned_integral T>
    [[nodiscard]] bool take(T& out, byte_order order = byte_order::little) noexcept {
        if (remaining() < sizeof(T)) return false;
        out = load<T>(at_, order);
        at_ += sizeof(T);
        return true;
    }
    [[nodiscard]] bool take(std::uint64_t length, std::span<const std::byte>& out) noexcept {
        if (remaining() < length) return false;
        out = {at_, static_cast<std::size_t>(length)};
        at_ += length;
        return true;
    }

  private:
    const std::byte* begin_;
    const std::byte* at_;
    const std::byte* end_;
};

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI
