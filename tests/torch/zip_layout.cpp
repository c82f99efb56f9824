// tests/torch/zip_layout.cpp: which archives are laid out as torch.save does, and what others are called.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/torch/zip_layout.hpp>

#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace zip_layout_test {

using ckpt::errc;
using namespace test_support;
using namespace std::string_literals;

namespace {

const std::string tiny = pkl::pickle(pkl::dict({{pkl::str("w"), pkl::floats("0", 4)}}));
const std::string four = raw<float>({1, 2, 3, 4});
std::vector<zip_member> records(const torch_style& style = {}) { return torch_records(tiny, {{"0", four}}, style); }

ckpt::error refusal(const std::vector<zip_member>& members) {
    const std::string file = write_zip(members).bytes;
    const auto opened = ckpt::open_bytes(bytes_of(file));
    return opened ? ckpt::error{} : opened.error();
}
errc code(const std::vector<zip_member>& members) {
    const ckpt::error e = refusal(members);
    INFO(e.message());
    if (e.code != errc::none) CHECK_FALSE(e.detail.empty());
    return e.code;
}
/// Opens, and the tensor is there.
bool reads(const std::vector<zip_member>& members, const zip_style& style = {}) {
    const std::string file = write_zip(members, style).bytes;
    const auto opened = ckpt::open_bytes(bytes_of(file));
    INFO((opened ? std::string() : opened.error().message()));
    REQUIRE(opened.has_value());
    const auto weights = opened->state_dict().value();
    std::vector<float> values(4);
    return weights.at("w").value().copy_to(std::span(values)).has_value() && values == std::vector<float>{1, 2, 3, 4};
}
std::vector<zip_member> with(std::vector<zip_member> members, const std::string& name, const std::string& data,
                             std::size_t at = ~std::size_t{0}) {
    members.insert(at < members.size() ? members.begin() + static_cast<std::ptrdiff_t>(at) : members.end(),
                   {.name = name, .data = data});
    return members;
}

} // namespace

TEST_CASE("the top folder may have any name, and lie in others") {
    for (const char* folder : {"archive", "my.model.v1", "data", "data.pkl", "weights/archive", "a/b/c/d", "__MACOSXX",
                               "mod\xC3\xA8le", " "}) {
        CAPTURE(folder);
        CHECK(reads(records({.folder = folder})));
    }
    std::vector<zip_member> bare = records();
    for (zip_member& m : bare) m.name = m.name.substr(8);
    CHECK(reads(bare)); // no folder at all
    CHECK(reads(records(), {.torch = false, .end64 = false}));
    CHECK(reads(records(), {.reversed_directory = true}));
    CHECK(reads(with(with(records(), "__MACOSX/archive/._data.pkl", "x"), "__MACOSX/archive/data.pkl", "x")));
    CHECK(reads(with(records(), "__MACOSX/data.pkl", "x", 0)));
    CHECK(reads(with(with(records(), "archive/", ""), "archive/data/", "", 0)));
    CHECK(reads(with(records(), "archive/extra/notes.txt", "anything")));
    CHECK(reads(with(records(), "archive/data.pkl.bak", "x", 0)));
    CHECK(reads(with(records(), "archive/notdata.pkl", "x", 0)));
}

TEST_CASE("the outermost data.pkl is the checkpoint; two at one depth are ambiguous") {
    CHECK(reads(with(records(), "archive/inner/data.pkl", "garbage")));
    CHECK(reads(with(records(), "archive/inner/data.pkl", "garbage", 0)));
    CHECK(code(with(records(), "other/data.pkl", tiny)) == errc::no_pickle);
    CHECK(code(with(records(), "other/data.pkl", tiny, 0)) == errc::no_pickle);
    CHECK(reads(with(with(with(records(), "x/1/data.pkl", tiny, 0), "x/2/data.pkl", tiny, 0), "x/3/data.pkl", tiny)));
}

