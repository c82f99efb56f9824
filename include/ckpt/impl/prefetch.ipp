// ckpt/impl/prefetch.ipp: the definitions of prefetch.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/io/advice.hpp>
#include <ckpt/prefetch.hpp>
#include <ckpt/tensor/parts.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

inline void advise(const tensor& t, advice& to) {
    const tensor_data* const data = tensor_access::data(t);
    const storage_source* const from = tensor_access::source(t);
    if (data == nullptr || from == nullptr) return;
    find_touched_bytes(*data, *from,
                       [&to](const source& in, std::uint64_t begin, std::uint64_t end) { to.add(in, begin, end); });
}

inline prefetched give(const advice& all) {
    const advice::given told = all.give();
    return {told.bytes, told.ranges};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_RARE result<prefetched> prefetch(const state_dict& weights, std::span<const std::string_view> keys) {
    detail::advice all;
    for (const std::string_view key : keys) {
        const auto found = weights.at(key);
        if (!found) return found.error();
        detail::advise(*found, all);
    }
    return detail::give(all);
}

CKPT_DETAIL_RARE prefetched prefetch(const state_dict& weights) {
    detail::advice all;
    for (const auto& entry : weights) detail::advise(entry.tensor, all);
    return detail::give(all);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
