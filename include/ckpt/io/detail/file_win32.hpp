// ckpt/io/detail/file_win32.hpp: files and mappings by Windows calls.
//
// SPDX-License-Identifier: MIT
// In:      terminated wide names, handles, offsets that fit in 63 bits.
// Out:     the same functions as file_posix.hpp; failures as the system's number.
// Refuses: nothing.
//
// Includes nothing of ckpt's, and so has its own versioned namespace. Raise its number when a function changes.
// Declares the functions that it needs as <windows.h> does, so that programs do not get the macros of <windows.h>.
#pragma once

#include <cstddef>
#include <cstdint>

struct _SECURITY_ATTRIBUTES;
struct _OVERLAPPED;
union _LARGE_INTEGER;

extern "C" {
__declspec(dllimport) void* __stdcall CreateFileW(const wchar_t*, unsigned long, unsigned long, _SECURITY_ATTRIBUTES*,
                                                  unsigned long, unsigned long, void*);
__declspec(dllimport) int __stdcall CloseHandle(void*);
__declspec(dllimport) unsigned long __stdcall GetLastError();
__declspec(dllimport) unsigned long __stdcall GetFileType(void*);
__declspec(dllimport) unsigned long __stdcall GetFileAttributesW(const wchar_t*);
__declspec(dllimport) int __stdcall GetFileSizeEx(void*, _LARGE_INTEGER*);
__declspec(dllimport) int __stdcall ReadFile(void*, void*, unsigned long, unsigned long*, _OVERLAPPED*);
__declspec(dllimport) void* __stdcall CreateFileMappingW(void*, _SECURITY_ATTRIBUTES*, unsigned long, unsigned long,
                                                         unsigned long, const wchar_t*);
#if defined(_WIN64)
__declspec(dllimport) void* __stdcall MapViewOfFile(void*, unsigned long, unsigned long, unsigned long,
                                                    unsigned long long);
#else
__declspec(dllimport) void* __stdcall MapViewOfFile(void*, unsigned long, unsigned long, unsigned long, unsigned long);
#endif
__declspec(dllimport) int __stdcall UnmapViewOfFile(const void*);
__declspec(dllimport) int __stdcall MultiByteToWideChar(unsigned, unsigned long, const char*, int, wchar_t*, int);
}

namespace ckpt::file_system::inline win32_3 {

using handle = void*;
inline const handle no_handle = reinterpret_cast<handle>(~std::uintptr_t{0}); // INVALID_HANDLE_VALUE
using path_char = wchar_t;

enum class file_kind : std::uint8_t { regular, directory, other };

struct file_facts {
    file_kind kind{file_kind::other};
    std::uint64_t size{};
};

/// Opens for reading. Other programs may read, write, rename and delete the file meanwhile, as on other systems.
inline handle open_file(const wchar_t* path, int& failure) noexcept {
    constexpr unsigned long read_access = 0x80000000UL, share_all = 7, existing = 3, normal = 0x80;
    const handle file = ::CreateFileW(path, read_access, share_all, nullptr, existing, normal, nullptr);
    if (file == no_handle) failure = static_cast<int>(::GetLastError());
    return file;
}

/// Reads that bypass the system's cache are not offered here.
inline handle open_direct(handle, int& failure) noexcept {
    constexpr int not_supported = 50;
    failure = not_supported;
    return no_handle;
}

inline void close_file(handle file) noexcept { (void)::CloseHandle(file); }

/// The kind and the size of an open file. Returns 0, or the system's number. A directory does not open like this: see
/// `kind_of`.
inline int facts(handle file, file_facts& out) noexcept {
    constexpr unsigned long on_disk = 1;
    if (::GetFileType(file) != on_disk) return 0;
    std::int64_t size{};
    if (::GetFileSizeEx(file, reinterpret_cast<_LARGE_INTEGER*>(&size)) == 0) return static_cast<int>(::GetLastError());
    out.kind = file_kind::regular;
    out.size = size < 0 ? 0 : static_cast<std::uint64_t>(size);
    return 0;
}

/// The kind of a path that could not be opened; `regular` where it is no directory.
inline file_kind kind_of(const wchar_t* path) noexcept {
    constexpr unsigned long none = 0xFFFFFFFFUL, directory = 0x10;
    const unsigned long attributes = ::GetFileAttributesW(path);
    return attributes != none && (attributes & directory) != 0 ? file_kind::directory : file_kind::regular;
}

/// An offset for reads and writes, laid out as OVERLAPPED.
struct file_place {
    explicit file_place(std::uint64_t at) noexcept
        : offset{static_cast<std::uint32_t>(at)}, offset_high{static_cast<std::uint32_t>(at >> 32)} {}

    std::uintptr_t internal{}, internal_high{};
    std::uint32_t offset, offset_high;
    void* event{};
};

/// Reads up to `length` bytes at `offset`; `got` is 0 at the end of the file. Returns 0, or the system's number.
inline int read_at(handle file, std::uint64_t offset, void* out, std::size_t length, std::size_t& got) noexcept {
    file_place at{offset};
    constexpr std::size_t most = std::size_t{1} << 30;
    constexpr unsigned long end_of_file = 38;
    unsigned long n{};
    if (::ReadFile(file, out, static_cast<unsigned long>(length < most ? length : most), &n,
                   reinterpret_cast<_OVERLAPPED*>(&at)) == 0) {
        const unsigned long failure = ::GetLastError();
        if (failure != end_of_file) return static_cast<int>(failure);
        n = 0;
    }
    got = n;
    return 0;
}

/// Maps `length` bytes (not 0) at `offset`, a multiple of 65,536, for reading. Returns 0, or the system's number.
inline int map(handle file, std::uint64_t offset, std::size_t length, const std::byte*& out) noexcept {
    constexpr unsigned long page_read_only = 2, view_read = 4;
    const handle section = ::CreateFileMappingW(file, nullptr, page_read_only, 0, 0, nullptr);
    if (section == nullptr) return static_cast<int>(::GetLastError());
    void* const pages = ::MapViewOfFile(section, view_read, static_cast<unsigned long>(offset >> 32),
                                        static_cast<unsigned long>(offset & 0xFFFFFFFFU), length);
    const int failure = pages == nullptr ? static_cast<int>(::GetLastError()) : 0;
    (void)::CloseHandle(section); // the view keeps it
    out = static_cast<const std::byte*>(pages);
    return failure;
}

inline void unmap(const std::byte* pages, std::size_t) noexcept { (void)::UnmapViewOfFile(pages); }

/// Converts UTF-8 to UTF-16. Returns the length with the terminator, or 0 where the text is not UTF-8. Writes nothing
/// where `room` is 0.
inline int widen(const char* text, wchar_t* out, int room) noexcept {
    constexpr unsigned utf8 = 65001;
    constexpr unsigned long no_invalid = 8;
    return ::MultiByteToWideChar(utf8, no_invalid, text, -1, out, room);
}

/// A text for the usual error numbers; null for others.
inline const char* reason(int failure) noexcept {
    switch (failure) {
    case 2: return "no such file";
    case 3: return "no such directory";
    case 4: return "too many open files";
    case 5: return "permission denied";
    case 8:
    case 14: return "out of memory";
    case 32: return "another program holds the file";
    case 123: return "the name is not valid";
    default: return nullptr;
    }
}

} // namespace ckpt::file_system::inline win32_3
