// tests/io/source.cpp: sources on files and on memory, whole and in part.
//
// SPDX-License-Identifier: MIT
#include <ckpt/io/source.hpp>

#include "../support/temporary_file.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <type_traits>
#include <utility>

#if !defined(_WIN32)
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#endif

namespace source_test {

using ckpt::errc;
using ckpt::io_mode;
using ckpt::detail::source;
using ckpt::detail::source_options;
using test_support::temporary_file;

namespace {

std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

std::string text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string read_text(const source& from, std::uint64_t offset, std::size_t length) {
    std::string out(length, '?');
    auto done = from.read(offset, std::as_writable_bytes(std::span(out)));
    return done ? out : std::string("error ") + std::string(ckpt::info(done.error().code).name);
}

errc code_of(ckpt::path_arg path, const source_options& options = {}) {
    auto opened = source::open(path, options);
    return opened ? errc::none : opened.error().code;
}

} // namespace

static_assert(!std::is_copy_constructible_v<ckpt::detail::file>);
static_assert(!std::is_copy_constructible_v<ckpt::detail::mapping>);
static_assert(std::is_nothrow_move_constructible_v<ckpt::detail::file>);
static_assert(std::is_nothrow_move_assignable_v<ckpt::detail::mapping>);

TEST_CASE("a file gives the same bytes by mapping, by reading and in memory") {
    const std::string text = "the quick brown fox";
    const temporary_file file(text);
    const auto mapped = source::open(file.path()).value();
    const auto unmapped = source::open(file.path(), {.mode = io_mode::read}).value();
    const auto memory = source::memory(bytes_of(text)).value();
    const auto copied = source::memory(bytes_of(text), {.mode = io_mode::read}).value();
    for (const auto* from : {&mapped, &unmapped, &memory, &copied}) {
        CHECK((*from)->size() == text.size());
        CHECK((*from)->base() == 0);
        CHECK(read_text(**from, 4, 5) == "quick");
        CHECK(read_text(**from, 0, text.size()) == text);
        CHECK(read_text(**from, text.size(), 0).empty());
    }
    CHECK(mapped->is_mapped());
    CHECK(memory->is_mapped());
    CHECK_FALSE(unmapped->is_mapped());
    CHECK_FALSE(copied->is_mapped());
    CHECK(text_of(mapped->mapped()) == text);
    CHECK(text_of(memory->mapped()) == text);
    CHECK(unmapped->mapped().empty());
    CHECK(copied->mapped().empty());
}

TEST_CASE("a part of a file is a source of its own, wherever it begins") {
    std::string text(200'000, '.');
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i % 23);
    const temporary_file file(text);
    for (const std::uint64_t offset : {0u, 1u, 4095u, 65'535u, 65'536u, 65'537u, 131'073u, 199'999u, 200'000u})
        for (const io_mode mode : {io_mode::map, io_mode::read}) {
            const auto part = source::open(file.path(), {.mode = mode, .offset = offset}).value();
            REQUIRE(part->size() == text.size() - offset);
            REQUIRE(part->base() == offset);
            const std::string wanted = text.substr(static_cast<std::size_t>(offset));
            CHECK(read_text(*part, 0, wanted.size()) == wanted);
            if (mode == io_mode::map) CHECK(text_of(part->mapped()) == wanted);
            if (offset + 10 > text.size()) continue;
            const auto ten = source::open(file.path(), {.mode = mode, .offset = offset, .length = 10}).value();
            CHECK(ten->size() == 10);
            CHECK(read_text(*ten, 0, 10) == wanted.substr(0, 10));
            CHECK(read_text(*ten, 0, 11) == "error truncated");
            if (mode == io_mode::map) CHECK(text_of(ten->mapped()) == wanted.substr(0, 10));
            const auto same = source::memory(bytes_of(text), {.mode = mode, .offset = offset, .length = 10}).value();
            CHECK(same->base() == offset);
            CHECK(read_text(*same, 0, 10) == wanted.substr(0, 10));
        }
}

TEST_CASE("a part outside the file is refused, with numbers that would wrap too") {
    const std::string text = "0123456789";
    const temporary_file file(text);
    const std::array<std::pair<std::uint64_t, std::uint64_t>, 5> parts{
        {{11, ~std::uint64_t{0}}, {0, 11}, {10, 1}, {1, ~std::uint64_t{0} - 1}, {~std::uint64_t{0} - 1, 5}}};
    for (const auto& [offset, length] : parts) {
        const source_options part{.offset = offset, .length = length};
        CHECK(code_of(file.path(), part) == errc::range_outside_file);
        CHECK(source::memory(bytes_of(text), part).error().code == errc::range_outside_file);
    }
    CHECK(code_of(file.path(), {.offset = 10}) == errc::none);
    CHECK(code_of(file.path(), {.offset = 9, .length = 1}) == errc::none);
}

TEST_CASE("reading past the end is refused, with numbers that would wrap too") {
    const std::string text = "0123456789";
    const auto memory = source::memory(bytes_of(text)).value();
    CHECK(read_text(*memory, 9, 2) == "error truncated");
    CHECK(read_text(*memory, 11, 0) == "error truncated");
    CHECK(read_text(*memory, ~std::uint64_t{0}, 2) == "error truncated");
    std::array<std::byte, 4> out{};
    CHECK(memory->read(8, out).error().offset <= text.size());
}

TEST_CASE("an empty file opens") {
    const temporary_file file("");
    for (const io_mode mode : {io_mode::map, io_mode::read}) {
        const auto opened = source::open(file.path(), {.mode = mode});
        REQUIRE(opened.has_value());
        CHECK((*opened)->size() == 0);
        CHECK((*opened)->mapped().empty());
    }
    CHECK(source::memory({}).value()->size() == 0);
}

TEST_CASE("a missing file is cannot_open and the text names it") {
    const temporary_file none;
    const auto opened = source::open(none.path());
    REQUIRE_FALSE(opened.has_value());
    CHECK(opened.error().code == errc::cannot_open);
    CHECK(opened.error().os_code != 0);
    CHECK(opened.error().message().find("no such file") != std::string::npos);
    CHECK(opened.error().message().find(none.path().filename().string().substr(0, 9)) != std::string::npos);
}

TEST_CASE("a path that is null or has a NUL inside is cannot_open") {
    const temporary_file file("x");
    CHECK(code_of(static_cast<const char*>(nullptr)) == errc::cannot_open);
    CHECK(code_of(file.path().string() + std::string("\0.pt", 4)) == errc::cannot_open);
}

TEST_CASE("a directory is is_a_directory and the hint names open_folder") {
    const temporary_file folder;
    std::filesystem::create_directory(folder.path());
    const auto opened = source::open(folder.path());
    REQUIRE_FALSE(opened.has_value());
    CHECK(opened.error().code == errc::is_a_directory);
    CHECK(opened.error().hint.find("open_folder") != std::string_view::npos);
}

#if !defined(_WIN32)

TEST_CASE("a pipe, a device and a socket are refused without waiting") {
    const temporary_file pipe, socket_name;
    REQUIRE(::mkfifo(pipe.path().c_str(), 0600) == 0);
    CHECK(code_of(pipe.path()) == errc::not_a_regular_file);
    CHECK(code_of("/dev/null") == errc::not_a_regular_file);
    CHECK(code_of("/dev/zero") == errc::not_a_regular_file);
    ::sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string name = socket_name.path().string();
    if (name.size() < sizeof address.sun_path) {
        const int listener = ::socket(AF_UNIX, SOCK_STREAM, 0);
        name.copy(address.sun_path, name.size());
        REQUIRE(::bind(listener, reinterpret_cast<const ::sockaddr*>(&address), sizeof address) == 0);
        CHECK(code_of(socket_name.path()) == errc::not_a_regular_file);
        ::close(listener);
    }
}

TEST_CASE("a file that is cut after it was opened is truncated by reads, not a signal") {
    const temporary_file file(std::string(100'000, 'x'));
    const auto opened = source::open(file.path()).value();
    REQUIRE(::truncate(file.path().c_str(), 10) == 0);
    CHECK(opened->size() == 100'000);
    CHECK(read_text(*opened, 0, 10) == "xxxxxxxxxx");
    CHECK(read_text(*opened, 5, 10) == "error truncated");
    CHECK(read_text(*opened, 90'000, 10) == "error truncated");
}

TEST_CASE("a file that is replaced after it was opened stays the one that was opened") {
    const temporary_file file("old bytes"), other("new bytes!");
    const auto opened = source::open(file.path()).value();
    std::filesystem::rename(other.path(), file.path());
    CHECK(opened->size() == 9);
    CHECK(read_text(*opened, 0, 9) == "old bytes");
}

TEST_CASE("the descriptor is closed with the last owner") {
    const temporary_file file("x");
    const int before = ::dup(0);
    ::close(before);
    {
        auto opened = source::open(file.path()).value();
        const auto copy = opened;
        opened = {};
        CHECK(read_text(*copy, 0, 1) == "x");
    }
    (void)code_of(file.path(), {.offset = 5}); // a failure closes it too
    const int after = ::dup(0);
    ::close(after);
    CHECK(before == after);
}

#endif

} // namespace source_test
