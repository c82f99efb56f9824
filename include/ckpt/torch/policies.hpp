// ckpt/torch/policies.hpp: the three policies that ship.
//
// SPDX-License-Identifier: MIT
// In:      nothing.
// Out:     `weights_policy`, `training_policy` (what `open` uses), `inspect_policy`.
// Refuses: by policy, every name outside it, wherever it stands, called or not. Whatever the policy, nothing is run.
#pragma once

#include <ckpt/pickle/globals.hpp>
#include <ckpt/torch/globals.hpp>
#include <ckpt/torch/records.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// Tensors and the containers that hold them: what `torch.load(weights_only=True)` promises.
using weights_policy = allow<torch_globals>;

/// The default: weights, numpy scalars and arrays, and the records of the known frameworks as inert data. A user's own
/// class is refused; the error prints the line that admits it.
using training_policy = allow<record_globals, numpy_globals, nested_globals, torch_globals>;

/// Everything is admitted as inert data, names that can only be an attack too. For viewers and for the command line.
struct inspect_policy {
    static constexpr bool is_policy = true;
    static constexpr bool admits_attacks = true;
    static constexpr auto tables =
        detail::join_tables<inert_others, record_globals, numpy_globals, nested_globals, torch_globals>();
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
