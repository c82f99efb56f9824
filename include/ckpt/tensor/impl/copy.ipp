// ckpt/tensor/impl/copy.ipp: the definitions of copy.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/checked.hpp>
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

CKPT_DETAIL_DEF result<std::size_t> check_owned_copy(const tensor& from, ckpt::dtype to, std::size_t rank, bool casts) {
    if (auto usable = check_copy(tensor_access::data(from), tensor_access::source(from), to, !casts); !usable) {
        auto failure = std::move(usable).error();
        if (failure.code == errc::dtype_mismatch && is_convertible(from.dtype(), to))
            failure.hint = "it is converted where casts are asked for";
        return failure;
    }
    if (from.rank() != rank) return rank_error(*tensor_access::data(from), rank);
    std::uint64_t bytes{};
    std::size_t out{};
    const std::uint64_t most = from.storage_nbytes();
    if (!checked_mul(from.numel(), itemsize(to), bytes) || !checked_narrow(bytes, out) ||
        (bytes > free_copy_bytes && (bytes - free_copy_bytes) / 16 > most))
        return error{.code = errc::output_limit,
                     .detail = "the copy would need " + decimal(from.numel()) + " elements of " +
                               std::string(name(to)) + ", far more than its storage of " + decimal(most) + " bytes"};
    return out;
}

CKPT_DETAIL_DEF result<aligned_memory> make_owned_copy(const tensor& from, ckpt::dtype to, bool casts,
                                                       std::size_t bytes, storage_readers* readers) {
    aligned_memory out{bytes};
    auto done = copy_tensor(tensor_access::data(from), tensor_access::source(from), to, !casts, out.data(),
                            from.numel(), readers);
    if (!done) return std::move(done).error();
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
