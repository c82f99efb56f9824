// ckpt/core/key_path.hpp: paths through an object, as text.
//
// SPDX-License-Identifier: MIT
// In:      elements joined by '/', with `\/` and `\\` for those characters inside one.
// Out:     elements; or the text for elements.
// Refuses: nothing: every text is a path.
#pragma once

#include <ckpt/core/config.hpp>

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// One element of a path as text, and what follows it. `\/` and `\\` are undone.
[[nodiscard]] inline std::string take_path_element(std::string_view& rest) {
    std::string out;
    std::size_t i = 0;
    for (; i < rest.size() && rest[i] != '/'; ++i) {
        if (rest[i] == '\\' && i + 1 < rest.size() && (rest[i + 1] == '/' || rest[i + 1] == '\\')) ++i;
        out += rest[i];
    }
    rest = i < rest.size() ? rest.substr(i + 1) : std::string_view{};
    return out;
}

/// Appends one element to a path, escaping what separates elements.
inline void append_path_element(std::string& path, std::string_view element, bool first) {
    if (!first) path += '/';
    for (const char c : element) {
        if (c == '/' || c == '\\') path += '\\';
        path += c;
    }
}

[[nodiscard]] inline std::optional<std::int64_t> parse_index(std::string_view text) noexcept {
    std::int64_t out{};
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (failure != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
