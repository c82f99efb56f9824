// tests/folder/dcp.cpp: distributed checkpoints of PyTorch: chunks of every arrangement, nested values, and what can be
// wrong.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/core/digest.hpp>
#include <ckpt/folder.hpp>

#include "../support/bytes_read.hpp"
#include "../support/dcp_writer.hpp"
#include "../support/folder_findings.hpp"
#include "../support/safetensors_writer.hpp"
#include "../support/temporary_file.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace dcp_test {

using ckpt::errc;
using namespace test_support;

namespace {

const char* const other_file = "__1_0.distcp";

/// Whether a tensor has its row-major numbers as values; by a copy of all, and by the digest in parts.
bool counts(const ckpt::tensor& t) {
    std::vector<float> values(t.numel());
    if (!t.copy_to(std::span(values))) return false;
    for (std::size_t i = 0; i < values.size(); ++i)
        if (values[i] != static_cast<float>(i)) return false;
    return t.crc32().value() == ckpt::detail::crc32(bytes_of(raw(values)));
}

std::string findings(const dcp_writer& of) { return findings(temporary_folder(of.files())); }

} // namespace

TEST_CASE("chunks become one tensor: rows, columns, grids, and boxes that no cut divides") {
    dcp_writer out;
    out.tensor("rows", {5, 3}, {{{2, 0}, {2, 3}, other_file}, {{0, 0}, {2, 3}}, {{4, 0}, {1, 3}}});
    out.tensor("columns", {3, 5}, {{{0, 0}, {3, 1}}, {{0, 1}, {3, 4}, other_file}});
    out.tensor("grid", {5, 7},
               {{{0, 0}, {3, 4}}, {{0, 4}, {3, 3}, other_file}, {{3, 0}, {2, 4}}, {{3, 4}, {2, 3}, other_file}});
    out.tensor("pinwheel", {3, 3},
               {{{0, 0}, {1, 2}}, {{0, 2}, {2, 1}}, {{2, 1}, {1, 2}}, {{1, 0}, {2, 1}}, {{1, 1}, {1, 1}, other_file}});
    out.tensor(
        "cube", {2, 3, 4},
        {{{0, 0, 0}, {2, 3, 2}}, {{0, 0, 2}, {1, 3, 2}}, {{1, 0, 2}, {1, 1, 2}}, {{1, 1, 2}, {1, 2, 2}, other_file}});
    out.tensor("whole", {2, 2}, {{{0, 0}, {2, 2}}});
    out.tensor("scalar", {}, {{{}, {}}});
    out.tensor("few", {2}, {{{0}, {1}}, {{1}, {1}, other_file}, {{2}, {0}, other_file}});
    out.tensor("empty", {0, 3}, {{{0, 0}, {0, 3}}});
    const temporary_folder folder(out.files());
    for (const ckpt::open_options& options : {ckpt::open_options{}, ckpt::open_options{.io = ckpt::io_mode::read},
                                              ckpt::open_options{.storages = ckpt::storage_mode::owned}}) {
        const auto file = ckpt::open_folder(folder.path(), options);
        REQUIRE_MESSAGE(file.has_value(), file.error().message());
        CHECK(file->container() == "dcp");
        CHECK(file->files() == std::vector<std::string>{".metadata", "__0_0.distcp", "__1_0.distcp"});
        const auto weights = file->state_dict().value();
        CHECK(weights.size() == 9);
        for (const auto& [key, tensor] : weights) {
            const std::string name(key);
            CAPTURE(name);
            CHECK(counts(tensor));
            CHECK_FALSE((options.storages == ckpt::storage_mode::mapped && tensor.file().empty()));
        }
        CHECK(file->verify().ok());
    }
    const auto kept = ckpt::open_folder(folder.path()).value().state_dict().value();
    CHECK(kept.at("whole").value().bytes().has_value()); // one chunk is seen where it lies
    CHECK(kept.at("grid").value().bytes().error().code == errc::needs_copy);
    CHECK(counts(kept.at("grid").value()));
}

