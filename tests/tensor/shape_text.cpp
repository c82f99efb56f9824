// tests/tensor/shape_text.cpp: shapes as people read them.
//
// SPDX-License-Identifier: MIT
#include <ckpt/tensor/shape_text.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace shape_text_test {

using namespace ckpt::detail;

namespace {

TEST_CASE("a shape stands in brackets, whole unless it is cut") {
    const std::vector<std::int64_t> nine{1, 2, 3, 4, 5, 6, 7, 8, 9};
    CHECK(shape_text({}) == "[]");
    CHECK(shape_text(nine) == "[1, 2, 3, 4, 5, 6, 7, 8, 9]");
    CHECK(shape_text(std::vector<std::int64_t>{2, 3}, {.open = '(', .close = ')'}) == "(2, 3)");
    CHECK(list_of(nine) == "[1, 2, 3, 4, 5, 6, 7, 8, +1 more]");
    CHECK(list_of(std::vector<std::int64_t>(8, -1)) == "[-1, -1, -1, -1, -1, -1, -1, -1]");
    CHECK(shape_text(nine, {.most = 2, .counts_rest = false}) == "[1, 2, ...]");
    CHECK(shape_text(std::vector<std::int64_t>{-1, 4, -1}, {.negative = "any"}) == "[any, 4, any]");
}

} // namespace

} // namespace shape_text_test
