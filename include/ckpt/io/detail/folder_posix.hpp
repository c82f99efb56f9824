// ckpt/io/detail/folder_posix.hpp: the names in a folder by POSIX calls.
//
// SPDX-License-Identifier: MIT
// In:      a terminated path.
// Out:     the same function as folder_win32.hpp; failures as the system's number.
// Refuses: nothing. A link counts as what it points to.
//
// Includes nothing of ckpt's, and so has its own versioned namespace. Raise its number when a function changes.
#pragma once

#include <cerrno>
#include <cstdint>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>

namespace ckpt::file_system::inline posix_folder_1 {

/// Calls `take(name, is_folder, size)` for each entry but "." and "..", until it returns false. Returns 0, or the
/// system's number.
template <class Take> inline int list(const char* path, Take&& take) {
    ::DIR* const folder = ::opendir(path);
    if (folder == nullptr) return errno;
    int failure = 0;
    for (;;) {
        errno = 0;
        const struct ::dirent* const entry = ::readdir(folder);
        if (entry == nullptr) {
            failure = errno;
            break;
        }
        const char* const name = entry->d_name;
        if (name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'))) continue;
        struct ::stat status{};
        const bool known = ::fstatat(::dirfd(folder), name, &status, 0) == 0;
        const auto type = status.st_mode & S_IFMT;
        const std::uint64_t size =
            known && type == S_IFREG && status.st_size > 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
        if (!take(name, known && type == S_IFDIR, size)) break;
    }
    (void)::closedir(folder);
    return failure;
}

} // namespace ckpt::file_system::inline posix_folder_1
