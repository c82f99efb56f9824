// tests/folder/contents.cpp: what files are by their names, and which may be the weights.
//
// SPDX-License-Identifier: MIT
#include <ckpt/folder/contents.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace contents_test {

using namespace ckpt::detail;

namespace {

folder_contents of(std::vector<std::string> names) {
    std::sort(names.begin(), names.end());
    std::vector<folder_entry> entries;
    for (const std::string& name : names) {
        const bool is_folder = name.back() == '/';
        entries.push_back({is_folder ? name.substr(0, name.size() - 1) : name, 1, is_folder});
    }
    // What holds a checkpoint here has it in its name.
    return folder_contents::of(entries, [](std::string_view name) { return name.starts_with("weights_"); });
}

/// The names of the candidate sets.
std::vector<std::string> sets(const std::vector<std::string>& names) {
    std::vector<std::string> out;
    for (const weight_set& set : of(names).sets) out.push_back(set.name);
    return out;
}
using names = std::vector<std::string>;

} // namespace

TEST_CASE("the names of shards") {
    const auto s = parse_shard("model-00002-of-00005.safetensors");
    REQUIRE(s.has_value());
    CHECK(s->stem == "model");
    CHECK(s->tail == "-of-00005.safetensors");
    CHECK(s->extension == ".safetensors");
    CHECK(s->number == 2);
    CHECK(s->count == 5);
    CHECK(parse_shard("diffusion_pytorch_model.fp16-00001-of-00002.safetensors")->stem ==
          "diffusion_pytorch_model.fp16");
    CHECK(parse_shard("a-b-1-of-1.bin")->stem == "a-b");
    for (const char* name :
         {"model.safetensors", "model-00000-of-00005.bin", "model-00006-of-00005.bin", "model-1-of-.bin",
          "model--of-2.bin", "-of-2.bin", "model-x-of-2.bin", "model-1-of-2x.bin", "model-1-of-2", "model-1-of-2.txt",
          "model-99999999999-of-99999999999.bin", "state-of-the-art.bin"}) {
        CAPTURE(name);
        CHECK_FALSE(parse_shard(name).has_value());
    }
}

TEST_CASE("the names of what one process saved") {
    const auto parts = [](std::string_view name) {
        const auto r = parse_rank_name(name);
        return r ? std::string(r->before) + '|' + std::to_string(r->rank) + '|' + std::string(r->after) : std::string();
    };
    CHECK(parts("rank_0.pt") == "rank_|0|.pt");
    CHECK(parts("rank12.ckpt") == "rank|12|.ckpt");
    CHECK(parts("model_world_size_8_rank_3.pt") == "model_world_size_8_rank_|3|.pt");
    CHECK(parts("pytorch_model_fsdp_rank01.bin") == "pytorch_model_fsdp_rank|1|.bin");
    CHECK(parts("ep0-ba2-rank1.pt") == "ep0-ba2-rank|1|.pt");
    CHECK(parts("checkpoint-rank=2.pth") == "checkpoint-rank=|2|.pth");
    CHECK(parts("local_rank_4_step_10.pt") == "local_rank_|4|_step_10.pt");
    CHECK(parts("local_3.pt") == "local_|3|.pt");
    for (const char* name : {"rank.pt", "rank_.pt", "crank3.pt", "rank3", "rank3.safetensors", "rank3x.pt",
                             "rank--3.pt", "rank99999999999.pt", "model.pt", "frank_3.pt", "local3.pt", ""}) {
        CAPTURE(name);
        CHECK(parts(name).empty());
    }
    CHECK(sets({"rank_0.pt", "rank_10.pt", "rank_2.pt", "other.pt", "config.json"}) == names{"rank_*.pt"});
    CHECK(sets({"a_rank0.pt", "b_rank0.pt"}) == names{"a_rank*.pt", "b_rank*.pt"});
    CHECK(sets({"rank_0.pt", "model.safetensors"}) == names{"model.safetensors"});
    CHECK(sets({"rng_state_rank_0.pth", "random_states_rank0.pkl", "optim_world_size_1_rank_0.pt",
                "extra_state_world_size_1_rank_0.pt"})
              .empty());
    CHECK(of({"rank_0.pt"}).files[0].is == "what rank 0 saved");
    CHECK(sets({"model.pdparams", "model.pdopt"}) == names{"model.pdparams"});
    CHECK(of({"mp_rank_00_model_states.pt"}).kind == folder_kind::zero);
}

