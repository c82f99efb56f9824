// ckpt/core/impl/crew.ipp: the definitions of crew.hpp.
//
// SPDX-License-Identifier: MIT
//
// Uses the compiler's built-in atomic operations, as shared.ipp does.
#pragma once

#include <ckpt/core/crew.hpp>
#include <ckpt/core/digest.hpp>

#include <vector>

#if defined(_MSC_VER) && !defined(__clang__)
extern "C" long long _InterlockedExchangeAdd64(volatile long long*, long long);
#pragma intrinsic(_InterlockedExchangeAdd64)
#endif

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// A number that several threads add to.
class shared_number {
  public:
    /// Adds `n`, and gives the number before that.
    std::uint64_t add(std::uint64_t n) noexcept {
#if defined(_MSC_VER) && !defined(__clang__)
        return static_cast<std::uint64_t>(
            _InterlockedExchangeAdd64(reinterpret_cast<long long volatile*>(&value_), static_cast<long long>(n)));
#else
        return __atomic_fetch_add(&value_, n, __ATOMIC_RELAXED);
#endif
    }

  private:
    std::uint64_t value_{0};
};

/// What the threads of one call have in common.
class crew_job {
  public:
    crew_job(std::span<crew_piece> pieces, unsigned count, progress_meter& meter,
             function_ref<void(crew_piece&, std::span<std::byte>)> work)
        : pieces_{pieces}, meter_{meter}, work_{work}, buffers_(count * crew_buffer) {}

    void run(unsigned number);
    /// Adds what other threads did after the last piece of the calling one.
    void end() { tell(); }

  private:
    void tell() {
        const std::uint64_t now = done_.add(0);
        if (!meter_.add(now - told_)) (void)next_.add(pieces_.size()); // no piece is left
        told_ = now;
    }
    void try_piece(crew_piece& piece, std::span<std::byte> buffer) const noexcept {
#if CKPT_EXCEPTIONS
        try {
            work_(piece, buffer);
        } catch (...) { // no memory
            piece.failed = true;
        }
#else
        work_(piece, buffer);
#endif
    }

    std::span<crew_piece> pieces_;
    progress_meter& meter_;
    function_ref<void(crew_piece&, std::span<std::byte>)> work_;
    std::vector<std::byte> buffers_;
    shared_number next_{};
    shared_number done_{};
    std::uint64_t told_{0};
};

CKPT_DETAIL_RARE void crew_job::run(unsigned number) {
    if (number >= buffers_.size() / crew_buffer) return;
    const std::span<std::byte> buffer{buffers_.data() + number * crew_buffer, crew_buffer};
    for (std::uint64_t i = next_.add(1); i < pieces_.size(); i = next_.add(1)) {
        crew_piece& piece = pieces_[static_cast<std::size_t>(i)];
        try_piece(piece, buffer);
        (void)done_.add(piece.length);
        if (number == 0) tell(); // only the thread that made the call
    }
}

CKPT_DETAIL_RARE void add_pieces(plain_list<crew_piece>& to, std::uint32_t run, std::uint64_t length) {
    constexpr std::uint64_t most = std::uint64_t{2} << 20;
    for (std::uint64_t at = 0; at < length; at += most)
        to.push_back({run, 0, at, length - at < most ? length - at : most, true});
}

CKPT_DETAIL_RARE void work_through(std::span<crew_piece> pieces, const workers& lent, progress_meter& meter,
                                   function_ref<void(crew_piece&, std::span<std::byte>)> work) {
    if (pieces.empty()) return;
    const bool alone = lent.run == nullptr || lent.count < 2 || pieces.size() < 2;
    crew_job job{pieces, alone ? 1 : lent.count, meter, work};
    if (alone) return job.run(0);
    lent.run(
        lent.context, lent.count, [](void* of, unsigned number) { static_cast<crew_job*>(of)->run(number); }, &job);
    job.end();
}

CKPT_DETAIL_RARE void sum_pieces(std::span<crew_piece> pieces, const workers& lent, progress_meter& meter,
                                 run_reader read) {
    work_through(pieces, lent, meter, [&](crew_piece& piece, std::span<std::byte> buffer) {
        piece.crc = 0;
        for (std::uint64_t done = 0; done < piece.length;) {
            const std::uint64_t left = piece.length - done;
            const std::span<const std::byte> bytes =
                read(piece.run, piece.offset + done,
                     buffer.first(static_cast<std::size_t>(left < buffer.size() ? left : buffer.size())));
            if (bytes.empty()) return;
            piece.crc = crc32(bytes, piece.crc);
            done += bytes.size();
        }
        piece.failed = false;
    });
}

CKPT_DETAIL_RARE bool joined_sum(std::span<const crew_piece> of_one_run, std::uint32_t& out) noexcept {
    out = 0;
    for (const crew_piece& piece : of_one_run) {
        if (piece.failed) return false;
        out = crc32_joined(out, piece.crc, piece.length);
    }
    return true;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
