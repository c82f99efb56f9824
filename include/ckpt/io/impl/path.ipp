// ckpt/io/impl/path.ipp: the definitions of path.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/io/path.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF bool path_arg::usable() const noexcept {
#if defined(_WIN32)
    if (wide_ != nullptr) return !cut_;
#endif
    return narrow_ != nullptr && !cut_;
}

CKPT_DETAIL_DEF std::string path_arg::text() const {
#if defined(_WIN32)
    std::string out;
    for (const wchar_t* at = wide_; at != nullptr && *at != 0; ++at) out += *at < 0x7F ? static_cast<char>(*at) : '?';
    if (wide_ != nullptr) return out;
#endif
    return narrow_ != nullptr ? std::string(narrow_) : std::string();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE std::size_t name_offset(std::string_view path) noexcept {
#if defined(_WIN32)
    const std::size_t at = path.find_last_of("/\\");
#else
    const std::size_t at = path.rfind('/');
#endif
    return at == std::string_view::npos ? 0 : at + 1;
}

CKPT_DETAIL_RARE std::string folder_of(std::string_view path) {
    const std::size_t name = name_offset(path);
    return name == 0 ? "." : std::string(path.substr(0, name));
}

CKPT_DETAIL_RARE std::string path_in(std::string_view folder, std::string_view name) {
    std::string out(folder);
    if (!out.empty() && out.back() != '/') out += '/';
    return out.append(name);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
