// tests/torch/script_layout.cpp: TorchScript, torch.package and PT2: what is found in them, and what hostile ones get.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>

#include "../support/inflate.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace script_layout_test {

using ckpt::errc;
using namespace test_support;
using namespace std::string_literals;

namespace {

const std::string four = raw<float>({1, 2, 3, 4});
const std::string two = raw<float>({7, 8});

/// NEWOBJ of a class of a TorchScript archive, with its attributes.
std::string module(std::string_view name, const std::vector<std::pair<std::string, std::string>>& attributes) {
    return pkl::object("__torch__.torch.nn", name, pkl::dict(attributes));
}
std::vector<zip_member> script(const std::string& root, const std::string& constants = ")",
                               const std::vector<zip_member>& more = {}) {
    std::vector<zip_member> out{{.name = "m/data/0", .data = four},
                                {.name = "m/data.pkl", .data = pkl::pickle(root)},
                                {.name = "m/code/__torch__.py", .data = "x"},
                                {.name = "m/constants/0", .data = two},
                                {.name = "m/constants.pkl", .data = pkl::pickle(constants)},
                                {.name = "m/version", .data = "3\n"}};
    out.insert(out.end(), more.begin(), more.end());
    return out;
}
std::vector<zip_member> package(const std::vector<zip_member>& resources) {
    std::vector<zip_member> out{{.name = "p/.data/0.storage", .data = four}};
    out.insert(out.end(), resources.begin(), resources.end());
    out.push_back({.name = "p/.data/extern_modules", .data = "torch\n"});
    out.push_back({.name = "p/.data/version", .data = "6\n"});
    return out;
}
/// A storage id of torch.package: its key is a number.
std::string packaged(std::string_view key = "K\0"s, std::int64_t numel = 4) {
    return pkl::tensor(pkl::storage_id(pkl::global("torch", "FloatStorage"), std::string(key), numel), 0, {numel}, {1});
}
std::string numbers(std::initializer_list<int> values) {
    std::string out;
    for (const int v : values) out += (out.empty() ? "" : ", ") + ("{\"as_int\": " + std::to_string(v) + "}");
    return '[' + out + ']';
}
std::string meta(int dtype, const std::string& sizes, const std::string& strides, int offset = 0, int layout = 7) {
    return "{\"dtype\": " + std::to_string(dtype) + ", \"sizes\": " + sizes +
           ", \"requires_grad\": true, \"device\": {\"type\": \"cpu\", \"index\": null}, \"strides\": " + strides +
           ", \"storage_offset\": {\"as_int\": " + std::to_string(offset) + "}, \"layout\": " + std::to_string(layout) +
           "}";
}
std::string entry(std::string_view name, std::string_view path, const std::string& of, bool pickled = false) {
    return '"' + std::string(name) + "\": {\"path_name\": \"" + std::string(path) +
           "\", \"is_param\": true, \"use_pickle\": " + (pickled ? "true" : "false") + ", \"tensor_meta\": " + of + '}';
}
std::vector<zip_member> pt2(const std::string& weights, const std::vector<zip_member>& more = {},
                            const std::string& model = "model") {
    std::vector<zip_member> out{
        {.name = "e/data/weights/weight_0", .data = four},
        {.name = "e/data/weights/" + model + "_weights_config.json", .data = "{\"config\": {" + weights + "}}"},
        {.name = "e/archive_format", .data = "pt2"},
        {.name = "e/byteorder", .data = "little"}};
    out.insert(out.end(), more.begin(), more.end());
    return out;
}

/// An archive in memory, opened.
struct opened {
    std::string bytes;
    ckpt::result<ckpt::checkpoint> file;
    explicit opened(const std::vector<zip_member>& members, const ckpt::open_options& options = {})
        : bytes{write_zip(members).bytes}, file{ckpt::open_bytes(bytes_of(bytes), options)} {}

    errc code() const { return file ? errc::none : file.error().code; }
    /// The keys of the one best state_dict, joined; the name of the error where there is none.
    std::string keys() const {
        if (!file) return std::string(ckpt::info(code()).name);
        const auto weights = file->state_dict();
        if (!weights) return std::string(ckpt::info(weights.error().code).name);
        std::string out;
        for (const auto& [key, tensor] : *weights)
            out += (out.empty() ? "" : " ") + std::string(key) +
                   (tensor.refusal() != nullptr ? '!' + std::string(ckpt::info(tensor.refusal()->code).name) : "");
        return out;
    }
    /// A tensor of the state_dict at a path; an empty handle where there is none.
    ckpt::tensor at(std::string_view path, std::string_view key) const {
        const auto weights = file.value().state_dict(path).value();
        const auto found = weights.at(key);
        CHECK(found.has_value());
        return found ? *found : ckpt::tensor{};
    }
    std::string path() const {
        const auto weights = file.value().state_dict().value();
        return weights.path();
    }
    std::vector<float> values(std::string_view key) const {
        const auto weights = file.value().state_dict().value();
        const auto t = weights.at(key).value();
        std::vector<float> out(static_cast<std::size_t>(t.numel()));
        CHECK(t.copy_to(std::span(out)).has_value());
        return out;
    }
};

} // namespace

