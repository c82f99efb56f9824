// ckpt/state/impl/gather_read.ipp: the definitions of gather_read.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/gather.hpp>
#include <ckpt/state/gather_read.hpp>
#include <ckpt/tensor/access.hpp>
#include <ckpt/tensor/convert.hpp>
#include <ckpt/tensor/geometry.hpp>
#include <ckpt/tensor/pieces.hpp>
#include <ckpt/tensor/storage.hpp>
#include <ckpt/tensor/strided.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The size in bytes of the pieces of a node over compressed storages, each of which goes through all that it reshapes,
/// or through a factor.
inline constexpr std::uint64_t reshaped_part_bytes = std::uint64_t{1} << 23;
inline constexpr std::uint64_t product_part_bytes = std::uint64_t{1} << 21;

CKPT_DETAIL_RARE result<void> gather_reader::read(std::uint32_t of, std::uint64_t first, std::uint64_t n,
                                                  std::byte* out) const {
    return each_box(plan_.node(of).sizes(), first, n, [&](const gather_region& box, std::uint64_t done) {
        return fetch(of, box, out + done * itemsize(plan_.node(of).type));
    });
}

CKPT_DETAIL_RARE result<void> gather_reader::fetch(std::uint32_t of, const gather_region& region,
                                                   std::byte* out) const {
    const gather_node& node = plan_.node(of);
    switch (node.op) {
    case gather_op::leaf: return fetch_leaf(node, region, out);
    case gather_op::permute: {
        gather_region inner = region;
        for (std::uint32_t i = 0; i < region.rank; ++i) {
            const auto d = static_cast<std::size_t>(node.numbers[i]);
            inner.start[d] = region.start[i];
            inner.size[d] = region.size[i];
            inner.stride[d] = region.stride[i];
        }
        return fetch(node.parts[0], inner, out);
    }
    case gather_op::narrow: {
        gather_region inner = region;
        inner.start[node.dimension] += static_cast<std::uint64_t>(node.numbers[0]);
        return fetch(node.parts[0], inner, out);
    }
    case gather_op::reshape: return fetch_reshaped(node, region, out);
    case gather_op::concat: return fetch_parts(node, region, out);
    case gather_op::paste: return fetch_boxes(node, region, out);
    case gather_op::pad: return fetch_padded(node, region, out);
    case gather_op::cast: return fetch_cast(node, region, out);
    case gather_op::fill: fetch_value(node, region, out); return {};
    case gather_op::product: return fetch_product(node, region, out);
    case gather_op::times: return fetch_times(node, region, out);
    case gather_op::dequantize: return fetch_numbers(node, region, out);
    }
    return error{.code = errc::internal, .detail = "a gather plan with an unknown operation"};
}

/// The elements of a region of a strided tensor, as a box of its storage. False where they do not fit into 64 bits.
[[nodiscard]] inline bool box_of(const tensor_data& data, const gather_region& region, box& out) noexcept {
    std::array<std::int64_t, 64> sizes{};
    std::uint64_t at = data.storage_offset;
    for (std::uint32_t i = 0; i < region.rank; ++i) {
        sizes[i] = static_cast<std::int64_t>(region.size[i]);
        at += region.start[i] * static_cast<std::uint64_t>(data.strides[i]);
    }
    return make_box({sizes.data(), region.rank}, data.steps(), at, out);
}

