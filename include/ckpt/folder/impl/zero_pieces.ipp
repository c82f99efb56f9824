// ckpt/folder/impl/zero_pieces.ipp: the definitions of zero_pieces.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/short_list.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/folder/report.hpp>
#include <ckpt/folder/zero_pieces.hpp>

#include <algorithm>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF void tensor_pieces::add(std::uint64_t n, std::uint32_t node) {
    parts.push_back(node);
    size += n;
}

CKPT_DETAIL_DEF void tensor_pieces::lose(std::uint64_t n, std::uint64_t rank) {
    missing.push_back({rank, size, n});
    size += n;
}

CKPT_DETAIL_DEF std::string tensor_pieces::what_is_missing() const {
    std::string ranges;
    std::vector<std::uint64_t> ranks;
    short_list list{ranges};
    for (const lost& l : missing) {
        ranks.push_back(l.rank);
        if (!list.next()) continue;
        ranges += decimal(l.first);
        if (l.count > 1) ranges += str_cat(" to ", l.first + l.count - 1);
    }
    list.end();
    const bool one = missing.size() == 1 && missing[0].count == 1;
    return str_cat(one ? "element " : "elements ", ranges, " of this tensor ", one ? "is" : "are",
                   " in the partition of ", listed_ranks(ranks, ranks.size()), ", which is missing");
}

CKPT_DETAIL_DEF void flat_vector::add(std::uint64_t n, std::uint32_t node, std::uint32_t rank) {
    stretches.push_back({size, n, node, rank});
    size += n;
}

CKPT_DETAIL_DEF void flat_vector::cut(gather_plan& plan, std::uint64_t first, std::uint64_t n,
                                      tensor_pieces& out) const {
    auto at = std::upper_bound(stretches.begin(), stretches.end(), first,
                               [](std::uint64_t f, const stretch& s) { return f < s.begin + s.size; });
    for (std::uint64_t done = 0; done < n; ++at) {
        const std::uint64_t skip = first + done - at->begin;
        const std::uint64_t here = (std::min)(at->size - skip, n - done);
        if (here == 0) continue;
        if (at->node == gather_plan::none) out.lose(here, at->rank);
        else out.add(here, plan.narrow(at->node, 0, static_cast<std::int64_t>(skip), static_cast<std::int64_t>(here)));
        done += here;
    }
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
