// ckpt/tensor/impl/strided.ipp: the definitions of strided.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/tensor/lanes.hpp>
#include <ckpt/tensor/strided.hpp>

#include <algorithm>
#include <new>
#include <utility>

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

CKPT_DETAIL_RARE result<void>
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

CKPT_DETAIL_RARE void merge_axes(std::span<const copy_axis> axes, merged_axes& out) noexcept {
    for (const copy_axis& a : axes) {
        if (a.size == 1) continue;
        copy_axis* const last = out.count != 0 ? &out.axis[out.count - 1] : nullptr;
        if (last != nullptr && last->in == a.size * a.in && last->out == a.size * a.out)
            *last = {last->size * a.size, a.in, a.out};
        else out.axis[out.count++] = a;
    }
}

/// A copy of a matrix whose rows are the columns of its destination: both steps are in bytes, from one row of the
/// source to the next and from one row of the destination to the next.
struct transposition {
    const std::byte* in{};
    std::uint64_t in_step{};
    std::byte* out{};
    std::uint64_t out_step{};
    bool streams{};     ///< around the cache
    std::byte* strip{}; ///< see strip_bytes; null: rows are taken where they are
};

/// How many rows of the source are taken together, so that as many elements of each row of the destination are written
/// together: at least four lines of 64 bytes. Lines one by one, each in another page of memory, took twice as long.
constexpr std::size_t tile_rows(std::size_t size) noexcept { return size > 4 ? 64 : 256 / size; }
/// Where the step from row to row is a multiple of much of a page, their lines would push each other out of the cache.
/// Such rows are first copied into a strip, each this far behind the other. A strip has at most 144 KiB.
constexpr std::size_t strip_pitch(std::size_t size) noexcept { return (size < 4 ? 512 * size : 2048) + 64; }
constexpr std::size_t strip_bytes(std::size_t size) noexcept { return tile_rows(size) * strip_pitch(size); }

#if CKPT_DETAIL_LANES
template <class V, int... Place>
CKPT_DETAIL_INLINE void zip_lanes(const V& a, const V& b, V& low, V& high,
                                  std::integer_sequence<int, Place...>) noexcept {
    constexpr int n = sizeof...(Place);
    low = __builtin_shufflevector(a, b, (Place / 2 + Place % 2 * n)...);
    high = __builtin_shufflevector(a, b, (n / 2 + Place / 2 + Place % 2 * n)...);
}

/// Transposes squares of vectors of 16 bytes: a line of 64 bytes of each row of the destination, from as many rows of
/// the source. `pitch` and `line_pitch` are in bytes.
template <class T>
inline void transpose_lines(const std::byte* in, std::uint64_t pitch, std::byte* out, std::size_t line_pitch) noexcept {
    constexpr std::size_t n = 16 / sizeof(T);
    using vector = lanes<T, n>;
    for (std::size_t part = 0; part < 64; part += 16) {
        vector a[n], b[n];
#pragma GCC unroll 16
        for (std::size_t i = 0; i < n; ++i) load_lanes(in + (part / sizeof(T) + i) * pitch, a[i]);
#pragma GCC unroll 16
        for (std::size_t step = 1; step < n; step *= 2) { // each doubles the elements of one column that stand together
#pragma GCC unroll 16
            for (std::size_t i = 0; i < n / 2; ++i)
                zip_lanes(a[i], a[i + n / 2], b[2 * i], b[2 * i + 1], std::make_integer_sequence<int, int{n}>{});
#pragma GCC unroll 16
            for (std::size_t i = 0; i < n; ++i) a[i] = b[i];
        }
#pragma GCC unroll 16
        for (std::size_t i = 0; i < n; ++i) store_lanes(a[i], out + i * line_pitch + part);
    }
}

/// Copies `rows` of the source, a multiple of 64 bytes in number, and `columns`, a multiple of 16 bytes.
template <class T>
inline void transpose_tiles(const transposition& t, std::uint64_t rows, std::uint64_t columns) noexcept {
    constexpr std::size_t in_line = 64 / sizeof(T), n = 16 / sizeof(T), pitch = strip_pitch(sizeof(T));
    constexpr std::size_t most_rows = tile_rows(sizeof(T)), made_pitch = most_rows * sizeof(T);
    const std::size_t most_bytes = t.strip != nullptr ? pitch - 64 : 256;
    alignas(64) std::byte made[n * made_pitch];
    for (std::uint64_t row = 0; row < rows; row += most_rows)
        for (std::uint64_t at = 0; at < columns * sizeof(T); at += most_bytes) {
            const std::uint64_t left = columns * sizeof(T) - at;
            const std::size_t bytes = left < most_bytes ? static_cast<std::size_t>(left) : most_bytes;
            const std::size_t high = rows - row < most_rows ? static_cast<std::size_t>(rows - row) : most_rows;
            const std::byte* from = t.in + row * t.in_step + at;
            if (t.strip != nullptr) {
                for (std::size_t i = 0; i < high; ++i) std::memcpy(t.strip + i * pitch, from + i * t.in_step, bytes);
                from = t.strip;
            }
            const std::uint64_t step = t.strip != nullptr ? pitch : t.in_step;
            for (std::size_t k = 0; k < bytes; k += 16) {
                for (std::size_t i = 0; i < high; i += in_line)
                    transpose_lines<T>(from + i * step + k, step, made + i * sizeof(T), made_pitch);
                std::byte* to = t.out + (at + k) / sizeof(T) * t.out_step + row * sizeof(T);
                for (std::size_t i = 0; i < n; ++i, to += t.out_step) {
                    if (!t.streams) std::memcpy(to, made + i * made_pitch, high * sizeof(T));
                    else
                        for (std::size_t byte = 0; byte < high * sizeof(T); byte += 64)
                            stream_line(to + byte, made + i * made_pitch + byte);
                }
            }
        }
}
#endif

