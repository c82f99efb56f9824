// ckpt/io/impl/residency.ipp: the definitions of residency.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/io/residency.hpp>

#if defined(_WIN32)
#include <ckpt/io/detail/advice_win32.hpp>
#else
#include <ckpt/io/detail/advice_posix.hpp>
#endif

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE std::optional<bool> is_resident(const file& in, std::uint64_t offset) noexcept {
    const int is = file_system::is_cached(in.handle(), offset);
    if (is < 0) return std::nullopt;
    return is != 0;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
