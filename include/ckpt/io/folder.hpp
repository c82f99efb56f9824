// ckpt/io/folder.hpp: the names in a folder.
//
// SPDX-License-Identifier: MIT
// In:      the path of a directory, UTF-8 on Windows.
// Out:     its entries, sorted by name.
// Refuses: what the system refuses; more entries than a limit.
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
    std::uint64_t size{}; ///< in bytes, of a regular file; 0 for others
    bool is_folder{};
};

/// More entries than anybody keeps beside a checkpoint.
inline constexpr std::size_t most_folder_entries = 100'000;

/// The entries of a directory, sorted by name; a link counts as what it points to. Fails with `cannot_open`, and with
/// `limit` for more than `most` entries.
[[nodiscard]] result<std::vector<folder_entry>> list_folder(const std::string& path,
                                                            std::size_t most = most_folder_entries);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/io/impl/folder.ipp>
#endif
