// tests/core/json.cpp: what is JSON, what is not, and the steps through it.
//
// SPDX-License-Identifier: MIT
#include <ckpt/core/json.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace json_test {

using ckpt::detail::arena;
using ckpt::detail::json_kind;
using ckpt::detail::json_reader;
using namespace std::string_literals;

namespace {

/// Empty where the whole text is one JSON value, else the fault.
std::string fault(std::string_view text) {
    arena memory;
    json_reader in{text, memory};
    if (in.skip() && in.finish()) return {};
    CHECK_FALSE(in.fault().empty());
    CHECK(in.offset() <= text.size());
    return std::string(in.fault());
}

std::string text_of(std::string_view json) {
    static arena memory;
    json_reader in{json, memory};
    std::string_view out;
    const bool read = in.string(out) && in.finish();
    return read ? std::string(out) : "!" + std::string(in.fault());
}

std::string number_of(std::string_view json) {
    arena memory;
    json_reader in{json, memory};
    std::uint64_t out = 0;
    const bool read = in.whole(out) && in.finish();
    return read ? std::to_string(out) : "!";
}

std::string text_of_number(std::string_view json) {
    arena memory;
    json_reader in{json, memory};
    std::string_view out;
    const bool read = in.number_text(out) && in.finish();
    return read ? std::string(out) : "!" + std::string(in.fault());
}

} // namespace

TEST_CASE("what RFC 8259 calls JSON is gone through") {
    for (const char* text : {"null", "true", "false", "0", "-0", "-1.5e+10", "1E9", "0.25", "\"\"", "\"a\"", "[]",
                             "[ ]", "{}", " { \"a\" : [ 1 , 2 , { \"b\" : null } ] , \"\" : \"\\u00e9\" }\r\n\t",
                             "[[],[[]],{\"x\":{}}]", "\"\\ud83d\\ude00\"", "\"\xc3\xa9\""}) {
        CAPTURE(text);
        CHECK(fault(text) == "");
    }
}

TEST_CASE("what is not JSON has a fault") {
    for (const char* text : {"",
                             " ",
                             "nul",
                             "True",
                             "NaN",
                             "Infinity",
                             "+1",
                             "01",
                             "-01",
                             "1.",
                             ".5",
                             "1e",
                             "1e+",
                             "--1",
                             "\"",
                             "\"\\",
                             "\"\\x\"",
                             "\"\\u12\"",
                             "\"\\u12g4\"",
                             "\"a\nb\"",
                             "'a'",
                             "[",
                             "[1",
                             "[1,",
                             "[1,]",
                             "[,1]",
                             "[1 2]",
                             "]",
                             "{",
                             "{\"a\"",
                             "{\"a\":",
                             "{\"a\":1",
                             "{\"a\":1,}",
                             "{\"a\" 1}",
                             "{a:1}",
                             "{1:1}",
                             "{\"a\":1 \"b\":2}",
                             "{]",
                             "[}",
                             "1 2",
                             "{}{}",
                             "[]x",
                             "// c\n1",
                             "\"\\ud800\"",
                             "\"\\ud800x\"",
                             "\"\\ud800\\u0041\"",
                             "\"\\udc00\"",
                             "\"\xff\"",
                             "\"\xed\xa0\x80\"",
                             "\"\xc0\x80\"",
                             "\xef\xbb\xbf{}"}) {
        CAPTURE(text);
        CHECK(fault(text) != "");
    }
    CHECK(fault("\"\0\""s) != "");
}

TEST_CASE("nesting ends at 127 levels, in arrays and in objects") {
    const auto nested = [](std::size_t n) { return std::string(n, '[') + std::string(n, ']'); };
    CHECK(fault(nested(127)) == "");
    CHECK(fault(nested(128)) == "values are nested too deeply");
    CHECK(fault(std::string(1'000'000, '[')) == "values are nested too deeply");
    std::string objects;
    for (int i = 0; i < 128; ++i) objects += "{\"a\":";
    CHECK(fault(objects) == "values are nested too deeply");
    // One after another is not nested.
    std::string row = "[";
    for (int i = 0; i < 500; ++i) row += "[],";
    CHECK(fault(row + "[]]") == "");
}

