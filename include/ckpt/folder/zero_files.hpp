// ckpt/folder/zero_files.hpp: the files of a checkpoint of DeepSpeed's ZeRO, and what they say of it.
//
// SPDX-License-Identifier: MIT
// In:      names in a folder; the files themselves.
// Out:     files by what they hold and by rank, opened; stage, number of ranks, the partition of each rank.
// Refuses: several ranks of tensor parallelism, layers of a pipeline, files without what ZeRO writes, files of
//          different runs; missing and surplus ranks. All of it is told at once, in findings.
#pragma once

#include <ckpt/checkpoint.hpp>
#include <ckpt/folder/joined.hpp>
#include <ckpt/folder/parts.hpp>
#include <ckpt/folder/report.hpp>
#include <ckpt/folder/zero_messages.hpp>
#include <ckpt/io/folder.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The parts of a file's name.
struct zero_name {
    bool optimizer{};
    bool has_rank{}; // of data parallelism
    std::uint32_t rank{};
    std::uint32_t model_rank{};
};

[[nodiscard]] std::optional<zero_name> parse_zero_name(std::string_view name) noexcept;

/// One file of a checkpoint.
struct zero_file {
    std::string name{};
    std::uint32_t rank{};
    std::uint32_t model_rank{};
    std::optional<checkpoint> opened{};
    joined_checkpoint::part part{};
    value content{};                        // of an optimizer's file: what is under "optimizer_state_dict"
    std::vector<const tensor_data*> flat{}; // the tensors of its partition, one for each group
};

/// All files of one step. Findings are the folder's.
class zero_files {
  public:
    /// `step` is the folder of one step inside the work's folder: empty, or "global_step10/".
    zero_files(folder_work& work, std::string step, std::span<const folder_entry> entries);

    /// Opens the files and reads what they say. False where there are findings.
    [[nodiscard]] bool open(joined_checkpoint& out);

    [[nodiscard]] const std::string& step() const noexcept { return step_; }
    /// Files of the model's states, and of the optimizer's: sorted by rank, none of them empty once they are open.
    [[nodiscard]] const std::vector<zero_file>& models() const noexcept { return models_; }
    [[nodiscard]] const std::vector<zero_file>& optimizers() const noexcept { return optimizers_; }
    /// Whether each rank has a file of the model's states.
    [[nodiscard]] bool ranks_of_models() const noexcept { return ranks_of_models_; }
    [[nodiscard]] bool is_stage3() const noexcept { return stage3_; }
    [[nodiscard]] std::uint64_t ranks() const noexcept { return ranks_; }
    /// The dtype of the partitions; absent where they hold no tensor.
    [[nodiscard]] std::optional<ckpt::dtype> type() const noexcept { return type_; }

  private:
    void note(const folder_entry& e);
    /// One rank of tensor parallelism is a model; of several, nothing says along which dimensions they are cut.
    [[nodiscard]] bool pick_model_rank();
    /// Whether there are files of both kinds, each rank once.
    [[nodiscard]] bool check_ranks();
    void open_all(joined_checkpoint& out);
    void find_partitions();
    /// The tensors of a rank's partition.
    void read_partition(zero_file& f, const value& groups);
    /// What must be the same in all files.
    void compare_runs();
    /// The first file's text for one such thing; a finding where another's differs.
    void compare(const std::vector<zero_file>& files, std::string_view what, std::string (*text)(const zero_file&));
    void count_ranks();
    /// Files of ranks that are not there, and of ranks that the run did not have.
    void find_missing(const std::vector<zero_file>& files, std::string_view kind);

    /// The number under `key`; absent where there is none.
    [[nodiscard]] static std::optional<std::int64_t> number_at(const value& in, std::string_view key);
    /// The text under `key`, quoted; empty where there is none.
    [[nodiscard]] static std::string text_at(const value& in, std::string_view key);
    /// Partitions of each group: a number, or a list of them.
    [[nodiscard]] static std::uint64_t partitions(const value& content);
    /// Steps that the optimizer has taken, as its state counts them.
    [[nodiscard]] static std::string steps_of(const zero_file& f);
    [[nodiscard]] bool is_sound() const noexcept { return work_.report.findings.empty(); }

    folder_work& work_;
    std::string step_;
    std::vector<zero_file> models_{};
    std::vector<zero_file> optimizers_{};
    std::vector<std::string> layers_{}; // files of a pipeline's layers
    bool ranks_of_models_{false};
    bool stage3_{false};
    std::uint64_t ranks_{0};
    std::optional<ckpt::dtype> type_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/zero_files.ipp>
#endif
