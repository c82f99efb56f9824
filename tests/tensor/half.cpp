// SPDX-License-Identifier: MIT
#include <ckpt/tensor/half.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>

namespace half_test {

// NaNs are told by their bits throughout, so that the file means the same under -ffast-math.
namespace {

std::uint32_t bits_of(float value) { return std::bit_cast<std::uint32_t>(value); }
float float_of(std::uint32_t bits) { return std::bit_cast<float>(bits); }
bool is_nan(float value) { return (bits_of(value) & 0x7FFF'FFFFu) > 0x7F80'0000u; }

/// The number that the bits mean by the definition of the format: what the code under test does with shifts.
double meaning(std::uint32_t bits, int exponent_bits, int mantissa_bits, int bias) {
    const auto exponent = static_cast<int>((bits >> mantissa_bits) & ((1u << exponent_bits) - 1));
    const double fraction = bits & ((1u << mantissa_bits) - 1);
    const double magnitude =
        exponent == 0 ? std::ldexp(fraction, 1 - bias - mantissa_bits)
                      : std::ldexp(fraction + std::ldexp(1.0, mantissa_bits), exponent - bias - mantissa_bits);
    return (bits >> (exponent_bits + mantissa_bits)) != 0 ? -magnitude : magnitude;
}

/// The float of a number that floats can say, made without float arithmetic: -ffast-math flushes subnormals.
float float_of_number(double value) {
    return value < 0x1p-126 ? float_of(static_cast<std::uint32_t>(std::ldexp(value, 149))) : static_cast<float>(value);
}

/// Checks every pattern of one format against `meaning`, the way back, and each point half-way between neighbours.
/// `finite`: how many magnitudes from 0 up are numbers. `signed_zero`: whether -0 exists.
template <class T>
void check_format(int exponent_bits, int mantissa_bits, int bias, std::uint32_t finite, bool signed_zero) {
    using bits_type = decltype(T{}.bits);
    const std::uint32_t sign = 1u << (exponent_bits + mantissa_bits);
    std::uint32_t wrong = 0;
    for (std::uint32_t i = 0; i < 2 * sign; ++i) {
        const float value = T{static_cast<bits_type>(i)}.to_float();
        const bool number = (i & (sign - 1)) < finite && (signed_zero || i != sign);
        if (!number) continue; // infinities and NaNs have their own tests
        if (meaning(bits_of(value), 8, 23, 127) != meaning(i, exponent_bits, mantissa_bits, bias)) ++wrong;
        if ((bits_of(value) >> 31) != (i >> (exponent_bits + mantissa_bits))) ++wrong;
        if (T::from_float(value).bits != i) ++wrong;
        if (bits_of(static_cast<float>(T{static_cast<bits_type>(i)})) != bits_of(value)) ++wrong;
    }
    CHECK(wrong == 0);
    for (std::uint32_t i = 0; i + 1 < finite; ++i)
        for (const std::uint32_t s : {0u, sign}) {
            const double below = meaning(i, exponent_bits, mantissa_bits, bias);
            const double above = meaning(i + 1, exponent_bits, mantissa_bits, bias);
            const float half = float_of_number((below + above) / 2); // one more bit than the format: exact
            const std::uint32_t float_sign = s != 0 ? 0x8000'0000u : 0;
            const auto rounded = [&](std::uint32_t bits) {
                return std::uint32_t{T::from_float(float_of(bits | float_sign)).bits};
            };
            const std::uint32_t down = i == 0 && !signed_zero ? 0 : i | s;
            if (rounded(bits_of(half)) != (i % 2 == 0 ? down : (i + 1) | s)) ++wrong;
            if (rounded(bits_of(half) - 1) != down) ++wrong;
            if (rounded(bits_of(half) + 1) != ((i + 1) | s)) ++wrong;
        }
    CHECK(wrong == 0);
    // Below half of the smallest number everything is zero, float's own subnormals included.
    for (const std::uint32_t tiny : {0u, 1u, 0x007F'FFFFu})
        if (mantissa_bits != 7) {
            CHECK(T::from_float(float_of(tiny)).bits == 0);
            CHECK(T::from_float(float_of(tiny | 0x8000'0000u)).bits == (signed_zero ? sign : 0));
        }
}

TEST_CASE("float16: all 65,536 patterns, and every tie between neighbours") {
    check_format<ckpt::f16>(5, 10, 15, 0x7C00, true);
    CHECK(bits_of(ckpt::f16{0x7C00}.to_float()) == 0x7F80'0000u);
    CHECK(bits_of(ckpt::f16{0xFC00}.to_float()) == 0xFF80'0000u);
    for (std::uint32_t i = 0x7C01; i <= 0x7FFF; ++i)
        REQUIRE(is_nan(ckpt::f16{static_cast<std::uint16_t>(i)}.to_float()));
}

TEST_CASE("bfloat16: all 65,536 patterns, and every tie between neighbours") {
    check_format<ckpt::bf16>(8, 7, 127, 0x7F80, true);
    CHECK(bits_of(ckpt::bf16{0xFF80}.to_float()) == 0xFF80'0000u);
    CHECK(is_nan(ckpt::bf16{0x7FC0}.to_float()));
}

TEST_CASE("the five 8-bit formats with a mantissa: all patterns, and every tie") {
    check_format<ckpt::f8_e4m3fn>(4, 3, 7, 0x7F, true);
    check_format<ckpt::f8_e5m2>(5, 2, 15, 0x7C, true);
    check_format<ckpt::f8_e4m3fnuz>(4, 3, 8, 0x80, false);
    check_format<ckpt::f8_e5m2fnuz>(5, 2, 16, 0x80, false);
    CHECK(is_nan(ckpt::f8_e4m3fn{0x7F}.to_float()));
    CHECK(is_nan(ckpt::f8_e4m3fn{0xFF}.to_float()));
    CHECK(bits_of(ckpt::f8_e5m2{0xFC}.to_float()) == 0xFF80'0000u);
    CHECK(is_nan(ckpt::f8_e5m2{0x7D}.to_float()));
    CHECK(bits_of(ckpt::f8_e4m3fnuz{0x80}.to_float()) == 0x7F80'0001u);
    CHECK(bits_of(ckpt::f8_e5m2fnuz{0x80}.to_float()) == 0x7F80'0001u);
}

TEST_CASE("float8_e8m0fnu is a power of two, the subnormal float included") {
    CHECK(bits_of(ckpt::f8_e8m0fnu{0}.to_float()) == 0x0040'0000u);
    for (int i = 1; i < 255; ++i)
        REQUIRE(static_cast<double>(ckpt::f8_e8m0fnu{static_cast<std::uint8_t>(i)}.to_float()) ==
                std::ldexp(1.0, i - 127));
    CHECK(is_nan(ckpt::f8_e8m0fnu{255}.to_float()));
}

// Each expected pattern is what PyTorch 2.13 gave on a CPU.
TEST_CASE("overflow is what PyTorch makes of it") {
    const float inf = float_of(0x7F80'0000u);
    CHECK(ckpt::f16::from_float(65519.996f).bits == 0x7BFF);
    CHECK(ckpt::f16::from_float(65520.0f).bits == 0x7C00);
    CHECK(ckpt::f16::from_float(-inf).bits == 0xFC00);
    CHECK(ckpt::bf16::from_float(float_of(0x7F7F'FFFFu)).bits == 0x7F80);
    CHECK(ckpt::f8_e4m3fn::from_float(464.0f).bits == 0x7E);
    CHECK(ckpt::f8_e4m3fn::from_float(-1e9f).bits == 0xFE);
    CHECK(ckpt::f8_e4m3fn::from_float(inf).bits == 0x7E);
    CHECK(ckpt::f8_e5m2::from_float(60000.0f).bits == 0x7B);
    CHECK(ckpt::f8_e5m2::from_float(61440.0f).bits == 0x7C);
    CHECK(ckpt::f8_e4m3fnuz::from_float(252.0f).bits == 0x80);
    CHECK(ckpt::f8_e4m3fnuz::from_float(-252.0f).bits == 0x80);
    CHECK(ckpt::f8_e5m2fnuz::from_float(61440.0f).bits == 0x80);
    CHECK(ckpt::f8_e5m2fnuz::from_float(-inf).bits == 0x80);
}

TEST_CASE("NaN stays NaN, with the bits that PyTorch gives it") {
    for (const std::uint32_t nan : {0x7FC0'0000u, 0x7F80'0001u, 0x7FFF'FFFFu}) {
        CHECK((ckpt::f16::from_float(float_of(nan)).bits & 0x7E00) == 0x7E00);
        CHECK((ckpt::f16::from_float(float_of(nan | 0x8000'0000u)).bits & 0xFE00) == 0xFE00);
        CHECK(ckpt::bf16::from_float(float_of(nan)).bits == 0x7FC0);
        CHECK(ckpt::f8_e4m3fn::from_float(float_of(nan)).bits == 0x7F);
        CHECK(ckpt::f8_e4m3fn::from_float(float_of(nan | 0x8000'0000u)).bits == 0xFF);
        CHECK(ckpt::f8_e5m2::from_float(float_of(nan)).bits == 0x7F);
        CHECK(ckpt::f8_e4m3fnuz::from_float(float_of(nan)).bits == 0x80);
        CHECK(ckpt::f8_e5m2fnuz::from_float(float_of(nan | 0x8000'0000u)).bits == 0x80);
    }
    CHECK(ckpt::f16::from_float(float_of(0x7FA1'2345u)).bits == 0x7F09);
}

} // namespace

} // namespace half_test
