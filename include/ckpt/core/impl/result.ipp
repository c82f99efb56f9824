// ckpt/core/impl/result.ipp: the definitions of result.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/result.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE ckpt::error moved_from() {
    return {.code = errc::internal, .detail = "the result was moved from, and so was its error"};
}

CKPT_DETAIL_RARE ckpt::error* boxed(ckpt::error&& error) { return new ckpt::error(std::move(error)); }
CKPT_DETAIL_RARE ckpt::error* copied(const ckpt::error* error) {
    return error != nullptr ? new ckpt::error(*error) : nullptr;
}
CKPT_DETAIL_RARE void drop(ckpt::error* error) noexcept { delete error; }

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
