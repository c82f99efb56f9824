// ckpt/tensor/dtype.hpp: the element types of tensors.
//
// SPDX-License-Identifier: MIT
// In:      a dtype, or its name as PyTorch prints it without "torch.".
// Out:     one table: name, size in bits, unit of byte swapping, kind.
// Refuses: names that are not in the table, aliases ("half", "long") included.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// The type of a tensor's elements. Every dtype that PyTorch can save has one; the values are not PyTorch's numbers.
enum class dtype : std::uint8_t {
    uint8,
    int8,
    int16,
    int32,
    int64,
    float16,
    float32,
    float64,
    complex32, ///< two float16
    complex64,
    complex128,
    bool_, ///< its name is "bool"
    qint8,
    quint8,
    qint32,
    bfloat16,
    quint4x2, ///< two values in a byte, the first in the low bits; the shape counts values
    quint2x4, ///< four values in a byte, the first in the low bits; the shape counts values
    bits1x8,
    bits2x4,
    bits4x2,
    bits8,
    bits16,
    float8_e5m2,
    float8_e4m3fn,
    float8_e5m2fnuz,
    float8_e4m3fnuz,
    uint16,
    uint32,
    uint64,
    float8_e8m0fnu,
    float4_e2m1fn_x2, ///< two values in a byte; the shape counts bytes
    bcomplex32,       ///< two bfloat16
};

/// The kind of a dtype's values. `opaque`: bits without a number, as `bits8`.
enum class dtype_kind : std::uint8_t { integer, floating, boolean, complex, quantised, opaque };

/// One row of the table of element types.
struct dtype_info {
    dtype type{};
    std::string_view name{};        ///< "float32"; NUL-terminated
    std::uint8_t bits{};            ///< of one element as the shape counts them
    std::uint8_t component_bytes{}; ///< the unit of byte swapping; half an element of a complex type
    dtype_kind kind{};
    bool packed{}; ///< a byte holds several values
};

/// All dtypes, in the order of the enum.
inline constexpr dtype_info dtype_table[]{
    {dtype::uint8, "uint8", 8, 1, dtype_kind::integer, false},
    {dtype::int8, "int8", 8, 1, dtype_kind::integer, false},
    {dtype::int16, "int16", 16, 2, dtype_kind::integer, false},
    {dtype::int32, "int32", 32, 4, dtype_kind::integer, false},
    {dtype::int64, "int64", 64, 8, dtype_kind::integer, false},
    {dtype::float16, "float16", 16, 2, dtype_kind::floating, false},
    {dtype::float32, "float32", 32, 4, dtype_kind::floating, false},
    {dtype::float64, "float64", 64, 8, dtype_kind::floating, false},
    {dtype::complex32, "complex32", 32, 2, dtype_kind::complex, false},
    {dtype::complex64, "complex64", 64, 4, dtype_kind::complex, false},
    {dtype::complex128, "complex128", 128, 8, dtype_kind::complex, false},
    {dtype::bool_, "bool", 8, 1, dtype_kind::boolean, false},
    {dtype::qint8, "qint8", 8, 1, dtype_kind::quantised, false},
    {dtype::quint8, "quint8", 8, 1, dtype_kind::quantised, false},
    {dtype::qint32, "qint32", 32, 4, dtype_kind::quantised, false},
    {dtype::bfloat16, "bfloat16", 16, 2, dtype_kind::floating, false},
    {dtype::quint4x2, "quint4x2", 4, 1, dtype_kind::quantised, true},
    {dtype::quint2x4, "quint2x4", 2, 1, dtype_kind::quantised, true},
    {dtype::bits1x8, "bits1x8", 8, 1, dtype_kind::opaque, true},
    {dtype::bits2x4, "bits2x4", 8, 1, dtype_kind::opaque, true},
    {dtype::bits4x2, "bits4x2", 8, 1, dtype_kind::opaque, true},
    {dtype::bits8, "bits8", 8, 1, dtype_kind::opaque, false},
    {dtype::bits16, "bits16", 16, 2, dtype_kind::opaque, false},
    {dtype::float8_e5m2, "float8_e5m2", 8, 1, dtype_kind::floating, false},
    {dtype::float8_e4m3fn, "float8_e4m3fn", 8, 1, dtype_kind::floating, false},
    {dtype::float8_e5m2fnuz, "float8_e5m2fnuz", 8, 1, dtype_kind::floating, false},
    {dtype::float8_e4m3fnuz, "float8_e4m3fnuz", 8, 1, dtype_kind::floating, false},
    {dtype::uint16, "uint16", 16, 2, dtype_kind::integer, false},
    {dtype::uint32, "uint32", 32, 4, dtype_kind::integer, false},
    {dtype::uint64, "uint64", 64, 8, dtype_kind::integer, false},
    {dtype::float8_e8m0fnu, "float8_e8m0fnu", 8, 1, dtype_kind::floating, false},
    {dtype::float4_e2m1fn_x2, "float4_e2m1fn_x2", 8, 1, dtype_kind::floating, true},
    {dtype::bcomplex32, "bcomplex32", 32, 2, dtype_kind::complex, false},
};

namespace detail {

inline constexpr std::size_t dtype_count = sizeof dtype_table / sizeof dtype_table[0];
inline constexpr dtype_info unknown_dtype{dtype{255}, "unknown", 8, 1, dtype_kind::opaque, true};

consteval bool dtype_rows_in_order() {
    for (std::size_t i = 0; i < dtype_count; ++i)
        if (static_cast<std::size_t>(dtype_table[i].type) != i) return false;
    return true;
}
static_assert(dtype_rows_in_order());

[[nodiscard]] constexpr bool is_known(dtype type) noexcept { return static_cast<std::size_t>(type) < dtype_count; }

} // namespace detail

/// The row of `type`; a row named "unknown" for a value that is not in the table.
[[nodiscard]] constexpr const dtype_info& info(dtype type) noexcept {
    return detail::is_known(type) ? dtype_table[static_cast<std::size_t>(type)] : detail::unknown_dtype;
}

/// PyTorch's name without "torch."; NUL-terminated.
[[nodiscard]] constexpr std::string_view name(dtype type) noexcept { return info(type).name; }

/// Bits of one element as the shape counts them: 4 and 2 for quint4x2 and quint2x4, a multiple of 8 otherwise.
[[nodiscard]] constexpr std::size_t bits(dtype type) noexcept { return info(type).bits; }

/// Bytes of one element, as PyTorch's `itemsize`; 1 where a byte holds several.
[[nodiscard]] constexpr std::size_t itemsize(dtype type) noexcept { return (bits(type) + 7) / 8; }

/// The dtype whose name is `text`: "float32". Nothing for other text, also for aliases ("half").
[[nodiscard]] constexpr std::optional<dtype> parse_dtype(std::string_view text) noexcept {
    for (const dtype_info& row : dtype_table)
        if (row.name == text) return row.type;
    return std::nullopt;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
