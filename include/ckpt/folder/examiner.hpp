// ckpt/folder/examiner.hpp: looks through a folder and opens what is in it.
//
// SPDX-License-Identifier: MIT
// In:      a directory, or the index of a set of shards; which globals its files may name; options.
// Out:     a report; the opened file, shards or distributed checkpoint.
// Refuses: only a path that cannot be looked at. What is wrong with the folder becomes findings.
#pragma once

#include <ckpt/checkpoint.hpp>
#include <ckpt/folder/contents.hpp>
#include <ckpt/folder/folder_types.hpp>
#include <ckpt/folder/index.hpp>
#include <ckpt/folder/report.hpp>
#include <ckpt/folder/shard_set.hpp>
#include <ckpt/io/path.hpp>
#include <ckpt/pickle/globals.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// What was found in a folder, and opened.
struct examined_folder {
    folder_report report{};
    std::vector<shard> shards{};      // of a set, opened
    std::optional<checkpoint> file{}; // or the one file
    shared<checkpoint_file> joined{}; // or what a distributed checkpoint, or the files of all ranks, became
    std::string folder{};             // in which the files stand
};

/// Looks through a directory and opens the model in it.
class folder_examiner {
  public:
    /// `files` is the policy for globals of the folder's files, `metadata` that for .metadata of a distributed
    /// checkpoint. Fails only where the path itself cannot be looked at.
    [[nodiscard]] static result<examined_folder> examine(path_arg path, allowlist files, allowlist metadata,
                                                         const open_options& options, const folder_options& how);

  private:
    folder_examiner(std::string path, allowlist files, allowlist metadata, const open_options& options,
                    const folder_options& how)
        : work_{std::move(path), files, metadata, options, how, {}} {}

    [[nodiscard]] result<examined_folder> run();
    void find(error e) { work_.find(std::move(e)); }
    void inconsistent(std::string_view file, std::string detail, std::string_view hint) {
        work_.inconsistent(file, std::move(detail), hint);
    }

    /// Whether a file is a checkpoint by its content.
    [[nodiscard]] bool holds_checkpoint(std::string_view name) const;
    void open_set(const weight_set& chosen);

    /// The one set that may be the weights, or a finding.
    [[nodiscard]] bool choose(weight_set& chosen);
    /// "; it has ..., +2 more", so that somebody who named the wrong folder sees it.
    [[nodiscard]] std::string some_names() const;
    void open_single(const std::string& name);
    void open_ranks(const weight_set& set);
    void open_llama(const weight_set& set);
    void open_fairscale(const weight_set& set);
    /// Whether the files of all candidates say that they are shards of fairscale; a finding then.
    [[nodiscard]] bool are_fairscale_shards();
    /// Opens the file of the only rank; a finding where the file says that there were others.
    void open_alone(const std::string& name);
    /// Opens a shard; its tensors are those of its root.
    void open_shard(const std::string& name);

    /// The numbers of its shards, sorted, each once.
    [[nodiscard]] static std::vector<std::uint32_t> numbers_of(const weight_set& set);
    /// Shards without an index: their names say how many belong together.
    void open_family(const weight_set& set);

    void open_indexed(const std::string& index_name);
    /// Whether none of an index's shards is in the folder.
    [[nodiscard]] bool names_nothing_here(const std::string& index_name) const;
    /// Whether the index names shards that are not here, while others make a whole set: then there is a finding.
    [[nodiscard]] bool is_stale(const std::string& index_name, const shard_index& index);

    /// Notes keys that the index names and their shard does not have, and keys of a shard that the index does not name.
    void compare_keys(const std::string& index_name, const shard_index& index, const std::vector<std::size_t>& place);
    void find_duplicates();

    static constexpr std::size_t no_shard = ~std::size_t{0};

    folder_work work_;
    folder_contents contents_{};
    examined_folder out_{};
};

/// One error for all findings. A refused global outranks damage, as in one file.
[[nodiscard]] error joined_findings(const std::vector<error>& findings);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/examiner.ipp>
#endif