TEST_CASE("TorchScript: tensors under the paths of their attributes, in every mode of reading") {
    const std::string shared = pkl::floats("0", 4);
    const auto members = script(module(
        "Net",
        {{pkl::str("w"), shared},
         {pkl::str("training"), pkl::yes},
         {pkl::str("inner"),
          module("Inner", {{pkl::str("b"), pkl::tensor(pkl::storage("FloatStorage", "0", 4), 1, {2}, {2})},
                           {pkl::str("none"), pkl::none}})},
         {pkl::str("list"), pkl::call(pkl::global("torch.jit._pickle", "build_tensorlist"), {pkl::list({shared})})},
         {pkl::str("named"), pkl::call(pkl::global("torch.jit._pickle", "restore_type_tag"),
                                       {pkl::dict({{pkl::str("a"), shared}}), pkl::str("Dict[str, Tensor]")})}}));
    const opened o(members);
    REQUIRE(o.file.has_value());
    CHECK(o.file->container() == "torchscript");
    CHECK(o.keys() == "w inner.b");
    std::string all;
    for (const auto& row : ckpt::find_tensors(o.file->root()).value()) all += row.key() + ' ';
    CHECK(all == "w inner.b list.0 named.a "); // what is no state is there all the same
    CHECK(o.file->root().find("named/a").value().as_tensor().has_value());
    CHECK(o.values("inner.b") == std::vector<float>{2, 4});
    CHECK(o.values("w") == std::vector<float>{1, 2, 3, 4});
    const auto weights = o.file->state_dict().value();
    CHECK(weights.path().empty());
    CHECK(weights.at("w").value().storage_id() == weights.at("inner.b").value().storage_id());
    CHECK(weights.at("w").value().storage_key() == "0");
    CHECK(weights.others().empty()); // what is no tensor is no parameter and no buffer
    const ckpt::value root = o.file->root();
    CHECK(root.is_module());
    CHECK(root.at("inner.b").value().as_tensor().has_value());
    CHECK(root.find("inner/b").value().as_tensor().has_value());
    CHECK(root.find("inner.b").value().as_tensor().has_value());
    CHECK(o.at("inner", "b"));
    CHECK_FALSE(root.at("inner.c").has_value());
    for (const ckpt::storage_mode mode : {ckpt::storage_mode::mapped, ckpt::storage_mode::owned})
        for (const ckpt::io_mode io : {ckpt::io_mode::map, ckpt::io_mode::read})
            CHECK(opened(members, {.io = io, .storages = mode}).values("inner.b") == std::vector<float>{2, 4});
}

TEST_CASE("TorchScript: the state_dict is what stands before the attribute `training`, then submodules") {
    const std::string one = pkl::floats("0", 4);
    const auto inner = [&](const std::string& name) {
        return module(name, {{pkl::str("weight"), one}, {pkl::str("training"), pkl::yes}, {pkl::str("plain"), one}});
    };
    const opened o(script(module("Net", {{pkl::str("b"), one},
                                         {pkl::str("none"), pkl::none},
                                         {pkl::str("a"), one},
                                         {pkl::str("early"), inner("Early")},
                                         {pkl::str("training"), pkl::no},
                                         {pkl::str("plain"), one},
                                         {pkl::str("_flat_weights"), pkl::list({one, one})},
                                         {pkl::str("late"), inner("Late")}})));
    CHECK(o.keys() == "b a early.weight late.weight");
    CHECK(o.values("late.weight") == std::vector<float>{1, 2, 3, 4});
    for (const char* path : {"plain", "_flat_weights/1", "late.plain", "late/plain"}) {
        CAPTURE(path);
        CHECK(o.file->root().find(path).value().as_tensor().has_value());
    }
    // In torch 1.3 it stood first.
    auto old =
        script(module("Net", {{pkl::str("training"), pkl::no}, {pkl::str("a"), one}, {pkl::str("in"), inner("In")}}));
    CHECK(opened(old).keys() == "in.weight");
    old.back().data = "1\n";
    CHECK(opened(old).keys() == "a in.weight");
    // C++ may make modules without it: each of their tensors may be state.
    CHECK(opened(script(module("Net", {{pkl::str("a"), one}, {pkl::str("list"), pkl::list({one})}}))).keys() == "a");
}

