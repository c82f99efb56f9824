// ckpt/state/gather_read.hpp: reads the elements of a gather plan's nodes.
//
// SPDX-License-Identifier: MIT
// In:      a plan, a node, a range or a region of its elements.
// Out:     the elements, written straight into the caller's memory, in native byte order.
// Refuses: what a file or a storage refuses; values that a cast would lose.
//
// A region goes down the plan: each operation says which region of its parts it is, and a leaf copies it from its
// storage. Beside the destination there are bounded buffers for each cast, product, dequantisation or unmapped piece on
// the way. Compressed storages are gone through in their order as far as one read reaches, so that it inflates each
// once.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/state/gather_region.hpp>
#include <ckpt/tensor/access.hpp>
#include <ckpt/tensor/storage.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class gather_plan;
struct gather_node;

class gather_reader {
  public:
    gather_reader(const gather_plan& plan, storage_readers& leaves) noexcept : plan_{plan}, leaves_{leaves} {}

    /// Writes elements [first, first + n) of a node, counted in row-major order, to `out`.
    [[nodiscard]] result<void> read(std::uint32_t of, std::uint64_t first, std::uint64_t n, std::byte* out) const;

  private:
    [[nodiscard]] result<void> fetch(std::uint32_t of, const gather_region& region, std::byte* out) const;
    [[nodiscard]] result<void> fetch_leaf(const gather_node& node, const gather_region& region, std::byte* out) const;
    [[nodiscard]] result<void> fetch_reshaped(const gather_node& node, const gather_region& region,
                                              std::byte* out) const;
    [[nodiscard]] result<void> fetch_parts(const gather_node& node, const gather_region& region, std::byte* out) const;
    [[nodiscard]] result<void> fetch_boxes(const gather_node& node, const gather_region& region, std::byte* out) const;
    [[nodiscard]] result<void> fetch_padded(const gather_node& node, const gather_region& region, std::byte* out) const;
    static void fetch_value(const gather_node& node, const gather_region& region, std::byte* out) noexcept;
    [[nodiscard]] result<void> fetch_cast(const gather_node& node, const gather_region& region, std::byte* out) const;
    /// Casts from memory straight to where the elements belong; false where they do not lie there in rows.
    [[nodiscard]] result<bool> cast_rows(const gather_node& node, const gather_region& region, std::byte* out) const;
    [[nodiscard]] result<void> fetch_product(const gather_node& node, const gather_region& region,
                                             std::byte* out) const;
    [[nodiscard]] result<void> fetch_times(const gather_node& node, const gather_region& region, std::byte* out) const;
    [[nodiscard]] result<void> fetch_numbers(const gather_node& node, const gather_region& region,
                                             std::byte* out) const;
    /// The integers of a quantised leaf, each in 32 bits. `stored`: room for the elements as they are stored.
    [[nodiscard]] result<void> fetch_integers(std::uint32_t leaf, const gather_region& region,
                                              std::vector<std::byte>& stored, std::vector<std::int32_t>& out) const;

    /// The order in which pieces of a node go through its storage from its begin to its end.
    [[nodiscard]] axis_order order_of(const gather_node& node) const noexcept;

    const gather_plan& plan_;
    storage_readers& leaves_;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/gather_read.ipp>
#endif
