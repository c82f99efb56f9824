// ckpt/archive/inflater.hpp: functions of the program that inflate.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// Functions that inflate deflated records of zip archives piece by piece, so that a record of any size takes little
/// memory. ckpt has none of its own: a program passes some that call zlib or another library.
struct inflater {
    /// What `next` has done.
    enum class outcome : std::uint8_t {
        going,    ///< it used up `in` or filled `out`
        finished, ///< the stream has ended, and all of it was written
        failed,   ///< the data are no deflate stream
    };

    /// Begins one raw deflate stream (RFC 1951: no zlib or gzip header). Returns its state, or null where there is no
    /// memory for one. `context` is the member of this struct.
    void* (*begin)(void* context){nullptr};
    /// Inflates from `in` to `out` until one of them is empty or the stream ends, and moves the begin of both behind
    /// what it read and wrote. The ranges do not overlap. Keeps no pointer into them, and does not throw.
    outcome (*next)(void* state, std::span<const std::byte>& in, std::span<std::byte>& out){nullptr};
    /// Ends a stream, finished or not, and frees its state.
    void (*end)(void* state){nullptr};
    /// Must outlive the checkpoint. Streams are begun from several threads at once if the checkpoint is used by
    /// several; each stream is used by one at a time.
    void* context{nullptr};
    /// A second stream that goes on where this one is, without changing it (zlib: `inflateCopy`); null where there is
    /// no memory for one. May be left out: whatever goes back in a large record then inflates it from its first byte.
    void* (*copy)(void* state){nullptr};

    [[nodiscard]] explicit operator bool() const noexcept {
        return begin != nullptr && next != nullptr && end != nullptr;
    }
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
