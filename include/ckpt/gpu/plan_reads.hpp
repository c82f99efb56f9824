// ckpt/gpu/plan_reads.hpp: what an upload reads, and in which pieces.
//
// SPDX-License-Identifier: MIT
// In:      what each tensor is made from, and where it goes.
// Out:     runs of bytes, each read once, phase by phase and in the order of the files; pieces of them, and behind
//          those of each phase what the host builds in it; when each tensor is complete; checksums that can be
//          compared.
// Refuses: nothing.
#pragma once

#include <ckpt/gpu/plan_copies.hpp>
#include <ckpt/gpu/plan_data.hpp>
#include <ckpt/gpu/plan_grouping.hpp>
#include <ckpt/gpu/plan_inputs.hpp>
#include <ckpt/gpu/upload_types.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class plan_reads {
  public:
    plan_reads(const upload_plan_options& options, const plan_inputs& inputs, plan_grouping& grouping,
               upload_plan_data& plan)
        : options_{options}, inputs_{inputs}, grouping_{grouping}, copies_{inputs, grouping, plan}, plan_{plan} {}

    void run();

  private:
    struct planned_run {
        read_place of{};
        std::size_t first{}; ///< of its stored bytes, in `order_`
    };

    /// All bytes that any target needs. Runs of one file and phase end at least `bridged_gap` before the next one.
    void find_runs();
    /// Pieces end at the end of a page of the file, or where their run does; so that a slot holds them, and what is
    /// moved in it.
    void cut_pieces(std::uint32_t run);
    /// Notes for the tensors of a run, whose pieces begin with number `first`, when they are complete.
    void note_pieces(std::uint32_t run, std::uint32_t first);
    /// The storages that lie in one run as a whole, and have a checksum.
    void find_checksums();
    /// Sorts storages by phases, without those that have tensors of several ones.
    void keep_whole(std::vector<used_storage>& used);

    const upload_plan_options& options_;
    const plan_inputs& inputs_;
    const plan_grouping& grouping_;
    plan_copies copies_;
    upload_plan_data& plan_;
    std::vector<const stored_bytes*> order_{}; // phase by phase, in the order of the files
    std::vector<planned_run> runs_{};          // of each of the plan's
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/gpu/impl/plan_reads.ipp>
#endif
