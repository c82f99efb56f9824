// ckpt/archive/tar.hpp: the members of an uncompressed tar archive.
//
// SPDX-License-Identifier: MIT
// In:      a source.
// Out:     name, kind, place and size of every member, in the archive's order.
// Refuses: headers with a wrong checksum; sizes that are no numbers, are negative or reach past the file; names that
//          occur twice; an archive without its end, or with other bytes than zeros behind it; sparse and multi-volume
//          members (rule T1 of docs/errors.md).
//
// Reads ustar, GNU (long names, base-256 sizes), PAX (path, size) and the old form without a magic (POSIX.1 pax, "ustar
// Interchange Format"). Reads headers only, so the time depends on the number of members. Names are not normalised.
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/checked.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/io/source.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

enum class tar_kind : std::uint8_t { file, folder, other }; // other: links, devices, pipes: they have no content

/// One member. Offsets count from the source's first byte.
struct tar_entry {
    std::string_view name{};
    tar_kind kind{tar_kind::file};
    std::uint64_t header_offset{};
    std::uint64_t offset{}; ///< of its content
    std::uint64_t size{};
};

namespace tar {

inline constexpr std::size_t block = 512;
inline constexpr std::string_view hint = "the archive is damaged or was cut; get it again";

/// Reads a field that is an octal number, with blanks around it, or a number in GNU's base-256. False where it is
/// neither, negative or too large.
[[nodiscard]] bool number(std::string_view field, std::uint64_t& out) noexcept;

/// The text of a field, up to its first NUL; a full field has none.
[[nodiscard]] inline std::string_view text(std::string_view field) noexcept {
    return field.substr(0, (std::min)(field.find('\0'), field.size()));
}

/// Whether a header has the checksum of its bytes, summed as unsigned or, as old programs did, as signed numbers.
[[nodiscard]] bool checksum_holds(std::string_view header) noexcept;

/// Whether a file begins like a tar archive: with the magic, or with a header whose checksum is right.
[[nodiscard]] bool begins(std::string_view head) noexcept;

[[nodiscard]] error invalid(const source& from, std::uint64_t offset, std::string detail);

} // namespace tar

class tar_archive {
  public:
    /// Reads all headers. Names live as long as the arena. Fails with `tar_invalid`, and with `limit` for more members
    /// than `limits::records` or longer extended headers than `limits::directory_bytes`.
    [[nodiscard]] static result<tar_archive> read(const source& from, const limits& budget, arena& memory);

    [[nodiscard]] std::span<const tar_entry> entries() const noexcept { return entries_; }
    /// The member with this whole name, or null.
    [[nodiscard]] const tar_entry* find(std::string_view name) const noexcept;

  private:
    /// Fields of the next member that extended headers set.
    struct pending {
        std::optional<std::string_view> name{};
        std::optional<std::uint64_t> size{};
        bool extended{}; ///< there was such a header, whatever it set
        [[nodiscard]] bool set() const noexcept { return name || size; }
    };

    /// A parsed header, and the place of its content.
    struct member {
        char type{};
        std::uint64_t size{};
        std::uint64_t content{};
        std::uint64_t end{}; ///< of the content and its padding to whole blocks

        /// Whether this is an extended header, for the next member or for all of them.
        [[nodiscard]] bool is_extension() const noexcept {
            return type == 'x' || type == 'L' || type == 'g' || type == 'K';
        }
        [[nodiscard]] bool has_content() const noexcept {
            return is_extension() || type == '0' || type == '\0' || type == '7';
        }
    };
    /// `wanted_size`: the size that an extended header gave, instead of the header's own.
    [[nodiscard]] static result<member> read_header(const source& from, std::uint64_t at, std::string_view header,
                                                    std::optional<std::uint64_t> wanted_size);
    /// Reads an extended header, which sets fields of `next`.
    [[nodiscard]] result<void> extend(const source& from, const member& found, pending& next, arena& memory);
    /// Adds a member; `extended` may have its name.
    [[nodiscard]] result<void> add(const source& from, std::string_view header, const member& found,
                                   const pending& extended, arena& memory);

    [[nodiscard]] static bool is_zero(std::string_view bytes) noexcept {
        return bytes.find_first_not_of('\0') == std::string_view::npos;
    }
    [[nodiscard]] static std::string_view keep(std::string_view text, arena& memory);
    /// Reads lines of "length key=value\n", where the length counts the whole line. False where they are malformed.
    [[nodiscard]] static bool read_pax(std::string_view text, pending& out) noexcept;
    /// Checks that only zeros follow: writers pad the archive to whole records of several blocks.
    [[nodiscard]] static result<void> check_end(const source& from, std::uint64_t at);
    [[nodiscard]] result<void> check_names(const source& from) const;

    plain_list<tar_entry> entries_{};
    pending global_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/archive/impl/tar.ipp>
#endif
