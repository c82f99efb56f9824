// ckpt/tensor/storage.hpp: the interface through which tensors read their storages.
//
// SPDX-License-Identifier: MIT
// In:      an index into the storages of one file (or of one arena of copies).
// Out:     sizes, byte order, bytes in memory, positioned reads.
// Refuses: what the implementation refuses; each call checks again, and nothing is cached.
#pragma once

#include <ckpt/core/function_ref.hpp>
#include <ckpt/core/progress_meter.hpp>
#include <ckpt/core/reader.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class source; // io/source.hpp

/// Where the bytes of a storage lie in a file unchanged, for reads that do not go through the storage.
struct stored_place {
    const source* from{};   ///< null where no file has them unchanged
    std::uint64_t offset{}; ///< of the first byte, in the source, after its header was validated
    std::uint32_t crc32{};  ///< of all bytes; 0 where the file has none
};

/// Reads one compressed storage for one access, cheaply in the order of its bytes. The storages must outlive it.
class storage_reader : public counted {
  public:
    /// Copies [offset, offset + out.size()) of the storage, as `storage_source::read` does. Fails with `output_limit`
    /// where going back again and again has inflated too much.
    [[nodiscard]] virtual result<void> read(std::uint64_t offset, std::span<std::byte> out) = 0;
    /// Checks all bytes against the record's checksum. Goes to the end of the record, unless a read did.
    [[nodiscard]] virtual result<void> finish() = 0;
    /// Whether bytes that follow each other may be far from each other in what is inflated for them.
    [[nodiscard]] virtual bool is_scattered() const noexcept { return false; }
    /// Frees its buffers, and what makes going back cheap; goes on where it is.
    virtual void rest() noexcept {}
    /// The bytes that were inflated so far, which the limit counts.
    [[nodiscard]] virtual std::uint64_t inflated() const noexcept { return 0; }
    /// Counts what an earlier reader of the storage inflated.
    virtual void add_inflated(std::uint64_t) noexcept {}
};

/// Gets a range of bytes of a source.
using range_visitor = function_ref<void(const source& from, std::uint64_t begin, std::uint64_t end)>;

class storage_readers; // access.hpp

class storage_source;

/// A storage, by what has it.
struct storage_origin {
    const storage_source* source{};
    std::uint32_t storage{};
};

/// The storages of one file. `torch/` implements it; `tensor/`, `state/` and `gpu/` use it. Immutable once a program
/// can see it: all members may be called from many threads.
class storage_source : public counted {
  public:
    /// The size of the storage in bytes.
    [[nodiscard]] virtual std::uint64_t nbytes(std::uint32_t storage) const noexcept = 0;
    /// The byte order of its elements.
    [[nodiscard]] virtual byte_order order(std::uint32_t storage) const noexcept = 0;
    /// The key in the archive ("0", "1", or an old file's address); empty for bytes that lie in the pickle itself.
    [[nodiscard]] virtual std::string_view key(std::uint32_t storage) const noexcept = 0;
    /// Where its first byte lies in the file, after its header was validated.
    /// Fails with `no_data` where the bytes exist only in memory (transcoded text of a pickle).
    [[nodiscard]] virtual result<std::uint64_t> file_offset(std::uint32_t storage) const = 0;
    /// All bytes, in memory. Fails with `not_mapped` under `io_mode::read`, or as the header's validation does.
    [[nodiscard]] virtual result<std::span<const std::byte>> bytes(std::uint32_t storage) const = 0;
    /// Copies [offset, offset + out.size()) of the storage; the caller has checked that the range is inside it.
    [[nodiscard]] virtual result<void> read(std::uint32_t storage, std::uint64_t offset,
                                            std::span<std::byte> out) const = 0;
    /// The place of its bytes in a file, for uploads, which read many storages in the order of the file.
    [[nodiscard]] virtual result<stored_place> place_of(std::uint32_t) const { return stored_place{}; }
    /// Calls `visit` with what a read of [begin, end) of the storage will touch in files, as far as that is known
    /// without reading anything: for advice to the system.
    virtual void find_touched(std::uint32_t, std::uint64_t begin, std::uint64_t end, range_visitor visit) const {
        (void)begin, (void)end, (void)visit;
    }
    /// The file that holds it, by its name in the folder; empty where no folder was opened.
    [[nodiscard]] virtual std::string_view file(std::uint32_t) const noexcept { return file_; }
    /// Notes the name of the only file of a folder, before a program can see the storages.
    void found_as(std::string_view name) { file_ = name; }
    /// Whether its record is compressed; then reading a part costs as much as reading all of it.
    [[nodiscard]] virtual bool is_compressed(std::uint32_t) const noexcept { return false; }
    /// For several reads of a compressed storage; null for others. Fails as `read` does. What a gathered storage reads
    /// of others it reads by `others`, which must outlive the reader.
    [[nodiscard]] virtual result<shared<storage_reader>> reader(std::uint32_t, storage_readers& others) const {
        (void)others;
        return shared<storage_reader>{};
    }
    /// Whether it is the result of a gather: elements of one tensor that are put together from others when they are
    /// read.
    [[nodiscard]] virtual bool is_gathered(std::uint32_t) const noexcept { return false; }
    /// The same storage in what has its bytes: of one that another source lends, the other's.
    [[nodiscard]] virtual storage_origin origin(std::uint32_t storage) const noexcept { return {this, storage}; }

  private:
    std::string file_{};
};

/// Reads files for whoever does not want their mappings, which end the program where a file was cut: one for a thread.
class file_reads {
  public:
    /// Whether the bytes of a place are a file's, and not the caller's memory.
    [[nodiscard]] virtual bool has(const stored_place& place) const noexcept = 0;
    /// Fills `out` with the bytes at `offset` of a place. Fails with `truncated` where the file is shorter.
    [[nodiscard]] virtual result<void> read(const stored_place& place, std::uint64_t offset,
                                            std::span<std::byte> out) = 0;

  protected:
    ~file_reads() = default;
};

/// A storage that is read several times for one access. Copies share a reader.
struct storage_cursor {
    const storage_source* source{};
    std::uint32_t storage{};
    shared<storage_reader> reader{}; ///< null unless the storage is compressed
    progress_meter* meter{nullptr};  ///< gets what is read; null where nobody asks
    file_reads* files{nullptr};      ///< reads `place`; null where the source reads
    stored_place place{};

    [[nodiscard]] result<void> read(std::uint64_t offset, std::span<std::byte> out) const;
    [[nodiscard]] result<void> finish() const;
    /// Adds to the meter. Fails where the program stops the call.
    [[nodiscard]] result<void> count(std::uint64_t bytes) const {
        return meter == nullptr || meter->add(bytes) ? result<void>{} : meter->stopped();
    }
    /// Bytes that are taken at once, so that the meter moves.
    [[nodiscard]] std::uint64_t most_at_once() const noexcept {
        return meter == nullptr ? ~std::uint64_t{0} : progress_meter::step;
    }

  private:
    [[nodiscard]] result<void> read_piece(std::uint64_t offset, std::span<std::byte> out) const;
    /// So that the meter moves.
    [[nodiscard]] result<void> read_in_steps(std::uint64_t offset, std::span<std::byte> out) const;
};

/// The error of `bytes` under `io_mode::read`.
[[nodiscard]] error not_mapped_error(std::string_view record);

/// The error of `file_offset` for bytes that a pickle has as text.
[[nodiscard]] inline error transcoded_error() {
    return {.code = errc::no_data, .detail = "the bytes were written as text, so they have no place in the file"};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/storage.ipp>
#endif
