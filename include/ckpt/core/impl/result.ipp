// ckpt/core/impl/result.ipp: the definitions of result.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/result.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF ckpt::error moved_from() {
    return {.code = errc::internal, .detail = "the result was moved from, and so was its error"};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
