// ckpt/io/detail/folder_win32.hpp: the names in a folder by Windows calls.
//
// SPDX-License-Identifier: MIT
// In:      a terminated path in UTF-8.
// Out:     the same function as folder_posix.hpp; failures as the system's number.
// Refuses: names that have no UTF-8 form; they are left out.
//
// Includes nothing of ckpt's, and so has its own versioned namespace. Raise its number when a function changes.
#pragma once

#include <cstdint>
#include <string>

struct _WIN32_FIND_DATAW;

extern "C" {
__declspec(dllimport) void* __stdcall FindFirstFileW(const wchar_t*, _WIN32_FIND_DATAW*);
__declspec(dllimport) int __stdcall FindNextFileW(void*, _WIN32_FIND_DATAW*);
__declspec(dllimport) int __stdcall FindClose(void*);
__declspec(dllimport) unsigned long __stdcall GetLastError();
__declspec(dllimport) int __stdcall MultiByteToWideChar(unsigned, unsigned long, const char*, int, wchar_t*, int);
__declspec(dllimport) int __stdcall WideCharToMultiByte(unsigned, unsigned long, const wchar_t*, int, char*, int,
                                                        const char*, int*);
}

namespace ckpt::file_system::inline win32_folder_1 {

/// Calls `take(name, is_folder, size)` for each entry but "." and "..", until it returns false. Returns 0, or the
/// system's number.
template <class Take> inline int list(const char* path, Take&& take) {
    struct found { // laid out as WIN32_FIND_DATAW
        unsigned long attributes{}, times[6]{}, size_high{}, size_low{}, reserved[2]{};
        wchar_t name[260]{}, short_name[14]{};
    } entry{};
    constexpr unsigned utf8 = 65001;
    constexpr unsigned long no_invalid = 8, invalid_in_utf16 = 0x80, directory = 0x10, no_more_files = 18;
    std::wstring pattern(static_cast<std::size_t>(::MultiByteToWideChar(utf8, no_invalid, path, -1, nullptr, 0)),
                         L'\0');
    if (pattern.empty()) return 123;
    (void)::MultiByteToWideChar(utf8, no_invalid, path, -1, pattern.data(), static_cast<int>(pattern.size()));
    pattern.back() = L'\\';
    pattern += L'*';
    void* const search = ::FindFirstFileW(pattern.c_str(), reinterpret_cast<_WIN32_FIND_DATAW*>(&entry));
    if (search == reinterpret_cast<void*>(~std::uintptr_t{0})) return static_cast<int>(::GetLastError());
    unsigned long failure = 0;
    for (bool more = true; more;) {
        char name[1024]{};
        const bool usable =
            ::WideCharToMultiByte(utf8, invalid_in_utf16, entry.name, -1, name, sizeof name, nullptr, nullptr) > 0;
        const bool itself = name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
        const std::uint64_t size = std::uint64_t{entry.size_high} << 32 | entry.size_low;
        if (usable && !itself && !take(static_cast<const char*>(name), (entry.attributes & directory) != 0, size))
            break;
        more = ::FindNextFileW(search, reinterpret_cast<_WIN32_FIND_DATAW*>(&entry)) != 0;
        if (!more) failure = ::GetLastError();
    }
    (void)::FindClose(search);
    return failure == no_more_files ? 0 : static_cast<int>(failure);
}

} // namespace ckpt::file_system::inline win32_folder_1
