// ckpt/io/file.hpp: an open file and a mapping of it, each closed by its owner.
//
// SPDX-License-Identifier: MIT
// In:      a path.
// Out:     `file`: size taken from the descriptor, positioned reads. `mapping`: a range of it in memory.
// Refuses: directories, pipes, devices; whatever the system refuses.
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/core/error.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/io/path.hpp>

#if defined(_WIN32)
#include <ckpt/io/detail/file_win32.hpp>
#else
#include <ckpt/io/detail/file_posix.hpp>
#endif

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// "no such file", or the bare number where there are no words for it.
[[nodiscard]] std::string system_reason(int failure);

/// A range of a file in memory, read-only. Empty when moved from.
class mapping {
  public:
    mapping() noexcept = default;
    mapping(const std::byte* pages, std::size_t length) noexcept : pages_{pages}, length_{length} {}
    mapping(mapping&& other) noexcept
        : pages_{std::exchange(other.pages_, nullptr)}, length_{std::exchange(other.length_, 0)} {}
    mapping& operator=(mapping&& other) noexcept;
    ~mapping() {
        if (pages_ != nullptr) file_system::unmap(pages_, length_);
    }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {pages_, length_}; }

  private:
    const std::byte* pages_{nullptr};
    std::size_t length_{0};
};

/// An open regular file. Nothing is open when moved from.
class file {
  public:
    file() noexcept = default;
    file(file&& other) noexcept
        : handle_{std::exchange(other.handle_, file_system::no_handle)}, size_{std::exchange(other.size_, 0)} {}
    file& operator=(file&& other) noexcept;
    ~file() {
        if (handle_ != file_system::no_handle) file_system::close_file(handle_);
    }

    [[nodiscard]] static result<file> open(path_arg path);

    /// The same file for reads that bypass the system's cache: their offsets, lengths and memory are multiples of
    /// `direct_alignment`. Fails with `cannot_open` where the system or the file system has no such reads.
    [[nodiscard]] result<file> reopen_direct() const;
    static constexpr std::uint64_t direct_alignment = 4096;

    /// A part of `out` from `offset` on, up to the end of the file; `got` bytes of it. For direct reads.
    [[nodiscard]] int read_some(std::uint64_t offset, std::span<std::byte> out, std::size_t& got) const noexcept {
        return file_system::read_at(handle_, offset, out.data(), out.size(), got);
    }
    /// What the system knows it by; it stays this object's.
    [[nodiscard]] file_system::handle handle() const noexcept { return handle_; }

    /// As it was when the file was opened.
    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

    /// Fills `out` from `offset` on. Fails with `truncated` where the file ends before.
    [[nodiscard]] result<void> read(std::uint64_t offset, std::span<std::byte> out) const;

    /// Maps [offset, offset + length), which the caller has checked against `size()`. `skipped` bytes of the
    /// mapping come before `offset`, because mappings begin at multiples of `granularity`.
    [[nodiscard]] result<mapping> map(std::uint64_t offset, std::uint64_t length, std::size_t& skipped) const;

  private:
    file_system::handle handle_{file_system::no_handle};
    std::uint64_t size_{0};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/io/impl/file.ipp>
#endif
