// tests/write/numpy.cpp: arrays of numpy, alone and in archives.
//
// SPDX-License-Identifier: MIT
//
// What numpy reads and writes is compared in tests/torch/convert.py.
#include <ckpt/archive/zip_directory.hpp>
#include <ckpt/archive/zip_verify.hpp>
#include <ckpt/ckpt.hpp>
#include <ckpt/write.hpp>
#include <ckpt/write/zip_writer.hpp>

#include "../support/named_floats.hpp"
#include "../support/temporary_file.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace numpy_test {

using ckpt::errc;
using namespace test_support;

namespace {

/// The bytes of what a writer makes, or the name of its error.
template <class Write>
std::string written(const ckpt::state_dict& weights, Write write, const ckpt::numpy_options& options = {}) {
    const temporary_folder folder;
    const auto report = write(weights, folder.path() / "x", options);
    if (!report) return "error " + std::string(ckpt::info(report.error().code).name);
    const std::string bytes = read_file(folder.path() / "x");
    CHECK(report->bytes() == bytes.size());
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
    return bytes;
}

ckpt::state_dict with_key(const std::string& key) {
    static std::vector<std::string> files;
    files.push_back(torch_file(pkl::dict({{pkl::str(key), pkl::floats("0", 1)}}), {{"0", raw(std::vector<float>{1})}}));
    return ckpt::open_bytes(bytes_of(files.back())).value().state_dict("").value();
}

const auto npz = [](const auto&... words) { return ckpt::write_npz(words...); };
const auto npy = [](const auto&... words) { return ckpt::write_npy(words...); };

} // namespace

TEST_CASE("an array is a header of numpy's, filled up to 64 bytes, and its elements") {
    const named_floats one{{"x", {2, 3}, {1, 2, 3, 4, 5, 6}}};
    const std::string text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
    const std::string want = std::string("\x93NUMPY\1\0v\0", 10) + text + std::string(117 - text.size(), ' ') + '\n' +
                             raw(std::vector<float>{1, 2, 3, 4, 5, 6});
    CHECK(written(one.weights(), npy) == want);
    const named_floats scalar{{"x", {}, {7}}}, row{{"x", {1}, {7}}}, none{{"x", {0, 5}, {}}};
    CHECK(written(scalar.weights(), npy).find("'shape': (), }") != std::string::npos);
    CHECK(written(row.weights(), npy).find("'shape': (1,), }") != std::string::npos);
    CHECK(written(none.weights(), npy).size() == 128);
    const named_floats two{{"x", {1}, {7}}, {"y", {1}, {7}}}, nothing{};
    CHECK(written(two.weights(), npy) == "error format_lacks");
    CHECK(written(nothing.weights(), npy) == "error format_lacks");
}

TEST_CASE("an archive has an array for each key, tied ones too") {
    using namespace pkl;
    const std::string file = torch_file(dict({{str("a"), floats("0", 2)}, {str("b/c"), floats("0", 2)}}),
                                        {{"0", raw(std::vector<float>{1, 2})}});
    const auto weights = ckpt::open_bytes(bytes_of(file)).value().state_dict("").value();
    const std::string bytes = written(weights, npz);
    const auto from = ckpt::detail::source::memory(bytes_of(bytes)).value();
    ckpt::detail::arena memory;
    const auto archive = ckpt::detail::zip_archive::read(*from, {}, memory).value();
    REQUIRE(archive.records().size() == 2);
    CHECK(archive.records()[0].name == "a.npy");
    CHECK(archive.records()[1].name == "b/c.npy");
    ckpt::detail::progress_meter meter;
    const auto found = [](void*, const ckpt::error& e) { FAIL_CHECK(e.message()); };
    const auto check = ckpt::detail::verify_zip(*from, archive, {}, meter, found, nullptr);
    CHECK(check.records == 2);
    CHECK(check.bytes == 2 * (128 + 8));
}

