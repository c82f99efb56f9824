// ckpt/io/detail/output_win32.hpp: files that are written, by Windows calls.
//
// SPDX-License-Identifier: MIT
// In:      terminated wide names, handles, offsets that fit in 63 bits.
// Out:     the same functions as output_posix.hpp; 0, or the system's number.
// Refuses: nothing.
//
// Includes nothing of ckpt's but the functions for reading, and so has its own versioned namespace. Raise its number
// when a function changes.
#pragma once

#include <ckpt/io/detail/file_win32.hpp>

#include <cstddef>
#include <cstdint>

extern "C" {
__declspec(dllimport) int __stdcall WriteFile(void*, const void*, unsigned long, unsigned long*, _OVERLAPPED*);
__declspec(dllimport) int __stdcall FlushFileBuffers(void*);
__declspec(dllimport) int __stdcall DeleteFileW(const wchar_t*);
__declspec(dllimport) int __stdcall MoveFileExW(const wchar_t*, const wchar_t*, unsigned long);
__declspec(dllimport) unsigned long __stdcall GetCurrentProcessId();
}

namespace ckpt::file_system::inline win32_output_3 {

/// The number of a path that exists, as `create_new` and `publish` return it.
inline constexpr int exists_already = 80;  // ERROR_FILE_EXISTS
inline constexpr int exists_as_well = 183; // ERROR_ALREADY_EXISTS, of a move

inline std::uint64_t process_id() noexcept { return ::GetCurrentProcessId(); }

/// Whether something has the path.
inline bool exists(const wchar_t* path) noexcept { return ::GetFileAttributesW(path) != 0xFFFFFFFFUL; }

/// Whether the path is that of a directory.
inline bool is_directory(const wchar_t* path) noexcept {
    constexpr unsigned long directory = 0x10;
    return exists(path) && (::GetFileAttributesW(path) & directory) != 0;
}

/// Makes a file that did not exist, for writing.
inline int create_new(const wchar_t* path, handle& out) noexcept {
    constexpr unsigned long write_access = 0x40000000UL, share_nothing = 0, only_new = 1, normal = 0x80;
    out = ::CreateFileW(path, write_access, share_nothing, nullptr, only_new, normal, nullptr);
    return out != no_handle ? 0 : static_cast<int>(::GetLastError());
}

/// What may be done with a file comes from its folder here.
inline int copy_mode(const wchar_t*, handle) noexcept { return 0; }

/// Writes up to `length` bytes at `offset`; `wrote` may be less.
inline int write_at(handle file, std::uint64_t offset, const void* from, std::size_t length,
                    std::size_t& wrote) noexcept {
    file_place at{offset};
    constexpr std::size_t most = std::size_t{1} << 30;
    unsigned long n{};
    if (::WriteFile(file, from, static_cast<unsigned long>(length < most ? length : most), &n,
                    reinterpret_cast<_OVERLAPPED*>(&at)) == 0)
        return static_cast<int>(::GetLastError());
    wrote = n;
    return 0;
}

/// Copies inside the system are not offered here.
inline int copy_range(handle, std::uint64_t, handle, std::uint64_t, std::size_t, std::size_t& copied) noexcept {
    constexpr int not_supported = 50;
    copied = 0;
    return not_supported;
}

inline bool is_on_server(handle) noexcept { return false; }

/// The system begins by itself.
inline void begin_writing(handle, std::uint64_t, std::uint64_t) noexcept {}

/// Waits until the bytes are on the disk.
inline int sync(handle file) noexcept { return ::FlushFileBuffers(file) != 0 ? 0 : static_cast<int>(::GetLastError()); }

/// Moves are written through here: there is nothing to wait for.
inline int sync_folder(const wchar_t*) noexcept { return 0; }

inline int finish_file(handle file) noexcept {
    return ::CloseHandle(file) != 0 ? 0 : static_cast<int>(::GetLastError());
}

inline void remove_file(const wchar_t* path) noexcept { (void)::DeleteFileW(path); }

/// Gives a file its name, in one step. Unless `replace`, fails with `exists_already` where something has it.
inline int publish(const wchar_t* from, const wchar_t* to, bool replace) noexcept {
    constexpr unsigned long replace_existing = 1, write_through = 8;
    if (::MoveFileExW(from, to, write_through | (replace ? replace_existing : 0UL)) != 0) return 0;
    const auto failure = static_cast<int>(::GetLastError());
    return failure == exists_as_well ? exists_already : failure;
}

/// A text for the numbers that only writing meets; null for others.
inline const char* write_reason(int failure) noexcept {
    switch (failure) {
    case 19: return "the disk is write-protected";
    case 39:
    case 112: return "no space left on the device";
    case exists_already: return "it exists already";
    default: return reason(failure);
    }
}

} // namespace ckpt::file_system::inline win32_output_3
