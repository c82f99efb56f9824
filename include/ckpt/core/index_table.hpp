// ckpt/core/index_table.hpp: a hash table of item numbers.
//
// SPDX-License-Identifier: MIT
// In:      hashes, item numbers, and functions that compare items. The caller keeps the items themselves.
// Out:     the number of an equal item.
// Refuses: nothing. A caller whose keys come from a file limits the number of steps, and has another way to go on.
//
// Open addressing. The low bits of a slot are an item's number, its other bits are taken from the item's hash, so that
// nearly every call of `equal` compares equal items.
#pragma once

#include <ckpt/core/config.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// A table over slots that lie elsewhere, in an arena for example. Trivially copyable.
class index_table {
  public:
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    /// The number of slots for so many items: a power of two, of which at least half stay free.
    [[nodiscard]] static constexpr std::size_t slots_for(std::size_t items) noexcept {
        return std::bit_ceil(items < 4 ? std::size_t{8} : items * 2);
    }

    index_table() noexcept = default;
    /// For items with numbers below `numbers`, which is at most 2^31 - 1. Empties `slots` and refers to them; their
    /// number is a power of two, and the caller leaves at least one free.
    index_table(std::span<std::uint32_t> slots, std::size_t numbers) noexcept;

    /// The item for which `equal(item)` holds, or `none` where the first `steps` slots do not have it.
    template <class Equal>
    [[nodiscard]] std::uint32_t find(std::uint64_t hash, const Equal& equal,
                                     std::size_t steps = ~std::size_t{0}) const {
        if (slots_.empty()) return none;
        const std::size_t mask = slots_.size() - 1;
        std::size_t at = static_cast<std::size_t>(hash) & mask;
        for (std::size_t step = 1; step <= steps; ++step) {
            const std::uint32_t slot = slots_[at];
            if (slot == none) return none;
            if (holds(slot, hash) && equal(number(slot))) return number(slot);
            at = (at + step) & mask; // triangular: visits every slot
        }
        return none;
    }

    /// Inserts an item and returns it, or returns the equal item that is there already. Returns `none` after more than
    /// `most` taken slots: the keys were chosen to collide.
    template <class Equal>
    [[nodiscard]] std::uint32_t insert(std::uint64_t hash, std::uint32_t item, const Equal& equal,
                                       std::size_t most = ~std::size_t{0}) {
        const std::size_t mask = slots_.size() - 1;
        std::size_t at = static_cast<std::size_t>(hash) & mask;
        for (std::size_t step = 1;; ++step) {
            const std::uint32_t slot = slots_[at];
            if (slot == none) {
                slots_[at] = tag(hash) | item;
                return item;
            }
            if (holds(slot, hash) && equal(number(slot))) return number(slot);
            ++passed_;
            if (step > most) return none;
            at = (at + step) & mask;
        }
    }
    /// The number of taken slots that all insertions have passed so far.
    [[nodiscard]] std::size_t passed() const noexcept { return passed_; }

    /// Removes an item; its slot stays taken. False where the table does not have it.
    bool erase(std::uint64_t hash, std::uint32_t item) noexcept;

    /// Calls `f(item)` for all items, in no particular order.
    template <class F> void each(const F& f) const {
        for (const std::uint32_t slot : slots_)
            if (slot != none && number(slot) != low_bits_) f(number(slot));
    }

  private:
    [[nodiscard]] std::uint32_t number(std::uint32_t slot) const noexcept { return slot & low_bits_; }
    [[nodiscard]] std::uint32_t tag(std::uint64_t hash) const noexcept {
        return static_cast<std::uint32_t>(hash >> 32) & ~low_bits_;
    }
    /// A removed item leaves all low bits set; no item has this number.
    [[nodiscard]] bool holds(std::uint32_t slot, std::uint64_t hash) const noexcept {
        return ((slot ^ static_cast<std::uint32_t>(hash >> 32)) & ~low_bits_) == 0 && number(slot) != low_bits_;
    }

    std::span<std::uint32_t> slots_{};
    std::size_t passed_{0};
    std::uint32_t low_bits_{0};
};

/// A table that grows with its items. `hash_of(item)` is the hash under which an item was put in.
class growing_index_table {
  public:
    static constexpr std::uint32_t none = index_table::none;

    growing_index_table() = default;
    growing_index_table(const growing_index_table&) = delete;
    growing_index_table& operator=(const growing_index_table&) = delete;
    ~growing_index_table() = default;

    /// Makes room for `items` items in all, with numbers below `items`.
    template <class HashOf> void reserve(std::size_t items, const HashOf& hash_of) {
        rebuild(index_table::slots_for(items), items, hash_of);
    }

    /// The item for which `equal(item)` holds, or `none`.
    template <class Equal> [[nodiscard]] std::uint32_t find(std::uint64_t hash, const Equal& equal) const {
        return table_.find(hash, equal);
    }
    /// Inserts an item and returns it, or returns the equal item that is there already.
    template <class Equal, class HashOf>
    [[nodiscard]] std::uint32_t insert(std::uint64_t hash, std::uint32_t item, const Equal& equal,
                                       const HashOf& hash_of) {
        if (item >= numbers_ || 2 * (taken_ + 1) > slots_.size())
            rebuild(index_table::slots_for(2 * (items_ + 1)), item < numbers_ ? numbers_ : 2 * (std::size_t{item} + 8),
                    hash_of);
        const std::uint32_t found = table_.insert(hash, item, equal);
        if (found == item) {
            ++items_;
            ++taken_;
        }
        return found;
    }
    /// Removes an item, if the table has it.
    void erase(std::uint64_t hash, std::uint32_t item) noexcept { items_ -= table_.erase(hash, item) ? 1u : 0u; }

  private:
    template <class HashOf> void rebuild(std::size_t slot_count, std::size_t numbers, const HashOf& hash_of) {
        std::vector<std::uint32_t> slots(slot_count);
        index_table grown{slots, numbers};
        table_.each(
            [&](std::uint32_t item) { (void)grown.insert(hash_of(item), item, [](std::uint32_t) { return false; }); });
        slots_.swap(slots);
        table_ = grown;
        numbers_ = numbers;
        taken_ = items_;
    }

    std::vector<std::uint32_t> slots_{};
    index_table table_{};
    std::size_t numbers_{0};
    std::size_t items_{0};
    std::size_t taken_{0}; ///< slots that are not free, including those of removed items
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/index_table.ipp>
#endif
