// ckpt/maps/wrappers.hpp: the names of a model with and without torch's wrappers around it.
//
// SPDX-License-Identifier: MIT
// In:      nothing; each function gives one map.
// Out:     maps that take DataParallel, DDP, torch.compile, FSDP, activation checkpointing and AveragedModel off all
//          names, and that put the outermost of them on.
// Refuses: nothing. Where wrappers stood inside a model is not known afterwards; the inverse of a plan knows it.
#pragma once

#include <ckpt/state/key_map.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {
namespace maps {

/// Off all names, at any depth: `module.` (DataParallel, DDP), `_orig_mod.` (torch.compile), `_fsdp_wrapped_module.`
/// (FSDP1) and `_checkpoint_wrapped_module.` (activation checkpointing), as torch 1.x and 2.x write them.
[[nodiscard]] key_map without_wrappers();

/// The averages that torch.optim.swa_utils.AveragedModel holds, under the names of the model: without its `module.`,
/// other wrappers and its counter `n_averaged`.
[[nodiscard]] key_map averaged_model_to_model();

/// To what DataParallel or DistributedDataParallel around the model has.
[[nodiscard]] key_map model_to_data_parallel();

/// To what torch.compile(model) has.
[[nodiscard]] key_map model_to_compiled();

} // namespace maps
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/maps/impl/wrappers.ipp>
#endif
