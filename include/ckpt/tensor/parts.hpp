// ckpt/tensor/parts.hpp: what a tensor has beside one array: named parts, a quantizer, a class.
//
// SPDX-License-Identifier: MIT
// In:      parts that were checked when they were made.
// Out:     the structure that a tensor points to, and copies of it for other storages.
// Refuses: nothing: builders limit the number of parts and their depth.
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
/// Whether torch rounds the scales of channels to float32 before it multiplies by them.
[[nodiscard]] constexpr bool has_rounded_scales(qscheme scheme) noexcept {
    return scheme == qscheme::per_channel_affine_float_qparams;
}

struct named_data {
    std::string_view name{};
    tensor_data data{};
};

/// How one dimension of a device mesh shards a tensor, and the position in it of the process that wrote the file.
struct mesh_cut {
    enum class how : std::uint8_t { whole, cut, other };
    how kind{how::whole};
    std::uint32_t dimension{};
    std::int64_t split_factor{1}; ///< the dimension is split into so many blocks, each of which is sharded by itself
    std::int64_t size{1};
    std::int64_t at{0};
};

/// The rank that wrote a piece of a distributed tensor; for a DTensor also how the whole is sharded.
struct rank_place {
    static constexpr std::uint64_t unknown = ~std::uint64_t{0};
    std::uint64_t rank{unknown};
    std::uint64_t ranks{0}; ///< number of ranks that share the tensor
    const mesh_cut* cuts{};
    std::uint32_t count{0};
    bool is_known{true}; ///< whether the cuts determine the place of every piece

    [[nodiscard]] std::span<const mesh_cut> all() const noexcept { return {cuts, count}; }
};

/// What a tensor has beside one array. Lives in the arena of a graph; tensors that are views of each other share it.
struct tensor_extra {
    const named_data* first{}; ///< the parts; of a tensor quantised per channel "scales" and "zero_points"
    std::uint32_t count{};
    std::uint32_t total{}; ///< parts, and parts of parts
    std::uint8_t depth{};  ///< levels of parts
    bool quantised{};
    bool coalesced{}; ///< of a COO tensor: the file says that its indices are sorted and unique
    qscheme scheme{};
    std::uint32_t axis{};      ///< the quantised axis; of a jagged tensor, the ragged dimension
    double scale{};            ///< per tensor
    std::int64_t zero_point{}; ///< per tensor
    std::string_view class_name{};
    std::string_view placement{};
    const rank_place* place{};     ///< of a distributed tensor
    const std::int64_t* offsets{}; ///< of a shard of a ShardedTensor: its first index in the whole

    [[nodiscard]] std::span<const named_data> parts() const noexcept { return {first, count}; }
};

/// Parts may have parts of their own, at most so many levels deep, so that recursion over them is safe.
inline constexpr std::uint8_t most_part_depth = 8;

[[nodiscard]] inline bool is_quantised(const tensor_data& data) noexcept {
    return data.extra != nullptr && data.extra->quantised;
}

/// Bytes of the elements, or of the parts that a tensor consists of.
[[nodiscard]] std::uint64_t bytes_of(const tensor_data& data) noexcept;

/// Calls `visit` with what reading a tensor and its parts will touch in files, as `storage_source::find_touched` does.
void find_touched_bytes(const tensor_data& data, const storage_source& source, range_visitor visit);

/// Copies tensors with their parts, for a `storage_source` with other storage numbers. Parts that several tensors share
/// are copied once.
class part_copies {
  public:
    explicit part_copies(arena& memory) noexcept : memory_{memory} {}

    /// Calls `change(tensor_data&)` for `data`, and for copies of all parts below it. `from`: the storages of the
    /// original.
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
    growing_index_table table_{}; // over known_
};

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/parts.ipp>
#endif
