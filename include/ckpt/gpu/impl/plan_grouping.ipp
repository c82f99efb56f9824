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
    for (std::size_t i = 0; i < inputs_.unconverted();) {
        byte_group group;
        const std::size_t next = gather_group(i, group);
        if (auto placed = place_group(group); !placed) return placed;
        for (; i < next; ++i) plan_.tensors[stored[i].tensor].offset = group.to + (stored[i].begin - group.begin);
    }
    return {};
}

CKPT_DETAIL_DEF std::size_t plan_grouping::gather_group(std::size_t first, byte_group& group) const {
    std::size_t end = gather_overlapping(first, group);
    if (!is_image()) return end;
    const std::uint64_t gap = group.file != 0 ? bridged_gap : 0; // between buffers in memory nothing may be read
    byte_group next;
    while (end < inputs_.unconverted()) {
        const stored_bytes& s = inputs_.stored()[end];
        if (s.target != group.target || s.file != group.file || s.begin < group.end || s.begin > group.end + gap) break;
        const std::size_t after = gather_overlapping(end, next);
        if ((next.begin - next.to - (group.begin - group.to)) % options_.alignment != 0) break;
        group.end = next.end;
        end = after;
    }
    return end;
}

CKPT_DETAIL_DEF std::size_t plan_grouping::gather_overlapping(std::size_t first, byte_group& group) const {
    const std::vector<stored_bytes>& stored = inputs_.stored();
    const stored_bytes& head = stored[first];
    group = {.target = head.target, .file = head.file, .begin = head.begin, .end = head.end};
    std::size_t end = first + 1;
    for (; end < inputs_.unconverted(); ++end) {
        const stored_bytes& s = stored[end];
        if (s.begin >= group.end || s.target != group.target || s.file != group.file ||
            (s.storage != head.storage && !(s.aligned && head.aligned)))
            break;
        group.end = (std::max)(group.end, s.end);
    }
    if (end - first > 1) group.to = lead_of(std::span{stored}.subspan(first, end - first));
    return end;
}

CKPT_DETAIL_DEF std::uint64_t plan_grouping::lead_of(std::span<const stored_bytes> members) const {
    // The first begins at a multiple of the alignment, which aligns its elements: unless those of several types
    // overlap, and some of them begin between elements of the first. Then the storage begins at a multiple of it.
    const stored_bytes& first = members.front();
    for (const stored_bytes& s : members)
        if ((s.begin - first.begin) % (std::min)(std::uint64_t{16}, std::uint64_t{itemsize(s.type)}) != 0)
            return (first.begin - (first.aligned ? 0 : first.storage)) % 16;
    return 0;
}

CKPT_DETAIL_DEF result<void> plan_grouping::place_group(byte_group& group) {
    const std::uint64_t bytes = group.end - group.begin;
    const bool paged = is_image() && bytes >= paged_bytes && (group.begin - group.to) % options_.alignment == 0;
    const auto room = reserve(group.target, paged ? group.begin : group.to, bytes,
                              paged ? file::direct_alignment : options_.alignment);
    if (!room) return room.error();
    group.to = *room;
    if (is_image() && bytes < moved_bytes && !groups_.empty()) {
        byte_group& last = groups_.back();
        if (last.end - last.begin < moved_bytes && last.target == group.target && last.file == group.file)
            for (byte_group* g : {&last, &group})
                g->moved = static_cast<std::uint32_t>(align_up(g->end - g->begin, options_.alignment));
    }
    groups_.push_back(group);
    return {};
}

CKPT_DETAIL_DEF result<void> plan_grouping::place_converted() {
    const std::vector<stored_bytes>& stored = inputs_.stored();
    const stored_bytes* before = nullptr;
    for (std::size_t i = inputs_.unconverted(); i < stored.size(); ++i) {
        const stored_bytes& s = stored[i];
        placed_tensor& t = plan_.tensors[s.tensor];
        if (before != nullptr && before->target == s.target && before->file == s.file && before->begin == s.begin &&
            before->end == s.end && before->type == s.type && plan_.tensors[before->tensor].type == t.type &&
            same_view(before->view, s.view)) {
            t.offset = plan_.tensors[before->tensor].offset;
            continue;
        }
        const auto at = reserve(s.target, 0, t.nbytes, options_.alignment);
        if (!at) return at.error();
        t.offset = *at;
        converted_.push_back(static_cast<std::uint32_t>(i));
        before = &s;
    }
    return {};
}

/// What is read for the elements of a tensor: from its first byte to its last one, or its elements if they lie so far
/// apart that what is between them is not read.
inline std::uint64_t bytes_read_for(const tensor_data& data) noexcept {
    std::uint64_t end = 0;
    const std::uint64_t elements = bytes_of(data.type, data.numel);
    if (data.numel == 0 || is_contiguous(data) || !bytes_needed(data, end)) return elements;
    const std::uint64_t span = end - data.storage_offset * bits(data.type) / 8;
    return (std::min)(span, elements / itemsize(data.type) * file::direct_alignment);
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
            plan_.built_from += bytes_read_for(*h.data);
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
    const std::vector<stored_bytes>& stored = inputs_.stored();
    std::uint32_t next = 0;
    for (std::size_t i = 0; i < inputs_.unconverted(); ++i) {
        const stored_bytes& s = stored[i];
        if (i > 0 &&
            (stored[i - 1].target != s.target || stored[i - 1].file != s.file || stored[i - 1].storage != s.storage))
            ++next;
        plan_.tensors[s.tensor].storage = next;
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
    const std::uint64_t at = used + ((lead - used) & (alignment - 1));
    if (bytes > most_memory || at > most_memory - bytes)
        return error{.code = errc::limit, .detail = "the tensors need more device memory than 64 bits can count"};
    used = at + bytes;
    return at;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
