// tests/folder/parts.cpp: files that are parts of one model: told by their names, refused where nothing says how they
// are joined.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/folder.hpp>
#include <ckpt/folder/parts.hpp>
#include <ckpt/state/overlay.hpp>

#include "../support/folder_findings.hpp"
#include "../support/temporary_file.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

using ckpt::errc;
using namespace test_support;

namespace {

using entries = std::vector<std::pair<std::string, std::string>>;

/// A file {KEY: {"w": a tensor}, …} with more entries.
std::string file_of(const std::string& key, entries more = {}) {
    more.emplace_back(pkl::str(key), pkl::dict({{pkl::str("w"), pkl::floats("0", 1)}}));
    return torch_file(pkl::dict(more), {{"0", raw<float>({5})}});
}
ckpt::error refused(const std::vector<std::pair<std::string, std::string>>& files) {
    const temporary_folder folder(files);
    const auto file = ckpt::open_folder(folder.path());
    REQUIRE_FALSE(file.has_value());
    CHECK(ckpt::info(file.error().code).exit_code == 4);
    CHECK(file.error().hint.find("by its own path") != std::string_view::npos);
    for (const auto& [name, bytes] : files) CHECK(ckpt::open(folder.path() / name).has_value()); // as the hint says
    return file.error();
}
bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

} // namespace

TEST_CASE("the names of parts") {
    const auto parsed = [](std::string_view name) {
        const auto part = ckpt::detail::parse_part(name);
        return part ? part->family + ' ' + std::to_string(part->number) : std::string();
    };
    CHECK(parsed("consolidated.00.pth") == "consolidated.*.pth 0");
    CHECK(parsed("consolidated.12.safetensors") == "consolidated.*.safetensors 12");
    CHECK(parsed("reshard-model_part-3.pt") == "reshard-model_part-*.pt 3");
    CHECK(parsed("checkpoint_last-model_part-0-shard12.pt") == "checkpoint_last-model_part-*-shard*.pt 12");
    CHECK(parsed("checkpoint_1_100-shard0.pt") == "checkpoint_1_100-shard*.pt 0");
    CHECK(parsed("layer_03-model_01-model_states.pt") == "layer_*-model_*-model_states.pt 3");
    CHECK(parsed("layer_03-model_states.pt") == "layer_*-model_states.pt 3");
    for (const char* const name :
         {"", "consolidated.pth", "consolidated.00", "consolidated.00.pth.part", "consolidated.x.pth",
          "consolidated.safetensors", "consolidated.99999999999.pth", "my-shard0.pt.json", "my-shard.pt", "shard0.pt",
          "my-shard0x.pt", "layer_x-model_states.pt", "layer_01-more-model_states.pt",
          "layer_3_expert_0_mp_rank_00_model_states.pt", "mp_rank_00_model_states.pt", "model.pt"}) {
        CAPTURE(name);
        CHECK(parsed(name).empty());
    }
}

TEST_CASE("fairscale's shards and parts are refused as parts, one that is alone is the model") {
    const std::string file = file_of("model");
    ckpt::error e = refused({{"checkpoint_last-shard0.pt", file}, {"checkpoint_last-shard1.pt", file}});
    CHECK(e.code == errc::parts_not_joined);
    CHECK(has(e.detail, "2 files named as parts of one model, \"checkpoint_last-shard*.pt\""));
    CHECK(has(std::string(e.hint), "consolidate_shard_weights"));
    e = refused(
        {{"reshard-model_part-0.pt", file}, {"reshard-model_part-1.pt", file}, {"reshard-model_part-2.pt", file}});
    CHECK(has(e.detail, "3 files named as parts of one model"));
    CHECK(has(refused({{"a-model_part-0-shard0.pt", file}, {"a-model_part-0-shard1.pt", file}}).detail, "2 files"));
    CHECK(has(refused({{"a-shard3.pt", file}}).detail, "1 file named"));
    CHECK(ckpt::open_folder(temporary_folder({{"a-shard0.pt", file}}).path()).has_value());
    // Of two saves one is chosen.
    const temporary_folder two(
        {{"a-shard0.pt", file}, {"a-shard1.pt", file}, {"b-shard0.pt", file}, {"b-shard1.pt", file}});
    CHECK(ckpt::open_folder(two.path()).error().code == errc::state_dict_ambiguous);
    CHECK(ckpt::inspect_folder(two.path()).value().candidates ==
          std::vector<std::string>{"a-shard*.pt", "b-shard*.pt"});
}

TEST_CASE("layers of a pipeline are one model, with its cure") {
    const std::string file = file_of("attention");
    const std::vector<std::pair<std::string, std::string>> layers{{"layer_00-model_00-model_states.pt", file},
                                                                  {"layer_00-model_01-model_states.pt", file},
                                                                  {"layer_02-model_00-model_states.pt", file},
                                                                  {"layer_02-model_01-model_states.pt", file}};
    const ckpt::error e = refused(layers);
    CHECK(e.code == errc::parts_not_joined);
    CHECK(has(e.detail, "2 layers, each cut over 2 ranks"));
    CHECK(has(std::string(e.hint), "convert_neox_to_hf.py"));
    CHECK(
        has(refused({{"layer_00-model_states.pt", file}, {"layer_01-model_states.pt", file}}).detail, "2 layers, \""));
    // With the engine's own states, in the folder of a step.
    temporary_folder run;
    for (const auto& [name, bytes] : layers) run.add("global_step10/" + name, bytes);
    CHECK(has(findings(run), "2 layers, each cut over 2 ranks"));
    run.add("latest", "global_step10");
    run.add("global_step10/mp_rank_00_model_states.pt", file_of("module"));
    CHECK(findings(run).starts_with("global_step10/: a model whose layers are files of their own"));
}

TEST_CASE("DeepSpeed without ZeRO: one rank is the model, several are parts, and one of several is a part") {
    const auto states = [](std::int64_t ranks) {
        return file_of("module", {{pkl::str("mp_world_size"), pkl::num(ranks)}});
    };
    for (const std::string step : {"", "global_step5/"}) {
        const temporary_folder one;
        one.add(step + "mp_rank_00_model_states.pt", states(1));
        const auto file = ckpt::open_folder(one.path()).value();
        CHECK(file.files() == std::vector<std::string>{step + "mp_rank_00_model_states.pt"});
        const auto weights = file.state_dict().value();
        CHECK(weights.path() == "module");
    }
    const ckpt::error two =
        refused({{"mp_rank_00_model_states.pt", states(2)}, {"mp_rank_01_model_states.pt", states(2)}});
    CHECK(two.code == errc::parts_not_joined);
    CHECK(has(two.detail, "cut over 2 ranks of tensor parallelism"));
    const ckpt::error half = refused({{"mp_rank_00_model_states.pt", states(4)}});
    CHECK(half.code == errc::parts_not_joined);
    CHECK(half.detail ==
          "the file says that the model was cut over 4 ranks, and it is the only one here: 3 are missing");
    CHECK(has(refused({{"mp_rank_00_model_states.pt", states(1'000'000)}}).detail, "cut over 1000000 ranks"));
    for (const std::int64_t any : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1'000'001}, std::int64_t{1} << 62})
        CHECK(ckpt::open_folder(temporary_folder({{"mp_rank_00_model_states.pt", states(any)}}).path()).has_value());
}

TEST_CASE("Megatron-LM: one rank of several is a part") {
    const auto rank = [](std::int64_t tensor, std::int64_t pipeline) {
        return file_of("model",
                       {{pkl::str("args"),
                         pkl::object("argparse", "Namespace",
                                     pkl::dict({{pkl::str("tensor_model_parallel_size"), pkl::num(tensor)},
                                                {pkl::str("pipeline_model_parallel_size"), pkl::num(pipeline)}}))}});
    };
    temporary_folder folder;
    folder.add("mp_rank_00/model_optim_rng.pt", rank(1, 1));
    CHECK(findings(folder).empty());
    folder.add("mp_rank_00/model_optim_rng.pt", rank(2, 3));
    CHECK(findings(folder) ==
          "mp_rank_00/model_optim_rng.pt: the file says that the model was cut over 6 ranks, and it "
          "is the only one here: 5 are missing\n");
    folder.remove("mp_rank_00");
    for (const char* const name : {"mp_rank_00_000", "mp_rank_00_001", "mp_rank_01_000", "mp_rank_01_001"})
        folder.add(std::string(name) + "/model_optim_rng.pt", rank(2, 2));
    CHECK(has(findings(folder), "cut over 4 ranks: \"mp_rank_00_000\", \"mp_rank_00_001\", \"mp_rank_01_000\", +1 more "
                                "(2 of tensor parallelism, 2 of the pipeline)"));
}

TEST_CASE("parts are joined by rules as docs/formats.md says") {
    const auto part = [](float first) {
        return torch_file(pkl::dict({{pkl::str("a.w"), pkl::floats("0", 2)}, {pkl::str("norm"), pkl::floats("1", 1)}}),
                          {{"0", raw<float>({first, first + 1})}, {"1", raw<float>({9})}});
    };
    const temporary_folder folder({{"mp_rank_00_model_states.pt", part(1)}, {"mp_rank_01_model_states.pt", part(3)}});
    std::vector<ckpt::layer> parts;
    for (int i = 0; i < 2; ++i) {
        const std::string name = "mp_rank_0" + std::to_string(i) + "_model_states.pt";
        const auto weights = ckpt::open(folder.path() / name).value().state_dict().value();
        const auto prefix = ckpt::key_map::parse("rename {k:**} -> " + std::to_string(i) + ".{k}").value();
        parts.push_back({ckpt::remap(weights, prefix).value(), name});
    }
    const auto all = ckpt::overlay(parts).value().weights;
    const auto rules =
        ckpt::key_map::parse("merge 0 0.{k:**}.w, 1.{k:**}.w -> {k}.w\nrename 0.{k:**} -> {k}\ndrop 1.**\n").value();
    const auto model = ckpt::remap(all, rules).value();
    CHECK(model.size() == 2);
    float values[4];
    REQUIRE(model.at("a.w").value().copy_to(std::span(values)).has_value());
    CHECK(values[3] == 4);
}
