// ckpt/gpu/scatter_ops.hpp: what one thread of a kernel does that makes a strided tensor dense: it places one element.
//
// SPDX-License-Identifier: MIT
// In:      stored elements of a strided tensor, any part of them, in the order of the storage.
// Out:     each one, converted, at its place in row-major order. What lies between them is left out.
// Refuses: views whose dimensions do not lie inside each other: expanded ones, and most that overlap; geometry of more
//          than 8 dimensions once it is collapsed.
//
// A gather asks where in the storage an element of the result lies, and needs all of the storage. Here a part of the
// storage is enough: whatever arrives is placed. Threads that lie side by side read side by side.
#pragma once

#include <ckpt/gpu/element_ops.hpp>
#include <ckpt/tensor/dequantize.hpp>
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/tensor/strided.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The dimensions of a view, those with the largest strides first. One step in each of them passes everything that the
/// ones behind it reach, so that the number of a stored element gives its indices.
struct nested_view {
    static constexpr std::uint32_t rank_limit = gather_job::rank_limit;

    std::uint32_t rank{};
    std::uint64_t sizes[rank_limit]{};
    std::uint64_t strides[rank_limit]{}; ///< in the storage, in elements
    std::uint64_t places[rank_limit]{};  ///< in row-major order, in elements

    /// False where the geometry is no such view, or has too many dimensions.
    [[nodiscard]] static bool make(std::span<const std::int64_t> shape, std::span<const std::int64_t> steps,
                                   nested_view& out) noexcept {
        out = {};
        box b;
        if (!make_box(shape, steps, 0, b) || b.rank > rank_limit) return false;
        std::uint64_t place = 1;
        for (std::uint32_t i = b.rank; i-- > 0; place *= b.sizes[i]) {
            std::uint32_t at = out.rank++;
            for (; at != 0 && out.strides[at - 1] < b.strides[i]; --at) {
                out.sizes[at] = out.sizes[at - 1];
                out.strides[at] = out.strides[at - 1];
                out.places[at] = out.places[at - 1];
            }
            out.sizes[at] = b.sizes[i];
            out.strides[at] = b.strides[i];
            out.places[at] = place;
        }
        std::uint64_t reached = 0; // by what lies behind
        for (std::uint32_t i = out.rank; i-- > 0;) {
            std::uint64_t extent = 0;
            if (out.strides[i] <= reached || !checked_mul(out.sizes[i] - 1, out.strides[i], extent) ||
                !checked_add(reached, extent, reached))
                return false;
        }
        return true;
    }

    /// The place of a stored element, counted from the view's first one; false for what lies between its elements.
    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE bool find(std::uint64_t stored, std::uint64_t& place) const noexcept {
        place = 0;
        for (std::uint32_t i = 0; i < rank; ++i) {
            const std::uint64_t index = divide(stored, strides[i]);
            if (index >= sizes[i]) return false;
            place += index * places[i];
            stored -= index * strides[i];
        }
        return stored == 0;
    }
};

/// Converts stored elements of a strided tensor and puts each to its place.
struct scatter_job {
    std::byte* out{};      ///< element 0 of the whole
    const std::byte* in{}; ///< the stored element `first`
    std::uint64_t first{}; ///< counted from the view's first one
    std::uint64_t n{};     ///< stored elements, those between two of the view included
    nested_view view{};
    dtype to{};
    dtype from{};
    std::uint8_t out_bytes{1}; ///< of an element, or of half a complex one
    std::uint8_t in_bytes{1};
    std::uint8_t halves{1}; ///< 2 for complex elements
    bool swap_bytes{};      ///< `in` is in the other byte order

    /// `is_castable(from, to)` holds, and both ends are aligned for their elements. False where `view` cannot be made.
    [[nodiscard]] static bool make(void* out, dtype to, const void* in, dtype from, bool swap_bytes,
                                   std::span<const std::int64_t> shape, std::span<const std::int64_t> steps,
                                   std::uint64_t first, std::uint64_t n, scatter_job& job) noexcept {
        job = {};
        if (!nested_view::make(shape, steps, job.view)) return false;
        job.out = static_cast<std::byte*>(out);
        job.in = static_cast<const std::byte*>(in);
        job.first = first;
        job.n = n;
        job.to = component_type(to);
        job.from = component_type(from);
        job.out_bytes = info(to).component_bytes;
        job.in_bytes = info(from).component_bytes;
        job.halves = static_cast<std::uint8_t>(itemsize(from) / info(from).component_bytes);
        job.swap_bytes = swap_bytes;
        return true;
    }

    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE std::uint64_t items() const noexcept { return n; }

    CKPT_DETAIL_HOST_DEVICE void operator()(std::uint64_t item) const noexcept {
        std::uint64_t place = 0;
        if (!view.find(first + item, place)) return;
        for (std::uint32_t half = 0; half < halves; ++half) {
            const std::uint64_t bits = load_words(in + (item * halves + half) * in_bytes, in_bytes).low;
            store_words(out + (place * halves + half) * out_bytes, out_bytes,
                        {cast_stored(from, to, swap_bytes, in_bytes, bits), 0});
        }
    }
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
