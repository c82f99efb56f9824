// ckpt/archive/zip_verify.hpp: checks what opening an archive does not read.
//
// SPDX-License-Identifier: MIT
// In:      a source and its directory.
// Out:     one call for each fault of a local header, a data descriptor, an overlap or a checksum.
// Refuses: nothing; a fault does not end the walk.
#pragma once

#include <ckpt/archive/inflater.hpp>
#include <ckpt/archive/record.hpp>
#include <ckpt/archive/zip_directory.hpp>
#include <ckpt/core/checked.hpp>
#include <ckpt/core/digest.hpp>
#include <ckpt/core/error.hpp>
#include <ckpt/core/progress_meter.hpp>
#include <ckpt/core/reader.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/workers.hpp>
#include <ckpt/io/source.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// What `verify_zip` has checked.
struct zip_check {
    std::uint64_t records{};       ///< with a checked header
    std::uint64_t bytes{};         ///< of payloads that were read for checksums
    std::uint64_t unchecked_crc{}; ///< records without a checksum, and compressed ones that nothing inflates
    std::uint64_t findings{};      ///< calls of the sink
};

struct zip_check_options {
    bool checksums{true};     ///< reads every payload
    ckpt::inflater inflate{}; ///< for compressed payloads
    ckpt::workers lent{};     ///< threads for the checksums
};

/// Called with one fault at a time.
using finding_sink = void (*)(void* context, const error& found);

namespace zip {

/// Whether the bytes at `at` are a data descriptor of `r` in one of its four forms (with or without a signature, 32 or
/// 64 bits; APPNOTE 4.3.9).
[[nodiscard]] result<bool> has_descriptor(const source& from, const record& r, std::uint64_t at);

/// The CRC-32 of the payload at `at`.
[[nodiscard]] result<std::uint32_t> checksum(const source& from, const record& r, std::uint64_t at);

/// Whether a compressed record inflates to the size and the CRC of its directory entry.
[[nodiscard]] result<void> inflates_soundly(const source& from, const record& r, const inflater& inflate);

} // namespace zip

/// Checks all records. A source that cannot be read any longer gives one fault for every record. `meter` gets the bytes
/// that are read; where the program stops it, the walk ends.
zip_check verify_zip(const source& from, const zip_archive& archive, const zip_check_options& options,
                     progress_meter& meter, finding_sink sink, void* context);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/archive/impl/zip_verify.ipp>
#endif
