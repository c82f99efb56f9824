// tests/checkpoint/workers.cpp: several threads give the same results as one.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/state/diff.hpp>
#include <ckpt/state/digests.hpp>
#include <ckpt/threads.hpp>

#include "../support/inflate.hpp"
#include "../support/temporary_file.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

namespace workers_test {

namespace fs = std::filesystem;
using ckpt::errc;
using namespace test_support;

namespace {

constexpr std::int64_t count = 1'500'000; // of float32: 5.7 MiB, three pieces of a crew

std::vector<zip_member> members() {
    static const std::vector<zip_member> made = [] {
        using namespace pkl;
        std::string bytes(4 * count, 'x');
        for (std::size_t i = 0; i < bytes.size(); i += 1021) bytes[i] = static_cast<char>(i);
        return torch_records(
            pickle(dict({{str("first"), tensor(storage("FloatStorage", "0", count), 0, {count}, {1})},
                         {str("small"), floats("1", 2)},
                         {str("second"), tensor(storage("FloatStorage", "2", count), 0, {count}, {1})},
                         {str("turned"), tensor(storage("FloatStorage", "3", 6), 0, {3, 2}, {1, 3})}})),
            {{"0", bytes}, {"1", raw<float>({1, 2})}, {"2", bytes}, {"3", raw<float>({1, 2, 3, 4, 5, 6})}});
    }();
    return made;
}
zip_file sound() {
    static const zip_file made = write_zip(members());
    return made;
}

std::string text_of(const ckpt::verify_report& report) {
    std::string out = std::to_string(report.records) + ' ' + std::to_string(report.bytes) + ' ' +
                      std::to_string(report.unchecked_crc) + '\n';
    for (const ckpt::error& e : report.findings) out += e.message() + '\n';
    return out;
}

/// The report of a file, which must not depend on the number of threads.
std::string checked(const ckpt::checkpoint& file) {
    const std::string one = text_of(file.verify());
    for (const unsigned n : {1u, 2u, 3u, 8u}) CHECK(text_of(file.verify({.workers = ckpt::threads(n)})) == one);
    return one;
}
std::string checked(const std::string& bytes, const ckpt::open_options& options = {}) {
    return checked(ckpt::open_bytes(bytes_of(bytes), options).value());
}

/// Threads that are promised and do not come.
ckpt::workers absent() {
    return {4, [](void*, unsigned, void (*work)(void*, unsigned), void* argument) { work(argument, 0); }, nullptr};
}

} // namespace

TEST_CASE("workers: a sound file, and damage in the first, a middle and the last piece of a record") {
    CHECK(checked(sound().bytes).find("CRC") == std::string::npos);
    for (const std::size_t record : {2u, 4u})
        for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{3'000'000}, std::uint64_t{4 * count - 1}}) {
            zip_file bad = sound();
            bad.put(bad.payload[record] + at, "\1");
            const std::string report = checked(bad.bytes);
            CHECK(report.find("checksum_mismatch") != std::string::npos);
            CHECK(report.find("archive/data/" + std::to_string(record - 2)) != std::string::npos);
        }
}

TEST_CASE("workers: several faults come in the order of the records") {
    zip_file bad = sound();
    bad.put(bad.payload[2], "\1");
    bad.put(bad.local[3], "XX"); // a header
    bad.put(bad.payload[4] + 5'000'000, "\1");
    const std::string report = checked(bad.bytes);
    const auto first = report.find("archive/data/0"), second = report.find("archive/data/1"),
               third = report.find("archive/data/2");
    CHECK(first < second);
    CHECK(second < third);
    CHECK(third != std::string::npos);
}

TEST_CASE("workers: as many records as are taken at a time, and one more") {
    for (const std::size_t n : {std::size_t{1023}, std::size_t{1024}, std::size_t{1025}}) {
        std::vector<zip_member> many = torch_records(pkl::pickle(pkl::num(1)), {});
        while (many.size() < n) many.push_back({"archive/more/" + std::to_string(many.size()), "some bytes"});
        zip_file zip = write_zip(many);
        CHECK(checked(zip.bytes).find(std::to_string(many.size()) + ' ') == 0);
        zip.put(zip.payload.back(), "S");
        CHECK(checked(zip.bytes).find(many.back().name) != std::string::npos);
    }
}

TEST_CASE("workers: a file that was cut after it was opened") {
    const temporary_file file{sound().bytes};
    const auto opened = ckpt::open(file.path(), {.io = ckpt::io_mode::read}).value();
    fs::resize_file(file.path(), sound().payload[4] + 3'000'000);
    CHECK(checked(opened).find("truncated") != std::string::npos);
}

