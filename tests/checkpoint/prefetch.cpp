// tests/checkpoint/prefetch.cpp: what the system is told of before tensors are read, and what is in memory afterwards.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/folder.hpp>
#include <ckpt/prefetch.hpp>

#include "../support/page_cache.hpp"
#include "../support/temporary_file.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace prefetch_test {

using namespace test_support;

namespace {

constexpr std::uint64_t kib = 1024, mib = 1024 * kib;

/// A file of `count` float tensors "t0", "t1", ..., each of `bytes` zeros in a storage of its own, which are holes.
void write_holes(const temporary_file& file, std::size_t count, std::uint64_t bytes) {
    std::vector<std::pair<std::string, std::string>> entries;
    for (std::size_t i = 0; i < count; ++i) {
        const std::string number = std::to_string(i);
        entries.emplace_back(pkl::str("t" + number), pkl::floats(number, static_cast<std::int64_t>(bytes / 4)));
    }
    std::vector<zip_member> members = torch_records(pkl::pickle(pkl::dict(entries)));
    for (std::size_t i = 0; i < count; ++i) {
        members.push_back({.name = "archive/data/" + std::to_string(i)});
        members.back().hole = bytes;
    }
    file.write_sparse(write_zip(members).pieces);
}

ckpt::state_dict weights_of(const temporary_file& file, ckpt::io_mode mode = ckpt::io_mode::map) {
    return ckpt::open(file.path(), {.io = mode}).value().state_dict().value();
}

/// What was asked for; on systems that take no advice what Linux would have been asked for.
bool asked(const ckpt::prefetched& p, std::uint64_t least, std::uint64_t most, std::uint64_t ranges) {
#if defined(__linux__)
    return p.bytes >= least && p.bytes <= most && p.ranges == ranges;
#else
    (void)least;
    return p.bytes <= most && p.ranges <= ranges;
#endif
}

} // namespace

TEST_CASE("prefetch asks for the tensors of the keys, their headers, and nothing beside them") {
    const temporary_file file;
    write_holes(file, 8, 64 * kib);
    for (const auto mode : {ckpt::io_mode::map, ckpt::io_mode::read}) {
        const ckpt::state_dict weights = weights_of(file, mode);
        const std::string_view none[]{"x"}, one[]{"t3"}, far[]{"t6", "t1"}, adjacent[]{"t2", "t3"};
        CHECK(asked(ckpt::prefetch(weights, {}).value(), 0, 0, 0));
        CHECK(asked(ckpt::prefetch(weights, one).value(), 64 * kib, 64 * kib + 2 * 4096, 1));
        CHECK(asked(ckpt::prefetch(weights, far).value(), 128 * kib, 128 * kib + 4 * 4096, 2));
        CHECK(asked(ckpt::prefetch(weights, adjacent).value(), 128 * kib, 128 * kib + 2 * 4096, 1));
        CHECK(asked(ckpt::prefetch(weights), 512 * kib, 512 * kib + 2 * 4096, 1));
        const auto missing = ckpt::prefetch(weights, none);
        REQUIRE(!missing);
        CHECK(missing.error().code == ckpt::errc::key_missing);
    }
}

TEST_CASE("prefetch asks for the part of a storage that a tensor has, and leaves out what was refused") {
    const std::string storage = pkl::storage("FloatStorage", "0", 65'536);
    const temporary_file file(torch_file(pkl::dict({{pkl::str("end"), pkl::tensor(storage, 49'152, {16'384}, {1})},
                                                    {pkl::str("bad"), pkl::tensor(storage, 49'153, {16'384}, {1})},
                                                    {pkl::str("empty"), pkl::tensor(storage, 0, {0}, {1})}}),
                                         {{"0", std::string(256 * kib, '\0')}}));
    const ckpt::state_dict weights = weights_of(file);
    const std::string_view end[]{"end"}, bad[]{"bad"}, empty[]{"empty"};
    CHECK(asked(ckpt::prefetch(weights, end).value(), 64 * kib, 64 * kib + 3 * 4096, 2)); // and the header
    CHECK(asked(ckpt::prefetch(weights), 64 * kib, 64 * kib + 3 * 4096, 2));
    CHECK(asked(ckpt::prefetch(weights, empty).value(), 0, 0, 0));
    CHECK(ckpt::prefetch(weights, bad).error().code == ckpt::errc::out_of_bounds);
}