TEST_CASE("keys are nested as planner_data says, and what is no tensor is a value") {
    dcp_writer out;
    out.tensor("model.w", {2}, {{{0}, {2}}});
    out.object("list.1.b", pkl::tuple({pkl::num(7), pkl::str("x"),
                                       pkl::dict({{pkl::str("k"), pkl::list({pkl::none, pkl::real(0.5)})}})}));
    out.tensor("list.0", {1}, {{{0}, {1}}});
    out.object("epoch", pkl::num(300), other_file);
    out.object("with_tensor", pkl::list({pkl::str("s")}));
    out.path("model.w", pkl::tuple({pkl::str("model"), pkl::str("w")}));
    out.path("list.1.b", pkl::tuple({pkl::str("list"), pkl::num(1), pkl::str("b")}));
    out.path("list.0", pkl::tuple({pkl::str("list"), pkl::num(0)}));
    const temporary_folder folder(out.files());
    const auto file = ckpt::open_folder(folder.path()).value();
    const auto weights = file.state_dict().value();
    CHECK(weights.path() == "model");
    CHECK(counts(weights.at("w").value()));
    const ckpt::value root = file.root();
    CHECK(root.find("epoch").value().as_int().value() == 300);
    CHECK(root.find("list").value().kind() == ckpt::kind::list);
    CHECK(counts(root.find("list/0").value().as_tensor().value()));
    CHECK(root.find("list/1/b").value().kind() == ckpt::kind::tuple);
    CHECK(root.find("list/1/b/2/k/1").value().as_real().value() == 0.5);
    CHECK(root.find("list/1/b/1").value().as_string().value() == "x");
}

TEST_CASE("planner_data that contradicts itself or claims huge lists") {
    const auto with = [](const std::string& a, const std::string& b) {
        dcp_writer out;
        out.object("a", pkl::num(1));
        out.object("b", pkl::num(2));
        out.path("a", a);
        out.path("b", b);
        return findings(out);
    };
    const std::string same = ".metadata: planner_data puts \"b\" where another entry is, or too deep\n";
    CHECK(with(pkl::tuple({pkl::str("x")}), pkl::tuple({pkl::str("x")})) == same);
    CHECK(with(pkl::tuple({pkl::str("x")}), pkl::tuple({pkl::str("x"), pkl::str("y")})) == same);
    CHECK(with(pkl::tuple({pkl::str("x"), pkl::str("y")}), pkl::tuple({pkl::str("x"), pkl::num(0)})) == same);
    CHECK(with(pkl::tuple({pkl::str("x")}), ")") == same);
    CHECK(with(pkl::tuple({pkl::str("x")}), pkl::tuple({pkl::num(0)})) == same);
    CHECK(with(pkl::tuple({pkl::str("x")}), pkl::tuple({pkl::str("y"), pkl::num(-1)})) == same);
    CHECK(with(pkl::tuple({pkl::str("x")}), pkl::tuple({pkl::str("y"), pkl::num(1'000'000'000'000)})) == same);
    CHECK(with(pkl::tuple({pkl::str("x")}), pkl::tuple({pkl::str("y"), pkl::num(3)})).empty()); // as torch: None before
}

