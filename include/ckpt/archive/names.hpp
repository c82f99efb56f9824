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

[[nodiscard]] inline bool has_parent_component(std::string_view name) noexcept {
    for (std::size_t at = 0; at <= name.size();) {
        const std::size_t end = (std::min)(name.find('/', at), name.size());
        if (name.substr(at, end - at) == "..") return true;
        at = end + 1;
    }
    return false;
}

/// Hash and verdict in one pass.
[[nodiscard]] inline name_facts look_at_name(std::string_view name) noexcept {
    name_facts out;
    std::uint64_t hash = name.size() * 0x9E37'79B9'7F4A'7C15u;
    std::uint64_t nul = 0, backslash = 0, dot = 0;
    each_word(name.size(), [&](std::size_t at, std::size_t length) {
        const std::uint64_t word = name_word(name, at, length);
        nul |= has_byte(word, 0);
        backslash |= has_byte(word, '\\');
        dot |= has_byte(word, '.');
        hash = (std::rotl(hash, 29) ^ fold_case(word)) * 0xD6E8'FEB8'6659'FD93u;
        return true;
    });
    hash ^= hash >> 32;
    hash *= 0xD6E8'FEB8'6659'FD93u;
    out.hash = hash ^ (hash >> 29);
    if (name.empty()) out.fault = name_fault::empty;
    else if (nul != 0) out.fault = name_fault::nul;
    else if (backslash != 0) out.fault = name_fault::backslash;
    else if (name.front() == '/') out.fault = name_fault::absolute;
    else if (dot != 0 && has_parent_component(name)) out.fault = name_fault::parent;
    return out;
}

/// Less than, equal to or greater than 0, in some order in which names that differ only in case are equal.
[[nodiscard]] inline int compare_names(std::string_view a, std::string_view b) noexcept {
    if (a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
    int out = 0;
    each_word(a.size(), [&](std::size_t at, std::size_t length) {
        const std::uint64_t left = fold_case(name_word(a, at, length)), right = fold_case(name_word(b, at, length));
        out = left < right ? -1 : left > right ? 1 : 0;
        return out == 0;
    });
    return out;
}
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
    name_index(std::size_t count, arena& memory) {
        const std::size_t slots = std::bit_ceil(count < 4 ? std::size_t{8} : count * 2);
        slots_ = {memory.allocate<std::uint32_t>(slots), slots};
        std::fill(slots_.begin(), slots_.end(), free_slot);
        tag_shift_ = static_cast<unsigned>(std::bit_width(count));
        most_probes_ = count * 8 + 1024;
    }

    /// Adds record `i`; the records before it are in. Returns another one with the same name, or `i`.
    [[nodiscard]] std::size_t add(std::span<const record> records, std::size_t i, std::uint64_t hash) noexcept {
        const std::size_t mask = slots_.size() - 1;
        std::size_t at = static_cast<std::size_t>(hash) & mask;
        for (std::size_t step = 1; !crowded_; ++step) {
            const std::uint32_t slot = slots_[at];
            if (slot == free_slot) {
                slots_[at] = tag(hash) | static_cast<std::uint32_t>(i);
                return i;
            }
            if (same_tag(slot, hash) && same_name(records[place(slot)].name, records[i].name)) return place(slot);
            ++probes_;
            crowded_ = step == longest_chain || probes_ == most_probes_;
            at = (at + step) & mask; // triangular: visits every slot
        }
        return i;
    }

    /// To be called when all are in. Returns false, and two records with one name, where the sorted index finds such.
    [[nodiscard]] bool seal(std::span<const record> records, arena& memory, std::size_t& first, std::size_t& second) {
        if (!crowded_) return true;
        slots_ = {memory.allocate<std::uint32_t>(records.size()), records.size()};
        for (std::size_t i = 0; i < slots_.size(); ++i) slots_[i] = static_cast<std::uint32_t>(i);
        std::sort(slots_.begin(), slots_.end(),
                  [&](std::uint32_t a, std::uint32_t b) { return name_before(records[a].name, records[b].name); });
        for (std::size_t i = 1; i < slots_.size(); ++i) {
            first = slots_[i - 1];
            second = slots_[i];
            if (same_name(records[first].name, records[second].name)) return false;
        }
        return true;
    }

    /// The record with exactly these bytes as its name, or null.
    [[nodiscard]] const record* find(std::span<const record> records, std::string_view name) const noexcept {
        if (records.empty()) return nullptr;
        const record* out = nullptr;
        if (crowded_) {
            const auto at =
                std::lower_bound(slots_.begin(), slots_.end(), name, [&](std::uint32_t i, std::string_view wanted) {
                    return name_before(records[i].name, wanted);
                });
            if (at != slots_.end()) out = &records[*at];
        } else {
            const std::size_t mask = slots_.size() - 1;
            const std::uint64_t hash = look_at_name(name).hash;
            std::size_t at = static_cast<std::size_t>(hash) & mask;
            for (std::size_t step = 1; slots_[at] != free_slot && step <= longest_chain; at = (at + step++) & mask) {
                if (!same_tag(slots_[at], hash) || records[place(slots_[at])].name != name) continue;
                out = &records[place(slots_[at])];
                break;
            }
        }
        return out != nullptr && out->name == name ? out : nullptr;
    }

    /// Whether the names collided so much that the index is sorted; for tests.
    [[nodiscard]] bool is_sorted() const noexcept { return crowded_; }

  private:
    static constexpr std::uint32_t free_slot = ~std::uint32_t{0};
    static constexpr std::size_t longest_chain = 40;

    // A slot holds a record's number in its low bits and bits of the hash in those that are left.
    [[nodiscard]] std::uint32_t tag(std::uint64_t hash) const noexcept {
        return static_cast<std::uint32_t>((hash >> 32) << tag_shift_);
    }
    [[nodiscard]] bool same_tag(std::uint32_t slot, std::uint64_t hash) const noexcept {
        return ((slot ^ tag(hash)) >> tag_shift_) == 0;
    }
    [[nodiscard]] std::size_t place(std::uint32_t slot) const noexcept {
        return slot & ((std::uint32_t{1} << tag_shift_) - 1);
    }

    std::span<std::uint32_t> slots_{};
    std::size_t probes_{0};
    std::size_t most_probes_{0};
    unsigned tag_shift_{0};
    bool crowded_{false};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
