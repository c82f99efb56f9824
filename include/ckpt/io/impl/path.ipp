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
