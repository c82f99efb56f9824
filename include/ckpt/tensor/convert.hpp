// ckpt/tensor/convert.hpp: byte order, lazy bits, conversions between element types.
//
// SPDX-License-Identifier: MIT
// In:      contiguous elements at any alignment, and their dtype.
// Out:     their values in another byte order or another type.
// Refuses: what PyTorch's `.to()` would do by losing values: floating to integer, complex to real, and integers
//          that do not fit; real to complex, quantised and packed types.
#pragma once

#include <ckpt/core/reader.hpp>
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/tensor/half.hpp>
#include <ckpt/tensor/lanes.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

// ---- byte order; in place: neg and conj, bool

/// Copies numbers of `unit` bytes, 2, 4 or 8, with the bytes of each reversed; of other units nothing. `bytes`: a
/// multiple of the unit. `streams`: many go around the cache; otherwise `in` and `out` may be one place.
void swap_units(std::size_t unit, const std::byte* in, std::byte* out, std::uint64_t bytes, bool streams) noexcept;

/// Reverses the bytes of each component of `n` elements.
void swap_components(dtype type, std::byte* data, std::uint64_t n) noexcept;

/// Whether elements of this type can be negated.
[[nodiscard]] constexpr bool has_negation(dtype type) noexcept {
    const dtype_info& row = info(type);
    return !row.packed && type != dtype::float8_e8m0fnu &&
           (row.kind == dtype_kind::integer || row.kind == dtype_kind::floating || row.kind == dtype_kind::complex);
}

enum class negation : std::uint8_t { sign_bit, sign_bit_unless_zero, two_s_complement };

template <std::unsigned_integral T>
inline void negate_all(std::byte* data, std::uint64_t step, std::uint64_t n, negation how) noexcept {
    constexpr T sign = static_cast<T>(T{1} << (sizeof(T) * 8 - 1));
    for (std::uint64_t i = 0; i < n; ++i) {
        T value{};
        std::memcpy(&value, data + i * step, sizeof(T));
        if (how == negation::two_s_complement) value = static_cast<T>(T{0} - value);
        else if (how == negation::sign_bit || (value & static_cast<T>(~sign)) != 0)
            value = static_cast<T>(value ^ sign);
        std::memcpy(data + i * step, &value, sizeof(T));
    }
}

/// Applies the neg and conj bits to `n` elements in native order; `has_negation(type)` holds where `neg` is set.
void resolve_lazy_bits(dtype type, bool neg, bool conj, std::byte* data, std::uint64_t n) noexcept;

/// Replaces every byte but 0 by 1: a file may have other bytes, which a C++ bool must not have.
inline void normalise_bools(std::byte* data, std::uint64_t n) noexcept {
    for (std::uint64_t i = 0; i < n; ++i) data[i] = data[i] == std::byte{0} ? std::byte{0} : std::byte{1};
}

/// Turns `n` stored elements of byte order `from` into their values in byte order `to`: resolves neg and conj bits,
/// normalises bools, swaps bytes.
void finish_elements(dtype type, byte_order from, byte_order to, bool neg, bool conj, std::byte* data,
                     std::uint64_t n) noexcept;

/// Whether `finish_elements` would change nothing.
[[nodiscard]] constexpr bool is_finished(dtype type, byte_order from, byte_order to, bool neg, bool conj) noexcept {
    const dtype_info& row = info(type);
    return type != dtype::bool_ && !neg && !(conj && row.kind == dtype_kind::complex) &&
           (from == to || row.component_bytes == 1);
}

/// Values [first, first + n) of a packed type with `bits` bits each, the first of a byte in its low bits.
void unpack(std::size_t bits, const std::byte* in, std::uint64_t first, std::uint64_t n, std::byte* out) noexcept;

// ---- conversions

