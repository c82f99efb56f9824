// ckpt/tensor/impl/indices.ipp: the definitions of indices.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/tensor/index_walk.hpp>
#include <ckpt/tensor/indices.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_RARE result<void> check_values(const tensor& of) {
    return detail::check_values(detail::tensor_access::data(of), detail::tensor_access::source(of));
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
