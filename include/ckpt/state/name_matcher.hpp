// ckpt/state/name_matcher.hpp: decides by names which family of one side is which of the other.
//
// SPDX-License-Identifier: MIT
// In:      pairs of families that agree in numbers and shapes.
// Out:     sure pairs, whose names leave nothing else; then guesses.
// Refuses: pairs such as another one is nearly as good as.
//
// A pair is sure where every other candidate of both is excluded: by words that exclude each other ("self" and
// "cross"), by a block or a module that was surely found to be another one, or because the pair has more words in
// common. What was matched tells how its neighbours are called, so the surest pairs are taken first.
#pragma once

#include <ckpt/core/function_ref.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/state/suggestion.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// What a link by names needs: the same words; words in common that nothing else has; that nothing else is left; to be
/// the best guess. All but the last are sure.
enum class name_evidence : std::uint8_t { same, words, alone, best };

class name_matcher {
  public:
    /// Takes a pair: which of the first list, which of the second, and what it rests on.
    using taker = function_ref<void(std::uint32_t, std::uint32_t, surety)>;

    /// The lists must outlive the matcher.
    name_matcher(const suggestion& of, const std::vector<key_family>& s, const std::vector<key_family>& t);

    /// Adds a pair that fits, with how alike the names are. Beyond two million, pairs are left out.
    void add(std::uint32_t s, std::uint32_t t, float score);
    /// Says that not all pairs that fit were added, so that none is sure.
    void leave_out() noexcept { complete_ = false; }

    /// Calls `take` for the pairs for which there is as much evidence.
    void match(name_evidence least, const taker& take);

    [[nodiscard]] const std::vector<float>& worth() const noexcept { return worth_; }

  private:
    static constexpr std::uint32_t nothing = ~std::uint32_t{0};
    struct candidate {
        std::uint32_t s{};
        std::uint32_t t{};
        float score{};
        bool conflict{};
    };
    /// The best candidate of a family, and the score of the second best.
    struct choice {
        float score{-1};
        float next{-1};
        std::uint32_t which{nothing};

        void offer(float to_score, std::uint32_t to_which) noexcept;
    };

    /// The only block of which nothing is known; 0: there is none, or several.
    [[nodiscard]] std::uint64_t last_block(const std::vector<key_family>& all, bool source) const;
    /// Whether a word of `a` means one of several equals, and `b` does not say which.
    [[nodiscard]] bool decides(const key_family& a, const key_family& b) const;
    void match_sure(name_evidence least, const taker& take);
    void match_likely(const taker& take);
    void sort_candidates();
    void drop_done();
    /// The best pair of each family of the first list.
    [[nodiscard]] plain_list<choice> best(bool by_s) const;
    [[nodiscard]] bool is_sure(const candidate& c, name_evidence least) const;
    /// What `nearest` has in common with `of` that `farther` has not: words, numbers only, or nothing.
    enum class nearness : std::uint8_t { none, by_numbers, by_words };
    [[nodiscard]] nearness compare(const key_family& of, const key_family& nearest, const key_family& farther) const;
    /// Whether the words or the neighbours of `rival` say that it is another tensor than that of `nearest`. `nearer`
    /// is set where words say so, or numbers of names that end alike.
    [[nodiscard]] bool excluded(const candidate& nearest, const candidate& rival, bool same_s, bool& nearer) const;
    [[nodiscard]] bool take_best(float least, const taker& take);

    const suggestion& of_;
    const std::vector<key_family>& s_;
    const std::vector<key_family>& t_;
    bool complete_{true};          ///< whether all pairs that fit were added
    std::vector<float> worth_{};   ///< of words
    std::vector<char> common_s_{}; ///< words that most families have
    std::vector<char> common_t_{};
    plain_list<candidate> open_{};        ///< sorted by s, then t
    plain_list<std::uint32_t> by_t_{};    ///< numbers of open_, sorted by t
    plain_list<std::uint32_t> first_s_{}; ///< where the candidates of each s begin in open_
    plain_list<std::uint32_t> first_t_{}; ///< where those of each t begin in by_t_
    std::vector<char> s_done_{};
    std::vector<char> t_done_{};
    std::uint64_t last_s_{}; ///< the only block of which nothing is known
    std::uint64_t last_t_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/name_matcher.ipp>
#endif
