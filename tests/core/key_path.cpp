// tests/core/key_path.cpp: paths as text.
//
// SPDX-License-Identifier: MIT
#include <ckpt/core/key_path.hpp>

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

namespace key_path_test {

using namespace ckpt::detail;

namespace {

std::vector<std::string> elements_of(std::string_view path) {
    std::vector<std::string> out;
    while (!path.empty()) out.push_back(take_path_element(path));
    return out;
}
std::string path_of(const std::vector<std::string>& elements) {
    std::string out;
    for (std::size_t i = 0; i < elements.size(); ++i) append_path_element(out, elements[i], i == 0);
    return out;
}

TEST_CASE("elements are joined by slashes, and slashes and backslashes inside them are escaped") {
    CHECK(path_of({"a", "b/c", "d\\e"}) == "a/b\\/c/d\\\\e");
    CHECK(elements_of("a/b\\/c/d\\\\e") == std::vector<std::string>{"a", "b/c", "d\\e"});
    CHECK(elements_of("") == std::vector<std::string>{});
    CHECK(elements_of("a\\b") == std::vector<std::string>{"a\\b"});
    CHECK(elements_of("\\") == std::vector<std::string>{"\\"});
    CHECK(elements_of("/a") == std::vector<std::string>{"", "a"});
    CHECK(elements_of("a//b") == std::vector<std::string>{"a", "", "b"});
}

TEST_CASE("what was joined comes apart again") {
    const std::vector<std::string> parts{"a", "/", "\\", "\\/", "a\\", "/\\/", "weight.0", "\xe2\x82\xac", "0"};
    for (const auto& x : parts)
        for (const auto& y : parts)
            for (const auto& z : parts) CHECK(elements_of(path_of({x, y, z})) == std::vector<std::string>{x, y, z});
}

TEST_CASE("an empty element may be the last one: a separator stood before it") {
    const auto all_of = [](std::string_view path) {
        std::vector<std::string> out;
        for (bool more = true; more;) out.push_back(take_path_element(path, &more));
        return out;
    };
    CHECK(all_of("a") == std::vector<std::string>{"a"});
    CHECK(all_of("a/") == std::vector<std::string>{"a", ""});
    CHECK(all_of("a\\/") == std::vector<std::string>{"a/"});
    for (const std::vector<std::string>& path :
         {std::vector<std::string>{"a", ""}, {"a\\", ""}, {"", ""}, {"/", "", ""}})
        CHECK(all_of(path_of(path)) == path);
}

TEST_CASE("an index is a whole decimal number of 64 bits") {
    CHECK(parse_index("0") == 0);
    CHECK(parse_index("-1") == -1);
    CHECK(parse_index("9223372036854775807") == INT64_MAX);
    for (const char* bad : {"", "9223372036854775808", "1x", " 1", "1 ", "+1", "0x1", "1.0"})
        CHECK_FALSE(parse_index(bad));
}

} // namespace

} // namespace key_path_test
