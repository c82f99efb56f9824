// tests/write/torch.cpp: checkpoints as torch.save writes them: records, values, sharing, what is left out.
//
// SPDX-License-Identifier: MIT
//
// What torch loads is compared in tests/torch/convert.py.
#include <ckpt/archive/zip_directory.hpp>
#include <ckpt/archive/zip_locate.hpp>
#include <ckpt/archive/zip_verify.hpp>
#include <ckpt/ckpt.hpp>
#include <ckpt/write.hpp>
#include <ckpt/write/zip_writer.hpp>

#include "../support/inflate.hpp"
#include "../support/named_floats.hpp"
#include "../support/temporary_file.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace torch_test {

using ckpt::errc;
using namespace test_support;

namespace {

/// A checkpoint in memory.
struct opened {
    std::shared_ptr<std::string> bytes{};
    ckpt::checkpoint file;

    explicit opened(std::string content, const ckpt::open_options& options = {})
        : bytes{std::make_shared<std::string>(std::move(content))},
          file{ckpt::open_bytes(bytes_of(*bytes), options).value()} {}
    opened(std::string content, ckpt::inspect_policy)
        : bytes{std::make_shared<std::string>(std::move(content))},
          file{ckpt::open_bytes<ckpt::inspect_policy>(bytes_of(*bytes)).value()} {}
    [[nodiscard]] ckpt::value at(std::string_view path) const { return file.root().find(path).value(); }
};

/// The file that a writer makes; a message where it fails.
template <class... From> std::string written(const ckpt::torch_options& options, const From&... from) {
    const temporary_folder folder;
    const auto planned = ckpt::plan_torch(from..., folder.path() / "model.v1.pt", options);
    const auto report = ckpt::write_torch(from..., folder.path() / "model.v1.pt", options);
    if (!report) return "error " + std::string(ckpt::info(report.error().code).name);
    std::string bytes = read_file(folder.path() / "model.v1.pt");
    CHECK(planned.value().bytes() == bytes.size());
    CHECK(report->bytes() == bytes.size());
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
    return bytes;
}
std::string object_written(const opened& from, const ckpt::torch_options& options = {}) {
    return written(options, from.file.root());
}
opened again(const std::string& value, const std::vector<std::pair<std::string, std::string>>& storages = {},
             const ckpt::torch_options& options = {}) {
    const opened in{torch_file(value, storages)};
    return opened{object_written(in, options)};
}

/// The keys that are left out.
std::vector<std::string> left_out(const opened& from, const ckpt::torch_options& options = {}) {
    std::vector<std::string> out;
    const auto report = ckpt::plan_torch(from.file.root(), "x.pt", options).value();
    for (const auto& l : report.left_out) out.push_back(l.key);
    return out;
}
using keys = std::vector<std::string>;

std::string big(std::size_t bytes) { return "\x8b" + le32(bytes) + std::string(bytes - 1, '\0') + '\1'; } // LONG4

} // namespace

TEST_CASE("records as torch writes them: their order, names and places, with checksums") {
    const named_floats two{{"a", {3}, {1, 2, 3}}, {"none", {0, 5}, {}}};
    const std::string bytes = written({}, two.weights());
    const auto from = ckpt::detail::source::memory(bytes_of(bytes)).value();
    ckpt::detail::arena memory;
    const auto archive = ckpt::detail::zip_archive::read(*from, {}, memory).value();
    keys names;
    for (const ckpt::record& r : archive.records()) {
        names.emplace_back(r.name);
        const std::uint64_t payload = ckpt::detail::zip::locate(*from, r).value();
        CHECK(payload % 64 == 0);
        CHECK(payload == ckpt::detail::zip::predict(r, 64));
        const bool is_empty = r.size == 0; // torch writes nothing behind it, and computes places by that
        CHECK(((static_cast<unsigned char>(bytes[r.header_offset + 6]) & 8) == 0) == is_empty);
    }
    CHECK(names == keys{"model.v1/data.pkl", "model.v1/.format_version", "model.v1/.storage_alignment",
                        "model.v1/byteorder", "model.v1/data/0", "model.v1/data/1", "model.v1/version",
                        "model.v1/.data/serialization_id"});
    ckpt::detail::progress_meter meter;
    const auto found = [](void*, const ckpt::error& e) { FAIL_CHECK(e.message()); };
    CHECK(ckpt::detail::verify_zip(*from, archive, {}, meter, found, nullptr).records == names.size());
    CHECK(written({}, two.weights()) == bytes); // the number of the file is computed
    const opened back{bytes};
    CHECK(back.file.writer() == "torch.save of torch 2.7 or later");
    const auto report = ckpt::plan_torch(two.weights(), "folder/\xc3\xbc.pt").value();
    CHECK(report.tensors() == 2);
}

