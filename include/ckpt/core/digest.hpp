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
#include <cstring>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// `row[k][b]` is the effect of byte `b` on the checksum when k more bytes follow it ("slicing by 16").
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

/// The register after `bytes`, without the inversions at both ends.
[[nodiscard]] inline std::uint32_t crc32_by_tables(std::span<const std::byte> bytes, std::uint32_t crc) noexcept {
    const auto& t = crc32_table.row;
    const std::byte* at = bytes.data();
    std::size_t left = bytes.size();
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
    return crc;
}

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__CUDACC__)
// Carry-less multiplication folds 64 bytes a step (V. Gopal et al., "Fast CRC Computation for Generic Polynomials Using
// PCLMULQDQ", Intel 2009). The constants are x^n mod P for the distances 512+-64 and 128+-64 bits, bit-reflected. The
// last 16 bytes, which have the same remainder as all of them, go through the tables.
using clmul_lanes = long long __attribute__((vector_size(16)));

[[nodiscard]] inline clmul_lanes clmul_load(const std::byte* at) noexcept {
    clmul_lanes out;
    std::memcpy(&out, at, sizeof out);
    return out;
}
[[nodiscard, gnu::target("pclmul")]] inline clmul_lanes clmul_fold(clmul_lanes value, clmul_lanes by,
                                                                   clmul_lanes next) noexcept {
    return __builtin_ia32_pclmulqdq128(value, by, 0x00) ^ __builtin_ia32_pclmulqdq128(value, by, 0x11) ^ next;
}
/// Four lanes of 16 bytes that have the same remainder as all bytes so far.
struct clmul_state {
    clmul_lanes lane[4];
};
inline constexpr clmul_lanes clmul_by_four{0x1'5444'2BD4, 0x1'C6E4'1596};
/// The register after what is folded in a state and a multiple of 16 bytes.
[[nodiscard, gnu::target("pclmul")]] inline std::uint32_t crc32_by_folding(std::span<const std::byte> bytes,
                                                                           clmul_state s) noexcept {
    constexpr clmul_lanes by_one{0x1'7519'97D0, 0x0'CCAA'009E};
    const std::byte* at = bytes.data();
    std::size_t left = bytes.size();
    clmul_lanes a = s.lane[0], b = s.lane[1], c = s.lane[2], d = s.lane[3];
    for (; left >= 64; left -= 64, at += 64) {
        a = clmul_fold(a, clmul_by_four, clmul_load(at));
        b = clmul_fold(b, clmul_by_four, clmul_load(at + 16));
        c = clmul_fold(c, clmul_by_four, clmul_load(at + 32));
        d = clmul_fold(d, clmul_by_four, clmul_load(at + 48));
    }
    a = clmul_fold(a, by_one, b);
    a = clmul_fold(a, by_one, c);
    a = clmul_fold(a, by_one, d);
    for (; left > 0; left -= 16, at += 16) a = clmul_fold(a, by_one, clmul_load(at));
    std::byte rest[16];
    std::memcpy(rest, &a, sizeof rest);
    return crc32_by_tables(rest, 0);
}
// Processors that multiply two lanes at once fold 256 bytes a step.
using clmul_pair = long long __attribute__((vector_size(32)));
#if defined(__clang__)
#define CKPT_DETAIL_CLMUL_PAIR __builtin_ia32_pclmulqdq256
#else
#define CKPT_DETAIL_CLMUL_PAIR __builtin_ia32_vpclmulqdq_v4di
#endif
[[gnu::target("avx2,vpclmulqdq")]] inline void clmul_fold(clmul_pair& value, const clmul_pair& by,
                                                          const void* next) noexcept {
    clmul_pair more;
    std::memcpy(&more, next, sizeof more);
    value = CKPT_DETAIL_CLMUL_PAIR(value, by, 0x00) ^ CKPT_DETAIL_CLMUL_PAIR(value, by, 0x11) ^ more;
}
/// Folds a multiple of 256 bytes, whose first ones are already in the state.
[[gnu::target("avx2,vpclmulqdq")]] inline void fold_pairs(std::span<const std::byte> bytes, clmul_state& s) noexcept {
    constexpr clmul_pair by_all{0x1'1542'778A, 0x1'322D'1430, 0x1'1542'778A, 0x1'322D'1430};
    constexpr clmul_pair by_four{0x1'5444'2BD4, 0x1'C6E4'1596, 0x1'5444'2BD4, 0x1'C6E4'1596};
    const std::byte* at = bytes.data();
    clmul_pair all[8];
    std::memcpy(all, at, sizeof all);
    std::memcpy(all, &s, sizeof s);
    for (std::size_t left = bytes.size() / sizeof all; --left > 0;) {
        at += sizeof all;
        clmul_fold(all[0], by_all, at);
        clmul_fold(all[1], by_all, at + 32);
        clmul_fold(all[2], by_all, at + 64);
        clmul_fold(all[3], by_all, at + 96);
        clmul_fold(all[4], by_all, at + 128);
        clmul_fold(all[5], by_all, at + 160);
        clmul_fold(all[6], by_all, at + 192);
        clmul_fold(all[7], by_all, at + 224);
    }
    for (std::size_t i = 2; i < 8; ++i) clmul_fold(all[i % 2], by_four, &all[i]);
    std::memcpy(&s, all, sizeof s);
}
#define CKPT_DETAIL_CLMUL 1
#else
#define CKPT_DETAIL_CLMUL 0
#endif

/// Continues a checksum by `bytes`. `crc` is the checksum of all bytes before them, 0 where there are none.
[[nodiscard]] inline std::uint32_t crc32(std::span<const std::byte> bytes, std::uint32_t crc = 0) noexcept {
    crc = ~crc;
#if CKPT_DETAIL_CLMUL
    if (bytes.size() >= 64 && __builtin_cpu_supports("pclmul")) {
        clmul_state state;
        std::memcpy(&state, bytes.data(), sizeof state);
        state.lane[0] ^= clmul_lanes{static_cast<long long>(crc), 0};
        std::size_t done = sizeof state;
        if (bytes.size() >= 512 && __builtin_cpu_supports("vpclmulqdq")) {
            done = bytes.size() & ~std::size_t{255};
            fold_pairs(bytes.first(done), state);
        }
        const std::size_t folded = bytes.size() & ~std::size_t{15};
        crc = crc32_by_folding(bytes.first(folded).subspan(done), state);
        bytes = bytes.subspan(folded);
    }
#endif
    return ~crc32_by_tables(bytes, crc);
}

/// The product of two polynomials modulo that of CRC-32, in the checksum's own order of bits: the highest is x^0.
[[nodiscard]] constexpr std::uint32_t crc32_multiply(std::uint32_t a, std::uint32_t b) noexcept {
    std::uint32_t out = 0;
    for (std::uint32_t bit = 0x8000'0000u; bit != 0; bit >>= 1) {
        if ((a & bit) != 0) out ^= b;
        b = (b >> 1) ^ ((b & 1u) != 0 ? 0xEDB8'8320u : 0u);
    }
    return out;
}

/// The checksum of two pieces joined, from the checksums of both and the length of the second in bytes. The first
/// checksum is multiplied by x^(8 * length), which has the effect of `length` zero bytes behind the first piece.
[[nodiscard]] constexpr std::uint32_t crc32_joined(std::uint32_t first, std::uint32_t second,
                                                   std::uint64_t length) noexcept {
    std::uint32_t power = 0x0080'0000u; // x^8
    for (; length != 0; length >>= 1) {
        if ((length & 1) != 0) first = crc32_multiply(first, power);
        power = crc32_multiply(power, power);
    }
    return first ^ second;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
