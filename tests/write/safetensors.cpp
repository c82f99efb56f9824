// tests/write/safetensors.cpp: the bytes of safetensors files, what the format cannot hold, ties, shards, stops.
//
// SPDX-License-Identifier: MIT
//
// What the reference package writes is compared with it in tests/torch/convert.py.
#include <ckpt/ckpt.hpp>
#include <ckpt/folder.hpp>
#include <ckpt/write.hpp>

#include "../support/named_floats.hpp"
#include "../support/temporary_file.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace safetensors_test {

using ckpt::errc;
using namespace test_support;

namespace {

/// The file that comes out.
std::string written(const ckpt::state_dict& weights, const ckpt::safetensors_options& options = {}) {
    const temporary_folder folder;
    const auto report = ckpt::write_safetensors(weights, folder.path() / "x.safetensors", options);
    if (!report) return "error " + std::string(ckpt::info(report.error().code).name);
    return read_file(folder.path() / "x.safetensors");
}
std::string header_of(const std::string& file) { return file.substr(8, static_cast<unsigned char>(file[0])); }

} // namespace

TEST_CASE("types in the order of the reference, keys in that of their bytes, spaces up to a multiple of 8") {
    using namespace pkl;
    const torch_weights in(
        dict({{str("z"), tensor(storage("FloatStorage", "0", 2), 0, {2}, {1})},
              {str("b"), tensor(storage("BoolStorage", "1", 1), 0, {}, {})},
              {str("a\"\\\n\x01\x7f\xc3\xa9"), tensor(storage("FloatStorage", "2", 0), 0, {0, 3}, {3, 1})},
              {str("i"), tensor(storage("LongStorage", "3", 1), 0, {1}, {1})}}),
        {{"0", raw(std::vector<float>{1, 2})},
         {"1", std::string(1, '\1')},
         {"2", ""},
         {"3", raw(std::vector<std::int64_t>{7})}});
    const std::string file = written(in.weights);
    const std::string header =
        R"({"i":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},)"
        "\"a\\\"\\\\\\n\\u0001\x7f\xc3\xa9\":"
        R"({"dtype":"F32","shape":[0,3],"data_offsets":[8,8]},)"
        R"("z":{"dtype":"F32","shape":[2],"data_offsets":[8,16]},"b":{"dtype":"BOOL","shape":[],"data_offsets":[16,17]}})";
    const std::string padded = header + std::string((8 - header.size() % 8) % 8, ' ');
    CHECK(file ==
          le64(padded.size()) + padded + raw(std::vector<std::int64_t>{7}) + raw(std::vector<float>{1, 2}) + '\1');
    CHECK(written(ckpt::open_bytes(bytes_of(file)).value().state_dict("").value()) == file);
}

TEST_CASE("strides, byte order, lazy bits, casts and rules are resolved on the way") {
    using namespace pkl;
    const std::vector<float> six{1, 2, 3, 4, 5, 6};
    const torch_weights in(dict({{str("t"), tensor(storage("FloatStorage", "0", 6), 0, {2, 3}, {1, 2})}}),
                           {{"0", raw(six)}});
    const std::string want = raw(std::vector<float>{1, 3, 5, 2, 4, 6});
    CHECK(written(in.weights).ends_with(want));
    const auto halves = ckpt::remap(in.weights, ckpt::key_map::parse("cast float64 t").value()).value();
    CHECK(written(halves).ends_with(raw(std::vector<double>{1, 3, 5, 2, 4, 6})));
    const auto cut = ckpt::remap(in.weights, ckpt::key_map::parse("narrow 1 1 2 t").value()).value();
    CHECK(written(cut).ends_with(raw(std::vector<float>{3, 5, 4, 6})));
}

