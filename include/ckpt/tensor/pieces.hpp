// ckpt/tensor/pieces.hpp: the numbers of a tensor, a piece at a time; those at its edges.
//
// SPDX-License-Identifier: MIT
// In:      a strided tensor of any dtype, whose storage is in memory, in a file, compressed, or gathered.
// Out:     its values in row-major order: native byte order, without lazy bits, quantised ones as float32 numbers.
// Refuses: tensors without elements of their own; packed ones that are not contiguous, and edges of those.
//
// A piece has a bounded size, whatever the shape and the strides are.
#pragma once

#include <ckpt/core/function_ref.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/tensor/dequantize.hpp>
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/tensor/geometry.hpp>
#include <ckpt/tensor/parts.hpp>
#include <ckpt/tensor/storage.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Values one after another. A type of less than 8 bits has one value in each byte, and the type uint8.
struct value_piece {
    ckpt::dtype type{};
    const std::byte* values{};
    std::uint64_t first{}; ///< number of the first value in the tensor
    std::size_t count{};
};

/// How the integers of a region of a quantised tensor become numbers; `sizes`: those of the region. Its arrays of
/// channels are the caller's to set.
template <class Size>
[[nodiscard]] dequantization dequantization_of(const tensor_extra& quantizer, std::span<const Size> sizes) noexcept {
    dequantization out{.scale = to_double(to_float(quantizer.scale)),
                       .zero_point = static_cast<std::int32_t>(quantizer.zero_point)};
    if (!is_per_channel(quantizer.scheme)) return out;
    out.channels = static_cast<std::uint64_t>(sizes[quantizer.axis]);
    for (const Size size : sizes.subspan(quantizer.axis + std::size_t{1}))
        out.inner *= static_cast<std::uint64_t>(size);
    return out;
}

/// The type of the pieces of a tensor: its own, float32 of a quantised one, the stored integer of an opaque one.
[[nodiscard]] ckpt::dtype piece_type(const tensor_data& data) noexcept;

/// Calls `f` for pieces until all values were seen. Fails with `cancelled` where the program stops it by `meter`.
[[nodiscard]] result<void> for_each_piece(const tensor_data* handle, const storage_source* source,
                                          function_ref<void(const value_piece&)> f, progress_meter* meter = nullptr);

/// A tensor that has only the edges of another: of each dimension of more than 2 * `edge` elements the first and the
/// last `edge`. It is one strided tensor, because such a dimension becomes two: [2, edge]. Borrows from the other.
class edges_of {
  public:
    edges_of(const tensor_data& whole, std::size_t edge);
    edges_of(const edges_of&) = delete;
    edges_of& operator=(const edges_of&) = delete;

    [[nodiscard]] const tensor_data& data() const noexcept { return data_; }
    [[nodiscard]] const tensor_data& whole() const noexcept { return whole_; }

  private:
    /// Makes `to` the edges of `from`; `sizes` gets its shape, then its strides.
    static void cut(const tensor_data& from, std::size_t edge, tensor_data& to, std::vector<std::int64_t>& sizes);

    const tensor_data& whole_;
    tensor_data data_{};
    std::vector<std::int64_t> sizes_{};
    tensor_extra extra_{}; // of a tensor that is quantised per channel
    named_data parameters_[2]{};
    std::vector<std::int64_t> parameter_sizes_[2]{};
};

/// The same for the values at the edges. Packed values are unpacked there, too.
[[nodiscard]] result<void> for_each_piece(const edges_of& edges, const storage_source* source,
                                          function_ref<void(const value_piece&)> f);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/pieces.ipp>
#endif
