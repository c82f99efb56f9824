// ckpt/folder/impl/shard_boxes.ipp: the definitions of shard_boxes.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/folder/shard_boxes.hpp>
#include <ckpt/tensor/odometer.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF bool cut_runs(std::vector<index_run>& runs, const mesh_cut& cut) {
    const auto per = [](std::uint64_t n, std::uint64_t parts) { return n / parts + (n % parts != 0); };
    std::uint64_t n = 0;
    for (const index_run& r : runs) n += r.size;
    std::vector<index_run> out;
    std::size_t run = 0;
    std::uint64_t before = 0; // indices in the runs before
    if (cut.size == 1 || n == 0) return true;
    const std::uint64_t block = per(n, static_cast<std::uint64_t>(cut.split_factor));
    if (per(n, block) > most_shard_boxes) return false;
    for (std::uint64_t b = 0; b < n; b += block) {
        const std::uint64_t here = (std::min)(block, n - b);
        const std::uint64_t size = per(here, static_cast<std::uint64_t>(cut.size));
        const std::uint64_t first = b + (std::min)(size * static_cast<std::uint64_t>(cut.at), here);
        const std::uint64_t last = (std::min)(first + size, b + here);
        for (std::uint64_t at = first; at < last;) {
            while (at >= before + runs[run].size) before += runs[run++].size;
            const std::uint64_t take = (std::min)(last, before + runs[run].size) - at;
            const std::uint64_t begin = runs[run].begin + (at - before);
            if (!out.empty() && out.back().begin + out.back().size == begin) out.back().size += take;
            else out.push_back({begin, take});
            at += take;
            if (out.size() > most_shard_boxes) return false;
        }
    }
    runs = std::move(out);
    return true;
}

CKPT_DETAIL_DEF shard_boxes boxes_of_shard(std::span<const std::int64_t> shape, std::span<const mesh_cut> cuts) {
    shard_boxes out;
    out.whole.rank = shape.size();
    std::vector<std::vector<index_run>> runs;
    for (const std::int64_t n : shape) runs.push_back({{0, static_cast<std::uint64_t>(n)}});
    for (const mesh_cut& c : cuts)
        if (c.kind == mesh_cut::how::cut && !cut_runs(runs[c.dimension], c)) out.fits = false;
    std::size_t count = 1;
    for (const auto& r : runs) {
        std::uint64_t n = 0;
        for (const index_run& one : r) n += one.size;
        out.shape.push_back(static_cast<std::int64_t>(n));
        count = n == 0 ? 0 : count * r.size();
        if (count > most_shard_boxes) out.fits = false;
        count = (std::min)(count, most_shard_boxes);
    }
    if (!out.fits) return out;
    out.whole.count = count;
    std::vector<std::size_t> at(shape.size());
    std::vector<std::uint64_t> inner(shape.size());
    for (std::size_t i = 0; i < count; ++i) {
        for (std::size_t d = 0; d < shape.size(); ++d) {
            out.whole.offsets.push_back(static_cast<std::int64_t>(runs[d][at[d]].begin));
            out.whole.sizes.push_back(static_cast<std::int64_t>(runs[d][at[d]].size));
            out.inner.push_back(static_cast<std::int64_t>(inner[d]));
        }
        (void)next_index(
            at, shape.size(), [&](std::size_t d) { return runs[d].size(); },
            [&](std::size_t d, std::uint64_t n) { inner[d] = n == 1 ? inner[d] + runs[d][at[d]].size : 0; });
    }
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
