// ckpt/tensor/impl/parts.ipp: the definitions of parts.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/tensor/parts.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF std::uint64_t bytes_of(const tensor_data& data) noexcept {
    if (data.kind == layout::strided || data.kind == layout::meta) return bytes_of(data.type, data.numel);
    std::uint64_t sum = 0;
    if (data.extra == nullptr) return sum;
    for (const named_data& part : data.extra->parts()) // at most most_part_depth deep
        if (!checked_add(sum, bytes_of(part.data), sum)) return ~std::uint64_t{0};
    return sum;
}

CKPT_DETAIL_DEF std::size_t part_copies::place(const tensor_extra* original,
                                               const storage_source* from) const noexcept {
    std::size_t at = mix(reinterpret_cast<std::uintptr_t>(original) ^ mix(reinterpret_cast<std::uintptr_t>(from))) &
                     (table_.size() - 1);
    while (table_[at] != none && (known_[table_[at]].original != original || known_[table_[at]].from != from))
        at = (at + 1) & (table_.size() - 1);
    return at;
}

CKPT_DETAIL_DEF void part_copies::grow() {
    table_.assign(table_.empty() ? 16 : table_.size() * 2, none);
    for (std::uint32_t i = 0; i < known_.size(); ++i) table_[place(known_[i].original, known_[i].from)] = i;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
