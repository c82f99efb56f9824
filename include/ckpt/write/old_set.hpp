// ckpt/write/old_set.hpp: the files of an older save that a new set of shards would stand beside.
//
// SPDX-License-Identifier: MIT
// In:      the path of an output, before and after the new files have their names.
// Out:     which files the older save had; their removal.
// Refuses: an older save that is to be kept.
//
// transformers' save_pretrained removes shards of another count, too. Here only those go that the old index names, with
// the names that shards of this output have.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/write/write_types.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// An older save under the same path: "model.safetensors" or "model.safetensors.index.json", and the shards that this
/// index names.
class old_set {
  public:
    /// Looks for what has the name of `path` and is no file of the new set. Fails with `output_exists` where there is
    /// such a file and it is not to be replaced.
    [[nodiscard]] static result<old_set> find(const std::string& path, const std::vector<std::string>& new_files,
                                              bool replace);

    [[nodiscard]] const std::vector<std::string>& files() const noexcept { return files_; }
    /// Removes the files. The report gets the path of each, as one that went or one that is still there.
    void remove(write_report& to) const;

  private:
    std::vector<std::string> files_{};
};

/// The name of an index of shards, and what stands before the number in the name of a shard.
[[nodiscard]] std::string index_of(std::string_view path);
[[nodiscard]] std::string_view stem_of(std::string_view path) noexcept;
/// Whether a name is "STEM-00001-of-00003.safetensors", with at least five digits.
[[nodiscard]] bool is_shard_of(std::string_view stem, std::string_view name) noexcept;

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/write/impl/old_set.ipp>
#endif
