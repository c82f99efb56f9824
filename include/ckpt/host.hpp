// ckpt/host.hpp: a whole state_dict in one aligned block of memory, read in parallel.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict; casts, which keys, how files are read.
// Out:     a state_dict whose tensors lie in memory of their own, in this machine's byte order, ready for views.
// Refuses: what an upload refuses, all or nothing.
//
// This is the upload engine on a device whose memory is the host's: what a file holds is read straight to its place.
#pragma once

#include <ckpt/ckpt.hpp>
#include <ckpt/gpu/upload_plan.hpp>
#include <ckpt/gpu/upload_types.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::host {

/// How `load` reads. Its plan is `plan_upload` of `plan`: casts, which keys, and how tensors lie in the block.
struct load_options {
    upload_plan_options plan{};
    upload_source source{upload_source::buffered}; ///< buffered or direct
    unsigned readers{2};                           ///< threads beside the caller's; 0: none
    bool verify{false};                            ///< compares the checksums of records that are read whole
    progress_callback progress{};
};

/// What was loaded, and how.
struct loaded {
    state_dict weights;
    upload_report report{};
};

/// Reads the tensors of `weights` into one block of memory, which the result holds; the file is not needed any more.
/// Keys stand in their order. Tensors with parts become their parts; entries that are no tensors are left out.
/// Fails as `plan_upload` does, with `device_memory` where the memory is not there, `checksum_mismatch`, `truncated`,
/// `upload_cancelled`.
[[nodiscard]] result<loaded> load(const state_dict& weights, const load_options& options = {});

} // namespace ckpt::inline CKPT_DETAIL_ABI::host

#if !defined(CKPT_COMPILED)
#include <ckpt/impl/host.ipp>
#endif
