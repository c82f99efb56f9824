// tests/state/discovery.cpp: where the weights are, in the shapes in which frameworks save them.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/pickle/value_access.hpp>

#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace discovery_test {

using ckpt::errc;
using namespace test_support;

namespace {

const std::vector<std::pair<std::string, std::string>> one_storage{{"0", std::string(16, '\0')}};

std::string weights() {
    return pkl::dict({{pkl::str("a"), pkl::floats("0", 4)}, {pkl::str("b"), pkl::floats("0", 4)}});
}
std::string optimizer() {
    using namespace pkl;
    return dict({{str("state"), dict({{num(0), dict({{str("exp_avg"), floats("0", 4)}})}})},
                 {str("param_groups"), list({dict({{str("lr"), real(0.1)}})})}});
}

/// The path of the state_dict that is chosen, or the name of the error.
std::string chosen(const std::string& root) {
    const std::string file = torch_file(root, one_storage);
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    const auto found = opened.state_dict();
    if (!found) return '!' + std::string(ckpt::info(found.error().code).name);
    for (const ckpt::candidate& c : opened.state_dicts()) {
        CHECK_FALSE(c.reason.empty());
        CHECK(c.tensors > 0);
        CHECK(opened.state_dict(c.path).has_value());
    }
    return '/' + found->path();
}

std::string dict_of(const std::vector<std::pair<const char*, std::string>>& entries) {
    std::vector<std::pair<std::string, std::string>> out;
    for (const auto& [key, value] : entries) out.emplace_back(pkl::str(key), value);
    return pkl::dict(out);
}

} // namespace

TEST_CASE("the state_dict is found where frameworks put it") {
    CHECK(chosen(weights()) == "/");
    CHECK(chosen(pkl::ordered({{pkl::str("a"), pkl::floats("0", 4)}})) == "/");
    CHECK(chosen(dict_of({{"state_dict", weights()}})) == "/state_dict");
    CHECK(chosen(dict_of({{"", dict_of({{"state_dict", weights()}})}})) == "//state_dict");
    CHECK(chosen(dict_of({{"epoch", pkl::num(1)},
                          {"name", pkl::str("x")},
                          {"state_dict", weights()},
                          {"optimizer", optimizer()}})) == "/state_dict"); // OpenCLIP
    CHECK(chosen(dict_of({{"epoch", pkl::num(1)},
                          {"global_step", pkl::num(9)},
                          {"loops", dict_of({{"x", dict_of({{"t", pkl::floats("0", 4)}})}})},
                          {"callbacks", dict_of({{"c", weights()}})},
                          {"state_dict", weights()},
                          {"optimizer_states", pkl::list({optimizer()})}})) == "/state_dict"); // Lightning
    CHECK(chosen(dict_of({{"model", weights()},
                          {"optimizer", optimizer()},
                          {"scaler", dict_of({{"scale", pkl::floats("0", 4)}})}})) == "/model");
    CHECK(chosen(dict_of({{"my weights", weights()}, {"my optimizer", optimizer()}})) ==
          "/my weights"); // by its parts, not by its name
    CHECK(chosen(dict_of({{"a/b", weights()}, {"epoch", pkl::num(1)}})) == "/a\\/b");
    CHECK(chosen(dict_of({{"best", weights()}, {"params", weights()}})) == "/params");
}

