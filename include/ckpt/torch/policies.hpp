// ckpt/torch/policies.hpp: the library's three policies.
//
// SPDX-License-Identifier: MIT
// In:      nothing.
// Out:     `weights_policy`, `training_policy` (what `open` uses), `inspect_policy`.
// Refuses: every global outside the policy, called or not, with errc::global_not_allowed: the value that needs it, or
//          the file (`weights_policy`). No policy runs anything.
#pragma once

#include <ckpt/pickle/globals.hpp>
#include <ckpt/torch/globals.hpp>
#include <ckpt/torch/records.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// Tensors and the containers of a state_dict: the globals of `torch.load(weights_only=True)`. As there, any other
/// global refuses the whole file; so does a policy with this one as a part.
struct weights_policy {
    static constexpr bool is_policy = true;
    static constexpr bool refuses_file = true;
    static constexpr auto tables = detail::join_tables<torch_globals>();
};

/// The default of `open`: weights, numpy scalars and arrays, and objects of common frameworks as inert data. An object
/// of any other class is `kind::refused` at its place; the hint of its error is the line of code that allows the class.
using training_policy = allow<record_globals, result_globals, lazy_globals, tensordict_globals, numpy_globals,
                              nested_globals, torch_globals>;

/// Allows every global, and keeps those that no other policy knows as inert data, attacks included. For viewers:
/// nothing is run.
struct inspect_policy {
    static constexpr bool is_policy = true;
    static constexpr bool admits_attacks = true;
    static constexpr auto tables =
        detail::join_tables<inert_others, record_globals, result_globals, lazy_globals, tensordict_globals,
                            numpy_globals, nested_globals, torch_globals>();
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
