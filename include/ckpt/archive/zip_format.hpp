// ckpt/archive/zip_format.hpp: the numbers of the zip format, and the errors that its readers share.
//
// SPDX-License-Identifier: MIT
// In:      the extra fields of a header; a fault and its offset.
// Out:     the ZIP64 field; an error that names record and offset.
// Refuses: nothing.
//
// PyTorch writes (caffe2/serialize/inline_container.cc, miniz): a ZIP64 end record always; zeros for CRC and sizes in
// local headers with a data descriptor behind the payload; padding in an extra field "FB" so that payloads are aligned.
#pragma once

#include <ckpt/archive/record.hpp>
#include <ckpt/core/error.hpp>
#include <ckpt/io/source.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

/// Numbers of the format (PKWARE APPNOTE 6.3, section 4.3).
namespace ckpt::inline CKPT_DETAIL_ABI::detail::zip {

inline constexpr std::uint32_t local_signature = 0x0403'4B50;
inline constexpr std::uint32_t central_signature = 0x0201'4B50;
inline constexpr std::uint32_t end_signature = 0x0605'4B50;
inline constexpr std::uint32_t end64_signature = 0x0606'4B50;
inline constexpr std::uint32_t locator_signature = 0x0706'4B50;
inline constexpr std::uint32_t descriptor_signature = 0x0807'4B50;

inline constexpr std::size_t local_bytes = 30;
inline constexpr std::size_t central_bytes = 46;
inline constexpr std::size_t end_bytes = 22;
inline constexpr std::size_t end64_bytes = 56;
inline constexpr std::size_t locator_bytes = 20;
/// The bytes of an end record with the longest comment: an end record begins in the last bytes of this number.
inline constexpr std::size_t end_window = end_bytes + 0xFFFF;

inline constexpr std::uint16_t full16 = 0xFFFF;
inline constexpr std::uint32_t full32 = 0xFFFF'FFFF;

inline constexpr std::uint16_t flag_deferred = 0x0008; // CRC and sizes follow the payload, in a data descriptor
inline constexpr std::uint16_t flag_patch = 0x0020;
inline constexpr std::uint16_t flags_encrypted = 0x2041; // encrypted, strongly encrypted, headers masked
inline constexpr std::uint16_t extra_zip64 = 0x0001;

inline constexpr std::string_view resave_hint =
    "Save the checkpoint again with torch.save, or pack it with another tool";
inline constexpr std::string_view damage_hint =
    "The file is damaged or was made to deceive; get it again from where it came";
inline constexpr std::string_view download_hint = "Truncated download? Compare the file's size with the original";

/// The ZIP64 field among the extra fields of a header (APPNOTE 4.5.3).
struct zip64_field {
    const std::byte* data{nullptr}; ///< its content; null without such a field
    std::size_t words{0};           ///< number of 64-bit numbers in it
    std::size_t rest{0};            ///< number of bytes behind these: 4 for a disk number
    bool broken{false};             ///< there are two such fields, or a field is longer than the area
};

/// Finds the ZIP64 field. Ignores up to three bytes behind the last field, which some tools add for alignment.
[[nodiscard]] zip64_field find_zip64(std::span<const std::byte> extra) noexcept;

/// The smallest offset at which a record can end: header, name and payload, without extra fields. False where it
/// overflows.
[[nodiscard]] inline bool least_end(const record& r, std::uint64_t& out) noexcept {
    return checked_add(r.header_offset, local_bytes + r.name.size(), out) && checked_add(out, r.stored_size, out);
}

/// An error at `at`, counted from the archive's first byte.
[[nodiscard]] error fail(const source& from, errc code, std::uint64_t at, std::string_view name, std::string seen,
                         std::string_view hint);
/// The error for a compressed record that must be stored.
[[nodiscard]] error not_stored(const source& from, const record& r);
/// The error for a payload at `at` whose CRC is not that of the directory.
[[nodiscard]] error wrong_checksum(const source& from, const record& r, std::uint64_t at, std::uint32_t computed);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::zip

#if !defined(CKPT_COMPILED)
#include <ckpt/archive/impl/zip_format.ipp>
#endif
