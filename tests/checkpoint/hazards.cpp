// tests/checkpoint/hazards.cpp: files that are no files, and files that change under an open checkpoint.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>

#include "../support/processor_time.hpp"
#include "../support/temporary_file.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <thread>
#include <vector>

#if !defined(_WIN32)
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

namespace hazards_test {

using ckpt::errc;
using ckpt::io_mode;
using namespace test_support;
namespace fs = std::filesystem;

namespace {

std::string large_file(float first) {
    std::vector<float> values(100'000, first);
    return torch_file(pkl::dict({{pkl::str("w"), pkl::floats("0", 100'000)}}), {{"0", raw(values)}});
}

constexpr io_mode modes[]{io_mode::map, io_mode::read};

} // namespace

TEST_CASE("an empty file and a directory are refused at once") {
    const temporary_file empty("");
    for (const io_mode io : modes) {
        CHECK(ckpt::open(empty.path(), {.io = io}).error().code == errc::not_a_checkpoint);
        const auto folder = ckpt::open(fs::temp_directory_path(), {.io = io});
        CHECK(folder.error().code == errc::is_a_directory);
        CHECK(folder.error().message().find("open_folder") != std::string::npos);
        CHECK(ckpt::open("", {.io = io}).error().code == errc::cannot_open);
        CHECK(ckpt::open(std::string("a\0b", 3), {.io = io}).error().code == errc::cannot_open);
        CHECK(ckpt::open("/no/such/folder/model.pt", {.io = io}).error().os_code != 0);
    }
}

#if !defined(_WIN32)
TEST_CASE("a pipe without a writer, devices and files of the system are refused, without waiting") {
    const temporary_file pipe;
    REQUIRE(::mkfifo(pipe.path().c_str(), 0600) == 0);
    for (const io_mode io : modes) {
        CHECK(ckpt::open(pipe.path(), {.io = io}).error().code == errc::not_a_regular_file);
        CHECK(ckpt::scan_globals(pipe.path(), {.io = io}).error().code == errc::not_a_regular_file);
        for (const char* device : {"/dev/null", "/dev/zero", "/dev/tty"})
            if (fs::exists(device)) CHECK_FALSE(ckpt::open(device, {.io = io}).has_value());
        for (const char* file : {"/proc/self/status", "/proc/self/maps", "/proc/self/mem"})
            if (fs::exists(file)) CHECK_FALSE(ckpt::open(file, {.io = io}).has_value());
    }
}
#endif

TEST_CASE("a sparse file of 64 GiB is refused in no time") {
    const temporary_file sparse("PK\x03\x04");
    std::error_code failure;
    fs::resize_file(sparse.path(), std::uint64_t{64} << 30, failure);
    if (failure) return;       // a file system without holes
    const ends_soon guard{20}; // far less
    for (const io_mode io : modes) CHECK(ckpt::open(sparse.path(), {.io = io}).error().code == errc::zip_truncated);
}

TEST_CASE("a file that is cut after it was opened gives truncated where it is read") {
    const temporary_file file(large_file(1));
    const auto opened = ckpt::open(file.path(), {.io = io_mode::read}).value();
    const auto weights = opened.state_dict().value();
    std::vector<float> out(100'000);
    REQUIRE(weights.at("w").value().copy_to(std::span(out)).has_value());
    fs::resize_file(file.path(), 200'000);
    const auto cut = weights.at("w").value().copy_to(std::span(out));
    REQUIRE_FALSE(cut.has_value());
    CHECK(cut.error().code == errc::truncated);
    CHECK(cut.error().record == "archive/data/0");
    CHECK(weights.at("w").value().crc32().error().code == errc::truncated);
    CHECK_FALSE(opened.verify().ok());
    const auto owner = opened.state_dict().value().owned();
    CHECK(owner.view<float, 1>("w").error().code == errc::truncated);
    fs::resize_file(file.path(), 0);
    CHECK(weights.at("w").value().file_offset().error().code == errc::truncated);
    CHECK(weights.at("w").value().shape()[0] == 100'000); // what was read at open stays
}

TEST_CASE("a file that is cut while it is open is not read through its mapping by what decides") {
    // The header of the record is read by positioned reads: a cut is an error there, and no signal.
    const temporary_file file(large_file(1));
    const auto opened = ckpt::open(file.path()).value();
    fs::resize_file(file.path(), 10);
    CHECK(opened.root().at("w").value().as_tensor().value().file_offset().error().code == errc::truncated);
    CHECK_FALSE(opened.root().at("w").value().as_tensor().value().bytes().has_value());
    CHECK_FALSE(opened.verify().ok());
}

TEST_CASE("a file that is replaced or grows stays the one that was opened") {
    for (const io_mode io : modes) {
        const temporary_file file(large_file(1)), other(large_file(2));
        const auto opened = ckpt::open(file.path(), {.io = io}).value();
        std::ofstream(file.path(), std::ios::binary | std::ios::app) << std::string(1000, 'x');
        fs::rename(other.path(), file.path());
        const auto weights = opened.state_dict().value();
        std::vector<float> out(100'000);
        REQUIRE(weights.at("w").value().copy_to(std::span(out)).has_value());
        CHECK(out[0] == 1);
        CHECK(out[99'999] == 1);
        std::vector<float> fresh(100'000);
        const auto again = ckpt::open(file.path(), {.io = io}).value().state_dict().value();
        REQUIRE(again.at("w").value().copy_to(std::span(fresh)).has_value());
        CHECK(fresh[0] == 2);
    }
}

#if !defined(_WIN32)
TEST_CASE("M1: a file that is rewritten while it is opened is refused or read, never torn apart") {
    std::vector<std::pair<std::string, std::string>> entries, storages;
    for (int i = 0; i < 50; ++i) {
        entries.emplace_back(pkl::str("k" + std::to_string(i)), pkl::floats(std::to_string(i), 4));
        storages.emplace_back(std::to_string(i), raw<float>({1, 2, 3, 4}));
    }
    const std::string bytes = torch_file(pkl::dict(entries), storages);
    const temporary_file file(bytes);
    std::atomic<bool> stop{false};
    std::thread writer([&] {
        const int out = ::open(file.path().c_str(), O_WRONLY | O_CLOEXEC);
        std::uint32_t random = 1;
        while (!stop) {
            random = random * 1664525u + 1013904223u;
            const std::size_t at = (random >> 8) % bytes.size();
            const char damage = static_cast<char>(random >> 24);
            (void)!::pwrite(out, &damage, 1, static_cast<::off_t>(at));
            (void)!::pwrite(out, bytes.data() + at, 1, static_cast<::off_t>(at));
        }
        ::close(out);
    });
    std::size_t fine = 0;
    for (int round = 0; round < 400; ++round) {
        const auto opened = ckpt::open(file.path(), {.io = modes[round % 2]});
        if (!opened) {
            CHECK(opened.error().code != errc::internal);
            continue;
        }
        const auto weights = opened->state_dict("");
        if (!weights) continue;
        for (const auto& [key, tensor] : *weights) {
            const auto crc = tensor.crc32();
            if (!crc) CHECK(crc.error().code != errc::internal);
            else ++fine;
        }
    }
    stop = true;
    writer.join();
    CHECK(fine > 0);
}
#endif

} // namespace hazards_test
