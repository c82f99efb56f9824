// ckpt/folder/contents.hpp: what the files of a checkpoint folder are, told by their names.
//
// SPDX-License-Identifier: MIT
// In:      the entries of a directory.
// Out:     a few words for each file; the sets of files that may hold the weights.
// Refuses: nothing.
//
// The names are those of transformers (utils/__init__.py, trainer.py), accelerate (utils/constants.py), peft,
// diffusers, DeepSpeed, Megatron-LM, torch.distributed.checkpoint, verl and Composer.
#pragma once

#include <ckpt/core/function_ref.hpp>
#include <ckpt/folder/folder_types.hpp>
#include <ckpt/folder/parts.hpp>
#include <ckpt/io/folder.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

enum class file_role : std::uint8_t { weights, index, possible, state, part, other };

struct known_file {
    std::string_view pattern{}; // `*` is any run of characters
    file_role role{};
    std::string_view is{};
};

/// The first match counts. Files that are named as shards ("model-00001-of-00002.safetensors") are told before, by
/// `parse_shard`, and so are parts ("consolidated.00.pth"), by `parse_part`.
inline constexpr known_file known_files[]{
    {".metadata", file_role::part, "what is where in a distributed checkpoint"},
    {"__*.metadata", file_role::part, "what one rank saved of a distributed checkpoint"},
    {"*.distcp", file_role::part, "chunks of a distributed checkpoint"},
    {"*_model_states.pt", file_role::state, "the model's states of DeepSpeed"},
    {"*optim_states.pt", file_role::state, "one rank's partition of DeepSpeed's optimizer"},
    {"model_optim_rng.pt", file_role::state, "one rank of Megatron-LM"},
    {"latest", file_role::other, "the name of the newest step"},
    {"*.safetensors.index*.json", file_role::index, "the index of a set of shards"},
    {"*.bin.index*.json", file_role::index, "the index of a set of shards"},
    {"*.pt*.index*.json", file_role::index, "the index of a set of shards"},
    {"adapter_model.safetensors", file_role::weights, "the weights of an adapter"},
    {"adapter_model.bin", file_role::weights, "the weights of an adapter"},
    {"model.safetensors", file_role::weights, "the weights"},
    {"pytorch_model.bin", file_role::weights, "the weights"},
    {"model_*.safetensors", file_role::weights, "the weights of one of several models"},
    {"pytorch_model_*.bin", file_role::weights, "the weights of one of several models"},
    {"diffusion_pytorch_model*.safetensors", file_role::weights, "the weights"},
    {"diffusion_pytorch_model*.bin", file_role::weights, "the weights"},
    {"open_clip_*model*.safetensors", file_role::weights, "the weights"},
    {"open_clip_*model*.bin", file_role::weights, "the weights"},
    {"consolidated*.pth", file_role::weights, "the weights"},
    {"consolidated*.safetensors", file_role::weights, "the weights"},
    {"optim_*rank*.pt", file_role::state, "one rank's part of the optimizer's state"},
    {"extra_state_*rank*.pt", file_role::state, "one rank's random states and the like"},
    {"optimizer*.pt", file_role::state, "the optimizer's state"},
    {"optimizer*.bin", file_role::state, "the optimizer's state"},
    {"scheduler*.pt", file_role::state, "the learning rate schedule's state"},
    {"scheduler*.bin", file_role::state, "the learning rate schedule's state"},
    {"scaler*", file_role::state, "the gradient scaler's state"},
    {"rng_state*.pth", file_role::state, "random states"},
    {"random_states_*.pkl", file_role::state, "random states"},
    {"training_args.bin", file_role::state, "the arguments of the training run"},
    {"sampler*.bin", file_role::state, "a sampler's state"},
    {"dl_state_dict*.bin", file_role::state, "a data loader's state"},
    {"custom_checkpoint_*.pkl", file_role::state, "the state of an object of the program's own"},
    {"value_head.*", file_role::state, "a value head beside the model"},
    {"trainer_state.json", file_role::other, "the trainer's progress and log"},
    {"adapter_config.json", file_role::other, "the adapter's configuration"},
    {"*config*.json", file_role::other, "configuration"},
    {"*tokeniz*", file_role::other, "part of the tokenizer"},
    {"vocab*", file_role::other, "part of the tokenizer"},
    {"merges.txt", file_role::other, "part of the tokenizer"},
    {"special_tokens_map.json", file_role::other, "part of the tokenizer"},
    {"added_tokens.json", file_role::other, "part of the tokenizer"},
    {"chat_template*", file_role::other, "part of the tokenizer"},
    {"*.pdopt", file_role::state, "the optimizer's state of PaddlePaddle"},
    {"*.pdparams", file_role::possible, "weights of PaddlePaddle"},
    {"*.safetensors", file_role::possible, "tensors"},
    {"*.pt", file_role::possible, "a checkpoint by its extension"},
    {"*.pth", file_role::possible, "a checkpoint by its extension"},
    {"*.ckpt", file_role::possible, "a checkpoint by its extension"},
    {"*.bin", file_role::possible, "a checkpoint by its extension"},
    {"*.json", file_role::other, "a text"},
    {"*.md", file_role::other, "a text"},
    {"*.txt", file_role::other, "a text"},
    {"*.py", file_role::other, "a program; it is not run"},
};

