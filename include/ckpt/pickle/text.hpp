// ckpt/pickle/text.hpp: the text forms inside a pickle.
//
// SPDX-License-Identifier: MIT
// In:      bytes of one argument, without its line end.
// Out:     numbers, UTF-8, unescaped strings.
// Refuses: everything that CPython refuses there; a false answer becomes errc::pickle_text with a place.
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

/// Undoes the escapes of a Python 2 `repr`: STRING's argument without its quotes.
[[nodiscard]] bool unescape_string(std::string_view text, std::string& out);

/// Undoes raw-unicode-escape: UNICODE's argument. Other bytes are Latin-1.
[[nodiscard]] bool unescape_unicode(std::string_view text, std::string& out);

/// A double as Python's `repr` writes it, with nan, inf and -inf.
[[nodiscard]] bool parse_real(std::string_view text, double& out) noexcept;

/// The least number of bytes that hold the same two's complement integer, so that equal ones are equal as bytes.
[[nodiscard]] std::string_view minimal_integer(std::string_view bytes) noexcept;

/// A decimal integer as Python writes it. `number` is set and `bytes` left empty where it has at most 18 digits;
/// `bytes` (two's complement, little-endian) otherwise. Leading zeros, blanks and underscores are refused. Quadratic in
/// the digits, which the caller has limited, but by nine digits and four bytes at a time.
[[nodiscard]] bool parse_integer(std::string_view text, std::int64_t& number, std::string& bytes);

/// A little-endian two's complement integer of any length; false where it does not fit in 64 bits.
[[nodiscard]] bool fits_in_64_bits(std::string_view bytes, std::int64_t& out) noexcept;

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/pickle/impl/text.ipp>
#endif
