// ckpt/folder/shard_boxes.hpp: which boxes of a distributed tensor one process has.
//
// SPDX-License-Identifier: MIT
// In:      the tensor's shape, and how each dimension of a mesh cuts it (DTensor's placements), in order.
// Out:     boxes of the tensor, and where each begins in what the process has.
// Refuses: more boxes than it is worth: a strided placement may cut a tensor into any number of them.
//
// After _compute_local_shape_and_global_offset and _StridedShard._split_tensor of torch/distributed/tensor
// (torch 2.13).
#pragma once

#include <ckpt/folder/tiling.hpp>
#include <ckpt/tensor/parts.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

struct shard_boxes {
    bool fits{true};                   ///< whether there are few enough boxes
    std::vector<std::int64_t> shape{}; ///< of what the process has
    box_list whole{};                  ///< none where it has no element
    std::vector<std::int64_t> inner{}; ///< `whole.rank` numbers for each box
};

inline constexpr std::size_t most_shard_boxes = 4096;

/// Indices [begin, begin + size) of one dimension.
struct index_run {
    std::uint64_t begin{};
    std::uint64_t size{};
};

/// Replaces `runs` by those that one place along a dimension of the mesh gets. A split factor first cuts the indices
/// into blocks; then each block is shared out by itself. False where there are too many blocks or runs.
[[nodiscard]] bool cut_runs(std::vector<index_run>& runs, const mesh_cut& cut);

/// The boxes at one place of a mesh. The caller has checked the cuts: dimensions of `shape`, places inside their sizes,
/// split factors of 1 at least.
[[nodiscard]] shard_boxes boxes_of_shard(std::span<const std::int64_t> shape, std::span<const mesh_cut> cuts);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/shard_boxes.ipp>
#endif
