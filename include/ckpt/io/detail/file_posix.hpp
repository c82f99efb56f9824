// ckpt/io/detail/file_posix.hpp: files and mappings by POSIX calls.
//
// SPDX-License-Identifier: MIT
// In:      terminated names, descriptors, offsets that fit in 63 bits.
// Out:     the same functions as file_win32.hpp; failures as the system's number.
// Refuses: nothing, and does not block: a pipe without a writer opens at once, and `facts` says that it is no file.
//
// Includes nothing of ckpt's, and so has its own versioned namespace. Raise its number when a function changes.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

namespace ckpt::file_system::inline posix_2 {

using handle = int;
inline constexpr handle no_handle = -1;
using path_char = char;

enum class file_kind : std::uint8_t { regular, directory, other };

struct file_facts {
    file_kind kind{file_kind::other};
    std::uint64_t size{};
};

// On 32-bit Linux the plain functions have 32-bit offsets, unless a macro was defined before the first system header.
#if defined(__USE_LARGEFILE64)
using file_status = struct ::stat64;
using file_offset = ::off64_t;
inline int status_of(handle file, file_status& out) noexcept { return ::fstat64(file, &out); }
inline int status_of(const char* path, file_status& out) noexcept { return ::stat64(path, &out); }
inline ::ssize_t read_some(handle file, void* out, std::size_t length, file_offset at) noexcept {
    return ::pread64(file, out, length, at);
}
inline void* map_pages(handle file, std::size_t length, file_offset at) noexcept {
    return ::mmap64(nullptr, length, PROT_READ, MAP_SHARED, file, at);
}
inline constexpr int large_file = O_LARGEFILE;
#else
using file_status = struct ::stat;
using file_offset = ::off_t;
inline int status_of(handle file, file_status& out) noexcept { return ::fstat(file, &out); }
inline int status_of(const char* path, file_status& out) noexcept { return ::stat(path, &out); }
inline ::ssize_t read_some(handle file, void* out, std::size_t length, file_offset at) noexcept {
    return ::pread(file, out, length, at);
}
inline void* map_pages(handle file, std::size_t length, file_offset at) noexcept {
    return ::mmap(nullptr, length, PROT_READ, MAP_SHARED, file, at);
}
inline constexpr int large_file = 0;
#endif

/// Opens for reading. On failure returns `no_handle` and sets the system's number.
inline handle open_file(const char* path, int& failure) noexcept {
    for (;;) {
        const handle file = ::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | large_file);
        if (file >= 0) return file;
        failure = errno;
        if (failure != EINTR) return no_handle;
    }
}

/// Opens the same file again for reads that bypass the page cache. On failure returns `no_handle` and sets the number.
inline handle open_direct([[maybe_unused]] handle file, int& failure) noexcept {
#if defined(O_DIRECT) && defined(__linux__)
    char path[32] = "/proc/self/fd/";
    char* at = path + 14;
    char digits[12];
    int n = 0;
    for (int rest = file; n == 0 || rest > 0; rest /= 10) digits[n++] = static_cast<char>('0' + rest % 10);
    while (n > 0) *at++ = digits[--n];
    *at = '\0';
    for (;;) {
        const handle direct = ::open(path, O_RDONLY | O_CLOEXEC | O_DIRECT | large_file);
        if (direct >= 0) return direct;
        failure = errno;
        if (failure != EINTR) return no_handle;
    }
#else
    failure = ENOTSUP;
    return no_handle;
#endif
}

inline void close_file(handle file) noexcept { (void)::close(file); }

/// The kind and the size of an open file. Returns 0, or the system's number.
inline int facts(handle file, file_facts& out) noexcept {
    file_status status{};
    if (status_of(file, status) != 0) return errno;
    const auto type = status.st_mode & S_IFMT;
    out.kind = type == S_IFREG ? file_kind::regular : type == S_IFDIR ? file_kind::directory : file_kind::other;
    out.size = status.st_size < 0 ? 0 : static_cast<std::uint64_t>(status.st_size);
    return 0;
}

/// The kind of a path that could not be opened, so that the error names a socket or a directory. `regular` where it is
/// not known.
inline file_kind kind_of(const char* path) noexcept {
    file_status status{};
    if (status_of(path, status) != 0) return file_kind::regular;
    const auto type = status.st_mode & S_IFMT;
    return type == S_IFREG ? file_kind::regular : type == S_IFDIR ? file_kind::directory : file_kind::other;
}

/// Reads up to `length` bytes at `offset`; `got` is 0 at the end of the file. Returns 0, or the system's number.
inline int read_at(handle file, std::uint64_t offset, void* out, std::size_t length, std::size_t& got) noexcept {
    constexpr std::size_t most = std::size_t{1} << 30; // some systems refuse more in one call
    const auto at = static_cast<file_offset>(offset);
    if (at < 0 || static_cast<std::uint64_t>(at) != offset) return EOVERFLOW;
    for (;;) {
        const ::ssize_t n = read_some(file, out, length < most ? length : most, at);
        if (n >= 0) {
            got = static_cast<std::size_t>(n);
            return 0;
        }
        if (errno != EINTR) return errno;
    }
}

/// Maps `length` bytes (not 0) at `offset`, a multiple of 65,536, for reading. Returns 0, or the system's number.
inline int map(handle file, std::uint64_t offset, std::size_t length, const std::byte*& out) noexcept {
    const auto at = static_cast<file_offset>(offset);
    if (at < 0 || static_cast<std::uint64_t>(at) != offset) return EOVERFLOW;
    void* const pages = map_pages(file, length, at);
    if (pages == reinterpret_cast<void*>(~std::uintptr_t{0})) return errno; // MAP_FAILED
    out = static_cast<const std::byte*>(pages);
    return 0;
}

inline void unmap(const std::byte* pages, std::size_t length) noexcept {
    (void)::munmap(const_cast<std::byte*>(pages), length);
}

/// A text for the usual error numbers, the same in every locale; null for others.
inline const char* reason(int failure) noexcept {
    switch (failure) {
    case ENOENT: return "no such file";
    case EACCES:
    case EPERM: return "permission denied";
    case ENOTDIR: return "a part of the path is not a directory";
    case ENAMETOOLONG: return "the path is too long";
    case ELOOP: return "too many symbolic links";
    case EMFILE:
    case ENFILE: return "too many open files";
    case ENOMEM: return "out of memory";
    case EIO: return "input/output error";
    case EOVERFLOW: return "too large for this system";
    case ENODEV: return "the file system cannot map files";
    default: return nullptr;
    }
}

} // namespace ckpt::file_system::inline posix_2
