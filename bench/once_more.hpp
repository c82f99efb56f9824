// bench/once_more.hpp: what is counted beside opening, for once.cpp.
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

/// Plans a conversion of everything to a safetensors file; how many tensors it has.
[[nodiscard]] std::size_t converted_tensors(const ckpt::state_dict& weights);

/// Digests one tensor of so many bytes in memory, as often as told. False where the digest changes.
[[nodiscard]] bool digests_are_equal(std::size_t bytes, std::size_t times);

} // namespace bench
