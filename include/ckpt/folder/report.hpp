// ckpt/folder/report.hpp: what is found out about a folder while it is looked through.
//
// SPDX-License-Identifier: MIT
// In:      the folder's path, a policy, options; what each kind of folder finds.
// Out:     a report; files of the folder, opened.
// Refuses: nothing itself: findings are collected, so that everything that is wrong is told at once.
#pragma once

#include <ckpt/checkpoint.hpp>
#include <ckpt/core/short_list.hpp>
#include <ckpt/folder/folder_types.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Up to three, quoted, and how many more.
template <class Names> [[nodiscard]] std::string listed(const Names& names, std::string_view separator = ", ") {
    std::string out;
    short_list list{out, {.separator = separator}};
    for (const auto& name : names)
        if (list.next()) out += quoted(name);
    list.end();
    return out;
}
/// The same for numbers of ranks: "rank 1", "ranks 1, 2, 3, +4 more". `count` is how many there are: all of `ranks`, or
/// more that need not be named.
[[nodiscard]] std::string listed_ranks(const std::vector<std::uint64_t>& ranks, std::uint64_t count);

/// A folder while it is looked through.
struct folder_work {
    std::string folder{};
    allowlist allowed{};
    allowlist metadata{}; // for .metadata: the same, and the names that every .metadata has
    const open_options& options;
    folder_options how{};
    folder_report report{};

    void find(error e) { report.findings.push_back(std::move(e)); }
    void inconsistent(std::string_view file, std::string detail, std::string_view hint) {
        find({.code = errc::shards_inconsistent, .file = std::string(file), .detail = std::move(detail), .hint = hint});
    }
    /// Whether the tensor `key` may have so many dimensions; a finding where not.
    [[nodiscard]] bool check_rank(std::string_view file, std::string_view key, std::uint64_t dimensions);
    /// Notes what a missing part costs: a finding, or with `partial` a tensor that is absent.
    void lack(error e) { (how.partial ? report.absent : report.findings).push_back(std::move(e)); }

    /// Opens a file of the folder; `name` may have '/' inside.
    [[nodiscard]] result<checkpoint> open_one(const std::string& name, const open_options& with) const;
    /// Opens one of several files; where that fails, there is a finding.
    [[nodiscard]] std::optional<checkpoint> open_part(const std::string& name);
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/report.ipp>
#endif
