// ckpt/state/impl/load.ipp: the definitions of load.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/load.hpp>
#include <ckpt/state/load_judge.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF load_report plan_targets(target_list& targets, const state_dict& weights, const load_options& options) {
    return load_job{targets, weights, options}.plan();
}

CKPT_DETAIL_DEF result<load_report> prepare_targets(target_list& targets, const state_dict& weights,
                                                    const load_options& options) {
    return load_job{targets, weights, options}.prepare();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
