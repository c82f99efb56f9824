// ckpt/torch/globals.hpp: the names that PyTorch's own pickles and numpy's use, and what they mean.
//
// SPDX-License-Identifier: MIT
// In:      `torch_globals`, `numpy_globals` and `nested_globals` as parts of a policy.
// Out:     containers, bytes, sizes, parameters and tensors of every kind; numpy scalars and arrays.
// Refuses: tensors that cannot be represented: the value is an error, the rest of the file opens.
//
// The names are those of torch/_weights_only_unpickler.py (torch 1.13 to 2.15), and what older files hold.
#pragma once

#include <ckpt/pickle/globals.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// Tensors, parameters, storages, dtypes, and the containers that a state_dict is made of.
struct torch_globals {
    static constexpr bool shipped = true;
    static constexpr bool patterns = false;
    static const global_entry entries[177];
};

/// Checkpoints in bytes, as pickle.dump writes the storages of tensors. The resolver reads them, with the policy of the
/// file.
struct nested_globals {
    static constexpr bool shipped = true;
    static constexpr bool patterns = false;
    static const global_entry entries[1];
};

/// numpy scalars and arrays of the dtypes that PyTorch has. Others, and dtypes themselves, are kept inert.
struct numpy_globals {
    static constexpr bool shipped = true;
    static constexpr bool patterns = false;
    static const global_entry entries[5];
};

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/globals.ipp>
#endif
