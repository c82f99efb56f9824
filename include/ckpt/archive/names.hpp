// ckpt/archive/names.hpp: rules for the names of records, and an index of them.
//
// SPDX-License-Identifier: MIT
// In:      names as byte strings, in the order of the directory.
// Out:     for each whether it may be used; the record with a given name; two records with the same name.
// Refuses: empty names, NUL, backslashes, absolute names, '..'; two names equal but for the case of ASCII letters
//          (PyTorch's reader ignores case, so such an archive has two meanings).
//
// A file can choose names that collide in the hash. An archive with more collisions than chance gives is indexed by a
// sorted list instead, so that the time stays bounded.
#pragma once

#include <ckpt/archive/record.hpp>
#include <ckpt/core/arena.hpp>
#include <ckpt/core/config.hpp>
#include <ckpt/core/index_table.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

inline constexpr std::uint64_t every_byte = 0x0101'0101'0101'0101u;

/// The eight bytes of `word` with ASCII letters in lower case.
[[nodiscard]] constexpr std::uint64_t fold_case(std::uint64_t word) noexcept {
    const std::uint64_t low = word & (every_byte * 0x7F);
    const std::uint64_t from_a = low + every_byte * (0x80 - 'A');
    const std::uint64_t past_z = low + every_byte * (0x7F - 'Z');
    const std::uint64_t capital = (from_a ^ past_z) & ~word & (every_byte * 0x80);
    return word | (capital >> 2);
}

/// Non-zero where a byte of `word` is `byte`.
[[nodiscard]] constexpr std::uint64_t has_byte(std::uint64_t word, unsigned char byte) noexcept {
    const std::uint64_t difference = word ^ (every_byte * byte);
    return (difference - every_byte) & ~difference & (every_byte * 0x80);
}

/// Non-zero where a byte of `word` lies below '/' or above 127, or in the columns of ASCII that have the capitals and
/// the backslash. Nothing is to be looked for in other words, and they are in lower case.
[[nodiscard]] constexpr std::uint64_t has_odd_byte(std::uint64_t word) noexcept {
    const std::uint64_t capital = (word >> 1) & ~word & (every_byte * 0x20); // 0x40 to 0x5F
    const std::uint64_t low = ((word & (every_byte * 0x7F)) + every_byte * (0x80 - '/')) ^ (every_byte * 0x80);
    return capital | ((low | word) & (every_byte * 0x80));
}

/// Calls `use(at, length)` for the bytes of a name, eight at a time, until it returns false. The last eight may repeat
/// bytes of those before; a name of fewer than eight bytes is one call.
template <class Use> CKPT_DETAIL_INLINE void each_word(std::size_t length, const Use& use) noexcept {
    if (length < 8) {
        if (length != 0) (void)use(std::size_t{0}, length);
        return;
    }
    for (std::size_t at = 0; at + 8 < length; at += 8)
        if (!use(at, std::size_t{8})) return;
    (void)use(length - 8, std::size_t{8});
}
/// Up to eight bytes of a name as a number. Missing ones are 1, a byte that no check looks for.
[[nodiscard]] inline std::uint64_t name_word(std::string_view name, std::size_t at, std::size_t length) noexcept {
    std::uint64_t word = every_byte;
    if (length == sizeof word) std::memcpy(&word, name.data() + at, sizeof word);
    else std::memcpy(&word, name.data() + at, length);
    return word;
}

/// Whether two texts of one length are equal. Without a call, for short ones.
[[nodiscard]] CKPT_DETAIL_INLINE bool same_text(std::string_view a, std::string_view b) noexcept {
    const std::size_t n = a.size();
    const auto differ = [&]<class T>(std::size_t at, T x) {
        T y{};
        std::memcpy(&x, a.data() + at, sizeof x);
        std::memcpy(&y, b.data() + at, sizeof y);
        return x != y;
    };
    if (n >= 8) {
        for (std::size_t at = 0; at + 8 < n; at += 8)
            if (differ(at, std::uint64_t{})) return false;
        return !differ(n - 8, std::uint64_t{});
    }
    if (n >= 4) return !differ(0, std::uint32_t{}) && !differ(n - 4, std::uint32_t{});
    if (n >= 2) return !differ(0, std::uint16_t{}) && !differ(n - 2, std::uint16_t{});
    return n == 0 || a[0] == b[0];
}

enum class name_fault : std::uint8_t { none, empty, nul, backslash, absolute, parent };

struct name_facts {
    std::uint64_t hash{}; ///< the same for names that differ only in the case of ASCII letters
    name_fault fault{name_fault::none};
};

/// Whether ".." is one of the components between slashes.
[[nodiscard]] bool has_parent_component(std::string_view name) noexcept;

/// The hash and the fault of a name, in one pass.
[[nodiscard]] name_facts look_at_name(std::string_view name) noexcept;

/// Less than, equal to or greater than 0: an arbitrary total order. Names that differ only in the case of ASCII letters
/// are equal.
[[nodiscard]] int compare_names(std::string_view a, std::string_view b) noexcept;
[[nodiscard]] inline bool same_name(std::string_view a, std::string_view b) noexcept {
    return compare_names(a, b) == 0;
}
[[nodiscard]] inline bool name_before(std::string_view a, std::string_view b) noexcept {
    return compare_names(a, b) < 0;
}

/// Finds records by name. Trivially copyable; its tables lie in the arena.
class name_index {
  public:
    name_index() noexcept = default;
    /// For `count` records, at most 2^31 - 1. The caller adds them one by one, and then calls `seal`.
    name_index(std::size_t count, arena& memory);

    /// Adds record `i` after all records before it. Returns the number of a record with the same name, or `i`.
    [[nodiscard]] std::size_t add(std::span<const record> records, std::size_t i, std::uint64_t hash) noexcept;

    /// Ends the additions. Returns false, and two records with the same name, where the sorted index finds them.
    [[nodiscard]] bool seal(std::span<const record> records, arena& memory, std::size_t& first, std::size_t& second);

    /// The record whose name has exactly these bytes, or null.
    [[nodiscard]] const record* find(std::span<const record> records, std::string_view name) const noexcept;

    /// Whether the names collided so much that the index is sorted; for tests.
    [[nodiscard]] bool is_sorted() const noexcept { return crowded_; }

  private:
    static constexpr std::size_t longest_chain = 39; // taken slots before the slot of one name

    index_table table_{};
    std::span<std::uint32_t> order_{}; ///< of the sorted index
    std::size_t most_steps_{0};        ///< taken slots before the slots of all names together
    bool crowded_{false};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/archive/impl/names.ipp>
#endif
