// ckpt/io/finished_file.hpp: a look at a file before it gets its name.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/callback.hpp>
#include <ckpt/core/result.hpp>

#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// A file whose bytes are all on the disk, and that does not have its name yet.
struct finished_file {
    std::string_view path{}; ///< that it will have
    std::string_view at{};   ///< where it can be opened now: a name in the same folder
};

/// `result<void>(const finished_file&)`, an option of the writers. It is called for each file of an output when that is
/// finished, before any of them has its name. Where it fails, the call ends with its error, and every path has what it
/// had.
using output_check = callback<result<void>(const finished_file&)>;

} // namespace ckpt::inline CKPT_DETAIL_ABI