TEST_CASE("TorchScript: constants stand beside the module, with storages of their own") {
    const auto with = [](const std::string& root) { return opened(script(root, pkl::tuple({pkl::floats("0", 2)}))); };
    const opened both = with(module("Net", {{pkl::str("w"), pkl::floats("0", 4)}}));
    CHECK(both.keys() == "w");
    CHECK(both.path() == "module");
    CHECK(both.values("w") == std::vector<float>{1, 2, 3, 4});
    const auto constants = both.file->state_dict("constants").value();
    std::vector<float> values(2);
    REQUIRE(constants.at("0").value().copy_to(std::span(values)).has_value());
    CHECK(values == std::vector<float>{7, 8});
    CHECK(constants.at("0").value().storage_id() != both.at("module", "w").storage_id());
    // Frozen: nothing is left in the module.
    const opened frozen = with(module("Net", {}));
    CHECK(frozen.keys() == "constants.0");
    CHECK(frozen.values("constants.0") == std::vector<float>{7, 8});
    // A module's attribute of that name is in no one's way.
    CHECK(with(module("Net", {{pkl::str("constants"), pkl::floats("0", 4)}})).keys() == "constants");
    // An object that is no module.
    CHECK(with(pkl::none).keys() == "constants.0");
    // Keys of one pickle are not those of the other.
    CHECK(opened(script(module("Net", {{pkl::str("w"), pkl::floats("1", 2)}}), ")",
                        {{.name = "m/constants/1", .data = two}}))
              .keys() == "w!record_missing");
}

TEST_CASE("TorchScript: a storage id may be remembered, and may have the form of torch 1.3") {
    const std::string id = pkl::storage("FloatStorage", "0", 4);
    const auto rebuilt = [](const std::string& of) { return pkl::tensor(of, 0, {4}, {1}); };
    CHECK(opened(script(module("Net", {{pkl::str("a"), rebuilt(id + "q\x01")}, {pkl::str("b"), rebuilt("h\x01")}})))
              .values("b") == std::vector<float>{1, 2, 3, 4});
    const auto longer = [&](const std::string& last) {
        return rebuilt(pkl::tuple({pkl::str("storage"), pkl::global("torch", "FloatStorage"), pkl::str("0"),
                                   pkl::str("cpu"), pkl::num(4), last}) +
                       "Q");
    };
    CHECK(opened(script(module("Net", {{pkl::str("a"), longer(pkl::none)}}))).values("a") ==
          std::vector<float>{1, 2, 3, 4});
    CHECK(opened(script(module("Net", {{pkl::str("a"), longer(pkl::no)}}))).keys() == "a!persistent_id");
    CHECK(opened(torch_records(pkl::pickle(pkl::dict({{pkl::str("a"), longer(pkl::none)}})), {{"0", four}})).keys() ==
          "a!persistent_id"); // torch.save never did
}

TEST_CASE("TorchScript: what is on the device meta has an empty record") {
    const auto rebuilt = [](std::string_view location, std::string_view key) {
        return pkl::tensor(pkl::tuple({pkl::str("storage"), pkl::global("torch", "FloatStorage"), pkl::str(key),
                                       pkl::str(location), pkl::num(4)}) +
                               "Q",
                           0, {4}, {1});
    };
    const std::vector<zip_member> empty{{.name = "m/data/1", .data = ""}};
    const opened o(script(module("Net", {{pkl::str("a"), rebuilt("meta", "1")}}), ")", empty));
    CHECK(o.keys() == "a");
    CHECK(o.at("", "a").layout() == ckpt::layout::meta);
    CHECK(o.at("", "a").numel() == 4);
    CHECK(o.at("", "a").bytes().error().code == errc::no_data);
    CHECK(o.file->verify().findings.empty());
    CHECK(opened(script(module("Net", {{pkl::str("a"), rebuilt("cpu", "1")}}), ")", empty)).keys() ==
          "a!storage_size_mismatch");
    CHECK(
        opened(script(module("Net", {{pkl::str("a"), rebuilt("meta", "1")}}), ")", {{.name = "m/data/1", .data = two}}))
            .keys() == "a!storage_size_mismatch");
    CHECK(opened(torch_records(pkl::pickle(pkl::dict({{pkl::str("a"), rebuilt("meta", "0")}})), {{"0", ""}})).keys() ==
          "a!storage_size_mismatch"); // torch.save names no storage
}

TEST_CASE("TorchScript: conj and neg bits come in a typed dictionary") {
    const auto tagged = [](const std::string& entries) {
        return pkl::call(pkl::global("torch.jit._pickle", "restore_type_tag"), {entries, pkl::str("Dict[str, bool]")});
    };
    const auto lazy = [&](const std::string& metadata) {
        return opened(script(module(
            "Net", {{pkl::str("a"), pkl::call(pkl::global("torch._utils", "_rebuild_tensor_v2"),
                                              {pkl::storage("ComplexFloatStorage", "0", 2), pkl::num(0), pkl::ints({2}),
                                               pkl::ints({1}), pkl::no, pkl::ordered(), metadata})}})));
    };
    const opened conj = lazy(tagged(pkl::dict({{pkl::str("conj"), pkl::yes}})));
    CHECK(conj.at("", "a").is_conj());
    CHECK(lazy(tagged(pkl::dict({{pkl::str("other"), pkl::yes}}))).keys() == "a!bad_arguments");
    CHECK(lazy(tagged(pkl::none)).keys() == "a");
}