TEST_CASE("prefetch of gathered tensors asks for what they are made of; of memory, for nothing") {
    const temporary_file file;
    write_holes(file, 8, 64 * kib);
    const ckpt::state_dict weights = weights_of(file);
    const auto merged = ckpt::remap(weights, ckpt::key_map{ckpt::rule("merge 0 t1, t6 -> both")}).value();
    const std::string_view both[]{"both"}, same[]{"t3"};
    CHECK(asked(ckpt::prefetch(merged, both).value(), 128 * kib, 128 * kib + 4 * 4096, 2));
    CHECK(asked(ckpt::prefetch(merged, same).value(), 64 * kib, 64 * kib + 2 * 4096, 1));
    CHECK(ckpt::prefetch(merged.owned()).bytes == 0);

    const std::string bytes = read_file(file.path());
    const ckpt::state_dict memory = ckpt::open_bytes(bytes_of(bytes)).value().state_dict().value();
    CHECK(ckpt::prefetch(memory).bytes == 0);
}

TEST_CASE("prefetch asks for every file of a folder, and for what lies in streams and safetensors files") {
    const std::string data = CKPT_TEST_DATA;
    struct sample {
        std::string path;
        std::uint64_t least;
    };
    for (const sample& s :
         {sample{data + "/frameworks/dcp/fsdp2", 1000}, sample{data + "/torch-old/tar_0.1_py3.pt", 16},
          sample{data + "/frameworks/transformers-5.23/checkpoint-4/model.safetensors", 1000}}) {
        CAPTURE(s.path);
        const ckpt::state_dict weights = ckpt::open_any(s.path).value().state_dict().value();
        const ckpt::prefetched told = ckpt::prefetch(weights);
#if defined(__linux__)
        CHECK(told.bytes >= s.least);
        CHECK(told.ranges >= 1);
#else
        CHECK(told.ranges <= weights.size());
#endif
    }
}

#if defined(__linux__)

namespace {

/// The least that `grown` says in up to five turns, until it is at most `enough`. A busy disk is late with what it was
/// told of, and the system then reads ahead of who waits.
template <class Grown> std::uint64_t least_growth(std::uint64_t enough, const Grown& grown) {
    std::uint64_t least = grown();
    for (int turn = 1; turn < 5 && least > enough; ++turn) least = std::min(least, grown());
    return least;
}

double sum(const ckpt::state_dict& weights, std::string_view key) {
    double out = 0;
    const std::span<const float> numbers = weights.view<float>(key).value();
    for (const float x : numbers) out += static_cast<double>(x);
    return out;
}

} // namespace

TEST_CASE("one tensor of 4 MiB out of a cold file brings half a MiB more into memory at most") {
    const temporary_file file;
    write_holes(file, 32, 4 * mib);
    if (!forget(file.path())) return; // a file system in memory
    constexpr std::uint64_t most = 4 * mib + 512 * kib;
    for (const auto mode : {ckpt::io_mode::map, ckpt::io_mode::read}) {
        const std::uint64_t more = least_growth(most, [&] {
            REQUIRE(forget(file.path()));
            const ckpt::state_dict weights = weights_of(file, mode);
            const std::uint64_t before = resident(file.path());
            const std::string_view wanted[]{"t16"};
            CHECK(ckpt::prefetch(weights, wanted).value().bytes >= 4 * mib);
            std::vector<float> copy(mib);
            REQUIRE(weights.at("t16").value().copy_to(copy).has_value());
            if (mode == ckpt::io_mode::map) CHECK(sum(weights, "t16") == 0);
            return resident(file.path()) - before;
        });
        CHECK(more >= 4 * mib);
        CHECK(more <= most);
    }
}

TEST_CASE("small tensors out of a cold file bring in their own pages and those of their headers") {
    const temporary_file file;
    write_holes(file, 2000, 64 * kib);
    if (!forget(file.path())) return;
    std::vector<std::string> names;
    for (std::size_t i = 1900; i >= 100; i -= 50) names.push_back("t" + std::to_string(i));
    const std::vector<std::string_view> wanted(names.begin(), names.end());
    const std::uint64_t most = wanted.size() * (64 + 12) * kib + 512 * kib;
    const std::uint64_t more = least_growth(most, [&] {
        REQUIRE(forget(file.path()));
        const ckpt::state_dict weights = weights_of(file);
        const std::uint64_t before = resident(file.path());
        const ckpt::prefetched told = ckpt::prefetch(weights, wanted).value();
        CHECK(told.ranges == wanted.size());
        for (const std::string_view key : wanted) CHECK(sum(weights, key) == 0);
        return resident(file.path()) - before;
    });
    CHECK(more >= wanted.size() * 64 * kib);
    CHECK(more <= most);
}

TEST_CASE("opening a cold file reads its directory and its pickle, whatever the file's size") {
    const temporary_file file;
    write_holes(file, 2000, 64 * kib);
    if (!forget(file.path())) return;
    const auto opened = ckpt::open(file.path()).value();
    // 0.8 MB are needed; read-ahead adds up to its window, which is 8 MiB on some machines. A reader that touched each
    // local header would bring in the whole file.
    CHECK(resident(file.path()) <= std::filesystem::file_size(file.path()) / 8);
}

#endif

} // namespace prefetch_test
