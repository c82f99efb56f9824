// ckpt/archive/inflater.hpp: the function for deflate data that a program lends.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <span>

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

} // namespace ckpt::inline CKPT_DETAIL_ABI
