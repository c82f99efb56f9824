// ckpt/folder/folder_types.hpp: how folders are opened, and what is told of them.
//
// SPDX-License-Identifier: MIT
// In:      options of the caller's.
// Out:     plain data: what each file of a folder is, what was chosen, everything that is wrong.
// Refuses: nothing.
#pragma once

#include <ckpt/core/config.hpp>
#include <ckpt/core/error.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// One entry of a checkpoint folder.
struct folder_file {
    std::string name{};
    std::string is{}; ///< a few words: "the optimizer's state"
    std::uint64_t bytes{};
    bool is_checkpoint{}; ///< by its name: a file that `open` reads
};

/// How a folder of several files is put together.
struct folder_options {
    bool partial{false}; ///< of ZeRO, FSDP and DCP: missing files and chunks only cost the tensors that need them
};

/// What is in a checkpoint folder, and whether it fits together.
struct folder_report {
    std::vector<folder_file> files{};      ///< sorted by name
    std::vector<std::string> candidates{}; ///< files, indices or families of shards that may be the weights
    std::string chosen{};                  ///< the one that `open_folder` opens; empty where there is no one
    std::string reason{};                  ///< why, in a clause
    std::vector<std::string> parts{};      ///< the files of the folder that belong to it, as far as they exist
    std::vector<ckpt::error> findings{};   ///< everything that keeps `open_folder` from opening it
    /// With `folder_options::partial`: what is missing; `path` is the tensor's key. Always: flat parameters of FSDP, in
    /// which the parameters themselves cannot be told apart.
    std::vector<ckpt::error> absent{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
