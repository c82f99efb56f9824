// ckpt/folder/open.hpp: opens the model of a folder.
//
// SPDX-License-Identifier: MIT
// In:      a directory, or the "*.index.json" of a set of shards; a policy; options.
// Out:     the same `checkpoint` that `open` gives, of the one file, the set of shards or the distributed checkpoint
// that
//          holds the weights.
// Refuses: folders with several candidate sets or none, and sets that disagree with their index or with each other:
//          everything that is wrong is told at once.
#pragma once

#include <ckpt/checkpoint.hpp>
#include <ckpt/folder/contents.hpp>
#include <ckpt/folder/distributed.hpp>
#include <ckpt/folder/index.hpp>
#include <ckpt/folder/ranks.hpp>
#include <ckpt/folder/report.hpp>
#include <ckpt/folder/shard_set.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

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

/// What was found in a folder, and opened.
struct examined_folder {
    folder_report report{};
    std::vector<shard> shards{};      // of a set, opened
    std::optional<checkpoint> file{}; // or the one file
    shared<checkpoint_file> joined{}; // or what a distributed checkpoint, or the files of all ranks, became
};

/// What stands between a directory and its model.
class folder_examiner {
  public:
    folder_examiner(std::string path, const folder_policy& allowed, const open_options& options,
                    const folder_options& how)
        : work_{std::move(path), allowed.files, allowed.metadata, options, how, {}} {}

    /// Fails only where the path itself cannot be looked at.
    [[nodiscard]] result<examined_folder> run();

  private:
    void find(error e) { work_.find(std::move(e)); }
    void inconsistent(std::string_view file, std::string detail, std::string_view hint) {
        work_.inconsistent(file, std::move(detail), hint);
    }

    void open_set(const weight_set& chosen);

    /// The one set that may be the weights, or a finding.
    [[nodiscard]] bool choose(weight_set& chosen);
    /// "; it has ..., +2 more", so that somebody who named the wrong folder sees it.
    [[nodiscard]] std::string some_names() const;
    void open_single(const std::string& name);
    void open_ranks(const weight_set& set);
    /// Opens a shard; its tensors are those of its root.
    void open_shard(const std::string& name);

    /// Shards without an index: their names say how many belong together.
    void open_family(const weight_set& set);

    void open_indexed(const std::string& index_name);

    /// Keys that the index names and their shard has not, and keys of a shard that the index does not know.
    void compare_keys(const std::string& index_name, const shard_index& index, const std::vector<std::size_t>& place);
    void find_duplicates();

    static constexpr std::size_t no_shard = ~std::size_t{0};

    folder_work work_;
    folder_contents contents_{};
    examined_folder out_{};
};

/// One error for all findings. A refused global outranks damage, as in one file.
[[nodiscard]] error joined_findings(const std::vector<error>& findings);

[[nodiscard]] result<checkpoint> open_folder(const std::string& path, const folder_policy& allowed,
                                             const open_options& options, const folder_options& how);

} // namespace detail

/// Opens the model in a directory (a Trainer's or accelerate's checkpoint folder, a downloaded model, a distributed
/// checkpoint of PyTorch or of DeepSpeed), or in the set of shards that an "*.index.json" describes.
/// `checkpoint::files` says which files were opened. The options concern each file; `offset` and `length` do not apply.
template <policy P = training_policy>
[[nodiscard]] result<checkpoint> open_folder(path_arg path, const open_options& options = {},
                                             const folder_options& how = {}) {
    if (!path.usable()) return error{.code = errc::cannot_open, .detail = "the path is null or has a NUL byte inside"};
    constexpr auto allowed = detail::folder_policy::of<P>();
    return detail::open_folder(path.text(), allowed, options, how);
}

/// Looks through a directory as `open_folder` does, and tells what each file is and everything that is wrong. Fails
/// only where the directory cannot be read.
template <policy P = training_policy>
[[nodiscard]] result<folder_report> inspect_folder(path_arg path, const open_options& options = {},
                                                   const folder_options& how = {}) {
    if (!path.usable()) return error{.code = errc::cannot_open, .detail = "the path is null or has a NUL byte inside"};
    constexpr auto allowed = detail::folder_policy::of<P>();
    auto seen = detail::folder_examiner{path.text(), allowed, options, how}.run();
    if (!seen) return std::move(seen).error();
    return std::move(seen->report);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/open.ipp>
#endif