TEST_CASE("records stand in a folder of the file's name, or of \"archive\" where that is no plain one") {
    const opened in{torch_file(pkl::dict({{pkl::str("w"), pkl::floats("0", 1)}}), {{"0", raw(std::vector<float>{1})}})};
    const std::pair<std::string_view, std::string_view> names[]{
        {"a b.pt", "a b"},      {"...pt", "archive"},    {"..pt", "archive"},
        {".pt", "archive"},     {"....pt", "..."},       {"a\\b.pt", "archive"},
        {"a\nb.pt", "archive"}, {"a\x7f.pt", "archive"}, {"\xc3\xa9.pt", "archive"}};
    for (const auto& row : names) {
        CAPTURE(row.first);
        const temporary_folder folder;
        const std::string path = folder.path().string() + '/' + std::string(row.first);
        REQUIRE(ckpt::write_torch(in.file.root(), path).has_value());
        CHECK(read_file(path).find(std::string(row.second) + "/data.pkl") == 30);
        CHECK(ckpt::open(path).has_value());
    }
}

TEST_CASE("sizes and places of 32 bits, at the limit and one below it, are those that torch computes") {
    using ckpt::detail::zip_margins;
    constexpr std::uint64_t full = 0xFFFF'FFFF;
    const auto around = [](std::uint64_t size, std::uint64_t header, std::uint32_t alignment) {
        const zip_margins m = zip_margins::of(10, size, header, alignment);
        if (alignment > 1) CHECK((header + 30 + 10 + m.zip64 + m.padding) % 64 == 0);
        return std::pair{m.zip64, m.behind};
    };
    using pair = std::pair<std::uint64_t, std::uint64_t>;
    CHECK(around(0, 0, 64) == pair{0, 0});
    CHECK(around(1, 0, 64) == pair{0, 16});
    CHECK(around(full - 1, full - 1, 64) == pair{0, 16});
    CHECK(around(full, 0, 64) == pair{20, 24});
    CHECK(around(1, full, 64) == pair{12, 24});
    CHECK(around(0, full, 64) == pair{12, 0});
    CHECK(around(full, full, 64) == pair{28, 24});
    CHECK(around(1, full, 1) == pair{0, 16});
    CHECK(around(0, 0, 1) == pair{0, 16});
}

