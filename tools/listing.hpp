// tools/listing.hpp: the tensors that `ls` and `stat` are asked for.
//
// SPDX-License-Identifier: MIT
// In:      a file, and options that select a part of it.
// Out:     rows: tensors with their keys and paths, in the order of the file.
// Refuses: what the library refuses; more rows than --max-nodes.
#pragma once

#include "common.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace tool {

struct row {
    ckpt::tensor tensor{};
    std::string key{};
    key_path path{};
    bool is_array{};
    std::vector<ckpt::tensor> made_of{}; // with rules: the tensors of the file that it consists of
};

struct listing {
    key_path selected{};
    std::vector<row> rows{};
    std::uint64_t found{};                     // rows before patterns and --top
    std::uint64_t outside{};                   // tensors that are no part of the state_dict: not listed
    std::optional<ckpt::state_dict> weights{}; // that the rows are of, after the rules; none with --all
};

/// The tensors that were asked for: of the weights, after the rules where there are any, or of the whole file.
[[nodiscard]] ckpt::result<listing> list(const ckpt::checkpoint& file, const options& wanted,
                                         const ckpt::key_map* rules);

} // namespace tool
