// tests/torch/policies.cpp: the shipped tables, and what the shipped policies say.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/torch/storage_class.hpp>

#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace policies_test {

using ckpt::errc;
using ckpt::verdict;
using namespace test_support;

namespace {

std::span<const ckpt::global_entry> entries_of(const ckpt::detail::global_table& table) {
    return {table.entries, table.size};
}

template <class Part> std::span<const ckpt::global_entry> table() { return Part::entries; }

template <class Policy> verdict says(std::string_view module, std::string_view name) {
    return ckpt::detail::look_up(ckpt::detail::allowlist_of<Policy>(), module, name).verdict;
}

template <class Policy> errc opens(const std::string& root, const ckpt::open_options& options = {}) {
    const std::string file = torch_file(root, {{"0", std::string(16, '\0')}});
    const auto opened = ckpt::open_bytes<Policy>(bytes_of(file), options);
    return opened ? errc::none : opened.error().code;
}

} // namespace

TEST_CASE("the shipped tables of exact names are sorted, without doubles, without patterns") {
    for (const auto entries :
         {table<ckpt::torch_globals>(), table<ckpt::numpy_globals>(), table<ckpt::record_names>()}) {
        for (std::size_t i = 0; i < entries.size(); ++i) {
            CAPTURE(entries[i].module);
            CAPTURE(entries[i].name);
            CHECK_FALSE(ckpt::detail::is_pattern(entries[i]));
            if (i > 0) CHECK(ckpt::detail::compare_pair(entries[i].module, entries[i].name, entries[i - 1]) > 0);
        }
    }
}

TEST_CASE("G1, G2: no shipped entry is an attack, no pattern has a builder, none is there twice, none is unreachable") {
    std::size_t seen = 0;
    for (const auto& part : ckpt::training_policy::tables) {
        const auto entries = entries_of(part);
        for (std::size_t i = 0; i < entries.size(); ++i, ++seen) {
            const ckpt::global_entry& e = entries[i];
            CAPTURE(e.module);
            CAPTURE(e.name);
            CHECK_FALSE(ckpt::detail::is_attack(e.module, e.name));
            if (part.patterns) CHECK(bool(e.build == nullptr));
            for (std::size_t k = 0; k < i && part.patterns; ++k) {
                CHECK_FALSE((entries[k].module == e.module && entries[k].name == e.name));
                // A pattern before it that matches all that it matches hides it.
                CHECK_FALSE((ckpt::detail::matches_dotted(entries[k].module, e.module) &&
                             ckpt::detail::matches_dotted(entries[k].name, e.name)));
            }
            // What the table holds is written in the spelling that lookups use.
            const ckpt::detail::canonical_name canonical{e.module, e.name};
            CHECK(canonical.module() == e.module);
            CHECK(canonical.name() == e.name);
        }
    }
    CHECK(seen > 250);
}

TEST_CASE("the storage classes are sorted and each is in the table of globals") {
    std::string_view before;
    for (const auto& row : ckpt::detail::storage_classes) {
        CAPTURE(row.name);
        CHECK(before < row.name);
        before = row.name;
        CHECK(ckpt::detail::is_known(row.type));
        CHECK(says<ckpt::weights_policy>("torch", row.name) == verdict::build);
        std::uint16_t type = 0;
        CHECK(ckpt::detail::storage_class_type("torch", row.name, type));
        CHECK(type == static_cast<std::uint16_t>(row.type));
    }
}

TEST_CASE("G1: a global outside the policy is refused wherever it stands, called or not") {
    using namespace pkl;
    const std::string foreign = global("my_project.models", "Net");
    for (const std::string& root :
         {foreign, list({foreign}), dict({{str("a"), foreign}}), foreign + "0" + none, call(foreign, {}),
          object("my_project.models", "Net", dict({})), str("my_project.models") + str("Net") + "\x93",
          std::string("(imy_project.models\nNet\n"), "(" + foreign + "o"}) {
        CHECK(opens<ckpt::weights_policy>(root) == errc::global_not_allowed);
        CHECK((opens<ckpt::allow<ckpt::weights_policy, ckpt::global<"a", "b">>>(root)) == errc::global_not_allowed);
        CHECK(opens<ckpt::training_policy>(root) == errc::none);
        CHECK(opens<ckpt::training_policy>(root, {.foreign = ckpt::foreign_globals::refuse_file}) ==
              errc::global_not_allowed);
        CHECK(opens<ckpt::inspect_policy>(root) == errc::none);
        CHECK((opens<ckpt::allow<ckpt::training_policy, ckpt::global<"my_project.**", "*">>>(root)) == errc::none);
    }
    const std::string attack = global("os", "system");
    for (const std::string& root :
         {attack, call(attack, {str("true")}), call(global("posix", "system"), {str("true")}),
          call(global("builtins", "eval"), {str("1")}), global("torch", "serialization.os.system")}) {
        CHECK(opens<ckpt::training_policy>(root) == errc::global_not_allowed);
        CHECK((opens<ckpt::allow<ckpt::training_policy, ckpt::inert_others>>(root)) == errc::global_not_allowed);
        CHECK(opens<ckpt::inspect_policy>(root) == errc::none);
    }
}

