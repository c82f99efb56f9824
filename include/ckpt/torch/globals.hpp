// ckpt/torch/globals.hpp: tables of the globals in pickles of PyTorch and numpy.
//
// SPDX-License-Identifier: MIT
// In:      `torch_globals`, `numpy_globals` and the other tables as parts of a policy.
// Out:     containers, bytes, sizes, parameters and tensors of every kind; numpy scalars and arrays.
// Refuses: tensors that cannot be represented: the value is an error, and the other values can be read.
//
// The names are those of torch/_weights_only_unpickler.py (torch 1.13 to 2.15), and those of older files.
#pragma once

#include <ckpt/pickle/globals.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// A part of a policy: tensors, parameters, storages, dtypes, and the containers of a state_dict.
struct torch_globals {
    static constexpr bool shipped = true;
    static constexpr bool patterns = false;
    static const global_entry entries[177];
};

/// A part of a policy: torch.storage._load_from_bytes, whose argument is a whole checkpoint. pickle.dump writes the
/// storages of tensors like this. The resolver reads it with the policy of the file.
struct nested_globals {
    static constexpr bool shipped = true;
    static constexpr bool patterns = false;
    static const global_entry entries[1];
};

/// A part of a policy: numpy scalars and arrays of dtypes that PyTorch has, too. Other ones, and numpy.dtype itself,
/// are kept inert.
struct numpy_globals {
    static constexpr bool shipped = true;
    static constexpr bool patterns = false;
    static const global_entry entries[5];
};

/// A part of a policy: TensorDict and LazyStackedTensorDict of the package tensordict, consolidated ones too. A
/// TensorDict is a dictionary, whose class and attributes (`_batch_size`) are kept; a lazy one is the list of those
/// that it stacks.
struct tensordict_globals {
    static constexpr bool shipped = true;
    static constexpr bool patterns = false;
    static const global_entry entries[11];
};

/// A part of a policy: the parameters and buffers of lazy modules (torch.nn.LazyLinear) before their first forward.
/// They are tensors that are refused with `uninitialized`.
struct lazy_globals {
    static constexpr bool shipped = true;
    static constexpr bool patterns = false;
    static const global_entry entries[2];
};

/// A part of a policy: the named tuples that torch.topk, torch.max and similar functions return. They are kept inert:
/// their tensors are in the first argument.
struct result_globals {
    static constexpr bool shipped = true;
    static constexpr bool patterns = false;
    static const global_entry entries[67];
};

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/globals.ipp>
#endif
