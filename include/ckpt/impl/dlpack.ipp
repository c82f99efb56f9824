// ckpt/impl/dlpack.ipp: the definitions of dlpack.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/dlpack.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF error no_dlpack_type(dtype type) {
    return {.code = errc::dtype_mismatch,
            .detail = "DLPack has no type for " + std::string(name(type)),
            .hint = "copy_to gives the elements as the integers that they are stored as"};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
