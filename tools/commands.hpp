// tools/commands.hpp: the commands of `ckpt`, and what they are told.
//
// SPDX-License-Identifier: MIT
// In:      options as main.cpp read them.
// Out:     the exit code: 0 fine, 1 a finding, 2 unreadable, 3 wrong usage, 4 valid but not supported, 5 not written,
//          130 Ctrl-C.
#pragma once

#include <ckpt/tensor/dtype.hpp>
#include <ckpt/write/gguf_quant.hpp>
#include <ckpt/write/safetensors.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tool {

inline constexpr int exit_fine = 0;
inline constexpr int exit_finding = 1;
inline constexpr int exit_unreadable = 2;
inline constexpr int exit_usage = 3;
inline constexpr int exit_unsupported = 4;
inline constexpr int exit_stopped = 128; // and the number of the signal, as shells count it

/// Which globals a file may name.
enum class policy_name : std::uint8_t { weights, training, inspect };

/// In which order `ls` lists: the largest first, by key, or by the place in the file.
enum class sort_order : std::uint8_t { size, key, file };

struct options {
    std::vector<std::string> files{};
    std::vector<std::string> paths{};    // of show
    std::vector<std::string> patterns{}; // of ls and stat, over keys
    std::optional<sort_order> sort{};
    std::optional<std::uint64_t> top{};
    std::optional<std::string> select{};               // of ls
    std::optional<std::string> select_a{}, select_b{}; // of diff
    std::optional<std::string> rules{};                // a rules file
    std::optional<std::string> map{};                  // a ready-made map, with its settings
    std::optional<std::string> target{};               // of map: a checkpoint, or a list of keys
    std::optional<std::string> select_target{};
    std::optional<std::string> explain{}; // a key
    policy_name policy{policy_name::training};
    bool has_policy{};                     // it was asked for
    std::optional<double> atol{}, rtol{};  // of diff
    std::optional<std::uint64_t> values{}; // of show: how many of a tensor
    std::uint64_t max_nodes{1'000'000};
    /// Of convert: a cast of the keys that a pattern matches, or how they are quantised.
    struct cast_word {
        std::string pattern{};
        ckpt::dtype type{};
        ckpt::gguf_quant quant{};
    };
    std::vector<cast_word> casts{};
    std::string wrong_cast{}; // why the last of them has no meaning
    std::vector<ckpt::metadata_entry> metadata{};
    std::optional<std::string> gguf_meta{}; // a JSON file
    std::vector<std::string> allow_loss{};  // patterns
    std::uint64_t max_shard_size{0};
    std::optional<std::string> base{}; // a checkpoint
    bool merge_lora{};
    bool fold_weight_norm{};
    bool duplicate_shared{};
    bool raw{};
    bool plain{}; // of convert: objects as dictionaries
    bool dry_run{};
    bool force{};
    bool json{};
    bool all{};
    bool digest{};
    bool strict{};
    bool no_fold{};
    bool suggest{};
    bool quiet{}; // of globals: only what is not clean; of others: no progress
    bool stats{};
    bool fail_on_nan{};
    bool is_one_of_several{}; // files, each of which has a document of its own

    [[nodiscard]] const std::string& file() const noexcept { return files.front(); }
    [[nodiscard]] bool has_rules() const noexcept { return rules || map; }
};

int run_info(const options& wanted);
int run_ls(const options& wanted);
int run_stat(const options& wanted);
int run_show(const options& wanted);
int run_globals(const options& wanted);
int run_verify(const options& wanted);
int run_diff(const options& wanted);
int run_map(const options& wanted);
int run_convert(const options& wanted);

} // namespace tool
