// ckpt/tensor/parts.hpp: what hangs below a tensor that is more than one array: named parts, a quantizer, a class.
//
// SPDX-License-Identifier: MIT
// In:      parts that were checked when they were made.
// Out:     the record that a tensor refers to; its copy for other storages.
// Refuses: nothing: builders bound how many parts there are and how deep they go.
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/index_table.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/tensor/geometry.hpp>
#include <ckpt/tensor/layout.hpp>
#include <ckpt/tensor/storage.hpp>

#include <cstddef>
#include <cstdint>
#include <new>
#include <span>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

[[nodiscard]] constexpr bool is_per_channel(qscheme scheme) noexcept { return scheme >= qscheme::per_channel_affine; }

struct named_data {
    std::string_view name{};
    tensor_data data{};
};

/// How one dimension of a mesh of processes cuts a tensor, and where on it the process stands that saved a file.
struct mesh_cut {
    enum class how : std::uint8_t { whole, cut, other };
    how kind{how::whole};
    std::uint32_t dimension{};
    std::int64_t split_factor{1}; ///< blocks that are each cut by themselves
    std::int64_t size{1};
    std::int64_t at{0};
};

/// Whose file it is that has a piece of a distributed tensor; of a DTensor also how all of it is cut.
struct rank_place {
    static constexpr std::uint64_t unknown = ~std::uint64_t{0};
    std::uint64_t rank{unknown};
    std::uint64_t ranks{0}; ///< that share the tensor
    const mesh_cut* cuts{};
    std::uint32_t count{0};
    bool is_known{true}; ///< the cuts say where everything lies

    [[nodiscard]] std::span<const mesh_cut> all() const noexcept { return {cuts, count}; }
};

/// Lives in the arena of a graph, and is shared by the tensors that are made from one another.
struct tensor_extra {
    const named_data* first{}; ///< per channel: "scales" and "zero_points"
    std::uint32_t count{};
    std::uint32_t total{}; ///< parts, and parts of parts
    std::uint8_t depth{};  ///< levels of parts
    bool quantised{};
    bool coalesced{}; ///< of a COO tensor: its writer says that its indices are sorted, each once
    qscheme scheme{};
    std::uint32_t axis{};      ///< per channel; of a jagged tensor, the dimension that is ragged
    double scale{};            ///< per tensor
    std::int64_t zero_point{}; ///< per tensor
    std::string_view class_name{};
    std::string_view placement{};
    const rank_place* place{};     ///< of a distributed tensor
    const std::int64_t* offsets{}; ///< of one of the shards of a ShardedTensor: where it begins in the whole

    [[nodiscard]] std::span<const named_data> parts() const noexcept { return {first, count}; }
};

/// A tensor that is a part has parts of its own at most so many levels down, so that whoever follows them may recurse.
inline constexpr std::uint8_t most_part_depth = 8;

[[nodiscard]] inline bool is_quantised(const tensor_data& data) noexcept {
    return data.extra != nullptr && data.extra->quantised;
}

/// Bytes of the elements, or of the parts that a tensor consists of.
[[nodiscard]] std::uint64_t bytes_of(const tensor_data& data) noexcept;

/// Copies tensors together with what hangs below them, for a `storage_source` with other numbers. What several tensors
/// share is copied once.
class part_copies {
  public:
    explicit part_copies(arena& memory) noexcept : memory_{memory} {}

    /// Calls `change(tensor_data&)` for `data` and, on copies, for every part below it. `from` is where they read from.
    template <class Change> void adopt(tensor_data& data, const storage_source* from, Change& change) {
        change(data);
        if (data.extra != nullptr && data.extra->count != 0) data.extra = copy(data.extra, from, change);
    }

  private:
    struct pair {
        const tensor_extra* original{nullptr};
        const storage_source* from{nullptr};
        const tensor_extra* copied{nullptr};
    };

    template <class Change>
    [[nodiscard]] const tensor_extra* copy(const tensor_extra* original, const storage_source* from, Change& change) {
        if (const std::uint32_t known = find(original, from); known != growing_index_table::none)
            return known_[known].copied;
        auto* parts = memory_.allocate<named_data>(original->count);
        for (std::uint32_t i = 0; i < original->count; ++i) {
            auto* part = ::new (static_cast<void*>(parts + i)) named_data(original->first[i]);
            adopt(part->data, from, change); // at most most_part_depth deep
        }
        auto* out = ::new (memory_.allocate(sizeof(tensor_extra), alignof(tensor_extra))) tensor_extra(*original);
        out->first = parts;
        remember({original, from, out});
        return out;
    }
    [[nodiscard]] std::uint32_t find(const tensor_extra* original, const storage_source* from) const noexcept;
    void remember(const pair& copied);

    arena& memory_;
    plain_list<pair> known_{};
    growing_index_table table_{}; // of known_
};

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/parts.ipp>
#endif
