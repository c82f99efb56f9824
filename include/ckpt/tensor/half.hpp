// ckpt/tensor/half.hpp: element types that C++ lacks, and which dtype each C++ type is.
//
// SPDX-License-Identifier: MIT
// In:      the bits of a small float, or a float to be rounded to one.
// Out:     exact floats; roundings to nearest even that give the bits which PyTorch 2.13 gives on a CPU.
// Refuses: nothing. Uses integer operations, so that -ffast-math and flushed subnormals change nothing. CUDA kernels
//          call the same functions, and therefore none of <bit>.
#pragma once

#include <ckpt/tensor/dtype.hpp>

#include <concepts>
#include <cstdint>
#include <type_traits>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

/// `std::bit_cast`, which CUDA kernels may call.
template <class To, class From> [[nodiscard]] CKPT_DETAIL_HOST_DEVICE constexpr To bit_cast(const From& from) noexcept {
    return __builtin_bit_cast(To, from);
}

/// The special values of a small binary float.
enum class float_form : std::uint8_t {
    ieee, ///< as IEEE 754: infinities and NaNs have the largest exponent
    fn,   ///< no infinities; only all ones is NaN; overflow gives the largest number
    fnuz, ///< no infinities and no negative zero; the sign bit alone is NaN
};

/// The bits of 2^exponent as a float, for exponents from -149 to 127.
[[nodiscard]] CKPT_DETAIL_HOST_DEVICE constexpr std::uint32_t power_of_two(int exponent) noexcept {
    return exponent >= -126 ? static_cast<std::uint32_t>(exponent + 127) << 23
                            : std::uint32_t{1} << static_cast<unsigned>(exponent + 149);
}

