// ckpt/folder/zero.hpp: a checkpoint of DeepSpeed with ZeRO, as one model.
//
// SPDX-License-Identifier: MIT
// In:      the files of one step: "[zero_pp_rank_R_]mp_rank_MM_model_states.pt",
// "[bf16_]zero_pp_rank_R_mp_rank_MM_optim_states.pt". Out:     {"module": the model's weights, "optimizer": {file: its
// content}, and what else the first rank saved}. Refuses: missing and surplus ranks, ranks that disagree, partitions
// that do not add up to the shapes: all at once.
//
// The 32-bit weights lie in the optimizer's files. Stages 1 and 2: the parameters of a group one after another, in the
// order of param_shapes, as one vector that is cut into equal partitions; what pads it is at its end. Stage 3: each
// parameter is cut and padded by itself, and the pieces of a rank lie one after another.
// After deepspeed/utils/zero_to_fp32.py (0.19), but for two things: weights that are frozen under stage 1 are kept, and
// buffers keep their own dtype.
#pragma once

#include <ckpt/folder/joined.hpp>
#include <ckpt/folder/report.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
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

/// The pieces of one tensor, in the order of its elements: the nodes of those that are there, and what ranks are
/// missing for.
struct tensor_pieces {
    struct lost {
        std::uint64_t rank{};
        std::uint64_t first{}; ///< an element of the tensor
        std::uint64_t count{};
    };
    std::vector<std::uint32_t> parts{};
    std::vector<lost> missing{};
    std::uint64_t size{0};

    void add(std::uint64_t n, std::uint32_t node);
    void lose(std::uint64_t n, std::uint64_t rank);
    /// "elements 4 to 7 of this tensor are in the partition of rank 1, which is missing"
    [[nodiscard]] std::string what_is_missing() const;
};

/// Stretches of one vector, one after another; a stretch of a rank that is missing has no node.
struct flat_vector {
    struct stretch {
        std::uint64_t begin{};
        std::uint64_t size{};
        std::uint32_t node{gather_plan::none};
        std::uint32_t rank{};
    };
    std::vector<stretch> stretches{};
    std::uint64_t size{0};

    void add(std::uint64_t n, std::uint32_t node, std::uint32_t rank);
    /// Adds elements [first, first + n), which lie inside, to `out`.
    void cut(gather_plan& plan, std::uint64_t first, std::uint64_t n, tensor_pieces& out) const;
};

class zero_reader {
  public:
    /// `step` is the folder of one step inside the work's folder: empty, or "global_step10/".
    zero_reader(folder_work& work, std::string step, std::span<const folder_entry> entries)
        : work_{work}, step_{std::move(step)} {
        for (const folder_entry& e : entries) note(e);
    }

    /// The checkpoint; nothing where there are findings.
    [[nodiscard]] shared<checkpoint_file> run();

  private:
    struct file {
        std::string name{};
        std::uint32_t rank{};
        std::uint32_t model_rank{};
        std::optional<checkpoint> opened{};
        joined_checkpoint::part part{};
        value content{}; // of an optimizer's file: what is under "optimizer_state_dict"
        std::vector<const tensor_data*> flat{};
    };
    struct parameter {
        std::string_view name{};
        std::vector<std::int64_t> shape{};
        std::uint64_t numel{};
    };

    void note(const folder_entry& e);

    /// One rank of tensor parallelism is a model; of several, nothing says along which dimensions they are cut.
    [[nodiscard]] bool pick_model_rank();

    void open_all();

    /// The number under `key`; absent where there is none.
    [[nodiscard]] static std::optional<std::int64_t> number_at(const value& in, std::string_view key);
    /// The first file's text for something that must be the same in all of them; a finding where another's differs.
    void compare(std::vector<file>& files, std::string_view what, std::string (*text)(const file&));
    [[nodiscard]] static std::string text_at(const value& in, std::string_view key);
    /// Partitions of each group: a number, or a list of them.
    [[nodiscard]] static std::uint64_t partitions(const value& content);
    /// Steps that the optimizer has taken, as its state counts them.
    [[nodiscard]] static std::string steps_of(const file& f);

    void read_facts();
    /// The tensors of a rank's partition, one for each group.
    void read_flat(file& f, const value& groups);
    void find_missing(const std::vector<file>& files, std::string_view kind);

    [[nodiscard]] const file* of_rank(const std::vector<file>& files, std::uint64_t rank) const;

    /// Names and shapes in a dictionary.
    void read_shapes(const value& dictionary, std::vector<parameter>& to);

    void read_groups();

    /// Stages 1 and 2: one vector for each group.
    void gather_group(std::size_t group, const std::vector<parameter>& parameters);
    void adds_up(std::size_t group, std::uint64_t have, std::uint64_t needed);
    /// Elements behind each parameter of a group; empty where nothing is aligned.
    [[nodiscard]] std::vector<std::uint64_t> alignment_paddings(std::size_t group, std::size_t parameters);

    /// Stage 3: one vector for each rank.
    void gather_stage3(const std::vector<parameter>& parameters);
    [[nodiscard]] std::uint64_t per_rank(std::uint64_t numel) const noexcept {
        return numel / ranks_ + (numel % ranks_ != 0);
    }
    /// Joins the pieces of all ranks; `cut(i, n, …)` gives the first n elements of those of the i-th file.
    template <class F> void gather_ranks(const parameter& p, F&& cut, const std::vector<file>& files) {
        tensor_pieces pieces;
        std::uint64_t next = 0;
        const auto left = [&] { return p.numel - pieces.size; };
        for (std::size_t i = 0; i < files.size() && left() > 0; ++i) {
            if (files[i].rank > next) pieces.lose((std::min)(left(), (files[i].rank - next) * per_rank(p.numel)), next);
            next = files[i].rank + std::uint64_t{1};
            if (const std::uint64_t n = (std::min)(left(), per_rank(p.numel)); n > 0) cut(i, n, pieces);
        }
        if (left() > 0) pieces.lose(left(), next);
        keep(p, pieces);
    }