TEST_CASE("gaps, overlaps and chunks outside are told with a place") {
    using chunks = std::vector<dcp_writer::chunk>;
    const auto with = [](const numbers& shape, const chunks& list) {
        dcp_writer out;
        out.tensor("w", shape, list);
        return findings(out);
    };
    CHECK(with({4}, {{{0}, {2}}, {{3}, {1}}}) == ".metadata: no chunk of \"w\" has the element at [2]\n");
    CHECK(with({4}, {{{0}, {3}}, {{2}, {2}}}) == ".metadata: 2 chunks of \"w\" have the element at [2]\n");
    CHECK(with({4}, {{{1}, {3}}}) == ".metadata: no chunk of \"w\" has the element at [0]\n");
    CHECK(with({2, 2}, {{{0, 0}, {1, 2}}, {{1, 1}, {1, 1}}}) ==
          ".metadata: no chunk of \"w\" has the element at [1, 0]\n");
    CHECK(with({2, 2}, {{{0, 0}, {2, 1}}, {{0, 1}, {1, 1}}, {{1, 0}, {1, 1}}}) ==
          ".metadata: 2 chunks of \"w\" have the element at [1, 0]\n"); // as many elements as there should be
    CHECK(with({4}, {}) == ".metadata: the tensor \"w\" of [4] has no chunks\n");
    CHECK(with({4}, {{{0}, {4}}, {{4}, {1}}}) ==
          ".metadata: a chunk of \"w\" at [4] of [1] lies outside the tensor, [4]\n");
    CHECK(with({4}, {{{0}, {4}}, {{5}, {0}}}).find("lies outside") != std::string::npos);
    CHECK(with({4}, {{{9223372036854775807}, {1}}}).find("lies outside") != std::string::npos);
    CHECK(with({4}, {{{0, 0}, {4, 1}}}).find("lies outside") != std::string::npos);
    CHECK(with({4}, {{{0}, {4}}, {{0}, {4}}}) == ".metadata: two items are the chunk of \"w\" at [0]\n");
}

TEST_CASE("corners along many dimensions are refused instead of counted") {
    dcp_writer out;
    const numbers shape(30, 2), ones(30, 1);
    std::string list = "](" +
                       pkl::object("torch.distributed.checkpoint.metadata", "ChunkStorageMetadata",
                                   pkl::dict({{pkl::str("offsets"), dcp_writer::size(numbers(30, 0))},
                                              {pkl::str("sizes"), dcp_writer::size(ones)}})) +
                       'e';
    out.describe("w", shape, list);
    out.place("w", dcp_writer::size(numbers(30, 0)), "__0_0.distcp", dcp_writer::item({0}, ones));
    CHECK(findings(out) == ".metadata: the chunks of \"w\" are cut along 30 dimensions, too many to check\n");
}

TEST_CASE("places: short items, places outside, names that leave the folder, missing files, what belongs to nothing") {
    const auto chunk = [](const std::string& offsets, const std::string& sizes) {
        return "](" +
               pkl::object("torch.distributed.checkpoint.metadata", "ChunkStorageMetadata",
                           pkl::dict({{pkl::str("offsets"), offsets}, {pkl::str("sizes"), sizes}})) +
               'e';
    };
    const std::string zero = dcp_writer::size({0}), four = dcp_writer::size({4});
    const std::string item = dcp_writer::item({0, 1, 2, 3}, {4});
    const auto with = [&](const std::string& file, std::int64_t offset_by, std::int64_t length_by) {
        dcp_writer out;
        out.describe("w", {4}, chunk(zero, four));
        out.place("w", zero, file, item, offset_by, length_by);
        return out;
    };
    const std::string size = std::to_string(item.size());
    CHECK(findings(with("a", 0, 0)).empty());
    CHECK(findings(with("a", 1, 0)) ==
          "a: the chunk of \"w\" at [0] of [4] is to be at byte 1, " + size + " bytes; the file has " + size + "\n");
    CHECK(findings(with("a", 0, 1)).find("is to be at byte 0") != std::string::npos);
    CHECK(ckpt::inspect_folder(temporary_folder(with("a", 1, 0).files()).path()).value().findings.at(0).hint ==
          "get the file again, whole; folder_options::partial opens what is there");
    CHECK(findings(with("a", 0, 3 - static_cast<std::int64_t>(item.size()))) ==
          "a: the chunk of \"w\" at [0] of [4] needs 16 bytes, its item has 3\n");
    CHECK(findings(with("a", -1, 0)) == ".metadata: the place of an item of \"w\" has no offset and length\n");
    for (const char* const name : {"/etc/passwd", "../a", "a/../../b", "", "a//b", "C:\\a", "a/", "."}) {
        dcp_writer out;
        out.describe("w", {4}, chunk(zero, four));
        out.place("w", zero, name, {});
        auto files = out.files();
        files.resize(1);
        const auto error = ckpt::open_folder(temporary_folder(files).path()).error();
        CHECK(error.code == errc::shards_inconsistent);
        CHECK(error.detail.find("is in a file outside the folder") != std::string::npos);
    }
    dcp_writer surplus = with("a", 0, 0);
    surplus.place("v", zero, "a", item);
    CHECK(findings(surplus) == ".metadata: 1 items belong to no tensor: the chunk of \"v\" at [0]\n");
    dcp_writer unplaced;
    unplaced.describe("w", {4}, chunk(zero, four));
    CHECK(findings(unplaced) == ".metadata: the chunk of \"w\" at [0] of [4] has no place in storage_data\n");
    dcp_writer compressed;
    compressed.describe("w", {4}, chunk(zero, four));
    compressed.place("w", zero, "a", item, 0, 0, pkl::tuple({pkl::str("stream.zstd/1")}));
    const auto squeezed = ckpt::open_folder(temporary_folder(compressed.files()).path());
    CHECK(squeezed.has_value() == false);
    CHECK(squeezed.error().detail.find("stream.zstd/1") != std::string::npos);
}

TEST_CASE("a missing file is told, and with partial it costs only its tensors") {
    dcp_writer out;
    out.tensor("a", {4}, {{{0}, {2}}, {{2}, {2}, other_file}});
    out.tensor("b", {2}, {{{0}, {2}}});
    out.object("c", pkl::num(1), other_file);
    const temporary_folder folder(out.files());
    folder.remove(other_file);
    const auto report = ckpt::inspect_folder(folder.path()).value();
    REQUIRE(report.findings.size() == 3);
    CHECK(report.findings[0].file == other_file);
    CHECK(report.findings[0].detail.find("which holds 2 items") != std::string::npos);
    CHECK(report.findings[1].detail.find("the chunk of \"a\" at [2] of [2]") != std::string::npos);
    CHECK(ckpt::open_folder(folder.path()).error().code == errc::shards_inconsistent);
    const ckpt::folder_options partial{.partial = true};
    const auto some = ckpt::inspect_folder(folder.path(), {}, partial).value();
    CHECK(some.findings.empty());
    REQUIRE(some.absent.size() == 3);
    CHECK(some.absent[1].path == "a");
    const auto file = ckpt::open_folder(folder.path(), {}, partial).value();
    const auto weights = file.state_dict().value();
    CHECK(weights.refused() == 2);
    CHECK(weights.at("a").error().code == errc::shards_inconsistent);
    CHECK(weights.at("a").error().detail.find("at [2] of [2]") != std::string::npos);
    CHECK(counts(weights.at("b").value()));
    CHECK_FALSE(file.verify().ok());
}

TEST_CASE("an item that is another than .metadata says fails where it is read, and verify finds it") {
    const auto chunk = "](" +
                       pkl::object("torch.distributed.checkpoint.metadata", "ChunkStorageMetadata",
                                   pkl::dict({{pkl::str("offsets"), dcp_writer::size({0})},
                                              {pkl::str("sizes"), dcp_writer::size({4})}})) +
                       'e';
    const auto read = [&](const std::string& bytes) {
        dcp_writer out;
        out.describe("w", {4}, chunk);
        out.place("w", dcp_writer::size({0}), "a", bytes);
        const temporary_folder folder(out.files());
        const auto file = ckpt::open_folder(folder.path()).value();
        CHECK_FALSE(file.verify().ok());
        const auto weights = file.state_dict().value();
        float values[4];
        const auto copied = weights.at("w").value().copy_to(std::span(values));
        REQUIRE_FALSE(copied.has_value());
        CHECK(copied.error().file == "a");
        return copied.error().detail;
    };
    CHECK(read(dcp_writer::item({0, 1, 2, 3, 4}, {5})) ==
          "the item is a tensor of float32, shape [5], .metadata says float32, [4]");
    CHECK(read(dcp_writer::item({0, 1, 2, 3}, {2, 2})).find("shape [2, 2]") != std::string::npos);
    CHECK(read(torch_file(pkl::str("no tensor"))) == "the item is no tensor but a str");
    CHECK(read(torch_file(pkl::tensor(pkl::storage("IntStorage", "0", 4), 0, {4}, {1}),
                          {{"0", raw<float>({0, 1, 2, 3})}}))
              .find("tensor of int32") != std::string::npos);
    CHECK_FALSE(read(std::string(100, 'x')).empty());
}

