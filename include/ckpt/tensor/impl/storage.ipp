// ckpt/tensor/impl/storage.ipp: the definitions of storage.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/tensor/storage.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF error not_mapped_error(std::string_view record) {
    return {.code = errc::not_mapped,
            .record = std::string(record),
            .detail = "the file is read, not mapped, so the storage is not in memory",
            .hint = "use copy_to or copy_as, or open with io_mode::map or with storage_mode::owned"};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
