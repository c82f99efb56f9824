// ckpt/archive/names.hpp: rules for the names of records, and an index of them.
//
// SPDX-License-Identifier: MIT
// In:      names as byte strings, in the order of the directory.
// Out:     a verdict on each, the record with a given name, the first pair of names that are one.
// Refuses: empty names, NUL, backslashes, absolute names, '..'; two names equal but for the case of ASCII letters
//          (PyTorch's reader ignores case, so such an archive has two meanings).
//
// Names are a file's own choice, so nothing here may become slow because of them: an archive whose names collide
// in the hash more than chance allows gets a sorted index instead.
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

/// The eight bytes of `word` with ASCII capitals made small.
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

/// Calls `use` with the bytes of a name, eight at a time. The last word repeats bytes of the one before; a shorter name
/// is filled up with 1, which no check looks for. `use` returns whether to go on.
template <class Use> inline void each_word(std::size_t length, const Use& use) noexcept {
    if (length < 8) {
        if (length != 0) (void)use(std::size_t{0}, length);
        return;
    }
    for (std::size_t at = 0; at + 8 < length; at += 8)
        if (!use(at, std::size_t{8})) return;
    (void)use(length - 8, std::size_t{8});
}
[[nodiscard]] inline std::uint64_t name_word(std::string_view name, std::size_t at, std::size_t length) noexcept {
    std::uint64_t word = every_byte;
    if (length == sizeof word) std::memcpy(&word, name.data() + at, sizeof word);
    else std::memcpy(&word, name.data() + at, length);
    return word;
}

enum class name_fault : std::uint8_t { none, empty, nul, backslash, absolute, parent };

struct name_facts {
    std::uint64_t hash{}; ///< the same for names that differ only in the case of ASCII letters
    name_fault fault{name_fault::none};
};

[[nodiscard]] bool has_parent_component(std::string_view name) noexcept;

/// Hash and verdict in one pass.
[[nodiscard]] name_facts look_at_name(std::string_view name) noexcept;

/// Less than, equal to or greater than 0, in some order in which names that differ only in case are equal.
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
    /// For `count` records, which are added one by one, then sealed. At most 2^31.
    name_index(std::size_t count, arena& memory);

    /// Adds record `i`; the records before it are in. Returns another one with the same name, or `i`.
    [[nodiscard]] std::size_t add(std::span<const record> records, std::size_t i, std::uint64_t hash) noexcept;

    /// To be called when all are in. Returns false, and two records with one name, where the sorted index finds such.
    [[nodiscard]] bool seal(std::span<const record> records, arena& memory, std::size_t& first, std::size_t& second);

    /// The record with exactly these bytes as its name, or null.
    [[nodiscard]] const record* find(std::span<const record> records, std::string_view name) const noexcept;

    /// Whether the names collided so much that the index is sorted; for tests.
    [[nodiscard]] bool is_sorted() const noexcept { return crowded_; }

  private:
    static constexpr std::size_t longest_chain = 39; // of taken slots that a name is behind

    index_table table_{};
    std::span<std::uint32_t> order_{}; ///< of the sorted index
    std::size_t most_steps_{0};        ///< of all names together
    bool crowded_{false};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/archive/impl/names.ipp>
#endif
