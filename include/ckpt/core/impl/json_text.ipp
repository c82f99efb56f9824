// ckpt/core/impl/json_text.ipp: the definitions of json_text.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/json_text.hpp>
#include <ckpt/core/utf8.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF void append_json(std::string& out, std::string_view text) {
    const auto unit = [&out](std::uint32_t x) {
        constexpr char digits[] = "0123456789abcdef";
        out += "\\u";
        for (int shift = 12; shift >= 0; shift -= 4) out += digits[(x >> shift) & 15u];
    };
    out += '"';
    for (std::size_t i = 0; i < text.size();) {
        const auto c = static_cast<unsigned char>(text[i]);
        std::size_t n = utf8_length(text, i);
        if (n == 0 && surrogate_at(text, i)) unit(utf8_point(text, i, n = 3));
        else if (n == 0) unit(0xDC00u + c);
        else if (c == '"' || c == '\\') (out += '\\') += text[i];
        else if (c == '\n') out += "\\n";
        else if (c == '\t') out += "\\t";
        else if (c < 0x20 || c == 0x7F) unit(c);
        else out.append(text.substr(i, n));
        i += n == 0 ? 1 : n;
    }
    out += '"';
}

/// Reads the four digits behind \u.
[[nodiscard]] inline bool read_json_unit(std::string_view text, std::size_t& at, std::uint32_t& out) noexcept {
    if (text.size() - at < 4) return false;
    out = 0;
    for (int i = 0; i < 4; ++i) {
        const int digit = hex_digit(text[at++]);
        if (digit < 0) return false;
        out = out << 4 | static_cast<std::uint32_t>(digit);
    }
    return true;
}

/// Reads the rest of an escape, behind its backslash.
[[nodiscard]] CKPT_DETAIL_COLD inline bool read_json_escape(std::string_view text, std::size_t& at, std::string& out,
                                                            json_dialect dialect) {
    if (at >= text.size()) return false;
    const char c = text[at++];
    constexpr std::string_view from = "\"\\/bfnrt";
    constexpr std::string_view to = "\"\\/\b\f\n\r\t";
    if (const std::size_t i = from.find(c); i != std::string_view::npos) {
        out += to[i];
        return true;
    }
    std::uint32_t point = 0;
    if (c != 'u' || !read_json_unit(text, at, point)) return false;
    bool alone = point >= 0xD800 && point < 0xE000;
    if (point >= 0xD800 && point < 0xDC00) { // a high surrogate: the low one must follow
        std::size_t behind = at;
        const auto take = [&](char wanted) { return behind < text.size() && text[behind] == wanted && ++behind > 0; };
        std::uint32_t low = 0;
        const bool pair = take('\\') && take('u') && read_json_unit(text, behind, low) && low >= 0xDC00 && low < 0xE000;
        if (pair) point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
        if (pair || dialect == json_dialect::rfc_8259) at = behind;
        alone = !pair;
    }
    if (alone && dialect == json_dialect::rfc_8259) return false;
    append_code_point(out, point);
    return true;
}

CKPT_DETAIL_DEF std::string_view unescape_json(std::string_view text, std::size_t& at, std::string& out,
                                               json_dialect dialect) {
    while (at < text.size()) {
        const char c = text[at];
        if (static_cast<unsigned char>(c) < 0x20 && dialect == json_dialect::rfc_8259)
            return "a control character in a string";
        ++at;
        if (c == '"') return {};
        if (c != '\\') out += c;
        else if (!read_json_escape(text, at, out, dialect)) return "an escape that means nothing, or a lone surrogate";
    }
    return "a string that does not end";
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
