// ckpt/state/impl/caster.ipp: the definitions of caster.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/core/hash.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/assemble.hpp>
#include <ckpt/state/caster.hpp>
#include <ckpt/tensor/convert.hpp>
#include <ckpt/tensor/parts.hpp>
#include <ckpt/tensor/shape_text.hpp>

#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF std::string elements_obstacle(const gather_node& node) {
    if (node.op == gather_op::leaf) {
        if (node.data->refusal != nullptr)
            return str_cat("the tensor could not be built: ", node.data->refusal->detail);
        if (node.data->kind != layout::strided || node.source == nullptr)
            return str_cat("the tensor's layout is ", name(node.data->kind),
                           ", and only strided ones have elements to move");
        if (is_quantised(*node.data)) return "the tensor is quantised, and pieces of it would not fit its scales";
    }
    if (bits(node.type) < 8 || info(node.type).packed)
        return str_cat("a byte of ", ckpt::name(node.type), " holds several values");
    if (node.depth >= gather_plan::most_depth)
        return str_cat("more than ", gather_plan::most_depth, " operations on one tensor");
    return {};
}

CKPT_DETAIL_RARE tensor_caster::tensor_caster(const state_dict& weights) : from_{weights} {
    const auto& data = *state_dict_access::data(weights);
    for (const state_dict_entry& e : data.entries) nodes_.push_back(plan_->add_leaf(e.data, data.source));
    results_ = nodes_;
}

CKPT_DETAIL_RARE std::string tensor_caster::obstacle(std::size_t entry, dtype to) const {
    const gather_node& node = plan_->node(nodes_[entry]);
    if (std::string why = elements_obstacle(node); !why.empty()) return why;
    if (!is_convertible(node.type, to))
        return str_cat(name(node.type), " cannot be cast to ", name(to), " without losing what the values mean");
    std::uint64_t bytes = 0;
    if (!checked_mul(node.numel, std::uint64_t{itemsize(to)}, bytes) || bytes > largest_signed)
        return "the cast shape overflows";
    if (!plan_->in_proportion(nodes_[entry])) return "its values would be far more bytes than are stored";
    return {};
}

CKPT_DETAIL_RARE void tensor_caster::cast(std::size_t entry, dtype to) {
    const std::uint32_t node = nodes_[entry];
    const auto hash_of = [this](std::uint32_t leaf, dtype type) {
        const tensor_data& data = *plan_->node(leaf).data;
        return mix(mix((std::uint64_t{data.storage} << 8) ^ static_cast<std::uint64_t>(type)) ^ data.storage_offset);
    };
    const auto next = static_cast<std::uint32_t>(casts_.size());
    casts_.push_back({node, 0});
    const std::uint32_t found = table_.insert(
        hash_of(node, to), next,
        [&](std::uint32_t i) { return plan_->node(casts_[i].to).type == to && plan_->same_view(casts_[i].from, node); },
        [&](std::uint32_t i) { return hash_of(casts_[i].from, plan_->node(casts_[i].to).type); });
    if (found == next) casts_.back().to = plan_->cast(node, to);
    else casts_.pop_back();
    results_[entry] = casts_[found].to;
}

CKPT_DETAIL_RARE state_dict tensor_caster::finish() {
    const auto& data = *state_dict_access::data(from_);
    assembler out{plan_, from_, plan_};
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
        lineage::origin origin = origin_of(data, i);
        if (results_[i] != nodes_[i]) {
            origin.chain += origin.chain.empty() ? "cast" : ", cast";
            origin.cast = origin.converted = true;
        }
        out.add(data.entries[i].key, results_[i], std::move(origin));
    }
    return out.finish();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
