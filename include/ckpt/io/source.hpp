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
#include <ckpt/io/path.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// How the bytes of storages reach the program: through a mapping (zero copy), or by reads only.
enum class io_mode : std::uint8_t { map, read };

namespace detail {

struct source_options {
    io_mode mode{io_mode::map};
    std::uint64_t offset{0};                 ///< of the part to read
    std::uint64_t length{~std::uint64_t{0}}; ///< of the part; all ones: to the end
};

/// A file, or caller's memory, or a part of either. Immutable, so it may be read from many threads.
class source final : public counted {
  public:
    [[nodiscard]] static result<shared<source>> open(path_arg path, const source_options& options = {}) {
        auto opened = file::open(path);
        if (!opened) return std::move(opened).error();
        shared<source> out{new source};
        auto placed = out->place(options, opened->size());
        if (!placed) return std::move(placed).error();
        out->file_ = std::move(*opened);
        if (options.mode == io_mode::map) {
            std::size_t skipped = 0;
            auto pages = out->file_.map(out->base_, out->size_, skipped);
            if (!pages) return std::move(pages).error();
            out->pages_ = std::move(*pages);
            out->is_mapped_ = true;
            if (out->size_ != 0) out->mapped_ = out->pages_.bytes().subspan(skipped);
        }
        return out;
    }

    /// Bytes that the caller keeps alive and unchanged. In `io_mode::read` they are only copied from.
    [[nodiscard]] static result<shared<source>> memory(std::span<const std::byte> bytes,
                                                       const source_options& options = {}) {
        shared<source> out{new source};
        auto placed = out->place(options, bytes.size());
        if (!placed) return std::move(placed).error();
        out->memory_ = bytes.subspan(static_cast<std::size_t>(out->base_), static_cast<std::size_t>(out->size_));
        out->in_memory_ = true;
        out->is_mapped_ = options.mode == io_mode::map;
        if (out->is_mapped_) out->mapped_ = out->memory_;
        return out;
    }

    /// A part of another source: of the same file, mapping or memory, which it keeps open.
    [[nodiscard]] static result<shared<source>> part(const shared<source>& of, std::uint64_t offset,
                                                     std::uint64_t length) {
        shared<source> out{new source};
        auto placed = out->place({.offset = offset, .length = length}, of->size_);
        if (!placed) return std::move(placed).error();
        out->whole_ = of->whole_ ? of->whole_ : of;
        out->base_ += of->base_;
        out->in_memory_ = of->in_memory_;
        out->is_mapped_ = of->is_mapped_;
        if (out->in_memory_)
            out->memory_ = of->memory_.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(length));
        if (out->is_mapped_)
            out->mapped_ = of->mapped_.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(length));
        return out;
    }

    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
    /// Where byte 0 of this source lies in the whole file: offsets in errors count from there.
    [[nodiscard]] std::uint64_t base() const noexcept { return base_; }

    /// Fills `out` with the bytes at `offset`. Fails with `truncated` where the source, or meanwhile the file, ends
    /// before.
    [[nodiscard]] result<void> read(std::uint64_t offset, std::span<std::byte> out) const {
        if (!range_inside(offset, out.size(), size_)) {
            return error{.code = errc::truncated,
                         .offset = base_ + (offset < size_ ? offset : size_),
                         .detail = decimal(std::uint64_t{out.size()}) + " bytes at " + decimal(offset) + " of " +
                                   decimal(size_)};
        }
        if (out.empty()) return {};
        if (!in_memory_) return (whole_ ? whole_->file_ : file_).read(base_ + offset, out);
        std::memcpy(out.data(), memory_.data() + offset, out.size());
        return {};
    }

    /// The file itself, in which this source begins at `base()`; null where it lies in memory.
    [[nodiscard]] const file* whole_file() const noexcept {
        return in_memory_ ? nullptr : whole_ ? &whole_->file_ : &file_;
    }
    /// Bytes [begin, end) of that file in the mapping that this source is a part of; empty where they are not mapped.
    [[nodiscard]] std::span<const std::byte> mapped_part(std::uint64_t begin, std::uint64_t end) const noexcept {
        const source& all = whole_ ? *whole_ : *this;
        if (!all.is_mapped_ || begin < all.base_ || end < begin || end - all.base_ > all.mapped_.size()) return {};
        return all.mapped_.subspan(static_cast<std::size_t>(begin - all.base_), static_cast<std::size_t>(end - begin));
    }
    /// The bytes of a source in the caller's memory, whatever its mode; empty for files.
    [[nodiscard]] std::span<const std::byte> memory() const noexcept { return memory_; }

    [[nodiscard]] bool is_mapped() const noexcept { return is_mapped_; }
    /// The whole source in memory; empty unless `is_mapped()`. Touching it after the file was cut raises a signal.
    [[nodiscard]] std::span<const std::byte> mapped() const noexcept { return mapped_; }

  private:
    source() noexcept = default;

    [[nodiscard]] result<void> place(const source_options& options, std::uint64_t whole) {
        const bool open_end = options.length == ~std::uint64_t{0};
        if (options.offset > whole || !range_inside(options.offset, open_end ? 0 : options.length, whole)) {
            return error{.code = errc::range_outside_file,
                         .offset = whole,
                         .detail = (open_end ? std::string("the part") : decimal(options.length) + " bytes") + " at " +
                                   decimal(options.offset) + " of a file of " + decimal(whole),
                         .hint = "Check the offset and the length that were asked for"};
        }
        base_ = options.offset;
        size_ = open_end ? whole - options.offset : options.length;
        return {};
    }

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
