// ckpt/archive/zip.hpp: finds the records of a zip archive.
//
// SPDX-License-Identifier: MIT
// In:      a source; of it only the tail, the directory and, when a record is wanted, its local header are read.
// Out:     records, each a name and a byte range inside the source; where the payload of one begins.
// Refuses: truncated, prefixed, split, patched, encrypted or ambiguous archives; ranges outside or overlapping;
//          names that are double or unusable; headers that disagree; contradictory ZIP64 fields.
//
// PyTorch writes (caffe2/serialize/inline_container.cc, miniz): a ZIP64 end record always; zeros for CRC and sizes in
// local headers with a data descriptor behind the payload; padding in an extra field "FB" so that payloads are aligned.
#pragma once

#include <ckpt/archive/names.hpp>
#include <ckpt/archive/record.hpp>
#include <ckpt/core/arena.hpp>
#include <ckpt/core/checked.hpp>
#include <ckpt/core/digest.hpp>
#include <ckpt/core/error.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/reader.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/io/source.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Numbers of the format (PKWARE APPNOTE 6.3, section 4.3).
namespace zip {

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
/// An end record with the longest comment: nothing is looked for before this many last bytes.
inline constexpr std::size_t end_window = end_bytes + 0xFFFF;

inline constexpr std::uint16_t full16 = 0xFFFF;
inline constexpr std::uint32_t full32 = 0xFFFF'FFFF;

inline constexpr std::uint16_t flag_deferred = 0x0008; // CRC and sizes stand behind the payload
inline constexpr std::uint16_t flag_patch = 0x0020;
inline constexpr std::uint16_t flags_encrypted = 0x2041; // encrypted, strongly encrypted, headers masked
inline constexpr std::uint16_t extra_zip64 = 0x0001;

inline constexpr std::string_view resave_hint =
    "Save the checkpoint again with torch.save, or pack it with another tool";
inline constexpr std::string_view damage_hint =
    "The file is damaged or was made to deceive; get it again from where it came";
inline constexpr std::string_view download_hint = "Truncated download? Compare the file's size with the original";

/// What a look for the ZIP64 field among extra fields found.
struct zip64_field {
    const std::byte* data{nullptr}; ///< null where there is none
    std::size_t words{0};           ///< 64-bit numbers in it
    std::size_t rest{0};            ///< bytes behind these: 4 where a disk number is given
    bool broken{false};             ///< two of them, or a field that is longer than the area
};

/// Up to three bytes behind the last field are ignored: some tools align by them.
[[nodiscard]] zip64_field find_zip64(std::span<const std::byte> extra) noexcept;

} // namespace zip

/// The directory of a zip archive. Borrows from the arena it was read into; cheap to copy.
class zip_archive {
  public:
    /// Reads the tail and the directory, by positioned reads into `memory`, and checks all that they say.
    [[nodiscard]] static result<zip_archive> read(const source& from, const limits& budget, arena& memory);

    /// In the order of the directory.
    [[nodiscard]] std::span<const record> records() const noexcept { return records_; }
    /// Where the directory begins, behind all records.
    [[nodiscard]] std::uint64_t directory_offset() const noexcept { return directory_offset_; }

    /// The record whose name has exactly these bytes, or null; entries for folders are not found.
    [[nodiscard]] const record* find(std::string_view name) const noexcept;

    /// Where torch.save puts the payload of `r`, by the numbers in the directory alone; 0 where these do not lead to
    /// the next header exactly, so that somebody else wrote the record. For planning: `locate` decides.
    [[nodiscard]] static std::uint64_t predict(const record& r, std::uint64_t alignment) noexcept;

    /// Where the payload of `r` begins, for planning: predicted, or by its local header where that is not possible.
    /// `alignment` is what the archive's `.storage_alignment` says, or 64.
    [[nodiscard]] static result<std::uint64_t> payload_offset(const source& from, const record& r,
                                                              std::uint64_t alignment = 64);

    /// Where the payload of `r` begins, by its local header, which is read and checked against the directory now.
    [[nodiscard]] static result<std::uint64_t> locate(const source& from, const record& r);

    /// The payload of `r` in memory of the arena. Fails with `compressed` where it is not stored as it is, with
    /// `checksum_mismatch` where `check` is set and it does not have the directory's CRC (0: the writer computed none).
    [[nodiscard]] static result<std::span<const std::byte>> read_record(const source& from, const record& r,
                                                                        arena& memory, bool check);

    // The errors of this stage that others state too.
    [[nodiscard]] static error not_stored(const source& from, const record& r);
    [[nodiscard]] static error wrong_checksum(const source& from, const record& r, std::uint64_t at,
                                              std::uint32_t computed);
    [[nodiscard]] static error fail(const source& from, errc code, std::uint64_t at, std::string_view name,
                                    std::string seen, std::string_view hint);

  private:
    struct tail_bytes {
        std::span<const std::byte> bytes{};
        std::uint64_t offset{}; ///< of the first of them
    };
    struct end_facts {
        std::uint64_t count{}, directory_size{}, directory_offset{};
        std::uint64_t position{}; ///< of the end record, the ZIP64 one where there is one
    };

    [[nodiscard]] static result<tail_bytes> read_tail(const source& from, const limits& budget, arena& memory);
    [[nodiscard]] static result<end_facts> find_end(const source& from, const tail_bytes& tail);
    [[nodiscard]] static result<void> apply_zip64(const source& from, const tail_bytes& tail, std::size_t at,
                                                  end_facts& facts);
    [[nodiscard]] static bool is_rival(const tail_bytes& tail, std::size_t at, std::uint64_t size) noexcept;
    [[nodiscard]] static result<std::span<const std::byte>> read_directory(const source& from, const tail_bytes& tail,
                                                                           const end_facts& end, const limits& budget,
                                                                           arena& memory);
    [[nodiscard]] result<void> parse(const source& from, std::span<const std::byte> directory, std::size_t count,
                                     arena& memory);
    [[nodiscard]] static std::string_view widen(record& r, std::span<const std::byte> extra) noexcept;
    [[nodiscard]] static error bad_name(const source& from, std::uint64_t at, const record& r, name_fault fault);
    [[nodiscard]] error duplicate(const source& from, const record& first, const record& second) const;
    [[nodiscard]] error misplaced(const source& from, const record& r, const record* next) const;
    [[nodiscard]] result<void> set_bounds(const source& from);

    /// The least offset at which a record can end: header, name and payload, without extra fields.
    [[nodiscard]] static bool least_end(const record& r, std::uint64_t& out) noexcept;

    std::span<record> records_{};
    name_index index_{};
    std::uint64_t directory_offset_{0};
    bool in_order_{true}; ///< headers rise as the directory goes on
};

// ---- the end of the archive ----

// ---- the directory ----

// ---- local headers ----

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/archive/impl/zip.ipp>
#endif
