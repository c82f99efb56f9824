// ckpt/archive/zip_verify.hpp: checks everything about an archive that opening leaves for later.
//
// SPDX-License-Identifier: MIT
// In:      a source and its directory.
// Out:     every fault, one call each: local headers, data descriptors, exact overlap, checksums.
// Refuses: nothing; the walk goes on behind a fault.
#pragma once

#include <ckpt/archive/inflater.hpp>
#include <ckpt/archive/record.hpp>
#include <ckpt/archive/zip_directory.hpp>
#include <ckpt/core/checked.hpp>
#include <ckpt/core/digest.hpp>
#include <ckpt/core/error.hpp>
#include <ckpt/core/reader.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/io/source.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// What a walk did.
struct zip_check {
    std::uint64_t records{};       ///< whose headers were checked
    std::uint64_t bytes{};         ///< of payload that were read for checksums
    std::uint64_t unchecked_crc{}; ///< records whose checksum was not computed by their writer, or that are compressed
    std::uint64_t findings{};      ///< calls
};

struct zip_check_options {
    bool checksums{true};     ///< reads every payload
    ckpt::inflater inflate{}; ///< for compressed ones
};

/// Called with one fault after the other.
using finding_sink = void (*)(void* context, const error& found);

namespace zip {

/// Whether a data descriptor in one of its four forms (with or without a signature, 32 or 64 bits) stands at `at`.
[[nodiscard]] result<bool> has_descriptor(const source& from, const record& r, std::uint64_t at);

/// The checksum of the payload at `at`, through a bounded buffer.
[[nodiscard]] result<std::uint32_t> checksum(const source& from, const record& r, std::uint64_t at,
                                             std::vector<std::byte>& buffer);

/// Whether a compressed record becomes what its directory entry says.
[[nodiscard]] result<void> inflates_soundly(const source& from, const record& r, const inflater& inflate);

} // namespace zip

/// Walks all records. A fault does not end the walk; one that concerns the whole source (it cannot be read any
/// longer) shows once for every record.
zip_check verify_zip(const source& from, const zip_archive& archive, const zip_check_options& options,
                     finding_sink sink, void* context);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/archive/impl/zip_verify.ipp>
#endif
