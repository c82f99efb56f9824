// ckpt/state/impl/remap_access.ipp: the definitions of remap_access.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/remap_access.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF const shared<remap_record>& remap_plan_access::record(const remap_plan& plan) noexcept {
    return plan.record_;
}

CKPT_DETAIL_DEF std::vector<planned_tensor> planned_tensors(const remap_plan& plan) {
    const remap_record& r = *remap_plan_access::record(plan);
    std::vector<planned_tensor> out;
    for (std::uint32_t i = r.items[0].next; i != 0; i = r.items[i].next) {
        const gather_node& node = r.node_of(i);
        planned_tensor& one = out.emplace_back();
        one.key = r.items[i].name;
        one.type = node.type;
        if (node.op != gather_op::leaf || node.data->refusal == nullptr)
            one.shape.emplace(node.sizes().begin(), node.sizes().end());
    }
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
