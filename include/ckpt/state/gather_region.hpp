// ckpt/state/gather_region.hpp: boxes of a tensor's elements, and where they go.
//
// SPDX-License-Identifier: MIT
// In:      a shape and a range of its elements in row-major order; a region.
// Out:     the range as few regions; a region as parts of a bounded size.
// Refuses: nothing: the caller stays inside of the shape.
#pragma once

#include <ckpt/core/result.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// A box of a node's elements, and where they go: strides in elements of the destination.
struct gather_region {
    std::uint32_t rank{0};
    std::array<std::uint64_t, 64> start{};
    std::array<std::uint64_t, 64> size{};
    std::array<std::uint64_t, 64> stride{};

    [[nodiscard]] std::uint64_t count() const noexcept;
    [[nodiscard]] bool is_dense() const noexcept;
    void make_dense() noexcept;
};

/// Calls `f(box, done)` for boxes of row-major elements [first, first + n) of `shape`, each going to a dense run.
template <class F>
[[nodiscard]] CKPT_DETAIL_COLD result<void> each_box(std::span<const std::int64_t> shape, std::uint64_t first,
                                                     std::uint64_t n, F&& f) {
    const auto rank = static_cast<std::uint32_t>(shape.size());
    for (std::uint64_t done = 0; done < n;) {
        // The outermost dimension of which whole steps fit here.
        std::uint64_t inner = 1;
        std::uint32_t cut = rank;
        while (cut > 0) {
            const std::uint64_t grown = inner * static_cast<std::uint64_t>(shape[cut - 1]);
            if ((first + done) % grown != 0 || grown > n - done) break;
            inner = grown;
            --cut;
        }
        gather_region box;
        box.rank = rank;
        std::uint64_t rest = (first + done) / inner;
        std::uint64_t steps = 1;
        for (std::uint32_t i = rank; i-- > 0;) {
            const auto size = static_cast<std::uint64_t>(shape[i]);
            if (i >= cut) {
                box.size[i] = size;
                continue;
            }
            box.start[i] = rest % size;
            box.size[i] = 1;
            rest /= size;
            if (i + 1 == cut) {
                steps = (n - done) / inner;
                if (steps > size - box.start[i]) steps = size - box.start[i];
                box.size[i] = steps;
            }
        }
        box.make_dense();
        if (auto one = f(static_cast<const gather_region&>(box), done); !one) return one;
        done += steps * inner;
    }
    return {};
}

/// Dimensions, the outermost first.
using axis_order = std::array<std::uint8_t, 64>;
inline constexpr axis_order row_major = [] {
    axis_order out{};
    for (std::uint8_t i = 0; i < 64; ++i) out[i] = i;
    return out;
}();

/// Calls `f(part, offset)` for parts of a region with at most `most` elements, which follow each other in `order`;
/// `offset` is that of the destination.
template <class F>
[[nodiscard]] CKPT_DETAIL_COLD result<void> each_part(const gather_region& whole, const axis_order& order,
                                                      std::uint64_t most, std::uint64_t offset, F& f) {
    if (whole.count() <= most) return f(whole, offset);
    std::uint32_t outer = 0;
    while (whole.size[order[outer]] == 1) ++outer;
    const std::uint32_t d = order[outer];
    std::uint64_t inner = 1;
    for (std::uint32_t i = outer + 1; i < whole.rank; ++i) inner *= whole.size[order[i]];
    const std::uint64_t piece = inner >= most ? 1 : most / inner;
    gather_region part = whole;
    for (std::uint64_t at = 0; at < whole.size[d]; at += piece) {
        part.start[d] = whole.start[d] + at;
        part.size[d] = whole.size[d] - at < piece ? whole.size[d] - at : piece;
        if (auto one = each_part(part, order, most, offset + at * whole.stride[d], f); !one) return one;
    }
    return {};
}

/// Copies dense elements of a region, which is a part of `whole`, to where they belong.
void scatter(const gather_region& region, std::size_t size, const std::byte* in, std::byte* out,
             const gather_region& whole) noexcept;

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/gather_region.ipp>
#endif
