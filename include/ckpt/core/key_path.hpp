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

/// Takes the first element off `rest`, with `\/` and `\\` undone. `more`: whether a separator stood behind it, so that
/// another element follows, even an empty one: of "a/" the elements are "a" and "".
[[nodiscard]] std::string take_path_element(std::string_view& rest, bool* more = nullptr);

/// Appends one element to a path, escaping what separates elements.
void append_path_element(std::string& path, std::string_view element, bool first);

[[nodiscard]] std::optional<std::int64_t> parse_index(std::string_view text) noexcept;

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/key_path.ipp>
#endif
