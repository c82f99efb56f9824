// ckpt/gpu/impl/plan_data.ipp: the definitions of plan_data.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/gpu/plan_data.hpp>
#include <ckpt/tensor/access.hpp>
#include <ckpt/tensor/geometry.hpp>

#include <algorithm>
#include <string>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF const placed_tensor* upload_plan_data::find(std::string_view key, std::uint32_t of) const noexcept {
    const auto& order = targets[of].by_key;
    const auto at = std::lower_bound(order.begin(), order.end(), key,
                                     [this](std::uint32_t i, std::string_view k) { return tensors[i].key < k; });
    return at != order.end() && tensors[*at].key == key ? &tensors[*at] : nullptr;
}

CKPT_DETAIL_DEF result<const placed_tensor*> find_placed(const upload_plan_data& plan, std::string_view key,
                                                         std::size_t target) {
    const placed_tensor* const found =
        target < plan.targets.size() ? plan.find(key, static_cast<std::uint32_t>(target)) : nullptr;
    if (found != nullptr) return found;
    return error{.code = errc::key_missing,
                 .detail = str_cat("no key ", quoted(key), " was uploaded to target ", target)};
}

CKPT_DETAIL_DEF result<void> check_array_of(const placed_tensor& t, std::string_view key, dtype wanted) {
    if (t.type != wanted)
        return error{.code = errc::dtype_mismatch,
                     .path = std::string(key),
                     .detail = str_cat("the tensor is ", name(t.type), ", asked for was ", name(wanted)),
                     .hint = "a cast in the upload's options converts it"};
    tensor_data shape{};
    shape.rank = t.rank;
    shape.shape = t.shape;
    shape.strides = t.strides;
    shape.numel = t.numel;
    if (is_contiguous(shape)) return {};
    error e = not_contiguous();
    e.path = key;
    e.hint = "at() has its strides";
    return e;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
