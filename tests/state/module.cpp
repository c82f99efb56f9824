// tests/state/module.cpp: whole pickled modules, as their state_dict() would be.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>

#include "../support/sanitized.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace module_test {

using ckpt::errc;
using namespace test_support;

namespace {

using entries = std::vector<std::pair<std::string, std::string>>;

const std::vector<std::pair<std::string, std::string>> storage{{"0", std::string(16, '\0')}};
const std::string t = pkl::floats("0", 4);

std::string names(const entries& of) {
    entries out;
    for (const auto& [name, value] : of) out.emplace_back(pkl::str(name), value);
    return pkl::dict(out);
}

struct parts {
    entries parameters{};
    entries buffers{};
    entries modules{};
    std::string not_persistent{}; ///< a set; empty: no such attribute
    entries more{};
};
std::string state_of(const parts& p) {
    entries state{{"training", pkl::yes}, {"_parameters", names(p.parameters)}, {"_buffers", names(p.buffers)}};
    if (!p.not_persistent.empty()) state.emplace_back("_non_persistent_buffers_set", p.not_persistent);
    state.emplace_back("_forward_hooks", pkl::ordered());
    state.emplace_back("_modules", names(p.modules));
    for (const auto& one : p.more) state.push_back(one);
    return names(state);
}
std::string module_of(const parts& p, std::string_view name = "Linear") {
    return pkl::object("torch.nn.modules.linear", name, state_of(p));
}
std::string set_of(std::initializer_list<std::string> elements) {
    return pkl::call(pkl::global("__builtin__", "set"), {pkl::list(elements)});
}

ckpt::checkpoint opened(const std::string& value) {
    static std::vector<std::string> kept;
    kept.push_back(torch_file(value, storage));
    return ckpt::open_bytes(bytes_of(kept.back())).value();
}
std::string keys(const ckpt::state_dict& weights) {
    std::string out;
    for (const auto& [key, tensor] : weights) out.append(out.empty() ? "" : " ").append(key);
    return out;
}
/// The paths of `find_tensors`, elements joined by '|'.
std::string paths(const ckpt::checkpoint& file) {
    std::string out;
    for (const ckpt::located_tensor& row : ckpt::find_tensors(file.root()).value()) {
        if (!out.empty()) out += ' ';
        for (const ckpt::path_element& e : row.path) out += (&e == row.path.data() ? "" : "|") + e.text;
    }
    return out;
}

} // namespace

TEST_CASE("parameters, buffers, submodules, in the module's own order") {
    const std::string inner = module_of({{{"weight", t}, {"bias", t}}, {{"mean", t}}, {}, {}, {}});
    const auto file = opened(module_of({{{"scale", t}}, {{"table", t}}, {{"1", inner}, {"0", inner}}, {}, {}}));
    CHECK(file.root().is_module());
    CHECK(file.root().kind() == ckpt::kind::object);
    const auto weights = file.state_dict().value();
    CHECK(keys(weights) == "scale table 1.weight 1.bias 1.mean 0.weight 0.bias 0.mean");
    CHECK(weights.path().empty());
    CHECK(paths(file) == "scale table 1.weight 1.bias 1.mean 0.weight 0.bias 0.mean"); // one element for each
    const auto all = file.state_dicts();
    REQUIRE(all.size() == 1);
    CHECK(all[0].reason == "the root is a whole module with 8 tensors");
}

TEST_CASE("None is left out, and so are buffers that are not persistent; other attributes are no part of it") {
    const auto file = opened(module_of({{{"weight", t}, {"bias", pkl::none}},
                                        {{"kept", t}, {"cache", t}, {"empty", pkl::none}, {"other", t}},
                                        {{"gone", pkl::none}},
                                        set_of({pkl::str("cache"), pkl::str("absent"), pkl::str("other")}),
                                        {{"stride", t}, {"names", pkl::list({pkl::str("x")})}}}));
    const auto weights = file.state_dict().value();
    CHECK(keys(weights) == "weight kept");
    CHECK(weights.others().empty());
    CHECK(paths(file) == "weight kept stride cache other");
    // They are there all the same, as data.
    CHECK(file.root().find("cache").value().kind() == ckpt::kind::tensor);
    CHECK(file.root().find("stride").value().kind() == ckpt::kind::tensor);
    CHECK(file.root().find("names/0").value().as_string().value() == "x");
    // Before torch 1.5 all buffers were persistent.
    CHECK(keys(opened(module_of({{}, {{"a", t}, {"b", t}}, {}, {}, {}})).state_dict().value()) == "a b");
}

