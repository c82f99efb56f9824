// ckpt/torch/pickle_stream.hpp: pickles that lie one after another in a file, without a directory.
//
// SPDX-License-Identifier: MIT
// In:      a source, and where a pickle begins.
// Out:     where it ends, found by reading its opcodes and skipping their arguments; then its bytes, copied to memory.
// Refuses: unknown opcodes, and a pickle that ends past the file or limits.pickle_bytes, before it allocates.
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/checked.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/reader.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/pickle/opcode.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// A buffer that holds the part of a source around the last offset that was read.
class read_window {
  public:
    /// `room`: the size of a read in bytes, at least 64.
    read_window(const source& from, std::size_t room) : from_{from}, bytes_(room) {}

    /// The bytes at `offset`: `least` of them (64 at most) or more; fewer only where the source ends. Empty at its end,
    /// and where reading failed: see `failure`.
    [[nodiscard]] std::span<const std::byte> at(std::uint64_t offset, std::size_t least);
    [[nodiscard]] const std::optional<error>& failure() const noexcept { return failure_; }

  private:
    const source& from_;
    std::vector<std::byte> bytes_;
    std::uint64_t begin_{0};
    std::uint64_t held_{0};
    std::optional<error> failure_{};
};

/// The offset behind the STOP of the pickle at `begin`. Fails with `limit` for more than `most` bytes.
[[nodiscard]] result<std::uint64_t> pickle_end(read_window& from, const source& file, std::uint64_t begin,
                                               std::uint64_t most);

/// The most bytes that a pickle may have.
[[nodiscard]] inline std::uint64_t pickle_ceiling(const limits& budget) noexcept {
    return (std::min<std::uint64_t>)(budget.pickle_bytes, 0xFFFF'FFFFu);
}

/// [begin, end) of a source, in memory that lives as long as the arena.
[[nodiscard]] result<std::span<const std::byte>> read_owned(const source& from, std::uint64_t begin, std::uint64_t end,
                                                            arena& memory);

/// The error for the checkpoint `index` of a file that has `held`.
[[nodiscard]] error no_such_checkpoint(std::uint32_t index, std::uint64_t held);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/pickle_stream.ipp>
#endif
