// tests/torch/lazy.cpp: lazy modules that were saved before their first forward.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/state/push.hpp>

#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lazy_test {

using ckpt::errc;
using namespace test_support;

namespace {

const std::vector<std::string> keys{"0.weight",       "0.bias",        "1.weight",
                                    "1.bias",         "2.weight",      "2.bias",
                                    "2.running_mean", "2.running_var", "2.num_batches_tracked"};

/// A method of an object of a class, as a whole module has it.
std::string method(std::string_view module, std::string_view type, std::string_view name) {
    return pkl::call(pkl::global("__builtin__", "getattr"), {pkl::object(module, type, pkl::dict({})), pkl::str(name)});
}

} // namespace

TEST_CASE("parameters and buffers that were not initialised are in the state_dict, and say so") {
    for (const char* name : {"state_dict.pt", "module.pt"}) {
        CAPTURE(std::string(name));
        const std::string path = std::string(CKPT_TEST_DATA "/frameworks/lazy/") + name;
        CHECK(ckpt::scan_globals(path).value().verdict() == ckpt::file_verdict::clean);
        const auto file = ckpt::open(path).value();
        CHECK(file.verify().ok());
        const auto weights = file.state_dict().value();
        std::vector<std::string> found;
        for (const auto entry : weights) found.emplace_back(entry.key);
        CHECK(found == keys);
        CHECK(weights.refused() == 6);
        CHECK(weights.at("0.weight").error().code == errc::uninitialized);
        std::array<float, 6> room{};
        constexpr std::int64_t shape[]{2, 3};
        const std::vector places{
            ckpt::destination{"0.weight", ckpt::dtype::float32, shape, std::as_writable_bytes(std::span(room))}};
        const auto loaded = ckpt::load_into(weights, places, {.allow_unexpected = {"**"}});
        REQUIRE(!loaded.has_value());
        CHECK(loaded.error().message().find("not initialised") != std::string::npos);
    }
}

TEST_CASE("another argument is refused as what it is, and the policy of torch.load keeps refusing the name") {
    using namespace pkl;
    const auto code_of = [](const std::string& root) {
        const std::string file = torch_file(dict({{str("w"), root}}));
        const auto opened = ckpt::open_bytes(bytes_of(file)).value();
        return opened.root().at("w").value().as_tensor().value().refusal()->code;
    };
    for (const char* type : {"UninitializedParameter", "UninitializedBuffer"}) {
        const std::string lazy = global("torch.nn.parameter", type);
        CHECK(code_of(call(lazy, {yes})) == errc::uninitialized);
        CHECK(code_of(call(lazy, {})) == errc::bad_arguments);
        CHECK(code_of(call(lazy, {ints({1})})) == errc::bad_arguments);
        const std::string file = torch_file(dict({{str("w"), call(lazy, {yes})}}));
        CHECK(ckpt::open_bytes<ckpt::weights_policy>(bytes_of(file)).error().code == errc::global_not_allowed);
    }
}

TEST_CASE("the methods that a lazy module's hooks name are no attack, unless something calls them") {
    const auto verdict_of = [](const std::string& root) {
        const std::string file = torch_file(root);
        return ckpt::scan_globals_bytes(bytes_of(file)).value().verdict();
    };
    constexpr std::string_view where = "torch.nn.modules.linear";
    const std::string infer = method(where, "LazyLinear", "_infer_parameters");
    CHECK(verdict_of(infer) == ckpt::file_verdict::clean);
    CHECK(verdict_of(method(where, "LazyLinear", "_lazy_load_hook")) == ckpt::file_verdict::clean);
    CHECK(verdict_of(method(where, "LazyLinear", "forward")) == ckpt::file_verdict::dangerous);
    CHECK(verdict_of(method(where, "Linear", "_infer_parameters")) == ckpt::file_verdict::dangerous);
    CHECK(verdict_of(method("argparse", "Namespace", "_infer_parameters")) == ckpt::file_verdict::dangerous);
    CHECK(verdict_of(method("mine", "LazyLinear", "_infer_parameters")) == ckpt::file_verdict::dangerous);
    CHECK(verdict_of(pkl::call(infer, {pkl::none})) == ckpt::file_verdict::dangerous);
    CHECK(verdict_of(pkl::call(pkl::global("functools", "partial"), {infer})) == ckpt::file_verdict::clean);
}

} // namespace lazy_test