TEST_CASE("packed parameters of a quantised module are listed with its tensors, and so are its other attributes") {
    const std::string packed = pkl::object("torch", "ScriptObject", pkl::tuple({t, t}));
    const std::string inner = module_of({{{"w", t}},
                                         {{"cache", t}},
                                         {},
                                         set_of({pkl::str("cache")}),
                                         {{"table", t}, {"rows", pkl::list({t})}, {"_packed_params", packed}}});
    const auto file = opened(
        module_of({{}, {}, {{"0", inner}}, {}, {{"loss", pkl::object("timm.layers", "Loss", names({{"v", t}}))}}}));
    CHECK(keys(file.state_dict().value()) == "0.w");
    CHECK(paths(file) == "0.w 0._packed_params|0 0._packed_params|1 0.table 0.rows|0 0.cache loss|v");
    for (const char* path : {"0._packed_params/1", "0.cache", "0.table", "0.rows/0", "loss/v"}) {
        CAPTURE(path);
        CHECK(file.root().find(path).value().kind() == ckpt::kind::tensor);
    }
}

TEST_CASE("attributes that are tensors are found; what a way without attributes leads to is not found twice") {
    // As torch's LSTM keeps its weights in a list, too. The other module stands in a list, which makes it no submodule.
    const std::string other = module_of({{{"v", t}}, {}, {}, {}, {}});
    const auto file =
        opened(names({{"model", module_of({{{"w", t + "q\x63"}},
                                           {},
                                           {{"sub", module_of({{{"x", t}}, {}, {}, {}, {}}) + "q\x64"}},
                                           {},
                                           {{"flat", pkl::list({"h\x63", t})},
                                            {"again", names({{"sub", "h\x64"}, {"layers", pkl::list({other})}})},
                                            {"by_number", pkl::dict({{pkl::num(3), t}})}}})}}));
    CHECK(paths(file) == "model|w model|sub.x model|flat|1 model|again|layers|0|v model|by_number|3");
    CHECK(keys(file.state_dict().value()) == "w sub.x");
    for (const ckpt::located_tensor& row : ckpt::find_tensors(file.root()).value()) {
        CAPTURE(row.key());
        CHECK(file.root().find(ckpt::detail::path_text(row.path)).value().same_object(row.value));
    }
    // Only an attribute leads to the module of which the one in the list is a submodule.
    const std::string child = pkl::global("timm.layers", "X") + ")\x81q\x65";
    const std::string parent = module_of({{{"p", t}}, {}, {{"child", "h\x65"}}, {}, {}});
    const auto back = opened(
        module_of({{},
                   {},
                   {},
                   {},
                   {{"items", pkl::list({child + state_of({{{"c", t}}, {}, {}, {}, {{"parent", parent}}}) + "b"})}}}));
    CHECK(paths(back) == "items|0|c items|0|parent.p");
}

