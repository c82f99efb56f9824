// ckpt/tensor/impl/copy.ipp: the definitions of copy.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/tensor/access.hpp>
#include <ckpt/tensor/copy.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF aligned_memory& aligned_memory::operator=(aligned_memory&& other) noexcept {
    if (this != &other) {
        release();
        data_ = std::exchange(other.data_, nullptr);
    }
    return *this;
}

CKPT_DETAIL_DEF result<std::size_t> check_owned_copy(const tensor& from, ckpt::dtype to, std::size_t rank,
                                                     bool convert) {
    if (auto usable = check_copy(tensor_access::data(from), tensor_access::source(from), to, !convert); !usable) {
        auto failure = std::move(usable).error();
        if (failure.code == errc::dtype_mismatch && is_convertible(from.dtype(), to))
            failure.hint = "tensor_copy::of converts where its argument convert is true, a load where "
                           "load_options::convert is set";
        return failure;
    }
    if (from.rank() != rank) return rank_error(*tensor_access::data(from), rank);
    return copy_bytes(*tensor_access::data(from), *tensor_access::source(from), to);
}

CKPT_DETAIL_DEF result<aligned_memory> make_owned_copy(const tensor& from, ckpt::dtype to, bool convert,
                                                       std::size_t bytes, storage_readers* readers) {
    aligned_memory out{bytes};
    auto done = copy_tensor(tensor_access::data(from), tensor_access::source(from), to, !convert, out.data(),
                            from.numel(), readers);
    if (!done) return std::move(done).failure();
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
