// ckpt/state/fill_value.hpp: one element with the value that a rule says.
//
// SPDX-License-Identifier: MIT
// In:      the text of fill and pad: an integer, a decimal, inf, nan, true or false; a dtype.
// Out:     the bytes of one element.
// Refuses: values that the dtype cannot hold: integers out of range, numbers that would overflow or vanish.
#pragma once

#include <ckpt/tensor/dtype.hpp>

#include <array>
#include <cstddef>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Writes one element of `type`. Null, or why there is none with this value.
[[nodiscard]] const char* encode_value(std::string_view text, ckpt::dtype type, std::array<std::byte, 16>& out);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/fill_value.ipp>
#endif
