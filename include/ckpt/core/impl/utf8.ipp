// ckpt/core/impl/utf8.ipp: the definitions of utf8.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/utf8.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF utf8_verdict check_utf8(std::string_view text) noexcept {
    if (is_ascii(text)) return utf8_verdict::valid;
    std::size_t i = 0;
    bool surrogates = false;
    while (true) {
        while (text.size() - i >= 8) {
            std::uint64_t word{};
            std::memcpy(&word, text.data() + i, 8);
            if ((word & 0x8080'8080'8080'8080u) != 0) break;
            i += 8;
        }
        if (i == text.size()) return surrogates ? utf8_verdict::surrogates : utf8_verdict::valid;
        if (const std::size_t n = utf8_length(text, i); n != 0) {
            i += n;
            continue;
        }
        if (!surrogate_at(text, i)) return utf8_verdict::invalid;
        surrogates = true;
        i += 3;
    }
}

CKPT_DETAIL_DEF void append_code_point(std::string& out, std::uint32_t point) {
    const auto put = [&out](std::uint32_t byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
    if (point < 0x80) {
        put(point);
    } else if (point < 0x800) {
        put(0xC0 | (point >> 6));
        put(0x80 | (point & 0x3F));
    } else if (point < 0x10000) {
        put(0xE0 | (point >> 12));
        put(0x80 | ((point >> 6) & 0x3F));
        put(0x80 | (point & 0x3F));
    } else {
        put(0xF0 | (point >> 18));
        put(0x80 | ((point >> 12) & 0x3F));
        put(0x80 | ((point >> 6) & 0x3F));
        put(0x80 | (point & 0x3F));
    }
}

CKPT_DETAIL_DEF int hex_digit(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
