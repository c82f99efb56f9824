// ckpt/write/gguf_format.hpp: numbers and text as GGUF has them.
//
// SPDX-License-Identifier: MIT
// In:      numbers, text.
// Out:     their bytes, behind others.
// Refuses: nothing.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::gguf {

/// Appends a number, least byte first.
inline void append_le(std::string& out, std::uint64_t bits, unsigned bytes) {
    for (unsigned i = 0; i < bytes; ++i) out += static_cast<char>(static_cast<unsigned char>(bits >> (8 * i)));
}
inline void append_string(std::string& out, std::string_view text) {
    append_le(out, text.size(), 8);
    out += text;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::gguf
