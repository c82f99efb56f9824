// ckpt/pickle/text.hpp: parses text arguments of opcodes, and long integers.
//
// SPDX-License-Identifier: MIT
// In:      bytes of one argument, without its line end.
// Out:     numbers, UTF-8, unescaped strings.
// Refuses: what CPython refuses there: the functions return false, and the machine fails with errc::pickle_text.
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/utf8.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Unescapes a Python 2 string literal: the argument of STRING, without its quotes.
[[nodiscard]] bool unescape_string(std::string_view text, std::string& out);

/// Decodes raw-unicode-escape, the argument of UNICODE, to UTF-8. Bytes outside escapes are Latin-1.
[[nodiscard]] bool unescape_unicode(std::string_view text, std::string& out);

/// Parses a double as Python's `repr` writes it, including nan, inf and -inf.
[[nodiscard]] bool parse_real(std::string_view text, double& out) noexcept;

/// Removes redundant sign bytes from a little-endian two's complement integer, so that equal integers have equal bytes.
[[nodiscard]] std::string_view minimal_integer(std::string_view bytes) noexcept;

/// Parses a decimal integer as Python writes it; no leading zeros, blanks or underscores. Sets `number` where it has at
/// most 18 digits, and otherwise `bytes` (two's complement, little-endian). Takes time quadratic in the number of
/// digits, which the caller limits.
[[nodiscard]] bool parse_integer(std::string_view text, std::int64_t& number, std::string& bytes);

/// Converts a little-endian two's complement integer of any length; false where it does not fit in 64 bits.
[[nodiscard]] bool fits_in_64_bits(std::string_view bytes, std::int64_t& out) noexcept;

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/pickle/impl/text.ipp>
#endif
