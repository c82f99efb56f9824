// ckpt/folder/folder_types.hpp: options and reports of folders.
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

/// One file of a checkpoint folder.
struct folder_file {
    std::string name{};
    std::string is{};      ///< its purpose by its name, for people: "the optimizer's state"
    std::uint64_t bytes{}; ///< its size
    bool is_checkpoint{};  ///< whether `open` reads such files, by the name
};

/// How the files of a folder are joined to one checkpoint.
struct folder_options {
    bool partial{false}; ///< for ZeRO, FSDP and DCP: missing files and chunks affect only the tensors that need them
};

/// The files of a checkpoint folder, and all faults of the set. Owns its text.
struct folder_report {
    std::vector<folder_file> files{};      ///< sorted by name
    std::vector<std::string> candidates{}; ///< files, indices or families of shards that may be the weights
    std::string chosen{};                  ///< the candidate that `open_folder` opens; empty without one
    std::string reason{};                  ///< why it was chosen, for people
    std::vector<std::string> parts{};      ///< the files of the folder that belong to it, as far as they exist
    std::vector<ckpt::error> findings{};   ///< all faults that prevent `open_folder` from opening it
    /// With `folder_options::partial` what is missing, where `error::path` is the key of the tensor. In any case flat
    /// parameters of FSDP whose original parameters cannot be separated.
    std::vector<ckpt::error> absent{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
