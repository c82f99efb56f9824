// ckpt/torch/verify_report.hpp: what a full check of a checkpoint found.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/error.hpp>

#include <cstdint>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// What a full check of a file, or of a set of files, found.
struct verify_report {
    std::uint64_t records{};       ///< whose headers were compared with the directory
    std::uint64_t bytes{};         ///< that were read for checksums
    std::uint64_t unchecked_crc{}; ///< records without a checksum of their writer
    std::vector<ckpt::error> findings{};
    [[nodiscard]] bool ok() const noexcept { return findings.empty(); }
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