TEST_CASE("a tied tensor is written once, and the metadata says for which keys, unless it is wanted twice") {
    using namespace pkl;
    const torch_weights in(dict({{str("w"), floats("0", 2)},
                                 {str("head"), floats("0", 2)},
                                 {str("half"), tensor(storage("FloatStorage", "0", 2), 1, {1}, {1})},
                                 {str("seen"), tensor(storage("FloatStorage", "0", 2), 0, {2, 1}, {1, 1})}}),
                           {{"0", raw(std::vector<float>{1, 2})}});
    const temporary_folder folder;
    const auto report =
        ckpt::write_safetensors(in.weights, folder.path() / "x.safetensors", {.metadata = {{"format", "pt"}}}).value();
    REQUIRE(report.shared.size() == 1);
    CHECK(report.shared[0].key == "w");
    CHECK(report.shared[0].same_as == "head");
    CHECK(report.tensors() == 3); // other views of the storage have values of their own
    const std::string file = read_file(folder.path() / "x.safetensors");
    CHECK(header_of(file).starts_with(R"({"__metadata__":{"format":"pt","w":"head"},)"));
    CHECK(report.bytes() == file.size());
    const std::string twice = written(in.weights, {.duplicate_shared = true});
    CHECK(header_of(twice).find("__metadata__") == std::string::npos);
    CHECK(ckpt::open_bytes(bytes_of(twice)).value().state_dict("").value().size() == 4);
    CHECK(written(in.weights, {.metadata = {{"w", "mine"}}}) == "error format_lacks");
}

TEST_CASE("what the format lacks is named, all of it by the plan, and may be left out by its key") {
    using namespace pkl;
    const torch_weights in(dict({{str("fine"), floats("0", 2)},
                                 {str("odd"), tensor(storage("ComplexDoubleStorage", "1", 1), 0, {1}, {1})},
                                 {str("bad"), floats("none", 2)}}),
                           {{"0", raw(std::vector<float>{1, 2})}, {"1", std::string(16, '\0')}});
    const auto plan = ckpt::plan_safetensors(in.weights, "x.safetensors").value();
    REQUIRE(plan.left_out.size() == 2);
    CHECK(plan.left_out[0].key == "odd");
    CHECK(plan.left_out[0].why.code == errc::format_lacks);
    CHECK(plan.left_out[0].why.path == "odd");
    CHECK(plan.left_out[0].why.message().find("complex128") != std::string::npos);
    CHECK(shows_a_rule(plan.left_out[0].why.hint));
    CHECK(plan.left_out[1].why.code == errc::record_missing);
    CHECK(!std::filesystem::exists("x.safetensors"));
    CHECK(written(in.weights) == "error format_lacks");
    CHECK(written(in.weights, {.allow_loss = {"odd"}}) == "error record_missing");
    const std::string file = written(in.weights, {.allow_loss = {"odd", "b*"}});
    CHECK(ckpt::open_bytes(bytes_of(file)).value().state_dict("").value().size() == 1);
}

TEST_CASE("keys and metadata that the format cannot hold") {
    using namespace pkl;
    const auto with_key = [](const std::string& key) {
        return written(torch_weights(dict({{str(key), floats("0", 1)}}), {{"0", raw(std::vector<float>{1})}}).weights);
    };
    CHECK(with_key("__metadata__") == "error format_lacks");
    CHECK(with_key("\xed\xa0\x80") == "error format_lacks"); // a surrogate
    CHECK(with_key("x").size() > 8);
    const named_floats one{{"x", {1}, {1}}};
    CHECK(written(one.weights(), {.metadata = {{"a", "\xff"}}}) == "error format_lacks");
    CHECK(written(one.weights(), {.metadata = {{"a", "b"}, {"a", "c"}}}) == "error format_lacks");
}

