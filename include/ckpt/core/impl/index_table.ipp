// ckpt/core/impl/index_table.ipp: the definitions of index_table.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/index_table.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF index_table::index_table(std::span<std::uint32_t> slots, std::size_t numbers) noexcept
    : slots_{slots}, low_bits_{(std::uint32_t{1} << std::bit_width(numbers)) - 1} {
    for (std::uint32_t& slot : slots_) slot = none;
}

CKPT_DETAIL_DEF bool index_table::erase(std::uint64_t hash, std::uint32_t item) noexcept {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = static_cast<std::size_t>(hash) & mask;
    for (std::size_t step = 1; slots_[at] != none; ++step) {
        if (slots_[at] == (tag(hash) | item)) {
            slots_[at] = low_bits_;
            return true;
        }
        at = (at + step) & mask;
    }
    return false;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
