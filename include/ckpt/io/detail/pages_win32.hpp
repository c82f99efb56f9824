// ckpt/io/detail/pages_win32.hpp: memory in whole pages by Windows calls.
//
// SPDX-License-Identifier: MIT
// In:      a number of bytes.
// Out:     the same functions as pages_posix.hpp.
// Refuses: nothing; null where the system has no memory left.
//
// Includes nothing of ckpt's, and so has its own versioned namespace. Raise its number when a function changes.
#pragma once

#include <cstddef>

extern "C" {
__declspec(dllimport) void* __stdcall VirtualAlloc(void*, std::size_t, unsigned long, unsigned long);
__declspec(dllimport) int __stdcall VirtualFree(void*, std::size_t, unsigned long);
}

namespace ckpt::file_system::inline win32_pages_2 {

inline void* take_pages(std::size_t bytes) noexcept {
    constexpr unsigned long reserve_and_commit = 0x3000, read_write = 4;
    return ::VirtualAlloc(nullptr, bytes, reserve_and_commit, read_write);
}

inline void keep_from_children(void*, std::size_t) noexcept {} // there is no fork

inline void give_pages(void* pages, std::size_t) noexcept {
    constexpr unsigned long release = 0x8000;
    (void)::VirtualFree(pages, 0, release);
}

} // namespace ckpt::file_system::inline win32_pages_2