TEST_CASE("quantised modules have the state_dict that their classes make") {
    const auto script_object = [](const std::string& state) {
        return pkl::object("torch", "ScriptObject", pkl::tuple({state, pkl::str("__torch__.torch.classes.X")}));
    };
    const auto of = [](const parts& p, std::string_view module, std::string_view name) {
        return pkl::object(module, name, state_of(p));
    };
    const std::string_view quantised = "torch.ao.nn.quantized.modules.linear";
    const std::string packed =
        of({{},
            {},
            {},
            {},
            {{"dtype", pkl::global("torch", "qint8")}, {"_packed_params", script_object(pkl::tuple({t, pkl::none}))}}},
           quantised, "LinearPackedParams");
    const std::string linear =
        of({{}, {}, {{"_packed_params", packed}}, {}, {{"scale", pkl::real(0.25)}, {"zero_point", pkl::num(-7)}}},
           quantised, "Linear");
    const auto convolution = [&](std::string_view module) {
        return pkl::object(module, "Conv2d",
                           pkl::tuple({pkl::num(1), pkl::num(2), pkl::ints({2, 2}), pkl::ints({1, 1}),
                                       pkl::ints({0, 0}), pkl::ints({1, 1}), pkl::no, pkl::ints({0, 0}), pkl::num(1),
                                       pkl::str("zeros"), t, pkl::none, pkl::real(2), pkl::num(3), pkl::yes}));
    };
    const std::string embedding = of(
        {{},
         {},
         {},
         {},
         {{"_packed_weight", script_object(pkl::tuple({pkl::num(1), pkl::list({t}), pkl::list({}), pkl::list({})}))}}},
        "torch.ao.nn.quantized.modules.embedding_ops", "EmbeddingPackedParams");
    const std::string cell = of({{}, {}, {}, {}, {{"param", script_object(pkl::list({t}))}}},
                                "torch.ao.nn.quantized.dynamic.modules.rnn", "PackedParameter");
    const std::string scaled = module_of({{{"w", t}}, {}, {}, {}, {{"scale", pkl::real(0.5)}}}); // not quantised
    const auto file = opened(module_of({{},
                                        {},
                                        {{"linear", linear},
                                         {"conv", convolution("torch.ao.nn.quantized.modules.conv")},
                                         {"other", convolution("torch.nn.modules.conv")},
                                         {"embedding", embedding},
                                         {"cell", cell},
                                         {"scaled", scaled}},
                                        {},
                                        {}}));
    const auto weights = file.state_dict().value();
    CHECK(keys(weights) ==
          "linear.scale linear.zero_point linear._packed_params._packed_params.0 conv.weight conv.scale "
          "conv.zero_point embedding._packed_weight scaled.w");
    CHECK(weights.view<float, 0>("linear.scale").value()() == 0.25f);
    CHECK(weights.view<std::int64_t, 0>("linear.zero_point").value()() == -7);
    CHECK(weights.view<float, 0>("conv.scale").value()() == 2.0f);
    CHECK(weights.at("conv.weight").value().numel() == 4);
    std::string others;
    for (const auto& o : weights.others()) others.append(o.key) += ' ';
    CHECK(others == "linear._packed_params.dtype linear._packed_params._packed_params.1 other cell.param ");
    // Each is listed once, under a path that leads to it; what the cell packs and the foreign convolution too.
    for (const ckpt::located_tensor& row : ckpt::find_tensors(file.root()).value()) {
        CAPTURE(row.key());
        CHECK(file.root().find(ckpt::detail::path_text(row.path)).value().same_object(row.value));
    }
    CHECK(ckpt::find_tensors(file.root()).value().size() == weights.size() + 2);
    CHECK(file.root().find("conv/padding_mode").value().as_string().value() == "zeros");
    CHECK(file.root().find("linear/scale").value().as_real().value() == 0.25);
}