TEST_CASE("shards hold at most what was asked for, in the state_dict's order, and an index names them") {
    const named_floats in{{"a", {2}, {1, 2}}, {"b", {1}, {3}}, {"c", {4}, {4, 5, 6, 7}}, {"d\xc3\xa9", {1}, {8}}};
    const temporary_folder folder;
    const std::string out = (folder.path() / "m.safetensors").string();
    const auto report = ckpt::write_safetensors(in.weights(), out, {.max_shard_bytes = 12}).value();
    REQUIRE(report.files.size() == 4);
    // "c" is larger alone, and does not end the shard that was begun: a, b and then d would be 16 bytes.
    CHECK(report.files[0].path == (folder.path() / "m-00001-of-00003.safetensors").string());
    CHECK(report.files[0].tensors == 1);
    CHECK(report.files[1].tensors == 2);
    CHECK(report.files[2].tensors == 1);
    CHECK(read_file(out + ".index.json") == R"({
  "metadata": {
    "total_size": 32
  },
  "weight_map": {
    "a": "m-00002-of-00003.safetensors",
    "b": "m-00002-of-00003.safetensors",
    "c": "m-00001-of-00003.safetensors",
    "d\u00e9": "m-00003-of-00003.safetensors"
  }
}
)");
    CHECK(ckpt::write_safetensors(in.weights(), out, {.max_shard_bytes = 12}).error().code == errc::output_exists);
    CHECK(ckpt::plan_safetensors(in.weights(), out, {.max_shard_bytes = 16}).value().files.size() == 4);
    CHECK(ckpt::plan_safetensors(in.weights(), out, {.max_shard_bytes = 32}).value().files.size() == 1);
    CHECK(ckpt::plan_safetensors(in.weights(), out, {.max_shard_bytes = 31}).value().files.size() == 3);
}

TEST_CASE("a new set takes the place of an old one, of which only the files that its index names go") {
    const named_floats in{{"a", {2}, {1, 2}}, {"b", {1}, {3}}, {"c", {3}, {4, 5, 6}}, {"d", {2}, {7, 8}}};
    const temporary_folder folder;
    const auto path = [&](const char* name) { return (folder.path() / name).string(); };
    const auto names = [&] {
        std::vector<std::string> out;
        for (const auto& f : std::filesystem::directory_iterator(folder.path()))
            out.push_back(f.path().filename().string());
        std::sort(out.begin(), out.end());
        return out;
    };
    const auto write = [&](std::uint64_t most, bool overwrite) {
        return ckpt::write_safetensors(in.weights(), path("m.safetensors"),
                                       {.overwrite = overwrite, .max_shard_bytes = most});
    };
    write(12, false).value();
    const std::vector<std::string> three{"m-00001-of-00003.safetensors", "m-00002-of-00003.safetensors",
                                         "m-00003-of-00003.safetensors", "m.safetensors.index.json"};
    REQUIRE(names() == three);
    // What no index names, or is no shard of this name, is somebody else's.
    folder.add("m-00009-of-00009.safetensors", "other");
    folder.add("n-00001-of-00003.safetensors", "other");
    CHECK(write(31, false).error().code == errc::output_exists); // the index, before a byte is written
    CHECK(names().size() == 6);
    const auto plan = [&](std::uint64_t most, bool overwrite) {
        return ckpt::plan_safetensors(in.weights(), path("m.safetensors"),
                                      {.overwrite = overwrite, .max_shard_bytes = most});
    };
    CHECK(plan(20, false).value().removed.empty());
    CHECK(plan(0, true).value().removed.empty());
    const auto planned = plan(20, true).value().removed;
    CHECK(names().size() == 6);
    const auto report = write(20, true).value();
    CHECK(report.removed == planned);
    CHECK(report.removed ==
          std::vector<std::string>{path(three[0].c_str()), path(three[1].c_str()), path(three[2].c_str())});
    CHECK(names() == std::vector<std::string>{"m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors",
                                              "m-00009-of-00009.safetensors", "m.safetensors.index.json",
                                              "n-00001-of-00003.safetensors"});
    CHECK(write(20, true).value().removed.empty());
    // One file in the place of a set, and a set in the place of one file.
    CHECK(write(32, false).error().code == errc::output_exists);
    CHECK(write(32, true).value().removed.size() == 3);
    CHECK(names() ==
          std::vector<std::string>{"m-00009-of-00009.safetensors", "m.safetensors", "n-00001-of-00003.safetensors"});
    CHECK(write(20, false).error().code == errc::output_exists);
    CHECK(write(20, true).value().removed == std::vector<std::string>{path("m.safetensors")});
    // Without a size of shards a set that stands there is nobody's business.
    CHECK(write(0, false).value().removed.empty());
    CHECK(names().size() == 6);
    // An index that is none names nothing.
    folder.add("m.safetensors.index.json", "{\"weight_map\": {\"a\": 1}}");
    CHECK(write(12, true).value().removed == std::vector<std::string>{path("m.safetensors")});
}