CKPT_DETAIL_RARE result<void> gather_reader::fetch_leaf(const gather_node& node, const gather_region& region,
                                                        std::byte* out) const {
    const tensor_data& d = *node.data;
    if (auto usable = check_access(node.data, node.source); !usable) return usable;
    if (d.neg && !has_negation(d.type)) return lazy_bit_error(d);
    auto access = open_storage(d, *node.source, true, &leaves_);
    if (!access) return std::move(access).failure();
    const std::size_t size = itemsize(d.type);
    const byte_order order = node.source->order(d.storage);
    const bool finished = is_finished(d.type, order, native_order(), d.neg, d.conj);
    const error broken{.code = errc::internal, .detail = "a tensor that was never checked against its storage"};
    const auto dense = [&](const gather_region& part, std::byte* to) -> result<void> {
        box b;
        if (!box_of(d, part, b)) return broken;
        if (auto done = access->gather_part(b, size, to); !done) return done;
        if (!finished) finish_elements(d.type, order, native_order(), d.neg, d.conj, to, part.count());
        return {};
    };
    if (region.is_dense()) return dense(region, out);
    if (access->memory != nullptr && finished) {
        std::array<copy_axis, 64> axes{};
        std::uint64_t at = d.storage_offset;
        for (std::uint32_t i = 0; i < region.rank; ++i) {
            axes[i] = {region.size[i], static_cast<std::uint64_t>(d.strides[i]), region.stride[i]};
            at += region.start[i] * static_cast<std::uint64_t>(d.strides[i]);
        }
        copy_axes({axes.data(), region.rank}, size, access->memory + at * size, out);
        return {};
    }
    std::vector<std::byte> buffer;
    const auto staged = [&](const gather_region& part, std::uint64_t offset) -> result<void> {
        buffer.resize(static_cast<std::size_t>(part.count() * size));
        if (auto done = dense(part, buffer.data()); !done) return done;
        scatter(part, size, buffer.data(), out + offset * size, region);
        return {};
    };
    return each_part(region, order_of(node), (access->memory == nullptr ? stored_part_bytes : part_bytes) / size, 0,
                     staged);
}

CKPT_DETAIL_RARE axis_order gather_reader::order_of(const gather_node& node) const noexcept {
    axis_order out = row_major;
    axis_order below = row_major; // the dimensions of `at` that are those of the node
    const gather_node* at = &node;
    for (; at->op != gather_op::leaf && at->op != gather_op::reshape && at->op != gather_op::product &&
           at->op != gather_op::fill;
         at = &plan_.node(at->parts[0]))
        if (at->op == gather_op::permute)
            for (std::uint32_t i = 0; i < node.rank; ++i) below[i] = static_cast<std::uint8_t>(at->numbers[below[i]]);
    const auto less = [&](std::uint8_t a, std::uint8_t b) {
        return at->op == gather_op::leaf ? at->data->strides[below[a]] < at->data->strides[below[b]]
                                         : below[a] > below[b];
    };
    for (std::uint32_t i = 1; i < node.rank; ++i) { // insertion sort: the largest steps first
        const std::uint8_t axis = out[i];
        std::uint32_t k = i;
        for (; k > 0 && less(out[k - 1], axis); --k) out[k] = out[k - 1];
        out[k] = axis;
    }
    return out;
}

CKPT_DETAIL_RARE result<void> gather_reader::fetch_reshaped(const gather_node& node, const gather_region& region,
                                                            std::byte* out) const {
    const std::size_t size = itemsize(node.type);
    // A region is one run of elements where one dimension is cut and all after it are whole.
    std::uint32_t cut = region.rank;
    while (cut > 0 && region.size[cut - 1] == static_cast<std::uint64_t>(node.shape[cut - 1])) --cut;
    bool run = true;
    for (std::uint32_t i = 0; cut > 0 && i + 1 < cut; ++i) run = run && region.size[i] == 1;
    if (run && region.is_dense()) {
        std::uint64_t first = 0;
        for (std::uint32_t i = 0; i < region.rank; ++i)
            first = first * static_cast<std::uint64_t>(node.shape[i]) + region.start[i];
        return read(node.parts[0], first, region.count(), out);
    }
    if (run) {
        std::vector<std::byte> buffer;
        const auto staged = [&](const gather_region& part, std::uint64_t offset) -> result<void> {
            buffer.resize(static_cast<std::size_t>(part.count() * size));
            gather_region dense = part;
            dense.make_dense();
            if (auto done = fetch_reshaped(node, dense, buffer.data()); !done) return done;
            scatter(part, size, buffer.data(), out + offset * size, region);
            return {};
        };
        return each_part(region, row_major, (node.compressed ? reshaped_part_bytes : part_bytes) / size, 0, staged);
    }
    // Several runs: one index of the first dimension that is not single at a time.
    std::uint32_t d = 0;
    while (region.size[d] == 1) ++d;
    gather_region one = region;
    one.size[d] = 1;
    for (std::uint64_t i = 0; i < region.size[d]; ++i) {
        one.start[d] = region.start[d] + i;
        if (auto done = fetch_reshaped(node, one, out + i * region.stride[d] * size); !done) return done;
    }
    return {};
}

