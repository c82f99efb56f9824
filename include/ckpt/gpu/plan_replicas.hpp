// ckpt/gpu/plan_replicas.hpp: which targets of an upload get the same bytes.
//
// SPDX-License-Identifier: MIT
// In:      a plan whose tensors have their places and whose copies are known.
// Out:     for each target the first one with the same tensors at the same places, filled in the same steps.
// Refuses: nothing.
#pragma once

#include <ckpt/gpu/plan_data.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Sets `alike` of each target. Only targets of one state_dict are compared.
void find_replicas(upload_plan_data& plan);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/gpu/impl/plan_replicas.ipp>
#endif
