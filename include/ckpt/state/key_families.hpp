// ckpt/state/key_families.hpp: keys that differ in their numbers only.
//
// SPDX-License-Identifier: MIT
// In:      names with their shapes.
// Out:     families: `layers.0.fc.weight` and `layers.1.fc.weight` are one, with the numbers 0 and 1; how alike two of
//          them are.
// Refuses: nothing. Names with control characters belong to no family: no rule can spell them.
#pragma once

#include <ckpt/core/hash.hpp>
#include <ckpt/state/key_structure.hpp>
#include <ckpt/state/word_table.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// What is a number in a key: what counts equal modules, digits anywhere, whole segments of digits, or nothing.
enum class family_grain : std::uint8_t { modules, digits, segments, literal };

/// A key with a mark for each number, and the numbers.
struct key_form {
    std::string pattern{};
    std::vector<std::int64_t> numbers{};
};
[[nodiscard]] key_form form_of(std::string_view key, family_grain grain, const key_structure& structure);
/// How many numbers a pattern has.
[[nodiscard]] std::size_t count_marks(std::string_view pattern) noexcept;

/// Whether two shapes are equal, as far as they are known.
[[nodiscard]] inline bool shapes_agree(const known_shape& a, const known_shape& b) noexcept {
    return !a || !b || *a == *b;
}

/// Keys that differ in their numbers only, by their places among all keys.
struct key_family {
    std::string pattern{};
    std::vector<std::uint32_t> members{};             ///< in the order of their numbers
    std::vector<std::vector<std::int64_t>> numbers{}; ///< of each member
    std::vector<std::uint32_t> words{};               ///< sorted
    std::vector<std::uint32_t> ends{};                ///< words of the last three segments
    std::array<std::uint64_t, 3> stems{}; ///< hashes of the pattern without its last one, two and three segments
    std::uint64_t block{};                ///< hash of the pattern up to its last number; 0: it has none
    std::uint64_t indices{};              ///< hash of numbers that count equal modules, and are no marks; 0: none
    std::uint64_t beside{};               ///< hash of the sizes of the weight in the same module; 0: unknown
    std::uint32_t leaf{0};                ///< what the last word means: 1 weight, 2 bias, 3 to 5 of norms; 0: unknown
    std::uint64_t fingerprint{};          ///< of the numbers of members and of their numbers, and of shapes
};

/// The hash of a pattern up to its last number; 0: it has none.
[[nodiscard]] std::uint64_t block_of(std::string_view pattern) noexcept;

/// The families of the keys that are not matched. `shapes`: whether the fingerprints tell shapes apart.
[[nodiscard]] std::vector<key_family> families_of(const std::vector<family_key>& keys, family_grain grain, bool shapes,
                                                  const key_structure& structure, word_table& words);

/// Mixes a number into a hash.
inline void add_number(std::uint64_t& hash, std::uint64_t n) noexcept {
    hash = mix(hash * 0x9E37'79B9'7F4A'7C15u + n + 1);
}

/// Whether each member of `s` has its place in `t`, the same distance away for all, in the same order.
[[nodiscard]] bool aligned(const key_family& s, const key_family& t) noexcept;
/// Whether what the last words mean differs, as far as it is known.
[[nodiscard]] inline bool leaves_differ(const key_family& s, const key_family& t) noexcept {
    return s.leaf != t.leaf && s.leaf != 0 && t.leaf != 0;
}

/// What each word is worth by its number: the fewer families have it, the more.
[[nodiscard]] std::vector<float> worth_of_words(const std::vector<key_family>& s, const std::vector<key_family>& t,
                                                const word_table& words);
/// Words in common, those that are worth more counting more; 0 to 1.
[[nodiscard]] float similarity(const key_family& s, const key_family& t, const std::vector<float>& worth) noexcept;
/// Whether the names exclude each other: "self" and "cross".
[[nodiscard]] bool words_conflict(const key_family& s, const key_family& t) noexcept;
/// Whether a sorted list has a word.
[[nodiscard]] inline bool has_word(const std::vector<std::uint32_t>& words, std::uint32_t word) noexcept {
    return std::binary_search(words.begin(), words.end(), word);
}
/// How many of some words a family has not, but for such as tell nothing or stand in most names.
[[nodiscard]] std::size_t words_beyond(const std::vector<std::uint32_t>& words, const key_family& f,
                                       const std::vector<char>& common) noexcept;

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/key_families.ipp>
#endif
