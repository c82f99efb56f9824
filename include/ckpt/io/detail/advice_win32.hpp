// ckpt/io/detail/advice_win32.hpp: advice about reads to come, by Windows calls.
//
// SPDX-License-Identifier: MIT
// In:      a mapped range of a file.
// Out:     the same functions as advice_posix.hpp.
// Refuses: nothing: advice that the system does not take is no failure.
//
// Includes nothing of ckpt's but the functions for reading, and so has its own versioned namespace. Raise its number
// when a function changes.
#pragma once

#include <ckpt/io/detail/file_win32.hpp>

#include <cstddef>
#include <cstdint>

struct _WIN32_MEMORY_RANGE_ENTRY;

extern "C" {
__declspec(dllimport) int __stdcall PrefetchVirtualMemory(void*, std::uintptr_t, _WIN32_MEMORY_RANGE_ENTRY*,
                                                          unsigned long);
}

namespace ckpt::file_system::inline win32_advice_2 {

/// Bytes for one call.
inline constexpr std::uint64_t advised_at_once = std::uint64_t{1} << 30;

/// Tells the system that a range of a file will be read soon; `mapped` is the same range in memory, or null. False
/// where the system takes no such advice: here it does for mapped files only.
inline bool will_need(handle, std::uint64_t, std::size_t length, const std::byte* mapped) noexcept {
    struct {
        const void* address;
        std::size_t bytes;
    } range{mapped, length}; // laid out as WIN32_MEMORY_RANGE_ENTRY
    void* const this_process = reinterpret_cast<void*>(~std::uintptr_t{0});
    return mapped != nullptr &&
           ::PrefetchVirtualMemory(this_process, 1, reinterpret_cast<_WIN32_MEMORY_RANGE_ENTRY*>(&range), 0) != 0;
}

/// 1 where the page of a file at `offset` is in the system's cache, 0 where it is not, below 0 where nobody says.
inline int is_cached(handle, std::uint64_t) noexcept { return -1; }

} // namespace ckpt::file_system::inline win32_advice_2
