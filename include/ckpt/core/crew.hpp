// ckpt/core/crew.hpp: runs of bytes, worked through in pieces by the threads that a program lends.
//
// SPDX-License-Identifier: MIT
// In:      runs by their lengths; what is done with a piece.
// Out:     the outcome of each piece; the checksum of each run.
// Refuses: nothing: a piece that cannot be read is marked, and whoever wants the error reads it again.
//
// What is done with a piece is the same whatever thread does it, so that results do not depend on their number.
#pragma once

#include <ckpt/core/function_ref.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/core/progress_meter.hpp>
#include <ckpt/core/workers.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// A piece of a run of bytes, and its outcome.
struct crew_piece {
    std::uint32_t run{};    ///< number of the run
    std::uint32_t crc{};    ///< of the piece, where it was summed
    std::uint64_t offset{}; ///< of its first byte in the run
    std::uint64_t length{};
    bool failed{true}; ///< not read, or not what was expected
};

/// The bytes that a thread takes from the file at once: they stay in the second-level cache.
inline constexpr std::size_t crew_buffer = std::size_t{1} << 18;

/// Cuts a run into pieces of at most 2 MiB.
void add_pieces(plain_list<crew_piece>& to, std::uint32_t run, std::uint64_t length);

/// Calls `work` for each piece, with a buffer of `crew_buffer` bytes of the thread's own; a piece for which it throws
/// is marked as failed. `meter` gets the length of each. Leaves the other pieces failed where the program stops
/// it.
void work_through(std::span<crew_piece> pieces, const workers& lent, progress_meter& meter,
                  function_ref<void(crew_piece&, std::span<std::byte>)> work);

/// Bytes of a run from `offset` on: as many as fit into the buffer, in it or elsewhere in memory; none where that
/// fails.
using run_reader =
    function_ref<std::span<const std::byte>(std::uint32_t run, std::uint64_t offset, std::span<std::byte> buffer)>;

/// Computes the CRC-32 of each piece.
void sum_pieces(std::span<crew_piece> pieces, const workers& lent, progress_meter& meter, run_reader read);

/// The CRC-32 of a run from those of its pieces; false where one of them failed.
[[nodiscard]] bool joined_sum(std::span<const crew_piece> of_one_run, std::uint32_t& out) noexcept;

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/crew.ipp>
#endif
