// tests/io/path.cpp: what can be given as a path.
//
// SPDX-License-Identifier: MIT
#include <ckpt/io/path.hpp>

#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <type_traits>

namespace path_test {

namespace {

std::string text_of(ckpt::path_arg path) { return path.text(); }
bool usable(ckpt::path_arg path) { return path.usable(); }

} // namespace

static_assert(std::is_convertible_v<const char*, ckpt::path_arg>);
static_assert(std::is_convertible_v<std::string, ckpt::path_arg>);
static_assert(std::is_convertible_v<std::filesystem::path, ckpt::path_arg>);
static_assert(!std::is_convertible_v<int, ckpt::path_arg>);

TEST_CASE("a path is taken from a literal, a string and a filesystem path") {
    CHECK(text_of("a/b.pt") == "a/b.pt");
    CHECK(text_of(std::string("a/b.pt")) == "a/b.pt");
    CHECK(text_of(std::filesystem::path("a/b.pt")) == "a/b.pt");
}

TEST_CASE("a null path and one with a NUL inside are not usable") {
    CHECK(usable("a"));
    CHECK(usable(std::string()));
    CHECK_FALSE(usable(static_cast<const char*>(nullptr)));
    CHECK_FALSE(usable(std::string("a\0b", 3)));
    CHECK(text_of(static_cast<const char*>(nullptr)).empty());
}

TEST_CASE("a file's folder and a path in a folder") {
    using namespace ckpt::detail;
    CHECK(folder_of("a/b.pt") == "a/");
    CHECK(folder_of("/b.pt") == "/");
    CHECK(folder_of("b.pt") == ".");
    CHECK(folder_of("a/") == "a/");
    CHECK(name_offset("a/b.pt") == 2);
    CHECK(name_offset("b.pt") == 0);
    CHECK(path_in("a", "b") == "a/b");
    CHECK(path_in(folder_of("a/b.pt"), "c") == "a/c");
    CHECK(path_in(folder_of("b.pt"), "c") == "./c");
}

} // namespace path_test
