// ckpt/core/hash.hpp: hashes for tables that live in memory.
//
// SPDX-License-Identifier: MIT
// In:      bytes or a number.
// Out:     64 bits that spread well. They are not secret: every table that uses them bounds what collisions can cost.
// Refuses: nothing.
#pragma once

#include <ckpt/core/config.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t v) noexcept {
    v = (v ^ (v >> 32)) * 0x9FB2'1C65'1E98'DF25u;
    v = (v ^ (v >> 29)) * 0xD6E8'FEB8'6659'FD93u;
    return v ^ (v >> 32);
}

[[nodiscard]] inline std::uint64_t hash_bytes(std::string_view text) noexcept {
    std::uint64_t hash = text.size() * 0x9E37'79B9'7F4A'7C15u;
    std::size_t i = 0;
    for (; text.size() - i >= 8; i += 8) {
        std::uint64_t word{};
        std::memcpy(&word, text.data() + i, 8);
        hash = (std::rotl(hash, 29) ^ word) * 0xD6E8'FEB8'6659'FD93u;
    }
    std::uint64_t rest = 0;
    const std::size_t left = text.size() - i;
    if (left != 0 && i != 0) { // the last eight bytes without those that were read: one load in place of a call
        std::memcpy(&rest, text.data() + text.size() - 8, 8);
        const std::size_t known = 8 * (8 - left);
        rest = std::endian::native == std::endian::little ? rest >> known : rest << known;
    } else if (left != 0) {
        std::memcpy(&rest, text.data(), left);
    }
    return mix(hash ^ rest);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
