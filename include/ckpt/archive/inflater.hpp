// ckpt/archive/inflater.hpp: a function of the program that inflates.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// A function that inflates deflated records of zip archives. ckpt has none of its own: a program passes one that calls
/// zlib, libdeflate or another library.
struct inflater {
    /// What `function` returns for data that it cannot inflate.
    static constexpr std::size_t failed = ~std::size_t{0};

    /// Inflates `in`, one whole raw deflate stream (RFC 1951: no zlib or gzip header), into `out`, whose size is the
    /// size in the archive's directory. Returns the number of bytes written, or `failed`. Only `out.size()` is
    /// accepted, so the function must return `failed` for a stream that does not end there. The ranges do not overlap,
    /// and are not null unless they are empty. The function keeps no pointer and does not throw. It is called from
    /// several threads at once if the checkpoint is used by several. `context` must outlive the checkpoint.
    std::size_t (*function)(void* context, std::span<const std::byte> in, std::span<std::byte> out){nullptr};
    void* context{nullptr};

    [[nodiscard]] explicit operator bool() const noexcept { return function != nullptr; }
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