TEST_CASE("chunks of a quantised dtype cost only their own key") {
    dcp_writer out;
    out.tensor("w", {2}, {{{0}, {2}}});
    out.describe("q", {4},
                 "](" +
                     pkl::object("torch.distributed.checkpoint.metadata", "ChunkStorageMetadata",
                                 pkl::dict({{pkl::str("offsets"), dcp_writer::size({0})},
                                            {pkl::str("sizes"), dcp_writer::size({4})}})) +
                     'e',
                 "quint8");
    out.place("q", dcp_writer::size({0}), "a", std::string(64, 'x'));
    const temporary_folder folder(out.files());
    const auto file = ckpt::open_folder(folder.path());
    REQUIRE_MESSAGE(file.has_value(), file.error().message());
    const auto weights = file->state_dict().value();
    CHECK(weights.at("q").error().code == errc::unsupported_tensor);
    CHECK(counts(weights.at("w").value()));
}

TEST_CASE("chunks with strides or in the other byte order come out right") {
    dcp_writer out;
    const auto chunk = [](const numbers& sizes) {
        return "](" +
               pkl::object("torch.distributed.checkpoint.metadata", "ChunkStorageMetadata",
                           pkl::dict({{pkl::str("offsets"), dcp_writer::size(numbers(sizes.size(), 0))},
                                      {pkl::str("sizes"), dcp_writer::size(sizes)}})) +
               'e';
    };
    out.describe("t", {2, 3}, chunk({2, 3}));
    out.place("t", dcp_writer::size({0, 0}), "a",
              torch_file(pkl::tensor(pkl::storage("FloatStorage", "0", 6), 0, {2, 3}, {1, 2}),
                         {{"0", raw<float>({0, 3, 1, 4, 2, 5})}}));
    std::string swapped = raw<float>({0, 1, 2, 3});
    for (std::size_t i = 0; i < swapped.size(); i += 4)
        std::swap(swapped[i], swapped[i + 3]), std::swap(swapped[i + 1], swapped[i + 2]);
    out.describe("b", {4}, chunk({4}));
    out.place("b", dcp_writer::size({0}), "a",
              torch_file(pkl::floats("0", 4), {{"0", swapped}}, {.byte_order = "big"}));
    const temporary_folder folder(out.files());
    for (const ckpt::io_mode io : {ckpt::io_mode::map, ckpt::io_mode::read}) {
        const auto weights = ckpt::open_folder(folder.path(), {.io = io}).value().state_dict().value();
        CHECK(counts(weights.at("t").value()));
        CHECK(counts(weights.at("b").value()));
        for (const char* const key : {"t", "b"})
            CHECK(weights.at(key).value().file_offset().error().code ==
                  errc::no_data); // what lies there is no row-major tensor
    }
}

TEST_CASE("chunks as safetensors are found by name behind what is no tensor") {
    dcp_writer out;
    out.object("epoch", pkl::num(4));
    const auto chunks = [](const std::vector<std::pair<std::int64_t, std::int64_t>>& list) {
        std::string text = "](";
        for (const auto& [at, n] : list)
            text += pkl::object(
                "torch.distributed.checkpoint.metadata", "ChunkStorageMetadata",
                pkl::dict({{pkl::str("offsets"), dcp_writer::size({at})}, {pkl::str("sizes"), dcp_writer::size({n})}}));
        return text + 'e';
    };
    out.describe("w", {5}, chunks({{0, 3}, {3, 2}}));
    // Each file of torch holds its tensors in one piece behind the objects; the place of each is where the piece
    // begins.
    const auto piece = [](const std::string& shape, const std::vector<float>& values) {
        return safetensors_file('{' + safetensors_entry("w", "F32", shape, 0, values.size() * 4) + '}', raw(values));
    };
    const std::string first = piece("[3]", {0, 1, 2}), second = piece("[2]", {3, 4});
    out.place("w", dcp_writer::size({0}), "__0_0.distcp", first, 0, 12 - static_cast<std::int64_t>(first.size()));
    out.place("w", dcp_writer::size({3}), other_file, second, 0, 8 - static_cast<std::int64_t>(second.size()));
    const temporary_folder folder(out.files());
    const auto file = ckpt::open_folder(folder.path()).value();
    const auto weights = file.state_dict().value();
    CHECK(counts(weights.at("w").value()));
    CHECK(file.root().find("epoch").value().as_int().value() == 4);
    CHECK(file.verify().ok());
}

