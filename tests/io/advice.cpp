// tests/io/advice.cpp: which ranges of files the system is told of.
//
// SPDX-License-Identifier: MIT
#include <ckpt/io/advice.hpp>

#include "../support/temporary_file.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace advice_test {

using ckpt::detail::advice;
using ckpt::detail::advised_range;
using ckpt::detail::merge_ranges;

namespace {

/// "0:0-4096 1:4096-8192".
std::string merged(std::vector<advised_range> ranges) {
    std::string out;
    for (const advised_range& r : merge_ranges(std::move(ranges))) {
        if (!out.empty()) out += ' ';
        out += std::to_string(r.file) + ':' + std::to_string(r.begin) + '-' + std::to_string(r.end);
    }
    return out;
}

} // namespace

TEST_CASE("advice is about whole blocks, in the order of the files") {
    CHECK(merged({}).empty());
    CHECK(merged({{0, 7, 7}, {0, 9, 8}}).empty());
    CHECK(merged({{0, 0, 1}}) == "0:0-4096");
    CHECK(merged({{0, 4095, 4096}}) == "0:0-4096");
    CHECK(merged({{0, 4095, 4097}}) == "0:0-8192");
    CHECK(merged({{1, 5, 6}, {0, 40'960, 40'961}, {0, 4096, 4097}}) == "0:4096-8192 0:40960-45056 1:0-4096");
}

TEST_CASE("what touches or overlaps is one range, and a block between two keeps them apart") {
    CHECK(merged({{0, 0, 4096}, {0, 4096, 4097}}) == "0:0-8192");
    CHECK(merged({{0, 0, 4096}, {0, 8191, 8192}}) == "0:0-8192");
    CHECK(merged({{0, 0, 4096}, {0, 8192, 8193}}) == "0:0-4096 0:8192-12288");
    CHECK(merged({{0, 0, 20'000}, {0, 4096, 8192}, {0, 4097, 9000}}) == "0:0-20480");
    CHECK(merged({{0, 0, 4096}, {1, 0, 4096}}) == "0:0-4096 1:0-4096");
}

TEST_CASE("advice about a file ends where the file does; memory, and what a source does not have, is left out") {
    const test_support::temporary_file file(std::string(10'000, 'x'));
    const auto whole = ckpt::detail::source::open(file.path()).value();
    const auto part = ckpt::detail::source::part(whole, 9000, 1000).value();
    const std::string text(5000, 'y');
    const auto memory = ckpt::detail::source::memory(std::as_bytes(std::span{text})).value();

    advice all;
    all.add(*memory, 0, 5000);
    all.add(*whole, 0, 10);
    all.add(*part, 999, 1000);
    all.add(*part, 999, 1001);
    all.add(*part, 5, 5);
    const auto given = all.give();
    // Where the system takes advice at all, it takes this: block 0, and block 2 up to the end.
    const bool taken = given.ranges == 2 && given.bytes == 4096 + (10'000 - 8192);
    const bool none = given.ranges == 0 && given.bytes == 0;
    CHECK((taken || none));
#if defined(__linux__)
    CHECK(taken);
#endif
}

TEST_CASE("long ranges are told in pieces, whose bytes are counted once") {
    const test_support::temporary_file file;
    file.write_sparse({{1'000'000, "x"}});
    for (const auto mode : {ckpt::io_mode::map, ckpt::io_mode::read}) {
        const auto whole = ckpt::detail::source::open(file.path(), {.mode = mode}).value();
        advice all;
        all.add(*whole, 1, 1'000'001);
#if defined(__linux__)
        CHECK(all.give().bytes == 1'000'001);
        CHECK(all.give().ranges == 1);
#else
        CHECK(all.give().bytes <= 1'000'001);
#endif
    }
}

} // namespace advice_test
