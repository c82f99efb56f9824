// ckpt/gpu/impl/plan_grouping.ipp: the definitions of plan_grouping.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/gpu/plan_grouping.hpp>

#include <algorithm>
#include <string>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF result<void> plan_grouping::run() {
    if (auto placed = group_stored(); !placed) return placed;
    if (auto placed = place_converted(); !placed) return placed;
    if (auto placed = place_built(); !placed) return placed;
    number_storages();
    return {};
}

CKPT_DETAIL_DEF result<void> plan_grouping::group_stored() {
    const std::vector<stored_bytes>& stored = inputs_.stored();
    std::vector<std::uint32_t> order;
    for (std::uint32_t i = 0; i < stored.size(); ++i)
        if (!stored[i].converted) order.push_back(i);
    std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
        const stored_bytes& x = stored[a];
        const stored_bytes& y = stored[b];
        if (x.target != y.target) return x.target < y.target;
        if (x.file != y.file) return x.file < y.file;
        if (x.aligned != y.aligned) return x.aligned;
        if (!x.aligned && x.storage != y.storage) return x.storage < y.storage;
        return x.begin != y.begin ? x.begin < y.begin : x.end > y.end;
    });
    for (std::span<const std::uint32_t> left{order}; !left.empty();) {
        byte_group group;
        const auto members = left.first(gather_group(left, group));
        left = left.subspan(members.size());
        const bool image = is_image(stored[members.front()]);
        const auto room = reserve(group.target, lead_of(members, group, image), group.end - group.begin,
                                  image ? image_alignment : options_.alignment);
        if (!room) return room.error();
        group.to = *room;
        for (const std::uint32_t i : members)
            plan_.tensors[stored[i].tensor].offset = group.to + (stored[i].begin - group.begin);
        groups_.push_back(group);
    }
    return {};
}

CKPT_DETAIL_DEF std::size_t plan_grouping::gather_group(std::span<const std::uint32_t> order, byte_group& group) const {
    const stored_bytes& first = inputs_.stored()[order.front()];
    const bool image = is_image(first);
    group = {.target = first.target, .file = first.file, .begin = first.begin, .end = first.end};
    std::size_t n = 1;
    for (; n < order.size(); ++n) {
        const stored_bytes& s = inputs_.stored()[order[n]];
        if (s.target != group.target || s.file != group.file || s.aligned != first.aligned ||
            (!s.aligned && s.storage != first.storage) || s.begin > group.end + (image ? bridged_gap : 0) ||
            (!image && s.begin >= group.end))
            break;
        group.end = (std::max)(group.end, s.end);
    }
    return n;
}

CKPT_DETAIL_DEF std::uint64_t plan_grouping::lead_of(std::span<const std::uint32_t> members, const byte_group& group,
                                                     bool image) const {
    // The first byte keeps its place within `image_alignment` bytes.
    if (image) return group.begin % image_alignment;
    // The group begins at a multiple of the alignment, which aligns its elements: unless those of several types
    // overlap, and some of them begin between elements of the first. Then the storage begins at a multiple of it.
    const stored_bytes& first = inputs_.stored()[members.front()];
    for (const std::uint32_t i : members) {
        const stored_bytes& s = inputs_.stored()[i];
        if ((s.begin - group.begin) % (std::min)(std::uint64_t{16}, std::uint64_t{itemsize(s.type)}) != 0)
            return (group.begin - (first.aligned ? 0 : first.storage)) % 16;
    }
    return 0;
}

CKPT_DETAIL_DEF result<void> plan_grouping::place_converted() {
    const std::vector<stored_bytes>& stored = inputs_.stored();
    std::vector<std::uint32_t> order;
    for (std::uint32_t i = 0; i < stored.size(); ++i)
        if (stored[i].converted) order.push_back(i);
    const auto wanted = [&](const stored_bytes& s) { return plan_.tensors[s.tensor].type; };
    std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
        const stored_bytes& x = stored[a];
        const stored_bytes& y = stored[b];
        if (x.target != y.target) return x.target < y.target;
        if (x.file != y.file) return x.file < y.file;
        if (x.begin != y.begin) return x.begin < y.begin;
        if (x.end != y.end) return x.end < y.end;
        if (x.type != y.type) return x.type < y.type;
        return wanted(x) < wanted(y);
    });
    const stored_bytes* before = nullptr;
    for (const std::uint32_t i : order) {
        const stored_bytes& s = stored[i];
        placed_tensor& t = plan_.tensors[s.tensor];
        if (before != nullptr && before->target == s.target && before->file == s.file && before->begin == s.begin &&
            before->end == s.end && before->type == s.type && wanted(*before) == t.type) {
            t.offset = plan_.tensors[before->tensor].offset;
            continue;
        }
        const auto at = reserve(s.target, 0, t.nbytes, options_.alignment);
        if (!at) return at.error();
        t.offset = *at;
        converted_.push_back(i);
        before = &s;
    }
    return {};
}

