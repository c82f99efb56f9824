// ckpt/io/io_mode.hpp: whether a file is mapped.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/config.hpp>

#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// How the bytes of storages reach the program: through a mapping (zero copy), or by reads only.
enum class io_mode : std::uint8_t { map, read };

} // namespace ckpt::inline CKPT_DETAIL_ABI
