// ckpt/tensor/impl/strided.ipp: the definitions of strided.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/tensor/strided.hpp>

#include <algorithm>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF bool make_box(std::span<const std::int64_t> shape, std::span<const std::int64_t> strides,
                              std::uint64_t offset, box& out) noexcept {
    out.offset = offset;
    out.rank = 0;
    for (std::size_t i = 0; i < shape.size(); ++i) {
        std::uint64_t size{};
        std::uint64_t stride{};
        if (!checked_narrow(shape[i], size) || !checked_narrow(strides[i], stride) || size == 0) return false;
        if (size == 1) continue;
        std::uint64_t step{};
        if (!checked_mul(size, stride, step)) return false;
        if (out.rank != 0 && out.strides[out.rank - 1] == step) {
            if (!checked_mul(out.sizes[out.rank - 1], size, out.sizes[out.rank - 1])) return false;
            out.strides[out.rank - 1] = stride;
            continue;
        }
        if (out.rank == out.sizes.size()) return false;
        out.sizes[out.rank] = size;
        out.strides[out.rank++] = stride;
    }
    return true;
}

CKPT_DETAIL_DEF bool reach(const box& b, std::uint64_t& out) noexcept {
    if (!checked_add(b.offset, 1, out)) return false;
    for (std::uint32_t i = 0; i < b.rank; ++i) {
        std::uint64_t extent{};
        if (!checked_mul(b.sizes[i] - 1, b.strides[i], extent) || !checked_add(out, extent, out)) return false;
    }
    return true;
}

CKPT_DETAIL_DEF std::uint64_t count(const box& b) noexcept {
    std::uint64_t out = 1;
    for (std::uint32_t i = 0; i < b.rank; ++i) out *= b.sizes[i];
    return out;
}

CKPT_DETAIL_DEF result<void>
for_each_part(const box& whole, std::uint64_t most,
              function_ref<result<void>(const box&, std::uint64_t first, std::uint64_t count)> f) {
    // A part has all of dimensions [cut + 1, rank), a piece of dimension `cut`, and one index of those before.
    std::uint32_t cut = whole.rank;
    std::uint64_t inner = 1;
    while (cut > 0 && whole.sizes[cut - 1] <= most / inner) inner *= whole.sizes[--cut];
    if (cut == 0) return f(whole, std::uint64_t{0}, inner);
    --cut;
    const std::uint64_t piece = most / inner;
    box part = whole;
    part.rank = whole.rank - cut;
    for (std::uint32_t i = 0; i < part.rank; ++i) {
        part.sizes[i] = whole.sizes[cut + i];
        part.strides[i] = whole.strides[cut + i];
    }
    std::array<std::uint64_t, 64> index{};
    std::uint64_t base = whole.offset;
    std::uint64_t done = 0;
    do {
        for (std::uint64_t at = 0; at < whole.sizes[cut]; at += piece) {
            part.offset = base + at * whole.strides[cut];
            part.sizes[0] = whole.sizes[cut] - at < piece ? whole.sizes[cut] - at : piece;
            const std::uint64_t n = part.sizes[0] * inner;
            if (result<void> one = f(part, done, n); !one) return one;
            done += n;
        }
    } while (next_index(
        index, cut, [&](std::size_t d) { return whole.sizes[d]; },
        [&](std::size_t d, std::uint64_t n) { base += n * whole.strides[d]; }));
    return {};
}

CKPT_DETAIL_DEF void copy_run(std::size_t size, const std::byte* in, std::uint64_t in_step, std::byte* out,
                              std::uint64_t out_step, std::uint64_t n) noexcept {
    if (in_step == size && out_step == size) {
        std::memcpy(out, in, static_cast<std::size_t>(n * size));
        return;
    }
    switch (size) {
    case 1: return copy_run<1>(in, in_step, out, out_step, n);
    case 2: return copy_run<2>(in, in_step, out, out_step, n);
    case 4: return copy_run<4>(in, in_step, out, out_step, n);
    case 8: return copy_run<8>(in, in_step, out, out_step, n);
    default: return copy_run<16>(in, in_step, out, out_step, n);
    }
}

