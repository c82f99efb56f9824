// ckpt/state/impl/remap_keys.ipp: the definitions of remap_keys.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/remap_keys.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF void remap_keys::enter_all() {
    const auto n = static_cast<std::uint32_t>(items_.size());
    table_.reserve(items_.size(), [this](std::uint32_t i) { return hash_of(i); });
    for (std::uint32_t i = 1; i < n; ++i) {
        link_after(i, last());
        (void)insert(i);
    }
}

CKPT_DETAIL_DEF void remap_keys::link_after(std::uint32_t item, std::uint32_t at) {
    remap_item& x = items_[item];
    x.prev = at;
    x.next = items_[at].next;
    items_[x.next].prev = item;
    items_[at].next = item;
}

CKPT_DETAIL_DEF void remap_keys::unlink(std::uint32_t item) {
    const remap_item& x = items_[item];
    items_[x.prev].next = x.next;
    items_[x.next].prev = x.prev;
}

CKPT_DETAIL_DEF std::vector<std::uint32_t> remap_keys::places() const {
    std::vector<std::uint32_t> out(items_.size(), 0);
    std::uint32_t n = 0;
    for (std::uint32_t i = first(); i != 0; i = after(i)) out[i] = ++n;
    return out;
}

CKPT_DETAIL_DEF std::uint32_t remap_keys::find(std::string_view name) const noexcept {
    const std::uint32_t found = table_.find(hash_bytes(name), [&](std::uint32_t i) { return items_[i].name == name; });
    return found == growing_index_table::none ? 0 : found;
}

CKPT_DETAIL_DEF std::uint32_t remap_keys::insert(std::uint32_t item) {
    const std::uint32_t found = table_.insert(
        hash_of(item), item, [&](std::uint32_t i) { return items_[i].name == items_[item].name; },
        [this](std::uint32_t i) { return hash_of(i); });
    return found == item ? 0 : found;
}

CKPT_DETAIL_DEF void remap_keys::erase(std::uint32_t item) noexcept { table_.erase(hash_of(item), item); }

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