TEST_CASE("TorchScript: code is never looked at, and attacks refuse the file in either pickle") {
    CHECK(opened(script(module("Net", {}), ")",
                        {{.name = "m/code/x.py", .data = "garbage", .method = 8, .inflated = 1'000'000}}))
              .code() == errc::none);
    CHECK(opened(script(pkl::global("os", "system"))).code() == errc::global_not_allowed);
    CHECK(opened(script(module("Net", {}), pkl::global("os", "system"))).code() == errc::global_not_allowed);
    CHECK(opened(script(module("Net", {}), pkl::global("my", "thing"))).code() == errc::none);
    const opened damaged(script(module("Net", {}), "\xFF"));
    CHECK(damaged.code() == errc::pickle_opcode);
    CHECK(damaged.file.error().record == "m/constants.pkl");
    const std::string other =
        write_zip(script(module("Net", {}), ")",
                         {{.name = "m/bytecode.pkl", .data = pkl::pickle(pkl::global("os", "system"))}}))
            .bytes;
    CHECK(ckpt::open_bytes(bytes_of(other)).has_value()); // nothing reads it, and a scan shows it
    const auto scan = ckpt::scan_globals_bytes(bytes_of(other)).value();
    REQUIRE(scan.size() == 2);
    CHECK(scan[1].verdict == ckpt::verdict::dangerous);
}

TEST_CASE("TorchScript: a module that holds itself, and one that thousands share, are walked in bounded time") {
    const std::string cyclic = pkl::global("__torch__", "Net") + ")\x81q\x01}(" + pkl::str("me") + "h\x01" +
                               pkl::str("w") + pkl::floats("0", 4) + "ub";
    CHECK(opened(script(cyclic)).keys() == "w");
    std::string layers = module("Leaf", {{pkl::str("w"), pkl::floats("0", 4)}}) + "q\x01";
    std::string nested = layers;
    for (int i = 0; i < 40; ++i)
        nested = pkl::global("__torch__", "Net") + ")\x81}(" + pkl::str("a") + nested + pkl::str("b") +
                 (i == 0 ? "h\x01" : "h\x02") + "ubq\x02";
    const opened bomb(script(nested)); // 2^40 paths
    REQUIRE(bomb.file.has_value());
    CHECK_FALSE(bomb.file->state_dict("").has_value());
}

TEST_CASE("TorchScript before torch 1.3: model.json says what a module holds") {
    const auto old = [](const std::string& json, const std::vector<zip_member>& more = {}) {
        std::vector<zip_member> out{{.name = "m/version", .data = "1\n"},
                                    {.name = "m/tensors/0", .data = four},
                                    {.name = "m/model.json", .data = json}};
        out.insert(out.end(), more.begin(), more.end());
        return opened(out);
    };
    const std::string tensor =
        R"({"dims": ["2"], "offset": "1", "strides": ["2"], "requiresGrad": true, "dataType": "FLOAT", "data": {"key": "tensors/0"}})";
    const auto model = [&](const std::string& module, const std::string& tensors) {
        return R"({"producerName": "pytorch", "mainModule": )" + module + R"(, "tensors": [)" + tensors + "]}";
    };
    const auto one = [&](const std::string& t) {
        return old(model(R"({"name": "m", "parameters": [{"tensorId": "0", "name": "w"}]})", t)).keys();
    };
    const opened o = old(
        model(
            R"({"submodules": [{"parameters": [{"isBuffer": false, "tensorId": "0", "name": "w"}], "name": "a"}, {"name": "b", "submodules": [{"name": "c", "parameters": [{"tensorId": "0", "name": "w"}]}]}], "name": "m", "attributes": [{"type": "Tensor", "name": "x", "id": "0"}, {"name": "y", "id": "9"}]})",
            tensor),
        {{.name = "m/attributes.pkl",
          .data = pkl::pickle(
              pkl::tuple({pkl::call(pkl::global("torch.jit._pickle", "build_tensor_from_id"), {pkl::num(0)})}))}});
    CHECK(o.keys() == "x a.w b.c.w");
    CHECK(o.values("b.c.w") == std::vector<float>{2, 4});
    CHECK(o.file->root().find("b/c/w").value().as_tensor().value().requires_grad());
    CHECK(one(tensor) == "w");
    CHECK(one("") == "state_dict_missing"); // a number that no tensor has
    CHECK(
        one(R"({"dims": ["3"], "offset": "1", "strides": ["2"], "dataType": "FLOAT", "data": {"key": "tensors/0"}})") ==
        "w!out_of_bounds");
    CHECK(one(R"({"dims": ["-3"], "strides": ["2"], "dataType": "FLOAT", "data": {"key": "tensors/0"}})") ==
          "w!shape_invalid");
    CHECK(one(R"({"dims": ["3"], "strides": [], "dataType": "FLOAT", "data": {"key": "tensors/0"}})") ==
          "w!shape_invalid");
    CHECK(
        one(R"({"dims": ["1"], "strides": ["1"], "offset": "-1", "dataType": "FLOAT", "data": {"key": "tensors/0"}})") ==
        "w!shape_invalid");
    CHECK(one(R"({"dims": ["1"], "strides": ["1"], "dataType": "ODD", "data": {"key": "tensors/0"}})") ==
          "w!dtype_unknown");
    CHECK(one(R"({"dims": ["1"], "strides": ["1"], "dataType": "FLOAT", "data": {"key": "tensors/1"}})") ==
          "w!record_missing");
    CHECK(
        one(R"({"dims": ["1"], "strides": ["1"], "dataType": "FLOAT", "isQuantized": true, "data": {"key": "tensors/0"}})") ==
        "w!unsupported_tensor");
    for (const char* text : {"", "{", "[]", "{}", R"({"mainModule": 1})", R"({"mainModule": {"submodules": {}}})",
                             R"({"mainModule": {"parameters": [{"tensorId": "x"}]}})",
                             R"({"mainModule": {}, "tensors": [{"dims": ["99999999999999999999"]}]})"}) {
        CAPTURE(text);
        CHECK(old(text).code() == errc::json_invalid);
    }
    std::string deep = "{}";
    for (int i = 0; i < 50; ++i) deep = R"({"name": "a", "submodules": [)" + deep + "]}";
    CHECK(old(model(deep, "")).code() == errc::none);
    for (int i = 0; i < 50; ++i) deep = R"({"name": "a", "submodules": [)" + deep + "]}";
    CHECK(old(model(deep, "")).code() == errc::json_invalid);
    const std::string unknown =
        pkl::pickle(pkl::tuple({pkl::call(pkl::global("torch.jit._pickle", "build_tensor_from_id"), {pkl::num(5)})}));
    CHECK(old(model(R"({"name": "m", "attributes": [{"name": "x", "id": "0"}]})", tensor),
              {{.name = "m/attributes.pkl", .data = unknown}})
              .keys() == "x!bad_arguments");
}

