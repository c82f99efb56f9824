// ckpt/io/detail/advice_posix.hpp: advice about reads to come, by POSIX calls.
//
// SPDX-License-Identifier: MIT
// In:      a descriptor, a range of the file.
// Out:     the same functions as advice_win32.hpp.
// Refuses: nothing: advice that the system does not take is no failure.
//
// Includes nothing of ckpt's but the functions for reading, and so has its own versioned namespace. Raise its number
// when a function changes.
#pragma once

#include <ckpt/io/detail/file_posix.hpp>

#include <cstddef>
#include <cstdint>

#include <fcntl.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace ckpt::file_system::inline posix_advice_2 {

/// Bytes for one call. Linux begins to read at most its read-ahead size for one, whatever length it is told: 128 KiB
/// unless somebody has changed that.
inline constexpr std::uint64_t advised_at_once = 131'072;

/// Tells the system that a range of a file will be read soon; `mapped` is the same range in memory, or null. False
/// where the system takes no such advice.
inline bool will_need([[maybe_unused]] handle file, [[maybe_unused]] std::uint64_t offset,
                      [[maybe_unused]] std::size_t length, const std::byte*) noexcept {
#if defined(__APPLE__)
    struct ::radvisory range{};
    range.ra_offset = static_cast<::off_t>(offset);
    range.ra_count = static_cast<int>(length);
    return ::fcntl(file, F_RDADVISE, &range) == 0;
#elif defined(POSIX_FADV_WILLNEED) && defined(__USE_LARGEFILE64)
    return ::posix_fadvise64(file, static_cast<::off64_t>(offset), static_cast<::off64_t>(length),
                             POSIX_FADV_WILLNEED) == 0;
#elif defined(POSIX_FADV_WILLNEED)
    return ::posix_fadvise(file, static_cast<::off_t>(offset), static_cast<::off_t>(length), POSIX_FADV_WILLNEED) == 0;
#else
    return false;
#endif
}

/// 1 where the page of a file at `offset` is in the system's cache, 0 where it is not, below 0 where nobody says.
inline int is_cached([[maybe_unused]] handle file, [[maybe_unused]] std::uint64_t offset) noexcept {
#if defined(__linux__)
    constexpr std::uint64_t page = 65'536; // of the largest that systems have
    unsigned char flags[page / 4'096]{};
    offset -= offset % page;
    void* const map = map_pages(file, 1, static_cast<file_offset>(offset));
    if (map == MAP_FAILED) return -1;
    const int failed = ::mincore(map, 1, flags);
    ::munmap(map, 1);
    return failed != 0 ? -1 : flags[0] & 1;
#else
    return -1;
#endif
}

} // namespace ckpt::file_system::inline posix_advice_2