CKPT_DETAIL_RARE result<void> gather_reader::fetch_parts(const gather_node& node, const gather_region& region,
                                                         std::byte* out) const {
    const std::uint32_t d = node.dimension;
    const std::uint64_t begin = region.start[d];
    const std::uint64_t end = begin + region.size[d];
    const std::int64_t* first =
        std::upper_bound(node.numbers, node.numbers + node.count, static_cast<std::int64_t>(begin));
    for (auto i = static_cast<std::uint32_t>(first - node.numbers) - 1; i < node.count; ++i) {
        const auto part_begin = static_cast<std::uint64_t>(node.numbers[i]);
        if (part_begin >= end) break;
        const std::uint64_t part_end = part_begin + static_cast<std::uint64_t>(plan_.node(node.parts[i]).shape[d]);
        const std::uint64_t from = part_begin > begin ? part_begin : begin;
        const std::uint64_t to = part_end < end ? part_end : end;
        if (from >= to) continue;
        gather_region inner = region;
        inner.start[d] = from - part_begin;
        inner.size[d] = to - from;
        if (auto one = fetch(node.parts[i], inner, out + (from - begin) * region.stride[d] * itemsize(node.type)); !one)
            return one;
    }
    return {};
}

CKPT_DETAIL_RARE result<void> gather_reader::fetch_boxes(const gather_node& node, const gather_region& region,
                                                         std::byte* out) const {
    const std::int64_t* ends = node.numbers + std::size_t{node.count} * node.rank;
    const std::int64_t* first = std::upper_bound(ends, ends + node.count, static_cast<std::int64_t>(region.start[0]));
    for (auto i = static_cast<std::size_t>(first - ends); i < node.count; ++i) {
        const std::int64_t* offsets = node.numbers + i * node.rank;
        if (static_cast<std::uint64_t>(offsets[0]) >= region.start[0] + region.size[0]) break;
        gather_region inner = region;
        std::uint64_t to = 0;
        bool meets = true;
        for (std::uint32_t d = 0; d < node.rank && meets; ++d) {
            const auto offset = static_cast<std::uint64_t>(offsets[d]);
            const std::uint64_t begin = (std::max)(offset, region.start[d]);
            const std::uint64_t end =
                (std::min)(offset + static_cast<std::uint64_t>(plan_.node(node.parts[i]).shape[d]),
                           region.start[d] + region.size[d]);
            meets = begin < end;
            inner.start[d] = begin - offset;
            inner.size[d] = end - begin;
            to += (begin - region.start[d]) * region.stride[d];
        }
        if (!meets) continue;
        if (auto one = fetch(node.parts[i], inner, out + to * itemsize(node.type)); !one) return one;
    }
    return {};
}

CKPT_DETAIL_RARE result<void> gather_reader::fetch_padded(const gather_node& node, const gather_region& region,
                                                          std::byte* out) const {
    const std::uint32_t d = node.dimension;
    const std::size_t size = itemsize(node.type);
    const auto before = static_cast<std::uint64_t>(node.numbers[0]);
    const std::uint64_t after = before + static_cast<std::uint64_t>(plan_.node(node.parts[0]).shape[d]);
    const std::uint64_t begin = region.start[d];
    const std::uint64_t end = begin + region.size[d];
    const auto clamp = [&](std::uint64_t at) { return at < begin ? begin : at > end ? end : at; };
    const std::uint64_t inner_begin = clamp(before);
    const std::uint64_t inner_end = clamp(after);
    gather_region part = region;
    const std::pair<std::uint64_t, std::uint64_t> blanks[]{{begin, inner_begin}, {inner_end, end}};
    for (const auto& [from, to] : blanks) {
        if (from >= to) continue;
        part.size[d] = to - from;
        fetch_value(node, part, out + (from - begin) * region.stride[d] * size);
    }
    if (inner_begin >= inner_end) return {};
    part.start[d] = inner_begin - before;
    part.size[d] = inner_end - inner_begin;
    return fetch(node.parts[0], part, out + (inner_begin - begin) * region.stride[d] * size);
}

