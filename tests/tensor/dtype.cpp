// SPDX-License-Identifier: MIT
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/tensor/half.hpp>

#include <doctest/doctest.h>

#include <string>

namespace dtype_test {

namespace {

TEST_CASE("every dtype has its row, its name and a way back from the name") {
    for (const ckpt::dtype_info& row : ckpt::dtype_table) {
        CAPTURE(std::string(row.name));
        CHECK(ckpt::info(row.type).name == row.name);
        CHECK(ckpt::parse_dtype(row.name) == row.type);
        CHECK(row.name.data()[row.name.size()] == '\0');
        // An element is whole components, and a complex one is two.
        if (row.bits >= 8) CHECK(row.bits % (8 * row.component_bytes) == 0);
        CHECK((row.bits == 16 * row.component_bytes) == (row.kind == ckpt::dtype_kind::complex));
    }
    CHECK(sizeof ckpt::dtype_table / sizeof ckpt::dtype_table[0] == 33);
}

TEST_CASE("names are PyTorch's, and aliases are not names") {
    CHECK(ckpt::name(ckpt::dtype::bool_) == "bool");
    CHECK(ckpt::name(ckpt::dtype::float4_e2m1fn_x2) == "float4_e2m1fn_x2");
    CHECK_FALSE(ckpt::parse_dtype("half"));
    CHECK_FALSE(ckpt::parse_dtype("bool_"));
    CHECK_FALSE(ckpt::parse_dtype("float3"));
    CHECK_FALSE(ckpt::parse_dtype(""));
    CHECK_FALSE(ckpt::parse_dtype("torch.float32"));
}

TEST_CASE("a dtype outside the table is unknown, not out of bounds") {
    CHECK(ckpt::name(static_cast<ckpt::dtype>(200)) == "unknown");
    CHECK(ckpt::info(static_cast<ckpt::dtype>(33)).packed); // so that no view is made of it
    CHECK(ckpt::itemsize(static_cast<ckpt::dtype>(255)) == 1);
}

TEST_CASE("quint4x2 and quint2x4 count values, float4 and bits types count bytes") {
    CHECK(ckpt::bits(ckpt::dtype::quint4x2) == 4);
    CHECK(ckpt::bits(ckpt::dtype::quint2x4) == 2);
    CHECK(ckpt::bits(ckpt::dtype::float4_e2m1fn_x2) == 8);
    CHECK(ckpt::bits(ckpt::dtype::bits1x8) == 8);
    CHECK(ckpt::itemsize(ckpt::dtype::quint4x2) == 1);
    CHECK(ckpt::itemsize(ckpt::dtype::complex128) == 16);
}

// Integers are mapped by size and sign, whatever they are called.
static_assert(ckpt::dtype_of<long long>::value == ckpt::dtype::int64);
static_assert(ckpt::dtype_of<unsigned long long>::value == ckpt::dtype::uint64);
static_assert(ckpt::dtype_of<long>::value == (sizeof(long) == 8 ? ckpt::dtype::int64 : ckpt::dtype::int32));
static_assert(ckpt::dtype_of<signed char>::value == ckpt::dtype::int8);
static_assert(ckpt::dtype_of<unsigned short>::value == ckpt::dtype::uint16);
static_assert(ckpt::dtype_of<bool>::value == ckpt::dtype::bool_);
static_assert(ckpt::element<ckpt::bc32> && ckpt::element<bool> && ckpt::element<ckpt::f8_e8m0fnu>);
static_assert(!ckpt::element<char> && !ckpt::element<std::string> && !ckpt::element<const float> &&
              !ckpt::element<float*>);
static_assert(!ckpt::element<long double>);

} // namespace

} // namespace dtype_test
