// tests/gpu/upload_effort.cpp: what an upload chooses where the caller leaves it open.
//
// SPDX-License-Identifier: MIT
#include <ckpt/gpu/upload_effort.hpp>

#include "../support/page_cache.hpp"
#include "../support/temporary_file.hpp"

#include <ckpt/gpu/upload_plan.hpp>
#include <ckpt/io/residency.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <string>

namespace upload_effort_test {

using namespace ckpt::detail;
using ckpt::upload_source;
using test_support::temporary_file;

namespace {

/// A plan that reads so many bytes of memory and lets the host build so many.
shared<upload_plan_data> plan_of(std::uint64_t read, std::uint64_t built) {
    auto out = ckpt::detail::make_shared<upload_plan_data>();
    out->runs.push_back({.begin = 0, .end = read});
    out->read_bytes = read;
    out->built_bytes = built;
    return out;
}

} // namespace

TEST_CASE("readers are the cores but one, eight at most, and sixteen where the host builds; slots are two for each") {
    const auto readers = [](unsigned cores, std::uint64_t built) {
        return choose_effort(*plan_of(800, built), {}, cores).readers;
    };
    CHECK(readers(0, 0) == 1); // unknown
    CHECK(readers(1, 0) == 1);
    CHECK(readers(2, 0) == 1);
    CHECK(readers(3, 0) == 2);
    CHECK(readers(9, 0) == 8);
    CHECK(readers(10, 0) == 8);
    CHECK(readers(64, 100) == 8);
    CHECK(readers(17, 101) == 16); // more than an eighth is built
    CHECK(readers(18, 101) == 16);
    CHECK(choose_effort(*plan_of(800, 0), {}, 9).slots == 18);
    CHECK(choose_effort(*plan_of(800, 0), {.readers = 0}, 9).slots == 2);

    const upload_effort chosen = choose_effort(*plan_of(std::uint64_t{1} << 30, 0),
                                               {.source = upload_source::mapped, .readers = 3, .slots = 5}, 9);
    CHECK(chosen.source == upload_source::mapped);
    CHECK(chosen.readers == 3);
    CHECK(chosen.slots == 5);
    // Memory is in no cache of files.
    CHECK(choose_effort(*plan_of(std::uint64_t{1} << 30, 0), {}, 9).source == upload_source::buffered);
}

#if defined(__linux__)
TEST_CASE("files of 64 MiB and more that are not cached are read past the cache") {
    constexpr std::uint64_t enough = std::uint64_t{64} << 20;
    const temporary_file file{std::string(enough, 'x')};
    const auto opened = ckpt::detail::file::open(file.path()).value();
    const auto source_of = [&](std::uint64_t begin, std::uint64_t end) {
        upload_plan_data plan;
        plan.runs.push_back({.in = &opened, .begin = begin, .end = (begin + end) / 2});
        plan.runs.push_back({.in = &opened, .begin = (begin + end) / 2, .end = end});
        plan.read_bytes = end - begin;
        return choose_effort(plan, {}, 4).source;
    };
    CHECK(is_resident(opened, enough - 1) == true);
    CHECK(source_of(0, enough) == upload_source::buffered);
    if (!test_support::forget(file.path())) return;
    CHECK(source_of(0, enough) == upload_source::direct);
    CHECK(source_of(1, enough) == upload_source::buffered); // one byte less than is worthwhile

    // The first half and a little more is read again: half of the places are cached, and that is enough.
    std::string bytes(std::size_t{1} << 20, '\0');
    const auto read_up_to = [&](std::uint64_t end) {
        for (std::uint64_t at = 0; at < end; at += bytes.size())
            REQUIRE(opened.read(at, std::as_writable_bytes(std::span(bytes))).has_value());
    };
    read_up_to(enough / 4);
    CHECK(source_of(0, enough) == upload_source::direct);
    read_up_to(enough / 2);
    CHECK(source_of(0, enough) == upload_source::buffered);
}
#endif

} // namespace upload_effort_test