/// Copies along two axes: source elements follow each other along the first one, those of the destination along the
/// other.
CKPT_DETAIL_COLD inline void transpose(const copy_axis& along, const copy_axis& across, std::size_t size,
                                       const std::byte* in, std::byte* out, bool streams) noexcept {
    std::uint64_t rows = 0;
    std::uint64_t columns = 0;
#if CKPT_DETAIL_LANES
#if defined(CKPT_COMPILED)
    constexpr std::size_t least = 1;
#else
    constexpr std::size_t least = 2; // the largest of them, for the least frequent elements
#endif
    if (size >= least && size < 16) {
        rows = across.size - across.size % (64 / size);
        columns = along.size - along.size % (16 / size);
        const std::uint64_t odd = reinterpret_cast<std::uintptr_t>(out) | (along.out * size);
        transposition t{in, across.in * size, out, along.out * size, streams && odd % 64 == 0};
        // Without a strip, where there is no memory for it, the copy only takes longer.
        const bool collides = t.in_step % 1024 == 0 && rows * columns * size >= strip_bytes(size);
        if (collides) t.strip = static_cast<std::byte*>(::operator new(strip_bytes(size), std::nothrow));
        if (size == 2) transpose_tiles<std::uint16_t>(t, rows, columns);
        else if (size == 4) transpose_tiles<std::uint32_t>(t, rows, columns);
        else if (size == 8) transpose_tiles<std::uint64_t>(t, rows, columns);
        if constexpr (least == 1)
            if (size == 1) transpose_tiles<std::uint8_t>(t, rows, columns);
        ::operator delete(t.strip);
    }
#endif
    const auto others = [&](std::uint64_t row, std::uint64_t last, std::uint64_t first) {
        constexpr std::uint64_t tile = 32; // so that each cache line is loaded once
        for (; row < last; row += tile)
            for (std::uint64_t at = first; at < along.size; at += tile) {
                const std::uint64_t n = (std::min)(tile, along.size - at);
                for (std::uint64_t i = row; i < (std::min)(last, row + tile); ++i)
                    copy_run(size, in + (i * across.in + at) * size, size, out + (at * along.out + i) * size,
                             along.out * size, n);
            }
    };
    others(0, rows, columns);
    others(rows, across.size, 0);
}

CKPT_DETAIL_RARE void copy_axes(std::span<const copy_axis> axes, std::size_t size, const std::byte* in, std::byte* out,
                                std::uint64_t whole_bytes) noexcept {
    merged_axes all;
    merge_axes(axes, all);
    if (all.count == 0) {
        std::memcpy(out, in, size);
        return;
    }
    std::uint64_t bytes = size;
    for (std::size_t d = 0; d < all.count; ++d) bytes *= all.axis[d].size;
    const bool streams = (std::max)(bytes, whole_bytes) >= streamed_bytes;
    copy_axis last = all.axis[--all.count];
    // Two axes are copied at once where source elements follow each other along one and those of the destination along
    // the other.
    std::size_t along = all.count;
    if (last.out == 1 && last.in != 1)
        for (std::size_t d = 0; d < all.count; ++d)
            if (all.axis[d].in == 1) along = d;
    if (last.in == 1 && last.out != 1)
        for (std::size_t d = 0; d < all.count; ++d)
            if (all.axis[d].out == 1) along = d;
    copy_axis other;
    const bool transposes = along != all.count;
    if (transposes) {
        other = all.axis[along];
        --all.count;
        for (std::size_t d = along; d < all.count; ++d) all.axis[d] = all.axis[d + 1];
        if (last.in == 1) std::swap(last, other); // `other` is that of the source
    }
    std::array<std::uint64_t, 64> index{};
    std::uint64_t in_at = 0;
    std::uint64_t out_at = 0;
    do {
        const std::byte* const from = in + in_at * size;
        std::byte* const to = out + out_at * size;
        if (transposes) transpose(other, last, size, from, to, streams);
        else if (streams && all.count != 0 && last.in == 1 && last.out == 1)
            stream_copy(to, from, static_cast<std::size_t>(last.size * size), all.axis[all.count - 1].in * size);
        else copy_run(size, from, last.in * size, to, last.out * size, last.size);
    } while (next_index(
        index, all.count, [&](std::size_t d) { return all.axis[d].size; },
        [&](std::size_t d, std::uint64_t n) {
            in_at += n * all.axis[d].in;
            out_at += n * all.axis[d].out;
        }));
    if (streams) end_streams();
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

CKPT_DETAIL_RARE void gather(const std::byte* storage, const box& b, std::size_t size, std::byte* out) noexcept {
    const std::array<copy_axis, 64> axes = axes_of(b);
    const std::byte* in = storage + b.offset * size;
    copy_axes({axes.data(), b.rank}, size, in, out);
}

CKPT_DETAIL_DEF bool goes_forward(const box& b) noexcept {
    for (std::uint32_t i = 1; i < b.rank; ++i)
        if (b.strides[i - 1] / b.sizes[i] < b.strides[i]) return false;
    return true;
}

CKPT_DETAIL_RARE result<void> gather(const storage_cursor& from, const box& b, std::size_t size, std::byte* out,
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
            copy_axes({axes.data() + cut, b.rank - cut}, size, staging.data(), out + (out_at + at * here.out) * size,
                      count(b) * size);
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

CKPT_DETAIL_RARE std::array<copy_axis, 64> stored_axes(const box& b) noexcept {
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

CKPT_DETAIL_RARE result<void> for_each_stored_part(const box& whole, std::uint64_t most,
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
