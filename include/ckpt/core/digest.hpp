// ckpt/core/digest.hpp: the CRC-32 of zip archives and of tensor digests.
//
// SPDX-License-Identifier: MIT
// In:      bytes, in pieces.
// Out:     the checksum that zlib's crc32 gives.
// Refuses: nothing. It finds accidents, not adversaries.
#pragma once

#include <ckpt/core/reader.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Table k gives what a byte does to the checksum when k more bytes follow it.
struct crc32_tables {
    std::uint32_t row[16][256]{};

    consteval crc32_tables() {
        for (std::uint32_t i = 0; i < 256; ++i) {
            std::uint32_t value = i;
            for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1u) != 0 ? 0xEDB8'8320u : 0u);
            row[0][i] = value;
        }
        for (std::uint32_t i = 0; i < 256; ++i)
            for (std::size_t k = 1; k < 16; ++k) row[k][i] = (row[k - 1][i] >> 8) ^ row[0][row[k - 1][i] & 0xFFu];
    }
};
inline constexpr crc32_tables crc32_table{};

/// The checksum of what gave `crc` followed by `bytes`; 0 is the checksum of nothing.
[[nodiscard]] inline std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t crc = 0) noexcept {
    const auto& t = crc32_table.row;
    const std::byte* at = bytes.data();
    std::size_t left = bytes.size();
    crc = ~crc;
    for (; left >= 16; left -= 16, at += 16) {
        const std::uint32_t a = load_le<std::uint32_t>(at) ^ crc;
        const std::uint32_t b = load_le<std::uint32_t>(at + 4);
        const std::uint32_t c = load_le<std::uint32_t>(at + 8);
        const std::uint32_t d = load_le<std::uint32_t>(at + 12);
        crc = t[15][a & 0xFFu] ^ t[14][(a >> 8) & 0xFFu] ^ t[13][(a >> 16) & 0xFFu] ^ t[12][a >> 24] ^
              t[11][b & 0xFFu] ^ t[10][(b >> 8) & 0xFFu] ^ t[9][(b >> 16) & 0xFFu] ^ t[8][b >> 24] ^ t[7][c & 0xFFu] ^
              t[6][(c >> 8) & 0xFFu] ^ t[5][(c >> 16) & 0xFFu] ^ t[4][c >> 24] ^ t[3][d & 0xFFu] ^
              t[2][(d >> 8) & 0xFFu] ^ t[1][(d >> 16) & 0xFFu] ^ t[0][d >> 24];
    }
    for (; left > 0; --left, ++at) crc = t[0][(crc ^ static_cast<std::uint32_t>(*at)) & 0xFFu] ^ (crc >> 8);
    return ~crc;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
