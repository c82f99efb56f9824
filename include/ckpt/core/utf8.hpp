// ckpt/core/utf8.hpp: text as files spell it.
//
// SPDX-License-Identifier: MIT
// In:      bytes, code points, hexadecimal digits.
// Out:     whether they are UTF-8; a code point's bytes; a digit's value.
// Refuses: nothing.
#pragma once

#include <ckpt/core/error.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

enum class utf8_verdict : std::uint8_t { invalid, valid, surrogates };

/// Whether all bytes are below 128, eight at a time; the last word repeats bytes of the one before.
[[nodiscard]] bool is_ascii(std::string_view text) noexcept;

/// Judges UTF-8 as CPython's "surrogatepass" does: lone surrogates are allowed, and told.
[[nodiscard]] utf8_verdict check_utf8(std::string_view text) noexcept;

/// Appends a code point, surrogates included (three bytes).
void append_code_point(std::string& out, std::uint32_t point);

[[nodiscard]] int hex_digit(char c) noexcept;

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/utf8.ipp>
#endif
