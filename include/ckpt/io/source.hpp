// ckpt/io/source.hpp: the bytes of a file, a part of one, or memory of the caller's.
//
// SPDX-License-Identifier: MIT
// In:      a path or bytes in memory, and which part of them.
// Out:     an immutable source: its size, positioned reads, and in `io_mode::map` one read-only mapping.
// Refuses: files that cannot be opened or are not regular, and a part that lies outside.
//
// Headers, directories and pickles are copied by `read` before they are parsed, never parsed in the mapping. A file
// that changes meanwhile then cannot change a value between its check and its use, nor raise a signal.
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/core/error.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/io/file.hpp>
#include <ckpt/io/io_mode.hpp>
#include <ckpt/io/path.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

struct source_options {
    io_mode mode{io_mode::map};
    std::uint64_t offset{0};                 ///< of the part to read
    std::uint64_t length{~std::uint64_t{0}}; ///< of the part; all ones: to the end
};

class opening_reads;

/// A file, memory of the caller's, or a part of either. Immutable, so many threads may read it at once.
class source final : public counted {
  public:
    /// Opens a file. Fails as `file::open` and `file::map` do, and with `range_outside_file`.
    [[nodiscard]] static result<shared<source>> open(path_arg path, const source_options& options = {});

    /// Bytes that the caller keeps alive and unchanged. In `io_mode::read` `mapped()` is empty, as for a file.
    [[nodiscard]] static result<shared<source>> memory(std::span<const std::byte> bytes,
                                                       const source_options& options = {});

    /// A part of another source, whose file, mapping or memory it shares and keeps open. Fails with
    /// `range_outside_file`.
    [[nodiscard]] static result<shared<source>> part(const shared<source>& of, std::uint64_t offset,
                                                     std::uint64_t length);

    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
    /// The offset of this source's byte 0 in the whole file. Errors add it to their offsets.
    [[nodiscard]] std::uint64_t base() const noexcept { return base_; }

    /// Fills `out` with the bytes at `offset`. Fails with `truncated` where the source is shorter, or the file has
    /// become shorter.
    [[nodiscard]] result<void> read(std::uint64_t offset, std::span<std::byte> out) const;
    /// Says that `bytes` are those at `offset` and stay so, for reads while the file is opened.
    void keep(std::uint64_t offset, std::span<const std::byte> bytes) const noexcept;

    /// The file, in which this source begins at `base()`; null for memory of the caller's.
    [[nodiscard]] const file* whole_file() const noexcept {
        return in_memory_ ? nullptr : whole_ ? &whole_->file_ : &file_;
    }
    /// Bytes [begin, end) of the whole file, from the mapping that this source shares; empty where it does not have
    /// them.
    [[nodiscard]] std::span<const std::byte> mapped_part(std::uint64_t begin, std::uint64_t end) const noexcept;
    /// The bytes of a source in the caller's memory, whatever its mode; empty for files.
    [[nodiscard]] std::span<const std::byte> memory() const noexcept { return memory_; }

    [[nodiscard]] bool is_mapped() const noexcept { return is_mapped_; }
    /// All bytes of the source; empty unless `is_mapped()`. An access raises a signal once the file was truncated.
    [[nodiscard]] std::span<const std::byte> mapped() const noexcept { return mapped_; }

  private:
    friend class opening_reads;
    source() noexcept = default;

    [[nodiscard]] result<void> read_file(std::uint64_t offset, std::span<std::byte> out) const;
    [[nodiscard]] result<void> place(const source_options& options, std::uint64_t whole);

    shared<source> whole_{}; // of a part: the source that owns the file
    file file_{};
    mapping pages_{};
    std::span<const std::byte> memory_{};
    std::span<const std::byte> mapped_{};
    std::uint64_t base_{0};
    std::uint64_t size_{0};
    opening_reads* opening_{nullptr}; // while one thread opens the file
    bool in_memory_{false};
    bool is_mapped_{false};
};

/// Fewer system calls while one thread opens a file. While it lives, `read` of a source gives bytes that were read
/// already; only the thread that made it may read the source then. To open a file that torch.save wrote takes 15 reads,
/// most of them of a few bytes that lie beside one another, and a system call costs as much as three tensors.
class opening_reads {
  public:
    explicit opening_reads(shared<source> of) noexcept;
    opening_reads(const opening_reads&) = delete;
    opening_reads& operator=(const opening_reads&) = delete;
    ~opening_reads();

    [[nodiscard]] result<void> read(std::uint64_t offset, std::span<std::byte> out);
    /// Takes reads out of `bytes`, too, which were read at `offset` and outlive this object.
    void keep(std::uint64_t offset, std::span<const std::byte> bytes) noexcept { kept_ = {offset, bytes}; }

  private:
    struct stretch {
        std::uint64_t begin{0};
        std::span<const std::byte> bytes{};

        [[nodiscard]] bool give(std::uint64_t offset, std::span<std::byte> out) const noexcept;
    };

    shared<source> of_;
    std::array<std::array<std::byte, 4096 + 512>, 2> pages_; // two: the first page is needed again after the others
    std::array<stretch, 2> held_{};
    std::size_t next_{0};
    stretch kept_{};
};

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/io/impl/source.ipp>
#endif
