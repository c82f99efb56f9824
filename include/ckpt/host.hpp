// ckpt/host.hpp: a whole state_dict in one aligned block of memory, read in parallel.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict; casts, which keys, how files are read.
// Out:     a state_dict whose tensors are in one block of memory, in this machine's byte order, so that views succeed.
// Refuses: what an upload refuses, as a whole.
//
// This is the upload engine with a device whose memory is the host's: bytes of files are read to their final place.
#pragma once

#include <ckpt/ckpt.hpp>
#include <ckpt/gpu/upload_plan.hpp>
#include <ckpt/gpu/upload_types.hpp>

#include <optional>

namespace ckpt::inline CKPT_DETAIL_ABI::host {

/// How `load` reads. `plan` is passed to `plan_upload`: which keys, casts, what is dequantised, and the layout of the
/// block; kernels are none of the host's, and not asked.
struct load_options {
    upload_plan_options plan{};
    upload_source source{upload_source::buffered}; ///< buffered or direct
    std::optional<unsigned> readers{}; ///< threads beside the caller's; without it: one for each core, eight at most
    bool verify{false};                ///< compares the checksums of records that are read as a whole
    progress_callback progress{};
};

/// The result of `load`.
struct loaded {
    state_dict weights;
    upload_report report{};
};

/// Reads the tensors of `weights` into one block of memory, which the result owns; it does not need the file any more.
/// The keys are in the same order. A tensor with parts becomes its parts; entries that are not tensors are left out.
/// Fails as `plan_upload` does, with `device_memory` where memory cannot be allocated, `checksum_mismatch`,
/// `truncated`, `cancelled`.
[[nodiscard]] result<loaded> load(const state_dict& weights, const load_options& options = {});

} // namespace ckpt::inline CKPT_DETAIL_ABI::host

#if !defined(CKPT_COMPILED)
#include <ckpt/impl/host.ipp>
#endif
