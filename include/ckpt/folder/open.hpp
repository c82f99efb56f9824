// ckpt/folder/open.hpp: opens the model of a folder.
//
// SPDX-License-Identifier: MIT
// In:      a directory, or the "*.index.json" of a set of shards; a policy; options.
// Out:     the same `checkpoint` that `open` gives, of the one file, the set of shards or the distributed checkpoint
//          that holds the weights.
// Refuses: folders with several candidate sets or none, and sets that disagree with their index or with each other:
//          everything that is wrong is told at once.
#pragma once

#include <ckpt/checkpoint.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/folder/dcp_globals.hpp>
#include <ckpt/folder/folder_types.hpp>
#include <ckpt/io/path.hpp>
#include <ckpt/pickle/globals.hpp>
#include <ckpt/torch/policies.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

/// What the files of a folder may name.
struct folder_policy {
    allowlist files{};
    allowlist metadata{}; // .metadata of a distributed checkpoint

    template <policy P> [[nodiscard]] static constexpr folder_policy of() {
        if constexpr (admits_attacks_part<P>) return {allowlist_of<P>(), allowlist_of<P>()};
        else return {allowlist_of<P>(), allowlist_of<allow<dcp_globals, P>>()};
    }
};

[[nodiscard]] result<checkpoint> open_folder(path_arg path, const folder_policy& allowed, const open_options& options,
                                             const folder_options& how);
[[nodiscard]] result<folder_report> inspect_folder(path_arg path, const folder_policy& allowed,
                                                   const open_options& options, const folder_options& how);

} // namespace detail

/// Opens the model in a directory (a Trainer's or accelerate's checkpoint folder, a downloaded model, a distributed
/// checkpoint of PyTorch or of DeepSpeed), or in the set of shards that an "*.index.json" describes.
/// `checkpoint::files` says which files were opened. The options concern each file; `offset` and `length` do not apply.
/// Fails with the one finding's error, or with `shards_inconsistent` and all findings in words; with `cannot_open`
/// where the directory cannot be read.
template <policy P = training_policy>
[[nodiscard]] result<checkpoint> open_folder(path_arg path, const open_options& options = {},
                                             const folder_options& how = {}) {
    return detail::open_folder(path, detail::folder_policy::of<P>(), options, how);
}

/// Looks through a directory as `open_folder` does, and tells what each file is and everything that is wrong. Fails
/// only where the directory cannot be read.
template <policy P = training_policy>
[[nodiscard]] result<folder_report> inspect_folder(path_arg path, const open_options& options = {},
                                                   const folder_options& how = {}) {
    return detail::inspect_folder(path, detail::folder_policy::of<P>(), options, how);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/open.ipp>
#endif