TEST_CASE("dtypes that numpy lacks are refused, or written as their bits") {
    const named_floats one{{"x", {1}, {1}}};
    for (const char* type : {"bfloat16", "float8_e5m2", "float8_e4m3fn"}) {
        CAPTURE(type);
        const auto weights =
            ckpt::remap(one.weights(), ckpt::key_map::parse("cast " + std::string(type) + " x").value()).value();
        CHECK(written(weights, npy) == "error format_lacks");
        CHECK(shows_a_rule(ckpt::plan_npz(weights, "x").value().left_out.at(0).why.hint));
        const std::string bits = written(weights, npy, {.raw = true});
        CHECK(bits.find(std::string_view(type) == "bfloat16" ? "'<u2'" : "'|u1'") != std::string::npos);
        CHECK(written(weights, npz, {.allow_loss = {"x"}}).size() == 22); // an archive without records
    }
}

TEST_CASE("keys that name no record") {
    CHECK(written(with_key(std::string("a\0b", 3)), npz) == "error format_lacks");
    CHECK(written(with_key("\xed\xa0\x80"), npz) == "error format_lacks");
    CHECK(written(with_key(std::string(65'531, 'k')), npz).size() > 65'531);
    CHECK(written(with_key(std::string(65'532, 'k')), npz) == "error format_lacks");
    CHECK(written(with_key(std::string("a\0b", 3)), npy).size() == 132); // an array alone has no name
}

TEST_CASE("keys that numpy.load takes for one are refused in an archive") {
    const named_floats two{{"a.b", {1}, {1}}, {"a.b.npy", {1}, {2}}}, other{{"a.npy", {1}, {1}}, {"a.npz", {1}, {2}}};
    CHECK(written(two.weights(), npz) == "error format_lacks");
    CHECK(ckpt::plan_npz(two.weights(), "x").error().detail.find("\"a.b.npy\"") != std::string::npos);
    CHECK(!written(other.weights(), npz).starts_with("error"));
}

TEST_CASE("sizes and places of 32 bits have their ZIP64 field, at the limit and one below it") {
    using ckpt::detail::zip_size;
    constexpr std::uint64_t full = 0xFFFF'FFFF;
    const auto bytes = [](std::uint64_t first) {
        zip_size out;
        out.add(1, first);
        out.add(1, 5);
        return out.bytes() - first;
    };
    const std::uint64_t plain = 2 * (30 + 1 + 16 + 46 + 1) + 5 + 22;
    CHECK(bytes(0) == plain);
    // The directory begins behind the first payload, its header (31) and what follows it (16), and the second
    // (31+5+16).
    CHECK(bytes(full - 47 - 52 - 1) == plain);
    CHECK(bytes(full - 47 - 52) == plain + 56 + 20); // the directory's place
    CHECK(bytes(full - 47) == plain + 56 + 20 + 12); // the second record's place
    CHECK(bytes(full - 1) == plain + 56 + 20 + 12);
    CHECK(bytes(full) == plain + 56 + 20 + 12 + 20 + 8 + 20); // the first one's size
    zip_size many;
    for (int i = 0; i < 0xFFFE; ++i) many.add(1, 0);
    const std::uint64_t below = many.bytes();
    many.add(1, 0);
    CHECK(many.bytes() == below + 47 + 47 + 56 + 20);
}

#if !defined(_WIN32)
TEST_CASE("an archive beyond 4 GiB reads back, and has the size that was planned") {
    // A sparse source, so that nothing of it is on the disk; the output would be, so only its size is asked for.
    const temporary_folder folder;
    const std::uint64_t large = (std::uint64_t{1} << 32) + 8;
    const std::string header = "{" + safetensors_entry("a", "U8", "[" + std::to_string(large) + "]", 0, large) + "," +
                               safetensors_entry("b", "U8", "[1]", large, large + 1) + "}";
    temporary_file sparse;
    sparse.write_sparse({{0, le64(header.size()) + header}, {8 + header.size() + large, "x"}});
    const auto file = ckpt::open(sparse.path(), {.io = ckpt::io_mode::read}).value();
    const auto report = ckpt::plan_npz(file.state_dict("").value(), "x").value();
    CHECK(report.bytes() > large);
    CHECK(report.tensors() == 2);
}
#endif

} // namespace numpy_test
