// ckpt/archive/inflate.hpp: records that a zip tool has compressed, by a function that the caller brings.
//
// SPDX-License-Identifier: MIT
// In:      a record, and `inflater`: a function for deflate data, which the library does not read by itself.
// Out:     the content, whole and checked against its CRC.
// Refuses: other methods than deflate (Z8); a size that no deflate data of that length can have, before anything is
//          allocated; data that are not exactly as long as the directory says.
#pragma once

#include <ckpt/archive/zip.hpp>
#include <ckpt/core/arena.hpp>
#include <ckpt/core/checked.hpp>
#include <ckpt/core/digest.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/io/source.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// Decompresses deflated records of zip archives: a program that has zlib, libdeflate or another implementation lends
/// it.
struct inflater {
    /// Returned for data that cannot be inflated.
    static constexpr std::size_t failed = ~std::size_t{0};

    /// Inflates `in`, which is the whole of one raw deflate stream (RFC 1951: no zlib or gzip header), into `out`,
    /// which has room for exactly what the archive's directory says that it becomes. Returns the number of bytes
    /// written, or `failed`; only `out.size()` bytes from a stream that ended there are accepted, so a stream that goes
    /// on must return `failed`. Neither range is null where it is not empty, and they do not overlap. Keeps no pointer,
    /// throws nothing, and may be called from several threads at once where the checkpoint is used so; `context` must
    /// outlive the checkpoint.
    std::size_t (*function)(void* context, std::span<const std::byte> in, std::span<std::byte> out){nullptr};
    void* context{nullptr};

    [[nodiscard]] explicit operator bool() const noexcept { return function != nullptr; }
};

namespace detail {

/// Whether the content of a compressed record can be had at all; reads nothing but its local header.
[[nodiscard]] inline result<std::uint64_t> locate_deflated(const source& from, const record& r,
                                                           const inflater& inflate) {
    constexpr std::uint64_t most_per_byte =
        1032; // a code of one bit for a length of 258, and one of one bit for its distance
    if (r.method != 8 || !inflate) return zip_archive::not_stored(from, r);
    auto at = zip_archive::locate(from, r);
    if (!at) return at;
    if (r.size > budget_for(most_per_byte, r.stored_size, 64))
        return zip_archive::fail(from, errc::limit, r.header_offset, r.name,
                                 decimal(r.size) + " bytes are declared, which no " + decimal(r.stored_size) +
                                     " deflated bytes become",
                                 zip::damage_hint);
    return at;
}

/// Inflates the record at `at` into `out`, which has its size, and checks its CRC (0: the writer computed none).
[[nodiscard]] inline result<void> inflate_record(const source& from, const record& r, std::uint64_t at,
                                                 const inflater& inflate, std::span<std::byte> out) {
    std::vector<std::byte> kept;
    std::span<const std::byte> in;
    if (from.is_mapped()) {
        in = from.mapped().subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(r.stored_size));
    } else {
        kept.resize(static_cast<std::size_t>(r.stored_size));
        if (auto done = from.read(at, kept); !done) {
            done.error().record = r.name;
            return done;
        }
        in = kept;
    }
    const std::size_t wrote = inflate.function(inflate.context, in, out);
    if (wrote != out.size())
        return zip_archive::fail(from, errc::checksum_mismatch, at, r.name,
                                 decimal(r.stored_size) + " deflated bytes do not become the " + decimal(r.size) +
                                     " that the directory says",
                                 zip::damage_hint);
    if (r.crc32 == 0) return {};
    const std::uint32_t computed = crc32(out);
    if (computed != r.crc32) return zip_archive::wrong_checksum(from, r, at, computed);
    return {};
}

/// The content of a record, whether it is compressed or not, in memory of the arena; its CRC is checked. `most` bounds
/// what a compressed one may become.
[[nodiscard]] inline result<std::span<const std::byte>>
read_content(const source& from, const record& r, const inflater& inflate, std::uint64_t most, arena& memory) {
    if (r.method == 0) return zip_archive::read_record(from, r, memory, true);
    auto at = locate_deflated(from, r, inflate);
    if (!at) return std::move(at).error();
    std::size_t length = 0;
    if (r.size > most || !checked_narrow(r.size, length))
        return zip_archive::fail(from, errc::limit, *at, r.name,
                                 decimal(r.stored_size) + " deflated bytes would become " + decimal(r.size) +
                                     ", the limit is " + decimal(most),
                                 "raise limits.inflated_per_byte if the file is trusted");
    const std::span<std::byte> out{memory.allocate<std::byte>(length), length};
    if (auto done = inflate_record(from, r, *at, inflate, out); !done) return std::move(done).error();
    return std::span<const std::byte>{out};
}

/// The content of a record that is parsed, within the limits of `budget`.
[[nodiscard]] inline result<std::span<const std::byte>>
read_parsed(const source& from, const record& r, const limits& budget, const inflater& inflate, arena& memory) {
    const std::uint64_t ceiling = (std::min<std::uint64_t>)(budget.pickle_bytes, 0xFFFF'FFFFu);
    if (r.size > ceiling)
        return zip_archive::fail(
            from, errc::limit, r.header_offset, r.name,
            "the record has " + decimal(r.size) + " bytes, limits.pickle_bytes is " + decimal(ceiling), {});
    return read_content(from, r, inflate, budget_for(budget.inflated_per_byte, r.stored_size, 1u << 20), memory);
}

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI
