// ckpt/gpu/staging.hpp: the bytes of a piece in memory of the host.
//
// SPDX-License-Identifier: MIT
// In:      a plan, and how its files are to be read.
// Out:     each piece in memory that the caller gives, read, gathered or converted; checksums of whole records.
// Refuses: files that became shorter; values that a conversion would lose; records that do not have their checksum.
//
// Everything may be called from many threads, for different pieces.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/gpu/plan_data.hpp>
#include <ckpt/gpu/upload_types.hpp>
#include <ckpt/io/file.hpp>
#include <ckpt/io/pages.hpp>
#include <ckpt/state/gather_read.hpp>
#include <ckpt/tensor/storage.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

inline constexpr std::uint64_t page_bytes = file::direct_alignment;

/// The part of a record that one piece had, for the checksum of the whole.
struct partial_checksum {
    std::uint32_t check{};
    std::uint32_t crc32{};
    std::uint64_t bytes{};
};

/// A file that is read without the system's cache.
struct direct_file {
    const file* in{};
    file opened{};
    std::atomic<bool> failed{false}; ///< it is read through the cache from then on
};

class stager {
  public:
    stager(const upload_plan_data& plan, upload_source source, bool verify);

    /// Fills a slot of `slot_bytes`, which begins at a page. What is read apart is read to `room`, which is as large.
    /// `leaves` is the thread's own.
    [[nodiscard]] result<void> fill(std::uint32_t number, std::byte* slot, std::byte* room, storage_readers& leaves);

    /// Reads bytes of a piece that begin at `begin` in their file, and adds them to the checksums of the records that
    /// they belong to. `room`: as of `read`.
    [[nodiscard]] result<void> read_checked(std::uint32_t number, std::uint64_t begin, std::span<std::byte> out,
                                            std::byte* room);

    /// Bytes of a run that begin at `begin`. `room`: a page-aligned buffer of `slot_bytes` for direct reads, or null;
    /// `out` may be its part.
    [[nodiscard]] result<void> read(std::uint32_t run, std::uint64_t begin, std::span<std::byte> out, std::byte* room);

    /// Builds the elements of a piece; they lie in it as its copies expect.
    [[nodiscard]] result<void> build(const upload_piece& piece, std::byte* slot, storage_readers& leaves) const;
    [[nodiscard]] result<void> build(const built_part& part, std::byte* out, storage_readers& leaves) const {
        return plan_.plan.read(plan_.built[part.tensor].node, part.first, part.count, out, leaves);
    }

    /// Adds `bytes`, which begin at `begin` in their file, to the checksums of the records that they belong to.
    void checked(std::uint32_t number, std::uint64_t begin, std::span<const std::byte> bytes);

    /// Once all pieces were filled: how many records were seen whole. The first that does not have its checksum is the
    /// error.
    [[nodiscard]] result<std::uint64_t> verified() const;

    /// Why not everything was read as was asked for; empty where it was.
    [[nodiscard]] std::string fallback() const;

    /// A file that is read without the system's cache; null where that was not asked for, cannot be, or failed.
    [[nodiscard]] direct_file* direct_of(const file& in) noexcept;

  private:
    void open_direct(const file& in);
    [[nodiscard]] static bool read_direct(const file& from, std::uint64_t begin, std::span<std::byte> out,
                                          std::byte* room) noexcept;
    void note(std::string reason) {
        if (reason_.empty()) reason_ = std::move(reason);
    }

    const upload_plan_data& plan_;
    bool verify_;
    std::deque<direct_file> direct_{};
    std::vector<direct_file*> runs_{};                     // by run; null: read through the cache
    std::vector<std::vector<partial_checksum>> partial_{}; // by piece, each written by one thread
    std::string reason_{};
};

/// Reads what the host builds from, for one thread: by positioned reads, whether files are mapped or not.
class staged_reads final : public file_reads {
  public:
    explicit staged_reads(stager& of) noexcept : of_{of} {}

    [[nodiscard]] bool has(const stored_place& place) const noexcept override;
    [[nodiscard]] result<void> read(const stored_place& place, std::uint64_t offset, std::span<std::byte> out) override;

  private:
    /// Copies what the window has of the bytes at `begin`, after it was moved there; 0 where it cannot be.
    [[nodiscard]] std::size_t copy_direct(const direct_file& from, std::uint64_t begin,
                                          std::span<std::byte> out) noexcept;

    stager& of_;
    // Pages of a file that were read last: rows of a slice by columns lie in few of them.
    pages window_{};
    const direct_file* in_{};
    std::uint64_t first_{0};
    std::uint64_t last_{0};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/gpu/impl/staging.ipp>
#endif
