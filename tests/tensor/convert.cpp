// SPDX-License-Identifier: MIT
#include <ckpt/tensor/convert.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace convert_test {

namespace {

using ckpt::dtype;
namespace detail = ckpt::detail;

template <class To, class From> std::vector<To> converted(const std::vector<From>& from) {
    REQUIRE(detail::is_convertible(ckpt::dtype_of<From>::value, ckpt::dtype_of<To>::value));
    std::vector<std::byte> in(from.size() * sizeof(From));
    std::memcpy(in.data(), from.data(), in.size());
    std::vector<To> out(from.size());
    std::vector<std::byte> raw(from.size() * sizeof(To));
    REQUIRE(detail::convert(ckpt::dtype_of<From>::value, in.data(), ckpt::dtype_of<To>::value, raw.data(),
                            from.size()) == from.size());
    std::memcpy(out.data(), raw.data(), raw.size());
    return out;
}

/// How many elements were converted before one did not fit.
template <class To, class From> std::uint64_t fitting(const std::vector<From>& from) {
    std::vector<std::byte> in(from.size() * sizeof(From));
    std::memcpy(in.data(), from.data(), in.size());
    std::vector<std::byte> raw(from.size() * sizeof(To));
    return detail::convert(ckpt::dtype_of<From>::value, in.data(), ckpt::dtype_of<To>::value, raw.data(), from.size());
}

TEST_CASE("which conversions exist follows PyTorch, but none loses values silently") {
    const auto can = [](std::string_view from, std::string_view to) {
        return detail::is_convertible(*ckpt::parse_dtype(from), *ckpt::parse_dtype(to));
    };
    CHECK(can("int64", "float16"));
    CHECK(can("bool", "int32"));
    CHECK(can("int32", "bool"));
    CHECK(can("bool", "float8_e5m2"));
    CHECK(can("uint64", "int8"));
    CHECK(can("float64", "float8_e4m3fn"));
    CHECK(can("float8_e8m0fnu", "float32"));
    CHECK(can("complex64", "complex32"));
    CHECK(can("complex32", "bcomplex32"));
    CHECK(can("quint8", "quint8"));
    CHECK_FALSE(can("float32", "int64"));
    CHECK_FALSE(can("float32", "bool"));
    CHECK_FALSE(can("float32", "float8_e8m0fnu"));
    CHECK_FALSE(can("int8", "float8_e8m0fnu"));
    CHECK_FALSE(can("float32", "complex64"));
    CHECK_FALSE(can("int32", "complex64"));
    CHECK_FALSE(can("complex64", "float32"));
    CHECK_FALSE(can("quint8", "uint8"));
    CHECK_FALSE(can("float32", "quint8"));
    CHECK_FALSE(can("bits8", "uint8"));
    CHECK_FALSE(can("float4_e2m1fn_x2", "float32"));
    CHECK_FALSE(can("float32", "float4_e2m1fn_x2"));
}

TEST_CASE("integers convert to integers exactly where they fit") {
    CHECK(converted<std::int8_t>(std::vector<std::int64_t>{-128, 127}) == std::vector<std::int8_t>{-128, 127});
    CHECK(converted<std::uint64_t>(std::vector<std::int8_t>{127, 0}) == std::vector<std::uint64_t>{127, 0});
    CHECK(converted<std::int64_t>(std::vector<std::uint64_t>{INT64_MAX}) == std::vector<std::int64_t>{INT64_MAX});
    CHECK(fitting<std::int8_t>(std::vector<std::int64_t>{1, -129, 0}) == 1);
    CHECK(fitting<std::int8_t>(std::vector<std::int64_t>{1, 2, 128}) == 2);
    CHECK(fitting<std::uint8_t>(std::vector<std::int16_t>{-1}) == 0);
    CHECK(fitting<std::uint64_t>(std::vector<std::int64_t>{INT64_MIN}) == 0);
    CHECK(fitting<std::int64_t>(std::vector<std::uint64_t>{std::uint64_t{1} << 63}) == 0);
    CHECK(fitting<std::int64_t>(std::vector<std::uint64_t>{UINT64_MAX}) == 0);
    CHECK(fitting<std::uint32_t>(std::vector<std::uint64_t>{UINT32_MAX, std::uint64_t{1} << 32}) == 1);
    CHECK(fitting<bool>(std::vector<std::int32_t>{0, 1, 2}) == 2);
    CHECK(fitting<bool>(std::vector<std::int32_t>{0, -1}) == 1);
    // The place of the value is exact beyond the first batch.
    std::vector<std::int32_t> many(1000, 5);
    many[777] = 300;
    CHECK(fitting<std::uint8_t>(many) == 777);
}

TEST_CASE("integers and float64 reach small floats by way of float32") {
    // 2049 + 2^-30 rounds to 2050 in one step, but first to 2049 as a float and from there to even: 2048.
    CHECK(converted<ckpt::f16>(std::vector<double>{2049.0 + 0x1p-30})[0].bits == ckpt::f16::from_float(2048.0f).bits);
    // The same with integers and bfloat16: 2^40 + 2^32 + 1 lies above the tie, which float32 cannot say.
    CHECK(converted<ckpt::bf16>(std::vector<std::int64_t>{(std::int64_t{1} << 40) + (std::int64_t{1} << 32) + 1})[0]
              .bits == 0x5380);
    CHECK(converted<float>(std::vector<std::int64_t>{16777217, -16777219}) ==
          std::vector<float>{16777216.0f, -16777220.0f});
    CHECK(converted<float>(std::vector<std::uint64_t>{UINT64_MAX}) == std::vector<float>{18446744073709551616.0f});
    CHECK(converted<double>(std::vector<std::uint64_t>{UINT64_MAX}) == std::vector<double>{18446744073709551616.0});
    // 64 bits go to float64 directly, not by way of float32.
    CHECK(converted<double>(std::vector<std::int64_t>{16777217}) == std::vector<double>{16777217.0});
    CHECK(converted<ckpt::f16>(std::vector<std::uint8_t>{255})[0].bits == 0x5BF8);
}

TEST_CASE("float32 and float64 convert as the processor does, whatever its mode") {
    const auto single = [](std::uint64_t bits) {
        return std::bit_cast<std::uint32_t>(detail::to_float(std::bit_cast<double>(bits)));
    };
    const auto real = [](std::uint32_t bits) {
        return std::bit_cast<std::uint64_t>(detail::to_double(std::bit_cast<float>(bits)));
    };
    CHECK(single(0x0000'0000'0000'0000u) == 0);
    CHECK(single(0x8000'0000'0000'0000u) == 0x8000'0000u);
    CHECK(single(0x3FF0'0000'0000'0000u) == 0x3F80'0000u);
    CHECK(single(0x3690'0000'0000'0000u) == 0);            // 2^-150: a tie, to even
    CHECK(single(0x3690'0000'0000'0001u) == 1);            // just above it
    CHECK(single(0x36A0'0000'0000'0000u) == 1);            // 2^-149
    CHECK(single(0x36A8'0000'0000'0000u) == 2);            // 1.5 * 2^-149: to even
    CHECK(single(0x380F'FFFF'FFFF'FFFFu) == 0x0080'0000u); // rounds up to the smallest normal float
    CHECK(single(0x3810'0000'0000'0000u) == 0x0080'0000u); // 2^-126
    CHECK(single(0xB810'0000'2000'0001u) == 0x8080'0001u);
    CHECK(single(0x3800'0000'0000'0000u) == 0x0040'0000u); // 2^-127, subnormal
    CHECK(single(0x47EF'FFFF'E000'0000u) == 0x7F7F'FFFFu); // the largest float
    CHECK(single(0x47EF'FFFF'EFFF'FFFFu) == 0x7F7F'FFFFu);
    CHECK(single(0x47EF'FFFF'F000'0000u) == 0x7F80'0000u); // the tie above it
    CHECK(single(0x7FEF'FFFF'FFFF'FFFFu) == 0x7F80'0000u);
    CHECK(single(0xFFF0'0000'0000'0000u) == 0xFF80'0000u);
    CHECK(single(0x7FF8'0000'0000'0000u) == 0x7FC0'0000u);
    CHECK(single(0x7FF0'0000'0000'0001u) == 0x7FC0'0000u); // a NaN whose payload is cut off stays NaN
    CHECK(real(0x0000'0001u) == 0x36A0'0000'0000'0000u);
    CHECK(real(0x807F'FFFFu) == 0xB80F'FFFF'C000'0000u);
    CHECK(real(0x7F80'0000u) == 0x7FF0'0000'0000'0000u);
    CHECK((real(0x7F80'0001u) & 0x7FF8'0000'0000'0000u) == 0x7FF8'0000'0000'0000u);
    CHECK(real(0x8000'0000u) == 0x8000'0000'0000'0000u);
    CHECK(real(0x3F80'0000u) == 0x3FF0'0000'0000'0000u);
}

TEST_CASE("a NaN becomes the bfloat16 NaN that PyTorch makes of its type") {
    CHECK(converted<ckpt::bf16>(std::vector<float>{std::bit_cast<float>(0x7FC0'0000u)})[0].bits == 0xFFFF);
    CHECK(converted<ckpt::bf16>(std::vector<ckpt::f16>{{0xFE00}})[0].bits == 0x7FC0);
    CHECK(converted<ckpt::bf16>(std::vector<double>{std::bit_cast<double>(std::uint64_t{0xFFF8} << 48)})[0].bits ==
          0xFFFF);
}

TEST_CASE("complex types convert by halves") {
    const auto out = converted<ckpt::c128>(std::vector<ckpt::c64>{{1.5f, -2.0f}, {3.0f, 0.25f}});
    CHECK(out[0].re == 1.5);
    CHECK(out[0].im == -2.0);
    CHECK(out[1].re == 3.0);
    CHECK(out[1].im == 0.25);
    const auto small = converted<ckpt::c32>(std::vector<ckpt::c64>{{1e6f, -1.0f}});
    CHECK(small[0].re.bits == 0x7C00);
    CHECK(small[0].im.bits == 0xBC00);
}

template <class T> T resolved(dtype type, bool neg, bool conj, T value) {
    std::array<std::byte, sizeof(T)> raw{};
    std::memcpy(raw.data(), &value, sizeof value);
    detail::resolve_lazy_bits(type, neg, conj, raw.data(), 1);
    std::memcpy(&value, raw.data(), sizeof value);
    return value;
}

TEST_CASE("neg negates both halves, conj the imaginary one, both together the real one") {
    using pair = std::array<float, 2>;
    CHECK(resolved(dtype::complex64, true, false, pair{1, 2}) == pair{-1, -2});
    CHECK(resolved(dtype::complex64, false, true, pair{1, 2}) == pair{1, -2});
    CHECK(resolved(dtype::complex64, true, true, pair{1, 2}) == pair{-1, 2});
    CHECK(resolved(dtype::float32, false, true, 1.0f) == 1.0f); // conjugating a real number changes nothing
    CHECK(resolved(dtype::float64, true, true, 1.0) == -1.0);
    CHECK(resolved(dtype::int16, true, false, std::int16_t{-5}) == 5);
    CHECK(resolved(dtype::int8, true, false, std::int8_t{-128}) == -128);
    CHECK(resolved(dtype::uint8, true, false, std::uint8_t{1}) == 255);
    CHECK(resolved(dtype::float16, true, false, std::uint16_t{0}) == 0x8000);
    CHECK(resolved(dtype::float8_e4m3fnuz, true, false, std::uint8_t{0}) == 0); // there the sign alone is NaN
    CHECK(resolved(dtype::float8_e4m3fnuz, true, false, std::uint8_t{0x80}) == 0x80);
    CHECK(resolved(dtype::float8_e5m2fnuz, true, false, std::uint8_t{0x81}) == 0x01);
    CHECK(resolved(dtype::float8_e5m2, true, false, std::uint8_t{0}) == 0x80);
    CHECK_FALSE(detail::has_negation(dtype::float8_e8m0fnu));
    CHECK_FALSE(detail::has_negation(dtype::bool_));
}

TEST_CASE("components are swapped, not elements") {
    std::array<std::byte, 16> raw{};
    for (std::size_t i = 0; i < raw.size(); ++i) raw[i] = static_cast<std::byte>(i);
    detail::swap_components(dtype::complex64, raw.data(), 2);
    CHECK(raw[0] == std::byte{3});
    CHECK(raw[4] == std::byte{7});
    CHECK(raw[15] == std::byte{12});
    detail::swap_components(dtype::complex64, raw.data(), 2);
    detail::swap_components(dtype::complex128, raw.data(), 1);
    CHECK(raw[0] == std::byte{7});
    CHECK(raw[8] == std::byte{15});
    detail::swap_components(dtype::complex128, raw.data(), 1);
    detail::swap_components(dtype::bcomplex32, raw.data(), 4);
    CHECK(raw[0] == std::byte{1});
    CHECK(raw[2] == std::byte{3});
    detail::swap_components(dtype::quint8, raw.data(), 16);
    CHECK(raw[0] == std::byte{1});
}

TEST_CASE("any number of components is swapped, and what follows them is not") {
    for (const auto& [type, size] : {std::pair{dtype::int16, 2u}, {dtype::float32, 4u}, {dtype::int64, 8u}})
        for (std::size_t n = 0; n < 20; ++n) {
            std::vector<std::byte> data(n * size + 3);
            for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i);
            detail::swap_components(type, data.data(), n);
            for (std::size_t i = 0; i < data.size(); ++i)
                REQUIRE(data[i] == static_cast<std::byte>(i < n * size ? i / size * size + (size - 1 - i % size) : i));
        }
}

TEST_CASE("copies are swapped at any place and of any size, those that go around the cache, too") {
    const std::size_t large = static_cast<std::size_t>(detail::streamed_bytes);
    std::vector<std::byte> in(large + 200);
    for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<std::byte>(i * 7 + i / 251);
    std::vector<std::byte> room(large + 400);
    const std::size_t line = (64 - reinterpret_cast<std::uintptr_t>(room.data()) % 64) % 64;
    for (const std::size_t unit : {2u, 4u, 8u})
        for (const std::size_t bytes : {std::size_t{40}, large - unit, large, large + 64 + unit})
            for (const std::size_t at : {0u, 1u, 8u, 63u}) {
                CAPTURE(unit);
                CAPTURE(bytes);
                CAPTURE(at);
                std::byte* const out = room.data() + line + at;
                std::fill(room.begin(), room.end(), std::byte{0xee});
                detail::swap_units(unit, in.data() + 3, out, bytes, true);
                std::size_t wrong = 0;
                for (std::size_t i = 0; i < bytes; ++i)
                    wrong += out[i] != in[3 + i / unit * unit + (unit - 1 - i % unit)];
                CHECK(wrong == 0);
                CHECK(std::count(out + bytes, room.data() + room.size(), std::byte{0xee}) ==
                      room.data() + room.size() - (out + bytes));
                CHECK(std::count(room.data(), out, std::byte{0xee}) == out - room.data());
            }
}

TEST_CASE("the first packed value is in the low bits") {
    const std::array<std::byte, 2> raw{std::byte{0x10}, std::byte{0x32}};
    std::array<std::byte, 4> out{};
    detail::unpack(4, raw.data(), 0, 4, out.data());
    CHECK(out == std::array<std::byte, 4>{std::byte{0}, std::byte{1}, std::byte{2}, std::byte{3}});
    detail::unpack(4, raw.data(), 1, 2, out.data());
    CHECK(out[0] == std::byte{1});
    CHECK(out[1] == std::byte{2});
    const std::array<std::byte, 1> quarters{std::byte{0xE4}};
    detail::unpack(2, quarters.data(), 0, 4, out.data());
    CHECK(out == std::array<std::byte, 4>{std::byte{0}, std::byte{1}, std::byte{2}, std::byte{3}});
}

} // namespace

} // namespace convert_test
