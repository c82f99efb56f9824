// ckpt/folder/llama.hpp: consolidated.00.pth, consolidated.01.pth, …: the parts of a LLaMA model, as one.
//
// SPDX-License-Identifier: MIT
// In:      the files, one for each rank of tensor parallelism; params.json beside them, where there is one.
// Out:     one dictionary: what is cut is gathered from all parts, what every part has is the first one's.
// Refuses: missing parts, parts of other models, copies that differ, keys whose layout is not known: all at once.
//
// The layout is that of meta-llama/llama and meta-llama/llama3, llama/model.py: fairscale's ColumnParallelLinear is cut
// along dimension 0, RowParallelLinear along 1, ParallelEmbedding (LLaMA 1 and 2) along 1, VocabParallelEmbedding
// (LLaMA 3) along 0. The size of norm.weight tells which of the embeddings it is, and how many parts there are.
#pragma once

#include <ckpt/folder/joined.hpp>
#include <ckpt/folder/parts.hpp>
#include <ckpt/folder/report.hpp>
#include <ckpt/pickle/value.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// How the parts of a tensor make it up. `embedding`: its sizes say along which dimension.
enum class llama_cut : std::uint8_t { rows, columns, embedding, copies, unknown };

[[nodiscard]] llama_cut llama_cut_of(std::string_view key) noexcept;

class llama_reader {
  public:
    llama_reader(folder_work& work, const std::vector<std::string>& files);

    /// The checkpoint; nothing where there are findings, or a single file that is whole.
    [[nodiscard]] shared<checkpoint_file> run();
    /// Whether there is one file, which is no part: it is opened as it is.
    [[nodiscard]] bool is_whole() const noexcept { return is_whole_; }

  private:
    struct row {
        std::string_view key{};
        value content{};
    };
    struct one_part {
        std::string name{};
        std::uint64_t number{};
        std::optional<checkpoint> opened{};
        joined_checkpoint::part part{};
        std::vector<row> rows{};   // in the file's order
        std::vector<row> by_key{}; // sorted

        [[nodiscard]] const row* find(std::string_view key) const noexcept;
    };
    /// The sizes in params.json that tell how tensors are cut; 0 where the file does not have one.
    struct model_sizes {
        std::uint64_t dim{};
        std::uint64_t heads{};
        std::uint64_t head_dim{};
    };

    void open(one_part& p);

    // ---- how many parts there are

    [[nodiscard]] model_sizes read_params() const;
    /// The tensor of a key of the first part, where it has so many dimensions; else null.
    [[nodiscard]] const tensor_data* first_with(std::string_view key_end, std::uint32_t rank) const noexcept;
    /// Sets the number of parts as the sizes of the tensors tell it, where they do.
    void count_parts();
    void find_missing();

    // ---- whether they fit together

    /// Whether no key is in two parts. transformers' convert_mixtral_weights_to_hf.py takes consolidated.00.pt to
    /// consolidated.07.pt for such a set.
    [[nodiscard]] bool share_nothing() const noexcept;
    /// Notes tensors that not all parts have. Other values are taken from the first part.
    void compare_keys();
    /// Notes values of the first part that hold tensors and have no place in LLaMA's layout.
    void find_unknown();

    // ---- the graph

    [[nodiscard]] std::uint32_t build();
    /// The tensor of a row of the first part; `absent_node` where a finding says what is wrong.
    [[nodiscard]] std::uint32_t tensor_of(const row& r);
    [[nodiscard]] std::uint32_t copies_of(const row& r, const std::vector<const row*>& all);
    [[nodiscard]] std::uint32_t cut_tensor(const row& r, llama_cut how, const std::vector<const row*>& all);

    folder_work& work_;
    shared<joined_checkpoint> out_{
        detail::make_shared<joined_checkpoint>(work_.options.limits, "parts", "fairscale's model parallelism")};
    std::vector<one_part> parts_{};
    std::uint64_t dim_{0};
    std::uint64_t count_{0}; // of parts
    bool is_whole_{false};
    bool are_shards_{false}; // no key is in two parts
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/llama.ipp>
#endif
