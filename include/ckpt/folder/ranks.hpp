// ckpt/folder/ranks.hpp: files that each process of a distributed run saved of its own part, as one model.
//
// SPDX-License-Identifier: MIT
// In:      files of torch.save with DTensors or ShardedTensors: FSDP1's sharded and local state_dicts, FSDP2, tensor
//          parallelism.
// Out:     the first rank's object, in which every distributed tensor is gathered from all ranks; what is whole is the
//          first rank's.
// Refuses: missing ranks, ranks twice, ranks of another run, shards that leave a gap or overlap: all at once. Files in
//          which nothing is distributed: what they have to do with each other is not in them.
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/folder/contents.hpp>
#include <ckpt/folder/joined.hpp>
#include <ckpt/folder/report.hpp>
#include <ckpt/folder/shard_boxes.hpp>
#include <ckpt/folder/tiling.hpp>
#include <ckpt/torch/wrapper.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class rank_reader {
  public:
    rank_reader(folder_work& work, const std::vector<std::string>& files) : work_{work} {
        for (const std::string& name : files) ranks_.push_back({name, parse_rank_name(name)->rank, {}, {}, {}, 0});
    }

    /// The checkpoint; nothing where there are findings, or a single file that is whole.
    [[nodiscard]] shared<checkpoint_file> run();
    /// Whether there is one file, in which nothing is distributed: it is opened as it is.
    [[nodiscard]] bool is_whole() const noexcept { return is_whole_; }

  private:
    struct row {
        std::string path{};
        const tensor_data* data{};
        std::uint32_t node{};
    };
    struct one_rank {
        std::string name{};
        std::uint64_t rank{};
        std::optional<checkpoint> opened{};
        joined_checkpoint::part part{};
        std::vector<row> rows{}; // in the file's order
        std::uint64_t ranks{};   // the most ranks that share one of its tensors
        std::map<std::string_view, std::size_t> by_path{};
    };
    /// A box of a tensor, and who has it.
    struct piece {
        const one_rank* of{};
        std::uint32_t node{};
        std::size_t at{}; // among the boxes
    };

    static constexpr std::string_view again = "the files are of different runs or steps: get all files of one save";

    /// Whether a tensor, or one of its parts, lies in the files of several ranks.
    [[nodiscard]] static bool is_cut(const tensor_data& t) noexcept;
    [[nodiscard]] static bool is_distributed(std::string_view class_name) noexcept {
        return rebuild::is_distributed(class_name, "DTensor") || rebuild::is_distributed(class_name, "ShardedTensor");
    }
    [[nodiscard]] static const rank_place* place_of(const tensor_data& t) noexcept {
        return t.extra != nullptr ? t.extra->place : nullptr;
    }

    void open(one_rank& r);

    void find_missing();

    // ---- whether the files are of one save

    void compare();
    [[nodiscard]] static std::string tensors(std::uint64_t n) { return decimal(n) + (n == 1 ? " tensor" : " tensors"); }
    /// What must be the same in all files.
    [[nodiscard]] static std::string text_of(const tensor_data& t);

    // ---- the graph

    [[nodiscard]] std::uint32_t build();

    [[nodiscard]] std::uint32_t refuse(const row& r, const one_rank& of, std::string detail,
                                       std::string_view hint = "the other tensors are not affected");

    [[nodiscard]] std::uint32_t tensor_of(const row& r);

    /// Adds the boxes that one rank has of a tensor. Returns the node of a refused tensor where they cannot be joined,
    /// and `absent_node` otherwise.
    [[nodiscard]] std::uint32_t add_piece(const row& r, const one_rank& of, const tensor_data& own,
                                          const tensor_data& part, box_list& boxes, std::vector<piece>& pieces);

    /// Ranks along a dimension of the mesh that does not cut the tensor have the same boxes: the first one's is taken.
    static void drop_copies(box_list& boxes, std::vector<piece>& pieces);

    [[nodiscard]] std::optional<error> look_for_gap(const row& r, const box_list& boxes, std::vector<std::size_t>& cut);

    /// FSDP1's local state_dict: several parameters, one after another, in one vector.
    void note_flat(const row& r);

    folder_work& work_;
    shared<joined_checkpoint> out_{
        detail::make_shared<joined_checkpoint>(work_.options.limits, "ranks", "torch.distributed")};
    std::vector<one_rank> ranks_{};
    std::uint64_t total_{0}; // of ranks, as the files say
    std::uint64_t corners_{};
    std::string missing_{};
    bool is_whole_{false};
    bool has_flat_{false};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/ranks.ipp>
#endif
