// ckpt/io/impl/folder.ipp: the definitions of folder.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/io/folder.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF result<std::vector<folder_entry>> list_folder(const std::string& path, std::size_t most) {
    std::vector<folder_entry> out;
    const int failure =
        file_system::list(path.c_str(), [&out, most](const char* name, bool is_folder, std::uint64_t size) {
            out.push_back({name, size, is_folder});
            return out.size() <= most;
        });
    if (failure != 0)
        return error{.code = errc::cannot_open,
                     .os_code = failure,
                     .detail = str_cat(quoted(path), ": ", system_reason(failure)),
                     .hint = "Check the path and the permissions"};
    if (out.size() > most)
        return error{.code = errc::limit, .detail = str_cat(quoted(path), " has more than ", most, " entries")};
    sort_values(out, [](const folder_entry& a, const folder_entry& b) { return a.name < b.name; });
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
