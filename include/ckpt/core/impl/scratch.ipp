// ckpt/core/impl/scratch.ipp: the definitions of scratch.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/scratch.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF scratch scratch::make() {
    scratch out;
    out.pool_ = detail::make_shared<detail::block_pool>();
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