CKPT_DETAIL_DEF result<void> plan_grouping::place_built() {
    std::vector<host_tensor> order = inputs_.on_host();
    std::sort(order.begin(), order.end(), [](const host_tensor& a, const host_tensor& b) {
        if (a.source_number != b.source_number) return a.source_number < b.source_number;
        if (a.data->storage != b.data->storage) return a.data->storage < b.data->storage;
        if (a.data->storage_offset != b.data->storage_offset) return a.data->storage_offset < b.data->storage_offset;
        return a.wanted != b.wanted ? a.wanted < b.wanted : a.tensor < b.tensor;
    });
    std::vector<std::uint64_t> offsets(plan_.targets.size(), no_offset); // of the tensor in hand, for each target
    std::uint32_t leaf = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
        const host_tensor& h = order[i];
        const std::uint32_t own = plan_.plan.add_leaf(h.data, h.source);
        const bool same = i > 0 && order[i - 1].wanted == h.wanted && plan_.plan.same_view(leaf, own);
        if (!same) {
            leaf = own;
            if (!plan_.plan.in_proportion(own)) return output_error(*h.data, h.tensor);
            std::fill(offsets.begin(), offsets.end(), no_offset);
            plan_.built.push_back({plan_.plan.cast(own, h.wanted), h.wanted, h.data->numel});
        }
        placed_tensor& t = plan_.tensors[h.tensor];
        std::uint64_t& at = offsets[t.target];
        if (at == no_offset) {
            const auto room = reserve(t.target, 0, t.nbytes, options_.alignment);
            if (!room) return room.error();
            at = *room;
            built_places_.push_back({count_of(plan_.built) - 1, t.target, at});
        }
        t.offset = at;
    }
    return {};
}

CKPT_DETAIL_DEF error plan_grouping::output_error(const tensor_data& data, std::uint32_t tensor) const {
    return {.code = errc::output_limit,
            .path = std::string(plan_.tensors[tensor].key),
            .detail = str_cat("the values are ", bytes_of(data.type, data.numel),
                              " bytes, far more than the storages behind them: the tensor is expanded")};
}

CKPT_DETAIL_DEF void plan_grouping::number_storages() {
    std::vector<const stored_bytes*> order;
    for (const stored_bytes& s : inputs_.stored())
        if (!s.converted) order.push_back(&s);
    const auto less = [](const stored_bytes* a, const stored_bytes* b) {
        if (a->target != b->target) return a->target < b->target;
        return a->file != b->file ? a->file < b->file : a->storage < b->storage;
    };
    std::sort(order.begin(), order.end(), less);
    std::uint32_t next = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
        if (i > 0 && less(order[i - 1], order[i])) ++next;
        plan_.tensors[order[i]->tensor].storage = next;
    }
    // Tensors that are built or converted share memory only with equal ones, which have the same offset.
    std::vector<std::uint32_t> made;
    for (std::uint32_t i = 0; i < plan_.tensors.size(); ++i)
        if (plan_.tensors[i].way != upload_way::stored || plan_.tensors[i].nbytes == 0) made.push_back(i);
    const auto place = [this](std::uint32_t i) { return std::pair{plan_.tensors[i].target, plan_.tensors[i].offset}; };
    std::sort(made.begin(), made.end(),
              [&](std::uint32_t a, std::uint32_t b) { return place(a) != place(b) ? place(a) < place(b) : a < b; });
    for (std::size_t i = 0; i < made.size(); ++i) {
        if (i == 0 || place(made[i - 1]) != place(made[i]) || plan_.tensors[made[i]].nbytes == 0) ++next;
        plan_.tensors[made[i]].storage = next;
    }
    plan_.storages = plan_.tensors.empty() ? 0 : next + 1;
}

CKPT_DETAIL_DEF result<std::uint64_t> plan_grouping::reserve(std::uint32_t target, std::uint64_t lead,
                                                             std::uint64_t bytes, std::uint64_t alignment) {
    std::uint64_t& used = plan_.targets[target].bytes;
    const std::uint64_t at = align_up(used, alignment) + lead;
    if (bytes > most_memory || at > most_memory - bytes)
        return error{.code = errc::limit, .detail = "the tensors need more device memory than 64 bits can count"};
    used = at + bytes;
    return at;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
