// ckpt/state/suggest_families.hpp: finds which family of keys becomes which, one to one.
//
// SPDX-License-Identifier: MIT
// In:      a suggestion with keys that are not matched.
// Out:     its links of renames: by the words of names where those agree best on both sides, or by shape and position.
// Refuses: pairs whose numbers or shapes disagree, and such as another pair is nearly as good as.
//
// What was matched tells how its neighbours are called, so the surest pairs are taken first. Work is bounded by the
// number of keys, not by its square: families of one fingerprint are compared, and where those are many, such as have a
// rare word in common.
#pragma once

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
    void match_by_name();
    /// Links families that are the only ones of their shapes, or that stand at the same place among as many.
    void match_by_position();

  private:
    static constexpr std::uint32_t nothing = ~std::uint32_t{0};

    /// Families of both sides, by their numbers in s_ and t_.
    using bucket = std::pair<std::vector<std::uint32_t>, std::vector<std::uint32_t>>;
    struct candidate {
        std::uint32_t s{};
        std::uint32_t t{};
        float score{};
    };
    /// The best candidate of a family, and the score of the second best.
    struct choice {
        float score{-1};
        float next{-1};
        std::uint32_t which{nothing};

        void offer(float to_score, std::uint32_t to_which) noexcept;
    };

    void take(std::uint32_t s, std::uint32_t t, surety sure);

    [[nodiscard]] std::vector<candidate> candidates() const;
    void add_candidates(const bucket& of, std::vector<candidate>& out) const;
    void add_candidate(std::uint32_t s, std::uint32_t t, std::vector<candidate>& out) const;
    /// Links the pairs that are each other's best by a margin, and at least `least`. Whether there was one.
    bool take_best(const std::vector<candidate>& open, float least);

    suggestion& to_;
    family_grain grain_;
    bool shapes_known_{true}; ///< of all keys that are not matched: shapes can tell families apart
    std::vector<key_family> s_{};
    std::vector<key_family> t_{};
    std::vector<float> worth_{};                          ///< of words
    std::unordered_map<std::uint64_t, bucket> buckets_{}; ///< by fingerprint
    std::vector<char> s_done_{};
    std::vector<char> t_done_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/suggest_families.ipp>
#endif
