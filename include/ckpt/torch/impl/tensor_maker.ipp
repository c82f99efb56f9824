// ckpt/torch/impl/tensor_maker.ipp: the definitions of tensor_maker.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/torch/containers.hpp>
#include <ckpt/torch/tensor_maker.hpp>

#include <iterator>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF tensor_maker::tensor_maker(graph& of, storage_maker& storages, const limits& budget) noexcept
    : graph_{of},
      storages_{storages},
      most_made_{budget_for(budget.made_per_byte, of.pickle.size(), 1u << 20)},
      rank_limit_{budget.tensor_rank} {}

CKPT_DETAIL_DEF bool tensor_maker::admits(const whole_call& call) noexcept {
    const auto entry_of = [this](std::uint32_t index) {
        const node& n = graph_.nodes[index];
        return n.kind == node_kind::global ? graph_.globals[n.a].entry : nullptr;
    };
    const node& tag = graph_.nodes[call.tag];
    const global_entry* const rebuild = entry_of(call.callable);
    const global_entry* const empty = entry_of(call.empty_callable);
    if (rebuild == nullptr || rebuild->build != builders::rebuild_tensor_v2 || empty == nullptr ||
        empty->build != builders::ordered_dict || tag.kind != node_kind::string || graph::text_of(tag) != "storage" ||
        graph_.nodes[call.place].kind != node_kind::string || !admits_type(call.type))
        return false;
    last_ = {call.callable, call.tag, call.type, call.place, call.empty_callable};
    return true;
}

CKPT_DETAIL_DEF bool tensor_maker::admits_type(std::uint32_t index) noexcept {
    for (const known_type& known : types_)
        if (known.index == index) {
            type_ = known;
            return true;
        }
    const node& n = graph_.nodes[index];
    if (n.kind != node_kind::global) return false;
    known_type made{.index = index};
    const global_occurrence& named = graph_.globals[n.a];
    if (!storage_class_type(named.module, named.name, made.type)) return false;
    const auto of = made.type == untyped ? dtype::uint8 : static_cast<dtype>(made.type);
    made.bytes = itemsize(of);
    if (bits(of) != 8 * made.bytes) return false; // several elements in a byte
    made.type = static_cast<std::uint16_t>(of);
    type_ = types_[next_type_++ % std::size(types_)] = made;
    return true;
}

/// The number of elements of a view of `count` ones, of which `offset` come before it; 0 where it does not lie inside,
/// where it has none, or far more than the storage. Sizes, strides and `count` are below 2^31.
CKPT_DETAIL_INLINE std::uint64_t elements_inside(const whole_call& call) noexcept {
    std::uint64_t numel = 1, last = call.offset;
    for (std::uint32_t i = 0; i < call.rank; ++i) {
        const auto size = static_cast<std::uint64_t>(call.numbers[i]);
        const auto step = static_cast<std::uint64_t>(call.numbers[call.rank + i]);
        if (size == 0 || numel >> 31 != 0 || last >= call.count) return 0;
        numel *= size;
        last += (size - 1) * step;
    }
    return last < call.count ? numel : 0;
}

CKPT_DETAIL_DEF bool tensor_maker::make(const whole_call& call, node& out) {
    constexpr std::size_t longest_key = 15; // the resolver charges for longer ones
    const bool same = call.callable == last_.callable && call.tag == last_.tag && call.type == last_.type &&
                      call.place == last_.place && call.empty_callable == last_.empty_callable;
    if ((!same && !admits(call)) || call.key.size() > longest_key) return false;
    // The empty dictionary, sizes and strides, the tensor.
    const std::uint64_t made =
        made_ + 2 * sizeof(node) + std::uint64_t{2} * call.rank * sizeof(std::int64_t) + sizeof(tensor_data);
    const std::uint64_t numel = elements_inside(call);
    std::uint32_t storage = 0;
    if (numel == 0 || call.rank > rank_limit_ || made > most_made_ || storages_.find(call.key, storage) != errc::none ||
        graph_.storages->nbytes(storage) != call.count * type_.bytes)
        return false;
    made_ = made;
    auto* const numbers = graph_.memory.allocate<std::int64_t>(std::size_t{2} * call.rank);
    for (std::uint32_t i = 0; i < 2 * call.rank; ++i) numbers[i] = call.numbers[i];
    tensor_data t{};
    t.type = static_cast<dtype>(type_.type);
    t.requires_grad = call.flag;
    t.rank = call.rank;
    t.storage = storage;
    t.storage_offset = call.offset;
    t.numel = numel;
    t.shape = numbers;
    t.strides = numbers + call.rank;
    graph_.tensors.push_back(graph_.memory, t);
    out = node::of(node_kind::tensor, static_cast<std::uint32_t>(graph_.tensors.size() - 1));
    return true;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
