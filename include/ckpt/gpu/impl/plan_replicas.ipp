// ckpt/gpu/impl/plan_replicas.ipp: the definitions of plan_replicas.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/gpu/plan_replicas.hpp>

#include <algorithm>
#include <cstddef>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Whether the items of `a` and those of `b` are the same, in their order.
template <class T, class Same>
[[nodiscard]] bool same_items(std::span<const T> items, std::uint32_t a, std::uint32_t b, Same same) {
    auto j = items.begin();
    const auto find_next = [&] { j = std::find_if(j, items.end(), [&](const T& x) { return x.target == b; }); };
    find_next();
    for (const T& x : items) {
        if (x.target != a) continue;
        if (j == items.end() || !same(x, *j)) return false;
        ++j;
        find_next();
    }
    return j == items.end();
}

[[nodiscard]] inline bool is_filled_alike(const upload_plan_data& plan, std::uint32_t a, std::uint32_t b) {
    const auto same_copy = [](const staged_copy& x, const staged_copy& y) {
        return x.into == y.into && x.from == y.from && x.bytes == y.bytes && x.to == y.to;
    };
    const auto same_numbers = [&](std::uint32_t x, std::uint32_t y) {
        return x == y || (x != no_numbers && y != no_numbers && plan.numbers[x] == plan.numbers[y]);
    };
    const auto same_cast = [&](const device_cast& x, const device_cast& y) {
        return x.from == y.from && x.to == y.to && x.count == y.count && x.type == y.type && x.wanted == y.wanted &&
               x.swap_bytes == y.swap_bytes && x.view == y.view && x.first == y.first && x.is_last == y.is_last &&
               same_numbers(x.numbers, y.numbers);
    };
    return std::all_of(plan.pieces.begin(), plan.pieces.end(), [&](const upload_piece& p) {
        return same_items(plan.copies_of(p), a, b, same_copy) && same_items(plan.casts_of(p), a, b, same_cast);
    });
}

[[nodiscard]] inline bool is_placed_alike(const upload_plan_data& plan, std::uint32_t a, std::uint32_t b) {
    const auto& of_a = plan.targets[a].by_key;
    const auto& of_b = plan.targets[b].by_key;
    return plan.targets[a].bytes == plan.targets[b].bytes &&
           std::equal(of_a.begin(), of_a.end(), of_b.begin(), of_b.end(), [&](std::uint32_t i, std::uint32_t j) {
               const placed_tensor& x = plan.tensors[i];
               const placed_tensor& y = plan.tensors[j];
               return x.key == y.key && x.type == y.type && x.way == y.way && x.offset == y.offset &&
                      x.nbytes == y.nbytes && std::equal(x.shape, x.shape + x.rank, y.shape, y.shape + y.rank) &&
                      std::equal(x.strides, x.strides + x.rank, y.strides, y.strides + y.rank);
           });
}

CKPT_DETAIL_DEF void find_replicas(upload_plan_data& plan) {
    for (std::uint32_t t = 0; t < plan.targets.size(); ++t) {
        plan.targets[t].alike = t;
        for (std::uint32_t o = 0; o < t; ++o) {
            if (plan.owners[o].get() != plan.owners[t].get() || plan.targets[o].alike != o ||
                !is_placed_alike(plan, o, t) || !is_filled_alike(plan, o, t))
                continue;
            plan.targets[t].alike = o;
            break;
        }
    }
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