TEST_CASE("below a key of a larger file, and in lists; the path of a module is one element for each tensor") {
    const std::string net = module_of({{{"w", t}}, {}, {{"sub", module_of({{{"v", t}}, {}, {}, {}, {}})}}, {}, {}});
    const auto file = opened(names({{"epoch", pkl::num(1)}, {"model", net}, {"extra", pkl::list({net})}}));
    CHECK(paths(file) == "model|w model|sub.v extra|0|w extra|0|sub.v");
    const auto weights = file.state_dict().value();
    CHECK(keys(weights) == "w sub.v");
    CHECK(weights.path() == "model");
    CHECK(keys(file.state_dict("model/sub").value()) == "v");
    CHECK(keys(file.state_dict("extra").value()) == "0.w 0.sub.v");
    CHECK(keys(file.state_dict("").value()) == "model.w model.sub.v extra.0.w extra.0.sub.v");
    for (const char* path : {"model/sub.v", "model/sub/v", "model/_modules/sub/_parameters/v", "extra/0/sub.v"}) {
        CAPTURE(path);
        CHECK(file.root().find(path).value().kind() == ckpt::kind::tensor);
    }
    // PyTorch allows no dots in these names; a file may have them, and what is listed can be asked for.
    const auto dotted = opened(
        module_of({{{"x.y", t}},
                   {},
                   {{"a.b", module_of({{{"w", t}}, {}, {}, {}, {}})}, {"a", module_of({{{"v", t}}, {}, {}, {}, {}})}},
                   {},
                   {}}));
    CHECK(paths(dotted) == "x.y a.b.w a.v");
    for (const char* path : {"x.y", "a.v"}) CHECK(dotted.root().find(path).value().kind() == ckpt::kind::tensor);
    for (const char* path :
         {"model/sub.", "model/.v", "model/sub.v.x", "model/sub.none", "model/nothing", "model/w.x"}) {
        CAPTURE(path);
        CHECK(file.root().find(path).error().code == errc::path_missing);
    }
}

TEST_CASE("{model: module, ema: module}: averaged weights are not chosen silently") {
    const std::string net = module_of({{{"w", t}}, {}, {}, {}, {}});
    const auto both = opened(names({{"model", net}, {"ema", net}})).state_dict();
    CHECK(both.error().code == errc::state_dict_ambiguous);
    CHECK(both.error().detail ==
          "several dictionaries may be the weights: \"model\" (1 tensor), \"ema\" (1 tensor, averaged), less likely: "
          "\"\" (the root, 2 tensors)");
    const auto averaged = opened(names({{"model", pkl::none}, {"ema", net}})).state_dict().value();
    CHECK(averaged.path() == "ema");
}

TEST_CASE("what only looks like a module is an object") {
    const auto is_module = [](const std::string& value) {
        const auto file = opened(value);
        return file.root().is_module();
    };
    const std::string d = pkl::dict({});
    CHECK(is_module(pkl::object("timm.layers", "X", names({{"_parameters", d}, {"_buffers", d}, {"_modules", d}}))));
    CHECK(is_module(pkl::object(
        "timm.layers", "X",
        pkl::tuple({names({{"_parameters", d}, {"_buffers", d}, {"_modules", d}}), names({{"slot", pkl::num(1)}})}))));
    CHECK(is_module(pkl::object(
        "timm.layers", "X",
        pkl::tuple({pkl::none, names({{"_parameters", pkl::ordered()}, {"_buffers", d}, {"_modules", d}})}))));
    CHECK_FALSE(is_module(pkl::object("timm.layers", "X", names({{"_parameters", d}, {"_buffers", d}}))));
    CHECK_FALSE(is_module(
        pkl::object("timm.layers", "X", names({{"_parameters", d}, {"_buffers", pkl::list({})}, {"_modules", d}}))));
    CHECK_FALSE(is_module(names({{"_parameters", d}, {"_buffers", d}, {"_modules", d}}))); // a dictionary
    CHECK_FALSE(is_module(pkl::object("timm.layers", "X", pkl::list({}))));
    // The last of equal keys counts, as in Python.
    CHECK_FALSE(is_module(pkl::object(
        "timm.layers", "X", names({{"_parameters", d}, {"_buffers", d}, {"_modules", d}, {"_modules", pkl::none}}))));
}

