// tests/torch/json_file.cpp: JSON files as values, and those that stand beside weights.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/folder.hpp>

#include "../support/temporary_file.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <sstream>
#include <string>
#include <string_view>

namespace json_file_test {

using ckpt::errc;
using ckpt::kind;
using namespace test_support;

namespace {

const std::string frameworks = CKPT_TEST_DATA "/frameworks/";

/// The error of a text that is refused; it names the file.
ckpt::error error_of(std::string_view text, const ckpt::limits& budget = {}) {
    const temporary_file file(text);
    const auto read = ckpt::open_json(file.path(), budget);
    REQUIRE(read.refusal() != nullptr);
    CHECK(read.root().kind() == kind::refused);
    CHECK(read.refusal()->file == file.path().string());
    return *read.refusal();
}

std::string nested(std::size_t levels) { return std::string(levels, '[') + std::string(levels, ']'); }

std::string content_of(const std::string& path) {
    std::ostringstream out;
    out << std::ifstream(path, std::ios::binary).rdbuf();
    return out.str();
}

} // namespace

TEST_CASE("a JSON text becomes the values that Python's json makes of it") {
    const temporary_file file(R"({"a": [1, -2, 300, 2.5, 1e3, -0], "b": {"c": null, "d\u00e9": true, "": false},
        "big": 9223372036854775808, "least": -9223372036854775808, "most": 9223372036854775807,
        "limits": [0.0, Infinity], "less": -Infinity, "none": NaN, "empty": [{}, []], "text": "x\ny"})");
    const auto json = ckpt::open_json(file.path());
    const ckpt::value root = json.root();
    CHECK(json.refusal() == nullptr);
    CHECK(json.path() == file.path().string());
    CHECK(root.kind() == kind::dictionary);
    CHECK(root.size() == 10);
    CHECK(root.entries().begin().operator*().key.as_string().value() == "a"); // in the file's order
    CHECK(json.get<int>("a/1").value() == -2);
    CHECK(json.get<int>("a/2").value() == 300);
    CHECK(json.get<double>("a/3").value() == 2.5);
    CHECK(root.find("a/4").value().kind() == kind::real);
    CHECK(root.find("a/5").value().as_int().value() == 0); // Python's -0 is an int
    CHECK(root.find("b/c").value().is_none());
    CHECK(json.get<bool>("b/d\xc3\xa9").value());
    CHECK_FALSE(json.get<bool>("b/").value());
    CHECK(root.find("big").value().as_integer_bytes().value().size() == 9);
    CHECK(json.get<std::int64_t>("least").value() == INT64_MIN);
    CHECK(json.get<std::int64_t>("most").value() == INT64_MAX);
    CHECK(std::isinf(json.get<double>("limits/1").value()));
    CHECK(json.get<double>("less").value() < 0);
    CHECK(std::isnan(json.get<double>("none").value()));
    CHECK(root.find("empty/0").value().kind() == kind::dictionary);
    CHECK(root.find("empty/1").value().kind() == kind::list);
    CHECK(json.get<std::string>("text").value() == "x\ny");
    CHECK(json.get_or("nothing", 7).value() == 7);
    const auto wrong = json.get<int>("text").error();
    CHECK(wrong.code == errc::wrong_type);
    CHECK(wrong.detail == "expected int, found str");
    CHECK(wrong.file == file.path().string());
}

TEST_CASE("a text that is no JSON, or that readers take in two ways, is refused with its place") {
    CHECK(error_of("").detail == "byte 0: a value was expected");
    CHECK(error_of("{\"a\": 1} x").detail == "byte 9: text after the end of the value");
    CHECK(error_of("<html>").code == errc::json_invalid);
    CHECK(error_of("[1,]").code == errc::json_invalid);
    CHECK(error_of("[-NaN]").code == errc::json_invalid);
    CHECK(error_of("[Inf]").code == errc::json_invalid);
    CHECK(error_of("[01]").code == errc::json_invalid);
    CHECK(error_of("[1e400]").detail == R"(byte 6: no double holds the number "1e400")");
    CHECK(error_of(R"({"a": 1, "b": {"a": 2}, "a": 3})").detail ==
          R"(byte 31: the object that ends here has "a" twice)");
    CHECK(ckpt::open_json("/nowhere/x.json").get<int>("a").error().code == errc::cannot_open);
    CHECK(ckpt::open_json(CKPT_TEST_DATA).get<int>("a").error().code == errc::is_a_directory);
}

