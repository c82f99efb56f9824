// ckpt/tensor/impl/geometry.ipp: the definitions of geometry.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/tensor/geometry.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

// Opening a checkpoint calls check_geometry for each tensor, so both parts of it are inline there.
CKPT_DETAIL_INLINE errc count_elements(tensor_data& data, std::uint32_t rank_limit) noexcept {
    data.numel = 0;
    if (!is_known(data.type)) return errc::dtype_unknown;
    if (data.rank > rank_limit || data.storage_offset > largest_signed) return errc::shape_invalid;
    bool empty = false;
    for (std::uint32_t i = 0; i < data.rank; ++i) {
        if (data.shape[i] < 0 || data.strides[i] < 0) return errc::shape_invalid;
        empty = empty || data.shape[i] == 0;
    }
    if (empty) return errc::none;
    std::uint64_t n = 1;
    for (std::uint32_t i = 0; i < data.rank; ++i)
        if (!checked_mul(n, static_cast<std::uint64_t>(data.shape[i]), n)) return errc::shape_invalid;
    std::uint64_t in_bits{};
    if (!checked_mul(n, bits(data.type), in_bits)) return errc::shape_invalid;
    data.numel = n;
    return errc::none;
}

CKPT_DETAIL_INLINE bool count_bytes(const tensor_data& data, std::uint64_t& out) noexcept {
    std::uint64_t end{};
    if (!checked_add(data.storage_offset, 1, end)) return false;
    for (std::uint32_t i = 0; i < data.rank; ++i) {
        std::uint64_t extent{};
        if (!checked_mul(static_cast<std::uint64_t>(data.shape[i] - 1), static_cast<std::uint64_t>(data.strides[i]),
                         extent) ||
            !checked_add(end, extent, end))
            return false;
    }
    std::uint64_t in_bits{};
    if (!checked_mul(end, bits(data.type), in_bits)) return false;
    out = in_bits / 8 + (in_bits % 8 != 0 ? 1 : 0);
    return true;
}

CKPT_DETAIL_DEF errc check_sizes(tensor_data& data, std::uint32_t rank_limit) noexcept {
    return count_elements(data, rank_limit);
}

CKPT_DETAIL_DEF bool bytes_needed(const tensor_data& data, std::uint64_t& out) noexcept {
    return count_bytes(data, out);
}

CKPT_DETAIL_DEF errc check_geometry(tensor_data& data, std::uint64_t storage_bytes, std::uint32_t rank_limit) noexcept {
    if (const errc code = count_elements(data, rank_limit); code != errc::none || data.numel == 0) return code;
    std::uint64_t needed{};
    errc code = errc::none;
    if (!count_bytes(data, needed)) code = errc::shape_invalid;
    else if (needed > storage_bytes) code = errc::out_of_bounds;
    if (code != errc::none) data.numel = 0;
    return code;
}

CKPT_DETAIL_RARE error geometry_error(errc code, const tensor_data& data, std::uint64_t storage_bytes,
                                      std::uint32_t rank_limit) {
    error out{.code = code};
    if (code == errc::dtype_unknown) {
        out.detail = "the element type is not known";
        return out;
    }
    if (data.rank > rank_limit) {
        out.detail = str_cat("the tensor has ", data.rank, " dimensions, the limit is ", rank_limit);
        out.hint = "raise limits.tensor_rank if the file is trusted";
        return out;
    }
    out.detail = str_cat("a tensor of ", name(data.type), ", shape ", list_of(data.sizes()), ", strides ",
                         list_of(data.steps()), ", offset ",
                         data.storage_offset > largest_signed ? decimal(static_cast<std::int64_t>(data.storage_offset))
                                                              : decimal(data.storage_offset));
    if (code == errc::out_of_bounds) {
        std::uint64_t needed{};
        out.detail +=
            bytes_needed(data, needed) ? str_cat(" needs ", needed, " bytes") : " needs more than 64 bits can count";
        out.detail += str_cat(", its storage has ", storage_bytes);
    } else {
        bool negative = data.storage_offset > largest_signed;
        for (std::uint32_t i = 0; i < data.rank; ++i) negative = negative || data.shape[i] < 0 || data.strides[i] < 0;
        out.detail += negative ? " has a negative number" : " overflows 64 bits";
    }
    return out;
}

CKPT_DETAIL_DEF void set_dense_strides(std::span<const std::int64_t> shape, bool fortran,
                                       std::int64_t* strides) noexcept {
    std::uint64_t step = 1;
    for (std::size_t i = 0; i < shape.size(); ++i) {
        const std::size_t d = fortran ? i : shape.size() - 1 - i;
        strides[d] = static_cast<std::int64_t>(step);
        const auto n = static_cast<std::uint64_t>(shape[d] > 0 ? shape[d] : 1);
        if (!checked_mul(step, n, step) || step > largest_signed) step = 1;
    }
}

CKPT_DETAIL_DEF bool is_contiguous(const tensor_data& data) noexcept {
    if (data.numel == 0) return true;
    std::uint64_t expected = 1; // a divisor of numel, so it does not overflow
    for (std::uint32_t i = data.rank; i-- > 0;) {
        if (data.shape[i] == 1) continue;
        if (static_cast<std::uint64_t>(data.strides[i]) != expected) return false;
        expected *= static_cast<std::uint64_t>(data.shape[i]);
    }
    return true;
}

CKPT_DETAIL_DEF std::uint64_t bytes_of(ckpt::dtype type, std::uint64_t n) noexcept {
    const std::uint64_t in_bits = n * bits(type);
    return in_bits / 8 + (in_bits % 8 != 0 ? 1 : 0);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
