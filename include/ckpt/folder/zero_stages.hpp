// ckpt/folder/zero_stages.hpp: the weights of a ZeRO checkpoint, gathered from the partitions of all ranks.
//
// SPDX-License-Identifier: MIT
// In:      the opened files; names and shapes of the parameters (param_shapes).
// Out:     for each parameter the node of its tensor.
// Refuses: partitions that do not add up to the shapes: in findings. With `folder_options::partial` a parameter of
//          which a part is missing is a tensor that is refused.
//
// Stages 1 and 2: the parameters of a group one after another, in the order of param_shapes, as one vector that is cut
// into equal partitions; what pads it is at its end. Stage 3: each parameter is cut and padded by itself, and the
// pieces of a rank lie one after another.
#pragma once

#include <ckpt/folder/joined.hpp>
#include <ckpt/folder/report.hpp>
#include <ckpt/folder/zero_files.hpp>
#include <ckpt/folder/zero_pieces.hpp>
#include <ckpt/pickle/value.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// A tensor of the model.
struct zero_weight {
    std::uint32_t node{}; // of the graph
    bool lacks{false};    // a part of it
};

class zero_stages {
  public:
    zero_stages(folder_work& work, const zero_files& files, joined_checkpoint& out)
        : work_{work}, files_{files}, out_{out} {}

    /// The parameters by name. What is wrong becomes a finding.
    [[nodiscard]] const std::map<std::string_view, zero_weight>& run();

  private:
    struct parameter {
        std::string_view name{};
        std::vector<std::int64_t> shape{};
        std::uint64_t numel{};
    };

    /// Names and shapes in a dictionary.
    void read_shapes(const value& dictionary, std::vector<parameter>& to);
    void read_groups();
    [[nodiscard]] bool is_sound() const noexcept { return work_.report.findings.empty(); }

    // ---- stages 1 and 2: one vector for each group

    void gather_group(std::size_t group, const std::vector<parameter>& parameters);
    /// Elements that the parameters of a group take, with what is behind each.
    [[nodiscard]] static std::uint64_t size_of(const std::vector<parameter>& parameters,
                                               const std::vector<std::uint64_t>& paddings) noexcept;
    /// The partitions of a group, one after another. False where there is a finding.
    [[nodiscard]] bool join_partitions(std::size_t group, std::uint64_t needed, flat_vector& whole);
    /// Elements behind each parameter of a group; empty where nothing is aligned.
    [[nodiscard]] std::vector<std::uint64_t> alignment_paddings(std::size_t group, std::size_t parameters);

    // ---- stage 3: one vector for each rank

    void gather_stage3(const std::vector<parameter>& parameters);
    [[nodiscard]] std::uint64_t per_rank(std::uint64_t numel) const noexcept {
        return numel / files_.ranks() + (numel % files_.ranks() != 0);
    }
    /// Joins the pieces of all ranks; `cut(i, n, ...)` gives the first n elements of those of the i-th file.
    template <class F> void gather_ranks(const parameter& p, F&& cut, const std::vector<zero_file>& files) {
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

    // ---- weights that are not trained: whole in the first rank's file, or under stage 3 a fragment in each one

    using fragments = std::map<std::string_view, const tensor_data*>;
    void read_frozen();
    /// The fragments in a file of the model's states.
    [[nodiscard]] static fragments fragments_in(const zero_file& f);
    /// Whether each file has its fragment; a finding where one has not.
    [[nodiscard]] bool has_fragments(const parameter& p, const std::vector<fragments>& of_files);

    /// The node of a parameter's pieces, under its name.
    void keep(const parameter& p, const tensor_pieces& pieces);

    folder_work& work_;
    const zero_files& files_;
    joined_checkpoint& out_;
    std::map<std::string_view, zero_weight> weights_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/folder/impl/zero_stages.ipp>
#endif
