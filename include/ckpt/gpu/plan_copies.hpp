// ckpt/gpu/plan_copies.hpp: what of each piece of an upload is copied to which device.
//
// SPDX-License-Identifier: MIT
// In:      pieces of what is read, one after another; groups of stored bytes; what the host builds.
// Out:     copies and conversions of each piece; the pieces that the host builds, and their copies.
// Refuses: nothing.
#pragma once

#include <ckpt/gpu/plan_data.hpp>
#include <ckpt/gpu/plan_grouping.hpp>
#include <ckpt/gpu/plan_inputs.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The copies of pieces that are read. Pieces are asked for in the order of phases, files and their bytes.
class plan_copies {
  public:
    plan_copies(const plan_inputs& inputs, plan_grouping& grouping, upload_plan_data& plan);

    /// Where a piece ends, at `most` or before: what is moved has room in its slot. Sets whether all of it is.
    [[nodiscard]] std::uint64_t end_of_piece(const read_place& of, upload_piece& piece, std::uint64_t most) const;
    /// Adds the copies, moves and conversions of a piece.
    void add_piece(const read_place& of, upload_piece& piece);

  private:
    /// Adds the copies of a piece to one target.
    void add_copies(std::uint32_t target, const upload_piece& piece);
    /// Makes a copy longer by what comes behind it on the device; moves both, unless the first was moved before. False
    /// where they lie apart, or the slot has no room.
    [[nodiscard]] bool add_move(staged_copy& copy, const staged_copy& next, const upload_piece& piece);
    /// What the device converts of a piece: one copy for each target, from the first to the last byte that it needs.
    void add_conversions(std::uint64_t begin, std::uint64_t end);

    const std::vector<stored_bytes>& stored_;
    const std::vector<byte_group>& groups_;
    const std::vector<std::uint32_t>& converted_;
    upload_plan_data& plan_;
    std::size_t next_group_{0};
    std::size_t next_converted_{0};
    std::uint64_t moved_begin_{0}; // in the piece in hand, what was moved
    std::uint64_t moved_end_{0};
    // Those that began before the end of the piece in hand and reach into it.
    std::vector<std::size_t> open_groups_{};
    std::vector<std::size_t> open_converted_{};
};

/// Adds a copy out of a piece that the host builds. Where it goes on behind the last copy to its target, in the piece
/// and on the device, that one becomes longer instead.
void add_built_copy(upload_plan_data& plan, const upload_piece& piece, const staged_copy& copy);

/// Adds the pieces that the host builds in a phase: tensors, or the parameters that kernels need for what is read in
/// it. Small ones share a piece, so that they are one copy where they lie together.
void add_built_pieces(std::uint32_t phase, copy_place into, const std::vector<built_place>& places,
                      std::uint64_t alignment, upload_plan_data& plan);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/gpu/impl/plan_copies.ipp>
#endif
