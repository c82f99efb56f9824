// ckpt/folder/zero_pieces.hpp: partitions of ZeRO, cut into the pieces of tensors.
//
// SPDX-License-Identifier: MIT
// In:      stretches of vectors, each of one rank.
// Out:     for each tensor the nodes of its pieces, in order; which elements are missing.
// Refuses: nothing: whoever cuts has checked that what is cut lies inside.
#pragma once

#include <ckpt/state/gather.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The pieces of one tensor, in the order of its elements: nodes of the plan for those that are there, and which
/// elements the missing ranks have.
struct tensor_pieces {
    struct lost {
        std::uint64_t rank{};
        std::uint64_t first{}; ///< an element of the tensor
        std::uint64_t count{};
    };
    std::vector<std::uint32_t> parts{};
    std::vector<lost> missing{};
    std::uint64_t size{0};

    void add(std::uint64_t n, std::uint32_t node);
    void lose(std::uint64_t n, std::uint64_t rank);
    /// "elements 4 to 7 of this tensor are in the partition of rank 1, which is missing"
    [[nodiscard]] std::string what_is_missing() const;
};

/// Stretches of one vector, one after another; a stretch of a rank that is missing has no node.
struct flat_vector {
    struct stretch {
        std::uint64_t begin{};
        std::uint64_t size{};
        std::uint32_t node{gather_plan::none};
        std::uint32_t rank{};
    };
    std::vector<stretch> stretches{};
    std::uint64_t size{0};

    void add(std::uint64_t n, std::uint32_t node, std::uint32_t rank);
    /// Adds elements [first, first + n), which lie inside, to `out`.
    void cut(gather_plan& plan, std::uint64_t first, std::uint64_t n, tensor_pieces& out) const;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/zero_pieces.ipp>
#endif
