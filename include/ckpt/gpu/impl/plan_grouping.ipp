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
        if (s.target != group.target || place_of(s) != place_of(group) || s.begin < group.end ||
            s.begin > group.end + gap || s.behind_others)
            break;
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
    group = {.target = head.target, .file = head.file, .phase = head.phase, .begin = head.begin, .end = head.end};
    std::size_t end = first + 1;
    for (; end < inputs_.unconverted(); ++end) {
        const stored_bytes& s = stored[end];
        if (s.begin >= group.end || s.target != group.target || place_of(s) != place_of(group) ||
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
    const auto room = reserve_for(group.target, paged ? group.begin : group.to, bytes,
                                  paged ? file::direct_alignment : options_.alignment);
    if (!room) return room.error();
    group.to = *room;
    if (is_image() && bytes < moved_bytes && !groups_.empty()) {
        byte_group& last = groups_.back();
        if (last.end - last.begin < moved_bytes && last.target == group.target && place_of(last) == place_of(group))
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
            same_view(before->view, s.view) && before->quantizer == s.quantizer) {
            t.offset = plan_.tensors[before->tensor].offset;
            continue;
        }
        const auto at = reserve_for(s.target, 0, t.nbytes, options_.alignment);
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
        if (a.wanted != b.wanted) return a.wanted < b.wanted;
        if (a.part != b.part) return a.part < b.part;
        return a.quantizer != b.quantizer ? a.quantizer < b.quantizer : a.tensor < b.tensor;
    });
    std::vector<equal_views> all;
    for (std::size_t i = 0; i < order.size(); ++i) {
        const host_tensor& h = order[i];
        const std::uint32_t own = plan_.plan.add_leaf(h.data, h.source);
        if (i == 0 || order[i - 1].wanted != h.wanted || order[i - 1].part != h.part ||
            !plan_.plan.same_view(all.back().leaf, own)) {
            // Parameters are not more than the elements, which the device gets as they are stored.
            if (!h.is_parameter() && !plan_.plan.in_proportion(own)) return output_error(*h.data, h.tensor);
            all.push_back({own, plan_.tensors[h.tensor].phase, i});
        }
        all.back().phase = (std::min)(all.back().phase, plan_.tensors[h.tensor].phase);
        all.back().end = i + 1;
    }
    sort_unsorted(all, [&](const equal_views& a, const equal_views& b) {
        if (a.phase != b.phase) return a.phase < b.phase;
        const bool first = order[a.first].is_parameter();
        return first != order[b.first].is_parameter() ? first : a.first < b.first;
    });
    for (const equal_views& v : all) {
        const host_tensor& h = order[v.first];
        plan_.built.push_back({.node = node_of(h, v.leaf),
                               .type = h.wanted,
                               .numel = h.data->numel,
                               .phase = v.phase,
                               .into = h.is_parameter() ? copy_place::parameters : copy_place::memory});
        plan_.built_from += bytes_read_for(*h.data);
        if (auto placed = place_equal(std::span{order}.subspan(v.first, v.end - v.first)); !placed) return placed;
    }
    return {};
}

CKPT_DETAIL_DEF std::uint32_t plan_grouping::node_of(const host_tensor& h, std::uint32_t leaf) {
    switch (h.part) {
    case host_part::numbers: return plan_.plan.cast(plan_.plan.dequantize(leaf), h.wanted);
    case host_part::scales:
    case host_part::rounded_scales: return plan_.plan.scales(leaf, h.part == host_part::rounded_scales);
    case host_part::zero_points: return plan_.plan.zero_points(leaf);
    default: return plan_.plan.cast(leaf, h.wanted);
    }
}

CKPT_DETAIL_DEF result<std::uint64_t> plan_grouping::reserve_built(const host_tensor& h) {
    const placed_tensor& t = plan_.tensors[h.tensor];
    return h.is_parameter()
               ? reserve(plan_.targets[t.target].parameters, 0, bytes_of(h.wanted, h.data->numel), scratch_alignment)
               : reserve_for(t.target, 0, t.nbytes, options_.alignment);
}

CKPT_DETAIL_DEF result<void> plan_grouping::place_equal(std::span<const host_tensor> views) {
    const built_tensor& built = plan_.built.back();
    const std::uint32_t number = count_of(plan_.built) - 1;
    const std::size_t before = built_places_.size();
    for (const host_tensor& h : views) {
        placed_tensor& t = plan_.tensors[h.tensor];
        std::size_t place = before;
        while (place < built_places_.size() && built_places_[place].target != t.target) ++place;
        if (place == built_places_.size()) {
            const auto room = reserve_built(h);
            if (!room) return room.error();
            built_places_.push_back({number, t.target, *room});
        }
        const std::uint64_t to = built_places_[place].to;
        if (h.is_parameter()) {
            device_numbers& numbers = plan_.numbers[h.numbers];
            (h.part == host_part::zero_points ? numbers.zero_points : numbers.scales) = to;
            continue;
        }
        t.offset = to;
        t.phase = built.phase;
        built_uses_.push_back({h.tensor, number});
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
        if (i > 0 && (stored[i - 1].target != s.target || place_of(stored[i - 1]) != place_of(s) ||
                      stored[i - 1].storage != s.storage))
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

CKPT_DETAIL_DEF result<std::uint64_t> plan_grouping::reserve(std::uint64_t& used, std::uint64_t lead,
                                                             std::uint64_t bytes, std::uint64_t alignment) {
    const std::uint64_t at = used + ((lead - used) & (alignment - 1));
    if (bytes > most_memory || at > most_memory - bytes)
        return error{.code = errc::limit, .detail = "the tensors need more device memory than 64 bits can count"};
    used = at + bytes;
    return at;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
