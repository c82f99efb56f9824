// ckpt/io/io_mode.hpp: whether a file is mapped.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/config.hpp>

#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// How the bytes of storages are read. `map`: the file is mapped, so that tensors have views without a copy. `read`:
/// by positioned reads only, so that a file that changes meanwhile gives errors, not signals; views then need
/// `storage_mode::owned`. Copies, digests and writers follow it; uploads, `host::load` and `verify` read in both modes.
enum class io_mode : std::uint8_t { map, read };

} // namespace ckpt::inline CKPT_DETAIL_ABI
