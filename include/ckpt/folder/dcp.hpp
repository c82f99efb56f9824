// ckpt/folder/dcp.hpp: a distributed checkpoint of PyTorch (torch.distributed.checkpoint), as one model.
//
// SPDX-License-Identifier: MIT
// In:      ".metadata", and the files that it names: chunks of tensors and other objects, each a file of torch.save by
//          itself.
// Out:     the object that was saved, nested as it was: tensors that are gathered from their chunks, other values.
// Refuses: chunks that leave a gap or overlap, places outside files, missing files, names that leave the folder: all at
//          once.
//
// Only .metadata and what is no tensor is parsed here; chunks are opened when their elements are asked for.
// After torch/distributed/checkpoint/{metadata,filesystem,_nested_dict,_traverse}.py (torch 2.0 to 2.14).
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/folder/dcp_items.hpp>
#include <ckpt/folder/dcp_tree.hpp>
#include <ckpt/folder/index.hpp>
#include <ckpt/folder/joined.hpp>
#include <ckpt/folder/report.hpp>
#include <ckpt/folder/tiling.hpp>
#include <ckpt/torch/pickle_checkpoint.hpp>

#include <algorithm>
#include <array>
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

class dcp_reader {
  public:
    /// `step` is the folder of the checkpoint inside the work's folder: empty, or "pytorch_model_fsdp_0/".
    dcp_reader(folder_work& work, std::string step) : work_{work}, step_{std::move(step)} {}

    /// The checkpoint; nothing where there are findings.
    [[nodiscard]] shared<checkpoint_file> run();

  private:
    static constexpr std::uint32_t missing = ~std::uint32_t{0};

    struct seen_file {
        std::uint32_t number{missing}; // among the files of the items
        std::uint64_t items{};         // that .metadata says are in it
    };
    /// Where .metadata says that an item lies.
    struct place {
        std::string_view key{};
        std::span<const std::int64_t> at{}; // the chunk's offsets; empty for what is no tensor
        std::string_view file{};
        std::uint64_t offset{};
        std::uint64_t length{};
        std::string_view transform{}; // how it is compressed
        bool used{false};

        [[nodiscard]] int compare(std::string_view k, std::span<const std::int64_t> a) const noexcept;
    };

    void wrong(std::string detail);

    [[nodiscard]] bool read_metadata();

    /// How many files there are of the name "__3.metadata".
    [[nodiscard]] std::uint64_t metadata_of_ranks() const;

    /// Whether a tensor may have as many dimensions as a list of sizes or offsets has numbers; a finding where not.
    [[nodiscard]] bool check_rank(std::string_view key, const result<value>& list);
    /// A list of sizes or offsets; nothing where it is none.
    [[nodiscard]] std::optional<std::span<const std::int64_t>> numbers(const result<value>& list);
    [[nodiscard]] static std::optional<std::uint64_t> count_at(const value& in, std::string_view name);
    [[nodiscard]] static std::string_view text_at(const value& in, std::string_view name);

    void read_places();
    /// Whether a path stays in the folder on every system.
    [[nodiscard]] static bool is_inside(std::string_view path);
    [[nodiscard]] static std::string chunk_text(std::string_view key, std::span<const std::int64_t> at) {
        return at.empty() ? quoted(key) : str_cat("the chunk of ", quoted(key), " at ", list_of(at));
    }

    void open_files();

    /// The place of an item, marked as used; null where .metadata has none.
    [[nodiscard]] place* find_place(std::string_view key, std::span<const std::int64_t> at);

    // ---- the graph

    void build();

    /// Notes that the entry `key` is missing, and why. Returns the node of a refused value that stands for it.
    [[nodiscard]] std::uint32_t absent(std::string_view key, error why);

    [[nodiscard]] std::uint32_t tensor_of(std::string_view key, const value& says);

    /// The chunks of a tensor that have elements; all chunks where the tensor has no elements.
    struct found_chunks {
        box_list boxes{};
        std::vector<std::uint32_t> parts{}; // nodes of the plan
        std::vector<error> lost{};          // of the chunks that are missing
    };
    /// False, and a finding, where one lies outside the tensor.
    [[nodiscard]] bool find_chunks(std::string_view key, ckpt::dtype type, std::span<const std::int64_t> shape,
                                   const value& chunks, found_chunks& out);
    /// The value for a tensor whose chunks cannot be joined: each has scales of its own, or elements that share bytes.
    [[nodiscard]] std::uint32_t refuse_scaled(std::string_view key, ckpt::dtype type, const value& chunks);
    /// Whether the chunks fill the tensor; a finding where they do not.
    [[nodiscard]] bool fill_whole(std::string_view key, std::span<const std::int64_t> shape, const box_list& boxes);
    /// The node of a chunk, or why it is missing.
    [[nodiscard]] result<std::uint32_t> chunk(std::string_view key, ckpt::dtype type,
                                              std::span<const std::int64_t> offsets,
                                              std::span<const std::int64_t> sizes, const place* at);

    /// The tensors of one file as safetensors, where it is written so; null where each item is a file of torch.save.
    struct tensor_file {
        shared<part_storages> part{};
        std::map<std::string_view, const tensor_data*> tensors{};
    };
    [[nodiscard]] result<const tensor_file*> tensors_in(std::uint32_t file, const place& at);
    [[nodiscard]] result<std::uint32_t> named_tensor(const tensor_file& in, std::string_view key,
                                                     const tensor_data& says);

    /// An entry that is no tensor.
    [[nodiscard]] std::uint32_t object_of(std::string_view key);

    folder_work& work_;
    std::string step_;
    std::optional<checkpoint> metadata_{};
    shared<joined_checkpoint> out_{
        detail::make_shared<joined_checkpoint>(work_.options.limits, "dcp", "torch.distributed.checkpoint")};
    shared<dcp_items> items_{detail::make_shared<dcp_items>(work_.allowed, work_.options)};
    std::map<std::string, seen_file> files_{}; // by name
    std::vector<place> places_{};              // sorted by key and offsets
    std::map<std::uint32_t, tensor_file> safetensors_{};
    std::vector<std::size_t> cut_{};
    std::uint64_t corners_{};
    std::uint32_t root_{absent_node};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/dcp.ipp>
#endif
