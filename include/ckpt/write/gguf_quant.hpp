// ckpt/write/gguf_quant.hpp: the ways to quantise a tensor of a GGUF file.
//
// SPDX-License-Identifier: MIT
// In:      nothing.
// Out:     how values are quantised, by its name in the format.
// Refuses: nothing.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstdint>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// How the values of a tensor are quantised. Both have blocks of 32 values and a float16 that scales them: `q8_0` with
/// 8 bits for a value, `q4_0` with 4.
enum class gguf_quant : std::uint8_t { none, q8_0, q4_0 };

/// The format's name: "Q8_0"; empty for `none`.
[[nodiscard]] constexpr std::string_view name(gguf_quant how) noexcept {
    return how == gguf_quant::q8_0 ? "Q8_0" : how == gguf_quant::q4_0 ? "Q4_0" : "";
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
