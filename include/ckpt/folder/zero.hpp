// ckpt/folder/zero.hpp: a checkpoint of DeepSpeed with ZeRO, as one model.
//
// SPDX-License-Identifier: MIT
// In:      the files of one step: "[zero_pp_rank_R_]mp_rank_MM_model_states.pt",
//          "[bf16_]zero_pp_rank_R_mp_rank_MM_optim_states.pt".
// Out:     {"module": the model's weights, "optimizer": {file: its content}, and what else the first rank saved}.
// Refuses: missing and surplus ranks, ranks that disagree, partitions that do not add up to the shapes: all at once.
//
// The 32-bit weights lie in the optimizer's files. After deepspeed/utils/zero_to_fp32.py (0.19), but for two things:
// weights that are frozen under stage 1 are kept, and buffers keep their own dtype.
#pragma once

#include <ckpt/core/shared.hpp>
#include <ckpt/folder/report.hpp>
#include <ckpt/io/folder.hpp>
#include <ckpt/torch/checkpoint_file.hpp>

#include <span>
#include <string>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The checkpoint of one step; nothing where there are findings. `step` is its folder inside the work's folder: empty,
/// or "global_step10/".
[[nodiscard]] shared<checkpoint_file> read_zero(folder_work& work, std::string step,
                                                std::span<const folder_entry> entries);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/zero.ipp>
#endif
