// tools/stat.hpp: what the values of a tensor are like, as a member of other documents.
//
// SPDX-License-Identifier: MIT
// In:      a tensor.
// Out:     the member "stats" of its row, with the fields of `ckpt stat --json`.
// Refuses: nothing: what cannot be read has its error there.
#pragma once

#include "json.hpp"
#include "progress.hpp"

#include <ckpt/ckpt.hpp>

namespace tool {

/// `root`: of the file, for the paths of errors.
void write_stats(json& to, const ckpt::tensor& t, const ckpt::value& root, progress_line& line);

} // namespace tool