CKPT_DETAIL_DEF void copy_axes(std::span<const copy_axis> axes, std::size_t size, const std::byte* in,
                               std::byte* out) noexcept {
    if (axes.empty()) {
        std::memcpy(out, in, size);
        return;
    }
    const copy_axis last = axes.back();
    std::array<std::uint64_t, 64> index{};
    std::uint64_t in_at = 0;
    std::uint64_t out_at = 0;
    do {
        copy_run(size, in + in_at * size, last.in * size, out + out_at * size, last.out * size, last.size);
    } while (next_index(
        index, axes.size() - 1, [&](std::size_t d) { return axes[d].size; },
        [&](std::size_t d, std::uint64_t n) {
            in_at += n * axes[d].in;
            out_at += n * axes[d].out;
        }));
}

CKPT_DETAIL_DEF std::array<copy_axis, 64> axes_of(const box& b) noexcept {
    std::array<copy_axis, 64> axes{};
    std::uint64_t step = 1;
    for (std::uint32_t i = b.rank; i-- > 0;) {
        axes[i] = {b.sizes[i], b.strides[i], step};
        step *= b.sizes[i];
    }
    return axes;
}

CKPT_DETAIL_DEF void gather(const std::byte* storage, const box& b, std::size_t size, std::byte* out) noexcept {
    const std::array<copy_axis, 64> axes = axes_of(b);
    const std::byte* in = storage + b.offset * size;
    // A transposed matrix is copied in tiles, so that each cache line is loaded once.
    if (b.rank == 2 && axes[0].in == 1 && axes[1].in > 1) {
        constexpr std::uint64_t tile = 32;
        for (std::uint64_t r = 0; r < axes[0].size; r += tile)
            for (std::uint64_t c = 0; c < axes[1].size; c += tile) {
                const std::uint64_t rows = axes[0].size - r < tile ? axes[0].size - r : tile;
                const std::uint64_t columns = axes[1].size - c < tile ? axes[1].size - c : tile;
                const copy_axis part[]{{rows, axes[0].in, axes[0].out}, {columns, axes[1].in, axes[1].out}};
                copy_axes(part, size, in + (r * axes[0].in + c * axes[1].in) * size,
                          out + (r * axes[0].out + c * axes[1].out) * size);
            }
        return;
    }
    copy_axes({axes.data(), b.rank}, size, in, out);
}

CKPT_DETAIL_DEF bool goes_forward(const box& b) noexcept {
    for (std::uint32_t i = 1; i < b.rank; ++i)
        if (b.strides[i - 1] / b.sizes[i] < b.strides[i]) return false;
    return true;
}

CKPT_DETAIL_DEF result<void> gather(const storage_cursor& from, const box& b, std::size_t size, std::byte* out,
                                    std::vector<std::byte>& staging) {
    if (is_dense(b)) return from.read(b.offset * size, {out, static_cast<std::size_t>(count(b) * size)});
    std::array<copy_axis, 64> axes = stored_axes(b);
    // One read covers the axes [cut + 1, rank) and `piece` steps of axis `cut`.
    std::uint32_t cut = b.rank;
    std::uint64_t span = 1; // elements from the first to the last one of a read
    std::uint64_t piece = 1;
    while (cut > 0) {
        const copy_axis& axis = axes[cut - 1];
        const std::uint64_t gap = axis.in > span ? (axis.in - span) * size : 0;
        const std::uint64_t steps = axis.in == 0 ? axis.size : (staging_bytes / size - span) / axis.in + 1;
        --cut;
        piece = gap > worthwhile_gap ? 1 : steps < axis.size ? steps : axis.size;
        span += (piece - 1) * axis.in;
        if (piece < axis.size) break;
        piece = axis.size;
    }
    const std::uint64_t inner_span = span - (piece - 1) * axes[cut].in;
    staging.resize((std::max)(staging.size(), static_cast<std::size_t>(span * size)));
    std::array<std::uint64_t, 64> index{};
    std::uint64_t in_at = b.offset;
    std::uint64_t out_at = 0;
    do {
        for (std::uint64_t at = 0; at < axes[cut].size; at += piece) {
            const copy_axis here = axes[cut];
            const std::uint64_t n = here.size - at < piece ? here.size - at : piece;
            const std::uint64_t bytes = ((n - 1) * here.in + inner_span) * size;
            auto done = from.read((in_at + at * here.in) * size, {staging.data(), static_cast<std::size_t>(bytes)});
            if (!done) return done;
            axes[cut].size = n;
            copy_axes({axes.data() + cut, b.rank - cut}, size, staging.data(), out + (out_at + at * here.out) * size);
            axes[cut].size = here.size;
        }
    } while (next_index(
        index, cut, [&](std::size_t d) { return axes[d].size; },
        [&](std::size_t d, std::uint64_t n) {
            in_at += n * axes[d].in;
            out_at += n * axes[d].out;
        }));
    return {};
}

