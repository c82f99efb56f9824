// ckpt/state/impl/gather.ipp: the definitions of gather.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/gather.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF std::uint64_t gather_region::count() const noexcept {
    std::uint64_t n = 1;
    for (std::uint32_t i = 0; i < rank; ++i) n *= size[i];
    return n;
}

CKPT_DETAIL_DEF bool gather_region::is_dense() const noexcept {
    std::uint64_t expected = 1;
    for (std::uint32_t i = rank; i-- > 0;) {
        if (size[i] != 1 && stride[i] != expected) return false;
        expected *= size[i];
    }
    return true;
}

CKPT_DETAIL_DEF void gather_region::make_dense() noexcept {
    std::uint64_t step = 1;
    for (std::uint32_t i = rank; i-- > 0;) {
        stride[i] = step;
        step *= size[i];
    }
}

CKPT_DETAIL_DEF std::uint32_t gather_plan::add_leaf(const tensor_data* data, const storage_source* source) {
    gather_node out{.op = gather_op::leaf,
                    .type = data->type,
                    .rank = data->rank,
                    .shape = data->shape,
                    .numel = data->numel,
                    .data = data,
                    .source = source};
    if (data->refusal == nullptr && data->kind == layout::strided && source != nullptr)
        out.backing = source->nbytes(data->storage);
    return add(out);
}

CKPT_DETAIL_DEF std::string_view gather_plan::file_of(std::uint32_t i) const noexcept {
    while (nodes_[i].count > 0) i = nodes_[i].parts[0];
    const gather_node& n = nodes_[i];
    return n.op == gather_op::leaf && n.source != nullptr && n.data->refusal == nullptr &&
                   n.data->kind == layout::strided
               ? n.source->file(n.data->storage)
               : std::string_view{};
}

