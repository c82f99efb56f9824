// ckpt/pickle/text.hpp: the text forms inside a pickle.
//
// SPDX-License-Identifier: MIT
// In:      bytes of one argument, without its line end.
// Out:     numbers, UTF-8, unescaped strings.
// Refuses: everything that CPython refuses there; a false answer becomes errc::pickle_text with a place.
#pragma once

#include <ckpt/core/error.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

enum class utf8_verdict : std::uint8_t { invalid, valid, surrogates };

/// Whether all bytes are below 128, eight at a time; the last word repeats bytes of the one before.
[[nodiscard]] inline bool is_ascii(std::string_view text) noexcept {
    const char* const p = text.data();
    const std::size_t n = text.size();
    const auto word = [p]<class T>(std::size_t at, T value) -> std::uint64_t {
        std::memcpy(&value, p + at, sizeof value);
        return value;
    };
    std::uint64_t all = 0;
    if (n >= 8) {
        for (std::size_t i = 0; i + 8 < n; i += 8) all |= word(i, std::uint64_t{});
        all |= word(n - 8, std::uint64_t{});
    } else if (n >= 4) {
        all = word(0, std::uint32_t{}) | word(n - 4, std::uint32_t{});
    } else if (n > 0) {
        all = word(0, std::uint8_t{}) | word(n / 2, std::uint8_t{}) | word(n - 1, std::uint8_t{});
    }
    return (all & 0x8080'8080'8080'8080u) == 0;
}

/// Judges UTF-8 as CPython's "surrogatepass" does: lone surrogates are allowed, and told.
[[nodiscard]] inline utf8_verdict check_utf8(std::string_view text) noexcept {
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
        const auto byte = [&](std::size_t k) { return static_cast<unsigned char>(text[i + k]); };
        if (text.size() - i < 3 || byte(0) != 0xED || byte(1) < 0xA0 || byte(1) > 0xBF || (byte(2) & 0xC0) != 0x80)
            return utf8_verdict::invalid;
        surrogates = true;
        i += 3;
    }
}

/// Appends a code point, surrogates included (three bytes).
inline void append_code_point(std::string& out, std::uint32_t point) {
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

[[nodiscard]] inline int hex_digit(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/// Undoes the escapes of a Python 2 `repr`: STRING's argument without its quotes.
[[nodiscard]] inline bool unescape_string(std::string_view text, std::string& out) {
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '\\') {
            out += text[i];
            continue;
        }
        if (++i == text.size()) return false;
        switch (const char c = text[i]) {
        case '\n': break;
        case '\\': case '\'': case '"': out += c; break;
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

/// Undoes raw-unicode-escape: UNICODE's argument. Other bytes are Latin-1.
[[nodiscard]] inline bool unescape_unicode(std::string_view text, std::string& out) {
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

/// A double as Python's `repr` writes it, with nan, inf and -inf.
[[nodiscard]] inline bool parse_real(std::string_view text, double& out) noexcept {
    if (text.starts_with('+')) text.remove_prefix(text.starts_with("+-") ? 0 : 1); // from_chars knows no plus
    if (text.empty() || text.find('(') != std::string_view::npos) return false;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), out);
    return failure == std::errc{} && end == text.data() + text.size();
}

/// The least number of bytes that hold the same two's complement integer, so that equal ones are equal as bytes.
[[nodiscard]] inline std::string_view minimal_integer(std::string_view bytes) noexcept {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
    std::size_t n = bytes.size();
    while (n > 1 && ((byte(n - 1) == 0x00 && byte(n - 2) < 0x80) || (byte(n - 1) == 0xFF && byte(n - 2) >= 0x80))) --n;
    return bytes.substr(0, n);
}

/// A decimal integer as Python writes it. `number` is set and `bytes` left empty where it has at most 18 digits;
/// `bytes` (two's complement, little-endian) otherwise. Leading zeros, blanks and underscores are refused. Quadratic in
/// the digits, which the caller has limited, but by nine digits and four bytes at a time.
[[nodiscard]] inline bool parse_integer(std::string_view text, std::int64_t& number, std::string& bytes) {
    const bool negative = text.starts_with('-');
    std::string_view digits = text.substr(negative || text.starts_with('+') ? 1 : 0);
    if (digits.empty() || (digits.size() > 1 && digits[0] == '0')) return false;
    for (const char c : digits)
        if (c < '0' || c > '9') return false;
    if (digits.size() <= 18) {
        number = 0;
        for (const char c : digits) number = number * 10 + (c - '0');
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
        for (unsigned shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(static_cast<unsigned char>((limb >> shift) & 0xFF));
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

/// A little-endian two's complement integer of any length; false where it does not fit in 64 bits.
[[nodiscard]] inline bool fits_in_64_bits(std::string_view bytes, std::int64_t& out) noexcept {
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
