// ckpt/state/word_table.hpp: the words that names of parameters are made of.
//
// SPDX-License-Identifier: MIT
// In:      names: "encoder.layers.self_attn.q_proj.weight".
// Out:     their words as numbers, those that mean the same under one: "layers" and "blocks". Which words exclude each
//          other: "self" and "cross".
// Refuses: nothing.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// What stands beside a segment, in the module that it is in. Bits.
enum module_roles : std::uint8_t {
    has_self_attention = 1,
    has_cross_attention = 2,
    has_mlp = 4,
    has_intermediate = 8, ///< of BERT: "output" beside it is the second matrix of the MLP
    has_third_norm = 16,  ///< "norm3": a block of attention, cross attention and MLP
    any_role = 7,
};
struct module_neighbours {
    std::uint8_t roles{};  ///< module_roles
    std::uint16_t norms{}; ///< modules in it whose weight is a vector; 0: unknown
};

class word_table {
  public:
    word_table();

    /// Adds the words of a segment. `beside`: of the module that it is in, which tells "norm2" of a block with cross
    /// attention from that of one without.
    void add_segment(std::string_view segment, const module_neighbours& beside, std::vector<std::uint32_t>& out);
    /// Adds a word as it is, no synonym of another.
    void add_word(std::string_view word, std::vector<std::uint32_t>& out);
    /// Adds what a number says where it names one of different modules: the words that it belongs to, the number, and
    /// which numbers there are.
    void add_number(std::vector<std::uint32_t> of, std::int64_t number, std::uint64_t all,
                    std::vector<std::uint32_t>& out);
    /// Gives words of a whole name their meaning: what leads out of an MLP is its matrix "down", a
    /// projection of an attention that is none of q, k and v leads out of it.
    static void settle(std::vector<std::uint32_t>& words);
    /// Whether a word is one of those.
    [[nodiscard]] bool is_number(std::uint32_t word) const noexcept {
        return word < numbers_.size() && numbers_[word] != 0;
    }
    /// What a segment tells of the module that it is in: module_roles.
    [[nodiscard]] std::uint8_t roles_of(std::string_view segment);
    /// How many different words were met.
    [[nodiscard]] std::size_t size() const noexcept { return known_.size(); }

    /// Words that exclude each other have the same number here, all others 0.
    [[nodiscard]] static std::uint8_t slot_of(std::uint32_t word) noexcept;
    /// Whether a word means one of several equals: "text", "cross", "q". A name without it may mean another of them.
    [[nodiscard]] static bool decides(std::uint32_t word) noexcept;
    /// Whether a word means a norm, and whether it means one of the matrices of an attention or an MLP.
    [[nodiscard]] static bool is_norm(std::uint32_t word) noexcept;
    [[nodiscard]] static bool is_matrix(std::uint32_t word) noexcept;
    /// Whether a word tells nothing: "layer", "proj".
    [[nodiscard]] static bool is_generic(std::uint32_t word) noexcept;

  private:
    [[nodiscard]] std::vector<std::uint32_t> words_of(std::string_view segment, const module_neighbours& beside);
    /// Words that are separated by blanks.
    [[nodiscard]] std::vector<std::uint32_t> known_words(std::string_view means);
    void add_known(std::string_view means, std::vector<std::uint32_t>& out);

    std::unordered_map<std::string, std::uint32_t> known_{};
    std::vector<char> numbers_{};                                            ///< by words
    std::unordered_map<std::string, std::vector<std::uint32_t>> segments_{}; ///< what add_segment gave before
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/word_table.ipp>
#endif