    /// The node of a parameter's pieces, under its name.
    void keep(const parameter& p, const tensor_pieces& pieces);

    /// Weights that are not trained: whole in the first rank's file, or under stage 3 a fragment in each one.
    void read_frozen();

    // ---- the graph

    struct entry {
        std::uint32_t node{}; // of the graph
        bool used{false};
        bool lacks{false}; // a part of it
    };

    [[nodiscard]] std::uint32_t build();

    /// The model's state_dict: the keys of `module` in their order, then what it has not.
    template <class Copy> [[nodiscard]] std::uint32_t module_of(Copy& copy) {
        const file& first = models_.front();
        const value content = first.content;
        std::map<std::string_view, std::string_view> aliases;
        if (const auto shared_names = content.at("shared_params"))
            for (const value::entry e : shared_names->entries()) {
                const auto alias = e.key.as_string();
                const auto source = e.mapped.as_string();
                if (alias && source) aliases.emplace(*alias, *source);
            }
        std::map<std::string_view, value> frozen;
        if (const auto fragments = content.at("frozen_param_fragments"); fragments && !stage3_)
            for (const value::entry e : fragments->entries())
                if (const auto key = e.key.as_string()) frozen.emplace(*key, e.mapped);
        std::vector<std::string_view> buffers;
        if (const auto names = content.at("buffer_names"))
            for (const value v : names->elements())
                if (const auto name = v.as_string()) buffers.push_back(*name);
        std::sort(buffers.begin(), buffers.end());

        std::vector<std::uint32_t> pairs;
        const auto add = [&](std::string_view key, std::uint32_t node) {
            pairs.push_back(out_->text(key));
            pairs.push_back(node);
        };
        const auto use = [&](std::string_view key) -> std::uint32_t {
            const auto found = named_.find(key);
            if (found == named_.end()) return absent_node;
            found->second.used = true;
            return found->second.node;
        };
        const auto use_tied = [&](std::string_view alias, std::string_view source) -> std::uint32_t {
            const std::uint32_t node = use(source);
            if (node != absent_node && named_.find(source)->second.lacks)
                work_.report.absent.push_back(
                    {.code = errc::shards_inconsistent,
                     .path = printable(alias),
                     .detail = "this tensor is tied to " + quoted(source) + ", of which a part is missing",
                     .hint = "get the missing files"});
            return node;
        };
        std::vector<std::string_view> written;
        const value module = content.at("module").value();
        for (const value::entry e : module.entries()) {
            const auto key = e.key.as_string();
            if (!key) {
                pairs.push_back(copy(e.key));
                pairs.push_back(copy(e.mapped));
                continue;
            }
            written.push_back(*key);
            const auto alias = aliases.find(*key);
            std::uint32_t node = use(*key);
            if (node == absent_node && alias != aliases.end()) node = use_tied(*key, alias->second);
            if (node == absent_node && frozen.count(*key) > 0) node = copy(frozen.find(*key)->second);
            // Under stage 3 a weight leaves an empty tensor behind.
            const auto tensor = e.mapped.as_tensor();
            const bool hollow = stage3_ && tensor && tensor->refusal() == nullptr && tensor->numel() == 0 &&
                                !std::binary_search(buffers.begin(), buffers.end(), *key);
            if (node == absent_node && hollow) {
                error lost{.code = errc::shards_inconsistent,
                           .path = printable(*key),
                           .detail = "a weight of stage 3 that neither param_shapes nor frozen_param_shapes has",
                           .hint = "get all files of one step"};
                if (ranks_of_models_ &&
                    models_.size() < ranks_) { // with `partial`: only the first rank says what is tied
                    lost.detail += "; model states of other ranks, which may, are missing";
                    work_.report.absent.push_back(lost);
                }
                node = out_->refused(std::move(lost), first.name);
            }
            add(*key, node != absent_node ? node : copy(e.mapped));
        }
        std::sort(written.begin(), written.end());
        const auto is_written = [&](std::string_view key) {
            return std::binary_search(written.begin(), written.end(), key);
        };
        for (const auto& [key, value] : frozen)
            if (!is_written(key) && named_.count(key) == 0) add(key, copy(value));
        for (const auto& [key, own] : named_)
            if (!is_written(key)) add(key, own.node);
        for (const auto& [alias, source] : aliases)
            if (!is_written(alias))
                if (const std::uint32_t node = use_tied(alias, source); node != absent_node) add(alias, node);
        return out_->values().add_dictionary(pairs);
    }

    folder_work& work_;
    std::string step_;
    shared<joined_checkpoint> out_{detail::make_shared<joined_checkpoint>(work_.options.limits, "zero", "DeepSpeed")};
    std::vector<file> models_{};
    std::vector<file> optimizers_{};
    bool ranks_of_models_{false};
    bool stage3_{false};
    std::uint64_t ranks_{0};
    std::optional<ckpt::dtype> type_{};
    std::map<std::string_view, entry> named_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/zero.ipp>
#endif
