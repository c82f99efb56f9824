// ckpt/tensor/geometry.hpp: shape, strides and storage of a tensor, and their check.
//
// SPDX-License-Identifier: MIT
// In:      dtype, shape, strides and offset as a file claims them, and how many bytes its storage has.
// Out:     the number of elements, once the last one is known to lie inside the storage.
// Refuses: unknown dtypes, negative numbers, products and sums that overflow, too many dimensions, elements outside the
//          storage.
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

/// The description of a tensor. Lives in the arena of a graph; immutable once a program can see it.
struct tensor_data {
    ckpt::dtype type{};
    ckpt::layout kind{layout::strided};
    bool requires_grad{};
    bool neg{};       ///< the values are the stored ones, negated
    bool conj{};      ///< the values are the stored ones, conjugated
    bool parameter{}; ///< the file has it as a torch.nn.Parameter
    std::uint32_t rank{};
    std::uint32_t storage{};        ///< its index in the storage_source
    std::uint64_t storage_offset{}; ///< in elements
    std::uint64_t numel{};
    const std::int64_t* shape{};
    const std::int64_t* strides{};
    const ckpt::error* refusal{}; ///< not null where the builder failed: every access returns this error
    const tensor_extra* extra{};  ///< parts, quantizer, class; null for a plain tensor

    [[nodiscard]] std::span<const std::int64_t> sizes() const noexcept { return {shape, rank}; }
    [[nodiscard]] std::span<const std::int64_t> steps() const noexcept { return {strides, rank}; }
};

inline constexpr std::uint64_t largest_signed = ~std::uint64_t{0} >> 1;

/// For tensors without a storage (meta, wrapper): a known dtype, a bounded rank, no negative number, and a product
/// that fits. Sets `numel`. Returns `none`, `dtype_unknown` or `shape_invalid`.
[[nodiscard]] errc check_sizes(tensor_data& data, std::uint32_t rank_limit) noexcept;

/// The bytes that the storage of a tensor with elements must have; false where the number overflows.
[[nodiscard]] bool bytes_needed(const tensor_data& data, std::uint64_t& out) noexcept;

/// Checks a geometry against its storage, and sets `numel`. For a tensor without elements only negative numbers are
/// wrong: torch writes offsets past the end for empty slices. Returns `none`, `dtype_unknown`, `shape_invalid` or
/// `out_of_bounds`; `geometry_error` makes the message.
[[nodiscard]] errc check_geometry(tensor_data& data, std::uint64_t storage_bytes, std::uint32_t rank_limit) noexcept;

/// The error for a code of `check_geometry` or `check_sizes`, with the numbers of the geometry.
[[nodiscard]] error geometry_error(errc code, const tensor_data& data, std::uint64_t storage_bytes,
                                   std::uint32_t rank_limit);

/// The strides of contiguous elements, the last index fastest, or with `fortran` the first. Where a product overflows,
/// which `check_geometry` finds, the strides are arbitrary numbers in range.
void set_dense_strides(std::span<const std::int64_t> shape, bool fortran, std::int64_t* strides) noexcept;

[[nodiscard]] bool is_contiguous(const tensor_data& data) noexcept;

/// The bytes of `n` elements. Does not check for overflow: `check_geometry` has.
[[nodiscard]] std::uint64_t bytes_of(ckpt::dtype type, std::uint64_t n) noexcept;

[[nodiscard]] inline bool has_lazy_bit(const tensor_data& data) noexcept {
    return data.neg || (data.conj && info(data.type).kind == dtype_kind::complex);
}

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/geometry.ipp>
#endif
