// ckpt/write/impl/chosen_tensors.ipp: the definitions of chosen_tensors.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sorting.hpp>
#include <ckpt/tensor/stored_bytes.hpp>
#include <ckpt/write/chosen_tensors.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE int compare_places(const tensor_data& a, const tensor_data& b) noexcept {
    const auto order = [](auto x, auto y) { return x < y ? -1 : x > y ? 1 : 0; };
    if (const int o = order(a.storage, b.storage); o != 0) return o;
    if (const int o = order(a.storage_offset, b.storage_offset); o != 0) return o;
    if (const int o = order(a.type, b.type); o != 0) return o;
    if (const int o = order(a.neg, b.neg); o != 0) return o;
    if (const int o = order(a.conj, b.conj); o != 0) return o;
    if (const int o = order(a.rank, b.rank); o != 0) return o;
    for (std::uint32_t i = 0; i < a.rank; ++i)
        if (const int o = order(a.shape[i], b.shape[i]); o != 0) return o;
    for (std::uint32_t i = 0; i < a.rank; ++i)
        if (const int o = order(a.strides[i], b.strides[i]); o != 0) return o;
    return 0;
}

CKPT_DETAIL_RARE chosen_tensors choose_tensors(const state_dict_data& weights, const format_judge& judge, bool once) {
    chosen_tensors out;
    std::vector<std::uint32_t> kept; // numbers of entries
    for (std::uint32_t i = 0; i < weights.entries.size(); ++i) {
        const state_dict_entry& e = weights.entries[i];
        auto fits = check_stored_bytes(e.data, weights.source);
        if (fits) fits = judge(e);
        if (fits) {
            kept.push_back(i);
            continue;
        }
        weights.place(fits.error(), e.key);
        out.left_out.push_back({std::string(e.key), std::move(fits).error()});
    }
    const auto data = [&](std::uint32_t k) -> const tensor_data& { return *weights.entries[kept[k]].data; };
    const auto key = [&](std::uint32_t k) { return weights.entries[kept[k]].key; };
    std::vector<char> tied(kept.size());
    if (once) {
        const std::vector<std::uint32_t> order = sorted_indices(kept.size(), [&](std::uint32_t x, std::uint32_t y) {
            const int places = compare_places(data(x), data(y));
            return places != 0 ? places < 0 : key(x) < key(y);
        });
        std::uint32_t first = 0; // the place in `order` of the first key of a tensor
        for (std::uint32_t k = 1; k < order.size(); ++k) {
            if (data(order[k]).numel == 0 || compare_places(data(order[first]), data(order[k])) != 0) {
                first = k;
                continue;
            }
            tied[order[k]] = 1;
            out.shared.push_back({std::string(key(order[k])), std::string(key(order[first]))});
        }
        sort_values(out.shared, [](const tied_key& a, const tied_key& b) { return a.key < b.key; });
    }
    for (std::uint32_t k = 0; k < kept.size(); ++k)
        if (tied[k] == 0) out.written.push_back(weights.entries[kept[k]]);
    return out;
}

CKPT_DETAIL_RARE result<void> check_losses(std::span<const left_out_tensor> left_out,
                                           std::span<const pattern> allowed) {
    for (const left_out_tensor& t : left_out)
        if (!std::any_of(allowed.begin(), allowed.end(), [&](const pattern& p) { return p.matches(t.key); }))
            return t.why;
    return {};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