TEST_CASE("Z9: names match exactly") {
    auto upper = records();
    upper[0].name = "archive/DATA.PKL"; // torch opens it
    CHECK(code(upper) == errc::no_pickle);
    auto storage = records();
    storage[2].name = "archive/DATA/0";
    const std::string file = write_zip(storage).bytes;
    CHECK(ckpt::open_bytes(bytes_of(file)).value().state_dict().value().refused() == 1);
    auto elsewhere = records();
    elsewhere[2].name = "other/data/0";
    const std::string outside = write_zip(elsewhere).bytes;
    CHECK(ckpt::open_bytes(bytes_of(outside)).value().state_dict().value().refused() == 1);
}

TEST_CASE("the byteorder record says little or big; anything else is refused") {
    CHECK(reads(records({.byte_order = ""})));
    CHECK(code(records({.byte_order = "little\n"})) == errc::byte_order_unknown); // torch refuses it, too
    for (const std::string& text : {"Little"s, "BIG"s, "middle"s, "little\0"s, "big little"s, "x"s, "\xFF"s}) {
        CAPTURE(text);
        CHECK(code(records({.byte_order = text})) == errc::byte_order_unknown);
    }
    CHECK(code(with(records({.byte_order = ""}), "archive/byteorder", "")) == errc::byte_order_unknown);
    CHECK(code(records({.byte_order = "little" + std::string(58, '\n')})) == errc::byte_order_unknown); // 64 bytes
    CHECK(code(records({.byte_order = "little" + std::string(59, '\n')})) == errc::zip_bounds);
    CHECK(refusal(records({.byte_order = std::string(65, 'l')})).detail ==
          "a record of 65 bytes where a short text belongs");
    CHECK(code(records({.byte_order = std::string(1'000'000, 'l')})) == errc::zip_bounds);
}

TEST_CASE("file-format versions 1 to 10 are known") {
    for (const char* version : {"1", "2\n", "3\n", "3", "6", "10", "10\n"}) CHECK(reads(records({.version = version})));
    CHECK(reads(records({.version = ""}))); // absent
    for (const std::string& version : {"0"s, "11"s, "99"s, "-1"s, "+3"s, "3x"s, "x"s, "3.0"s, " 3"s, "0x3"s, "3\n3"s,
                                       "18446744073709551619"s, "\n"s, "3\0"s}) {
        CAPTURE(version);
        CHECK(code(records({.version = version})) == errc::format_version);
    }
    CHECK(refusal(records({.version = "11"})).detail == "the file-format version is \"11\", known are 1 to 10");
    CHECK(code(with(records(), "archive/.data/version", "99")) == errc::format_version); // looked at first
    CHECK(reads(with(records({.version = "99"}), "archive/.data/version", "3\n")));
    CHECK(ckpt::info(errc::format_version).exit_code == 4);
}

