// ckpt/state/impl/assemble.ipp: the definitions of assemble.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/assemble.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF assembler::assembler(shared<gather_plan> plan, const state_dict& like, shared<counted> owner)
    : plan_{std::move(plan)}, storages_{detail::make_shared<gathered_storages>(plan_)} {
    const auto& from = *state_dict_access::data(like);
    out_->history = detail::make_shared<lineage>();
    out_->path = from.path;
    out_->opened = from.opened;
    out_->root = from.root;
    out_->others = from.others;
    if (from.history) out_->history->dropped = from.history->dropped;
    out_->file = std::move(owner);
    plan_->keep(state_dict_access::data(like));
}

CKPT_DETAIL_DEF void assembler::add(std::string_view name, std::uint32_t index, lineage::origin origin) {
    const gather_node& node = plan_->node(index);
    auto* data = ::new (out_->memory.allocate(sizeof(tensor_data), alignof(tensor_data))) tensor_data{};
    if (node.op == gather_op::leaf) {
        *data = *node.data;
        const auto number = [&](tensor_data& t) {
            if (t.refusal == nullptr && t.kind == layout::strided && node.source != nullptr)
                t.storage = storages_->number_of(node.source, t.storage);
        };
        copies_.adopt(*data, node.source, number);
    } else {
        data->type = node.type;
        data->rank = node.rank;
        data->shape = node.shape;
        data->numel = node.numel;
        auto* strides = out_->memory.allocate<std::int64_t>(node.rank + std::size_t{1});
        set_dense_strides(node.sizes(), false, strides);
        data->strides = strides;
        data->storage = storages_->number_of_node(index);
    }
    out_->refused += data->refusal != nullptr;
    out_->entries.push_back({name, data});
    out_->history->entries.push_back(std::move(origin));
}

CKPT_DETAIL_DEF state_dict assembler::finish() {
    out_->storages = storages_;
    out_->source = storages_.get();
    return state_dict_access::make(std::move(out_));
}

CKPT_DETAIL_DEF lineage::origin origin_of(const state_dict_data& from, std::size_t entry) {
    if (from.history) return from.history->entries[entry];
    return {.from = {std::string(from.entries[entry].key)}};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
