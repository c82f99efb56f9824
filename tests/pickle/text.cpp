// tests/pickle/text.cpp: the text forms inside a pickle, against slow and plain twins.
//
// SPDX-License-Identifier: MIT
#include <ckpt/pickle/text.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace text_test {

using namespace ckpt::detail;
using namespace std::string_literals;

namespace {

utf8_verdict by_bytes(std::string_view text) {
    bool surrogates = false;
    for (std::size_t i = 0; i < text.size();) {
        if (const std::size_t n = utf8_length(text, i); n != 0) {
            i += n;
        } else if (text.substr(i, 1) == "\xed" && i + 2 < text.size() && (text[i + 1] & 0xE0) == 0xA0 &&
                   (text[i + 2] & 0xC0) == 0x80) {
            surrogates = true;
            i += 3;
        } else {
            return utf8_verdict::invalid;
        }
    }
    return surrogates ? utf8_verdict::surrogates : utf8_verdict::valid;
}

std::optional<std::string> string_of(std::string_view text) {
    std::string out;
    return unescape_string(text, out) ? std::optional{out} : std::nullopt;
}
std::optional<std::string> unicode_of(std::string_view text) {
    std::string out;
    return unescape_unicode(text, out) ? std::optional{out} : std::nullopt;
}

TEST_CASE("UTF-8 is judged alike at every length and place") {
    const std::string_view pieces[]{
        "",         "\x80",     "\xc3\xa9", "\xe2\x82\xac",     "\xf0\x9f\x98\x80", "\xed\xa0\x80", "\xed\xbf\xbf",
        "\xc0\xaf", "\xe2\x82", "\xff",     "\xf4\x90\x80\x80", "\xed\xa0"};
    for (const std::string_view piece : pieces)
        for (std::size_t before = 0; before < 20; ++before)
            for (std::size_t after = 0; after < 20; ++after) {
                const std::string text = std::string(before, 'a') + std::string(piece) + std::string(after, 'b');
                REQUIRE(check_utf8(text) == by_bytes(text));
            }
}

TEST_CASE("every code point goes through UTF-8 and back") {
    for (std::uint32_t point = 0; point <= 0x10FFFF; point += point < 0x3000 ? 1 : 251) {
        std::string out;
        append_code_point(out, point);
        REQUIRE(check_utf8(out) ==
                (point >= 0xD800 && point <= 0xDFFF ? utf8_verdict::surrogates : utf8_verdict::valid));
    }
}

TEST_CASE("the escapes of STRING are Python's") {
    CHECK(string_of(R"(\a\b\f\n\r\t\v\\\'\")") == "\a\b\f\n\r\t\v\\'\"");
    CHECK(string_of(R"(\0\7\12\101\377)") == "\0\7\12A\xff"s);
    CHECK(string_of(R"(\1011)") == "A1");
    CHECK(string_of(R"(\x41\xFf)") == "A\xff");
    CHECK(string_of("\\\n") == "");
    CHECK(string_of(R"(\q\8)") == R"(\q\8)");
    for (const char* bad : {"\\", "a\\", "\\x", "\\x1", "\\xg1", "\\x1g", "\\400", "\\777"})
        CHECK_FALSE(string_of(bad));
}

TEST_CASE("the escapes of UNICODE are raw-unicode-escape, and nothing else is one") {
    CHECK(unicode_of(R"(\u0041\U00000042\u20AC)") == "AB\xe2\x82\xac");
    CHECK(unicode_of(R"(\n\x41\\u0041)") == R"(\n\x41\\u0041)");
    CHECK(unicode_of("\xe9") == "\xc3\xa9");
    CHECK(unicode_of("a\\") == "a\\");
    CHECK(unicode_of(R"(\ud83d\ude00)") == "\xed\xa0\xbd\xed\xb8\x80");
    CHECK(unicode_of(R"(\U0010ffff)") == "\xf4\x8f\xbf\xbf");
    for (const char* bad : {"\\u", "\\u123", "\\u123g", "\\U0000004", "\\U00110000", "\\Uffffffff"})
        CHECK_FALSE(unicode_of(bad));
}

TEST_CASE("decimal integers of any size become the bytes that divide back to the same digits") {
    std::string digits;
    std::uint32_t state = 7;
    for (int n = 1; n < 400; ++n) {
        digits += static_cast<char>('0' + (n == 1 ? 9 : (state = state * 1664525u + 1013904223u) >> 24) % 10);
        for (const bool negative : {false, true}) {
            std::int64_t small = 0;
            std::string bytes;
            REQUIRE(parse_integer((negative ? "-" : "") + digits, small, bytes));
            if (bytes.empty()) {
                REQUIRE(std::to_string(small) == (negative ? "-" : "") + digits);
                continue;
            }
            // Divide the magnitude by ten until nothing is left.
            std::string left = bytes;
            if (negative) {
                unsigned carry = 1;
                for (char& b : left) {
                    carry += static_cast<unsigned char>(~static_cast<unsigned char>(b));
                    b = static_cast<char>(carry & 0xFF);
                    carry >>= 8;
                }
            }
            std::string back;
            for (int k = 0; k < n; ++k) {
                unsigned rest = 0;
                for (std::size_t i = left.size(); i-- > 0;) {
                    rest = rest * 256 + static_cast<unsigned char>(left[i]);
                    left[i] = static_cast<char>(rest / 10);
                    rest %= 10;
                }
                back.insert(back.begin(), static_cast<char>('0' + rest));
            }
            REQUIRE(back == digits);
            REQUIRE((static_cast<unsigned char>(bytes.back()) >= 0x80) == negative);
        }
    }
}

TEST_CASE("an integer in the least number of bytes keeps its sign") {
    CHECK(minimal_integer("\1\0\0"s) == "\1"s);
    CHECK(minimal_integer("\x80\0\0"s) == "\x80\0"s);
    CHECK(minimal_integer("\xff\xff\xff"s) == "\xff"s);
    CHECK(minimal_integer("\x7f\xff\xff"s) == "\x7f\xff"s);
    CHECK(minimal_integer("\0\0"s) == "\0"s);
    CHECK(minimal_integer("") == "");
}

TEST_CASE("integers at the ends of 64 bits fit, their neighbours do not") {
    std::int64_t out = 0;
    CHECK(fits_in_64_bits("\xff\xff\xff\xff\xff\xff\xff\x7f", out));
    CHECK(out == INT64_MAX);
    CHECK(fits_in_64_bits("\0\0\0\0\0\0\0\x80"s, out));
    CHECK(out == INT64_MIN);
    CHECK(fits_in_64_bits("\0\0\0\0\0\0\0\x80\xff\xff"s, out));
    CHECK(out == INT64_MIN);
    CHECK_FALSE(fits_in_64_bits("\0\0\0\0\0\0\0\x80\0"s, out));
    CHECK_FALSE(fits_in_64_bits("\xff\xff\xff\xff\xff\xff\xff\x7f\xff"s, out));
    CHECK_FALSE(fits_in_64_bits("\0\0\0\0\0\0\0\0\1"s, out));
    CHECK(fits_in_64_bits("", out));
    CHECK(out == 0);
}

} // namespace

} // namespace text_test
