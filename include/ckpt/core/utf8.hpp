// ckpt/core/utf8.hpp: UTF-8, surrogates and hexadecimal digits.
//
// SPDX-License-Identifier: MIT
// In:      bytes, code points, hexadecimal digits.
// Out:     whether they are UTF-8; a code point's bytes; whether it can be seen; a digit's value.
// Refuses: nothing.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Length of the valid UTF-8 sequence at `text[at]`, or 0. Surrogates are not valid here.
[[nodiscard]] constexpr std::size_t utf8_length(std::string_view text, std::size_t at) noexcept {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned lead = byte(at);
    if (lead < 0x80) return 1;
    const std::size_t n = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || at + n > text.size()) return 0;
    for (std::size_t i = 1; i < n; ++i)
        if ((byte(at + i) & 0xC0) != 0x80) return 0;
    const unsigned second = byte(at + 1);
    if (lead == 0xE0 && second < 0xA0) return 0;
    if (lead == 0xED && second > 0x9F) return 0;
    if (lead == 0xF0 && second < 0x90) return 0;
    if (lead == 0xF4 && second > 0x8F) return 0;
    return n;
}

/// Whether a surrogate begins at `text[at]`, as the three bytes of Python's "surrogatepass": ED A0 80 for U+D800.
[[nodiscard]] constexpr bool surrogate_at(std::string_view text, std::size_t at) noexcept {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
    return text.size() - at >= 3 && byte(0) == 0xED && (byte(1) & 0xE0) == 0xA0 && (byte(2) & 0xC0) == 0x80;
}

/// The code point at `text[at]`, which begins a valid sequence of `length` bytes, or a surrogate (3).
[[nodiscard]] constexpr std::uint32_t utf8_point(std::string_view text, std::size_t at, std::size_t length) noexcept {
    const auto byte = [&](std::size_t i) {
        return static_cast<std::uint32_t>(static_cast<unsigned char>(text[at + i]));
    };
    if (length == 1) return byte(0);
    std::uint32_t point = byte(0) & (0x7Fu >> length);
    for (std::size_t i = 1; i < length; ++i) point = (point << 6) | (byte(i) & 0x3F);
    return point;
}

/// Whether a code point shows nothing, or changes how a terminal or a reader shows what follows: control characters,
/// bidirectional marks, overrides and isolates, zero-width characters, line separators, the byte order mark, tags and
/// variation selectors.
[[nodiscard]] constexpr bool invisible(std::uint32_t point) noexcept {
    return point < 0x20 || (point >= 0x7F && point < 0xA0) || point == 0xAD || point == 0x061C || point == 0x180E ||
           (point >= 0x200B && point <= 0x200F) || (point >= 0x2028 && point <= 0x202E) ||
           (point >= 0x2060 && point <= 0x206F) || point == 0xFEFF || (point >= 0xFFF9 && point <= 0xFFFB) ||
           (point >= 0xE0000 && point <= 0xE0FFF);
}

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

/// Checks UTF-8 as CPython's "surrogatepass" does. Surrogates are allowed; text that has some is `surrogates`.
[[nodiscard]] utf8_verdict check_utf8(std::string_view text) noexcept;

/// Appends a code point, surrogates included (three bytes).
void append_code_point(std::string& out, std::uint32_t point);

/// The value of a hexadecimal digit in upper or lower case; -1 for other characters.
[[nodiscard]] int hex_digit(char c) noexcept;

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/utf8.ipp>
#endif
