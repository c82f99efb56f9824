// ckpt/state/suggest_fused.hpp: finds queries, keys and values that are one tensor on the other side.
//
// SPDX-License-Identifier: MIT
// In:      a suggestion with keys that are not matched.
// Out:     its links of merges, where the state_dict has three tensors and one is wanted, and of splits.
// Refuses: tensors whose rows one after another do not have the shape of the whole, and names too far apart.
#pragma once

#include <ckpt/state/name_matcher.hpp>
#include <ckpt/state/suggestion.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class fused_matcher {
  public:
    /// `merges`: the sources are the parts and the targets the wholes; else the reverse.
    fused_matcher(suggestion& to, family_grain grain, bool merges);

    void run(name_evidence least);

  private:
    /// Families of queries, keys and values, by their numbers in parts_.
    using triple = std::array<std::uint32_t, 3>;
    [[nodiscard]] std::vector<triple> find_triples() const;
    /// A triple as if it were one family, and a whole, without their words for queries, keys and values.
    [[nodiscard]] key_family unit_of(const triple& parts) const;
    [[nodiscard]] key_family unit_of(const key_family& whole) const;
    void add_candidates(std::uint32_t number, name_matcher& out) const;
    /// Whether the rows of three families one after another are those of the whole, member by member.
    [[nodiscard]] bool adds_up(const triple& parts, const key_family& whole) const;
    /// A hash of a shape and of how many members have shapes.
    [[nodiscard]] static std::uint64_t shape_key(const std::vector<std::int64_t>& shape, std::size_t count) noexcept;
    void take(std::uint32_t number, std::uint32_t whole, surety sure);

    suggestion& to_;
    family_grain grain_;
    bool merges_;
    const std::vector<family_key>& part_keys_;
    const std::vector<family_key>& whole_keys_;
    std::vector<key_family> parts_;
    std::vector<key_family> wholes_;
    std::vector<triple> triples_{};
    std::vector<key_family> triple_units_{};
    std::vector<key_family> whole_units_{};
    std::unordered_map<std::uint64_t, std::vector<std::uint32_t>>
        by_shape_{}; ///< wholes, by that of their first member
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/suggest_fused.ipp>
#endif
