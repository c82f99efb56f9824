// ckpt/write/gguf_format.hpp: text and types of tensors as GGUF has them.
//
// SPDX-License-Identifier: MIT
// In:      text; types of tensors.
// Out:     its length and bytes, behind others; ggml's numbers of the types.
// Refuses: nothing.
#pragma once

#include <ckpt/core/append_le.hpp>
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/write/gguf_quant.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::gguf {

inline constexpr std::size_t longest_name = 64; // of a tensor

/// ggml's number of a dtype; nothing where it has none.
constexpr std::optional<std::uint32_t> type_of(ckpt::dtype type) noexcept {
    switch (type) {
    case ckpt::dtype::float32: return 0;
    case ckpt::dtype::float16: return 1;
    case ckpt::dtype::int8: return 24;
    case ckpt::dtype::int16: return 25;
    case ckpt::dtype::int32: return 26;
    case ckpt::dtype::int64: return 27;
    case ckpt::dtype::float64: return 28;
    case ckpt::dtype::bfloat16: return 30;
    default: return {};
    }
}
/// The same of a way to quantise.
constexpr std::optional<std::uint32_t> type_of(gguf_quant how) noexcept {
    switch (how) {
    case gguf_quant::q8_0: return 8;
    case gguf_quant::q4_0: return 2;
    case gguf_quant::none: break;
    }
    return {};
}

inline void append_string(std::string& out, std::string_view text) {
    append_le(out, text.size(), 8);
    out += text;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::gguf
