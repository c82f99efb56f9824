// ckpt/torch/impl/safetensors_types.ipp: the definitions of safetensors_types.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/torch/safetensors_types.hpp>

#include <array>
#include <cstdint>
#include <iterator>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

inline constexpr struct {
    std::string_view name{};
    ckpt::dtype type{};
} safetensors_dtypes[]{
    {"F32", ckpt::dtype::float32},
    {"F16", ckpt::dtype::float16},
    {"BF16", ckpt::dtype::bfloat16},
    {"F64", ckpt::dtype::float64},
    {"I64", ckpt::dtype::int64},
    {"I32", ckpt::dtype::int32},
    {"I16", ckpt::dtype::int16},
    {"I8", ckpt::dtype::int8},
    {"U8", ckpt::dtype::uint8},
    {"BOOL", ckpt::dtype::bool_},
    {"U16", ckpt::dtype::uint16},
    {"U32", ckpt::dtype::uint32},
    {"U64", ckpt::dtype::uint64},
    {"C64", ckpt::dtype::complex64},
    {"F8_E4M3", ckpt::dtype::float8_e4m3fn},
    {"F8_E5M2", ckpt::dtype::float8_e5m2},
    {"F8_E8M0", ckpt::dtype::float8_e8m0fnu},
    {"F8_E4M3FNUZ", ckpt::dtype::float8_e4m3fnuz},
    {"F8_E5M2FNUZ", ckpt::dtype::float8_e5m2fnuz},
    {"F4", ckpt::dtype::float4_e2m1fn_x2},
};

CKPT_DETAIL_DEF std::optional<ckpt::dtype> dtype_of_safetensors(std::string_view name) noexcept {
    for (const auto& row : safetensors_dtypes)
        if (row.name == name) return row.type;
    return std::nullopt;
}

/// By dtype the number of its type; `std::size(safetensors_types)` for a dtype that the format does not have.
inline constexpr auto safetensors_numbers = [] {
    std::array<std::uint8_t, dtype_count> out{};
    out.fill(static_cast<std::uint8_t>(std::size(safetensors_types)));
    for (const auto& row : safetensors_dtypes)
        for (std::size_t i = 0; i < std::size(safetensors_types); ++i)
            if (safetensors_types[i].name == row.name)
                out[static_cast<std::size_t>(row.type)] = static_cast<std::uint8_t>(i);
    return out;
}();

CKPT_DETAIL_RARE std::optional<std::size_t> safetensors_type_of(ckpt::dtype type) noexcept {
    const std::size_t number =
        is_known(type) ? safetensors_numbers[static_cast<std::size_t>(type)] : std::size(safetensors_types);
    if (number >= std::size(safetensors_types)) return std::nullopt;
    return number;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
