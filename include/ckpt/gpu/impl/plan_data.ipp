// ckpt/gpu/impl/plan_data.ipp: the definitions of plan_data.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/gpu/plan_data.hpp>

#include <algorithm>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF const placed_tensor* upload_plan_data::find(std::string_view key, std::uint32_t of) const noexcept {
    const auto& order = targets[of].by_key;
    const auto at = std::lower_bound(order.begin(), order.end(), key,
                                     [this](std::uint32_t i, std::string_view k) { return tensors[i].key < k; });
    return at != order.end() && tensors[*at].key == key ? &tensors[*at] : nullptr;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
