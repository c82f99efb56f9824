// ckpt/core/impl/json_text.ipp: the definitions of json_text.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/json_text.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF void append_json(std::string& out, std::string_view text) {
    const auto unit = [&out](unsigned x) {
        constexpr char digits[] = "0123456789abcdef";
        out += "\\u";
        for (int shift = 12; shift >= 0; shift -= 4) out += digits[(x >> shift) & 15u];
    };
    out += '"';
    for (std::size_t i = 0; i < text.size();) {
        const auto c = static_cast<unsigned char>(text[i]);
        const std::size_t n = utf8_length(text, i);
        if (n == 0) unit(0xDC00u + c);
        else if (c == '"' || c == '\\') (out += '\\') += text[i];
        else if (c == '\n') out += "\\n";
        else if (c == '\t') out += "\\t";
        else if (c < 0x20 || c == 0x7F) unit(c);
        else out.append(text.substr(i, n));
        i += n == 0 ? 1 : n;
    }
    out += '"';
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
