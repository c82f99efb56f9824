// ckpt/state/key_families.hpp: keys that differ in their numbers only.
//
// SPDX-License-Identifier: MIT
// In:      names with their shapes.
// Out:     families: `layers.0.fc.weight` and `layers.1.fc.weight` are one, with the numbers 0 and 1.
// Refuses: nothing. Names with control characters belong to no family: no rule can spell them.
#pragma once

#include <ckpt/core/hash.hpp>
#include <ckpt/state/word_table.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// What is a number in a key: digits anywhere, whole segments of digits, or nothing.
enum class family_grain : std::uint8_t { digits, segments, literal };

/// Stands in a pattern for each number of a key.
inline constexpr char number_mark = '\x01';

/// A key with a mark for each number, and the numbers.
struct key_form {
    std::string pattern{};
    std::vector<std::int64_t> numbers{};
};
[[nodiscard]] key_form form_of(std::string_view key, family_grain grain);
/// How many numbers a pattern has.
[[nodiscard]] std::size_t count_marks(std::string_view pattern) noexcept;

/// A shape where it is known.
using known_shape = std::optional<std::vector<std::int64_t>>;
/// Whether two shapes are equal, as far as they are known.
[[nodiscard]] inline bool shapes_agree(const known_shape& a, const known_shape& b) noexcept {
    return !a || !b || *a == *b;
}

/// A key that is there or wanted. Rules about prefixes change its name while suggestions are looked for.
struct family_key {
    std::string name{};
    known_shape shape{};
    bool matched{false};
};

/// Keys that differ in their numbers only, by their places among all keys.
struct key_family {
    std::string pattern{};
    std::vector<std::uint32_t> members{};             ///< in the order of their numbers
    std::vector<std::vector<std::int64_t>> numbers{}; ///< of each member
    std::vector<std::uint32_t> words{};
    std::array<std::uint64_t, 3> stems{}; ///< hashes of the pattern without its last one, two and three segments
    std::uint32_t leaf{0};                ///< what the last word means: 1 weight, 2 bias, 3 to 5 of norms; 0: unknown
    std::uint64_t fingerprint{};          ///< of the numbers of members and of their numbers, and of shapes
};

/// The families of the keys that are not matched. `shapes`: whether the fingerprints tell shapes apart.
[[nodiscard]] std::vector<key_family> families_of(const std::vector<family_key>& keys, family_grain grain, bool shapes,
                                                  word_table& words);

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

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/key_families.ipp>
#endif
