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
#include <ckpt/tensor/layout.hpp>
#include <ckpt/tensor/shape_text.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI {

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
[[nodiscard]] errc check_sizes(tensor_data& data, std::uint32_t rank_limit) noexcept;

/// Bytes that a storage must have for a tensor with elements; false where the number overflows.
[[nodiscard]] bool bytes_needed(const tensor_data& data, std::uint64_t& out) noexcept;

/// The one check of a geometry against its storage (rules V1 and S2); sets `numel`. A tensor without elements needs
/// only non-negative numbers: torch writes offsets past the end for empty slices.
/// Returns `none`, `dtype_unknown`, `shape_invalid` or `out_of_bounds`; `geometry_error` says it in words.
[[nodiscard]] errc check_geometry(tensor_data& data, std::uint64_t storage_bytes, std::uint32_t rank_limit) noexcept;

/// The error of a geometry that `check_geometry` or `check_sizes` refused, with its numbers.
[[nodiscard]] error geometry_error(errc code, const tensor_data& data, std::uint64_t storage_bytes,
                                   std::uint32_t rank_limit);

/// The strides of elements that lie one after another, the last index moving fastest, or (`fortran`) the first. A
/// product that overflows is found by `check_geometry`; here it must only stay in range.
void set_dense_strides(std::span<const std::int64_t> shape, bool fortran, std::int64_t* strides) noexcept;

[[nodiscard]] bool is_contiguous(const tensor_data& data) noexcept;

/// Bytes of `n` elements; checked when the tensor was made.
[[nodiscard]] std::uint64_t bytes_of(ckpt::dtype type, std::uint64_t n) noexcept;

[[nodiscard]] inline bool has_lazy_bit(const tensor_data& data) noexcept {
    return data.neg || (data.conj && info(data.type).kind == dtype_kind::complex);
}

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/geometry.ipp>
#endif