TEST_CASE("weights are looked for three levels down, and one object under two names among 64 is one candidate") {
    const std::string at_three = dict_of({{"b", dict_of({{"model", weights()}})}});
    CHECK(chosen(dict_of({{"a", at_three}})) == "/a/b/model");
    CHECK(chosen(dict_of({{"x", dict_of({{"a", at_three}})}})) == "/x");
    const std::string swa = dict_of({{"c", dict_of({{"average_model_state", weights()}})}});
    CHECK(chosen(dict_of({{"callbacks", swa}})) == "/callbacks/c/average_model_state");
    CHECK(chosen(dict_of({{"callbacks", dict_of({{"x", swa}})}})) != "/callbacks/x/c/average_model_state");
    const auto candidates = [](int n) { // n dictionaries, the last one twice
        std::vector<std::pair<std::string, std::string>> of;
        for (int i = 0; i < n; ++i) of.emplace_back(pkl::str("k" + std::to_string(i)), weights());
        of.back().second += "r" + le32(9999);
        of.emplace_back(pkl::str("again"), "j" + le32(9999));
        const std::string file = torch_file(pkl::dict(of), one_storage);
        return ckpt::open_bytes(bytes_of(file)).value().state_dicts().size();
    };
    CHECK(candidates(64) == 64 + 1); // and the root
    CHECK(candidates(65) == 66 + 1);
}

TEST_CASE("what is equally likely stays ambiguous, and the error names the candidates") {
    CHECK(chosen(dict_of({{"model", weights()}, {"model_ema", weights()}})) == "!state_dict_ambiguous");
    CHECK(chosen(dict_of({{"params", weights()}, {"params_ema", weights()}})) == "!state_dict_ambiguous");
    CHECK(chosen(dict_of({{"generator", weights()}, {"discriminator", weights()}})) == "!state_dict_ambiguous");
    CHECK(chosen(dict_of({{"netG", weights()}, {"netD", weights()}, {"optG", optimizer()}})) ==
          "!state_dict_ambiguous");
    CHECK(chosen(dict_of({{"G", weights()}, {"D", weights()}})) == "!state_dict_ambiguous");
    const std::string file = torch_file(dict_of({{"net", weights()},
                                                 {"student", weights()},
                                                 {"teacher", weights()},
                                                 {"ema", weights()},
                                                 {"other", weights()}}),
                                        one_storage);
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    const auto failure = opened.state_dict().error();
    CHECK(failure.code == errc::state_dict_ambiguous);
    CHECK(failure.detail == "several dictionaries may be the weights: \"net\" (2 tensors), \"student\" (2 tensors), "
                            "\"teacher\" (2 tensors), \"ema\" (2 tensors, averaged), less likely: "
                            "\"other\" (2 tensors), \"\" (the root, 10 tensors)");
    CHECK_FALSE(failure.hint.empty());
    const std::string three =
        torch_file(dict_of({{"net", weights()}, {"student", weights()}, {"teacher", weights()}}), one_storage);
    CHECK(ckpt::open_bytes(bytes_of(three)).value().state_dict().error().detail ==
          "several dictionaries may be the weights: \"net\" (2 tensors), \"student\" (2 tensors), "
          "\"teacher\" (2 tensors), less likely: \"\" (the root, 6 tensors)");
    const auto all = opened.state_dicts();
    REQUIRE(all.size() == 6);
    CHECK(all[0].path == "net");
    CHECK(all[3].path == "ema");
    CHECK(all[4].path == "other");
    CHECK(all[5].path.empty());
    CHECK(all[5].tensors == 10);
}

