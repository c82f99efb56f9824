// ckpt/core/impl/short_list.ipp: the definitions of short_list.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/short_list.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE void short_list::end() {
    const std::uint64_t hidden = skipped_ + (count_ > style_.most ? count_ - style_.most : 0);
    if (hidden > 0) out_.append(style_.before_rest).append(decimal(hidden)).append(style_.after_rest);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
