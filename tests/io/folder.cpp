// tests/io/folder.cpp: the names in a directory.
//
// SPDX-License-Identifier: MIT
#include <ckpt/io/folder.hpp>

#include "../support/temporary_file.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>

namespace folder_test {

using ckpt::errc;
using ckpt::detail::list_folder;
using ckpt::detail::path_in;
using namespace test_support;

TEST_CASE("entries are sorted, with sizes; folders are told; links are followed") {
    const temporary_folder folder({{"b.bin", "12345"}, {"a.bin", ""}, {".metadata", "x"}, {"inner/c", "1"}});
#if !defined(_WIN32)
    std::filesystem::create_symlink(folder.path() / "b.bin", folder.path() / "link");
    std::filesystem::create_symlink("nowhere", folder.path() / "dangling");
#endif
    const auto found = list_folder(folder.path().string());
    REQUIRE(found.has_value());
    std::string seen;
    for (const auto& e : *found) seen += e.name + (e.is_folder ? "/" : ":" + std::to_string(e.size)) + ' ';
#if defined(_WIN32)
    CHECK(seen == ".metadata:1 a.bin:0 b.bin:5 inner/ ");
#else
    CHECK(seen == ".metadata:1 a.bin:0 b.bin:5 dangling:0 inner/ link:5 ");
#endif
}

TEST_CASE("what is no directory is an error of the system's") {
    const temporary_folder folder;
    folder.add("file", "x");
    CHECK(list_folder((folder.path() / "nothing").string()).error().code == errc::cannot_open);
    const auto file = list_folder((folder.path() / "file").string());
    REQUIRE_FALSE(file.has_value());
    CHECK(file.error().os_code != 0);
    CHECK(list_folder(temporary_folder().path().string()).value().empty());
}

TEST_CASE("a folder of more entries than the limit is refused") {
    const temporary_folder folder({{"a", ""}, {"b", ""}, {"c", ""}});
    CHECK(list_folder(folder.path().string(), 3).value().size() == 3);
    CHECK(list_folder(folder.path().string(), 2).error().code == errc::limit);
    CHECK(ckpt::detail::most_folder_entries == 100'000);
}

TEST_CASE("a name in a folder") {
    CHECK(path_in("a", "b") == "a/b");
    CHECK(path_in("a/", "b") == "a/b");
    CHECK(path_in("", "b") == "b");
    CHECK(path_in("/", "b") == "/b");
}

} // namespace folder_test
