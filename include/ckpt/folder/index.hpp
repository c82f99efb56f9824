// ckpt/folder/index.hpp: the index of a set of shards.
//
// SPDX-License-Identifier: MIT
// In:      "model.safetensors.index.json" or "pytorch_model.bin.index.json".
// Out:     which key is in which file, in the index's order.
// Refuses: JSON of another form, keys that occur twice. Names of files that leave the folder are told one by one.
//
// Form: {"metadata": {...}, "weight_map": {"key": "model-00001-of-00002.safetensors", ...}}, and more that is skipped.
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/json.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/io/source.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

struct shard_index {
    struct entry {
        std::string_view key{};
        std::uint32_t file{}; // among `files`
    };
    arena memory{};
    std::vector<std::string_view> files{}; // each once, sorted
    std::vector<entry> entries{};          // sorted by key

    [[nodiscard]] static result<shard_index> read(const std::string& path, const limits& budget);

  private:
    /// Adds the entries of every weight_map, and counts these; `of_entry` are their files. False where the text is
    /// none.
    [[nodiscard]] bool read_all(json_reader& in, std::vector<std::string_view>& of_entry, std::size_t& maps);
};

/// Whether the file at a path is named as the index of a set of shards is.
[[nodiscard]] bool is_index_name(std::string_view path) noexcept;

/// Whether `name` is a file of the folder itself, and cannot be anything else on any system.
[[nodiscard]] bool is_plain_name(std::string_view name) noexcept;

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/index.ipp>
#endif
