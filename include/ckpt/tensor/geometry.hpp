// ckpt/tensor/geometry.hpp: what is known of a tensor, and the check that makes it safe to use.
//
// SPDX-License-Identifier: MIT
// In:      dtype, shape, strides and offset as a file claims them, and how many bytes its storage has.
// Out:     the number of elements, once the last one is known to lie inside the storage.
// Refuses: unknown dtypes, negative numbers, products and sums that wrap, too many dimensions, a last byte outside.
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/core/error.hpp>
#include <ckpt/tensor/dtype.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// How the values of a tensor are kept. Only `strided` tensors have elements of their own; others have
/// parts or nothing. A size of a `jagged` or `nested` tensor that differs from row to row is -1.
enum class layout : std::uint8_t {
    strided,
    sparse_coo,
    sparse_csr,
    sparse_csc,
    sparse_bsr,
    sparse_bsc,
    jagged,
    nested,
    meta,
    wrapper
};

/// "strided", "sparse_coo" and so on; NUL-terminated.
[[nodiscard]] constexpr std::string_view name(layout kind) noexcept {
    switch (kind) {
    case layout::strided: return "strided";
    case layout::sparse_coo: return "sparse_coo";
    case layout::sparse_csr: return "sparse_csr";
    case layout::sparse_csc: return "sparse_csc";
    case layout::sparse_bsr: return "sparse_bsr";
    case layout::sparse_bsc: return "sparse_bsc";
    case layout::jagged: return "jagged";
    case layout::nested: return "nested";
    case layout::meta: return "meta";
    case layout::wrapper: return "wrapper";
    }
    return "unknown";
}

namespace detail {

struct tensor_extra; // tensor/parts.hpp

/// What is known of a tensor. Lives in the arena of a graph; immutable once it is handed out.
struct tensor_data {
    ckpt::dtype type{};
    ckpt::layout kind{layout::strided};
    bool requires_grad{};
    bool neg{};  ///< the values are the stored ones, negated
    bool conj{}; ///< the values are the stored ones, conjugated
    std::uint32_t rank{};
    std::uint32_t storage{};        ///< index for the storage_source
    std::uint64_t storage_offset{}; ///< in elements
    std::uint64_t numel{};
    const std::int64_t* shape{};
    const std::int64_t* strides{};
    const ckpt::error* refusal{}; ///< not null: the builder refused, every access returns this
    const tensor_extra* extra{};  ///< parts, quantizer, class; null for a plain tensor