TEST_CASE(".metadata: absent, damaged, with names that no policy allows") {
    dcp_writer out;
    out.tensor("w", {2}, {{{0}, {2}}});
    const temporary_folder folder(out.files());
    CHECK(ckpt::open_folder<ckpt::weights_policy>(folder.path()).has_value()); // its own names are always known
    CHECK(ckpt::open_folder<ckpt::inspect_policy>(folder.path()).has_value());
    folder.add(".metadata", pkl::pickle(pkl::call(pkl::global("os", "system"), {pkl::str("true")})));
    CHECK(ckpt::open_folder(folder.path()).error().code == errc::global_not_allowed);
    folder.add(".metadata", pkl::pickle(pkl::dict({})));
    CHECK(ckpt::open_folder(folder.path()).error().detail == "it holds no state_dict_metadata and storage_data");
    folder.add(".metadata", "x");
    CHECK_FALSE(ckpt::open_folder(folder.path()).has_value());
    folder.remove(".metadata");
    CHECK(ckpt::open_folder(folder.path()).error().detail ==
          "there is no .metadata, which says what is where; it is written last");
    folder.add("__0.metadata", "x");
    folder.add("__1.metadata", "x");
    const auto alone = ckpt::open_folder(folder.path()).error();
    CHECK(alone.code == errc::container_not_supported);
    CHECK(alone.detail.find("it was saved without collectives: 2 ranks have metadata of their own") == 0);
    dcp_writer evil;
    evil.object("x", pkl::call(pkl::global("os", "system"), {pkl::str("true")}));
    CHECK(ckpt::open_folder(temporary_folder(evil.files()).path()).error().code == errc::global_not_allowed);
}

TEST_CASE("one folder further down, as accelerate saves it") {
    dcp_writer out;
    out.tensor("model.w", {2}, {{{0}, {2}}});
    out.path("model.w", pkl::tuple({pkl::str("model"), pkl::str("w")}));
    const temporary_folder folder;
    for (const char* const inner : {"pytorch_model_fsdp_0/", "optimizer_0/"})
        for (const auto& [name, bytes] : out.files()) folder.add(inner + name, bytes);
    const auto file = ckpt::open_folder(folder.path()).value();
    CHECK(file.files() ==
          std::vector<std::string>{"pytorch_model_fsdp_0/.metadata", "pytorch_model_fsdp_0/__0_0.distcp"});
    const auto weights = file.state_dict().value();
    CHECK(counts(weights.at("w").value()));
    for (const auto& [name, bytes] : out.files()) folder.add("another/" + name, bytes);
    CHECK(ckpt::open_folder(folder.path()).error().code == errc::state_dict_ambiguous);
}

TEST_CASE("one folder further down is looked for among the first 64") {
    dcp_writer out;
    out.tensor("w", {2}, {{{0}, {2}}});
    const auto found = [&](int before) {
        const temporary_folder folder;
        for (int i = 0; i < before; ++i) folder.add("a" + std::to_string(100 + i) + "/x", "x");
        for (const auto& [name, bytes] : out.files()) folder.add("model/" + name, bytes);
        return ckpt::open_folder(folder.path()).has_value();
    };
    CHECK(found(63));
    CHECK_FALSE(found(64));
}

