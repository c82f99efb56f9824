// tests/core/short_list.cpp: lists in messages, and how many more there are.
//
// SPDX-License-Identifier: MIT
#include <ckpt/core/short_list.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <string>

namespace short_list_test {

using namespace ckpt::detail;

namespace {

std::string listed(int n, const list_style& style, std::uint64_t skipped = 0) {
    std::string out = "<";
    short_list list{out, style};
    for (int i = 0; i < n; ++i)
        if (list.next()) out += static_cast<char>('a' + i);
    list.skip(skipped);
    list.end();
    return out + '>';
}

TEST_CASE("three are shown, and the number of the others") {
    CHECK(listed(0, {}) == "<>");
    CHECK(listed(1, {}) == "<a>");
    CHECK(listed(3, {}) == "<a, b, c>");
    CHECK(listed(4, {}) == "<a, b, c, +1 more>");
    CHECK(listed(9, {}) == "<a, b, c, +6 more>");
}

TEST_CASE("what was not even looked at counts") {
    CHECK(listed(2, {}, 5) == "<a, b, +5 more>");
    CHECK(listed(4, {}, UINT64_MAX - 1) == "<a, b, c, +18446744073709551615 more>");
    CHECK(listed(3, {}, 0) == "<a, b, c>");
}

TEST_CASE("a list has a style") {
    CHECK(listed(4, {.most = 2, .separator = " and ", .before_rest = " and ", .after_rest = " others"}) ==
          "<a and b and 2 others>");
    CHECK(listed(2, {.most = 0, .before_rest = "+"}) == "<+2 more>");
}

} // namespace

} // namespace short_list_test
