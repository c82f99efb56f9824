// ckpt/archive/record.hpp: one named range of bytes in an archive.
//
// SPDX-License-Identifier: MIT
// In:      numbers that the archive's reader has checked.
// Out:     plain data.
// Refuses: nothing.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstdint>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// One entry of a zip archive's directory (PKWARE APPNOTE 4.3.12). Offsets count from the archive's first byte; sizes
/// are in bytes.
struct record {
    std::string_view name{};       ///< the whole name: "model/data/0"; borrowed from the checkpoint
    std::uint64_t header_offset{}; ///< of its local header
    std::uint64_t size{};          ///< of its content
    std::uint64_t stored_size{};   ///< of the bytes in the archive; differs from `size` only where compressed
    std::uint64_t bound{};         ///< where the next record's header begins, or after the last record the directory
    std::uint32_t crc32{};         ///< of its content; 0 where the writer computed none
    std::uint16_t method{};        ///< 0 stored, 8 deflated
    std::uint16_t flags{};         ///< general purpose bits of the zip format

    /// An entry for a folder, as zip tools add them: it has no content.
    [[nodiscard]] bool is_folder() const noexcept { return !name.empty() && name.back() == '/'; }
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
