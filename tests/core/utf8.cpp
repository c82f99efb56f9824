// tests/core/utf8.cpp: which bytes are UTF-8, and which code points can be seen.
//
// SPDX-License-Identifier: MIT
#include <ckpt/core/utf8.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace utf8_test {

using namespace ckpt::detail;

namespace {

std::string bytes_of_point(std::uint32_t point) {
    std::string out;
    append_code_point(out, point);
    return out;
}

TEST_CASE("the bytes of every code point are read back; surrogates are told apart") {
    for (std::uint32_t point = 0; point < 0x110000; ++point) {
        const std::string bytes = bytes_of_point(point);
        const bool surrogate = point >= 0xD800 && point < 0xE000;
        if (utf8_length(bytes, 0) != (surrogate ? 0 : bytes.size()) || surrogate_at(bytes, 0) != surrogate ||
            utf8_point(bytes, 0, bytes.size()) != point)
            FAIL("U+" << point);
    }
    CHECK_FALSE(surrogate_at("\xed\xa0", 0));
    CHECK_FALSE(surrogate_at("\xed\xa0\xc0", 0));
}

TEST_CASE("what cannot be seen, or turns what follows: the first and the last of each range, and their neighbours") {
    constexpr std::uint32_t ranges[][2]{{0, 0x1F},        {0x7F, 0x9F},     {0xAD, 0xAD},      {0x61C, 0x61C},
                                        {0x180E, 0x180E}, {0x200B, 0x200F}, {0x2028, 0x202E},  {0x2060, 0x206F},
                                        {0xFEFF, 0xFEFF}, {0xFFF9, 0xFFFB}, {0xE0000, 0xE0FFF}};
    for (const auto& range : ranges) {
        const std::uint32_t first = range[0], last = range[1]; // Clang 14 captures no name of a structured binding
        CAPTURE(first);
        CHECK(invisible(first));
        CHECK(invisible(last));
        CHECK_FALSE(invisible(last + 1));
        CHECK((first == 0 || !invisible(first - 1)));
    }
    CHECK(invisible(0xE0200)); // no tag and no variation selector yet, and shown as nothing
}

} // namespace

} // namespace utf8_test
