// ckpt/io/file.hpp: an open file and a mapping of it, each closed by its owner.
//
// SPDX-License-Identifier: MIT
// In:      a path.
// Out:     `file`: its size, as the descriptor has it, and positioned reads. `mapping`: a range of the file in memory.
// Refuses: directories, pipes, devices; what the system refuses.
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

/// The text of a system error number: "no such file"; "system error 71" for a number without a text.
[[nodiscard]] std::string system_reason(int failure);

/// A usable path in the characters of the system.
[[nodiscard]] std::basic_string<file_system::path_char> native_path(path_arg path);

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

    /// Opens a regular file for reading. Fails with `is_a_directory`, `not_a_regular_file` or `cannot_open`.
    [[nodiscard]] static result<file> open(path_arg path);

    /// Opens the same file again for reads that bypass the system's cache. Their offsets, lengths and addresses are
    /// multiples of `direct_alignment`. Fails with `cannot_open` where the system or the file system has no such reads.
    [[nodiscard]] result<file> reopen_direct() const;
    static constexpr std::uint64_t direct_alignment = 4096;

    /// Reads `got` bytes at `offset`, as many as one call of the system gives; 0 at the end of the file. Returns 0, or
    /// the system's error number. For direct reads.
    [[nodiscard]] int read_some(std::uint64_t offset, std::span<std::byte> out, std::size_t& got) const noexcept {
        return file_system::read_at(handle_, offset, out.data(), out.size(), got);
    }
    /// The descriptor or handle, which this object still owns.
    [[nodiscard]] file_system::handle handle() const noexcept { return handle_; }

    /// The size in bytes when the file was opened.
    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

    /// Fills `out` with the bytes at `offset`. Fails with `truncated` where the file is shorter, and `read_failed`.
    [[nodiscard]] result<void> read(std::uint64_t offset, std::span<std::byte> out) const;

    /// Maps [offset, offset + length), which the caller has checked against `size()`. The mapping begins `skipped`
    /// bytes before `offset`, at a multiple of 65,536. Fails with `map_failed`.
    [[nodiscard]] result<mapping> map(std::uint64_t offset, std::uint64_t length, std::size_t& skipped) const;

  private:
    file_system::handle handle_{file_system::no_handle};
    std::uint64_t size_{0};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/io/impl/file.ipp>
#endif
