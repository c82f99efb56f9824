// ckpt/tensor/impl/parts.ipp: the definitions of parts.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/hash.hpp>
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

CKPT_DETAIL_RARE void find_touched_bytes(const tensor_data& data, const storage_source& source, range_visitor visit) {
    std::uint64_t end = 0;
    const bool stored = data.refusal == nullptr && data.kind == layout::strided && data.numel != 0;
    if (stored && bytes_needed(data, end) && end <= source.nbytes(data.storage)) {
        const std::size_t width = bits(data.type);
        const std::uint64_t first = data.storage_offset;
        source.find_touched(data.storage, width < 8 ? first / (8 / width) : first * (width / 8), end, visit);
    }
    if (data.extra == nullptr) return;
    for (const named_data& part : data.extra->parts()) // at most most_part_depth deep
        find_touched_bytes(part.data, source, visit);
}

/// The hash of an original and its storages.
[[nodiscard]] inline std::uint64_t hash_pair(const void* a, const void* b) noexcept {
    return mix(reinterpret_cast<std::uintptr_t>(a) ^ mix(reinterpret_cast<std::uintptr_t>(b)));
}

CKPT_DETAIL_DEF std::uint32_t part_copies::find(const tensor_extra* original,
                                                const storage_source* from) const noexcept {
    return table_.find(hash_pair(original, from),
                       [&](std::uint32_t i) { return known_[i].original == original && known_[i].from == from; });
}

CKPT_DETAIL_DEF void part_copies::remember(const pair& copied) {
    const auto number = static_cast<std::uint32_t>(known_.size());
    known_.push_back(copied);
    const auto hash_of = [&](std::uint32_t i) { return hash_pair(known_[i].original, known_[i].from); };
    (void)table_.insert(hash_of(number), number, [](std::uint32_t) { return false; }, hash_of);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
