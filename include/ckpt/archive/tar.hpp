// ckpt/archive/tar.hpp: the members of an uncompressed tar archive.
//
// SPDX-License-Identifier: MIT
// In:      a source.
// Out:     name, kind, place and size of every member, in the archive's order.
// Refuses: rule T1: a header whose checksum is wrong, sizes that are no numbers, are negative or leave the file, names
//          that occur twice, an archive without its end, anything but zeros behind it. Sparse and multi-volume members.
//
// Read are ustar, GNU (long names, base-256 sizes), PAX (path, size) and the old form without a magic. Only headers are
// read, so that the cost is that of the members' number. Names are the archive's own: nothing is normalised.
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/checked.hpp>
#include <ckpt/core/limits.hpp>
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
    std::uint64_t offset{}; // of its content
    std::uint64_t size{};
};

namespace tar {

inline constexpr std::size_t block = 512;
inline constexpr std::string_view hint = "the archive is damaged or was cut; get it again";

/// An octal number between blanks, or GNU's base-256. False: it is neither, or it is negative or too large.
[[nodiscard]] bool number(std::string_view field, std::uint64_t& out) noexcept;

/// A field that a NUL ends unless it is full.
[[nodiscard]] inline std::string_view text(std::string_view field) noexcept {
    return field.substr(0, (std::min)(field.find('\0'), field.size()));
}

/// Whether a header's checksum is that of its bytes; old programs summed them as signed.
[[nodiscard]] bool checksum_holds(std::string_view header) noexcept;

/// Whether a file begins as a tar archive does: by its magic, or by a header whose checksum holds.
[[nodiscard]] bool begins(std::string_view head) noexcept;

[[nodiscard]] error invalid(const source& from, std::uint64_t offset, std::string detail);

} // namespace tar

class tar_archive {
  public:
    /// Names live as long as the arena.
    [[nodiscard]] static result<tar_archive> read(const source& from, const limits& budget, arena& memory);

    [[nodiscard]] std::span<const tar_entry> entries() const noexcept { return entries_; }
    /// By its whole name; null where there is none.
    [[nodiscard]] const tar_entry* find(std::string_view name) const noexcept;

  private:
    /// What extended headers say of the member that follows.
    struct pending {
        std::optional<std::string_view> name{};
        std::optional<std::uint64_t> size{};
        [[nodiscard]] bool set() const noexcept { return name || size; }
    };

    /// A header in numbers, and where its content lies.
    struct member {
        char type{};
        std::uint64_t size{};
        std::uint64_t content{};
        std::uint64_t end{}; ///< of the content, and of what pads it to whole blocks

        /// A header about the member behind it, or about all of them.
        [[nodiscard]] bool is_extension() const noexcept {
            return type == 'x' || type == 'L' || type == 'g' || type == 'K';
        }
        [[nodiscard]] bool has_content() const noexcept {
            return is_extension() || type == '0' || type == '\0' || type == '7';
        }
    };
    /// `wanted_size` is what an extended header says.
    [[nodiscard]] static result<member> read_header(const source& from, std::uint64_t at, std::string_view header,
                                                    std::optional<std::uint64_t> wanted_size);
    /// Takes an extended header.
    [[nodiscard]] result<void> extend(const source& from, const member& found, pending& next, arena& memory);
    /// Adds a member, whose name an extended header may have.
    [[nodiscard]] result<void> add(const source& from, std::string_view header, const member& found,
                                   const pending& extended, arena& memory);

    [[nodiscard]] static bool is_zero(std::string_view bytes) noexcept {
        return bytes.find_first_not_of('\0') == std::string_view::npos;
    }
    [[nodiscard]] static std::string_view keep(std::string_view text, arena& memory);
    /// Lines of "length key=value\n"; the length counts the line.
    [[nodiscard]] static bool read_pax(std::string_view text, pending& out) noexcept;
    /// Archives are padded to whole records, with zeros.
    [[nodiscard]] static result<void> check_end(const source& from, std::uint64_t at);
    [[nodiscard]] result<void> check_names(const source& from) const;

    plain_list<tar_entry> entries_{};
    pending global_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/archive/impl/tar.ipp>
#include <ckpt/core/plain_list.hpp>
#endif
