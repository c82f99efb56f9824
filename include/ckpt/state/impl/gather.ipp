// ckpt/state/impl/gather.ipp: the definitions of gather.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/state/gather.hpp>
#include <ckpt/state/gather_read.hpp>
#include <ckpt/tensor/access.hpp>
#include <ckpt/tensor/geometry.hpp>
#include <ckpt/tensor/parts.hpp>
#include <ckpt/tensor/strided.hpp>

#include <algorithm>
#include <cstring>
#include <new>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// A node of `op` whose result is of `type`; the caller sets the rest.
[[nodiscard]] inline gather_node new_node(gather_op op, ckpt::dtype type) noexcept {
    gather_node out{};
    out.op = op;
    out.type = type;
    return out;
}

CKPT_DETAIL_RARE std::uint32_t gather_plan::add_leaf(const tensor_data* data, const storage_source* source) {
    gather_node out = new_node(gather_op::leaf, data->type);
    out.rank = data->rank;
    out.shape = data->shape;
    out.numel = data->numel;
    out.data = data;
    out.source = source;
    if (data->refusal == nullptr && data->kind == layout::strided && source != nullptr) {
        out.backing = source->nbytes(data->storage);
        out.compressed = source->is_compressed(data->storage);
    }
    return add(out);
}

CKPT_DETAIL_RARE std::string_view gather_plan::file_of(std::uint32_t i) const noexcept {
    while (nodes_[i].count > 0) i = nodes_[i].parts[0];
    const gather_node& n = nodes_[i];
    return n.op == gather_op::leaf && n.source != nullptr && n.data->refusal == nullptr &&
                   n.data->kind == layout::strided
               ? n.source->file(n.data->storage)
               : std::string_view{};
}

CKPT_DETAIL_RARE bool gather_plan::same_view(std::uint32_t a, std::uint32_t b) const noexcept {
    if (a == b) return true;
    const gather_node& x = nodes_[a];
    const gather_node& y = nodes_[b];
    if (x.op != gather_op::leaf || y.op != gather_op::leaf || x.source != y.source) return false;
    if (x.data == y.data) return true;
    const tensor_data& p = *x.data;
    const tensor_data& q = *y.data;
    if (p.refusal != nullptr || q.refusal != nullptr || p.kind != q.kind || p.extra != q.extra) return false;
    if (p.kind != layout::strided) return p.extra != nullptr;
    if (p.type != q.type || p.neg != q.neg || p.conj != q.conj || p.rank != q.rank || p.storage != q.storage ||
        p.storage_offset != q.storage_offset)
        return false;
    for (std::uint32_t i = 0; i < p.rank; ++i)
        if (p.shape[i] != q.shape[i] || p.strides[i] != q.strides[i]) return false;
    return true;
}

CKPT_DETAIL_RARE std::uint32_t gather_plan::permute(std::uint32_t of, std::span<const std::int64_t> order) {
    std::vector<std::int64_t> shape;
    for (const std::int64_t d : order) shape.push_back(nodes_[of].shape[d]);
    if (is_leaf(of)) {
        std::vector<std::int64_t> strides;
        for (const std::int64_t d : order) strides.push_back(nodes_[of].data->strides[d]);
        return view(of, shape, strides, nodes_[of].data->storage_offset);
    }
    gather_node out = over(gather_op::permute, of, shape);
    out.numbers = copy(order);
    return add(out);
}

CKPT_DETAIL_RARE std::uint32_t gather_plan::narrow(std::uint32_t of, std::uint32_t dimension, std::int64_t start,
                                                   std::int64_t length) {
    std::vector<std::int64_t> shape(nodes_[of].sizes().begin(), nodes_[of].sizes().end());
    if (start == 0 && length == shape[dimension]) return of;
    shape[dimension] = length;
    if (is_leaf(of)) {
        const tensor_data& d = *nodes_[of].data;
        // Without elements the offset means nothing, and with them the product stays inside the storage.
        const bool empty = d.numel == 0 || length == 0;
        return view(of, shape, {d.strides, d.rank},
                    empty ? 0
                          : d.storage_offset +
                                static_cast<std::uint64_t>(start) * static_cast<std::uint64_t>(d.strides[dimension]));
    }
    gather_node out = over(gather_op::narrow, of, shape);
    out.dimension = static_cast<std::uint16_t>(dimension);
    out.numbers = copy(std::span<const std::int64_t>{&start, 1});
    return add(out);
}