TEST_CASE("averages are found where callbacks and trainers keep them, and make a question") {
    const std::string swa =
        dict_of({{"StochasticWeightAveraging",
                  dict_of({{"n_averaged", pkl::floats("0", 1)}, {"average_model_state", weights()}})},
                 {"ModelCheckpoint", weights()}});
    CHECK(chosen(dict_of({{"state_dict", weights()}, {"callbacks", swa}})) == "!state_dict_ambiguous"); // Lightning
    CHECK(chosen(dict_of({{"model", weights()}, {"extra_state", dict_of({{"ema", weights()}})}})) ==
          "!state_dict_ambiguous"); // fairseq
    CHECK(chosen(dict_of({{"model", dict_of({{"net", weights()}, {"ema", weights()}})}})) ==
          "!state_dict_ambiguous"); // both below one name
    CHECK(chosen(dict_of({{"state_dict", weights()}, {"current_model_state", weights()}})) ==
          "!state_dict_ambiguous"); // Lightning's WeightAveraging
    CHECK(chosen(dict_of(
              {{"ema", dict_of({{"decay", pkl::real(0.9)}, {"shadow_params", pkl::list({pkl::floats("0", 4)})}})}})) ==
          "/ema/shadow_params"); // torch_ema
    // Whatever the average is called, and wherever the raw one stands.
    for (const char* name : {"generator_ema", "net_ema", "net_g_ema", "module_ema", "ema_network", "EMA", "model_swa",
                             "model_averaged", "params_avg", "state_dict_swa", "netEma", "params-ema", "model.ema"}) {
        CAPTURE(name);
        CHECK(chosen(dict_of({{"model", weights()}, {name, weights()}})) == "!state_dict_ambiguous");
        CHECK(chosen(dict_of({{"a", pkl::floats("0", 4)}, {"b", pkl::floats("0", 4)}, {name, weights()}})) ==
              "!state_dict_ambiguous"); // raw at the root
        CHECK(chosen(dict_of({{"model", dict_of({{"anything", weights()}, {name, weights()}})}})) ==
              "!state_dict_ambiguous");
        CHECK(chosen(dict_of({{"epoch", pkl::num(1)}, {name, weights()}})) ==
              '/' + std::string(name)); // the only one there is
    }
    CHECK(chosen(dict_of({{"model", weights()}, {"shadow_params", pkl::list({pkl::floats("0", 4)})}})) ==
          "!state_dict_ambiguous");
    for (const char* name : {"schema", "remap", "cinema", "emad", "themes"}) {
        CAPTURE(name);
        CHECK(chosen(dict_of({{"model", weights()}, {name, weights()}})) == "/model"); // a word only in part
    }
    const std::string file = torch_file(dict_of({{"state_dict", weights()}, {"callbacks", swa}}), one_storage);
    const auto all = ckpt::open_bytes(bytes_of(file)).value().state_dicts();
    REQUIRE(all.size() >= 2);
    CHECK(all[0].path == "state_dict");
    CHECK_FALSE(all[0].averaged);
    CHECK(all[1].path == "callbacks/StochasticWeightAveraging/average_model_state");
    CHECK(all[1].averaged);
    CHECK(all[1].reason == "the name \"average_model_state\" means averaged weights, and 2 tensors are below it");
    // Names of parts deep inside a model are no candidates.
    CHECK(chosen(dict_of({{"vae", dict_of({{"encoder", weights()}, {"decoder", weights()}})}})) == "/vae");
}

TEST_CASE("weights further down, in lists and tuples, and below objects") {
    CHECK(chosen(dict_of({{"checkpoint", dict_of({{"state_dict", weights()}, {"optimizer", optimizer()}})},
                          {"epoch", pkl::num(1)}})) == "/checkpoint/state_dict");
    CHECK(chosen(pkl::tuple({weights(), optimizer(), pkl::num(3)})) == "/0");
    CHECK(chosen(pkl::list({pkl::num(1), dict_of({{"model", weights()}})})) == "/1/model");
    CHECK(chosen(pkl::object("argparse", "Namespace", dict_of({{"model", weights()}}))) == "/model");
}

TEST_CASE("one object under two names is one candidate, under the better name") {
    const std::string shared = weights() + "q\x63";
    CHECK(chosen(dict_of({{"model", shared}, {"ema", "h\x63"}})) == "/model");
    CHECK(chosen(dict_of({{"mine", shared}, {"state_dict", "h\x63"}})) == "/state_dict");
}

TEST_CASE("an optimizer's own file is no model, and says so") {
    const std::string file = torch_file(optimizer(), one_storage);
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    const auto all = opened.state_dicts();
    REQUIRE(all.size() == 1);
    CHECK(all[0].path.empty());
    CHECK(all[0].reason == "the root is the state of an optimizer, not a model");
    const auto parts = opened.state_dict().value();
    CHECK(parts.contains("state.0.exp_avg"));
}

