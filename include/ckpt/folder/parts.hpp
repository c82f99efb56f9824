// ckpt/folder/parts.hpp: files that are parts of one model, and what to say where they are not joined.
//
// SPDX-License-Identifier: MIT
// In:      names of files; what a file says of the run that saved it.
// Out:     to which parts a file belongs; one error for all of them.
// Refuses: nothing.
//
// The names are those of LLaMA (consolidated.00.pth), of fairscale and fairseq ("-model_part-0", "-shard0") and of
// DeepSpeed's pipelines, which GPT-NeoX uses (layer_00-model_00-model_states.pt).
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/pickle/value.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// What the files of a set have to do with each other.
enum class set_kind : std::uint8_t { plain, ranks, llama, fairscale, layers };

/// A file that is a part of a model, by its name.
struct part_name {
    set_kind kind{};
    std::uint32_t number{}; // from 0
    std::string family{};   // "consolidated.*.pth": equal for the parts of one model
};

[[nodiscard]] std::optional<part_name> parse_part(std::string_view name);

/// Words for such a file: "part 3 of a model as LLaMA's authors cut it".
[[nodiscard]] std::string what_part_is(const part_name& part);

namespace part_faults {

/// What to do with parts of tensor parallelism whose layout no file tells.
inline constexpr std::string_view join_by_hand =
    "open one part by its own path; in C++ parts are joined by rules (docs/formats.md, Parts of one model)";

[[nodiscard]] error not_joined(std::string detail, std::string_view hint);
/// Shards of FullyShardedDataParallel, or parts of its tensor parallelism.
[[nodiscard]] error fairscale(const std::string& family, std::size_t files);
/// Each layer in a file of its own. `names` are the files.
[[nodiscard]] error layers(std::string folder, const std::vector<std::string>& names);
/// Folders mp_rank_TT, mp_rank_TT_PPP, mp_rank_TT_PPP_EEE.
[[nodiscard]] error megatron(const std::vector<std::string>& ranks);
[[nodiscard]] error tensor_parallelism(std::uint64_t ranks);

/// The error for the file of one rank, alone in its folder, that says that there were other ranks; absent where it does
/// not say so.
[[nodiscard]] std::optional<error> is_one_of_several(const value& root, const std::string& file);

} // namespace part_faults

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/parts.ipp>
#endif