TEST_CASE("shared modules and tied parameters keep all their names; a module in itself ends") {
    using namespace pkl;
    // One object under two names, by the memo.
    const std::string shared =
        module_of({{}, {}, {{"a", module_of({{{"w", t}}, {}, {}, {}, {}}) + "q\x63"}, {"b", "h\x63"}}, {}, {}});
    CHECK(keys(opened(shared).state_dict().value()) == "a.w b.w");
    const auto file = opened(module_of({{{"w", t + "q\x63"}, {"tied", "h\x63"}}, {}, {}, {}, {}}));
    const auto weights = file.state_dict().value();
    CHECK(keys(weights) == "w tied");
    CHECK(weights.at("w").value().storage_id() == weights.at("tied").value().storage_id());
    // A module whose submodule is the module itself.
    const std::string cycle =
        global("timm.layers", "X") + ")\x81q\x63" +
        names({{"_parameters", names({{"w", t}})}, {"_buffers", dict({})}, {"_modules", names({{"self", "h\x63"}})}}) +
        "b";
    CHECK(keys(opened(cycle).state_dict().value()) == "w");
    CHECK(paths(opened(cycle)) == "w");
}

TEST_CASE("entries that are no tensors are told, and tensors that were refused keep their names") {
    const auto file =
        opened(module_of({{{"bad", pkl::floats("0", 5)}, {"odd", pkl::num(7)}},
                          {},
                          {{"list", pkl::list({t})}, {"foreign", pkl::object("timm.layers", "Y", pkl::dict({}))}},
                          {},
                          {}}));
    const auto weights = file.state_dict().value();
    CHECK(keys(weights) == "bad list.0");
    CHECK(weights.refused() == 1);
    std::string others;
    for (const auto& o : weights.others()) others.append(o.key) += ' ';
    CHECK(others == "odd foreign ");
}

TEST_CASE("R1: many modules that share one large state cost time in proportion to the file" *
          doctest::test_suite("slow")) {
    // 4,000 submodules with one state: of 4,000 attributes and 1,000 names of buffers that are not persistent; the same
    // in a pair with slots; of 4,000 submodules, each of which is one more.
    constexpr int many = test_support::sanitized ? 2'600 : 4'000; // with 2,000 the file pays for all steps
    entries attributes, children;
    for (int i = 0; i < many; ++i) attributes.emplace_back("a" + std::to_string(i), pkl::none);
    for (int i = 0; i < many; ++i)
        children.emplace_back("c" + std::to_string(i), pkl::object("timm.layers", "X", pkl::dict({})));
    std::string absent = pkl::global("__builtin__", "set") + "(](";
    for (int i = 0; i < many / 4; ++i) absent += pkl::str("n" + std::to_string(i));
    absent += "etR";
    const std::string plain = state_of({{{"w", t}}, {}, {}, absent, attributes});
    for (const std::string& state :
         {plain, pkl::tuple({plain, pkl::none}), state_of({{{"w", t}}, {}, children, {}, {}})}) {
        const std::string x = pkl::global("timm.layers", "X");
        std::string submodules = "}(" + pkl::str("m") + x + ")\x81" + state +
                                 "q\x63"
                                 "b";
        for (int i = 0; i < many; ++i)
            submodules += pkl::str("m" + std::to_string(i)) + x +
                          ")\x81h\x63"
                          "b";
        submodules += "u";
        const std::string file = torch_file(pkl::object("timm.layers", "Y",
                                                        pkl::dict({{pkl::str("_parameters"), pkl::dict({})},
                                                                   {pkl::str("_buffers"), pkl::dict({})},
                                                                   {pkl::str("_modules"), submodules}})),
                                            storage);
        const auto opened_file = ckpt::open_bytes(bytes_of(file));
        REQUIRE(opened_file.has_value());
        // More steps than the file pays for: an error, and soon.
        CHECK(opened_file->state_dict("").error().code == errc::limit);
        if (state != plain) continue; // the searches below walk modules of every kind with the same steps
        CHECK(ckpt::find_tensors(opened_file->root()).error().code == errc::output_limit);
        CHECK(opened_file->state_dict().error().code == errc::state_dict_ambiguous);
        const auto all = opened_file->state_dicts();
        REQUIRE(all.size() == 1);
        CHECK(all[0].reason.find("at least") != std::string::npos);
    }
}

} // namespace module_test