TEST_CASE("torch.package: each pickle under its resource's path, with keys that are numbers") {
    const auto members =
        package({{.name = "p/res/w.pkl", .data = pkl::pickle(pkl::dict({{pkl::str("a"), packaged()}}))},
                 {.name = "p/res/text.txt", .data = "hello"},
                 {.name = "p/other", .data = pkl::pickle(pkl::list({packaged()}))},
                 {.name = "p/res/code.py", .data = pkl::pickle(pkl::none)},
                 {.name = "p/res/bytes.bin", .data = "\x80\x03zz"}});
    const opened o(members);
    REQUIRE(o.file.has_value());
    CHECK(o.file->container() == "torch_package");
    CHECK(o.keys() == "a");
    CHECK(o.values("a") == std::vector<float>{1, 2, 3, 4});
    CHECK(o.file->root().size() == 2);
    CHECK(o.file->root().at("res/w.pkl").has_value());
    const auto tensor = o.file->root().at("other").value()[0].as_tensor().value();
    CHECK(tensor.storage_id() ==
          o.file->root().at("res/w.pkl").value().at("a").value().as_tensor().value().storage_id());
    CHECK(tensor.storage_key() == "0");
    CHECK(o.file->verify().ok());
    CHECK_FALSE(ckpt::scan_globals_bytes(bytes_of(o.bytes)).value().stopped());
    // data.pkl is a resource like any other here.
    const opened named(
        package({{.name = "p/data.pkl", .data = pkl::pickle(pkl::dict({{pkl::str("a"), packaged()}}))}}));
    CHECK(named.file->container() == "torch_package");
    CHECK(named.keys() == "a");
}