CKPT_DETAIL_RARE void gather_reader::fetch_value(const gather_node& node, const gather_region& region,
                                                 std::byte* out) noexcept {
    std::array<copy_axis, 64> axes{};
    for (std::uint32_t i = 0; i < region.rank; ++i) axes[i] = {region.size[i], 0, region.stride[i]};
    copy_axes({axes.data(), region.rank}, itemsize(node.type), node.value, out);
}

[[nodiscard]] CKPT_DETAIL_COLD inline error not_castable(ckpt::dtype from, ckpt::dtype to) {
    return {.code = errc::conversion,
            .detail = str_cat("a value of the ", ckpt::name(from), " tensor does not fit into ", ckpt::name(to))};
}

CKPT_DETAIL_RARE result<bool> gather_reader::cast_rows(const gather_node& node, const gather_region& region,
                                                       std::byte* out) const {
    const gather_node& leaf = plan_.node(node.parts[0]);
    if (leaf.op != gather_op::leaf || !check_access(leaf.data, leaf.source)) return false;
    const tensor_data& d = *leaf.data;
    if (!is_finished(d.type, leaf.source->order(d.storage), native_order(), d.neg, d.conj)) return false;
    auto access = open_storage(d, *leaf.source, false, &leaves_);
    if (!access || access->memory == nullptr) return false;
    std::array<copy_axis, 64> axes{};
    std::uint64_t at = d.storage_offset;
    for (std::uint32_t i = 0; i < region.rank; ++i) {
        axes[i] = {region.size[i], static_cast<std::uint64_t>(d.strides[i]), region.stride[i]};
        at += region.start[i] * static_cast<std::uint64_t>(d.strides[i]);
    }
    merged_axes all;
    merge_axes({axes.data(), region.rank}, all);
    constexpr std::uint64_t worthwhile = 64; // elements in a row
    const copy_axis row = all.count != 0 ? all.axis[--all.count] : copy_axis{};
    if (row.size < worthwhile || row.in != 1 || row.out != 1) return false;
    const std::size_t in_size = itemsize(d.type);
    const std::size_t out_size = itemsize(node.type);
    std::array<std::uint64_t, 64> index{};
    std::uint64_t to = 0;
    do {
        for (std::uint64_t first = 0; first < row.size; first += part_bytes) {
            const std::uint64_t n = (std::min)(row.size - first, part_bytes);
            if (convert(d.type, access->memory + (at + first) * in_size, node.type, out + (to + first) * out_size, n) !=
                n)
                return not_castable(d.type, node.type);
            if (auto going = access->from.count(n * in_size); !going) return std::move(going).failure();
        }
    } while (next_index(
        index, all.count, [&](std::size_t k) { return all.axis[k].size; },
        [&](std::size_t k, std::uint64_t n) {
            at += n * all.axis[k].in;
            to += n * all.axis[k].out;
        }));
    return true;
}

CKPT_DETAIL_RARE result<void> gather_reader::fetch_cast(const gather_node& node, const gather_region& region,
                                                        std::byte* out) const {
    const ckpt::dtype from = plan_.node(node.parts[0]).type;
    const std::size_t in_size = itemsize(from);
    const std::size_t out_size = itemsize(node.type);
    if (auto done = cast_rows(node, region, out); !done || *done)
        return done ? result<void>{} : std::move(done).error();
    std::vector<std::byte> input;
    std::vector<std::byte> output;
    const auto staged = [&](const gather_region& part, std::uint64_t offset) -> result<void> {
        const std::uint64_t n = part.count();
        gather_region dense = part;
        dense.make_dense();
        input.resize(static_cast<std::size_t>(n * in_size));
        if (auto done = fetch(node.parts[0], dense, input.data()); !done) return done;
        const bool direct = part.is_dense();
        if (!direct) output.resize(static_cast<std::size_t>(n * out_size));
        std::byte* to = direct ? out + offset * out_size : output.data();
        if (convert(from, input.data(), node.type, to, n) != n) return not_castable(from, node.type);
        if (!direct) scatter(part, out_size, output.data(), out + offset * out_size, region);
        return {};
    };
    return each_part(region, order_of(node), stored_part_bytes / (std::max)(in_size, out_size), 0, staged);
}