TEST_CASE("workers: threads that do not come, or more than there is work for") {
    const zip_file whole = sound();
    const auto file = ckpt::open_bytes(bytes_of(whole.bytes)).value();
    CHECK(text_of(file.verify({.workers = absent()})) == text_of(file.verify()));
    CHECK(text_of(file.verify({.workers = ckpt::threads(100)})) == text_of(file.verify()));
    CHECK(text_of(file.verify({.workers = {.count = 7}})) == text_of(file.verify()));
    CHECK(ckpt::threads().count >= 1);
    CHECK(ckpt::threads(3).count == 3);
}

TEST_CASE("workers: only the calling thread tells the progress, and stops them all") {
    const temporary_file path{sound().bytes};
    const auto file = ckpt::open(path.path(), {.io = ckpt::io_mode::read}).value();
    const auto caller = std::this_thread::get_id();
    std::uint64_t last = 0, total = 0;
    const auto tell = [&](const ckpt::progress& p) {
        CHECK(std::this_thread::get_id() == caller);
        CHECK(p.done > last);
        last = p.done;
        total = p.total;
        return true;
    };
    CHECK(file.verify({.workers = ckpt::threads(3), .progress = tell}).ok());
    CHECK(last == total);
    CHECK(total == file.file_bytes());
    int calls = 0;
    const auto stop = [&](const ckpt::progress&) { return ++calls < 1; };
    const auto report = file.verify({.workers = ckpt::threads(3), .progress = stop});
    CHECK(calls == 1);
    REQUIRE(report.findings.size() == 1);
    CHECK(report.findings[0].code == errc::cancelled);
}

TEST_CASE("workers: digests of every kind of tensor are those of crc32") {
    std::size_t strided = 0, others = 0;
    for (const auto& entry : fs::recursive_directory_iterator(CKPT_TEST_DATA)) {
        if (!entry.is_regular_file() ||
            (entry.path().extension() != ".pt" && entry.path().extension() != ".safetensors"))
            continue;
        for (const auto io : {ckpt::io_mode::map, ckpt::io_mode::read}) {
            const auto file = ckpt::open<ckpt::inspect_policy>(entry.path(), {.io = io, .inflate = test_inflater()});
            if (!file) continue;
            const auto found = ckpt::find_tensors(file->root());
            if (!found) continue;
            std::vector<ckpt::tensor> tensors;
            for (const auto& t : *found) tensors.push_back(t.tensor);
            const auto sums = ckpt::digests(tensors, {.workers = ckpt::threads(2)});
            REQUIRE(sums.size() == tensors.size());
            for (std::size_t i = 0; i < sums.size(); ++i) {
                const auto one = tensors[i].crc32();
                ++(one ? strided : others);
                REQUIRE(one.has_value() == sums[i].has_value());
                if (one) CHECK(*one == *sums[i]);
                else CHECK(one.error().code == sums[i].error().code);
            }
        }
    }
    CHECK(strided > 1000);
    CHECK(others > 10);
}

TEST_CASE("workers: differences do not depend on the number of threads") {
    const zip_file one = sound();
    zip_file other = sound();
    other.put(other.payload[2] + 4'000'000, "\1\2\3");
    other.put(other.payload[5] + 4, "\1");
    const auto a = ckpt::open_bytes(bytes_of(one.bytes)).value();
    const auto b = ckpt::open_bytes(bytes_of(other.bytes)).value();
    for (const unsigned n : {1u, 2u, 3u}) {
        const auto found =
            ckpt::diff(a.state_dict("").value(), b.state_dict("").value(), {.workers = ckpt::threads(n)});
        CHECK(found.equal == 2);
        REQUIRE(found.changed.size() == 2);
        CHECK(found.changed[0].key == "first");
        CHECK(found.changed[0].distance->different == 1);
        CHECK(found.changed[1].key == "turned");
    }
}

TEST_CASE("workers: the digest of a state_dict from the sums of its tensors, and a digest that is stopped") {
    const zip_file whole = sound();
    const auto file = ckpt::open_bytes(bytes_of(whole.bytes)).value();
    const auto weights = file.state_dict("").value();
    std::vector<ckpt::tensor> tensors;
    for (const auto entry : weights) tensors.push_back(entry.tensor);
    std::vector<std::uint32_t> sums;
    for (const auto& sum : ckpt::digests(tensors, {.workers = ckpt::threads(2)})) sums.push_back(sum.value());
    CHECK(ckpt::checkpoint_digest(weights, sums) == ckpt::checkpoint_digest(weights).value());
    const auto stop = [](const ckpt::progress&) { return false; };
    const auto stopped = ckpt::digests(tensors, {.workers = ckpt::threads(2), .progress = stop});
    REQUIRE(stopped.size() == tensors.size());
    CHECK(stopped.back().error().code == errc::cancelled);
}

} // namespace workers_test
