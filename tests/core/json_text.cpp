// tests/core/json_text.cpp: text as JSON spells it, written and read.
//
// SPDX-License-Identifier: MIT
#include <ckpt/core/json_text.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace json_text_test {

using namespace ckpt::detail;

namespace {

std::string written(std::string_view text) {
    std::string out;
    append_json(out, text);
    return out;
}

/// The text of what stands behind an opening quote, or "!" and what is wrong with it.
std::string read(std::string_view text, json_dialect dialect) {
    std::string out;
    std::size_t at = 0;
    const std::string_view wrong = unescape_json(text, at, out, dialect);
    if (!wrong.empty()) return '!' + std::string(wrong);
    CHECK(at == text.size());
    return out;
}
std::string strictly(std::string_view text) { return read(text, json_dialect::rfc_8259); }
std::string as_python(std::string_view text) { return read(text, json_dialect::python); }

TEST_CASE("quotes, backslashes and control characters are escaped; other UTF-8 stays as it is") {
    CHECK(written("") == "\"\"");
    CHECK(written("a\"b\\c\n\t\r\x01\x7f/") == R"("a\"b\\c\n\t\u000d\u0001\u007f/")");
    CHECK(written("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80") == "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
}

TEST_CASE("a lone surrogate is written by its number, a byte that is no UTF-8 as Python's surrogateescape") {
    CHECK(written("x\xed\xa0\x80y") == R"("x\ud800y")"); // json.dumps('x\ud800y')
    CHECK(written("\xed\xbf\xbf") == R"("\udfff")");
    CHECK(written("\xff\xc3") == R"("\udcff\udcc3")");
    CHECK(written("\xed\xa0") == R"("\udced\udca0")"); // the last byte is missing
}

TEST_CASE("what was written is read back, surrogates included") {
    for (const std::string_view text : {"", "plain", "a\"b\\c\n\t\r\x01\x7f", "\xed\xa0\x80", "\xf0\x9f\x98\x80"})
        CHECK(as_python(std::string_view(written(text)).substr(1)) == text);
}

TEST_CASE("a string that is read: escapes, and pairs of surrogates") {
    CHECK(strictly(R"(a\"b\\c\/d\b\f\n\r\t")") == "a\"b\\c/d\b\f\n\r\t");
    CHECK(strictly(R"(\u0041\u00E9\ud83d\ude00")") == "A\xc3\xa9\xf0\x9f\x98\x80");
    for (const std::string_view bad : {R"(\x")", R"(\u12")", R"(\u12g4")", R"(\)"}) {
        CAPTURE(bad);
        CHECK(strictly(bad) == "!an escape that means nothing, or a lone surrogate");
        CHECK(as_python(bad) == "!an escape that means nothing, or a lone surrogate");
    }
    CHECK(strictly("open") == "!a string that does not end");
    CHECK(as_python("open") == "!a string that does not end");
}

TEST_CASE("lone surrogates and control characters are Python's, not RFC 8259's") {
    for (const std::string_view lone :
         {R"(\ud800")", R"(\ud800x")", R"(\ud800\n")", R"(\ud800\u0041")", R"(\udc00")"}) {
        CAPTURE(lone);
        CHECK(strictly(lone) == "!an escape that means nothing, or a lone surrogate");
    }
    CHECK(as_python(R"(\ud800")") == "\xed\xa0\x80");
    CHECK(as_python(R"(\ud800\u0041")") == "\xed\xa0\x80"
                                           "A");
    CHECK(as_python(R"(\udc00\ud800\udc00")") == "\xed\xb0\x80\xf0\x90\x80\x80");
    CHECK(strictly("a\nb\"") == "!a control character in a string");
    CHECK(as_python("a\nb\"") == "a\nb");
}

} // namespace

} // namespace json_text_test