TEST_CASE("values of every kind come back as they were") {
    using namespace pkl;
    const opened out = again(dict(
        {{str("none"), none},
         {str("flags"), list({yes, no})},
         {str("ints"), list({num(0), num(255), num(256), num(65'535), num(65'536), num(-1), num(-32'769),
                             num(2'147'483'647), num(2'147'483'648), num(-2'147'483'648), num(-2'147'483'649),
                             num(INT64_MAX), num(INT64_MIN), num(1LL << 39), num(-(1LL << 39)), num((1LL << 39) - 1)})},
         {str("large"), big(255)},
         {str("real"), real(-0.0)},
         {str("text"), str("\xc3\xbc\0\n")},
         {str("half"), str("\xed\xa0\x80")},
         {str("eight"), "U\2\xff\xfe"},
         {str("bytes"), call(global("_codecs", "encode"), {str("\x01\xc3\xbf"), str("latin1")})},
         {str("array"), call(global("builtins", "bytearray"), {})},
         {str("complex"), call(global("builtins", "complex"), {real(1), real(2)})},
         {str("set"), call(global("builtins", "set"), {list({num(1), str("a")})})},
         {str("size"), call(global("torch", "Size"), {tuple({num(2), num(3)})})},
         {str("type"), global("torch", "bfloat16")},
         {str("device"), call(global("torch", "device"), {str("cuda"), num(1)})},
         {str("counter"), call(global("collections", "Counter"), {dict({{str("x"), num(2)}})})},
         {tuple({num(1), str("k")}), str("key")},
         {num(7), ")"}}));
    CHECK(out.at("none").is_none());
    const std::int64_t want[]{0,         255,           256,           65'535,         65'536,         -1,
                              -32'769,   2'147'483'647, 2'147'483'648, -2'147'483'648, -2'147'483'649, INT64_MAX,
                              INT64_MIN, 1LL << 39,     -(1LL << 39),  (1LL << 39) - 1};
    REQUIRE(out.at("ints").size() == std::size(want));
    for (std::size_t i = 0; i < std::size(want); ++i) CHECK(out.at("ints")[i].as_int().value() == want[i]);
    CHECK(out.at("large").as_integer_bytes().value().size() == 255);
    CHECK(std::signbit(out.at("real").as_real().value()));
    CHECK(out.at("half").as_string().value() == "\xed\xa0\x80");
    CHECK(out.at("eight").as_bytes().value().size() == 2);
    CHECK(out.at("eight").kind() == ckpt::kind::bytes);
    CHECK(out.at("bytes").as_bytes().value()[1] == std::byte{0xFF});
    CHECK(out.at("array").is_byte_array());
    CHECK(out.at("complex").as_complex().value().imaginary == 2);
    CHECK(out.at("set").kind() == ckpt::kind::set);
    CHECK(out.at("size").size() == 2);
    CHECK(out.bytes->find("ctorch\nSize\n") != std::string::npos);
    CHECK(out.at("type").as_dtype().value() == ckpt::dtype::bfloat16);
    CHECK(out.at("device").args()[1].as_int().value() == 1);
    CHECK(canonical(out.at("counter").class_of().as_global().value()) == "collections.Counter");
    CHECK(out.at("(1, 'k')").as_string().value() == "key");
    CHECK(out.at("7").size() == 0);
}

TEST_CASE("what is shared stays shared, and what contains itself does so again") {
    using namespace pkl;
    const opened out = again(dict({{str("list"), "]q\5(h\5" + num(1) + "e"},
                                   {str("again"), "h\5"},
                                   {str("pair"), tuple({num(1), num(2)}) + "q\6"},
                                   {str("same"), "h\6"},
                                   {str("weight"), floats("0", 4) + "q\7"},
                                   {str("tied"), "h\7"},
                                   {str("view"), tensor(storage("FloatStorage", "0", 4), 2, {2}, {1})}}),
                             {{"0", raw(std::vector<float>{1, 2, 3, 4})}});
    CHECK(out.at("list").same_object(out.at("again")));
    CHECK(out.at("list")[0].same_object(out.at("list")));
    CHECK(out.at("pair").same_object(out.at("same")));
    CHECK(out.at("weight").same_object(out.at("tied")));
    CHECK(out.at("view").as_tensor().value().storage_id() == out.at("weight").as_tensor().value().storage_id());
    CHECK(out.at("view").as_tensor().value().storage_offset() == 2);
    CHECK(out.file.records().size() == 7);
    // A tuple in a list that is in it: the opcode that Python needs for it is none of safe mode's.
    const opened cyclic{torch_file(dict({{str("t"), "]q\5h\5\x85q\6a0h\6"}}))};
    CHECK(left_out(cyclic) == keys{"t.0.0"});
}

TEST_CASE("tensors keep their form: strides, parameters, two types on one storage, other byte orders, lazy bits") {
    using namespace pkl;
    const std::string floats4 = storage("FloatStorage", "0", 4);
    const std::string bytes = storage("ByteStorage", "2", 10);
    const std::string plain = tensor(floats4, 0, {2, 2}, {1, 2});
    const std::string conj =
        call(global("torch._utils", "_rebuild_tensor_v2"), {storage("ComplexFloatStorage", "1", 1), num(0), ints({1}),
                                                            ints({1}), no, ordered(), dict({{str("conj"), yes}})});
    const opened out =
        again(dict({{str("strided"), plain},
                    {str("wide"), tensor(floats4, 1, {5}, {0})},
                    {str("parameter"), call(global("torch._utils", "_rebuild_parameter"), {plain, yes, ordered()})},
                    {str("conj"), conj},
                    {str("bytes"), tensor(bytes, 0, {10}, {1})},
                    {str("words"), tensor_v3(storage("UntypedStorage", "2", 10), 0, {5}, {1}, "uint16")},
                    {str("noted"),
                     call(global("torch._tensor", "_rebuild_from_type_v2"),
                          {global("torch._utils", "_rebuild_tensor_v2"), global("torch", "Tensor"),
                           tuple({storage("FloatStorage", "3", 2), num(0), ints({2}), ints({1}), no, ordered()}),
                           dict({{str("note"), num(5)}})})}}),
              {{"0", raw(std::vector<float>{1, 2, 3, 4})},
               {"1", raw(std::vector<float>{5, 6})},
               {"2", "0123456789"},
               {"3", raw(std::vector<float>{7, 8})}});
    const auto at = [&out](const char* key) { return out.at(key).as_tensor().value(); };
    CHECK(at("strided").strides()[0] == 1);
    CHECK(at("wide").strides()[0] == 0);
    CHECK(at("wide").numel() == 5);
    CHECK(at("parameter").requires_grad());
    CHECK(out.bytes->find("_rebuild_parameter\n") != std::string::npos);
    CHECK(!at("conj").is_conj());
    float values[2]{};
    std::memcpy(values, at("conj").bytes().value().data(), sizeof values);
    CHECK(values[1] == -6);
    CHECK(at("words").dtype() == ckpt::dtype::uint16);
    CHECK(at("words").storage_id() == at("bytes").storage_id());
    CHECK(at("bytes").storage_nbytes() == 10);
    CHECK(out.at("noted/note").as_int().value() == 5);
    CHECK(at("noted").numel() == 2);

    const opened swapped{torch_file(dict({{str("a"), tensor(storage("ShortStorage", "0", 2), 0, {2}, {1})},
                                          {str("b"), tensor(storage("ShortStorage", "0", 2), 1, {1}, {1})}}),
                                    {{"0", std::string("\1\2\3\4")}}, {.byte_order = "big"})};
    const opened little{object_written(swapped)};
    CHECK(little.file.byte_order() == ckpt::byte_order::little);
    std::vector<std::int16_t> two(2);
    REQUIRE(little.at("a").as_tensor().value().copy_to(two).has_value());
    CHECK(two[1] == 0x0304);
    CHECK(little.at("b").as_tensor().value().storage_id() == little.at("a").as_tensor().value().storage_id());
}

TEST_CASE("a compressed storage is inflated on the way") {
    std::string content(300'000, 'x');
    for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i % 7);
    auto members = torch_records(pkl::pickle(pkl::dict({{pkl::str("a"), pkl::floats("0", 75'000)}})), {{"0", content}});
    members[2] = deflated(members[2]);
    const opened in{write_zip(members).bytes, {.inflate = test_inflater()}};
    const opened out{object_written(in)};
    const auto bytes = out.at("a").as_tensor().value().bytes().value();
    CHECK(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()) == content);
}

TEST_CASE("what torch's safe mode refuses is left out, each by its path, unless it is allowed to be") {
    using namespace pkl;
    const std::string own = object("argparse", "Namespace", dict({{str("lr"), real(1)}, {str("w"), floats("0", 1)}}));
    const opened in{torch_file(dict({{str("args"), own},
                                     {str("list"), list({num(1), own, num(3)})},
                                     {str("nested"), dict({{str("a.b/c"), big(256)}})},
                                     {str("f"), global("builtins", "len")},
                                     {str("w"), floats("0", 1)}}),
                               {{"0", raw(std::vector<float>{1})}})};
    CHECK(left_out(in) == keys{"args", "list.1", "nested.a.b/c", "f"});
    const auto report = ckpt::plan_torch(in.file.root(), "x.pt").value();
    CHECK(report.left_out[2].why.path == "nested/a.b\\/c");
    CHECK(report.left_out[0].why.code == errc::format_lacks);
    CHECK(object_written(in) == "error format_lacks");
    CHECK(object_written(in, {.allow_loss = {"args", "list.**", "nested.**"}}) == "error format_lacks");
    const opened out{object_written(in, {.allow_loss = {"args", "list.**", "nested.**", "f"}})};
    CHECK(out.file.root().size() == 3);
    CHECK(out.at("list").size() == 3);
    CHECK(out.at("list/1").is_none()); // the others keep their places
    CHECK(out.at("nested").size() == 0);

    CHECK(left_out(in, {.plain = true}) == keys{"nested.a.b/c"});
    const opened plain{object_written(in, {.plain = true, .allow_loss = {"nested.**"}})};
    CHECK(plain.at("args/lr").as_real().value() == 1);
    CHECK(plain.at("list/1/w").as_tensor().value().numel() == 1);
    CHECK(plain.at("f").as_string().value() == "builtins.len");
    const auto replaced = ckpt::plan_torch(in.file.root(), "x.pt", {.plain = true}).value().replaced;
    REQUIRE(replaced.size() == 2);
    CHECK(replaced[0].was == "argparse.Namespace");
    CHECK(replaced[0].now == "dict");
    CHECK(replaced[0].path == "args");
    CHECK(replaced[0].count == 2);

    const opened made{torch_file(
        dict({{str("enum"), call(global("enum", "FlagBoundary"), {str("steps")})},
              {str("pair"), global("uuid", "SafeUUID") + tuple({num(1), num(2)}) + "\x81"},
              {str("path"), call(global("pathlib", "PosixPath"), {str("/"), str("a"), str("b")})},
              {str("windows"), call(global("pathlib", "PureWindowsPath"), {str("c:\\"), str("a"), str("b")})}}))};
    CHECK(left_out(made) == keys{"enum", "pair", "path", "windows"});
    const opened values{object_written(made, {.plain = true})};
    CHECK(values.at("enum").as_string().value() == "steps");
    CHECK(values.at("pair").size() == 2);
    CHECK(values.at("path").as_string().value() == "/a/b");
    CHECK(values.at("windows").as_string().value() == "c:\\a\\b");

    const opened root{torch_file(own, {{"0", raw(std::vector<float>{1})}})};
    CHECK(ckpt::plan_torch(root.file.root(), "x.pt").error().code == errc::format_lacks);
    CHECK(object_written(root, {.plain = true}).size() > 1000);
}

TEST_CASE("plain objects: what their form has no place for is listed") {
    using namespace pkl;
    const std::string slots = tuple({none, dict({{str("s"), num(1)}})});
    const std::string items = "(" + str("k") + num(1) + "u";
    const opened in{
        torch_file(dict({{str("ordered"), global("collections", "OrderedDict") + ")R" + slots + "b"},
                         {str("counter"), call(global("collections", "Counter"), {dict({})}) + slots + "b"},
                         {str("odd"), global("mine", "Map") + ")\x81" + num(7) + "b" + items},
                         {str("both"), global("mine", "Map") + ")\x81" + dict({{str("k"), num(2)}}) + "b" + items}})),
        ckpt::inspect_policy{}};
    CHECK(left_out(in, {.plain = true}) == keys{"ordered", "counter", "odd", "both.k"});
    const opened out{object_written(in, {.plain = true, .allow_loss = {"**"}})};
    CHECK(out.at("odd/k").as_int().value() == 1);
    CHECK(out.at("both").size() == 1);
    CHECK(out.at("both/k").as_int().value() == 2);
}

TEST_CASE("what Python could not read back is left out: keys and paths that are no text") {
    using namespace pkl;
    const std::string raw_text = "U\2\xff\xfe";
    const auto file = [&](const std::string& root) { return torch_file(root, {{"0", raw(std::vector<float>{1})}}); };
    const opened in{file(dict({{raw_text, floats("0", 1)}, {str("w"), floats("0", 1)}}))};
    const auto weights = in.file.state_dict("").value();
    const auto planned = ckpt::plan_torch(weights, "x.pt").value();
    REQUIRE(planned.left_out.size() == 1);
    CHECK(planned.left_out[0].key == "\xff\xfe");
    const opened rest{written({.allow_loss = {"**"}}, weights)};
    CHECK(rest.file.root().size() == 1);
    CHECK(left_out(in).empty()); // as an object its key is bytes

    const opened path{file(dict({{str("p"), call(global("pathlib", "PosixPath"), {str("a"), raw_text})}}))};
    const opened parts{object_written(path, {.plain = true})};
    CHECK(parts.at("p").size() == 2); // what it was made of
}

TEST_CASE("other mappings become dicts, numpy's arrays tensors, and a module its state_dict") {
    using namespace pkl;
    const std::string module =
        object("torch.nn.modules.linear", "Linear",
               dict({{str("_parameters"), dict({{str("weight"), call(global("torch._utils", "_rebuild_parameter"),
                                                                     {floats("0", 2), yes, ordered()})}})},
                     {str("_buffers"), dict({{str("count"), floats("1", 1)}})},
                     {str("_modules"), dict({{str("none"), none}})}}));
    const opened in{torch_file(dict({{str("net"), module},
                                     {str("default"), call(global("collections", "defaultdict"), {none})},
                                     {str("frozen"), call(global("builtins", "frozenset"), {list({num(1)})})}}),
                               {{"0", raw(std::vector<float>{1, 2})}, {"1", raw(std::vector<float>{3})}})};
    const opened out{object_written(in)};
    CHECK(out.at("net").kind() == ckpt::kind::dictionary);
    CHECK(out.at("net/weight").as_tensor().value().numel() == 2);
    CHECK(!out.at("net/weight").as_tensor().value().requires_grad());
    CHECK(out.bytes->find("_rebuild_parameter\n") == std::string::npos);
    CHECK(out.at("default").kind() == ckpt::kind::dictionary);
    CHECK(!out.at("default").class_of());
    CHECK(out.at("frozen").size() == 1);
    const auto replaced = ckpt::plan_torch(in.file.root(), "x.pt").value().replaced;
    REQUIRE(replaced.size() == 3);
    CHECK(replaced[0].now == "its state_dict");
}

TEST_CASE("a state_dict is an OrderedDict with its attributes, alone or where it was in the object") {
    using namespace pkl;
    const std::string weights = global("collections", "OrderedDict") + ")R" +
                                dict({{str("_metadata"), ordered({{str(""), dict({{str("version"), num(1)}})}})}}) +
                                "b(" + str("a.weight") + floats("0", 2) + str("steps") + num(7) + "u";
    const opened in{torch_file(dict({{str("model"), weights}, {str("epoch"), num(3)}, {str("ema"), floats("0", 2)}}),
                               {{"0", raw(std::vector<float>{1, 2})}})};
    const auto found = in.file.state_dict("model").value();
    const opened alone{written({}, found)};
    CHECK(canonical(alone.file.root().class_of().as_global().value()) == "collections.OrderedDict");
    CHECK(alone.at("_metadata").size() == 1);
    CHECK(alone.at("steps").as_int().value() == 7);
    CHECK(alone.file.root().size() == 2);

    const auto half = ckpt::remap(found, ckpt::key_map::parse("cast bfloat16 **").value()).value();
    const opened out{written({}, in.file.root(), half)};
    CHECK(out.at("epoch").as_int().value() == 3);
    CHECK(out.at("model/a.weight").as_tensor().value().dtype() == ckpt::dtype::bfloat16);
    CHECK(out.at("ema").as_tensor().value().dtype() == ckpt::dtype::float32);
    CHECK(out.at("model/_metadata").size() == 1);
    const auto renamed = ckpt::remap(found, ckpt::key_map::parse("rename a.weight -> w").value()).value();
    const opened shared{written({}, in.file.root(), renamed)};
    CHECK(shared.at("model/w").as_tensor().value().storage_id() == shared.at("ema").as_tensor().value().storage_id());
    CHECK(ckpt::plan_torch(in.at("ema"), half, "x.pt").error().code == errc::path_missing);
}

TEST_CASE("a cast tensor stands where it was; where keys change, one OrderedDict has all") {
    using namespace pkl;
    const std::string parameter = global("torch._utils", "_rebuild_parameter_with_state") + "(" + floats("1", 2) +
                                  "\x88" + ordered({}) + dict({{str("tag"), str("mine")}}) + "tR";
    const std::string model = dict({{num(0), floats("0", 2)},
                                    {str("empty"), list({})},
                                    {str("parts"), list({num(5), floats("2", 1), dict({})})},
                                    {str("p"), parameter}});
    const opened in{
        torch_file(dict({{str("model"), model}, {str("ema"), floats("0", 2)}}), {{"0", raw(std::vector<float>{1, 2})},
                                                                                 {"1", raw(std::vector<float>{3, 4})},
                                                                                 {"2", raw(std::vector<float>{9})}})};
    const auto weights = in.file.state_dict("model").value();
    const auto half = ckpt::remap(weights, ckpt::key_map::parse("cast bfloat16 **").value()).value();
    for (const bool selected : {false, true}) {
        CAPTURE(selected);
        const opened out{written({}, selected ? in.at("model") : in.file.root(), half)};
        const ckpt::value there = selected ? out.file.root() : out.at("model");
        REQUIRE(there.size() == 4);
        CHECK((*there.entries().begin()).key.kind() == ckpt::kind::integer);
        CHECK(there.at("empty").value().kind() == ckpt::kind::list);
        const ckpt::value parts = there.at("parts").value();
        CHECK(parts[0].as_int().value() == 5);
        CHECK(parts[1].as_tensor().value().dtype() == ckpt::dtype::bfloat16);
        CHECK(parts[1].as_tensor().value().shape().size() == 1);
        CHECK(parts[2].kind() == ckpt::kind::dictionary);
        const ckpt::value p = there.at("p").value();
        CHECK(p.as_tensor().value().dtype() == ckpt::dtype::bfloat16);
        CHECK(p.state().at("tag").value().as_string().value() == "mine");
        std::vector<float> values(2);
        REQUIRE(p.as_tensor().value().copy_as(std::span(values)).has_value());
        CHECK(values == std::vector<float>{3, 4});
        if (!selected) CHECK(out.at("ema").as_tensor().value().dtype() == ckpt::dtype::float32);
    }

    // Names that trade places are the same names.
    const auto traded =
        ckpt::remap(weights, ckpt::key_map::parse("rename 0 -> x\nrename p -> 0\nrename x -> p").value()).value();
    const opened crossed{written({}, in.file.root(), traded)};
    std::vector<float> values(2);
    REQUIRE(crossed.at("model/p").as_tensor().value().copy_as(std::span(values)).has_value());
    CHECK(values == std::vector<float>{1, 2});

    const auto renamed = ckpt::remap(weights, ckpt::key_map::parse("rename p -> q").value()).value();
    CHECK(ckpt::plan_torch(in.file.root(), renamed, "x.pt").value().replaced.front().was ==
          "containers in a state_dict");
    const opened flat{written({}, in.file.root(), renamed)};
    CHECK(flat.file.state_dict("model").value().size() == 3);
    CHECK(flat.at("model/q").as_tensor().has_value());
}

TEST_CASE("a state_dict that has no place in the object is an error, and one in what is left out is listed with it") {
    using namespace pkl;
    const auto module = [](const std::string& parts) {
        return object("torch.nn.modules.container", "Sequential",
                      dict({{str("_parameters"), dict({})}, {str("_buffers"), dict({})}, {str("_modules"), parts}}));
    };
    const std::string inner = object("torch.nn.modules.container", "Sequential",
                                     dict({{str("_parameters"), dict({{str("w"), floats("0", 1)}})},
                                           {str("_buffers"), dict({})},
                                           {str("_modules"), dict({})}}));
    const std::string held =
        object("argparse", "Namespace", dict({{str("model"), dict({{str("w"), floats("0", 1)}})}}));
    const opened in{torch_file(dict({{str("net"), module(dict({{str("sub"), inner}}))}, {str("args"), held}}),
                               {{"0", raw(std::vector<float>{1})}})};
    const auto half = [&in](std::string_view path) {
        const auto map = ckpt::key_map::parse("cast bfloat16 **").value();
        return ckpt::remap(in.file.state_dict(path).value(), map).value();
    };
    const auto lost = ckpt::plan_torch(in.file.root(), half("net/sub"), "x.pt");
    CHECK(lost.error().code == errc::path_missing);
    CHECK(lost.error().path == "net/sub");
    CHECK(ckpt::plan_torch(in.file.root(), half("net"), "x.pt").has_value());
    const auto listed = ckpt::plan_torch(in.file.root(), half("args/model"), "x.pt").value();
    REQUIRE(listed.left_out.size() == 1);
    CHECK(listed.left_out[0].key == "args");
    const opened out{written({.plain = true}, in.file.root(), half("args/model"))};
    CHECK(out.at("args/model/w").as_tensor().value().dtype() == ckpt::dtype::bfloat16);
}

TEST_CASE("two entries of a module under one key are listed, and modules that share much are bounded") {
    using namespace pkl;
    const auto module = [](const std::string& weights, const std::string& parts) {
        return object("torch.nn.modules.container", "Sequential",
                      dict({{str("_parameters"), weights}, {str("_buffers"), dict({})}, {str("_modules"), parts}}));
    };
    const opened twice{torch_file(
        dict({{str("net"), module(dict({{str("a.b"), floats("0", 1)}}),
                                  dict({{str("a"), module(dict({{str("b"), floats("1", 1)}}), dict({}))}}))}}),
        {{"0", raw(std::vector<float>{1})}, {"1", raw(std::vector<float>{2})}})};
    CHECK(left_out(twice) == keys{"net.a.b"});
    const opened one{object_written(twice, {.allow_loss = {"net.a.b"}})};
    CHECK(one.at("net/a.b").get<float>("").value() == 1);

    // Each of n modules has the same submodule of n numbers, below a long name.
    const auto sharing = [&module](std::int64_t n) {
        std::vector<std::pair<std::string, std::string>> weights;
        for (std::int64_t i = 0; i < n; ++i) weights.emplace_back(str("w" + std::to_string(i)), num(i));
        const std::string inner = dict({{str(std::string(1'000, 'k')), module(dict(weights), dict({}))}});
        std::string all = module(dict({}), inner) + "q\5" + "0](";
        for (std::int64_t i = 0; i < n; ++i) all += module(dict({}), dict({{str("m"), "h\5"}}));
        return torch_file(all + "e");
    };
    const opened few{sharing(100)}, many{sharing(300)};
    CHECK(ckpt::plan_torch(few.file.root(), "x.pt").has_value());
    CHECK(ckpt::plan_torch(many.file.root(), "x.pt").error().code == errc::limit);
}

TEST_CASE("a tensor that is renamed to the key of another value is an error before anything is written") {
    using namespace pkl;
    const opened in{
        torch_file(dict({{str("a"), floats("0", 1)}, {str("lr"), num(5)}}), {{"0", raw(std::vector<float>{1})}})};
    const auto map = ckpt::key_map::parse("rename a -> lr").value();
    const auto renamed = ckpt::remap(in.file.state_dict("").value(), map).value();
    CHECK(ckpt::plan_torch(renamed, "x.pt").error().code == errc::key_duplicate);
    CHECK(ckpt::plan_torch(in.file.root(), renamed, "x.pt").error().code == errc::key_duplicate);
}

TEST_CASE("deep objects need no deep stack, and their paths are bounded") {
    constexpr std::size_t depth = 20'000;
    const opened out = again(std::string(depth, ']') + std::string(depth - 1, 'a'));
    ckpt::value here = out.file.root();
    std::size_t levels = 1;
    while (here.size() == 1) {
        here = here[0];
        ++levels;
    }
    CHECK(levels == depth);

    std::string calls = pkl::num(7);
    for (int i = 0; i < 5'000; ++i) calls = pkl::global("enum", "FlagBoundary") + calls + "\x85R";
    const opened made{torch_file(pkl::dict({{pkl::str("a"), calls}}))};
    CHECK(left_out(made, {.plain = true}) == keys{"a"});

    // Each level holds something that is left out, whose path is longer than that of the level above.
    const auto with_losses = [](std::size_t n) {
        std::string text;
        for (std::size_t i = 0; i < n; ++i)
            text += "}(" + pkl::str("f") + pkl::global("builtins", "len") + pkl::str(std::string(10'000, 'k'));
        return torch_file(text + pkl::none + std::string(n, 'u'));
    };
    const opened few{with_losses(70)}, many{with_losses(90)};
    CHECK(left_out(few).size() == 70);
    CHECK(ckpt::plan_torch(many.file.root(), "x.pt").error().code == errc::limit);
}

TEST_CASE("progress counts storages, and a call that is stopped or fails leaves nothing behind") {
    using namespace pkl;
    const temporary_folder folder;
    const auto path = folder.path() / "x.pt";
    folder.add("in.pt", torch_file(dict({{str("a"), floats("0", 2'500'000)}, {str("b"), floats("0", 2'500'000)}}),
                                   {{"0", std::string(10'000'000, 'x')}}));
    const auto file = ckpt::open(folder.path() / "in.pt", {.io = ckpt::io_mode::read}).value();
    ckpt::progress seen;
    auto watch = [&seen](const ckpt::progress& p) {
        seen = p;
        return true;
    };
    REQUIRE(ckpt::write_torch(file.root(), path, {.progress = watch}).has_value());
    CHECK(seen.done == 10'000'000);
    CHECK(seen.total == 10'000'000);
    CHECK(ckpt::write_torch(file.root(), path).error().code == errc::output_exists);
    const std::string before = read_file(path);
    auto stop = [](const ckpt::progress&) { return false; };
    const ckpt::torch_options stopping{.overwrite = true, .progress = stop};
    CHECK(ckpt::write_torch(file.root(), path, stopping).error().code == errc::cancelled);
#if !defined(_WIN32)
    const auto weights = file.state_dict("").value();
    auto cutting = [&](const ckpt::progress&) {
        std::filesystem::resize_file(folder.path() / "in.pt", 7'000'000);
        return true;
    };
    const auto cut = ckpt::write_torch(weights, path, {.overwrite = true, .progress = cutting});
    REQUIRE(!cut);
    CHECK(cut.error().code == errc::truncated);
    CHECK(cut.error().path == "a");
#endif
    CHECK(read_file(path) == before);
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 2);
}

} // namespace torch_test