CKPT_DETAIL_RARE std::uint32_t gather_plan::reshape(std::uint32_t of, std::span<const std::int64_t> shape) {
    const gather_node& from = nodes_[of];
    if (from.rank == shape.size() && std::equal(shape.begin(), shape.end(), from.shape)) return of;
    if (is_leaf(of)) {
        std::vector<std::int64_t> strides(shape.size());
        if (strides_of_reshape(*from.data, shape, strides)) return view(of, shape, strides, from.data->storage_offset);
    }
    if (from.op == gather_op::reshape) return reshape(from.parts[0], shape); // only the last shape counts
    return add(over(gather_op::reshape, of, shape));
}

CKPT_DETAIL_RARE std::uint32_t gather_plan::concat(std::span<const std::uint32_t> parts, std::uint32_t dimension) {
    if (parts.size() == 1) return parts[0];
    if (const std::uint32_t whole = adjacent(parts, dimension); whole != none) return whole;
    const gather_node& head = nodes_[parts[0]];
    gather_node out = new_node(gather_op::concat, head.type);
    std::vector<std::int64_t> shape(head.sizes().begin(), head.sizes().end());
    std::vector<std::int64_t> begins;
    std::int64_t at = 0;
    for (const std::uint32_t part : parts) {
        begins.push_back(at);
        at += nodes_[part].shape[dimension];
        if (nodes_[part].depth > out.depth) out.depth = nodes_[part].depth;
    }
    ++out.depth;
    shape[dimension] = at;
    set_shape(out, shape);
    out.dimension = static_cast<std::uint16_t>(dimension);
    out.numbers = copy(std::span<const std::int64_t>{begins});
    out.parts = copy(parts);
    out.count = static_cast<std::uint32_t>(parts.size());
    return add(out);
}

CKPT_DETAIL_RARE std::uint32_t gather_plan::paste(std::span<const std::uint32_t> parts,
                                                  std::span<const std::int64_t> offsets,
                                                  std::span<const std::int64_t> shape) {
    gather_node out = new_node(gather_op::paste, nodes_[parts[0]].type);
    set_shape(out, shape);
    std::vector<std::int64_t> numbers(offsets.begin(), offsets.end());
    std::int64_t end = 0;
    for (std::size_t i = 0; i < parts.size(); ++i) {
        const gather_node& part = nodes_[parts[i]];
        end = (std::max)(end, offsets[i * out.rank] + part.shape[0]);
        numbers.push_back(end);
        if (part.depth > out.depth) out.depth = part.depth;
    }
    ++out.depth;
    out.numbers = copy(std::span<const std::int64_t>{numbers});
    out.parts = copy(parts);
    out.count = static_cast<std::uint32_t>(parts.size());
    return add(out);
}

CKPT_DETAIL_RARE std::uint32_t gather_plan::pad(std::uint32_t of, std::uint32_t dimension, std::int64_t before,
                                                std::int64_t after, const std::array<std::byte, 16>& value) {
    if (before == 0 && after == 0) return of;
    std::vector<std::int64_t> shape(nodes_[of].sizes().begin(), nodes_[of].sizes().end());
    shape[dimension] += before + after;
    gather_node out = over(gather_op::pad, of, shape);
    out.dimension = static_cast<std::uint16_t>(dimension);
    out.numbers = copy(std::span<const std::int64_t>{&before, 1});
    out.value = copy(std::span<const std::byte>{value});
    return add(out);
}

CKPT_DETAIL_RARE std::uint32_t gather_plan::cast(std::uint32_t of, ckpt::dtype type) {
    if (nodes_[of].type == type) return of;
    // Close to compressed storages, so that each is cast in the order of its own bytes.
    if (const gather_node from = nodes_[of];
        from.compressed &&
        (from.op == gather_op::concat || from.op == gather_op::permute || from.op == gather_op::narrow)) {
        std::vector<std::uint32_t> parts(from.parts, from.parts + from.count);
        for (std::uint32_t& part : parts) part = cast(part, type);
        if (from.op == gather_op::concat) return concat(parts, from.dimension);
        if (from.op == gather_op::permute) return permute(parts[0], {from.numbers, from.rank});
        return narrow(parts[0], from.dimension, from.numbers[0], from.shape[from.dimension]);
    }
    gather_node out = over(gather_op::cast, of, nodes_[of].sizes());
    out.type = type;
    return add(out);
}

CKPT_DETAIL_RARE std::uint32_t gather_plan::fill(ckpt::dtype type, std::span<const std::int64_t> shape,
                                                 const std::array<std::byte, 16>& value) {
    gather_node out = new_node(gather_op::fill, type);
    out.depth = 1;
    out.value = copy(std::span<const std::byte>{value});
    set_shape(out, shape);
    return add(out);
}

