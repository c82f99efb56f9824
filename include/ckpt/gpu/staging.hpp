// ckpt/gpu/staging.hpp: the bytes of a piece in memory of the host.
//
// SPDX-License-Identifier: MIT
// In:      a plan, and how its files are to be read.
// Out:     each piece in memory that the caller gives, read, gathered or converted; checksums of whole records.
// Refuses: files that became shorter; values that a conversion would lose; records that do not have their checksum.
//
// Everything may be called from many threads, for different pieces.
#pragma once

#include <ckpt/core/digest.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/gpu/upload_plan.hpp>
#include <ckpt/io/file.hpp>
#include <ckpt/io/source.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// How the bytes of files reach the host's memory, or the device. What does not work falls back to `buffered`, and the
/// report says why.
enum class upload_source : std::uint8_t {
    buffered,  ///< positioned reads through the system's cache
    direct,    ///< reads that bypass it: for cold files, at a fraction of the processor time
    mapped,    ///< the file's mapping, pinned in windows, where the device can read it
    gpu_direct ///< past the host, by a `direct_reader`
};

namespace detail {

inline constexpr std::uint64_t page_bytes = file::direct_alignment;

/// The part of a record that one piece had, for the checksum of the whole.
struct partial_checksum {
    std::uint32_t check{};
    std::uint32_t crc32{};
    std::uint64_t bytes{};
};

class stager {
  public:
    stager(const upload_plan_data& plan, upload_source source, bool verify)
        : plan_{plan}, verify_{verify}, runs_(plan.runs.size()) {
        if (verify_) partial_.resize(plan.pieces.size());
        if (source != upload_source::direct) return;
        for (std::size_t r = 0; r < runs_.size(); ++r) {
            const file* const in = plan.runs[r].in;
            if (in == nullptr) continue;
            std::size_t known = 0;
            while (known < direct_.size() && direct_[known].first != in) ++known;
            if (known == direct_.size()) {
                auto opened = in->reopen_direct();
                if (!opened) note(opened.error().detail);
                direct_.emplace_back(in, opened ? *std::move(opened) : file{});
                usable_.push_back(static_cast<bool>(opened));
            }
            if (usable_[known]) runs_[r].direct = static_cast<std::uint32_t>(known + 1);
        }
    }

    /// Fills a slot of `slot_bytes`, which begins at a page.
    [[nodiscard]] result<void> fill(std::uint32_t number, std::byte* slot) {
        const upload_piece& piece = plan_.pieces[number];
        if (piece.run == no_run) return build(piece, slot);
        std::byte* const out = slot + plan_.lead(piece);
        // What is summed is read in parts that stay in the cache meanwhile; direct reads are the larger the better.
        constexpr std::uint64_t hot = std::uint64_t{256} << 10;
        const std::uint64_t step = verify_ && runs_[piece.run].direct == 0 ? hot : piece.bytes;
        for (std::uint64_t at = 0; at < piece.bytes; at += step) {
            const std::span<std::byte> part{out + at, static_cast<std::size_t>((std::min)(step, piece.bytes - at))};
            if (auto done = read(piece.run, piece.begin + at, part, slot); !done) return done;
            checked(number, piece.begin + at, part);
        }
        return {};
    }

    /// Bytes of a run that begin at `begin`. `room`: a page-aligned buffer of `slot_bytes` for direct reads, or null;
    /// `out` may be its part.
    [[nodiscard]] result<void> read(std::uint32_t run, std::uint64_t begin, std::span<std::byte> out, std::byte* room) {
        const byte_run& from = plan_.runs[run];
        if (from.in == nullptr) {
            std::memcpy(out.data(), reinterpret_cast<const std::byte*>(static_cast<std::uintptr_t>(begin)), out.size());
            return {};
        }
        if (runs_[run].direct != 0 && room != nullptr && !runs_[run].fell_back.load(std::memory_order_relaxed)) {
            if (read_direct(direct_[runs_[run].direct - 1].second, begin, out, room)) return {};
            if (!runs_[run].fell_back.exchange(true)) fallbacks_.fetch_add(1, std::memory_order_relaxed);
        }
        auto done = from.in->read(begin, out);
        if (!done) done.error().file = from.file_name;
        return done;
    }

    /// Builds the elements of a piece; they lie in it as its copies expect.
    [[nodiscard]] result<void> build(const upload_piece& piece, std::byte* slot) const {
        for (std::uint32_t i = 0; i < piece.parts; ++i) {
            const built_part& part = plan_.parts[piece.first_part + i];
            if (auto done = build(part, slot + part.at); !done) return done;
        }
        return {};
    }
    [[nodiscard]] result<void> build(const built_part& part, std::byte* out) const {
        return plan_.plan.read(plan_.built[part.tensor].node, part.first, part.count, out);
    }

    /// Takes what of `bytes`, which begin at `begin` in their file, belongs to records that are checked.
    void checked(std::uint32_t number, std::uint64_t begin, std::span<const std::byte> bytes) {
        if (!verify_) return;
        const std::uint32_t run = plan_.pieces[number].run;
        const auto& checks = plan_.checksums;
        const std::uint64_t end = begin + bytes.size();
        auto at = std::partition_point(checks.begin(), checks.end(), [&](const known_checksum& c) {
            return c.run < run || (c.run == run && c.end <= begin);
        });
        for (; at != checks.end() && at->run == run && at->begin < end; ++at) {
            const std::uint64_t first = (std::max)(at->begin, begin), last = (std::min)(at->end, end);
            const auto part =
                bytes.subspan(static_cast<std::size_t>(first - begin), static_cast<std::size_t>(last - first));
            partial_[number].push_back({static_cast<std::uint32_t>(at - checks.begin()), crc32(part), last - first});
        }
    }

    /// Once all pieces were filled: how many records were seen whole. The first that does not have its checksum is the
    /// error.
    [[nodiscard]] result<std::uint64_t> verified() const {
        std::vector<partial_checksum> whole(plan_.checksums.size());
        for (const auto& of : partial_)
            for (const partial_checksum& p : of) {
                partial_checksum& w = whole[p.check];
                w.crc32 = w.bytes == 0 ? p.crc32 : crc32_joined(w.crc32, p.crc32, p.bytes);
                w.bytes += p.bytes;
            }
        std::uint64_t compared = 0;
        for (std::size_t i = 0; i < whole.size(); ++i) {
            const known_checksum& c = plan_.checksums[i];
            if (whole[i].bytes != c.end - c.begin)
                continue; // what bypassed the host, or was left out between two tensors
            ++compared;
            if (whole[i].crc32 == c.crc32) continue;
            return error{.code = errc::checksum_mismatch,
                         .offset = c.begin,
                         .file = std::string(plan_.runs[c.run].file_name),
                         .record = std::string(c.key),
                         .detail = "the CRC-32 is " + hexadecimal(whole[i].crc32) + ", the directory says " +
                                   hexadecimal(c.crc32),
                         .hint = "the file is damaged: copy it again from where it came"};
        }
        return compared;
    }

    /// Why not everything was read as was asked for; empty where it was.
    [[nodiscard]] std::string fallback() const {
        if (const std::uint64_t n = fallbacks_.load(); n != 0 && reason_.empty())
            return "direct reads failed for " + decimal(n) + " runs";
        return reason_;
    }

  private:
    struct run_state {
        std::uint32_t direct{}; // 1 + number in direct_; 0: none
        std::atomic<bool> fell_back{false};
    };

    [[nodiscard]] static bool read_direct(const file& from, std::uint64_t begin, std::span<std::byte> out,
                                          std::byte* room) noexcept {
        const std::uint64_t first = begin / page_bytes * page_bytes;
        const std::uint64_t wanted = begin + out.size() - first;
        const std::uint64_t last = (wanted + page_bytes - 1) / page_bytes * page_bytes;
        std::uint64_t have = 0;
        while (have < wanted) {
            std::size_t got = 0;
            // After the end of the file a direct read gives a part of a page, after which nothing is aligned.
            if (have % page_bytes != 0 ||
                from.read_some(first + have, {room + have, static_cast<std::size_t>(last - have)}, got) != 0 ||
                got == 0)
                return false;
            have += got;
        }
        if (out.data() != room + (begin - first)) std::memcpy(out.data(), room + (begin - first), out.size());
        return true;
    }
    void note(std::string reason) {
        if (reason_.empty()) reason_ = std::move(reason);
    }

    const upload_plan_data& plan_;
    bool verify_;
    std::vector<run_state> runs_;
    std::vector<std::pair<const file*, file>> direct_{};
    std::vector<bool> usable_{};
    std::vector<std::vector<partial_checksum>> partial_{}; // by piece, each written by one thread
    std::atomic<std::uint64_t> fallbacks_{0};
    std::string reason_{};
};

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI
