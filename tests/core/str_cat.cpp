// tests/core/str_cat.cpp: what str_cat makes of each type of argument.
//
// SPDX-License-Identifier: MIT
#include <ckpt/core/str_cat.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>

namespace str_cat_test {

namespace {

using ckpt::detail::str_cat;

TEST_CASE("str_cat joins texts, characters and numbers") {
    const std::string text = "text";
    CHECK(str_cat(text, ' ', std::string_view{"view"}, " literal ", text.c_str()) == "text view literal text");
    CHECK(str_cat("a shard of ", std::size_t{2}, " bytes") == "a shard of 2 bytes");
    CHECK(str_cat("").empty());
    CHECK(str_cat(std::string_view{}, std::string{}).empty());
    CHECK(str_cat(std::string_view{"a\0b", 3}, '\0') == std::string_view{"a\0b\0", 4});
}

TEST_CASE("str_cat writes the smallest and the largest number of each size") {
    CHECK(str_cat(std::numeric_limits<std::int64_t>::min()) == "-9223372036854775808");
    CHECK(str_cat(std::numeric_limits<std::int64_t>::max()) == "9223372036854775807");
    CHECK(str_cat(std::numeric_limits<std::uint64_t>::max(), 0U, -1) == "184467440737095516150-1");
    CHECK(str_cat(std::uint8_t{255}, ' ', std::int8_t{-128}, ' ', std::uint16_t{65535}) == "255 -128 65535");
}

// A bool would be 0 or 1, an address would be true.
static_assert(!std::is_convertible_v<bool, ckpt::detail::text_part>);
static_assert(!std::is_convertible_v<const int*, ckpt::detail::text_part>);
static_assert(!std::is_convertible_v<double, ckpt::detail::text_part>);

} // namespace

} // namespace str_cat_test