TEST_CASE("torch.package: modules of TorchScript stand where pickles name them") {
    const auto key = [](const char* number) {
        return pkl::tensor(pkl::storage_id(pkl::global("torch", "FloatStorage"), pkl::str(number), 4), 0, {4}, {1});
    };
    const auto linear = [&](const std::string& weight) {
        return pkl::pickle(module("Linear", {{pkl::str("weight"), weight}, {pkl::str("training"), pkl::yes}}));
    };
    const auto reference = [](const char* number) {
        return pkl::tuple({pkl::str("reduce_package"), pkl::num(7),
                           pkl::global("torch.jit._script", "unpackage_script_module"),
                           pkl::tuple({pkl::str(number)})}) +
               "Q";
    };
    const auto members = [&](const std::string& root, const std::string& constants = ")") {
        return package({{.name = "p/.data/ts_code/0/data.pkl", .data = linear(key("0.storage"))},
                        {.name = "p/.data/ts_code/0/constants.pkl", .data = pkl::pickle(constants)},
                        {.name = "p/.data/ts_code/1/data.pkl", .data = linear(key("1.storage"))},
                        {.name = "p/.data/ts_code/1/constants.pkl", .data = pkl::pickle(")")},
                        {.name = "p/.data/1.storage", .data = four},
                        {.name = "p/res/w.pkl", .data = pkl::pickle(root)}});
    };
    const opened o(members(pkl::dict({{pkl::str("w"), packaged()},
                                      {pkl::str("m"), reference("0")},
                                      {pkl::str("rest"), pkl::tuple({reference("1"), reference("0")})},
                                      {pkl::str("odd"), reference("2")}})));
    REQUIRE(o.file.has_value());
    CHECK(o.file->container() == "torch_package");
    CHECK(o.keys() == "w m.weight rest.0.weight rest.1.weight");
    CHECK(o.values("rest.0.weight") == std::vector<float>{1, 2, 3, 4});
    const ckpt::value root = o.file->root().at("res/w.pkl").value();
    CHECK(root.at("m").value().is_module());
    CHECK(root.at("m").value().same_object(root.find("rest/1").value()));
    CHECK(root.find("m/weight").value().as_tensor().value().storage_id() ==
          root.at("w").value().as_tensor().value().storage_id());
    CHECK(root.at("odd").value().kind() == ckpt::kind::tuple); // names no module of the archive
    CHECK(o.file->verify().ok());
    CHECK_FALSE(ckpt::scan_globals_bytes(bytes_of(o.bytes)).value().stopped());

    CHECK(opened(members(reference("1"))).keys() == "weight"); // the whole resource
    const opened constants(members(reference("0"), pkl::tuple({key("1.storage")})));
    CHECK(constants.file->root().at(".data/ts_code/0/constants.pkl").value().size() == 1);
    CHECK(constants.at("res\\/w.pkl", "weight"));
    const auto scan =
        ckpt::scan_globals_bytes(bytes_of(opened(members(reference("0"), pkl::global("os", "system"))).bytes));
    bool dangerous = false;
    for (const ckpt::global_use& g : scan.value()) dangerous = dangerous || g.verdict == ckpt::verdict::dangerous;
    CHECK(dangerous);
    CHECK(opened(members(reference("0"), pkl::global("os", "system"))).code() == errc::global_not_allowed);
}

TEST_CASE("torch.package: a pickle that is damaged costs its own value, one that is refused the file") {
    const zip_member good{.name = "p/good.pkl", .data = pkl::pickle(pkl::dict({{pkl::str("a"), packaged()}}))};
    const auto beside = [&](const std::string& pickle, const char* name = "p/bad.pkl") {
        return opened(package({{.name = name, .data = pickle}, good}));
    };
    for (const std::string& bad :
         {"\x80\x02.."s, "\x80\x02\xFF"s, "\x80\x02(((K\1"s, "\x80\x02" + pkl::str("x") + packaged() + "h\x77."}) {
        const opened o = beside(bad);
        REQUIRE(o.file.has_value());
        CHECK(o.keys() == "a");
        CHECK(o.values("a") == std::vector<float>{1, 2, 3, 4});
        CHECK(o.file->root().at("bad.pkl").value().refusal() != nullptr);
        CHECK_FALSE(o.file->verify().ok());
    }
    CHECK(beside(pkl::pickle(pkl::global("os", "system"))).code() == errc::global_not_allowed);
    CHECK(beside(pkl::pickle(pkl::global("os", "system")), "p/bad").code() == errc::global_not_allowed);
    for (const std::string& key : {"K\1"s, pkl::num(-1), pkl::num(1'000'000'000'000'000'000), pkl::str("0"), pkl::none})
        CHECK(opened(package({{.name = "p/w.pkl", .data = pkl::pickle(pkl::dict({{pkl::str("a"), packaged(key)}}))}}))
                  .keys()
                  .starts_with("a!"));
    CHECK(opened(package({{.name = "p/w.pkl", .data = pkl::pickle(pkl::dict({{pkl::str("a"), packaged("K\0"s, 5)}}))}}))
              .keys() == "a!storage_size_mismatch");
    // An object that packs itself shows its parts.
    const std::string reduced = pkl::tuple({pkl::str("reduce_package"), pkl::num(7),
                                            pkl::global("torch.jit._script", "unpackage_script_module"),
                                            pkl::tuple({pkl::dict({{pkl::str("w"), packaged()}})})}) +
                                "Q";
    const opened o(package({{.name = "p/m.pkl", .data = pkl::pickle(reduced)}}));
    CHECK(o.file->root().at("m.pkl").value().kind() == ckpt::kind::tuple);
    CHECK(ckpt::find_tensors(o.file->root()).value().size() == 1);
}

