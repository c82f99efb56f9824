// ckpt/core/impl/key_path.ipp: the definitions of key_path.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/key_path.hpp>
#include <ckpt/core/number.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF std::string take_path_element(std::string_view& rest, bool* more) {
    std::string out;
    std::size_t i = 0;
    for (; i < rest.size() && rest[i] != '/'; ++i) {
        if (rest[i] == '\\' && i + 1 < rest.size() && (rest[i + 1] == '/' || rest[i + 1] == '\\')) ++i;
        out += rest[i];
    }
    if (more != nullptr) *more = i < rest.size();
    rest = i < rest.size() ? rest.substr(i + 1) : std::string_view{};
    return out;
}

CKPT_DETAIL_RARE void append_path_element(std::string& path, std::string_view element, bool first) {
    if (!first) path += '/';
    for (const char c : element) {
        if (c == '/' || c == '\\') path += '\\';
        path += c;
    }
}

CKPT_DETAIL_DEF std::optional<std::int64_t> parse_index(std::string_view text) noexcept {
    std::int64_t out{};
    return parse_decimal(text, out) ? std::optional(out) : std::nullopt;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