CKPT_DETAIL_RARE std::uint32_t gather_plan::product(std::uint32_t base, std::uint32_t b, std::uint32_t a,
                                                    double scale) {
    gather_node out = over(gather_op::product, base, nodes_[base].sizes());
    const std::uint32_t parts[]{base, b, a};
    out.parts = copy(std::span<const std::uint32_t>{parts});
    out.count = 3;
    for (const std::uint32_t part : parts) out.depth = (std::max)(out.depth, above(part));
    out.type = ckpt::dtype::float32;
    out.factors = copy(std::span<const double>{&scale, 1});
    return add(out);
}

CKPT_DETAIL_RARE std::uint32_t gather_plan::times(std::uint32_t of, std::uint32_t dimension,
                                                  std::span<const double> factors) {
    gather_node out = over(gather_op::times, of, nodes_[of].sizes());
    out.dimension = static_cast<std::uint16_t>(dimension);
    out.factors = copy(factors);
    out.one_factor = factors.size() == 1;
    return add(out);
}

CKPT_DETAIL_RARE std::uint32_t gather_plan::dequantize(std::uint32_t leaf) {
    const gather_node from = nodes_[leaf];
    const tensor_extra& quantizer = *from.data->extra;
    std::vector<std::uint32_t> parts{leaf};
    if (is_per_channel(quantizer.scheme)) {
        parts.push_back(scales(add_leaf(&quantizer.first[0].data, from.source), has_rounded_scales(quantizer.scheme)));
        parts.push_back(zero_points(add_leaf(&quantizer.first[1].data, from.source)));
    }
    gather_node out = over(gather_op::dequantize, leaf, from.sizes());
    out.parts = copy(std::span<const std::uint32_t>{parts});
    out.count = static_cast<std::uint32_t>(parts.size());
    for (const std::uint32_t part : parts) out.depth = (std::max)(out.depth, above(part));
    out.type = ckpt::dtype::float32;
    return add(out);
}

CKPT_DETAIL_RARE std::uint32_t gather_plan::zero_points(std::uint32_t leaf) {
    const bool integers = info(nodes_[leaf].type).kind == dtype_kind::integer; // torch has them as int64
    return cast(integers ? cast(leaf, ckpt::dtype::int64) : leaf, ckpt::dtype::float32);
}

CKPT_DETAIL_RARE result<void> gather_plan::read(std::uint32_t of, std::uint64_t first, std::uint64_t n, std::byte* out,
                                                storage_readers& leaves) const {
    return gather_reader{*this, leaves}.read(of, first, n, out);
}

CKPT_DETAIL_RARE result<void> gather_plan::read(std::uint32_t of, std::uint64_t first, std::uint64_t n,
                                                std::byte* out) const {
    storage_readers leaves;
    if (auto done = read(of, first, n, out, leaves); !done) return done;
    return leaves.finish();
}

CKPT_DETAIL_RARE result<bool> gather_plan::equal(std::uint32_t a, std::uint32_t b) const {
    const std::size_t size = itemsize(node(a).type);
    const bool compressed = node(a).compressed || node(b).compressed;
    const std::uint64_t most = (compressed ? unordered_part_bytes / 2 : part_bytes) / size;
    std::vector<std::byte> left(static_cast<std::size_t>((std::min)(most, node(a).numel) * size));
    std::vector<std::byte> right(left.size());
    const std::uint64_t numel = node(a).numel;
    storage_readers leaves;
    for (std::uint64_t done = 0; done < numel;) {
        const std::uint64_t n = numel - done < most ? numel - done : most;
        if (auto first = read(a, done, n, left.data(), leaves); !first) return std::move(first).failure();
        if (auto second = read(b, done, n, right.data(), leaves); !second) return std::move(second).failure();
        if (std::memcmp(left.data(), right.data(), static_cast<std::size_t>(n * size)) != 0) return false;
        done += n;
    }
    if (auto checked = leaves.finish(); !checked) return std::move(checked).failure();
    return true;
}

CKPT_DETAIL_RARE std::uint32_t gather_plan::add(gather_node node) {
    for (std::uint32_t i = 0; i < node.count; ++i) {
        add_backing(node.backing, nodes_[node.parts[i]].backing);
        node.compressed = node.compressed || nodes_[node.parts[i]].compressed;
    }
    if (node.op == gather_op::fill) add_backing(node.backing, bytes_of(node.type, node.numel));
    // What is put around an expanded tensor is as large as it claims to be.
    if (node.op == gather_op::pad && in_proportion(node.parts[0]))
        add_backing(node.backing, bytes_of(node.type, node.numel - nodes_[node.parts[0]].numel));
    nodes_.push_back(node);
    return static_cast<std::uint32_t>(nodes_.size() - 1);
}

