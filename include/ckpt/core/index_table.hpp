// ckpt/core/index_table.hpp: finds numbered items by a hash of what they are.
//
// SPDX-License-Identifier: MIT
// In:      hashes, numbers, and functions that compare items: the items themselves lie with the caller.
// Out:     the number of an equal item.
// Refuses: nothing. Who reads from a file how items are called bounds the steps, and does something else past them.
//
// Open addressing. A slot holds an item's number in its low bits, and in those that are left bits of its hash, so that
// nearly every comparison that is made is one of equal items.
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

    /// The slots that so many items need: a power of two, at least half of them free.
    [[nodiscard]] static constexpr std::size_t slots_for(std::size_t items) noexcept {
        return std::bit_ceil(items < 4 ? std::size_t{8} : items * 2);
    }

    index_table() noexcept = default;
    /// For items with numbers below `numbers`, which is at most 2^31 - 1. Takes and empties `slots`, a power of two of
    /// them; at least one stays free.
    index_table(std::span<std::uint32_t> slots, std::size_t numbers) noexcept;

    /// The item for which `equal(item)` holds, or `none`: there is none within `steps` slots.
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

    /// Puts an item in unless there is an equal one: gives the one that is there then. `none` where more than `most`
    /// taken slots would have to be passed: somebody chose what hashes alike.
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
    /// Taken slots that were passed by all insertions so far.
    [[nodiscard]] std::size_t passed() const noexcept { return passed_; }

    /// Takes an item out; its slot stays taken. False where it is not in.
    bool erase(std::uint64_t hash, std::uint32_t item) noexcept;

    /// Calls `f(item)` for the items that are in, in no particular order.
    template <class F> void each(const F& f) const {
        for (const std::uint32_t slot : slots_)
            if (slot != none && number(slot) != low_bits_) f(number(slot));
    }

  private:
    [[nodiscard]] std::uint32_t number(std::uint32_t slot) const noexcept { return slot & low_bits_; }
    [[nodiscard]] std::uint32_t tag(std::uint64_t hash) const noexcept {
        return static_cast<std::uint32_t>(hash >> 32) & ~low_bits_;
    }
    /// An item that was taken out has all low bits set, which no number has.
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

    /// Makes room for so many items in all, with numbers below that.
    template <class HashOf> void reserve(std::size_t items, const HashOf& hash_of) {
        rebuild(index_table::slots_for(items), items, hash_of);
    }

    /// The item for which `equal(item)` holds, or `none`.
    template <class Equal> [[nodiscard]] std::uint32_t find(std::uint64_t hash, const Equal& equal) const {
        return table_.find(hash, equal);
    }
    /// Puts an item in unless there is an equal one: gives the one that is there then.
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
    /// Takes an item out, if it is in.
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
    std::size_t taken_{0}; ///< slots that are not free: those of items that were taken out, too
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/index_table.ipp>
#endif
