// ckpt/io/source.hpp: the bytes that everything else reads.
//
// SPDX-License-Identifier: MIT
// In:      a path or bytes in memory, and which part of them.
// Out:     an immutable source: a size, positioned reads, and where asked for one read-only mapping.
// Refuses: what cannot be opened, is no regular file, or a part that lies outside.
//
// Whatever decides something is read by `read` into memory of our own, never through the mapping: a file that
// changes meanwhile can then neither tear a decision nor raise a signal.
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/core/error.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/io/file.hpp>
#include <ckpt/io/io_mode.hpp>
#include <ckpt/io/path.hpp>

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

/// A file, or caller's memory, or a part of either. Immutable, so it may be read from many threads.
class source final : public counted {
  public:
    [[nodiscard]] static result<shared<source>> open(path_arg path, const source_options& options = {});

    /// Bytes that the caller keeps alive and unchanged. In `io_mode::read` they are only copied from.
    [[nodiscard]] static result<shared<source>> memory(std::span<const std::byte> bytes,
                                                       const source_options& options = {});

    /// A part of another source: of the same file, mapping or memory, which it keeps open.
    [[nodiscard]] static result<shared<source>> part(const shared<source>& of, std::uint64_t offset,
                                                     std::uint64_t length);

    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
    /// Where byte 0 of this source lies in the whole file: offsets in errors count from there.
    [[nodiscard]] std::uint64_t base() const noexcept { return base_; }

    /// Fills `out` with the bytes at `offset`. Fails with `truncated` where the source, or meanwhile the file, ends
    /// before.
    [[nodiscard]] result<void> read(std::uint64_t offset, std::span<std::byte> out) const;

    /// The file itself, in which this source begins at `base()`; null where it lies in memory.
    [[nodiscard]] const file* whole_file() const noexcept {
        return in_memory_ ? nullptr : whole_ ? &whole_->file_ : &file_;
    }
    /// Bytes [begin, end) of that file in the mapping that this source is a part of; empty where they are not mapped.
    [[nodiscard]] std::span<const std::byte> mapped_part(std::uint64_t begin, std::uint64_t end) const noexcept;
    /// The bytes of a source in the caller's memory, whatever its mode; empty for files.
    [[nodiscard]] std::span<const std::byte> memory() const noexcept { return memory_; }

    [[nodiscard]] bool is_mapped() const noexcept { return is_mapped_; }
    /// The whole source in memory; empty unless `is_mapped()`. Touching it after the file was cut raises a signal.
    [[nodiscard]] std::span<const std::byte> mapped() const noexcept { return mapped_; }

  private:
    source() noexcept = default;

    [[nodiscard]] result<void> place(const source_options& options, std::uint64_t whole);

    shared<source> whole_{}; // of a part: what has the file
    file file_{};
    mapping pages_{};
    std::span<const std::byte> memory_{};
    std::span<const std::byte> mapped_{};
    std::uint64_t base_{0};
    std::uint64_t size_{0};
    bool in_memory_{false};
    bool is_mapped_{false};
};

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/io/impl/source.ipp>
#endif
