// ckpt/state/suggest_families.hpp: finds which family of keys becomes which, one to one.
//
// SPDX-License-Identifier: MIT
// In:      a suggestion with keys that are not matched.
// Out:     its links of renames: by the words of names where those agree best on both sides, or by shape and position.
// Refuses: pairs whose numbers or shapes disagree, also those of the weight that a bias goes with.
//
// Work is bounded by the number of keys, not by its square: families of one fingerprint are compared, and where those
// are many, such as have a rare word in common.
#pragma once

#include <ckpt/state/name_matcher.hpp>
#include <ckpt/state/suggestion.hpp>

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class family_matcher {
  public:
    family_matcher(suggestion& to, family_grain grain);

    /// Links families by the words of their names.
    void match_by_name(name_evidence least);
    /// Links families that are the only ones of their shapes, or that stand at the same place among as many.
    void match_by_position();

  private:
    /// Families of both sides, by their numbers in s_ and t_.
    using bucket = std::pair<std::vector<std::uint32_t>, std::vector<std::uint32_t>>;

    void take(std::uint32_t s, std::uint32_t t, surety sure);
    void add_candidates(const bucket& of, name_matcher& out) const;
    void add_candidate(std::uint32_t s, std::uint32_t t, name_matcher& out) const;

    suggestion& to_;
    family_grain grain_;
    bool shapes_known_{true}; ///< of all keys that are not matched: shapes can tell families apart
    std::vector<key_family> s_{};
    std::vector<key_family> t_{};
    std::unordered_map<std::uint64_t, bucket> buckets_{}; ///< by fingerprint
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/suggest_families.ipp>
#endif
