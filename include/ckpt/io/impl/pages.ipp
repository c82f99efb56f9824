// ckpt/io/impl/pages.ipp: the definitions of pages.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/io/pages.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF pages& pages::operator=(pages&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
