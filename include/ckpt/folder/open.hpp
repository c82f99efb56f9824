// ckpt/folder/open.hpp: opens the model of a folder.
//
// SPDX-License-Identifier: MIT
// In:      a directory, or the "*.index.json" of a set of shards; a policy; options.
// Out:     the same `checkpoint` that `open` gives, of the one file, the set of shards or the distributed checkpoint
//          that holds the weights.
// Refuses: folders with several candidate sets or none; sets that disagree with their index, or whose files disagree.
//          The error lists all faults.
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

/// The globals that the files of a folder may name.
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
[[nodiscard]] result<checkpoint> open_any(path_arg path, const folder_policy& allowed, const open_options& options,
                                          const folder_options& how);

} // namespace detail

/// Opens the model in a directory (a Trainer's or accelerate's checkpoint folder, a downloaded model, a distributed
/// checkpoint of PyTorch or of DeepSpeed), or in the set of shards that an "*.index.json" describes.
/// `checkpoint::files` has the names of the files that were opened. `options` apply to each file, except `offset` and
/// `length`. Fails with the error of a single finding, or with `shards_inconsistent` and a message that lists several;
/// with `cannot_open` where the directory cannot be read.
template <policy P = training_policy>
[[nodiscard]] result<checkpoint> open_folder(path_arg path, const open_options& options = {},
                                             const folder_options& how = {}) {
    return detail::open_folder(path, detail::folder_policy::of<P>(), options, how);
}

/// Opens what `path` is: a directory or an index of shards ("*.index.json", "*.index.VARIANT.json") as `open_folder`
/// does, everything else as `open` does. For programs whose users name either.
template <policy P = training_policy>
[[nodiscard]] result<checkpoint> open_any(path_arg path, const open_options& options = {},
                                          const folder_options& how = {}) {
    return detail::open_any(path, detail::folder_policy::of<P>(), options, how);
}

/// Examines a directory as `open_folder` does, and reports the purpose of each file and all faults. Fails only where
/// the directory cannot be read.
template <policy P = training_policy>
[[nodiscard]] result<folder_report> inspect_folder(path_arg path, const open_options& options = {},
                                                   const folder_options& how = {}) {
    return detail::inspect_folder(path, detail::folder_policy::of<P>(), options, how);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/open.ipp>
#endif
