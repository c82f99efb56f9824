// bench/once_upload.hpp: planning an upload, for once.cpp.
//
// SPDX-License-Identifier: MIT
// Compiled apart, so that what it includes does not change how the code of opening is inlined, whose instructions are
// counted.
#pragma once

#include <ckpt/ckpt.hpp>

#include <cstddef>

namespace bench {

/// Plans an upload of everything; how many tensors it has.
[[nodiscard]] std::size_t planned_tensors(const ckpt::state_dict& weights);

} // namespace bench
