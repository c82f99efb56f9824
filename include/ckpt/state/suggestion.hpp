// ckpt/state/suggestion.hpp: what suggest has found so far: which keys become which.
//
// SPDX-License-Identifier: MIT
// In:      the keys of a state_dict and the wanted ones.
// Out:     links: families of source keys and the families that they become. Each is one rule.
// Refuses: nothing.
#pragma once

#include <ckpt/core/hash.hpp>
#include <ckpt/state/key_families.hpp>
#include <ckpt/state/word_table.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

enum class link_kind : std::uint8_t { rename, merge, split };
/// What a link rests on: words that leave nothing else; the same, of square matrices among such as are transposed;
/// words that are only the best ones; that nothing else has the shape; the order alone. All but the first are guesses.
enum class surety : std::uint8_t { named, square, guess, alone, position };
/// Whether the members of two families have the shapes of each other, or of matrices that are transposed.
enum class shape_fit : std::uint8_t { none, equal, turned };

/// A rule: families and what they become. Several on the left of a merge, or on the right of a split.
struct family_link {
    link_kind kind{};
    surety sure{};
    family_grain grain{};
    bool turned{};                                        ///< the matrices are transposed first
    std::uint64_t block{};                                ///< of the source: key_family::block
    std::vector<std::string> from{};                      ///< patterns, by part
    std::vector<std::string> to{};                        ///< patterns, by part
    std::vector<std::int64_t> offsets{};                  ///< of each number, from source to target
    std::vector<std::optional<std::int64_t>> constants{}; ///< numbers of the source that are always the same
    std::vector<std::int64_t> sizes{};                    ///< of a split into unequal parts
    std::vector<std::vector<std::uint32_t>> sources{};    ///< keys, by part
    std::vector<std::vector<std::uint32_t>> targets{};    ///< keys, by part
};

struct suggestion {
    std::vector<family_key> sources{};
    std::vector<family_key> targets{};
    std::unordered_map<std::string_view, std::uint32_t> target_of{}; ///< by the names of `targets`
    std::vector<std::string> prefixes{};                             ///< rules about prefixes, as lines
    std::size_t equal{0};                                            ///< sources that are wanted as they are
    std::vector<family_link> links{};
    word_table words{};
    key_structure source_structure{};
    key_structure target_structure{};
    std::unordered_set<std::uint64_t>
        modules{}; ///< pairs of modules of which one was found to become the other, and each that has a tensor
    std::unordered_set<std::uint64_t> blocks{}; ///< the same of blocks, and each block by itself

    /// Looks at the names of both sides as they are now.
    void find_structure();

    /// Whether a key of this name and shape is wanted.
    [[nodiscard]] bool is_target(std::string_view name, const known_shape& shape) const;
    /// Marks the keys that are wanted under the names that they have, but for those whose neighbours tell that the name
    /// means something else.
    void match_equal();
    /// Marks the keys that `match_equal` left out for that, where nothing else became of them.
    void match_doubtful();
    /// Makes guesses of square matrices in blocks of which others are transposed.
    void doubt_squares();
    /// Makes guesses of weights and biases of one module that go to two, and of those that come to one from two.
    void doubt_torn_modules();
    /// Makes guesses of links between names that differ in their last digit or letter: `wi_0` and `wi_1`.
    void doubt_rivals();

    /// Whether two families agree in their numbers and shapes, member by member.
    [[nodiscard]] shape_fit fit(const key_family& s, const key_family& t) const noexcept;
    /// Remembers that the modules and the block of one became those of the other.
    void add_neighbours(const key_family& s, const key_family& t);
    /// Whether the block or the module of one was found to become another one than that of the other.
    [[nodiscard]] bool contradicts(const key_family& s, const key_family& t) const;
    /// Whether a block was surely found to become another one, or another one to become it.
    [[nodiscard]] bool knows_block(std::uint64_t block, bool source) const;
    void add_link(link_kind kind, surety sure, family_grain grain, const std::vector<const key_family*>& from,
                  const std::vector<const key_family*>& to);

    /// What is known of the neighbours: 1 where the same module came to the same module, less for the modules around
    /// it.
    [[nodiscard]] float neighbours(const key_family& s, const key_family& t) const;
    [[nodiscard]] static std::uint64_t pair_hash(std::uint64_t a, std::uint64_t b) noexcept {
        return mix(a ^ mix(b + 0x51ED));
    }
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/suggestion.ipp>
#endif
