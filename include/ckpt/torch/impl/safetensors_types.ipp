// ckpt/torch/impl/safetensors_types.ipp: the definitions of safetensors_types.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/torch/safetensors_types.hpp>

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

CKPT_DETAIL_RARE std::optional<std::size_t> safetensors_type_of(ckpt::dtype type) noexcept {
    for (const auto& row : safetensors_dtypes)
        for (std::size_t i = 0; i < std::size(safetensors_types); ++i)
            if (row.type == type && safetensors_types[i].name == row.name) return i;
    return std::nullopt;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