/// Conversions between float32 and float64 as in IEEE 754, also where -ffast-math changes those of the compiler.
[[nodiscard]] CKPT_DETAIL_HOST_DEVICE inline double to_double(float value) noexcept {
    const std::uint32_t from = bit_cast<std::uint32_t>(value);
    const std::uint32_t exponent = (from >> 23) & 0xFFu;
    if (exponent != 0 && exponent != 0xFF) return static_cast<double>(value);
    const std::uint64_t sign = static_cast<std::uint64_t>(from >> 31) << 63;
    const std::uint64_t fraction = from & 0x007F'FFFFu;
    if (exponent == 0xFF) {
        const std::uint64_t quiet = fraction != 0 ? std::uint64_t{1} << 51 : 0;
        return bit_cast<double>(sign | (std::uint64_t{0x7FF} << 52) | quiet | (fraction << 29));
    }
    if (fraction == 0) return bit_cast<double>(sign);
    // A subnormal float: see `widen`.
    return bit_cast<double>(sign |
                            (bit_cast<std::uint64_t>(static_cast<double>(fraction)) - (std::uint64_t{149} << 52)));
}
[[nodiscard]] CKPT_DETAIL_HOST_DEVICE inline float to_float(double value) noexcept {
    const std::uint64_t from = bit_cast<std::uint64_t>(value);
    const auto exponent = static_cast<std::uint32_t>((from >> 52) & 0x7FFu);
    if (exponent >= 1023 - 125 && exponent <= 1023 + 126) return static_cast<float>(value); // normal on both sides
    const auto sign = static_cast<std::uint32_t>(from >> 63) << 31;
    const std::uint64_t fraction = from & ((std::uint64_t{1} << 52) - 1);
    if (exponent == 0x7FF) {
        const std::uint32_t quiet = fraction != 0 ? 0x0040'0000u : 0;
        return bit_cast<float>(sign | 0x7F80'0000u | quiet | static_cast<std::uint32_t>(fraction >> 29));
    }
    if (exponent > 1023 + 126) {
        const std::uint64_t rounded =
            shift_rounding((from & ~(std::uint64_t{1} << 63)) - (std::uint64_t{1023 - 127} << 52), 29);
        return bit_cast<float>(sign | (rounded < 0x7F80'0000u ? static_cast<std::uint32_t>(rounded) : 0x7F80'0000u));
    }
    if (exponent < 1023 - 150) return bit_cast<float>(sign);
    const std::uint64_t significand = fraction | (std::uint64_t{1} << 52);
    const std::uint32_t shift = exponent >= 1023 - 126 ? 29 : 29 + (1023 - 126 - exponent);
    const std::uint64_t rounded = shift_rounding(significand, shift);
    // With exponent 1023 - 126 the hidden bit itself is the exponent 1 of the float.
    return bit_cast<float>(sign | static_cast<std::uint32_t>(rounded));
}

/// The type through which values are converted: every type is loaded into one, and stored from one.
enum class carrier : std::uint8_t { none, signed_integer, unsigned_integer, single, real };

[[nodiscard]] CKPT_DETAIL_HOST_DEVICE constexpr carrier carrier_of(dtype type) noexcept {
    switch (type) {
    case dtype::int8:
    case dtype::int16:
    case dtype::int32:
    case dtype::int64: return carrier::signed_integer;
    case dtype::bool_:
    case dtype::uint8:
    case dtype::uint16:
    case dtype::uint32:
    case dtype::uint64: return carrier::unsigned_integer;
    case dtype::float64: return carrier::real;
    case dtype::float16:
    case dtype::bfloat16:
    case dtype::float32:
    case dtype::float8_e5m2:
    case dtype::float8_e4m3fn:
    case dtype::float8_e5m2fnuz:
    case dtype::float8_e4m3fnuz:
    case dtype::float8_e8m0fnu: return carrier::single;
    default: return carrier::none;
    }
}

/// The type of the real and the imaginary part of a complex type; other types themselves.
[[nodiscard]] constexpr dtype component_type(dtype type) noexcept {
    switch (type) {
    case dtype::complex32: return dtype::float16;
    case dtype::complex64: return dtype::float32;
    case dtype::complex128: return dtype::float64;
    case dtype::bcomplex32: return dtype::bfloat16;
    default: return type;
    }
}

/// The integer type in which elements of a bool, quantised or opaque type are stored; other types themselves.
[[nodiscard]] constexpr dtype stored_integer(dtype type) noexcept {
    switch (type) {
    case dtype::qint8: return dtype::int8;
    case dtype::qint32: return dtype::int32;
    case dtype::bits16: return dtype::uint16;
    case dtype::bool_:
    case dtype::quint8:
    case dtype::bits1x8:
    case dtype::bits2x4:
    case dtype::bits4x2:
    case dtype::bits8:
    case dtype::float4_e2m1fn_x2: return dtype::uint8;
    default: return type;
    }
}

/// Whether `convert` knows this conversion; integers may still turn out not to fit.
[[nodiscard]] constexpr bool is_convertible(dtype from, dtype to) noexcept {
    if (from == to) return true;
    if (to == dtype::float8_e8m0fnu) return false;
    const bool from_complex = info(from).kind == dtype_kind::complex;
    if (from_complex != (info(to).kind == dtype_kind::complex)) return false;
    const carrier a = carrier_of(component_type(from));
    const carrier b = carrier_of(component_type(to));
    if (a == carrier::none || b == carrier::none) return false;
    const bool from_float = a == carrier::single || a == carrier::real;
    const bool to_float_ = b == carrier::single || b == carrier::real;
    return !from_float || to_float_;
}

inline constexpr std::size_t batch_size = 256;

/// A batch of values in one of the four carriers.
union batch_values {
    std::int64_t signed_integer[batch_size];
    std::uint64_t unsigned_integer[batch_size];
    float single[batch_size];
    double real[batch_size];
};

template <class Stored, class Carrier>
inline void load_batch(const std::byte* in, std::size_t n, Carrier* out) noexcept {
    for (std::size_t i = 0; i < n; ++i) {
        Stored value{};
        std::memcpy(&value, in + i * sizeof(Stored), sizeof(Stored));
        out[i] = static_cast<Carrier>(value);
    }
}
template <class Stored, class Carrier>
inline void store_batch(const Carrier* in, std::size_t n, std::byte* out) noexcept {
    for (std::size_t i = 0; i < n; ++i) {
        const auto value = static_cast<Stored>(in[i]);
        std::memcpy(out + i * sizeof(Stored), &value, sizeof(Stored));
    }
}
template <class Stored> inline void round_batch(const float* in, std::size_t n, std::byte* out) noexcept {
    for (std::size_t i = 0; i < n; ++i) {
        const Stored value = Stored::from_float(in[i]);
        std::memcpy(out + i * sizeof(Stored), &value, sizeof(Stored));
    }
}

/// bfloat16 as PyTorch's vectorised code converts float32 and float64 to it: a NaN becomes 0xFFFF. From smaller types
/// PyTorch uses other code.
struct bf16_of_large_float {
    bf16 value{};
    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE static constexpr bf16_of_large_float from_float(float from) noexcept {
        const bool nan = (bit_cast<std::uint32_t>(from) & 0x7FFF'FFFFu) > 0x7F80'0000u;
        return {nan ? bf16{0xFFFF} : bf16::from_float(from)};
    }
};

void load_values(dtype type, const std::byte* in, std::size_t n, batch_values& out) noexcept;

void store_values(dtype type, const batch_values& in, std::size_t n, std::byte* out) noexcept;

/// The least and the greatest number of an integer type or bool.
struct integer_range {
    std::int64_t least{};
    std::uint64_t most{};
};
[[nodiscard]] constexpr integer_range range_of(dtype type) noexcept {
    if (type == dtype::bool_) return {0, 1};
    const std::size_t width = bits(type);
    if (carrier_of(type) == carrier::unsigned_integer) return {0, ~std::uint64_t{0} >> (64 - width)};
    const auto most = static_cast<std::int64_t>((std::uint64_t{1} << (width - 1)) - 1);
    return {-most - 1, static_cast<std::uint64_t>(most)};
}

/// Converts a batch from carrier `a` to carrier `b`. Returns the index of the first value that does not fit in `to`, or
/// `n`.
std::size_t change_carrier(carrier a, carrier b, dtype to, std::size_t n, batch_values& v) noexcept;

/// Converts `n` elements in native byte order; `is_convertible(from, to)` must hold.
/// Returns `n`, or the index of the first element that the integer type `to` cannot hold.
std::uint64_t convert(dtype from, const std::byte* in, dtype to, std::byte* out, std::uint64_t n) noexcept;

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/convert.ipp>
#endif
