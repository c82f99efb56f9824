// ckpt/state/remap_keys.hpp: the keys that stand in a state_dict while rules run over it.
//
// SPDX-License-Identifier: MIT
// In:      items of a remap_record, put in and taken out.
// Out:     their order, and the item of a name.
// Refuses: nothing. Of two items with one name the table holds the first.
//
// The order is a linked list, so that moved keys keep their places. The names are in a hash table, so that a rule about
// one key costs the same among a hundred thousand.
#pragma once

#include <ckpt/core/hash.hpp>
#include <ckpt/core/index_table.hpp>
#include <ckpt/state/remap_record.hpp>

#include <cstdint>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class remap_keys {
  public:
    explicit remap_keys(chunked_array<remap_item>& items) : items_{items} {}

    /// Lists and enters all items but item 0, which becomes the end of the list.
    void enter_all();

    [[nodiscard]] std::uint32_t first() const noexcept { return items_[0].next; }
    [[nodiscard]] std::uint32_t last() const noexcept { return items_[0].prev; }
    [[nodiscard]] std::uint32_t after(std::uint32_t item) const noexcept { return items_[item].next; }
    void link_after(std::uint32_t item, std::uint32_t at);
    void unlink(std::uint32_t item);
    /// By item, where it stands in the list, from 1; 0 for those that do not.
    [[nodiscard]] std::vector<std::uint32_t> places() const;

    /// The item that the table holds under a name; 0 where there is none.
    [[nodiscard]] std::uint32_t find(std::string_view name) const noexcept;
    /// Enters an item under its name. Returns 0, or the item that already has the name.
    [[nodiscard]] std::uint32_t insert(std::uint32_t item);
    /// Takes out an item that was entered.
    void erase(std::uint32_t item) noexcept;

  private:
    [[nodiscard]] std::uint64_t hash_of(std::uint32_t item) const noexcept { return hash_bytes(items_[item].name); }

    chunked_array<remap_item>& items_;
    growing_index_table table_{}; ///< of names
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/remap_keys.ipp>
#endif
