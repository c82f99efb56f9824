// ckpt/io/detail/pages_posix.hpp: memory in whole pages by POSIX calls.
//
// SPDX-License-Identifier: MIT
// In:      a number of bytes.
// Out:     zeroed memory that begins at a page, in huge pages where the system has them.
// Refuses: nothing; null where the system has no memory left.
//
// Includes nothing of ckpt's, and so has its own versioned namespace. Raise its number when a function changes.
#pragma once

#include <cstddef>
#include <cstdint>

#include <sys/mman.h>

namespace ckpt::file_system::inline posix_pages_2 {

inline void* take_pages(std::size_t bytes) noexcept {
#if defined(MAP_ANONYMOUS)
    constexpr int anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
#else
    constexpr int anonymous = MAP_PRIVATE | MAP_ANON;
#endif
    void* const pages = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, anonymous, -1, 0);
    if (pages == reinterpret_cast<void*>(~std::uintptr_t{0})) return nullptr; // MAP_FAILED
#if defined(MADV_HUGEPAGE)
    (void)::madvise(pages, bytes, MADV_HUGEPAGE);
#endif
    return pages;
}

/// A child process gets no copy of them, where the system can do that.
inline void keep_from_children([[maybe_unused]] void* pages, [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(MADV_DONTFORK)
    (void)::madvise(pages, bytes, MADV_DONTFORK);
#endif
}

inline void give_pages(void* pages, std::size_t bytes) noexcept { (void)::munmap(pages, bytes); }

} // namespace ckpt::file_system::inline posix_pages_2
