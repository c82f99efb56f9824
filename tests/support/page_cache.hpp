// tests/support/page_cache.hpp: what of a file the system has in memory.
//
// SPDX-License-Identifier: MIT
// In:      a path; Linux.
// Out:     how many bytes of it are cached; a file of which none is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#if defined(__linux__)
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace test_support {

inline constexpr std::uint64_t unknown_residency = ~std::uint64_t{0};

/// The bytes of a file that are in memory; `unknown_residency` where the system does not say.
inline std::uint64_t resident(const std::filesystem::path& path) {
    const auto size = static_cast<std::size_t>(std::filesystem::file_size(path));
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    void* const pages = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, descriptor, 0);
    std::vector<unsigned char> states((size + page - 1) / page);
    const bool known = ::mincore(pages, size, states.data()) == 0;
    ::munmap(pages, size);
    ::close(descriptor);
    std::uint64_t count = 0;
    for (const unsigned char s : states) count += s & 1u;
    return known ? count * page : unknown_residency;
}

/// Writes a file to the disk and forgets its pages. False where the file system keeps them: it is memory itself.
inline bool forget(const std::filesystem::path& path) {
    const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    const bool done = ::fsync(descriptor) == 0 && ::posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED) == 0;
    ::close(descriptor);
    return done && resident(path) == 0;
}

} // namespace test_support
#endif