/// The float that has the same value as a small float with `Exponent` and `Mantissa` bits.
template <int Exponent, int Mantissa, int Bias, float_form Form>
[[nodiscard]] CKPT_DETAIL_HOST_DEVICE constexpr float widen(std::uint32_t bits) noexcept {
    constexpr std::uint32_t magnitude_mask = (1u << (Exponent + Mantissa)) - 1;
    constexpr std::uint32_t largest_exponent = (1u << Exponent) - 1;
    const std::uint32_t sign = (bits >> (Exponent + Mantissa)) << 31;
    const std::uint32_t magnitude = bits & magnitude_mask;
    const std::uint32_t exponent = magnitude >> Mantissa;
    const std::uint32_t fraction = magnitude & ((1u << Mantissa) - 1);
    if constexpr (Form == float_form::ieee) {
        if (exponent == largest_exponent) {
            const std::uint32_t quiet = fraction != 0 ? 0x0040'0000u : 0;
            return bit_cast<float>(sign | 0x7F80'0000u | quiet | (fraction << (23 - Mantissa)));
        }
    } else if constexpr (Form == float_form::fn) {
        if (magnitude == magnitude_mask) return bit_cast<float>(sign | 0x7FF0'0000u);
    } else {
        if (magnitude == 0) return bit_cast<float>(sign != 0 ? 0x7F80'0001u : 0u);
    }
    if (exponent != 0) return bit_cast<float>(sign | ((exponent + (127 - Bias)) << 23) | (fraction << (23 - Mantissa)));
    if (fraction == 0) return bit_cast<float>(sign);
    // A subnormal: its fraction, converted as an integer, is a normal float. Then the exponent is corrected.
    return bit_cast<float>(sign | (bit_cast<std::uint32_t>(static_cast<float>(fraction)) -
                                   (static_cast<std::uint32_t>(Bias - 1 + Mantissa) << 23)));
}

/// `value >> shift`, rounded to nearest, ties to even.
template <std::unsigned_integral T>
[[nodiscard]] CKPT_DETAIL_HOST_DEVICE constexpr T shift_rounding(T value, unsigned shift) noexcept {
    constexpr unsigned width = sizeof(T) * 8;
    if (shift == 0) return value;
    if (shift > width) return 0; // below one half
    const T quotient = shift == width ? T{0} : static_cast<T>(value >> shift);
    const T half = static_cast<T>(T{1} << (shift - 1));
    const T rest = static_cast<T>(value - (shift == width ? T{0} : static_cast<T>(quotient << shift)));
    return rest > half || (rest == half && (quotient & 1u) != 0) ? static_cast<T>(quotient + 1) : quotient;
}

/// The small float nearest to `value`, ties to even.
template <int Exponent, int Mantissa, int Bias, float_form Form>
[[nodiscard]] CKPT_DETAIL_HOST_DEVICE constexpr std::uint32_t narrow(float value) noexcept {
    constexpr std::uint32_t all_ones = (1u << (Exponent + Mantissa)) - 1;
    constexpr std::uint32_t infinity = ((1u << Exponent) - 1) << Mantissa;
    const std::uint32_t from = bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = (from >> 31) << (Exponent + Mantissa);
    const std::uint32_t magnitude = from & 0x7FFF'FFFFu;
    if (magnitude > 0x7F80'0000u) {
        if constexpr (Form == float_form::fnuz) return 1u << (Exponent + Mantissa);
        else if constexpr (Form == float_form::ieee && Mantissa == 10) // the processor's instruction keeps the payload
            return sign | infinity | 0x200u | ((magnitude >> 13) & 0x3FFu);
        else return sign | all_ones;
    }
    std::uint32_t rounded{};
    if (magnitude >= static_cast<std::uint32_t>(128 - Bias) << 23) { // a normal number of the small type, or too large
        rounded = shift_rounding(magnitude - (static_cast<std::uint32_t>(127 - Bias) << 23), 23 - Mantissa);
    } else if (magnitude >= 0x0080'0000u) { // a subnormal of the small type; units of 2^(1 - Bias - Mantissa)
        const std::uint32_t significand = (magnitude & 0x007F'FFFFu) | 0x0080'0000u;
        rounded = shift_rounding(significand, static_cast<unsigned>(128 - Bias + 23 - Mantissa) - (magnitude >> 23));
    } // A subnormal float is far below all of them.
    if constexpr (Form == float_form::ieee) {
        return sign | (rounded < infinity ? rounded : infinity);
    } else if constexpr (Form == float_form::fn) {
        return sign | (rounded < all_ones ? rounded : all_ones - 1);
    } else {
        if (rounded > all_ones) return 1u << (Exponent + Mantissa);
        return rounded == 0 ? 0 : sign | rounded;
    }
}

} // namespace detail

/// float16: IEEE 754 binary16, 5 bits of exponent and 10 of mantissa. `from_float` rounds to nearest, ties to even,
/// here and in the types below.
struct f16 {
    std::uint16_t bits{};

    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE static constexpr f16 from_float(float value) noexcept {
        return {static_cast<std::uint16_t>(detail::narrow<5, 10, 15, detail::float_form::ieee>(value))};
    }
    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE constexpr float to_float() const noexcept {
        return detail::widen<5, 10, 15, detail::float_form::ieee>(bits);
    }
    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE constexpr explicit operator float() const noexcept { return to_float(); }
};

/// bfloat16: the upper half of a float.
struct bf16 {
    std::uint16_t bits{};

    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE static constexpr bf16 from_float(float value) noexcept {
        const std::uint32_t from = detail::bit_cast<std::uint32_t>(value);
        if ((from & 0x7FFF'FFFFu) > 0x7F80'0000u) return {0x7FC0};
        return {static_cast<std::uint16_t>((from + 0x7FFFu + ((from >> 16) & 1u)) >> 16)};
    }
    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE constexpr float to_float() const noexcept {
        return detail::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
    }
    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE constexpr explicit operator float() const noexcept { return to_float(); }
};

/// float8_e4m3fn: 4 bits of exponent, 3 of mantissa, no infinities; larger numbers become 448.
struct f8_e4m3fn {
    std::uint8_t bits{};

    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE static constexpr f8_e4m3fn from_float(float value) noexcept {
        return {static_cast<std::uint8_t>(detail::narrow<4, 3, 7, detail::float_form::fn>(value))};
    }
    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE constexpr float to_float() const noexcept {
        return detail::widen<4, 3, 7, detail::float_form::fn>(bits);
    }
    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE constexpr explicit operator float() const noexcept { return to_float(); }
};

/// float8_e5m2: the upper half of a float16.
struct f8_e5m2 {
    std::uint8_t bits{};

    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE static constexpr f8_e5m2 from_float(float value) noexcept {
        return {static_cast<std::uint8_t>(detail::narrow<5, 2, 15, detail::float_form::ieee>(value))};
    }
    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE constexpr float to_float() const noexcept {
        return detail::widen<5, 2, 15, detail::float_form::ieee>(bits);
    }
    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE constexpr explicit operator float() const noexcept { return to_float(); }
};

/// float8_e4m3fnuz: 4 bits of exponent, 3 of mantissa, neither infinities nor a negative zero; larger numbers become
/// NaN.
struct f8_e4m3fnuz {
    std::uint8_t bits{};

    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE static constexpr f8_e4m3fnuz from_float(float value) noexcept {
        return {static_cast<std::uint8_t>(detail::narrow<4, 3, 8, detail::float_form::fnuz>(value))};
    }
    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE constexpr float to_float() const noexcept {
        return detail::widen<4, 3, 8, detail::float_form::fnuz>(bits);
    }
    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE constexpr explicit operator float() const noexcept { return to_float(); }
};

/// float8_e5m2fnuz: 5 bits of exponent, 2 of mantissa, neither infinities nor a negative zero; larger numbers become
/// NaN.
struct f8_e5m2fnuz {
    std::uint8_t bits{};

    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE static constexpr f8_e5m2fnuz from_float(float value) noexcept {
        return {static_cast<std::uint8_t>(detail::narrow<5, 2, 16, detail::float_form::fnuz>(value))};
    }
    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE constexpr float to_float() const noexcept {
        return detail::widen<5, 2, 16, detail::float_form::fnuz>(bits);
    }
    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE constexpr explicit operator float() const noexcept { return to_float(); }
};

/// float8_e8m0fnu: a power of two, or NaN. There are conversions from it, and none to it.
struct f8_e8m0fnu {
    std::uint8_t bits{};

    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE constexpr float to_float() const noexcept {
        if (bits == 0xFF) return detail::bit_cast<float>(std::uint32_t{0x7F80'0001u});
        return detail::bit_cast<float>(detail::power_of_two(static_cast<int>(bits) - 127));
    }
    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE constexpr explicit operator float() const noexcept { return to_float(); }
};

/// complex32: real and imaginary part.
struct c32 {
    f16 re{};
    f16 im{};
};
/// complex64. `std::complex<float>` works too, once `dtype_of` is specialised for it.
struct c64 {
    float re{};
    float im{};
};
/// complex128.
struct c128 {
    double re{};
    double im{};
};
/// bcomplex32.
struct bc32 {
    bf16 re{};
    bf16 im{};
};

namespace detail {

/// The integer types; not bool and not the character types.
template <class T>
concept integer_element = std::integral<T> && std::same_as<T, std::remove_cv_t<T>> && !std::same_as<T, bool> &&
                          !std::same_as<T, char> && !std::same_as<T, wchar_t> && !std::same_as<T, char8_t> &&
                          !std::same_as<T, char16_t> && !std::same_as<T, char32_t> && sizeof(T) <= 8;

[[nodiscard]] constexpr dtype integer_dtype(std::size_t bytes, bool is_signed) noexcept {
    switch (bytes) {
    case 1: return is_signed ? dtype::int8 : dtype::uint8;
    case 2: return is_signed ? dtype::int16 : dtype::uint16;
    case 4: return is_signed ? dtype::int32 : dtype::uint32;
    default: return is_signed ? dtype::int64 : dtype::uint64;
    }
}

} // namespace detail

/// The dtype of a C++ type, as `dtype_of<float>::value`. Programs specialise it for their own types that have the same
/// bytes, such as `std::complex<float>`, with a member `static constexpr ckpt::dtype value`.
template <class T> struct dtype_of;

template <detail::integer_element T> struct dtype_of<T> {
    static constexpr dtype value = detail::integer_dtype(sizeof(T), std::is_signed_v<T>);
};
template <> struct dtype_of<bool> {
    static constexpr dtype value = dtype::bool_;
};
template <> struct dtype_of<float> {
    static constexpr dtype value = dtype::float32;
};
template <> struct dtype_of<double> {
    static constexpr dtype value = dtype::float64;
};
template <> struct dtype_of<f16> {
    static constexpr dtype value = dtype::float16;
};
template <> struct dtype_of<bf16> {
    static constexpr dtype value = dtype::bfloat16;
};
template <> struct dtype_of<f8_e4m3fn> {
    static constexpr dtype value = dtype::float8_e4m3fn;
};
template <> struct dtype_of<f8_e5m2> {
    static constexpr dtype value = dtype::float8_e5m2;
};
template <> struct dtype_of<f8_e4m3fnuz> {
    static constexpr dtype value = dtype::float8_e4m3fnuz;
};
template <> struct dtype_of<f8_e5m2fnuz> {
    static constexpr dtype value = dtype::float8_e5m2fnuz;
};
template <> struct dtype_of<f8_e8m0fnu> {
    static constexpr dtype value = dtype::float8_e8m0fnu;
};
template <> struct dtype_of<c32> {
    static constexpr dtype value = dtype::complex32;
};
template <> struct dtype_of<c64> {
    static constexpr dtype value = dtype::complex64;
};
template <> struct dtype_of<c128> {
    static constexpr dtype value = dtype::complex128;
};
template <> struct dtype_of<bc32> {
    static constexpr dtype value = dtype::bcomplex32;
};

/// A type whose objects are the elements of a tensor: `dtype_of` knows it and it is as large as that dtype.
template <class T>
concept element =
    requires { dtype_of<T>::value; } && std::is_trivially_copyable_v<T> && (sizeof(T) * 8 == bits(dtype_of<T>::value));

} // namespace ckpt::inline CKPT_DETAIL_ABI
