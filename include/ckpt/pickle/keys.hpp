// ckpt/pickle/keys.hpp: removes duplicate dictionary keys and set elements, as Python compares them.
//
// SPDX-License-Identifier: MIT
// In:      containers of a resolved graph.
// Out:     the same containers without duplicates.
// Refuses: more comparisons than the work budget allows (large shared tuples or texts as keys); results of calls that
//          Python cannot hash.
//
// True, 1 and 1.0 are one key. Strings are equal by content, tuples element by element, frozensets whatever their
// order, objects by identity.
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/hash.hpp>
#include <ckpt/core/index_table.hpp>
#include <ckpt/pickle/graph.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class key_table {
  public:
    key_table(graph& g, std::uint64_t& work) noexcept : graph_{g}, work_{work} {}

    /// Removes duplicate keys from a container, where every `stride`th element is a key. Returns `none`, `limit` or
    /// `unhashable_key`.
    [[nodiscard]] errc unique(container& c, std::uint32_t stride);
    /// As `unique` of single elements. `times` gets how often each one was there, of those that stay.
    [[nodiscard]] errc count(container& c, std::vector<std::uint32_t>& times);

  private:
    static constexpr std::uint32_t none = index_table::none;
    static constexpr std::size_t most_steps = 63;
    static constexpr unsigned most_depth = 16;

    [[nodiscard]] bool charge(std::uint64_t n) noexcept {
        if (n > work_) {
            work_ = 0;
            spent_ = true;
            return false;
        }
        work_ -= n;
        return true;
    }
    /// Charges for reading a text, because many containers may share a long one.
    [[nodiscard]] bool charge_text(const node& n) noexcept { return charge(n.a / 16); }

    void place(container& c, std::uint32_t stride, std::uint32_t from, std::uint32_t found) noexcept;
    [[nodiscard]] std::uint32_t find_short(const container& c, std::uint32_t stride, std::uint32_t i);
    /// Sets `crowded_` after more than `most_steps` taken slots: the keys were chosen to collide.
    [[nodiscard]] std::uint32_t find_hashed(const container& c, std::uint32_t stride, std::uint32_t i, std::uint64_t h);

    /// Takes n log n for any keys: sorts positions by hash, then compares those with equal hashes, for which it charges
    /// the work budget. Elements before `from` are compacted to `kept_` already; the others are not processed yet.
    [[nodiscard]] bool unique_sorted(container& c, std::uint32_t stride, std::uint32_t from, std::uint32_t n);

    /// Whether Python can hash the key, now that calls in it were resolved. Each tuple is checked once.
    [[nodiscard]] bool hashable(std::uint32_t index);

    /// The number of a node: an integer of 64 bits, or else a double. False where it is neither exactly.
    [[nodiscard]] bool number(const node& n, std::int64_t& whole, double& part) const noexcept;

    /// Compares bits, so that -ffast-math does not make a NaN equal to anything.
    [[nodiscard]] static bool same_real(double a, double b) noexcept;
    [[nodiscard]] std::uint64_t hash_text(const node& n) noexcept {
        return charge_text(n) ? hash_bytes(graph::text_of(n)) + static_cast<std::uint64_t>(n.kind) : 0;
    }
    [[nodiscard]] std::uint64_t hash_leaf(std::uint32_t index) noexcept;
    [[nodiscard]] std::uint64_t hash(std::uint32_t index) noexcept;

    [[nodiscard]] bool equal_leaf(std::uint32_t a, std::uint32_t b) noexcept;
    /// Recurses through frozensets in frozensets, `most_depth` deep; deeper ones count as a spent budget.
    [[nodiscard]] bool equal(std::uint32_t a, std::uint32_t b, unsigned depth = 0);
    [[nodiscard]] bool equal_sets(const node& a, const node& b, unsigned depth);

    graph& graph_;
    std::uint64_t& work_;
    std::vector<std::uint32_t> slots_{};
    index_table table_{};
    std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs_{};
    std::vector<std::uint32_t>* times_{nullptr}; ///< of `count`: how often each kept element was there
    std::uint32_t kept_{0};
    bool crowded_{false};
    bool spent_{false};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/pickle/impl/keys.ipp>
#endif
