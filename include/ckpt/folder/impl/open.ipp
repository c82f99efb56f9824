// ckpt/folder/impl/open.ipp: the definitions of open.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/folder/examiner.hpp>
#include <ckpt/folder/index.hpp>
#include <ckpt/folder/open.hpp>
#include <ckpt/folder/shard_set.hpp>
#include <ckpt/open_source.hpp>

#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

inline result<checkpoint> opened_files(result<examined_folder>& seen, const open_options& options) {
    if (!seen) return std::move(seen).failure();
    if (!seen->report.findings.empty()) return joined_findings(seen->report.findings);
    if (seen->file) return std::move(*seen->file);
    if (seen->joined) return checkpoint_access::make(std::move(seen->joined), options.storages);
    return checkpoint_access::make(detail::make_shared<shard_set>(std::move(seen->shards), options.limits),
                                   options.storages);
}

CKPT_DETAIL_DEF result<checkpoint> open_folder(path_arg path, const folder_policy& allowed, const open_options& options,
                                               const folder_options& how) {
    auto seen = folder_examiner::examine(path, allowed.files, allowed.metadata, options, how);
    auto opened = opened_files(seen, options);
    return opened_at(path, std::move(opened), seen ? std::move(seen->folder) : std::string());
}

CKPT_DETAIL_DEF result<checkpoint> open_any(path_arg path, const folder_policy& allowed, const open_options& options,
                                            const folder_options& how) {
    if (path.usable() && is_index_name(path.text())) return open_folder(path, allowed, options, how);
    auto file = open(path, allowed.files, options);
    if (file || file.error().code != errc::is_a_directory) return file;
    return open_folder(path, allowed, options, how);
}

CKPT_DETAIL_DEF result<folder_report> inspect_folder(path_arg path, const folder_policy& allowed,
                                                     const open_options& options, const folder_options& how) {
    auto seen = folder_examiner::examine(path, allowed.files, allowed.metadata, options, how);
    if (seen) return std::move(seen->report);
    name_path(path, seen.error());
    return std::move(seen).failure();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
