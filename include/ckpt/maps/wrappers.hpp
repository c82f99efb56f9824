// ckpt/maps/wrappers.hpp: removes and adds the prefixes of torch's wrappers of models.
//
// SPDX-License-Identifier: MIT
// In:      nothing; each function gives one map.
// Out:     maps that remove the prefixes of DataParallel, DDP, torch.compile, FSDP, activation checkpointing and
//          AveragedModel, and maps that add the outermost one.
// Refuses: nothing. Only the inverse of a plan knows where wrappers were inside a model.
#pragma once

#include <ckpt/state/key_map.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {
namespace maps {

/// Removes at any depth `module.` (DataParallel, DDP), `_orig_mod.` (torch.compile), `_fsdp_wrapped_module.`
/// (FSDP1) and `_checkpoint_wrapped_module.` (activation checkpointing), as torch 1.x and 2.x write them.
[[nodiscard]] key_map without_wrappers();

/// Gives the averages of torch.optim.swa_utils.AveragedModel the names of the model: removes its `module.`, the
/// prefixes of other wrappers and its counter `n_averaged`.
[[nodiscard]] key_map averaged_model_to_model();

/// Adds the prefix of DataParallel and DistributedDataParallel: `module.`.
[[nodiscard]] key_map model_to_data_parallel();

/// Adds the prefix of torch.compile(model): `_orig_mod.`.
[[nodiscard]] key_map model_to_compiled();

} // namespace maps
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/maps/impl/wrappers.ipp>
#endif
