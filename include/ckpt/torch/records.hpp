// ckpt/torch/records.hpp: globals of common frameworks, whose objects are kept as inert data.
//
// SPDX-License-Identifier: MIT
// In:      `record_globals` as a part of a policy.
// Out:     objects whose name, arguments, state and items can be read as data.
// Refuses: nothing; names that can only be an attack are refused before these patterns are tried.
#pragma once

#include <ckpt/pickle/globals.hpp>
#include <ckpt/torch/record_names.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// A part of a policy: names of public classes of common frameworks, and no function, no private name and no module.
struct framework_globals {
    static constexpr bool shipped = true;
    static constexpr bool patterns = true;
    static constexpr bool classes_only = true;
    static const global_entry entries[60];
};

/// A part of a policy: names of TorchScript's own types, which mean nothing in Python.
struct script_globals {
    static constexpr bool shipped = true;
    static constexpr bool patterns = true;
    static const global_entry entries[1];
};

/// A part of a policy: what training programs save beside weights. Objects of the standard library, numpy's types and
/// random state, objects of torch, classes of common frameworks; all of them inert.
using record_globals = allow<framework_globals, script_globals, record_names>;

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/records.ipp>
#endif
