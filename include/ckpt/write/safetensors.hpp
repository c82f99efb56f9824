// ckpt/write/safetensors.hpp: writes a state_dict as a safetensors file, or as a set of them with an index.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict of any container, remapped, gathered or distributed; a path.
// Out:     the bytes that the reference package writes for the same tensors; memory for one piece of one tensor.
// Refuses: tensors that the format cannot hold, each by name; a path that exists; what the system refuses.
//
// The format, from safetensors/src/tensor.rs: the largest elements come first, tensors of one type by their names; the
// header is filled up with spaces to a multiple of 8 bytes. Shards and their index are those of huggingface_hub's
// split_torch_state_dict_into_shards.
#pragma once

#include <ckpt/core/pattern.hpp>
#include <ckpt/core/progress.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/io/path.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/write/write_types.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// An entry of a file's metadata.
struct metadata_entry {
    std::string key{};
    std::string text{};
};

/// How a safetensors file is written.
struct safetensors_options {
    /// Replaces a file that exists. Where `max_shard_bytes` is set, an older save in this place goes, too, when the new
    /// one is whole: its file, or its index and the shards that this names.
    bool overwrite{false};
    /// Writes a tensor once for each of its keys. Otherwise it is written once, under the first of its keys in the
    /// order of their bytes, and the metadata has the others, as the package's `save_model` does it.
    bool duplicate_shared{false};
    std::vector<metadata_entry> metadata{}; ///< beside those of shared tensors
    std::uint64_t max_shard_bytes{0};       ///< of the tensors of a file; larger sets become several files. 0: one file
    std::vector<pattern> allow_loss{};      ///< keys of tensors that may be left out where the format cannot hold them
    progress_callback progress{};           ///< counts the bytes of the tensors
    output_check check{};                   ///< looks at each file before any of them gets its name
};

/// What `write_safetensors` would write. Writes nothing. Looks at no path, but for what `overwrite` and
/// `max_shard_bytes` would remove. `left_out` has every tensor that the
/// format cannot hold, allowed or not. Fails where the header would be larger than the format allows (100 MB), where
/// two entries of the metadata have one key, and where a key is not UTF-8.
[[nodiscard]] result<write_report> plan_safetensors(const state_dict& weights, path_arg out,
                                                    const safetensors_options& options = {});

/// Writes the tensors of `weights` to `out`. The file appears when all of it is on the disk: until then, and after a
/// failure, the path has what it had. A set "model.safetensors" of several files is "model-00001-of-00003.safetensors"
/// and so on, and "model.safetensors.index.json", which appears last. What the system does not remove of an older set
/// is no failure: the new one is whole then, and `not_removed` has the rest. Entries that are no tensors are left out,
/// as they are by every reader of the format. Fails with `format_lacks` where a tensor cannot be written and
/// `allow_loss` does not have its key, `output_exists`, `write_failed`, `cancelled`, and with the errors of a
/// tensor that cannot be read and of `check`.
[[nodiscard]] result<write_report> write_safetensors(const state_dict& weights, path_arg out,
                                                     const safetensors_options& options = {});

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/write/impl/safetensors.ipp>
#endif