TEST_CASE("an older file that the system does not remove is told apart, and the new ones are whole") {
    const named_floats in{{"a", {2}, {1, 2}}};
    const temporary_folder folder;
    const auto path = [&](const char* name) { return (folder.path() / name).string(); };
    const std::string folder_of_that_name = path("m-00001-of-00002.safetensors");
    std::filesystem::create_directory(folder_of_that_name);
    folder.add("m.safetensors.index.json", R"({"weight_map": {"a": "m-00001-of-00002.safetensors"}})");
    const auto report =
        ckpt::write_safetensors(in.weights(), path("m.safetensors"), {.overwrite = true, .max_shard_bytes = 100})
            .value();
    CHECK(report.removed == std::vector<std::string>{path("m.safetensors.index.json")});
    CHECK(report.not_removed == std::vector<std::string>{folder_of_that_name});
    CHECK(ckpt::open(path("m.safetensors")).value().state_dict("").value().contains("a"));
    std::filesystem::remove(folder_of_that_name);
}

TEST_CASE(
    "keys with backslashes, quotes, control characters and other alphabets stand in the index as json writes them") {
    const std::string key = "a\\b\"c\n\x01\xc3\xa9\xf0\x9f\x98\x80";
    using namespace pkl;
    const torch_weights in(dict({{str(key), tensor(storage("FloatStorage", "0", 1), 0, {1}, {1})},
                                 {str("z"), tensor(storage("FloatStorage", "1", 1), 0, {1}, {1})}}),
                           {{"0", raw(std::vector<float>{1})}, {"1", raw(std::vector<float>{2})}});
    const temporary_folder folder;
    ckpt::write_safetensors(in.weights, folder.path() / "m.safetensors", {.max_shard_bytes = 4}).value();
    CHECK(read_file(folder.path() / "m.safetensors.index.json")
              .find(R"("a\\b\"c\n\u0001\u00e9\ud83d\ude00": "m-00001-of-00002.safetensors")") != std::string::npos);
    const auto again = ckpt::open_folder((folder.path() / "m.safetensors.index.json").string()).value();
    CHECK(again.state_dict("").value().contains(key));
}

TEST_CASE("an empty state_dict is a file without tensors") {
    const named_floats none{};
    CHECK(written(none.weights()) == le64(8) + "{}      ");
}

TEST_CASE("progress counts the bytes of the tensors, and stops the call with nothing left behind") {
    const named_floats in{{"a", {2}, {1, 2}}, {"b", {1}, {3}}};
    const temporary_folder folder;
    const auto path = folder.path() / "x.safetensors";
    std::vector<ckpt::progress> seen;
    auto watch = [&seen](const ckpt::progress& p) {
        seen.push_back(p);
        return true;
    };
    REQUIRE(ckpt::write_safetensors(in.weights(), path, {.progress = watch}).has_value());
    REQUIRE(!seen.empty());
    CHECK(seen.back().done == 12);
    CHECK(seen.back().total == 12);
    auto stop = [](const ckpt::progress&) { return false; };
    CHECK(ckpt::write_safetensors(in.weights(), path, {.overwrite = true, .progress = stop}).error().code ==
          errc::cancelled);
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

#if !defined(_WIN32)
TEST_CASE("a source that is cut meanwhile is an error, and nothing is written") {
    const temporary_folder folder;
    folder.add("in.pt", torch_file(pkl::dict({{pkl::str("a"), pkl::floats("0", 5'000'000)}}),
                                   {{"0", std::string(20'000'000, 'x')}}));
    const auto file = ckpt::open(folder.path() / "in.pt", {.io = ckpt::io_mode::read}).value();
    const auto weights = file.state_dict().value();
    bool cut = false;
    auto cutting = [&](const ckpt::progress&) {
        if (!cut) std::filesystem::resize_file(folder.path() / "in.pt", 17'000'000);
        return cut = true;
    };
    const auto report = ckpt::write_safetensors(weights, folder.path() / "out.safetensors", {.progress = cutting});
    REQUIRE(!report);
    CHECK(report.error().code == errc::truncated);
    CHECK(report.error().path == "a");
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}
#endif

} // namespace safetensors_test