TEST_CASE("PT2: weights by their own names, tied ones share their bytes") {
    const std::string plain = meta(7, numbers({4}), numbers({1}));
    const opened o(pt2(entry("l.weight", "weight_0", plain) + ", " +
                       entry("tied", "weight_0", meta(7, numbers({2}), numbers({2}), 1))));
    REQUIRE(o.file.has_value());
    CHECK(o.file->container() == "pt2");
    CHECK(o.keys() == "l.weight tied");
    CHECK(o.values("tied") == std::vector<float>{2, 4});
    const auto weights = o.file->state_dict().value();
    CHECK(weights.at("tied").value().storage_id() == weights.at("l.weight").value().storage_id());
    CHECK(weights.at("tied").value().requires_grad());
    const opened with(
        pt2(entry("w", "weight_0", plain),
            {{.name = "e/data/constants/tensor_0", .data = two},
             {.name = "e/data/constants/model_constants_config.json",
              .data = "{\"config\": {" + entry("c", "tensor_0", meta(7, numbers({2}), numbers({1}))) + "}}"}}));
    CHECK(with.keys() == "w");
    CHECK(with.at("constants", "c").shape()[0] == 2);
    const opened models(
        pt2(entry("w", "weight_0", plain), {{.name = "e/data/weights/other_weights_config.json",
                                             .data = "{\"config\": {" + entry("v", "weight_0", plain) + "}}"}}));
    CHECK(models.at("model", "w"));
    CHECK(models.at("other", "v"));
}

TEST_CASE("PT2: an entry that cannot be right is an error at its key") {
    const auto one = [](const std::string& of, const char* path = "weight_0") {
        return opened(pt2(entry("w", path, of))).keys();
    };
    CHECK(one(meta(7, numbers({5}), numbers({1}))) == "w!out_of_bounds");
    CHECK(one(meta(8, numbers({4}), numbers({1}))) == "w!out_of_bounds");
    CHECK(one(meta(99, numbers({1}), numbers({1}))) == "w!dtype_unknown");
    CHECK(one(meta(0, numbers({1}), numbers({1}))) == "w!dtype_unknown");
    CHECK(one(meta(7, numbers({1}), numbers({1}), 0, 1)) == "w!unsupported_tensor");
    CHECK(one(meta(7, numbers({1}), numbers({}))) == "w!shape_invalid");
    CHECK(one(meta(7, "[{\"as_expr\": {\"expr_str\": \"s0\"}}]", numbers({1}))) == "w!unsupported_tensor");
    CHECK(one("null") == "w!bad_arguments");
    CHECK(one("{}") == "w!dtype_unknown");
    CHECK(one(meta(7, numbers({1}), numbers({1})), "weight_7") == "w!record_missing");
    CHECK(one(meta(7, numbers({1}), numbers({1})), "../weights/weight_0") == "w!record_missing");
    CHECK(one(meta(7, "[{\"as_int\": 9223372036854775807}, {\"as_int\": 9223372036854775807}]", numbers({1, 1}))) ==
          "w!shape_invalid");
    CHECK(
        opened(pt2(entry("w", "weight_0", meta(7, numbers({1}), numbers({1}))) + ", " + entry("w", "weight_0", "null")))
            .keys() == "key_duplicate");
    for (const char* bad :
         {"\"w\": 1", "\"w\": {\"path_name\": 3}", "\"w\": {\"use_pickle\": 1}",
          "\"w\": {\"tensor_meta\": {\"sizes\": 1}}", "\"w\": {\"tensor_meta\": {\"sizes\": [{\"as_int\": -1}]}}",
          "\"w\": {\"tensor_meta\": {\"sizes\": [{\"as_int\": 9223372036854775808}]}}",
          "\"w\": {\"tensor_meta\": {\"sizes\": [{\"as_int\": 18446744073709551615}]}}", "\"w\""}) {
        CAPTURE(bad);
        CHECK(opened(pt2(bad)).code() == errc::json_invalid);
    }
}

TEST_CASE("PT2: what was pickled is read as a file of its own") {
    const std::string inner = torch_file(pkl::floats("0", 2), {{"0", two}});
    const auto holding = [&](const std::string& record) {
        return opened(pt2(entry("w", "weight_0", meta(7, numbers({4}), numbers({1}))) + ", " +
                              entry("sub", "weight_1", "null", true),
                          {{.name = "e/data/weights/weight_1", .data = record}}));
    };
    const opened o = holding(inner);
    CHECK(o.keys() == "w sub");
    CHECK(o.values("sub") == std::vector<float>{7, 8});
    CHECK(o.values("w") == std::vector<float>{1, 2, 3, 4});
    // Where its bytes lie in the whole file.
    const auto at = o.at("", "sub").file_offset().value();
    CHECK(o.bytes.substr(static_cast<std::size_t>(at), two.size()) == two);
    CHECK(ckpt::scan_globals_bytes(bytes_of(o.bytes)).value().size() == 3);
    CHECK(holding(torch_file(pkl::global("os", "system"))).code() == errc::global_not_allowed);
    CHECK(holding(pkl::pickle(pkl::num(3))).keys() == "w"); // no tensor, and another value
    const opened number = holding(pkl::pickle(pkl::num(3)));
    CHECK(number.file->root().at("sub").value().as_int().value() == 3);
    for (const std::string& bad :
         {inner.substr(0, inner.size() - 9), "x"s, ""s, write_zip(pt2(entry("w", "weight_0", "null"))).bytes,
          pkl::pickle(pkl::floats("0", 2))}) {
        const opened damaged = holding(bad);
        REQUIRE(damaged.file.has_value());
        CHECK(damaged.values("w") == std::vector<float>{1, 2, 3, 4});
        const auto value = damaged.file->root().at("sub").value();
        CHECK(value.refusal() != nullptr);
    }
    const opened absent(pt2(entry("sub", "weight_9", "null", true)));
    CHECK(absent.file->root().at("sub").value().refusal()->code == errc::record_missing);
}

