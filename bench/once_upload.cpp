// bench/once_upload.cpp: planning an upload, for once.cpp.
//
// SPDX-License-Identifier: MIT
#include "once_upload.hpp"

#include <ckpt/gpu/upload_plan.hpp>

std::size_t bench::planned_tensors(const ckpt::state_dict& weights) {
    return ckpt::plan_upload(weights).value().size();
}