TEST_CASE("strings are unescaped") {
    CHECK(text_of("\"plain\"") == "plain");
    CHECK(text_of(R"("a\"b\\c\/d\b\f\n\r\t")") == "a\"b\\c/d\b\f\n\r\t");
    CHECK(text_of(R"("\u0041\u00e9\u20ac\ud83d\ude00")") == "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    CHECK(text_of(R"("\u0000")") == std::string(1, '\0'));
    CHECK(text_of("1") == "!a string was expected");
}

TEST_CASE("whole numbers: no sign, no fraction, no more than 64 bits") {
    CHECK(number_of("0") == "0");
    CHECK(number_of(" 18446744073709551615 ") == "18446744073709551615");
    for (const char* text : {"18446744073709551616", "99999999999999999999999", "-1", "-0", "1.0", "1e2", "1E2", "01",
                             "00", "\"1\"", "true", ""}) {
        CAPTURE(text);
        CHECK(number_of(text) == "!");
    }
}

TEST_CASE("members and elements one after another; what is not wanted is skipped") {
    arena memory;
    json_reader in{R"({"skip": [1, {"x": "]"}], "n": 7, "list": ["a", "b"], "last": {}})", memory};
    REQUIRE(in.enter_object());
    std::string seen;
    std::uint64_t n = 0;
    for (std::string_view name; in.next_member(name);) {
        seen.append(name) += ' ';
        if (name == "n") {
            CHECK(in.whole(n));
        } else if (name == "list") {
            REQUIRE(in.enter_array());
            for (std::string_view element; in.next_element();) {
                CHECK(in.string(element));
                seen.append(element) += ' ';
            }
        } else {
            CHECK(in.skip());
        }
    }
    CHECK(in.fault() == "");
    CHECK(in.finish());
    CHECK(n == 7);
    CHECK(seen == "skip n list a b last ");
}

TEST_CASE("after a fault nothing goes on") {
    arena memory;
    json_reader in{"[1, x, 2]", memory};
    std::uint64_t n = 0;
    REQUIRE(in.enter_array());
    CHECK(in.next_element());
    CHECK(in.whole(n));
    CHECK(in.next_element());
    CHECK_FALSE(in.whole(n));
    CHECK_FALSE(in.next_element());
    CHECK_FALSE(in.skip());
    CHECK_FALSE(in.finish());
    CHECK(in.peek() == json_kind::none);
    CHECK(in.fault() == "a whole number was expected");
}

TEST_CASE("a number is read as it is written; NaN and the infinities as Python writes them, too") {
    for (const char* text : {"0", "-0", "-12.5e+3", "1E400", "18446744073709551616", "NaN", "Infinity", "-Infinity"})
        CHECK(text_of_number(text) == text);
    for (const char* text : {"nan", "+1", "Inf", "inf", "null", "\"1\"", "", "]"})
        CHECK(text_of_number(text) == "!a value was expected");
    CHECK(text_of_number("-") == "!a malformed number");
    CHECK(text_of_number("-NaN") == "!a malformed number");
    CHECK(text_of_number("01") == "!a malformed number");
    CHECK(text_of_number("NaNs") == "!text after the end of the value");
    CHECK(fault("NaN") != ""); // skipped values are those of RFC 8259
    arena memory;
    json_reader in{"[null, 1]", memory};
    CHECK(in.enter_array());
    CHECK(in.next_element());
    CHECK(in.null());
    CHECK(in.next_element());
    CHECK_FALSE(in.null());
    CHECK(in.fault() == "null was expected");
    std::string_view after;
    CHECK_FALSE(in.number_text(after)); // the first fault stays
    CHECK(in.fault() == "null was expected");
}

} // namespace json_test