/// Sets `out` to one row of B times the matrix A, whose rows are as long as `out`, summed in float64.
inline void multiply_row(const float* row_of_b, const float* a, std::uint64_t rank, std::vector<double>& out) noexcept {
    for (double& x : out) x = 0;
    for (std::uint64_t k = 0; k < rank; ++k) {
        const auto factor = static_cast<double>(row_of_b[k]);
        const float* line = a + k * out.size();
        for (std::size_t j = 0; j < out.size(); ++j) out[j] += factor * static_cast<double>(line[j]);
    }
}

CKPT_DETAIL_RARE result<void> gather_reader::fetch_product(const gather_node& node, const gather_region& region,
                                                           std::byte* out) const {
    const std::uint64_t r = static_cast<std::uint64_t>(plan_.node(node.parts[2]).shape[0]);
    std::vector<float> base;
    std::vector<float> b;
    std::vector<float> a;
    std::vector<double> row;
    const auto load = [&](std::uint32_t of, std::uint64_t row_at, std::uint64_t rows, std::uint64_t column_at,
                          std::uint64_t columns, std::vector<float>& to) {
        to.resize(static_cast<std::size_t>(rows * columns));
        gather_region part;
        part.rank = 2;
        part.start = {row_at, column_at};
        part.size = {rows, columns};
        part.make_dense();
        return fetch(of, part, reinterpret_cast<std::byte*>(to.data()));
    };
    const auto tile = [&](const gather_region& part, std::uint64_t offset) -> result<void> {
        const std::uint64_t rows = part.size[0];
        const std::uint64_t columns = part.size[1];
        if (auto done = load(node.parts[0], part.start[0], rows, part.start[1], columns, base); !done) return done;
        if (auto done = load(node.parts[1], part.start[0], rows, 0, r, b); !done) return done;
        if (auto done = load(node.parts[2], 0, r, part.start[1], columns, a); !done) return done;
        row.resize(static_cast<std::size_t>(columns));
        for (std::uint64_t i = 0; i < rows; ++i) {
            multiply_row(b.data() + i * r, a.data(), r, row);
            for (std::uint64_t j = 0; j < columns; ++j) {
                const auto under = static_cast<double>(base[static_cast<std::size_t>(i * columns + j)]);
                const auto value = static_cast<float>(under + node.factors[0] * row[static_cast<std::size_t>(j)]);
                std::memcpy(out + (offset + i * part.stride[0] + j * part.stride[1]) * sizeof value, &value,
                            sizeof value);
            }
        }
        return {};
    };
    return each_part(region, row_major, (node.compressed ? product_part_bytes : part_bytes) / sizeof(float), 0, tile);
}

/// Multiplies the dense elements of a region by the factors of a node. `as`: the type in which it is done.
template <class T>
inline void multiply(const gather_node& node, const gather_region& region, dtype as, std::byte* elements,
                     std::vector<std::byte>& buffer) {
    const std::uint64_t n = region.count();
    buffer.resize(static_cast<std::size_t>(n * sizeof(T)));
    (void)convert(node.type, elements, as, buffer.data(), n);
    std::uint64_t inner = 1;
    for (std::uint32_t d = node.dimension + 1; d < region.rank; ++d) inner *= region.size[d];
    std::byte* at = buffer.data();
    for (std::uint64_t i = 0; i < n; i += inner) {
        const std::uint64_t index = region.start[node.dimension] + i / inner % region.size[node.dimension];
        const double factor = node.factors[node.one_factor ? 0 : index];
        for (std::uint64_t k = 0; k < inner; ++k, at += sizeof(T)) {
            T x{};
            std::memcpy(&x, at, sizeof x);
            x = static_cast<T>(static_cast<double>(x) * factor);
            std::memcpy(at, &x, sizeof x);
        }
    }
    (void)convert(as, buffer.data(), node.type, elements, n);
}

