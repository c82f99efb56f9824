// ckpt/core/key_path.hpp: paths through an object, as text.
//
// SPDX-License-Identifier: MIT
// In:      elements joined by '/', with `\/` and `\\` for those characters inside one.
// Out:     elements; or the text for elements.
// Refuses: nothing: every text is a path.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Removes the first element from `rest` and returns it, with `\/` and `\\` unescaped. `more`: whether a separator
/// followed it, and so another element, which may be empty: "a/" has the elements "a" and "".
[[nodiscard]] std::string take_path_element(std::string_view& rest, bool* more = nullptr);

/// Appends one element to a path and escapes '/' and '\' in it. A separator comes before it unless it is the first.
void append_path_element(std::string& path, std::string_view element, bool first);

/// A decimal integer, as an index into a list: "-1"; nothing for other text.
[[nodiscard]] std::optional<std::int64_t> parse_index(std::string_view text) noexcept;

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/key_path.ipp>
#endif
