// ckpt/archive/impl/names.ipp: the definitions of names.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/archive/names.hpp>
#include <ckpt/core/sorting.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF bool has_parent_component(std::string_view name) noexcept {
    for (std::size_t at = 0; at <= name.size();) {
        const std::size_t end = (std::min)(name.find('/', at), name.size());
        if (name.substr(at, end - at) == "..") return true;
        at = end + 1;
    }
    return false;
}

CKPT_DETAIL_RARE name_facts look_at_name(std::string_view name) noexcept {
    name_facts out;
    std::uint64_t hash = name.size() * 0x9E37'79B9'7F4A'7C15u;
    std::uint64_t nul = 0, backslash = 0, dot = 0;
    each_word(name.size(), [&](std::size_t at, std::size_t length) {
        std::uint64_t word = name_word(name, at, length);
        if (has_odd_byte(word) != 0) {
            nul |= has_byte(word, 0);
            backslash |= has_byte(word, '\\');
            dot |= has_byte(word, '.');
            word = fold_case(word);
        }
        hash = (std::rotl(hash, 29) ^ word) * 0xD6E8'FEB8'6659'FD93u;
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

CKPT_DETAIL_DEF int compare_names(std::string_view a, std::string_view b) noexcept {
    if (a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
    int out = 0;
    each_word(a.size(), [&](std::size_t at, std::size_t length) {
        const std::uint64_t left = fold_case(name_word(a, at, length)), right = fold_case(name_word(b, at, length));
        out = left < right ? -1 : left > right ? 1 : 0;
        return out == 0;
    });
    return out;
}

CKPT_DETAIL_DEF name_index::name_index(std::size_t count, arena& memory) {
    const std::size_t slots = index_table::slots_for(count);
    table_ = {{memory.allocate<std::uint32_t>(slots), slots}, count};
    most_steps_ = count * 8 + 1024;
}

CKPT_DETAIL_DEF std::size_t name_index::add(std::span<const record> records, std::size_t i,
                                            std::uint64_t hash) noexcept {
    if (crowded_) return i;
    const std::uint32_t found = table_.insert(
        hash, static_cast<std::uint32_t>(i),
        [&](std::uint32_t k) { return same_name(records[k].name, records[i].name); }, longest_chain);
    crowded_ = found == index_table::none || table_.passed() >= most_steps_;
    return crowded_ ? i : found;
}

CKPT_DETAIL_DEF bool name_index::seal(std::span<const record> records, arena& memory, std::size_t& first,
                                      std::size_t& second) {
    if (!crowded_) return true;
    order_ = {memory.allocate<std::uint32_t>(records.size()), records.size()};
    for (std::size_t i = 0; i < order_.size(); ++i) order_[i] = static_cast<std::uint32_t>(i);
    sort_indices(order_,
                 [&](std::uint32_t a, std::uint32_t b) { return name_before(records[a].name, records[b].name); });
    for (std::size_t i = 1; i < order_.size(); ++i) {
        first = order_[i - 1];
        second = order_[i];
        if (same_name(records[first].name, records[second].name)) return false;
    }
    return true;
}

CKPT_DETAIL_DEF const record* name_index::find(std::span<const record> records, std::string_view name) const noexcept {
    if (records.empty()) return nullptr;
    const record* out = nullptr;
    if (crowded_) {
        const auto at =
            std::lower_bound(order_.begin(), order_.end(), name, [&](std::uint32_t i, std::string_view wanted) {
                return name_before(records[i].name, wanted);
            });
        if (at != order_.end()) out = &records[*at];
    } else {
        const std::uint32_t found = table_.find(
            look_at_name(name).hash, [&](std::uint32_t k) { return records[k].name == name; }, longest_chain + 1);
        if (found != index_table::none) out = &records[found];
    }
    return out != nullptr && out->name == name ? out : nullptr;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
