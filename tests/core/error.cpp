// tests/core/error.cpp: the text of errors: one printable line, whatever the file says.
//
// SPDX-License-Identifier: MIT
#include <ckpt/core/error.hpp>

#include "../support/pickle_writer.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <set>
#include <string>
#include <string_view>

namespace error_test {

using ckpt::errc;
using namespace ckpt::detail;

namespace {

bool is_one_printable_line(std::string_view text) {
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t n = utf8_length(text, i);
        if (n == 0 || invisible(utf8_point(text, i, n))) return false;
        i += n;
    }
    return true;
}

TEST_CASE("codes have numbers and names of their own, and an exit code of the program") {
    std::set<int> numbers;
    std::set<std::string_view> names;
    for (const ckpt::error_info& row : ckpt::error_table) {
        CHECK(numbers.insert(static_cast<int>(row.code)).second);
        CHECK(names.insert(row.name).second);
        CHECK(row.exit_code >= 1);
        CHECK(row.exit_code <= 5);
        CHECK(row.exit_code != 3);
        CHECK_FALSE(row.meaning.empty());
        CHECK(ckpt::info(row.code).name == row.name);
    }
    CHECK(ckpt::info(errc{}).name == "none");
    CHECK(ckpt::info(static_cast<errc>(999)).name == "none");
}

TEST_CASE("a message tells what, where and what to do, in one line") {
    const ckpt::error e{.code = errc::global_not_allowed,
                        .opcode = 'c',
                        .offset = 0x1f3,
                        .file = "m.pt",
                        .record = "archive/data.pkl",
                        .path = "hyper/cfg",
                        .detail = "\"m\" \"C\" is not in the allowlist",
                        .module = "m",
                        .name = "C",
                        .opcode_name = "GLOBAL",
                        .hint = "Add ckpt::global<\"{module}\", \"{name}\">"};
    CHECK(e.message() == "global_not_allowed (303): \"m\" \"C\" is not in the allowlist; m.pt: archive/data.pkl at "
                         "0x1f3, opcode GLOBAL, under hyper/cfg; nothing was run. Add ckpt::global<\"m\", \"C\">");
    CHECK(ckpt::error{.code = errc::truncated}.message() ==
          "truncated (107): the file ended before the bytes that were asked for");
}

TEST_CASE("text from a file is cut to 64 bytes and escaped") {
    CHECK(quoted("a\"b\\c\n\t\x01\x7f") == "\"a\\\"b\\\\c\\n\\t\\x01\\x7f\"");
    CHECK(quoted("\xff\xc3") == "\"\\xff\\xc3\"");
    CHECK(quoted("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80") == "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
    CHECK(printable(std::string(64, 'x')) == std::string(64, 'x'));
    CHECK(printable(std::string(65, 'x')) == std::string(40, 'x') + "..." + std::string(20, 'x'));
    for (std::size_t n = 0; n < 8; ++n) { // cut between characters
        const std::string euros =
            std::string(n, 'a') + test_support::pickles::times(100, "\xe2\x82\xac") + std::string(7 - n, 'b');
        CHECK(is_one_printable_line(printable(euros)));
        CHECK(printable(euros).find("\\x") == std::string::npos);
    }
    CHECK(is_one_printable_line(printable(std::string(1000, '\x80'))));
}

TEST_CASE("what turns or hides text is escaped: bidirectional marks, zero width, controls, tags") {
    for (const std::string_view hidden :
         {"\xd8\x9c",         "\xe2\x80\x8b", "\xe2\x80\x8f", "\xe2\x80\xa8", "\xe2\x80\xaa",
          "\xe2\x80\xae",     "\xe2\x81\xa0", "\xe2\x81\xa6", "\xe2\x81\xa9", "\xef\xbb\xbf",
          "\xc2\x85",         "\xc2\xad",     "\xe1\xa0\x8e", "\xef\xbf\xb9", "\xf3\xa0\x80\xa0",
          "\xf3\xa0\x88\x80", "\xed\xa0\x80", "\x1b",         "\r",           "\b"}) {
        CAPTURE(hidden.size());
        CHECK(printable(hidden).starts_with("\\x"));
        CHECK(is_one_printable_line(printable("a" + std::string(hidden) + "b")));
    }
    for (const std::string_view shown : {"\xc2\xa0", "\xd8\xa7", "\xe2\x80\x94", "\xef\xbc\xa1", "\xf0\x9f\x98\x80"})
        CHECK(printable(shown) == shown);
}

TEST_CASE("a message has at most 1,024 bytes and ends between characters") {
    const std::string wide = test_support::pickles::times(1000, "\xe2\x82\xac");
    for (std::size_t n = 0; n < 4; ++n) {
        const ckpt::error e{.code = errc::limit, .detail = std::string(n, 'a') + wide};
        CHECK(e.message().size() <= 1024);
        CHECK(e.message().ends_with("..."));
        CHECK(is_one_printable_line(e.message()));
    }
    const auto of_length = [](std::size_t n) {
        const std::size_t before = std::string_view("limit (309): ").size();
        return ckpt::error{.code = errc::limit, .detail = std::string(n - before, 'x')}.message();
    };
    CHECK(of_length(1024) == "limit (309): " + std::string(1011, 'x'));
    CHECK(of_length(1025) == "limit (309): " + std::string(1008, 'x') + "...");
    const std::string hostile = std::string(500'000, '\x01');
    const ckpt::error e{.code = errc::global_not_allowed,
                        .file = hostile,
                        .record = hostile,
                        .path = hostile,
                        .detail = quoted(hostile) + quoted(hostile),
                        .module = hostile,
                        .name = hostile,
                        .hint = "{module} {name}"};
    CHECK(e.message().size() <= 1024);
    CHECK(is_one_printable_line(e.message()));
}

TEST_CASE("a global with a name of 500 KB, controls and bidirectional marks is refused in one line") {
    using namespace test_support;
    const std::string name = pickles::times(50'000, "\xe2\x80\xae\x01\x1b[2J");
    const parsed p = parse<ckpt::weights_policy>(pickles::global(name, name) + '.');
    REQUIRE(p.code() == errc::global_not_allowed);
    CHECK(p.error.message().size() <= 1024);
    CHECK(is_one_printable_line(p.error.message()));
    CHECK(p.error.module == name);
    const parsed key = parse<ckpt::weights_policy>("}(" + pickles::text(name) + pickles::global("a", "b") + '.');
    CHECK(is_one_printable_line(key.error.message()));
}

} // namespace

} // namespace error_test
