// ckpt/pickle/impl/text.ipp: the definitions of text.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/pickle/text.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE bool unescape_string(std::string_view text, std::string& out) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\\') {
            out += text[i];
            continue;
        }
        if (++i == text.size()) return false;
        switch (const char c = text[i]) {
        case '\n': break;
        case '\\':
        case '\'':
        case '"': out += c; break;
        case 'a': out += '\a'; break;
        case 'b': out += '\b'; break;
        case 'f': out += '\f'; break;
        case 'n': out += '\n'; break;
        case 'r': out += '\r'; break;
        case 't': out += '\t'; break;
        case 'v': out += '\v'; break;
        case 'x': {
            if (i + 2 >= text.size()) return false;
            const int high = hex_digit(text[i + 1]);
            const int low = hex_digit(text[i + 2]);
            if (high < 0 || low < 0) return false;
            out += static_cast<char>(static_cast<unsigned char>(high * 16 + low));
            i += 2;
            break;
        }
        default:
            if (c >= '0' && c <= '7') {
                unsigned value = 0;
                std::size_t k = 0;
                for (; k < 3 && i + k < text.size() && text[i + k] >= '0' && text[i + k] <= '7'; ++k)
                    value = value * 8 + static_cast<unsigned>(text[i + k] - '0');
                if (value > 0xFF) return false;
                out += static_cast<char>(static_cast<unsigned char>(value));
                i += k - 1;
            } else {
                out += '\\'; // Python keeps a backslash that begins no escape
                out += c;
            }
        }
    }
    return true;
}

CKPT_DETAIL_RARE bool unescape_unicode(std::string_view text, std::string& out) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\\' || i + 1 == text.size()) {
            append_code_point(out, static_cast<unsigned char>(text[i]));
            continue;
        }
        const char c = text[++i];
        if (c != 'u' && c != 'U') {
            out += '\\';
            append_code_point(out, static_cast<unsigned char>(c));
            continue;
        }
        const std::size_t digits = c == 'u' ? 4 : 8;
        if (text.size() - i - 1 < digits) return false;
        std::uint32_t point = 0;
        for (std::size_t k = 1; k <= digits; ++k) {
            const int d = hex_digit(text[i + k]);
            if (d < 0) return false;
            point = point * 16 + static_cast<std::uint32_t>(d);
        }
        if (point > 0x10FFFF) return false;
        append_code_point(out, point);
        i += digits;
    }
    return true;
}

CKPT_DETAIL_DEF bool parse_real(std::string_view text, double& out) noexcept {
    if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
    return parse_double(text, out);
}

CKPT_DETAIL_DEF std::string_view minimal_integer(std::string_view bytes) noexcept {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
    std::size_t n = bytes.size();
    while (n > 1 && ((byte(n - 1) == 0x00 && byte(n - 2) < 0x80) || (byte(n - 1) == 0xFF && byte(n - 2) >= 0x80))) --n;
    return bytes.substr(0, n);
}

CKPT_DETAIL_RARE bool parse_integer(std::string_view text, std::int64_t& number, std::string& bytes) {
    const bool negative = text.starts_with('-');
    std::string_view digits = text.substr(negative || text.starts_with('+') ? 1 : 0);
    if (digits.empty() || (digits.size() > 1 && digits[0] == '0')) return false;
    for (const char c : digits)
        if (!is_digit(c)) return false;
    if (digits.size() <= 18) {
        (void)parse_decimal(digits, number);
        if (negative) number = -number;
        return true;
    }
    std::vector<std::uint32_t> limbs;
    for (std::size_t i = 0; i < digits.size();) {
        std::uint64_t carry = 0;
        std::uint64_t scale = 1;
        for (const std::size_t end = (std::min)(i + 9, digits.size()); i < end; ++i, scale *= 10)
            carry = carry * 10 + static_cast<std::uint64_t>(digits[i] - '0');
        for (std::uint32_t& limb : limbs) {
            carry += scale * limb;
            limb = static_cast<std::uint32_t>(carry & 0xFFFF'FFFFu);
            carry >>= 32;
        }
        if (carry != 0) limbs.push_back(static_cast<std::uint32_t>(carry));
    }
    for (const std::uint32_t limb : limbs)
        for (unsigned shift = 0; shift < 32; shift += 8)
            bytes += static_cast<char>(static_cast<unsigned char>((limb >> shift) & 0xFF));
    bytes += '\0'; // the sign
    if (negative) {
        unsigned carry = 1;
        for (char& b : bytes) {
            carry += static_cast<unsigned char>(~static_cast<unsigned char>(b));
            b = static_cast<char>(static_cast<unsigned char>(carry & 0xFF));
            carry >>= 8;
        }
    }
    return true;
}

CKPT_DETAIL_DEF bool fits_in_64_bits(std::string_view bytes, std::int64_t& out) noexcept {
    std::size_t n = bytes.size();
    const bool negative = n > 0 && (static_cast<unsigned char>(bytes[n - 1]) & 0x80) != 0;
    const auto fill = static_cast<unsigned char>(negative ? 0xFF : 0);
    while (n > 8 && static_cast<unsigned char>(bytes[n - 1]) == fill) --n;
    if (n > 8) return false;
    std::uint64_t value = negative ? ~std::uint64_t{0} : 0;
    for (std::size_t i = n; i-- > 0;) value = (value << 8) | static_cast<unsigned char>(bytes[i]);
    out = static_cast<std::int64_t>(value);
    // Eight bytes whose sign differs from that of the bytes that were left out do not fit.
    return (out < 0) == negative;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