TEST_CASE("PT2: of a file that is compressed inside the archive, nothing claims a place in the archive") {
    std::vector<zip_member> members{
        {.name = "serialized_exported_program.json", .data = "{}"},
        {.name = "serialized_state_dict.pt",
         .data = torch_file(pkl::dict({{pkl::str("w"), pkl::floats("0", 4)}, {pkl::str("bad"), pkl::floats("1", 4)}}),
                            {{"0", four}})}};
    members.back() = deflated(members.back());
    ckpt::open_options options;
    options.inflate = test_inflater();
    const opened o(members, options);
    CHECK(o.keys() == "w bad!record_missing");
    CHECK(o.values("w") == std::vector<float>{1, 2, 3, 4});
    CHECK(o.at("", "w").file_offset().error().code == errc::no_data);
    const auto weights = o.file->state_dict().value();
    CHECK(weights.view<float, 1>("w").value()(2) == 3); // it lies in memory
    CHECK(weights.at("bad").error().offset <= o.bytes.size());
}

TEST_CASE("PT2 before torch 2.8: whole files of torch.save") {
    const auto blob = [](const char* key) {
        return torch_file(pkl::dict({{pkl::str(key), pkl::floats("0", 4)}}), {{"0", four}});
    };
    const std::vector<zip_member> old{{.name = "serialized_exported_program.json", .data = "{}"},
                                      {.name = "serialized_state_dict.pt", .data = blob("w")},
                                      {.name = "version", .data = "8.2"}};
    CHECK(opened(old).keys() == "w");
    const opened alone(old);
    CHECK(alone.file->container() == "pt2");
    auto with = old;
    with.push_back({.name = "serialized_constants.pt", .data = blob("c")});
    CHECK(opened(with).keys() == "w");
    CHECK(opened(with).at("constants", "c"));
    with.back().data = "garbage";
    CHECK(opened(with).keys() == "w");
    CHECK(opened({{.name = "e/archive_format", .data = "pt2"}, {.name = "e/data/weights/model.pt", .data = blob("w")}})
              .keys() == "w"); // torch 2.8
    CHECK(opened({{.name = "e/archive_format", .data = "pt2"}, {.name = "e/data/aotinductor/model/a.so", .data = "x"}})
              .code() == errc::container_not_supported);
}

TEST_CASE("V1: tensors of PT2 and of model.json have at most limits.tensor_rank dimensions") {
    const auto list = [](std::size_t rank, const std::string& one) {
        std::string out = "[" + one;
        for (std::size_t i = 1; i < rank; ++i) out += ", " + one;
        return out + ']';
    };
    const auto pt2_of = [&](std::size_t rank) {
        const std::string ones = list(rank, "{\"as_int\": 1}");
        return opened(pt2(entry("w", "weight_0", meta(7, ones, ones))));
    };
    const auto json_of = [&](std::size_t rank) {
        const std::string ones = list(rank, "\"1\"");
        return opened({{.name = "m/version", .data = "1\n"},
                       {.name = "m/tensors/0", .data = four},
                       {.name = "m/model.json",
                        .data = "{\"mainModule\": {\"name\": \"m\", \"parameters\": [{\"tensorId\": \"0\", \"name\": "
                                "\"w\"}]}, \"tensors\": [{\"dims\": " +
                                ones + ", \"strides\": " + ones +
                                ", \"dataType\": \"FLOAT\", \"data\": {\"key\": \"tensors/0\"}}]}"}});
    };
    CHECK(pt2_of(64).keys() == "w");
    CHECK(json_of(64).keys() == "w");
    for (const opened& o : {pt2_of(65), json_of(65)}) {
        CHECK(o.keys() == "w!shape_invalid");
        const auto weights = o.file.value().state_dict().value();
        CHECK(weights.at("w").error().detail == "the tensor has 65 dimensions, the limit is 64");
    }
}

} // namespace script_layout_test