CKPT_DETAIL_DEF std::array<copy_axis, 64> stored_axes(const box& b) noexcept {
    std::array<copy_axis, 64> axes = axes_of(b);
    for (std::uint32_t i = 1; i < b.rank; ++i) { // insertion sort
        const copy_axis axis = axes[i];
        std::uint32_t k = i;
        for (; k > 0 && axes[k - 1].in < axis.in; --k) axes[k] = axes[k - 1];
        axes[k] = axis;
    }
    return axes;
}

CKPT_DETAIL_DEF bool stored_part::is_in_place() const noexcept {
    for (const copy_axis& axis : axes)
        if (axis.in != axis.out) return false;
    return true;
}

CKPT_DETAIL_DEF std::uint64_t stored_part::place(std::uint64_t n) const noexcept {
    std::uint64_t out = first;
    for (const copy_axis& axis : axes) {
        out += n / axis.in * axis.out;
        n %= axis.in;
    }
    return out;
}

/// The elements of axes, whose `in` are strides of the storage, from an offset on.
inline box merged_box(std::span<const copy_axis> axes, std::uint64_t offset) noexcept {
    box out;
    out.offset = offset;
    for (const copy_axis& axis : axes) {
        if (out.rank != 0 && out.strides[out.rank - 1] == axis.size * axis.in) {
            out.sizes[out.rank - 1] *= axis.size;
            out.strides[out.rank - 1] = axis.in;
        } else if (axis.size != 1) {
            out.sizes[out.rank] = axis.size;
            out.strides[out.rank++] = axis.in;
        }
    }
    return out;
}

CKPT_DETAIL_DEF result<void> for_each_stored_part(const box& whole, std::uint64_t most,
                                                  function_ref<result<void>(const stored_part&)> f) {
    if (whole.rank == 0) return f({whole, {}, 0, 1});
    std::array<copy_axis, 64> axes = stored_axes(whole);
    // A part has all of the axes [cut + 1, rank), a piece of axis `cut`, and one index of those before.
    std::uint32_t cut = whole.rank - 1;
    std::uint64_t inner = 1;
    for (; cut > 0 && axes[cut].size <= most / inner; --cut) inner *= axes[cut].size;
    const copy_axis steps = axes[cut];
    const std::uint64_t piece = most / inner < steps.size ? most / inner : steps.size;
    const std::uint32_t rank = whole.rank - cut;
    std::array<copy_axis, 64> dense = axes;
    for (std::uint64_t i = whole.rank, step = 1; i-- > cut; step *= axes[i].size) dense[i].in = step;
    std::array<std::uint64_t, 64> index{};
    std::uint64_t in_at = whole.offset;
    std::uint64_t out_at = 0;
    do {
        for (std::uint64_t at = 0; at < steps.size; at += piece) {
            const std::uint64_t n = steps.size - at < piece ? steps.size - at : piece;
            axes[cut].size = dense[cut].size = n;
            const stored_part part{merged_box({axes.data() + cut, rank}, in_at + at * steps.in),
                                   {dense.data() + cut, rank},
                                   out_at + at * steps.out,
                                   n * inner};
            if (auto one = f(part); !one) return one;
        }
    } while (next_index(
        index, cut, [&](std::size_t d) { return axes[d].size; },
        [&](std::size_t d, std::uint64_t n) {
            in_at += n * axes[d].in;
            out_at += n * axes[d].out;
        }));
    return {};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
