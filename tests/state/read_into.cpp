// tests/state/read_into.cpp: structs filled from values: configurations and hyperparameters.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/folder.hpp>
#include <ckpt/state/read_into.hpp>

#include "../support/temporary_file.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace read_into_test {

using ckpt::errc;
using namespace test_support;

namespace {

using keys = std::vector<std::string>;

struct scaling {
    double factor{};
    std::string type{};
};
struct settings {
    int heads{};
    float eps{};
    bool tied{};
    std::string name{};
    std::vector<std::string> kinds{};
    std::array<int, 2> window{};
    std::vector<bool> flags{};
    std::optional<std::int64_t> inner{7};
    std::optional<scaling> rope{};
    std::vector<scaling> more{};
};
struct flat {
    double factor{};
    scaling same{};
    std::uint8_t small{3};
};
struct gpt2 {
    int heads{};
    std::optional<int> inner{1};
    float eps{};
    std::string kind{};
};
struct layers {
    std::vector<std::vector<std::vector<int>>> all{};
};

const std::string whole = R"({"heads": 8, "eps": 1e-05, "tied": true, "name": "gpt", "kinds": ["a", "b"],
    "window": [3, 4], "flags": [true, false], "inner": null, "rope": {"factor": 2, "type": "yarn", "old": 1},
    "more": [{"factor": 1.5, "type": "x"}, {"type": "y", "factor": 3}], "unknown": {"heads": 1}})";

/// What is read of a JSON text.
template <class T>
ckpt::result<ckpt::load_report> read(std::string_view json, T& out, const ckpt::read_options& o = {}) {
    const temporary_file file(json);
    return ckpt::read_into(ckpt::open_json(file.path()), out, o);
}
template <class T> std::string detail(std::string_view json, const ckpt::read_options& o = {}) {
    T out{};
    const auto done = read(json, out, o);
    REQUIRE_FALSE(done);
    CHECK(done.error().code == errc::load_incomplete);
    CHECK_FALSE(done.error().file.empty());
    return done.error().detail;
}

} // namespace

} // namespace read_into_test

template <>
struct ckpt::binding<read_into_test::scaling> : ckpt::fields<ckpt::field<"factor", &read_into_test::scaling::factor>,
                                                             ckpt::field<"type", &read_into_test::scaling::type>> {};
template <>
struct ckpt::binding<read_into_test::settings>
    : ckpt::fields<
          ckpt::field<"heads", &read_into_test::settings::heads>, ckpt::field<"eps", &read_into_test::settings::eps>,
          ckpt::field<"tied", &read_into_test::settings::tied>, ckpt::field<"name", &read_into_test::settings::name>,
          ckpt::field<"kinds", &read_into_test::settings::kinds>,
          ckpt::field<"window", &read_into_test::settings::window>,
          ckpt::field<"flags", &read_into_test::settings::flags>,
          ckpt::field<"inner", &read_into_test::settings::inner>, ckpt::field<"rope", &read_into_test::settings::rope>,
          ckpt::field<"more", &read_into_test::settings::more>> {};
template <>
struct ckpt::binding<read_into_test::flat>
    : ckpt::fields<ckpt::field<"rope.scaling.factor", &read_into_test::flat::factor>, //
                   ckpt::field<"", &read_into_test::flat::same>, ckpt::field<"small", &read_into_test::flat::small>> {};
template <>
struct ckpt::binding<read_into_test::gpt2> : ckpt::fields<ckpt::field<"n_head", &read_into_test::gpt2::heads>,
                                                          ckpt::field<"n_inner", &read_into_test::gpt2::inner>,
                                                          ckpt::field<"layer_norm_epsilon", &read_into_test::gpt2::eps>,
                                                          ckpt::field<"model_type", &read_into_test::gpt2::kind>> {};
template <>
struct ckpt::binding<read_into_test::layers> : ckpt::fields<ckpt::field<"all", &read_into_test::layers::all>> {};

namespace read_into_test {

TEST_CASE("numbers, texts, lists, optionals and nested structs are read, and the report has all keys") {
    settings s;
    const auto report = read(whole, s).value();
    CHECK(s.heads == 8);
    CHECK(s.eps == 1e-5f);
    CHECK(s.tied);
    CHECK(s.name == "gpt");
    CHECK(s.kinds == keys{"a", "b"});
    CHECK(s.window == std::array{3, 4});
    CHECK(s.flags == std::vector{true, false});
    CHECK_FALSE(s.inner.has_value()); // None resets it
    REQUIRE(s.rope.has_value());
    CHECK(s.rope->factor == 2); // an int, for a double
    CHECK(s.more.size() == 2);
    CHECK(s.more[1].factor == 3);
    CHECK(report.complete());
    CHECK(report.ok());
    CHECK(report.unexpected_keys == keys{"unknown", "rope.old"});
    CHECK(report.loaded.size() == 8 + 2 + 2 * 2);
    CHECK(report.loaded.back().key == "more.1.type"); // fields of structs, not the structs
}

TEST_CASE("what is missing, unexpected or of another type is named, and the struct stays as it was") {
    settings s;
    s.heads = 5;
    const temporary_file file(R"({"head": 8, "eps": "small", "tied": 1, "name": null, "kinds": "ab", "window": [1],
        "flags": [true, 0], "rope": {"factor": 1}, "more": [{"factor": true, "type": "x"}]})");
    const auto failure = ckpt::read_into(ckpt::open_json(file.path()), s).error();
    CHECK(failure.code == errc::load_incomplete);
    CHECK(failure.file == file.path().string());
    CHECK(failure.detail.starts_with(R"(2 missing: "heads" (nearest: "head"), "rope.type"; 7 mismatched: "eps" (exp)"));
    CHECK(s.heads == 5);
    CHECK(detail<scaling>(R"({"factor": "2", "type": "x"})") ==
          R"(1 mismatched: "factor" (expected float, found str))");
    CHECK(detail<scaling>(R"({"factor": [2], "type": "x"})") ==
          R"(1 mismatched: "factor" (expected float, found list))");
    CHECK(detail<scaling>(R"({"factor": 1, "type": 2})") == R"(1 mismatched: "type" (expected str, found int))");
    CHECK(detail<scaling>("[1]") == R"(1 mismatched: "" (expected dict, found list))");
    CHECK(detail<settings>(R"({"rope": 3})").find(R"("rope" (expected dict, found int))") != std::string::npos);
    CHECK(detail<layers>(R"({"all": [[[1], [2, "x"]]]})") == R"(1 mismatched: "all.0.1.1" (expected int, found str))");
    CHECK(detail<layers>(R"({"all": {"0": 1}})") == R"(1 mismatched: "all" (expected list or tuple, found dict))");
    CHECK(detail<scaling>(R"({"factor": 1, "type": "x", "z": 1})", {.allow_unexpected = {}}) == R"(1 unexpected: "z")");
    scaling kept{9, "kept"};
    const auto report = read(R"({"factor": 1})", kept, {.allow_missing = {"type"}}).value();
    CHECK(kept.factor == 1);
    CHECK(kept.type == "kept");
    CHECK_FALSE(report.complete());
    CHECK(report.ok());
}

TEST_CASE("a file that was not read is the error of a read") {
    settings s;
    CHECK(ckpt::read_into(ckpt::open_json("/nowhere/x.json"), s).error().code == errc::cannot_open);
    CHECK(read("{", s).error().code == errc::json_invalid);
}

TEST_CASE("dots step down, the empty key stays, and a number must fit its field") {
    flat f;
    const auto report =
        read(R"({"rope": {"scaling": {"factor": 4}}, "factor": 5, "type": "t", "small": 255})", f).value();
    CHECK(f.factor == 4);
    CHECK(f.same.factor == 5);
    CHECK(f.same.type == "t");
    CHECK(f.small == 255);
    CHECK(report.unexpected_keys.empty());
    CHECK(report.loaded[0].key == "rope.scaling.factor");
    CHECK(detail<flat>(R"({"rope.scaling.factor": 4, "factor": 5, "type": "t", "small": 256})") ==
          R"(1 mismatched: "small" (the number does not fit into uint8))");
}

TEST_CASE("hyperparameters of a checkpoint are read by the same binding: dictionaries, namespaces, tensors") {
    using namespace pkl;
    const std::string file =
        torch_file(dict({{str("model"), dict({{str("w"), floats("0", 1)}})},
                         {str("args"), object("argparse", "Namespace",
                                              dict({{str("factor"), floats("0", 1)}, {str("type"), str("t")}}))}}),
                   {{"0", raw<float>({2.5f})}});
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    scaling s;
    CHECK(ckpt::read_into(opened.root().find("args").value(), s).has_value());
    CHECK(s.factor == 2.5);
    CHECK(s.type == "t");
    CHECK(ckpt::read_into(opened, s).error().detail.starts_with(R"(2 missing: "factor", "type")"));
}

TEST_CASE("the real configuration of a model, beside its weights") {
    const auto model = ckpt::open_any(CKPT_TEST_DATA "/frameworks/transformers-5.23/checkpoint-4").value();
    gpt2 g;
    CHECK(ckpt::read_into(model.config(), g).value().unexpected_keys.size() == 26);
    CHECK(g.heads == 2);
    CHECK_FALSE(g.inner.has_value());
    CHECK(g.kind == "gpt2");
    const auto config = model.config();
    CHECK(ckpt::read_into(config.root(), g, {.allow_unexpected = {}}).error().code == errc::load_incomplete);
    scaling none;
    const auto failure = ckpt::read_into(config, none).error();
    CHECK(failure.detail.starts_with("2 missing: \"factor\""));
    CHECK(failure.file.ends_with("checkpoint-4/config.json"));
}

TEST_CASE("values that are shared very often cost no more than their file is worth" * doctest::test_suite("slow")) {
    const auto read_shared = [](int times) { // as often what is below it, on three levels
        std::string inner = "](";
        for (int i = 0; i < times; ++i) inner += "K\1";
        const auto level = [times](const std::string& below, int number) {
            std::string out = "](" + below;
            for (int i = 0; i < times; ++i) out += std::string("h") + static_cast<char>(number);
            return out + "e\x94";
        };
        const std::string pickle = std::string("\x80\4", 2) + "}\x8c\3all" + level(level(inner + "e\x94", 0), 1) + "s.";
        const auto opened = ckpt::open_bytes(bytes_of(pickle)).value();
        layers l;
        const auto done = ckpt::read_into(opened, l);
        CHECK(l.all.size() == (done ? static_cast<std::size_t>(times) + 1 : 0));
        return done ? errc::none : done.error().code;
    };
    CHECK(read_shared(100) == errc::none); // 1,030,403 steps of a million, and 64 for each of 630 bytes
    CHECK(read_shared(101) == errc::limit);
    CHECK(read_shared(3000) == errc::limit); // 2.7e10
}

} // namespace read_into_test
