// ckpt/core/number.hpp: numbers from text, and text from numbers.
//
// SPDX-License-Identifier: MIT
// In:      decimal text; integers and doubles.
// Out:     the integer, or the double that is nearest to what was written; digits, the shortest that read back alike.
// Refuses: what is no number from its first to its last byte, and what does not fit.
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

/// Takes the digits that `text` begins with; zeros may lead, as in "007". False where there is none, and where they
/// mean more than `most`: `out` is left alone then, and `text` begins with the digit that is too much.
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

/// The same for any unsigned type, which also says how much is too much.
template <class Unsigned> constexpr bool take_decimal(std::string_view& text, Unsigned& out) noexcept {
    static_assert(std::is_unsigned_v<Unsigned>);
    std::uint64_t number = 0;
    if (!take_digits(text, static_cast<Unsigned>(-1), number)) return false;
    out = static_cast<Unsigned>(number);
    return true;
}

/// Reads a text that is a decimal integer as a whole, as "42"; for signed types also "-42". `out` is left alone where
/// it is none.
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

/// Reads a text that is a decimal number as a whole: "-1.5e-3", "1.", ".5", "inf", "infinity", "nan" (in any case, with
/// a minus). Rounds to the nearest double, to the even one of two. False where that is infinite, or zero although a
/// digit is not; `out` is left alone then.
[[nodiscard]] bool parse_double(std::string_view text, double& out) noexcept;

/// Writes the digits of `value` in `base` so that they end at `end`, where 20 bytes are enough. Returns where they
/// begin.
inline char* write_digits(std::uint64_t value, unsigned base, char* end) noexcept {
    do *--end = "0123456789abcdef"[value % base];
    while ((value /= base) != 0);
    return end;
}

[[nodiscard]] std::string decimal_unsigned(std::uint64_t value);
[[nodiscard]] std::string decimal_signed(std::int64_t value);

/// "42". A template, because size_t is another type than uint64_t on some systems, and neither of two functions is
/// better then.
template <class Integer> [[nodiscard]] std::string decimal(Integer value) {
    static_assert(std::is_integral_v<Integer>);
    if constexpr (std::is_signed_v<Integer>) return decimal_signed(value);
    else return decimal_unsigned(value);
}

/// "0x1f".
[[nodiscard]] std::string hexadecimal(std::uint64_t value);

/// The least digits that parse_double reads back as `value`, and of those the nearest to it, in the shorter of the
/// forms "1250.5" and "1e+23". A whole number has no point, as in "3". What is not finite is "inf", "-inf", "nan" or
/// "-nan".
[[nodiscard]] std::string shortest(double value);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/number.ipp>
#endif