TEST_CASE("the policies contain one another, and know what frameworks save") {
    for (const auto& part : ckpt::weights_policy::tables)
        for (const auto& e : entries_of(part)) {
            CAPTURE(e.name);
            CHECK(says<ckpt::weights_policy>(e.module, e.name) == says<ckpt::training_policy>(e.module, e.name));
            CHECK(says<ckpt::weights_policy>(e.module, e.name) == says<ckpt::inspect_policy>(e.module, e.name));
        }
    struct row {
        const char *module, *name;
        verdict weights, training;
    };
    const row rows[]{
        {"torch._utils", "_rebuild_tensor_v2", verdict::build, verdict::build},
        {"collections", "OrderedDict", verdict::build, verdict::build},
        {"__builtin__", "set", verdict::build, verdict::build},
        {"torch.tensor", "_rebuild_from_type_v2", verdict::build, verdict::build},
        {"torch", "device", verdict::inert, verdict::inert},
        {"numpy.core.multiarray", "scalar", verdict::refuse, verdict::build},
        {"numpy._core.multiarray", "_reconstruct", verdict::refuse, verdict::build},
        {"numpy", "dtype", verdict::refuse, verdict::inert},
        {"argparse", "Namespace", verdict::refuse, verdict::inert},
        {"pathlib", "PosixPath", verdict::refuse, verdict::inert},
        {"pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint", verdict::refuse, verdict::inert},
        {"omegaconf.dictconfig", "DictConfig", verdict::refuse, verdict::inert},
        {"transformers.training_args", "TrainingArguments", verdict::refuse, verdict::inert},
        {"torch.optim.adam", "Adam", verdict::refuse, verdict::inert},
        {"__builtin__", "getattr", verdict::refuse, verdict::inert},
        {"__main__", "Net", verdict::refuse, verdict::refuse},
        {"os", "system", verdict::dangerous, verdict::dangerous},
        {"__builtin__", "eval", verdict::dangerous, verdict::dangerous},
        {"torch", "load", verdict::dangerous, verdict::dangerous},
        {"numpy", "load", verdict::dangerous, verdict::dangerous},
    };
    for (const row& r : rows) {
        CAPTURE(r.module);
        CAPTURE(r.name);
        CHECK(says<ckpt::weights_policy>(r.module, r.name) == r.weights);
        CHECK(says<ckpt::training_policy>(r.module, r.name) == r.training);
    }
}

TEST_CASE("no pattern admits a function, a private name, or what a module imports") {
    const std::pair<const char*, const char*> names[]{{"uuid", "_get_command_stdout"},
                                                      {"logging", "FileHandler"},
                                                      {"typing", "_eval_type"},
                                                      {"dataclasses", "_create_fn"},
                                                      {"torch.fx.graph_module", "_exec_with_source"},
                                                      {"torch.fx.graph_module", "reduce_graph_module"},
                                                      {"random", "_os"},
                                                      {"torch.jit", "load"},
                                                      {"torch", "compile"},
                                                      {"torch._dynamo", "optimize"},
                                                      {"numpy.core", "_ufunc_reconstruct"},
                                                      {"numpy._core", "_ufunc_reconstruct"},
                                                      {"operator", "call"},
                                                      {"transformers.trainer", "os"},
                                                      {"transformers.utils.hub", "cached_file"},
                                                      {"deepspeed.launcher.runner", "Popen"},
                                                      {"datasets.utils", "_private"},
                                                      {"timm.models", "Model.load"},
                                                      {"utils.downloads", "attempt_download"},
                                                      {"pandas.core.computation.eval", "eval"},
                                                      {"sklearn.utils", "Snake_Case"}};
    for (const auto& row : names) {
        CAPTURE(std::string(row.first));
        CAPTURE(std::string(row.second));
        CHECK(says<ckpt::training_policy>(row.first, row.second) >= verdict::refuse);
    }
    for (const auto& part : ckpt::training_policy::tables)
        for (const ckpt::global_entry& e : entries_of(part)) {
            CAPTURE(e.module);
            if (part.patterns) CHECK((part.classes_only || e.module == "__torch__.**"));
        }
    CHECK(says<ckpt::training_policy>("transformers.trainer", "TrainerState") == verdict::inert);
    CHECK(says<ckpt::training_policy>("ultralytics.nn.modules.block", "C3k2") == verdict::inert);
}

TEST_CASE(
    "what Python's standard library offers for running, importing, opening, connecting and deleting is never clean") {
    std::ifstream list(std::string(CKPT_TEST_DATA) + "/stdlib_actions.txt");
    std::string module, name;
    std::size_t seen = 0;
    for (; list >> module >> name; ++seen) {
        CAPTURE(module);
        CAPTURE(name);
        const std::string pickle = "c" + module + '\n' + name + "\n)R.";
        const auto scan = ckpt::scan_globals_bytes(bytes_of(pickle)).value();
        REQUIRE(scan.size() == 1);
        CHECK(scan.verdict() != ckpt::file_verdict::clean);
    }
    CHECK(seen > 1'500);
}

TEST_CASE("scan_globals tells every name with its verdict, count and place, and refuses none") {
    using namespace pkl;
    const std::string file = torch_file(dict({{str("a"), floats("0", 4)},
                                              {str("b"), floats("0", 4)},
                                              {str("c"), call(global("os", "system"), {str("x")})},
                                              {str("d"), global("mine", "Net")}}),
                                        {{"0", std::string(16, '\0')}});
    const auto scan = ckpt::scan_globals_bytes(bytes_of(file)).value();
    CHECK(scan.stopped() == nullptr);
    std::vector<std::string> seen;
    for (const auto& g : scan) {
        seen.push_back(g.module + ' ' + g.name + ' ' + std::to_string(g.count) + ' ' +
                       std::string(ckpt::name(g.verdict)) + ' ' + g.path);
        CHECK(file.substr(g.offset, 1) == "c");
        CHECK(file.substr(g.offset + 1, g.module.size()) == g.module);
    }
    CHECK(seen == std::vector<std::string>{"torch._utils _rebuild_tensor_v2 2 build a", "torch FloatStorage 2 build a",
                                           "collections OrderedDict 2 build a", "os system 1 dangerous c",
                                           "mine Net 1 refuse d"});
}

} // namespace policies_test
