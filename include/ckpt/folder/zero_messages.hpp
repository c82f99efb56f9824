// ckpt/folder/zero_messages.hpp: what can be wrong with a checkpoint of DeepSpeed's ZeRO, in words.
//
// SPDX-License-Identifier: MIT
// In:      names of files, keys, and the numbers that disagree.
// Out:     one error each, which says what was seen and what to do; they become findings of the folder.
// Refuses: nothing.
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/tensor/dtype.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::zero_faults {

/// What most of them are: something that keeps the files from being one model.
[[nodiscard]] error inconsistent(std::string_view file, std::string detail, std::string_view hint);

// ---- which files there are

[[nodiscard]] error experts(std::string file);
[[nodiscard]] error same_rank(std::string_view file, std::string_view other);
[[nodiscard]] error no_model_states(std::string_view step);
[[nodiscard]] error no_optimizer_states(std::string_view step);
/// A file of a rank that the run did not have.
[[nodiscard]] error surplus_rank(std::string_view file, std::uint64_t rank, std::uint64_t ranks);
/// `first` are up to three of the ranks that are missing; `kind` is the end of the files' names.
[[nodiscard]] error missing_ranks(std::string_view step, std::string_view kind, std::uint64_t missing,
                                  std::uint64_t ranks, const std::vector<std::uint64_t>& first);

// ---- what is in them

[[nodiscard]] error no_partition(std::string_view file);
[[nodiscard]] error no_module(std::string_view file);
[[nodiscard]] error no_shapes(std::string_view file);
/// `what` is "this rank's stage is"; the first file with such a fact is `other`.
[[nodiscard]] error differs(std::string_view file, std::string_view what, const std::string& own,
                            std::string_view other, const std::string& expected);
[[nodiscard]] error partition_count(std::string_view file, std::uint64_t ranks);
[[nodiscard]] error world_size(std::string_view file, std::int64_t says, std::uint64_t ranks);
[[nodiscard]] error no_vector(std::string_view file, std::uint64_t group);
[[nodiscard]] error mixed_types(std::string_view file, std::uint64_t group, dtype own, dtype other);
[[nodiscard]] error bad_shape(std::string_view file, std::string_view key);
[[nodiscard]] error key_twice(std::string_view file, std::string_view key);

// ---- whether the partitions add up to the shapes

[[nodiscard]] error group_count(std::string_view file, std::uint64_t shapes, std::uint64_t partitions);
/// A partition of stages 1 and 2 behind one that is shorter than `size`.
[[nodiscard]] error behind_short_partition(std::string_view file, std::uint64_t group, std::uint64_t own,
                                           std::uint64_t size);
[[nodiscard]] error group_size(std::string_view step, std::uint64_t group, std::uint64_t have, std::uint64_t needed);
[[nodiscard]] error padding_count(std::string_view file, std::uint64_t group, std::uint64_t entries,
                                  std::uint64_t parameters);
/// Of stage 3, where each rank has a part of every parameter.
[[nodiscard]] error rank_size(std::string_view file, std::uint64_t have, std::uint64_t needed);
[[nodiscard]] error no_frozen_piece(std::string_view file, std::string_view key, std::uint64_t elements);

// ---- tensors that cannot be had

/// `missing` is what `tensor_pieces::what_is_missing` says.
[[nodiscard]] error incomplete(std::string_view key, std::string missing);
[[nodiscard]] error tied_to_incomplete(std::string_view key, std::string_view source);
/// Stage 3 left an empty tensor in the module, and no file says where its elements are. `without_ranks`: files that may
/// say so are missing.
[[nodiscard]] error unknown_weight(std::string_view key, bool without_ranks);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::zero_faults

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/zero_messages.ipp>
#endif