TEST_CASE("an index speaks for the shards that are named like it") {
    const auto belongs = [](const char* index, const char* shard) {
        return belongs_to_index(index, *parse_shard(shard));
    };
    CHECK(belongs("model.safetensors.index.json", "model-00001-of-00002.safetensors"));
    CHECK(belongs("pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin"));
    CHECK(belongs("diffusion_pytorch_model.safetensors.index.fp16.json",
                  "diffusion_pytorch_model.fp16-00001-of-00002.safetensors"));
    CHECK_FALSE(belongs("diffusion_pytorch_model.safetensors.index.json",
                        "diffusion_pytorch_model.fp16-00001-of-00002.safetensors"));
    CHECK_FALSE(belongs("model.safetensors.index.json", "model-00001-of-00002.bin"));
    CHECK_FALSE(belongs("model.safetensors.index.json", "other-00001-of-00002.safetensors"));
    CHECK_FALSE(belongs("config.json", "model-00001-of-00002.safetensors"));
}

TEST_CASE("one set is found where one is") {
    CHECK(sets({"model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin",
                "trainer_state.json", "config.json"}) == names{"model.safetensors"}); // Trainer
    CHECK(sets({"pytorch_model.bin", "optimizer.bin", "scheduler.bin", "sampler.bin", "random_states_0.pkl",
                "custom_checkpoint_0.pkl"}) == names{"pytorch_model.bin"}); // accelerate
    CHECK(sets({"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                "model.safetensors.index.json"}) == names{"model.safetensors.index.json"});
    CHECK(sets({"pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"}) ==
          names{"pytorch_model-*-of-00002.bin"});
    CHECK(sets({"adapter_model.safetensors", "adapter_config.json", "README.md", "tokenizer.json", "vocab.json"}) ==
          names{"adapter_model.safetensors"});
    CHECK(sets({"diffusion_pytorch_model.safetensors", "config.json"}) == names{"diffusion_pytorch_model.safetensors"});
    CHECK(sets({"open_clip_pytorch_model.bin", "open_clip_config.json"}) == names{"open_clip_pytorch_model.bin"});
    CHECK(sets({"epoch_latest.pt", "params.txt"}) == names{"epoch_latest.pt"});
    CHECK(sets({"model.safetensors", "tokenizer.index.json", "index.json"}) == names{"model.safetensors"});
    CHECK(sets({"pytorch_model.bin", "something.pt"}) ==
          names{"pytorch_model.bin"}); // a name that means weights outweighs an extension
}

TEST_CASE("several sets stay several") {
    CHECK(sets({"model.safetensors", "pytorch_model.bin"}) == names{"model.safetensors", "pytorch_model.bin"});
    CHECK(sets({"model.safetensors", "model_1.safetensors"}) == names{"model.safetensors", "model_1.safetensors"});
    CHECK(sets({"model.safetensors", "adapter_model.safetensors"}).size() == 2);
    CHECK(sets({"epoch_1.pt", "epoch_2.pt"}) == names{"epoch_1.pt", "epoch_2.pt"});
    CHECK(sets({"model-00001-of-00002.safetensors", "pytorch_model-00001-of-00001.bin", "model.safetensors.index.json"})
              .size() == 2);
    CHECK(sets({"model-1-of-2.bin", "model-1-of-3.bin"}).size() == 2); // of two saves
    CHECK(sets({"optimizer.pt", "notes"}).empty());
    CHECK(sets({}).empty());
}

TEST_CASE("folders of other kinds are named") {
    CHECK(of({".metadata", "__0_0.distcp"}).kind == folder_kind::dcp);
    CHECK(of({"global_step4/", "latest", "zero_to_fp32.py"}).kind == folder_kind::zero);
    CHECK(of({"mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt"}).kind == folder_kind::zero);
    CHECK(of({"iter_0000100/", "latest_checkpointed_iteration.txt"}).kind == folder_kind::megatron);
    CHECK(of({"model.safetensors"}).kind == folder_kind::files);
    CHECK(of({"global_step4/", "latest", "model.safetensors"}).kind ==
          folder_kind::files); // the consolidated model is there
}

TEST_CASE("every file has a few words") {
    for (const ckpt::folder_file& f : of({"model.safetensors", "optimizer.pt", "scheduler.bin", "rng_state_0.pth",
                                          "training_args.bin", "config.json", "sub/", "what", "model-1-of-1.bin"})
                                          .files) {
        CAPTURE(f.name);
        CHECK_FALSE(f.is.empty());
        CHECK((f.is == "not known here") == (f.name == "what"));
        const bool checkpoint = f.name != "what" && f.name != "sub" && f.name != "config.json";
        CHECK(f.is_checkpoint == checkpoint);
    }
}

TEST_CASE("a file whose name says nothing is told by its content; a name that says something is believed") {
    CHECK(sets({"weights_a.pth.tar", "notes"}) == names{"weights_a.pth.tar"});
    CHECK(sets({"weights_a.th", "weights_b"}) == names{"weights_a.th", "weights_b"});
    CHECK(sets({"weights_a.sav", "model.safetensors"}) == names{"model.safetensors"});
    CHECK(sets({"weights_a.json", "weights_.py"}).empty());
}

} // namespace contents_test
