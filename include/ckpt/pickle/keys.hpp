// ckpt/pickle/keys.hpp: equality of dictionary keys and set elements, as Python sees it.
//
// SPDX-License-Identifier: MIT
// In:      containers of a resolved graph.
// Out:     the same containers without doubles.
// Refuses: more comparing than the work budget allows (keys that are large shared tuples or texts); keys that a call
//          made and that Python cannot hash.
//
// True, 1 and 1.0 are one key. Strings are equal by content, tuples element by element, objects by identity.
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
    key_table(const graph& g, std::uint64_t& work) noexcept : graph_{g}, work_{work} {}

    /// Makes the keys of a container (every `stride`th element) unique. Fails with `limit` or `unhashable_key`.
    [[nodiscard]] errc unique(container& c, std::uint32_t stride);

  private:
    static constexpr std::uint32_t none = index_table::none;
    static constexpr std::size_t most_steps = 63;

    [[nodiscard]] bool charge(std::uint64_t n) noexcept {
        if (n > work_) {
            work_ = 0;
            spent_ = true;
            return false;
        }
        work_ -= n;
        return true;
    }
    /// Text may be shared by many containers, and is read each time: long ones cost.
    [[nodiscard]] bool charge_text(const node& n) noexcept { return charge(n.a / 16); }

    void place(container& c, std::uint32_t stride, std::uint32_t from, std::uint32_t found) noexcept;
    [[nodiscard]] std::uint32_t find_short(const container& c, std::uint32_t stride, std::uint32_t i);
    /// More than `most_steps` slots that are taken mean that somebody chose the keys for their hashes.
    [[nodiscard]] std::uint32_t find_hashed(const container& c, std::uint32_t stride, std::uint32_t i, std::uint64_t h);

    /// n log n whatever the keys are: orders positions by hash, then compares inside runs of one hash, whose length is
    /// paid for from the work budget. Before `from` the elements are compacted to `kept_`; the rest was not looked at.
    [[nodiscard]] bool unique_sorted(container& c, std::uint32_t stride, std::uint32_t from, std::uint32_t n);

    [[nodiscard]] bool number(const node& n, std::int64_t& whole, double& part) const noexcept;

    /// By bits, so that no compiler setting makes a NaN equal to anything.
    [[nodiscard]] static bool same_real(double a, double b) noexcept;
    [[nodiscard]] std::uint64_t hash_leaf(std::uint32_t index) noexcept;
    [[nodiscard]] std::uint64_t hash(std::uint32_t index) noexcept;

    [[nodiscard]] bool equal_leaf(std::uint32_t a, std::uint32_t b) noexcept;
    [[nodiscard]] bool equal(std::uint32_t a, std::uint32_t b);

    const graph& graph_;
    std::uint64_t& work_;
    std::vector<std::uint32_t> slots_{};
    index_table table_{};
    std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs_{};
    std::uint32_t kept_{0};
    bool crowded_{false};
    bool spent_{false};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/pickle/impl/keys.ipp>
#endif