TEST_CASE("where no dictionary of tensors is, the error says what the root is") {
    CHECK(chosen(pkl::dict({})) == "!state_dict_missing");
    CHECK(chosen(pkl::num(1)) == "!state_dict_missing");
    CHECK(chosen(pkl::none) == "!state_dict_missing");
    CHECK(chosen(dict_of({{"epoch", pkl::num(1)}, {"names", pkl::list({pkl::str("a")})}})) == "!state_dict_missing");
}

TEST_CASE("a tensor is a state_dict of one entry, whose key is the last element of its path") {
    const std::string lone = torch_file(pkl::floats("0", 4), one_storage);
    const auto opened = ckpt::open_bytes(bytes_of(lone)).value();
    for (const auto& weights : {opened.state_dict().value(), opened.state_dict("").value()}) {
        CHECK(weights.size() == 1);
        CHECK(weights.at("tensor").value().shape()[0] == 4);
        CHECK(weights.view<double>("tensor").error().path.empty());
    }
    CHECK(opened.state_dict("nowhere").error().code == errc::path_missing);
    CHECK(opened.state_dicts().empty());

    const std::string nested = torch_file(dict_of({{"a", dict_of({{"b/c", pkl::floats("0", 4)}})}}), one_storage);
    const auto weights = ckpt::open_bytes(bytes_of(nested)).value().state_dict("a/b\\/c").value();
    CHECK(weights.size() == 1);
    CHECK(weights.view<double>("b/c").error().path == "a/b\\/c");
}

TEST_CASE("what is no dictionary of tensors has the right article in the error, whatever its type is") {
    using namespace pkl;
    const std::vector<std::pair<std::string, std::string>> values{
        {none, "None"},
        {"\x88", "a bool"},
        {num(1), "an int"},
        {"\x8a\x09" + std::string(9, '\1'), "an int"},
        {real(0.5), "a float"},
        {call(global("builtins", "complex"), {real(1), real(2)}), "a complex number"},
        {str("x"), "a str"},
        {"C\x01x", "bytes"},
        {tuple({num(1)}), "a tuple"},
        {list({num(1)}), "a list"},
        {dict({}), "a dict"},
        {call(global("builtins", "set"), {list({num(1)})}), "a set"},
        {global("torch", "float32"), "a global"},
        {call(global("argparse", "Namespace"), {}), "an object"},
    };
    for (const auto& [root, words] : values) {
        const std::string file = torch_file(root, one_storage),
                          below = torch_file(dict({{str("n"), root}}), one_storage);
        const ckpt::checkpoint opened = ckpt::open_bytes(bytes_of(file)).value();
        CHECK(opened.state_dict().error().detail == "no dictionary of tensors was found: the root is " + words);
        if (words == "a dict" || words == "a list" || words == "a tuple") continue;
        const ckpt::checkpoint other = ckpt::open_bytes(bytes_of(below)).value();
        CHECK(other.state_dict("n").error().detail == "not a dictionary or a module, but " + words);
    }
    const std::string_view all[]{"nothing",          "None",      "a bool",          "an int",         "a float",
                                 "a complex number", "a str",     "bytes",           "a tuple",        "a list",
                                 "a dict",           "a set",     "a tensor",        "a storage",      "an ndarray",
                                 "a global",         "an object", "a persistent id", "a refused value"};
    for (std::size_t k = 0; k <= static_cast<std::size_t>(ckpt::kind::refused); ++k)
        CHECK(ckpt::detail::with_article(static_cast<ckpt::kind>(k)) == all[k]);
}