    [[nodiscard]] std::span<const std::int64_t> sizes() const noexcept { return {shape, rank}; }
    [[nodiscard]] std::span<const std::int64_t> steps() const noexcept { return {strides, rank}; }
};

inline constexpr std::uint64_t largest_signed = ~std::uint64_t{0} >> 1;

/// For tensors without a storage (meta, wrapper): a known dtype, a bounded rank, no negative number, and a product
/// that fits. Sets `numel`. Returns `none`, `dtype_unknown` or `shape_invalid`.
[[nodiscard]] inline errc check_sizes(tensor_data& data, std::uint32_t rank_limit) noexcept {
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

/// Bytes that a storage must have for a tensor with elements; false where the number overflows.
[[nodiscard]] inline bool bytes_needed(const tensor_data& data, std::uint64_t& out) noexcept {
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

/// The one check of a geometry against its storage (rules V1 and S2); sets `numel`. A tensor without elements needs
/// only non-negative numbers: torch writes offsets past the end for empty slices.
/// Returns `none`, `dtype_unknown`, `shape_invalid` or `out_of_bounds`; `geometry_error` says it in words.
[[nodiscard]] inline errc check_geometry(tensor_data& data, std::uint64_t storage_bytes,
                                         std::uint32_t rank_limit) noexcept {
    if (const errc code = check_sizes(data, rank_limit); code != errc::none || data.numel == 0) return code;
    std::uint64_t needed{};
    errc code = errc::none;
    if (!bytes_needed(data, needed)) code = errc::shape_invalid;
    else if (needed > storage_bytes) code = errc::out_of_bounds;
    if (code != errc::none) data.numel = 0;
    return code;
}

[[nodiscard]] inline std::string list_of(std::span<const std::int64_t> numbers) {
    std::string out = "[";
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        if (i == 8) return out + ", +" + decimal(std::uint64_t{numbers.size() - i}) + " more]";
        out += (i == 0 ? "" : ", ") + decimal(numbers[i]);
    }
    return out + "]";
}

/// The error of a geometry that `check_geometry` or `check_sizes` refused, with its numbers.
[[nodiscard]] inline error geometry_error(errc code, const tensor_data& data, std::uint64_t storage_bytes,
                                          std::uint32_t rank_limit) {
    error out{.code = code};
    if (code == errc::dtype_unknown) {
        out.detail = "the element type is not known";
        return out;
    }
    if (data.rank > rank_limit) {
        out.detail = "the tensor has " + decimal(std::uint64_t{data.rank}) + " dimensions, the limit is " +
                     decimal(std::uint64_t{rank_limit});
        out.hint = "raise limits.tensor_rank if the file is trusted";
        return out;
    }
    out.detail = "a tensor of " + std::string(name(data.type)) + ", shape " + list_of(data.sizes()) + ", strides " +
                 list_of(data.steps()) + ", offset " +
                 (data.storage_offset > largest_signed ? decimal(static_cast<std::int64_t>(data.storage_offset))
                                                       : decimal(data.storage_offset));
    if (code == errc::out_of_bounds) {
        std::uint64_t needed{};
        out.detail +=
            bytes_needed(data, needed) ? " needs " + decimal(needed) + " bytes" : " needs more than 64 bits can count";
        out.detail += ", its storage has " + decimal(storage_bytes);
    } else {
        bool negative = data.storage_offset > largest_signed;
        for (std::uint32_t i = 0; i < data.rank; ++i) negative = negative || data.shape[i] < 0 || data.strides[i] < 0;
        out.detail += negative ? " has a negative number" : " overflows 64 bits";
    }
    return out;
}

/// The strides of elements that lie one after another, the last index moving fastest, or (`fortran`) the first. A
/// product that overflows is found by `check_geometry`; here it must only stay in range.
inline void set_dense_strides(std::span<const std::int64_t> shape, bool fortran, std::int64_t* strides) noexcept {
    std::uint64_t step = 1;
    for (std::size_t i = 0; i < shape.size(); ++i) {
        const std::size_t d = fortran ? i : shape.size() - 1 - i;
        strides[d] = static_cast<std::int64_t>(step);
        const auto n = static_cast<std::uint64_t>(shape[d] > 0 ? shape[d] : 1);
        if (!checked_mul(step, n, step) || step > largest_signed) step = 1;
    }
}

[[nodiscard]] inline bool is_contiguous(const tensor_data& data) noexcept {
    if (data.numel == 0) return true;
    std::uint64_t expected = 1; // a divisor of numel, so it does not overflow
    for (std::uint32_t i = data.rank; i-- > 0;) {
        if (data.shape[i] == 1) continue;
        if (static_cast<std::uint64_t>(data.strides[i]) != expected) return false;
        expected *= static_cast<std::uint64_t>(data.shape[i]);
    }
    return true;
}

/// Bytes of `n` elements; checked when the tensor was made.
[[nodiscard]] inline std::uint64_t bytes_of(ckpt::dtype type, std::uint64_t n) noexcept {
    const std::uint64_t in_bits = n * bits(type);
    return in_bits / 8 + (in_bits % 8 != 0 ? 1 : 0);
}

[[nodiscard]] inline bool has_lazy_bit(const tensor_data& data) noexcept {
    return data.neg || (data.conj && info(data.type).kind == dtype_kind::complex);
}

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI
