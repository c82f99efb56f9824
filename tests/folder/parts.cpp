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

#include <cstdint>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace parts_test {

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
/// Keys, shapes and values of float32 tensors.
std::string content(const ckpt::state_dict& weights) {
    std::string out;
    for (const auto entry : weights) {
        out.append(entry.key) += " [";
        const auto shape = entry.tensor.shape();
        for (std::size_t i = 0; i < shape.size(); ++i) out += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
        out += ']';
        std::vector<float> values(static_cast<std::size_t>(entry.tensor.numel()));
        REQUIRE(entry.tensor.copy_to(std::span(values)).has_value());
        for (const float v : values) out += ' ' + std::to_string(static_cast<int>(v));
        out += ';';
    }
    return out;
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

TEST_CASE("shards of fairscale are told by what they say, whatever they are called") {
    using namespace pkl;
    // As FullyShardedDataParallel.local_metadata_dict describes a model of 6 elements of which this file has 3.
    const auto shard = [](std::int64_t whole, std::string_view path = "") {
        const std::string described = dict({{str("names"), list({str("w"), str("b")})},
                                            {str("shapes"), list({})},
                                            {str("numels"), list({num(whole - 1), num(1)})},
                                            {str("padding"), num(0)}});
        const std::string module =
            dict({{str("fsdp_path"), str(path)}, {str("params"), dict({{str("flat_param_0"), described}})}});
        const std::string key = path.empty() ? "flat_param_0" : std::string(path) + ".flat_param_0";
        return torch_file(dict({{str("model"), dict({{str(key), floats("0", 3)}})},
                                {str("shard_metadata"),
                                 dict({{str("param_metadata"), list({module})}, {str("buffer_names"), list({})}})}}),
                          {{"0", raw<float>({1, 2, 3})}});
    };
    const std::string half = shard(6), inner = shard(6, "decoder.layers.0"), whole = shard(3);
    for (const auto& names :
         {std::vector<std::string>{"a.pt", "b.pt"}, {"rank0.pt", "rank1.pt"}, {"x_rank0.pt", "x_rank1.pt"}}) {
        CAPTURE(names[0]);
        const ckpt::error e = refused({{names[0], half}, {names[1], inner}});
        CHECK(e.code == errc::parts_not_joined);
        CHECK(has(e.detail, "fairscale's FullyShardedDataParallel cut the model over 2 ranks"));
        CHECK(has(std::string(e.hint), "consolidate_shard_weights"));
    }
    // One that is alone, and says so, is no model; one that is whole is.
    CHECK(has(refused({{"model.pt", half}}).detail,
              "over 2 ranks, in vectors of several parameters, and it is the only"));
    CHECK(has(refused({{"a-shard0.pt", shard(7)}}).detail, "over 3 ranks"));
    CHECK(ckpt::open_folder(temporary_folder({{"a-shard0.pt", whole}}).path()).has_value());
    for (const entries& files :
         {entries{{"a.pt", half}, {"b.pt", file_of("model")}}, entries{{"a.pt", whole}, {"b.pt", whole}}})
        CHECK(ckpt::open_folder(temporary_folder(files).path()).error().code == errc::state_dict_ambiguous);
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

TEST_CASE("ranks of Megatron-LM are joined by the rules of docs/formats.md") {
    using namespace pkl;
    // Matrices of 2 x 2, vectors of 2; the numbers of the first rank begin at 0, those of the second at 100.
    const auto rank = [](float first) {
        std::vector<std::pair<std::string, std::string>> items, data;
        for (const std::string& key :
             {std::string("word_embeddings.weight"), std::string("layers.0.query_key_value.weight"),
              std::string("layers.0.query_key_value.bias"), std::string("layers.0.dense.weight"),
              std::string("layers.0.dense.bias"), std::string("layers.0.mlp.dense_4h_to_h.weight"),
              std::string("layers.0.norm.weight"), std::string("output_layer.weight")}) {
            const bool is_matrix = key.ends_with("weight") && key.find("norm") == std::string::npos;
            const std::string number = std::to_string(data.size());
            const std::int64_t n = is_matrix ? 4 : 2;
            items.emplace_back(str("model." + key), is_matrix
                                                        ? tensor(storage("FloatStorage", number, 4), 0, {2, 2}, {2, 1})
                                                        : floats(number, 2));
            std::vector<float> values(static_cast<std::size_t>(n));
            for (float& v : values) v = first++;
            data.emplace_back(number, raw<float>(values));
        }
        return torch_file(dict(items), data);
    };
    const std::string files[]{rank(0), rank(100)};
    std::vector<ckpt::layer> parts;
    for (std::size_t i = 0; i < 2; ++i) {
        const std::string number = std::to_string(i + 1);
        const auto weights = ckpt::open_bytes(bytes_of(files[i])).value().state_dict().value();
        const auto prefix = ckpt::key_map::parse("rename {k:**} -> " + number + ".{k}").value();
        parts.push_back({ckpt::remap(weights, prefix).value(), number});
    }
    std::ifstream docs(CKPT_TEST_DATA "/../../docs/formats.md");
    const std::string text{std::istreambuf_iterator<char>(docs), {}};
    const std::size_t begin = text.find("```\nmerge 0 1.{k:**}.{m:query_key_value") + 4;
    REQUIRE(begin > 4);
    const auto rules = ckpt::key_map::parse(text.substr(begin, text.find("```", begin) - begin)).value();
    const auto model = ckpt::remap(ckpt::overlay(parts).value().weights, rules).value();
    CHECK(content(model) == "model.word_embeddings.weight [4, 2] 0 1 2 3 100 101 102 103;"
                            "model.layers.0.query_key_value.weight [4, 2] 4 5 6 7 104 105 106 107;"
                            "model.layers.0.query_key_value.bias [4] 8 9 108 109;"
                            "model.layers.0.dense.weight [2, 4] 10 11 110 111 12 13 112 113;"
                            "model.layers.0.dense.bias [2] 14 15;"
                            "model.layers.0.mlp.dense_4h_to_h.weight [2, 4] 16 17 116 117 18 19 118 119;"
                            "model.layers.0.norm.weight [2] 20 21;"
                            "model.output_layer.weight [4, 2] 22 23 24 25 122 123 124 125;");
}

} // namespace parts_test
