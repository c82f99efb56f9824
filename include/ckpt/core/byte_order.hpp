// ckpt/core/byte_order.hpp: the order of the bytes of a number.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/config.hpp>

#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// The order in which the bytes of a number lie in a file. `little`: the least significant byte comes first.
enum class byte_order : std::uint8_t { little, big };

} // namespace ckpt::inline CKPT_DETAIL_ABI
