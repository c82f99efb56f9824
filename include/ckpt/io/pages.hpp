// ckpt/io/pages.hpp: a block of memory in whole pages.
//
// SPDX-License-Identifier: MIT
// In:      a number of bytes.
// Out:     an owner of zeroed memory that begins at a page, and whose pages the system provides at the first access.
// Refuses: nothing; the owner is empty where the system has no memory left.
#pragma once

#include <ckpt/core/config.hpp>

#if defined(_WIN32)
#include <ckpt/io/detail/pages_win32.hpp>
#else
#include <ckpt/io/detail/pages_posix.hpp>
#endif

#include <cstddef>
#include <span>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Owns pages. Empty when moved from.
class pages {
  public:
    pages() noexcept = default;
    explicit pages(std::size_t bytes) noexcept
        : data_{bytes != 0 ? file_system::take_pages(bytes) : nullptr}, size_{data_ != nullptr ? bytes : 0} {}
    pages(pages&& other) noexcept : data_{std::exchange(other.data_, nullptr)}, size_{std::exchange(other.size_, 0)} {}
    pages& operator=(pages&& other) noexcept;
    ~pages() {
        if (data_ != nullptr) file_system::give_pages(data_, size_);
    }

    /// Leaves the memory as it is, for good: somebody may use it of whom nothing is known any more.
    void abandon() noexcept { data_ = nullptr, size_ = 0; }
    /// Child processes do not get these pages.
    void keep_from_children() const noexcept { file_system::keep_from_children(data_, size_); }
    [[nodiscard]] std::span<std::byte> bytes() const noexcept { return {static_cast<std::byte*>(data_), size_}; }

  private:
    void* data_{nullptr};
    std::size_t size_{0};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/io/impl/pages.ipp>
#endif