TEST_CASE("a state_dict at a path: dictionaries, lists and tuples; other values are errors of their own") {
    using namespace pkl;
    const std::string file = torch_file(dict({{str("l"), list({floats("0", 4), dict({{str("x"), floats("0", 4)}})})},
                                              {str("t"), tuple({floats("0", 4)})},
                                              {str("n"), num(1)},
                                              {str("bad"), call(global("collections", "OrderedDict"), {num(1)})},
                                              {num(7), weights()}}),
                                        one_storage);
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    const auto l = opened.state_dict("l").value();
    REQUIRE(l.size() == 2);
    CHECK(l.contains("0"));
    CHECK(l.contains("1.x"));
    CHECK(l.path() == "l");
    CHECK(opened.state_dict("l/1").value().contains("x"));
    CHECK(opened.state_dict("t").value().contains("0"));
    CHECK(opened.state_dict("7").value().size() == 2);
    CHECK(opened.state_dict("n").error().code == errc::state_dict_missing);
    CHECK(opened.state_dict("l/0").value().contains("0"));
    CHECK(opened.state_dict("l/2").error().code == errc::path_missing);
    CHECK(opened.state_dict("bad").error().code == errc::bad_arguments); // the stored error of the value
}

TEST_CASE("real files: OpenCLIP, Lightning, the demos") {
    const auto at = [](const char* name) {
        const auto weights = ckpt::open(std::filesystem::path(CKPT_TEST_DATA) / name).value().state_dict().value();
        return weights.path();
    };
    CHECK(at("frameworks/open_clip-2.24/epoch_2.pt") == "state_dict");
    CHECK(at("frameworks/lightning-2/last.ckpt") == "state_dict");
    CHECK(at("demo/mlp.pt") == "model");
    CHECK(at("demo/plain.pt").empty());
}

TEST_CASE("dictionaries of numpy arrays are state_dicts where a file has no tensors, and never preferred to tensors") {
    using namespace pkl;
    const auto raw_bytes = [](const std::string& b) { return "C" + std::string(1, static_cast<char>(b.size())) + b; };
    const auto array = [&](int n) {
        const std::string dtype = call(global("numpy", "dtype"), {str("f4"), num(0), num(1)}) +
                                  tuple({num(3), str("<"), "N", "N", "N", num(-1), num(-1), num(0)}) + "b";
        const std::string empty = call(global("numpy._core.multiarray", "_reconstruct"),
                                       {global("numpy", "ndarray"), tuple({num(0)}), raw_bytes("b")});
        return empty +
               tuple({num(1), tuple({num(n)}), dtype, "\x89",
                      raw_bytes(std::string(4 * static_cast<std::size_t>(n), '\0'))}) +
               "b";
    };
    const std::string arrays = dict_of({{"a.weight", array(2)}, {"a.bias", array(1)}});
    // detectron2's model zoo, Paddle.
    CHECK(chosen(dict_of({{"model", arrays}, {"__author__", str("x")}})) == "/model");
    CHECK(chosen(dict_of({{"a.weight", array(2)}, {"a.bias", array(1)}, {"names", dict_of({{"a", str("b")}})}})) ==
          "/");
    CHECK(chosen(dict_of({{"blobs", arrays}, {"epoch", num(1)}})) == "/blobs");
    CHECK(chosen(dict_of({{"model", arrays}, {"ema", arrays}})) == "!state_dict_ambiguous");
    // Beside tensors they are statistics.
    CHECK(chosen(dict_of({{"my weights", weights()}, {"stats", arrays}})) == "/my weights");
    CHECK(chosen(dict_of({{"model", weights()}, {"weights", arrays}})) == "/model");
    CHECK(chosen(dict_of({{"my weights", weights()}, {"mean", array(3)}, {"std", array(3)}})) == "/my weights");
    CHECK(chosen(dict_of({{"checkpoint", dict_of({{"model", weights()}, {"mean", array(3)}})}})) ==
          "/checkpoint/model");
    CHECK(chosen(array(3)) == "/"); // a single array

    const std::string file = torch_file(dict_of({{"model", arrays}}), one_storage);
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    CHECK(opened.state_dicts().front().tensors == 2);
    const auto loaded = opened.state_dict().value();
    CHECK(loaded.size() == 2);
    CHECK(loaded.at("a.weight").value().shape()[0] == 2);
}

} // namespace discovery_test
