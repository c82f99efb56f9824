// ckpt/io/detail/output_posix.hpp: files that are written, by POSIX calls.
//
// SPDX-License-Identifier: MIT
// In:      terminated names, descriptors, offsets that fit in 63 bits.
// Out:     the same functions as output_win32.hpp; 0, or the system's number.
// Refuses: nothing.
//
// Includes nothing of ckpt's but the functions for reading, and so has its own versioned namespace. Raise its number
// when a function changes.
#pragma once

#include <ckpt/io/detail/file_posix.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>

#include <fcntl.h>
#if defined(__linux__)
#include <sys/statfs.h>
#endif
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

namespace ckpt::file_system::inline posix_output_3 {

/// The number of a path that exists, as `create_new` and `publish` return it.
inline constexpr int exists_already = EEXIST;

inline std::uint64_t process_id() noexcept { return static_cast<std::uint64_t>(::getpid()); }

/// Whether something has the path, a link to nothing included.
inline bool exists(const char* path) noexcept {
    struct ::stat status{};
    return ::lstat(path, &status) == 0;
}

/// Whether the path is that of a directory, and not of a link to one.
inline bool is_directory(const char* path) noexcept {
    struct ::stat status{};
    return ::lstat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/// Makes a file that did not exist, for writing.
inline int create_new(const char* path, handle& out) noexcept {
    constexpr ::mode_t everybody = 0666; // less the umask
    for (;;) {
        out = ::open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY | large_file, everybody);
        if (out >= 0) return 0;
        if (errno != EINTR) return errno;
    }
}

/// Gives a new file the permissions of the file at a path, where there is one.
inline int copy_mode(const char* path, handle to) noexcept {
    constexpr ::mode_t permissions = 0777;
    struct ::stat from{}, made{};
    if (::stat(path, &from) != 0 || !S_ISREG(from.st_mode) || ::fstat(to, &made) != 0) return 0;
    const ::mode_t wanted = from.st_mode & permissions;
    return wanted == (made.st_mode & permissions) || ::fchmod(to, wanted) == 0 ? 0 : errno;
}

/// Writes up to `length` bytes at `offset`; `wrote` may be less.
inline int write_at(handle file, std::uint64_t offset, const void* from, std::size_t length,
                    std::size_t& wrote) noexcept {
    constexpr std::size_t most = std::size_t{1} << 30; // some systems refuse more in one call
    const auto at = static_cast<file_offset>(offset);
    if (at < 0 || static_cast<std::uint64_t>(at) != offset) return EOVERFLOW;
    if (length > most) length = most;
    for (;;) {
#if defined(__USE_LARGEFILE64)
        const ::ssize_t n = ::pwrite64(file, from, length, at);
#else
        const ::ssize_t n = ::pwrite(file, from, length, at);
#endif
        if (n >= 0) {
            wrote = static_cast<std::size_t>(n);
            return wrote == 0 && length != 0 ? EIO : 0;
        }
        if (errno != EINTR) return errno;
    }
}

/// Copies up to `length` bytes from file to file inside the system; `copied` is 0 at the end of the source. Fails where
/// the file systems cannot do it.
inline int copy_range([[maybe_unused]] handle from, [[maybe_unused]] std::uint64_t from_offset,
                      [[maybe_unused]] handle to, [[maybe_unused]] std::uint64_t to_offset,
                      [[maybe_unused]] std::size_t length, std::size_t& copied) noexcept {
    copied = 0;
#if defined(__linux__) && defined(_GNU_SOURCE)
    auto in = static_cast<loff_t>(from_offset), out = static_cast<loff_t>(to_offset);
    for (;;) {
        const ::ssize_t n = ::copy_file_range(from, &in, to, &out, length, 0);
        if (n >= 0) {
            copied = static_cast<std::size_t>(n);
            return 0;
        }
        if (errno != EINTR) return errno;
    }
#else
    return ENOTSUP;
#endif
}

/// Whether bytes between two files of this one's file system are best copied inside the system, wherever they lie: a
/// server copies them without sending them. A disk shares blocks at most, between offsets that are whole blocks apart;
/// for others Linux's copy is slower than reading and writing (6.18, ext4: 1.3 times).
inline bool is_on_server([[maybe_unused]] handle file) noexcept {
#if defined(__linux__)
    struct ::statfs status{};
    if (::fstatfs(file, &status) != 0) return false;
    switch (static_cast<std::uint32_t>(status.f_type)) { // linux/magic.h
    case 0x6969:                                         // NFS
    case 0xFF53'4D42:                                    // SMB
    case 0xFE53'4D42:                                    // SMB 2
        return true;
    default: break;
    }
#endif
    return false;
}

/// Has the system begin to write bytes to the disk, without waiting for them.
inline void begin_writing([[maybe_unused]] handle file, [[maybe_unused]] std::uint64_t offset,
                          [[maybe_unused]] std::uint64_t length) noexcept {
#if defined(__linux__) && defined(_GNU_SOURCE)
    (void)::sync_file_range(file, static_cast<loff_t>(offset), static_cast<loff_t>(length), SYNC_FILE_RANGE_WRITE);
#endif
}

/// Waits until the bytes are on the disk.
inline int sync(handle file) noexcept {
    for (;;) {
        if (::fsync(file) == 0) return 0;
        if (errno == EINVAL || errno == ENOTSUP) return 0; // a file system that has nothing to wait for
        if (errno != EINTR) return errno;
    }
}

/// Waits until the names in a folder are on the disk, where the system can.
inline int sync_folder(const char* path) noexcept {
    const handle folder = ::open(path, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (folder < 0) return errno == EACCES ? 0 : errno; // a folder may be writable and not readable
    const int failure = sync(folder);
    (void)::close(folder);
    return failure;
}

/// Closes a file that was written: some file systems tell only then that a write failed.
inline int finish_file(handle file) noexcept { return ::close(file) == 0 || errno == EINTR ? 0 : errno; }

inline void remove_file(const char* path) noexcept { (void)::unlink(path); }

/// Gives a file its name, in one step. Unless `replace`, fails with `exists_already` where something has it.
inline int publish(const char* from, const char* to, bool replace) noexcept {
    if (replace) return ::rename(from, to) == 0 ? 0 : errno;
    if (::link(from, to) == 0) {
        (void)::unlink(from);
        return 0;
    }
    if (errno == EEXIST) return errno;
    // A file system without links: between the two calls another program may make the file.
    if (exists(to)) return EEXIST;
    return ::rename(from, to) == 0 ? 0 : errno;
}

/// A text for the numbers that only writing meets; null for others.
inline const char* write_reason(int failure) noexcept {
    switch (failure) {
    case ENOSPC: return "no space left on the device";
    case EDQUOT: return "the disk quota is exhausted";
    case EFBIG: return "too large for the file system";
    case EROFS: return "the file system is read-only";
    case EISDIR: return "it is a directory";
    case EEXIST: return "it exists already";
    default: return reason(failure);
    }
}

} // namespace ckpt::file_system::inline posix_output_3
