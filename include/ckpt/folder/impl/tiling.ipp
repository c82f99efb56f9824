// ckpt/folder/impl/tiling.ipp: the definitions of tiling.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/folder/tiling.hpp>

#include <algorithm>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF std::vector<std::int64_t> steps_of(std::span<const std::int64_t> shape, const box_list& boxes,
                                                   std::span<const std::size_t> cut) {
    std::vector<std::int64_t> table;
    table.reserve((boxes.count + 1) * (std::size_t{1} << cut.size()) * (cut.size() + 1));
    const auto add = [&](const std::int64_t* offset, const std::int64_t* size, std::int64_t sign) {
        for (std::uint64_t corner = 0; corner < std::uint64_t{1} << cut.size(); ++corner) {
            std::int64_t own = sign;
            for (std::size_t c = 0; c < cut.size(); ++c) {
                const bool end = (corner >> c & 1) != 0;
                const std::size_t d = cut[c];
                table.push_back((offset != nullptr ? offset[d] : 0) + (end ? size[d] : 0));
                if (end) own = -own;
            }
            table.push_back(own);
        }
    };
    for (std::size_t i = 0; i < boxes.count; ++i)
        add(boxes.offsets.data() + i * boxes.rank, boxes.sizes.data() + i * boxes.rank, 1);
    add(nullptr, shape.data(), -1);
    return table;
}

CKPT_DETAIL_DEF tiling check_tiling(std::span<const std::int64_t> shape, const box_list& boxes, std::uint64_t& budget) {
    tiling out;
    for (std::size_t d = 0; d < boxes.rank; ++d)
        for (std::size_t i = 0; i < boxes.count; ++i)
            if (boxes.sizes[i * boxes.rank + d] != shape[d]) {
                out.cut.push_back(d);
                break;
            }
    const std::size_t cut = out.cut.size();
    std::uint64_t corners = boxes.count + std::uint64_t{1};
    std::uint64_t numbers = 0;
    out.fits = cut < 32 && checked_mul(corners, std::uint64_t{1} << cut, corners) &&
               checked_mul(corners, cut + 1, numbers) && numbers <= budget;
    if (!out.fits) return out;
    budget -= numbers;
    if (cut == 0) {
        out.covered = static_cast<std::int64_t>(boxes.count);
        if (boxes.count != 1) out.element.assign(boxes.rank, 0);
        return out;
    }
    const std::size_t width = cut + 1;
    const std::vector<std::int64_t> table = steps_of(shape, boxes, out.cut);
    const auto place = [&](std::uint32_t i) { return std::span<const std::int64_t>{table.data() + i * width, cut}; };
    const std::vector<std::uint32_t> order =
        sorted_indices(table.size() / width, [&](std::uint32_t a, std::uint32_t b) {
            return std::lexicographical_compare(place(a).begin(), place(a).end(), place(b).begin(), place(b).end());
        });
    for (std::size_t i = 0; i < order.size();) {
        std::int64_t sum = 0;
        const std::uint32_t first = order[i];
        for (; i < order.size() && std::equal(place(first).begin(), place(first).end(), place(order[i]).begin()); ++i)
            sum += table[order[i] * width + cut];
        if (sum == 0) continue;
        // All corners before this one add up to nothing, so that each element before is in one box. Here the sum is by
        // how many boxes there are too many (positive) or too few.
        out.covered = sum + 1;
        out.element.assign(boxes.rank, 0);
        for (std::size_t c = 0; c < cut; ++c) out.element[out.cut[c]] = place(first)[c];
        return out;
    }
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