CKPT_DETAIL_RARE void gather_plan::set_shape(gather_node& node, std::span<const std::int64_t> shape) {
    node.shape = copy(shape);
    node.rank = static_cast<std::uint32_t>(shape.size());
    node.numel = 1;
    for (const std::int64_t n : shape) node.numel = n == 0 ? 0 : node.numel;
    for (const std::int64_t n : shape) node.numel *= static_cast<std::uint64_t>(n);
}

CKPT_DETAIL_RARE gather_node gather_plan::over(gather_op op, std::uint32_t of, std::span<const std::int64_t> shape) {
    gather_node out = new_node(op, nodes_[of].type);
    out.depth = above(of);
    set_shape(out, shape);
    out.parts = copy(std::span<const std::uint32_t>{&of, 1});
    out.count = 1;
    return out;
}

CKPT_DETAIL_RARE std::uint32_t gather_plan::view(std::uint32_t of, std::span<const std::int64_t> shape,
                                                 std::span<const std::int64_t> strides, std::uint64_t offset) {
    auto* data = ::new (memory_.allocate(sizeof(tensor_data), alignof(tensor_data))) tensor_data(*nodes_[of].data);
    data->shape = copy(shape);
    data->strides = copy(strides);
    data->rank = static_cast<std::uint32_t>(shape.size());
    data->storage_offset = offset;
    gather_node probe{};
    set_shape(probe, shape);
    data->numel = probe.numel;
    return add_leaf(data, nodes_[of].source);
}

CKPT_DETAIL_RARE bool gather_plan::strides_of_reshape(const tensor_data& data, std::span<const std::int64_t> shape,
                                                      std::vector<std::int64_t>& strides) {
    if (data.numel == 0) {
        set_dense_strides(shape, false, strides.data());
        return true;
    }
    // From the inside out: dimensions of `data` whose elements lie behind one another make a run, which is cut into
    // dimensions of `shape`. [4, 6] with strides [6, 1] is one run of 24 and can be [8, 3]; with strides [12, 1] it is
    // two runs, and only a shape that cuts neither can be shown, such as [2, 2, 6].
    std::size_t out = shape.size();
    std::uint32_t in = data.rank;
    while (in > 0) {
        std::uint64_t run = static_cast<std::uint64_t>(data.shape[in - 1]);
        const std::int64_t last = data.shape[in - 1] == 1 ? 1 : data.strides[in - 1];
        std::uint64_t extent = static_cast<std::uint64_t>(last) * run;
        std::uint64_t innermost = static_cast<std::uint64_t>(last);
        --in;
        bool started = run != 1;
        while (in > 0 &&
               (data.shape[in - 1] == 1 || !started || static_cast<std::uint64_t>(data.strides[in - 1]) == extent)) {
            const auto n = static_cast<std::uint64_t>(data.shape[in - 1]);
            if (!started && n != 1) {
                innermost = static_cast<std::uint64_t>(data.strides[in - 1]);
                extent = innermost * n;
                started = true;
            } else {
                extent *= n;
            }
            run *= n;
            --in;
        }
        std::uint64_t step = innermost;
        while (out > 0 && (run > 1 || shape[out - 1] == 1)) {
            const auto n = static_cast<std::uint64_t>(shape[out - 1]);
            if (run % n != 0) return false;
            strides[--out] = static_cast<std::int64_t>(step);
            step *= n;
            run /= n;
        }
        if (run != 1) return false;
    }
    while (out > 0) {
        if (shape[out - 1] != 1) return false;
        strides[--out] = 1;
    }
    return true;
}

CKPT_DETAIL_RARE std::uint32_t gather_plan::adjacent(std::span<const std::uint32_t> parts, std::uint32_t dimension) {
    const gather_node& head = nodes_[parts[0]];
    if (head.op != gather_op::leaf || head.numel == 0) return none;
    const tensor_data& d = *head.data;
    std::uint64_t next = d.storage_offset;
    std::int64_t total = 0;
    for (const std::uint32_t part : parts) {
        const gather_node& node = nodes_[part];
        if (node.op != gather_op::leaf || node.source != head.source || node.numel == 0) return none;
        const tensor_data& p = *node.data;
        if (p.storage != d.storage || p.neg != d.neg || p.conj != d.conj || p.type != d.type ||
            p.storage_offset != next)
            return none;
        for (std::uint32_t i = 0; i < d.rank; ++i)
            if (p.strides[i] != d.strides[i] && !(p.shape[i] == 1 && d.shape[i] == 1)) return none;
        next += static_cast<std::uint64_t>(p.shape[dimension]) * static_cast<std::uint64_t>(d.strides[dimension]);
        total += p.shape[dimension];
    }
    if (d.strides[dimension] == 0) return none;
    std::vector<std::int64_t> shape(head.sizes().begin(), head.sizes().end());
    shape[dimension] = total;
    return view(parts[0], shape, {d.strides, d.rank}, d.storage_offset);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
