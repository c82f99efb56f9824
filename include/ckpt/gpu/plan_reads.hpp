// ckpt/gpu/plan_reads.hpp: what an upload reads, and in which pieces.
//
// SPDX-License-Identifier: MIT
// In:      what each tensor is made from, and where it goes.
// Out:     runs of bytes, each read once, in the order of the files; pieces of them; checksums that can be compared.
// Refuses: nothing.
#pragma once

#include <ckpt/gpu/plan_copies.hpp>
#include <ckpt/gpu/plan_data.hpp>
#include <ckpt/gpu/plan_grouping.hpp>
#include <ckpt/gpu/plan_inputs.hpp>

#include <cstdint>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class plan_reads {
  public:
    plan_reads(const plan_inputs& inputs, plan_grouping& grouping, upload_plan_data& plan)
        : inputs_{inputs}, copies_{inputs, grouping, plan}, plan_{plan} {}

    void run();

  private:
    /// All bytes that any target needs. Runs of one file end at least `bridged_gap` before the next one.
    void find_runs();
    /// Pieces end at the end of a page of the file, or where their run does; so that a slot holds them, and what is
    /// moved in it.
    void cut_pieces();
    /// The storages that lie in one run as a whole, and have a checksum.
    void find_checksums();

    const plan_inputs& inputs_;
    plan_copies copies_;
    upload_plan_data& plan_;
    std::vector<std::uint32_t> run_files_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/gpu/impl/plan_reads.ipp>
#endif