TEST_CASE("R1: corners of chunks are checked up to 16 numbers for each byte of .metadata, and a million") {
    // Half of what the boxes before leave, along one dimension after another.
    constexpr std::size_t dimensions = 13;
    std::vector<dcp_writer::chunk> chunks;
    for (std::size_t i = 0; i <= dimensions; ++i) {
        dcp_writer::chunk c{numbers(dimensions, 0), numbers(dimensions, 2)};
        for (std::size_t d = 0; d <= i && d < dimensions; ++d) {
            c.sizes[d] = 1;
            c.offsets[d] = d < i ? 1 : 0;
        }
        chunks.push_back(c);
    }
    const std::uint64_t needed = (chunks.size() + 1) * (std::uint64_t{1} << dimensions) * (dimensions + 1);
    const auto with_metadata_of = [&](std::uint64_t bytes) {
        dcp_writer out;
        out.tensor("w", numbers(dimensions, 2), chunks);
        out.path("", pkl::tuple({pkl::str("")}));
        const std::uint64_t unpadded = out.files()[0].second.size();
        out.path("", pkl::tuple({pkl::str(std::string(static_cast<std::size_t>(bytes - unpadded), 'x'))}));
        return out;
    };
    const std::uint64_t least = (needed - 1'000'000) / 16;
    REQUIRE(16 * least + 1'000'000 == needed);
    const std::uint64_t surplus = with_metadata_of(least).files()[0].second.size() - least; // of the path itself
    CHECK(findings(with_metadata_of(least - surplus)) == "");
    CHECK(findings(with_metadata_of(least - surplus - 1)) ==
          ".metadata: the chunks of \"w\" are cut along 13 dimensions, too many to check\n");
}

TEST_CASE("R1: lists have as many positions as .metadata has bytes, and a thousand") {
    const auto told = [](std::int64_t more) {
        std::string text;
        std::uint64_t bytes = 0;
        for (int round = 0; round < 2; ++round) { // the first one counts the bytes
            dcp_writer out;
            out.object("l", pkl::num(1));
            out.path("l", pkl::tuple({pkl::str("l"), pkl::num(static_cast<std::int64_t>(bytes) + more)}));
            bytes = out.files()[0].second.size();
            if (round == 1) text = findings(out);
        }
        return text;
    };
    CHECK(told(999) == "");
    CHECK(told(1'000) == ".metadata: planner_data puts \"l\" where another entry is, or too deep\n");
}

TEST_CASE("V1: a tensor has at most limits.tensor_rank dimensions") {
    const auto told = [](std::size_t rank) {
        dcp_writer out;
        out.tensor("w", numbers(rank, 1), {{numbers(rank, 0), numbers(rank, 1)}});
        return findings(out);
    };
    CHECK(told(64) == "");
    CHECK(told(65) == ".metadata: the tensor has 65 dimensions, the limit is 64\n");
    dcp_writer without_chunks;
    without_chunks.describe("w", numbers(65, 1), "]");
    CHECK(findings(without_chunks) == told(65));
}

#if defined(__linux__)
TEST_CASE("a slice reads the bytes that it needs") {
    constexpr std::int64_t rows = 1024, columns = 512; // 2 MiB in four chunks
    dcp_writer out;
    out.tensor("w", {rows, columns},
               {{{0, 0}, {rows / 4, columns}},
                {{rows / 4, 0}, {rows / 4, columns}},
                {{rows / 2, 0}, {rows / 4, columns}},
                {{3 * rows / 4, 0}, {rows / 4, columns}, other_file}});
    const temporary_folder folder(out.files());
    const auto weights = ckpt::open_folder(folder.path(), {.io = ckpt::io_mode::read}).value().state_dict().value();
    const auto [by_rows, top] = cost_of_slice(weights, "narrow 0 512 256 w"); // the third of four ranks
    CHECK(top.front() == 512 * columns);
    CHECK(top.back() == 768 * columns - 1);
    CHECK(by_rows >= top.size() * 4);
    constexpr std::uint64_t opening = 80'000; // of an item: the end of the archive, its directory, its pickle
    CHECK(by_rows < top.size() * 4 + opening);
    const auto [by_columns, left] =
        cost_of_slice(weights, "narrow 1 0 128 w"); // gaps are longer than what is worth reading over
    CHECK(left[128] == columns);
    CHECK(by_columns >= left.size() * 4);
    CHECK(by_columns < left.size() * 4 + 4 * opening);
}
#endif

} // namespace dcp_test