/// The parts of "model-00002-of-00005.safetensors".
struct shard_name {
    std::string_view stem{};
    std::string_view tail{};      // "-of-00005.safetensors"
    std::string_view extension{}; // with its dot
    std::uint32_t number{};       // from 1
    std::uint32_t count{};
};

[[nodiscard]] std::optional<shard_name> parse_shard(std::string_view name) noexcept;

/// Where the number of a process stands in the name of a file: "model_world_size_4_rank_2.pt", "ep0-ba2-rank2.pt".
struct rank_name {
    std::string_view before{};
    std::string_view after{};
    std::uint32_t rank{};
};

[[nodiscard]] std::optional<rank_name> parse_rank_name(std::string_view name) noexcept;

/// One or several files that together may be the weights of a folder.
struct weight_set {
    std::string name{};               // of the file, of the index, or "model-*-of-00005.safetensors"
    std::string index{};              // empty where there is none
    std::vector<std::string> files{}; // without an index: its files
    std::uint32_t count{0};           // of shards that the names promise; 0 for a file
    bool known{};                     // by a name that means weights
    set_kind kind{};
};

/// What a folder is as a whole.
enum class folder_kind : std::uint8_t { files, zero, dcp, megatron };

/// A folder, told by the names in it.
struct folder_contents {
    std::vector<folder_file> files{};
    std::vector<weight_set> sets{};
    std::vector<weight_set> indexed{};  // shards that are no set of their own, because an index is named like them
    std::vector<std::string> shards{};  // files that are named as shards
    folder_kind kind{};                 // `files` wherever a file or a set is known to be the weights
    std::vector<std::string> folders{}; // names of folders in it

    /// `holds_checkpoint` looks into a file whose name says nothing.
    [[nodiscard]] static folder_contents of(std::span<const folder_entry> entries,
                                            function_ref<bool(std::string_view name)> holds_checkpoint);
    /// Whether there is a file of this name.
    [[nodiscard]] bool has(std::string_view name) const noexcept;

  private:
    void add_shard(const folder_entry& e, const shard_name& s, std::map<std::string, std::size_t>& families);
    void add_rank(const folder_entry& e, const rank_name& r, std::map<std::string, std::size_t>& families);
    void add_part(const folder_entry& e, const part_name& p, std::map<std::string, std::size_t>& families);
};

/// What the names of the shards of an index have in common, stem and extension: "model.safetensors" for
/// "model.safetensors.index.json"; with a variant, "model.fp16.safetensors" for "model.safetensors.index.fp16.json".
[[nodiscard]] std::string family_of_index(std::string_view index);
[[nodiscard]] inline std::string family_of_shard(const shard_name& shard) {
    return std::string(shard.stem).append(shard.extension);
}

/// Whether a shard is named like those of an index.
[[nodiscard]] inline bool belongs_to_index(std::string_view index, const shard_name& shard) {
    return family_of_index(index) == family_of_shard(shard);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/contents.ipp>
#endif
