// tools/gguf.hpp: what `ckpt convert` does for .gguf alone.
//
// SPDX-License-Identifier: MIT
// In:      --gguf-meta and --dtype; the file that was written.
// Out:     options of the writer; what people should know of a file; whether it reads back.
// Refuses: a file of metadata that is no JSON, or has what GGUF has no type for.
#pragma once

#include "commands.hpp"

#include <ckpt/io/file.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/write/gguf.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace tool {

/// The metadata of --gguf-meta, and which keys --dtype quantises. A cast takes its keys from patterns before it.
[[nodiscard]] ckpt::result<ckpt::gguf_options> gguf_options_of(const options& wanted);

/// What readers of the file that is planned may refuse, a line each.
[[nodiscard]] std::vector<std::string> gguf_notes(const ckpt::gguf_options& chosen, const ckpt::state_dict& weights);

/// Compares the header of a file that was written with what should be in it: the number of tensors, and of each its
/// name, dimensions and type. `lost`: tensors of `weights` that are not written.
[[nodiscard]] ckpt::result<void> check_gguf(const ckpt::detail::file& written, const ckpt::written_file& planned,
                                            const ckpt::state_dict& weights,
                                            const std::vector<ckpt::quantised_tensor>& quantised,
                                            const std::vector<ckpt::left_out_tensor>& lost);

} // namespace tool
