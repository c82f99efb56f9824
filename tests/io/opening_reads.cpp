// tests/io/opening_reads.cpp: reads of a source while it is opened.
//
// SPDX-License-Identifier: MIT
#include <ckpt/io/source.hpp>

#include <ckpt/ckpt.hpp>

#include "../support/temporary_file.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <random>
#include <span>
#include <string>

namespace opening_reads_test {

using ckpt::errc;
using ckpt::detail::opening_reads;
using ckpt::detail::source;
using test_support::temporary_file;

namespace {

std::string numbered(std::size_t bytes) {
    std::string out;
    for (std::uint32_t i = 0; out.size() < bytes; ++i) out += std::to_string(i) + ' ';
    out.resize(bytes);
    return out;
}

std::string text_at(const source& from, std::uint64_t offset, std::size_t length) {
    std::string out(length, '?');
    const auto done = from.read(offset, std::as_writable_bytes(std::span(out)));
    return done ? out : std::string(ckpt::info(done.error().code).name);
}

} // namespace

TEST_CASE("a source gives the same bytes while it is opened, wherever a read begins and ends") {
    for (const std::size_t size : {1u, 100u, 4096u, 4097u, 8192u, 30'000u}) {
        const std::string text = numbered(size);
        const temporary_file file{text};
        const auto from = source::open(file.path()).value();
        const opening_reads few{from};
        if (size > 5000) from->keep(size - 5000, std::as_bytes(std::span(text)).subspan(size - 5000));
        std::mt19937 random{7};
        for (int i = 0; i < 3000; ++i) {
            const std::size_t offset = random() % size;
            const std::size_t length = random() % (i % 2 == 0 ? 20 : 6000) % (size - offset) + 1;
            CHECK(text_at(*from, offset, length) == text.substr(offset, length));
        }
        CHECK(text_at(*from, size, 1) == "truncated");
        CHECK(text_at(*from, size - 1, 2) == "truncated");
    }
}

TEST_CASE("what lies beside an earlier read is not read again until the file is open") {
    const std::string before(3 * 4096, 'a'), after(3 * 4096, 'b');
    const temporary_file file{before};
    const auto from = source::open(file.path(), {.mode = ckpt::io_mode::read}).value();
    {
        const opening_reads few{from};
        CHECK(text_at(*from, 4090, 4) == "aaaa");
        file.write(after);
        CHECK(text_at(*from, 0, 4) == "aaaa");                     // of the page
        CHECK(text_at(*from, 4096, 500) == std::string(500, 'a')); // and a little behind it
        CHECK(text_at(*from, 4600, 20) == std::string(20, 'b'));
        CHECK(text_at(*from, 0, 600) == std::string(600, 'a'));
        CHECK(text_at(*from, 0, 4096 + 513) == std::string(4096 + 513, 'b')); // more than a page and a little
    }
    CHECK(text_at(*from, 0, 4) == "bbbb");
}

TEST_CASE("a file that became shorter is truncated while it is opened, too") {
    const temporary_file file{std::string(10'000, 'a')};
    const auto from = source::open(file.path(), {.mode = ckpt::io_mode::read}).value();
    const opening_reads few{from};
    std::filesystem::resize_file(file.path(), 5000);
    CHECK(text_at(*from, 4990, 10) == "aaaaaaaaaa"); // its page is no longer whole
    CHECK(text_at(*from, 4990, 11) == "truncated");
    CHECK(text_at(*from, 9000, 4) == "truncated");
}

TEST_CASE("the caller's memory has no pages") {
    const std::string text = "in memory";
    const auto from = source::memory(std::as_bytes(std::span(text))).value();
    const opening_reads few{from};
    CHECK(text_at(*from, 3, 6) == "memory");
}

#if defined(__linux__)
TEST_CASE("a file that torch.save wrote is opened with six reads or less") {
    const auto reads = [] {
        std::ifstream io("/proc/self/io");
        std::string word;
        std::uint64_t n = 0;
        while (io >> word >> n)
            if (word == "syscr:") return n;
        return std::uint64_t{0};
    };
    if (reads() == 0) return; // no /proc
    const std::uint64_t own = [&] {
        const std::uint64_t first = reads();
        return reads() - first;
    }();
    for (const auto mode : {ckpt::io_mode::map, ckpt::io_mode::read}) {
        const std::uint64_t before = reads();
        const auto opened = ckpt::open(CKPT_TEST_DATA "/torch-2.13/state_dict.pt", {.io = mode});
        const std::uint64_t after = reads();
        REQUIRE(opened.has_value());
        CHECK(after - before - own <= 6);
    }
}
#endif

} // namespace opening_reads_test
