// ckpt/write/gguf_format.hpp: text as GGUF has it.
//
// SPDX-License-Identifier: MIT
// In:      text.
// Out:     its length and bytes, behind others.
// Refuses: nothing.
#pragma once

#include <ckpt/core/append_le.hpp>

#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::gguf {

inline void append_string(std::string& out, std::string_view text) {
    append_le(out, text.size(), 8);
    out += text;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::gguf