CKPT_DETAIL_RARE result<void> gather_reader::fetch_times(const gather_node& node, const gather_region& region,
                                                         std::byte* out) const {
    const std::size_t size = itemsize(node.type);
    std::vector<std::byte> elements;
    std::vector<std::byte> buffer;
    const auto staged = [&](const gather_region& part, std::uint64_t offset) -> result<void> {
        gather_region dense = part;
        dense.make_dense();
        const bool direct = part.is_dense();
        if (!direct) elements.resize(static_cast<std::size_t>(part.count() * size));
        std::byte* const to = direct ? out + offset * size : elements.data();
        if (auto done = fetch(node.parts[0], dense, to); !done) return done;
        if (node.type == dtype::float64) multiply<double>(node, part, dtype::float64, to, buffer);
        else multiply<float>(node, part, dtype::float32, to, buffer);
        if (!direct) scatter(part, size, elements.data(), out + offset * size, region);
        return {};
    };
    return each_part(region, order_of(node), stored_part_bytes / size, 0, staged);
}

CKPT_DETAIL_RARE result<void> gather_reader::fetch_integers(std::uint32_t leaf, const gather_region& region,
                                                            std::vector<std::byte>& stored,
                                                            std::vector<std::int32_t>& out) const {
    const gather_node& node = plan_.node(leaf);
    const auto n = static_cast<std::size_t>(region.count());
    out.resize(n);
    if (bits(node.type) >= 8) {
        gather_region dense = region;
        dense.make_dense();
        stored.resize(n * itemsize(node.type));
        if (auto done = fetch(leaf, dense, stored.data()); !done) return done;
        load_integers(node.type, stored.data(), n, out.data());
        return {};
    }
    if (auto usable = check_access(node.data, node.source); !usable) return usable;
    auto access = open_storage(*node.data, *node.source, true, &leaves_);
    if (!access) return std::move(access).failure();
    std::array<std::int64_t, 64> sizes{};
    tensor_data part = *node.data;
    part.shape = sizes.data();
    part.numel = n;
    for (std::uint32_t i = 0; i < region.rank; ++i) {
        sizes[i] = static_cast<std::int64_t>(region.size[i]);
        part.storage_offset += region.start[i] * static_cast<std::uint64_t>(part.strides[i]);
    }
    return unpack_parts(part, *access, part_bytes,
                        [&](const std::byte* values, std::uint64_t first, std::uint64_t count) {
                            load_integers(ckpt::dtype::quint8, values, static_cast<std::size_t>(count),
                                          out.data() + static_cast<std::size_t>(first));
                        });
}

CKPT_DETAIL_RARE result<void> gather_reader::fetch_numbers(const gather_node& node, const gather_region& region,
                                                           std::byte* out) const {
    const tensor_extra& quantizer = *plan_.node(node.parts[0]).data->extra;
    std::vector<std::byte> stored;
    std::vector<std::int32_t> integers;
    std::vector<float> numbers;
    std::vector<double> scales;
    std::vector<float> zero_points;
    const auto fetch_channels = [&](const gather_region& part) -> result<void> {
        gather_region channels;
        channels.rank = 1;
        channels.start[0] = part.start[quantizer.axis];
        channels.size[0] = part.size[quantizer.axis];
        channels.make_dense();
        scales.resize(static_cast<std::size_t>(channels.size[0]));
        zero_points.resize(scales.size());
        if (auto done = fetch(node.parts[1], channels, reinterpret_cast<std::byte*>(scales.data())); !done) return done;
        return fetch(node.parts[2], channels, reinterpret_cast<std::byte*>(zero_points.data()));
    };
    const auto staged = [&](const gather_region& part, std::uint64_t offset) -> result<void> {
        if (auto done = fetch_integers(node.parts[0], part, stored, integers); !done) return done;
        dequantization how = dequantization_of(quantizer, std::span{part.size}.first(part.rank));
        if (is_per_channel(quantizer.scheme)) {
            if (auto done = fetch_channels(part); !done) return done;
            how.scales = scales.data();
            how.zero_points = zero_points.data();
        }
        numbers.resize(integers.size());
        dequantize(how, 0, integers.data(), integers.size(), numbers.data());
        scatter(part, sizeof(float), reinterpret_cast<const std::byte*>(numbers.data()), out + offset * sizeof(float),
                region);
        return {};
    };
    return each_part(region, order_of(node), stored_part_bytes / sizeof(float), 0, staged);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
