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
[[nodiscard]] result<std::uint64_t> locate_deflated(const source& from, const record& r, const inflater& inflate);

/// Inflates the record at `at` into `out`, which has its size, and checks its CRC (0: the writer computed none).
[[nodiscard]] result<void> inflate_record(const source& from, const record& r, std::uint64_t at,
                                          const inflater& inflate, std::span<std::byte> out);

/// The content of a record, whether it is compressed or not, in memory of the arena; its CRC is checked. `most` bounds
/// what a compressed one may become.
[[nodiscard]] result<std::span<const std::byte>>
read_content(const source& from, const record& r, const inflater& inflate, std::uint64_t most, arena& memory);

/// The content of a record that is parsed, within the limits of `budget`.
[[nodiscard]] result<std::span<const std::byte>> read_parsed(const source& from, const record& r, const limits& budget,
                                                             const inflater& inflate, arena& memory);

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/archive/impl/inflate.ipp>
#endif
