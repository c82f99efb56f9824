// ckpt/io/folder.hpp: the names in a folder.
//
// SPDX-License-Identifier: MIT
// In:      the path of a directory, UTF-8 on Windows.
// Out:     its entries, sorted by name.
// Refuses: what the system refuses; more entries than anybody keeps beside a checkpoint.
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/io/file.hpp>

#if defined(_WIN32)
#include <ckpt/io/detail/folder_win32.hpp>
#else
#include <ckpt/io/detail/folder_posix.hpp>
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

struct folder_entry {
    std::string name{};
    std::uint64_t size{}; // of a regular file
    bool is_folder{};
};

/// The entries of a directory, links followed, sorted by name.
[[nodiscard]] inline result<std::vector<folder_entry>> list_folder(const std::string& path) {
    constexpr std::size_t most = 100'000;
    std::vector<folder_entry> out;
    const int failure = file_system::list(path.c_str(), [&out](const char* name, bool is_folder, std::uint64_t size) {
        out.push_back({name, size, is_folder});
        return out.size() <= most;
    });
    if (failure != 0)
        return error{.code = errc::cannot_open,
                     .os_code = failure,
                     .detail = quoted(path) + ": " + system_reason(failure),
                     .hint = "Check the path and the permissions"};
    if (out.size() > most)
        return error{.code = errc::limit,
                     .detail = quoted(path) + " has more than " + decimal(std::uint64_t{most}) + " entries"};
    std::sort(out.begin(), out.end(), [](const folder_entry& a, const folder_entry& b) { return a.name < b.name; });
    return out;
}

/// `name` inside `folder`.
[[nodiscard]] inline std::string path_in(std::string_view folder, std::string_view name) {
    std::string out(folder);
    if (!out.empty() && out.back() != '/') out += '/';
    return out.append(name);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
