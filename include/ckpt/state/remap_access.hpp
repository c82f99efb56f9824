// ckpt/state/remap_access.hpp: what a plan holds beside its public lists.
//
// SPDX-License-Identifier: MIT
// In:      a plan.
// Out:     its record; the keys of the result with their shapes.
// Refuses: nothing.
#pragma once

#include <ckpt/core/shared.hpp>
#include <ckpt/state/remap.hpp>
#include <ckpt/state/remap_record.hpp>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// How the rest of the library looks into a plan.
struct remap_plan_access {
    [[nodiscard]] static const shared<remap_record>& record(const remap_plan& plan) noexcept;
};

/// A key of the result, and type and shape of its tensor; no shape where the tensor could not be built.
struct planned_tensor {
    std::string_view key{}; ///< lives as long as the plan
    ckpt::dtype type{};
    std::optional<std::vector<std::int64_t>> shape{};
};
/// What would come out, in the order of the result.
[[nodiscard]] std::vector<planned_tensor> planned_tensors(const remap_plan& plan);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/remap_access.ipp>
#endif
