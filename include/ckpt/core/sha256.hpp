// ckpt/core/sha256.hpp: SHA-256 (FIPS 180-4).
//
// SPDX-License-Identifier: MIT
// In:      text, in pieces.
// Out:     its digest as 64 hexadecimal digits.
// Refuses: nothing.
#pragma once

#include <ckpt/core/config.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The 8 hexadecimal digits of a word.
void append_hex(std::string& out, std::uint32_t word);

class sha256 {
  public:
    void add(std::string_view text) noexcept;
    /// The digest of all that was added. Ends the text: to be called once.
    [[nodiscard]] std::string digest();

  private:
    void mix() noexcept;

    // The first 32 bits of the fractional parts of the square roots of the first 8 primes.
    std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    std::array<unsigned char, 64> block_{};
    std::uint64_t length_{0};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/sha256.ipp>
#endif
