// ckpt/core/number.hpp: numbers from text, and text from numbers.
//
// SPDX-License-Identifier: MIT
// In:      decimal text; integers and doubles.
// Out:     the integer, or the nearest double; the shortest digits that read back as the same number.
// Refuses: text that is not a number as a whole, and numbers that do not fit.
//
// <charconv> would do the same, but libc++ has no from_chars for double before 20, and on Apple's systems to_chars for
// double needs macOS 13.3. Nothing here depends on the locale, on the rounding mode or on -ffast-math.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

[[nodiscard]] constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

/// Removes the digits at the beginning of `text` and sets `out` to their number; leading zeros are allowed: "007".
/// False without a digit, and for a number above `most`: `out` is not set then, and `text` begins with the digit that
/// exceeds.
constexpr bool take_digits(std::string_view& text, std::uint64_t most, std::uint64_t& out) noexcept {
    std::uint64_t number = 0;
    std::size_t n = 0;
    for (; n < text.size() && is_digit(text[n]); ++n) {
        const auto digit = static_cast<std::uint64_t>(text[n] - '0');
        if (digit > most || number > (most - digit) / 10) break;
        number = number * 10 + digit;
    }
    text.remove_prefix(n);
    if (n == 0 || (!text.empty() && is_digit(text[0]))) return false;
    out = number;
    return true;
}

/// The same for any unsigned type, whose largest value is the limit.
template <class Unsigned> constexpr bool take_decimal(std::string_view& text, Unsigned& out) noexcept {
    static_assert(std::is_unsigned_v<Unsigned>);
    std::uint64_t number = 0;
    if (!take_digits(text, static_cast<Unsigned>(-1), number)) return false;
    out = static_cast<Unsigned>(number);
    return true;
}

/// Whether the whole of `text` is a decimal integer that fits: "42", or for signed types "-42". `out` is set only then.
template <class Integer> [[nodiscard]] constexpr bool parse_decimal(std::string_view text, Integer& out) noexcept {
    using unsigned_type = std::make_unsigned_t<Integer>;
    const bool minus = std::is_signed_v<Integer> && text.starts_with('-');
    if (minus) text.remove_prefix(1);
    std::uint64_t most = static_cast<unsigned_type>(-1);
    if (std::is_signed_v<Integer>) most = most / 2 + (minus ? 1 : 0);
    std::uint64_t number = 0;
    if (!take_digits(text, most, number) || !text.empty()) return false;
    out = static_cast<Integer>(static_cast<unsigned_type>(minus ? std::uint64_t{0} - number : number));
    return true;
}

/// Whether the whole of `text` is a decimal number: "-1.5e-3", "1.", ".5", "inf", "infinity", "nan" (in upper or lower
/// case, with or without a minus). Rounds to the nearest double, ties to even. False where a number in digits would
/// become infinite, or zero although it is not. `out` is set only where true.
[[nodiscard]] bool parse_double(std::string_view text, double& out) noexcept;

/// Writes the digits of `value` in `base` (10 or 16) so that the last one is before `end`, and returns the first one.
/// At most 20 bytes are written.
inline char* write_digits(std::uint64_t value, unsigned base, char* end) noexcept {
    do *--end = "0123456789abcdef"[value % base];
    while ((value /= base) != 0);
    return end;
}
/// The same in decimal, with a minus where it is needed.
inline char* write_decimal(std::int64_t value, char* end) noexcept {
    const auto bits = static_cast<std::uint64_t>(value);
    char* begin = write_digits(value < 0 ? std::uint64_t{0} - bits : bits, 10, end);
    if (value < 0) *--begin = '-';
    return begin;
}

[[nodiscard]] std::string decimal_unsigned(std::uint64_t value);
[[nodiscard]] std::string decimal_signed(std::int64_t value);

/// "42". A template, because size_t is another type than uint64_t on some systems, where a call of two overloads would
/// be ambiguous.
template <class Integer> [[nodiscard]] std::string decimal(Integer value) {
    static_assert(std::is_integral_v<Integer>);
    if constexpr (std::is_signed_v<Integer>) return decimal_signed(value);
    else return decimal_unsigned(value);
}

/// "0x1f".
[[nodiscard]] std::string hexadecimal(std::uint64_t value);

/// The fewest digits that parse_double reads back as `value`, and of those the nearest to it; in the form "1250.5" or
/// "1e+23", whichever is shorter. A whole number has no point: "3". Other values are "inf", "-inf", "nan" and "-nan".
[[nodiscard]] std::string shortest(double value);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/number.ipp>
#endif