TEST_CASE("depth, size and digits have limits") {
    const temporary_file deep(nested(127));
    CHECK(ckpt::open_json(deep.path()));
    CHECK(error_of(nested(128)).code == errc::json_invalid);
    CHECK(error_of(std::string(5'000'000, '[')).code == errc::json_invalid);
    const temporary_file eight("[1, 2, 3]");
    CHECK(ckpt::open_json(eight.path(), {.directory_bytes = 9}));
    CHECK(error_of("[1, 2, 3]", {.directory_bytes = 8}).code == errc::limit);
    const temporary_file digits('-' + std::string(4300, '9'));
    CHECK(ckpt::open_json(digits.path()));
    CHECK(error_of(std::string(4301, '9')).code == errc::limit);
}

TEST_CASE("the configuration beside a file, in a folder and beside an index") {
    for (const char* path :
         {"transformers-5.23/checkpoint-4", "transformers-5.23/checkpoint-4/model.safetensors",
          "transformers-5.23/shards_safetensors", "transformers-5.23/shards_safetensors/model.safetensors.index.json",
          "transformers-4.57/checkpoint-4-bin/pytorch_model.bin"}) {
        CAPTURE(path);
        const auto file = ckpt::open_any(frameworks + path).value();
        CHECK(file.config().get<int>("n_head").value() == 2);
        CHECK(file.config().get<std::string>("architectures/0").value() == "GPT2LMHeadModel");
        CHECK(file.config().get<float>("layer_norm_epsilon").value() == 1e-5f);
        CHECK(file.config("generation_config.json").get<int>("eos_token_id").value() == 1);
    }
    const auto llama = ckpt::open_folder(frameworks + "llama_parts/llama3").value().config();
    CHECK(llama.get<int>("dim").value() == 8);
    CHECK(llama.path().ends_with("/llama3/params.json"));
    const auto adapter = ckpt::open_any(frameworks + "peft-0.21/adapter").value().config();
    CHECK(adapter.get<std::string>("bias").value() == "none");
}

TEST_CASE("a configuration that is missing, damaged or nowhere says so, with the folder and the names") {
    const std::string model = frameworks + "transformers-5.23/checkpoint-4/model.safetensors";
    const temporary_folder folder({{"model.safetensors", content_of(model)}});
    const auto path = folder.path().string();
    const auto file = ckpt::open_any(path).value();
    const auto missing = file.config().get<int>("n_head").error();
    CHECK(missing.code == errc::cannot_open);
    CHECK(missing.detail.starts_with("no config.json, no params.json, no adapter_config.json"));
    CHECK(missing.detail.find(path.substr(path.size() - 16)) != std::string::npos);
    CHECK(file.config().get_or("n_head", 4).error().code == errc::cannot_open); // no file is no answer
    CHECK(file.config("hparams.json").get<int>("a").error().detail.starts_with("no hparams.json in the folder"));
    folder.add("params.json", "{\"dim\": 8}");
    CHECK(file.config().get<int>("dim").value() == 8); // opened before it was there
    folder.add("config.json", "{\"dim\": ");
    const auto damaged = file.config(); // the first that exists, not the first that is right
    REQUIRE(damaged.refusal() != nullptr);
    CHECK(damaged.refusal()->code == errc::json_invalid);
    CHECK(damaged.refusal()->file.ends_with("/config.json"));
    const std::string bytes = content_of(model);
    const auto memory = ckpt::open_bytes(std::as_bytes(std::span(bytes))).value().config();
    CHECK(memory.get<int>("dim").error().detail ==
          "the checkpoint was opened from memory, so no configuration stands beside it");
}

TEST_CASE("a file without a folder in its path has its configuration in the present folder") {
    const auto before = std::filesystem::current_path();
    std::filesystem::current_path(frameworks + "transformers-5.23/checkpoint-4");
    CHECK(ckpt::open("model.safetensors").value().config().get<int>("n_head").value() == 2);
    CHECK(ckpt::open_any(".").value().config().get<int>("n_head").value() == 2);
    std::filesystem::current_path(before);
}

} // namespace json_file_test
