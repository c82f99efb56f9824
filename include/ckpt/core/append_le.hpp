// ckpt/core/append_le.hpp: numbers as files have them.
//
// SPDX-License-Identifier: MIT
// In:      numbers.
// Out:     their bytes, behind others.
// Refuses: nothing.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstdint>
#include <string>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Appends a number of so many bytes, least byte first.
inline void append_le(std::string& out, std::uint64_t bits, unsigned bytes) {
    for (unsigned i = 0; i < bytes; ++i) out += static_cast<char>(static_cast<unsigned char>(bits >> (8 * i)));
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
