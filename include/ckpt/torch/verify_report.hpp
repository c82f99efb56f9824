// ckpt/torch/verify_report.hpp: the result of a full check of a checkpoint.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/progress.hpp>
#include <ckpt/core/workers.hpp>

#include <cstdint>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// What `verify` checks.
struct verify_options {
    bool checksums{true};    ///< reads the whole file, for the checksums of an archive
    ckpt::workers workers{}; ///< threads for the checksums; by default only the calling one
    /// Gets the bytes of the files. A check that it stops has `cancelled` as its last finding.
    progress_callback progress{};
};

/// The result of `verify`: what was checked in a file or a set of files, and all faults.
struct verify_report {
    std::uint64_t records{};       ///< number of records whose headers were compared with the directory
    std::uint64_t bytes{};         ///< number of bytes that were read for checksums
    std::uint64_t unchecked_crc{}; ///< number of records without a checksum, or that nothing inflates
    std::vector<ckpt::error> findings{};
    [[nodiscard]] bool ok() const noexcept { return findings.empty(); }
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