CKPT_DETAIL_DEF bool gather_plan::same_view(std::uint32_t a, std::uint32_t b) const noexcept {
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

CKPT_DETAIL_DEF std::uint32_t gather_plan::permute(std::uint32_t of, std::span<const std::int64_t> order) {
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

CKPT_DETAIL_DEF std::uint32_t gather_plan::narrow(std::uint32_t of, std::uint32_t dimension, std::int64_t start,
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
    out.dimension = dimension;
    out.numbers = copy(std::span<const std::int64_t>{&start, 1});
    return add(out);
}

CKPT_DETAIL_DEF std::uint32_t gather_plan::reshape(std::uint32_t of, std::span<const std::int64_t> shape) {
    const gather_node& from = nodes_[of];
    if (from.rank == shape.size() && std::equal(shape.begin(), shape.end(), from.shape)) return of;
    if (is_leaf(of)) {
        std::vector<std::int64_t> strides(shape.size());
        if (strides_of_reshape(*from.data, shape, strides)) return view(of, shape, strides, from.data->storage_offset);
    }
    if (from.op == gather_op::reshape) return reshape(from.parts[0], shape); // only the last shape counts
    return add(over(gather_op::reshape, of, shape));
}

CKPT_DETAIL_DEF std::uint32_t gather_plan::concat(std::span<const std::uint32_t> parts, std::uint32_t dimension) {
    if (parts.size() == 1) return parts[0];
    if (const std::uint32_t whole = adjacent(parts, dimension); whole != none) return whole;
    gather_node out = nodes_[parts[0]];
    out = {.op = gather_op::concat, .type = out.type, .rank = out.rank, .shape = out.shape};
    std::vector<std::int64_t> shape(out.sizes().begin(), out.sizes().end());
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
    out.dimension = dimension;
    out.numbers = copy(std::span<const std::int64_t>{begins});
    out.parts = copy(parts);
    out.count = static_cast<std::uint32_t>(parts.size());
    return add(out);
}

CKPT_DETAIL_DEF std::uint32_t gather_plan::paste(std::span<const std::uint32_t> parts,
                                                 std::span<const std::int64_t> offsets,
                                                 std::span<const std::int64_t> shape) {
    gather_node out{.op = gather_op::paste, .type = nodes_[parts[0]].type};
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

CKPT_DETAIL_DEF std::uint32_t gather_plan::pad(std::uint32_t of, std::uint32_t dimension, std::int64_t before,
                                               std::int64_t after, const std::array<std::byte, 16>& value) {
    if (before == 0 && after == 0) return of;
    std::vector<std::int64_t> shape(nodes_[of].sizes().begin(), nodes_[of].sizes().end());
    shape[dimension] += before + after;
    gather_node out = over(gather_op::pad, of, shape);
    out.dimension = dimension;
    out.numbers = copy(std::span<const std::int64_t>{&before, 1});
    out.value = value;
    return add(out);
}

CKPT_DETAIL_DEF std::uint32_t gather_plan::cast(std::uint32_t of, ckpt::dtype type) {
    if (nodes_[of].type == type) return of;
    gather_node out = over(gather_op::cast, of, nodes_[of].sizes());
    out.type = type;
    return add(out);
}

CKPT_DETAIL_DEF std::uint32_t gather_plan::fill(ckpt::dtype type, std::span<const std::int64_t> shape,
                                                const std::array<std::byte, 16>& value) {
    gather_node out{.op = gather_op::fill, .type = type, .depth = 1, .value = value};
    set_shape(out, shape);
    return add(out);
}

CKPT_DETAIL_DEF std::uint32_t gather_plan::product(std::uint32_t base, std::uint32_t b, std::uint32_t a, double scale) {
    gather_node out = over(gather_op::product, base, nodes_[base].sizes());
    const std::uint32_t parts[]{base, b, a};
    out.parts = copy(std::span<const std::uint32_t>{parts});
    out.count = 3;
    for (const std::uint32_t part : parts)
        if (nodes_[part].depth >= out.depth) out.depth = nodes_[part].depth + 1;
    out.type = ckpt::dtype::float32;
    out.scale = scale;
    return add(out);
}

CKPT_DETAIL_DEF result<void> gather_plan::read(std::uint32_t of, std::uint64_t first, std::uint64_t n,
                                               std::byte* out) const {
    return each_box(nodes_[of].sizes(), first, n, [&](const gather_region& box, std::uint64_t done) {
        return fetch(of, box, out + done * itemsize(nodes_[of].type));
    });
}

CKPT_DETAIL_DEF std::uint32_t gather_plan::add(gather_node node) {
    for (std::uint32_t i = 0; i < node.count; ++i) add_backing(node.backing, nodes_[node.parts[i]].backing);
    if (node.op == gather_op::fill) add_backing(node.backing, bytes_of(node.type, node.numel));
    // What is put around an expanded tensor is as large as it claims to be.
    if (node.op == gather_op::pad && in_proportion(node.parts[0]))
        add_backing(node.backing, bytes_of(node.type, node.numel - nodes_[node.parts[0]].numel));
    nodes_.push_back(node);
    return static_cast<std::uint32_t>(nodes_.size() - 1);
}

CKPT_DETAIL_DEF void gather_plan::set_shape(gather_node& node, std::span<const std::int64_t> shape) {
    node.shape = copy(shape);
    node.rank = static_cast<std::uint32_t>(shape.size());
    node.numel = 1;
    for (const std::int64_t n : shape) node.numel = n == 0 ? 0 : node.numel;
    for (const std::int64_t n : shape) node.numel *= static_cast<std::uint64_t>(n);
}

CKPT_DETAIL_DEF gather_node gather_plan::over(gather_op op, std::uint32_t of, std::span<const std::int64_t> shape) {
    gather_node out{.op = op, .type = nodes_[of].type, .depth = nodes_[of].depth + 1};
    set_shape(out, shape);
    out.parts = copy(std::span<const std::uint32_t>{&of, 1});
    out.count = 1;
    return out;
}

CKPT_DETAIL_DEF std::uint32_t gather_plan::view(std::uint32_t of, std::span<const std::int64_t> shape,
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

CKPT_DETAIL_DEF bool gather_plan::strides_of_reshape(const tensor_data& data, std::span<const std::int64_t> shape,
                                                     std::vector<std::int64_t>& strides) {
    if (data.numel == 0) {
        set_dense_strides(shape, false, strides.data());
        return true;
    }
    // Runs of old dimensions that lie behind one another are cut anew.
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

CKPT_DETAIL_DEF std::uint32_t gather_plan::adjacent(std::span<const std::uint32_t> parts, std::uint32_t dimension) {
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

CKPT_DETAIL_DEF void gather_plan::scatter(const gather_region& region, std::size_t size, const std::byte* in,
                                          std::byte* out) noexcept {
    std::array<copy_axis, 64> axes{};
    gather_region dense = region;
    dense.make_dense();
    for (std::uint32_t i = 0; i < region.rank; ++i) axes[i] = {region.size[i], dense.stride[i], region.stride[i]};
    copy_axes({axes.data(), region.rank}, size, in, out);
}

CKPT_DETAIL_DEF result<void> gather_plan::fetch(std::uint32_t of, const gather_region& region, std::byte* out) const {
    const gather_node& node = nodes_[of];
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
    case gather_op::fill: return fetch_value(node, region, out), result<void>{};
    case gather_op::product: return fetch_product(node, region, out);
    }
    return error{.code = errc::internal, .detail = "a gather plan with an unknown operation"};
}

CKPT_DETAIL_DEF result<void> gather_plan::fetch_leaf(const gather_node& node, const gather_region& region,
                                                     std::byte* out) {
    const tensor_data& d = *node.data;
    if (auto usable = check_access(node.data, node.source); !usable) return usable;
    if (d.neg && !has_negation(d.type)) return lazy_bit_error(d);
    auto access = open_storage(d, *node.source);
    if (!access) return std::move(access).error();
    const std::size_t size = itemsize(d.type);
    const byte_order order = node.source->order(d.storage);
    const bool finished = is_finished(d.type, order, native_order(), d.neg, d.conj);
    const auto box_of = [&](const gather_region& part, box& b) {
        std::array<std::int64_t, 64> sizes{};
        std::uint64_t at = d.storage_offset;
        for (std::uint32_t i = 0; i < part.rank; ++i) {
            sizes[i] = static_cast<std::int64_t>(part.size[i]);
            at += part.start[i] * static_cast<std::uint64_t>(d.strides[i]);
        }
        return make_box({sizes.data(), part.rank}, d.steps(), at, b);
    };
    const error broken{.code = errc::internal, .detail = "a tensor that was never checked against its storage"};
    const auto dense = [&](const gather_region& part, std::byte* to) -> result<void> {
        box b;
        if (!box_of(part, b)) return broken;
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
        scatter(part, size, buffer.data(), out + offset * size);
        return {};
    };
    return each_part(region, part_bytes / size, 0, staged);
}

CKPT_DETAIL_DEF result<void> gather_plan::fetch_reshaped(const gather_node& node, const gather_region& region,
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
            scatter(part, size, buffer.data(), out + offset * size);
            return {};
        };
        return each_part(region, part_bytes / size, 0, staged);
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

CKPT_DETAIL_DEF result<void> gather_plan::fetch_parts(const gather_node& node, const gather_region& region,
                                                      std::byte* out) const {
    const std::uint32_t d = node.dimension;
    const std::uint64_t begin = region.start[d];
    const std::uint64_t end = begin + region.size[d];
    const std::int64_t* first =
        std::upper_bound(node.numbers, node.numbers + node.count, static_cast<std::int64_t>(begin));
    for (auto i = static_cast<std::uint32_t>(first - node.numbers) - 1; i < node.count; ++i) {
        const auto part_begin = static_cast<std::uint64_t>(node.numbers[i]);
        if (part_begin >= end) break;
        const std::uint64_t part_end = part_begin + static_cast<std::uint64_t>(nodes_[node.parts[i]].shape[d]);
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

CKPT_DETAIL_DEF result<void> gather_plan::fetch_boxes(const gather_node& node, const gather_region& region,
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
            const std::uint64_t end = (std::min)(offset + static_cast<std::uint64_t>(nodes_[node.parts[i]].shape[d]),
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

CKPT_DETAIL_DEF result<void> gather_plan::fetch_padded(const gather_node& node, const gather_region& region,
                                                       std::byte* out) const {
    const std::uint32_t d = node.dimension;
    const std::size_t size = itemsize(node.type);
    const auto before = static_cast<std::uint64_t>(node.numbers[0]);
    const std::uint64_t after = before + static_cast<std::uint64_t>(nodes_[node.parts[0]].shape[d]);
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

CKPT_DETAIL_DEF void gather_plan::fetch_value(const gather_node& node, const gather_region& region,
                                              std::byte* out) noexcept {
    std::array<copy_axis, 64> axes{};
    for (std::uint32_t i = 0; i < region.rank; ++i) axes[i] = {region.size[i], 0, region.stride[i]};
    copy_axes({axes.data(), region.rank}, itemsize(node.type), node.value.data(), out);
}

CKPT_DETAIL_DEF result<void> gather_plan::fetch_cast(const gather_node& node, const gather_region& region,
                                                     std::byte* out) const {
    const ckpt::dtype from = nodes_[node.parts[0]].type;
    const std::size_t in_size = itemsize(from);
    const std::size_t out_size = itemsize(node.type);
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
        if (convert(from, input.data(), node.type, to, n) != n)
            return error{.code = errc::conversion,
                         .detail = "a value of the " + std::string(ckpt::name(from)) + " tensor does not fit into " +
                                   std::string(ckpt::name(node.type))};
        if (!direct) scatter(part, out_size, output.data(), out + offset * out_size);
        return {};
    };
    return each_part(region, part_bytes / 16, 0, staged);
}

CKPT_DETAIL_DEF result<void> gather_plan::fetch_product(const gather_node& node, const gather_region& region,
                                                        std::byte* out) const {
    const std::uint64_t r = static_cast<std::uint64_t>(nodes_[node.parts[2]].shape[0]);
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
            for (double& x : row) x = 0;
            for (std::uint64_t k = 0; k < r; ++k) {
                const auto factor = static_cast<double>(b[static_cast<std::size_t>(i * r + k)]);
                const float* line = a.data() + k * columns;
                for (std::uint64_t j = 0; j < columns; ++j)
                    row[static_cast<std::size_t>(j)] += factor * static_cast<double>(line[j]);
            }
            for (std::uint64_t j = 0; j < columns; ++j) {
                const auto value =
                    static_cast<float>(static_cast<double>(base[static_cast<std::size_t>(i * columns + j)]) +
                                       node.scale * row[static_cast<std::size_t>(j)]);
                std::memcpy(out + (offset + i * part.stride[0] + j * part.stride[1]) * sizeof value, &value,
                            sizeof value);
            }
        }
        return {};
    };
    return each_part(region, part_bytes / sizeof(float), 0, tile);
}

CKPT_DETAIL_DEF std::uint32_t gathered_storages::number_of(const storage_source* source, std::uint32_t storage) {
    if (slots_.size() + 1 > table_.size() / 2) grow();
    std::size_t at = place(source, storage);
    if (table_[at] != gather_plan::none) return table_[at];
    table_[at] = static_cast<std::uint32_t>(slots_.size());
    slots_.push_back({source, storage});
    return table_[at];
}

CKPT_DETAIL_DEF std::uint32_t gathered_storages::number_of_node(std::uint32_t node) {
    slots_.push_back({nullptr, node});
    return static_cast<std::uint32_t>(slots_.size() - 1);
}

CKPT_DETAIL_DEF std::uint64_t gathered_storages::nbytes(std::uint32_t i) const noexcept {
    const slot& s = slots_[i];
    return s.source != nullptr ? s.source->nbytes(s.number)
                               : bytes_of(plan_->node(s.number).type, plan_->node(s.number).numel);
}

CKPT_DETAIL_DEF std::string_view gathered_storages::file(std::uint32_t i) const noexcept {
    return slots_[i].source != nullptr ? slots_[i].source->file(slots_[i].number) : plan_->file_of(slots_[i].number);
}

CKPT_DETAIL_DEF result<stored_place> gathered_storages::place_of(std::uint32_t i) const {
    if (slots_[i].source != nullptr) return slots_[i].source->place_of(slots_[i].number);
    return stored_place{};
}

CKPT_DETAIL_DEF result<std::uint64_t> gathered_storages::file_offset(std::uint32_t i) const {
    if (slots_[i].source != nullptr) return slots_[i].source->file_offset(slots_[i].number);
    return error{.code = errc::no_data, .detail = "the tensor is gathered from others, so it has no place in a file"};
}

CKPT_DETAIL_DEF result<std::span<const std::byte>> gathered_storages::bytes(std::uint32_t i) const {
    if (slots_[i].source != nullptr) return slots_[i].source->bytes(slots_[i].number);
    return error{.code = errc::needs_copy,
                 .detail = "the tensor is gathered from others, so it has no bytes of its own",
                 .hint = "copy_to and copy_as write its values; owned() makes a state_dict with bytes"};
}

CKPT_DETAIL_DEF result<void> gathered_storages::read(std::uint32_t i, std::uint64_t offset,
                                                     std::span<std::byte> out) const {
    if (slots_[i].source != nullptr) return slots_[i].source->read(slots_[i].number, offset, out);
    const std::size_t size = itemsize(plan_->node(slots_[i].number).type);
    if (offset % size != 0 || out.size() % size != 0)
        return error{.code = errc::internal, .detail = "half an element of a gathered tensor was asked for"};
    return plan_->read(slots_[i].number, offset / size, out.size() / size, out.data());
}

CKPT_DETAIL_DEF std::size_t gathered_storages::place(const storage_source* source,
                                                     std::uint32_t storage) const noexcept {
    std::size_t at =
        mix(reinterpret_cast<std::uintptr_t>(source) ^ (std::uint64_t{storage} << 32)) & (table_.size() - 1);
    while (table_[at] != gather_plan::none &&
           (slots_[table_[at]].source != source || slots_[table_[at]].number != storage))
        at = (at + 1) & (table_.size() - 1);
    return at;
}

CKPT_DETAIL_DEF void gathered_storages::grow() {
    table_.assign(table_.empty() ? 64 : table_.size() * 2, gather_plan::none);
    for (std::uint32_t i = 0; i < slots_.size(); ++i)
        if (slots_[i].source != nullptr) table_[place(slots_[i].source, slots_[i].number)] = i;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