TEST_CASE("the alignment record is a hint that decides nothing") {
    for (const std::string& text :
         {"64"s, "4096"s, "1"s, "0"s, "7"s, "x"s, ""s, "99999999999999999999"s, "1073741824"s, "-64"s}) {
        CAPTURE(text);
        CHECK(reads(with(records(), "archive/.storage_alignment", text)));
    }
    CHECK(reads(with(records(), "archive/.storage_alignment", "4096"), {.alignment = 4096}));
    CHECK(reads(with(records(), "archive/.storage_alignment", "64"), {.alignment = 4096}));
    CHECK(reads(records(), {.alignment = 1}));
    const auto believed = [](const std::string& text) {
        const std::string file = write_zip(with(records(), "archive/.storage_alignment", text)).bytes;
        const auto from = ckpt::detail::source::memory(bytes_of(file)).value();
        ckpt::detail::arena memory;
        const auto archive = ckpt::detail::zip_archive::read(*from, {}, memory).value();
        return ckpt::detail::zip_layout::read(*from, archive, {}, memory).value().alignment;
    };
    CHECK(believed("0") == 64);
    CHECK(believed("1") == 1);
    CHECK(believed("1073741824") == 1'073'741'824);
    CHECK(believed("1073741825") == 64);
}

TEST_CASE("a save that failed half way has no data.pkl, and the error says so") {
    auto members = records();
    members.erase(members.begin());
    CHECK(code(members) == errc::no_pickle);
    const ckpt::error half = refusal({{.name = "archive/byteorder", .data = "little"},
                                      {.name = "archive/version", .data = "3\n"},
                                      {.name = "archive/.data/serialization_id", .data = "0"}});
    CHECK(half.code == errc::no_pickle);
    CHECK(half.message().find("failed half way") != std::string::npos);
}

TEST_CASE("other zip containers are named: PyTorch's with exit 4, the rest with exit 2") {
    struct row {
        std::vector<zip_member> members;
        errc code;
        const char* says;
    };
    const row rows[]{
        {{{.name = "m/constants.pkl", .data = "x"}}, errc::no_pickle, "TorchScript"},
        {{{.name = "e/archive_format", .data = "pt2"}, {.name = "e/data/weights/weight_0", .data = four}},
         errc::container_not_supported,
         "PT2"},
        {{{.name = "arr_0.npy", .data = "\x93NUMPY"}}, errc::no_pickle, "npz"},
        {{{.name = "model/readme.txt", .data = "x"}, {.name = "model/net.pt", .data = "x"}},
         errc::no_pickle,
         "around a checkpoint (2 records)"},
        {{{.name = "m/mean.npy", .data = "x"}, {.name = "m/net.pt", .data = "x"}},
         errc::no_pickle,
         "around a checkpoint (2 records)"},
        {{{.name = "config.json", .data = "{}"}, {.name = "model.weights.h5", .data = "x"}}, errc::no_pickle, "Keras"},
        {{{.name = "metadata.json", .data = "{}"}, {.name = "model.weights.h5", .data = "x"}},
         errc::no_pickle,
         "Keras 3"},
        {{{.name = "net.mlpackage/Manifest.json", .data = "{}"}}, errc::no_pickle, "CoreML"},
        {{{.name = "m/model.json", .data = "{}"}, {.name = "m/weights.bin", .data = four}},
         errc::no_pickle,
         "no data.pkl"},
        {{{.name = "[Content_Types].xml", .data = "x"}, {.name = "word/document.xml", .data = "x"}},
         errc::no_pickle,
         "office"},
        {{{.name = "META-INF/MANIFEST.MF", .data = "x"}}, errc::no_pickle, "Java"},
        {{{.name = "readme.txt", .data = "x"}}, errc::no_pickle, "no data.pkl (1 records)"},
    };
    CHECK(refusal({{.name = "model/readme.txt", .data = "x"}, {.name = "model/net.pt", .data = "x"}}).record ==
          "model/net.pt");
    for (const row& r : rows) {
        const ckpt::error e = refusal(r.members);
        CAPTURE(e.message());
        CHECK(e.code == r.code);
        CHECK(ckpt::info(e.code).exit_code == (r.code == errc::no_pickle ? 2 : 4));
        CHECK(e.detail.find(r.says) != std::string::npos);
        CHECK_FALSE(e.hint.empty());
    }
}

TEST_CASE("limits.pickle_bytes bounds the pickle before it is read") {
    const std::string file = write_zip(records()).bytes;
    CHECK(ckpt::open_bytes(bytes_of(file), {.limits = {.pickle_bytes = tiny.size()}}).has_value());
    const auto refused = ckpt::open_bytes(bytes_of(file), {.limits = {.pickle_bytes = tiny.size() - 1}});
    CHECK(refused.error().code == errc::limit);
    CHECK(refused.error().record == "archive/data.pkl");
}

TEST_CASE("an empty data.pkl is a truncated pickle") {
    auto members = records();
    members[0].data.clear();
    CHECK(code(members) == errc::pickle_truncated);
}

TEST_CASE("the facts of a file are told") {
    const std::string file = write_zip(with(records(), "archive/.format_version", "1")).bytes;
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    CHECK(opened.container() == "zip");
    CHECK(opened.writer() == "torch.save of torch 2.7 or later");
    CHECK(opened.byte_order_recorded());
    CHECK(opened.file_bytes() == file.size());
    CHECK(opened.pickle_bytes() == tiny.size());
    REQUIRE(opened.records().size() == 5);
    CHECK(opened.records()[0].name == "archive/data.pkl");
    CHECK(std::all_of(opened.records().begin(), opened.records().end(),
                      [&](const ckpt::record& r) { return r.bound <= file.size(); }));
}

} // namespace zip_layout_test
