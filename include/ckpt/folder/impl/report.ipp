// ckpt/folder/impl/report.ipp: the definitions of report.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/folder/report.hpp>
#include <ckpt/io/folder.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF std::string listed_ranks(const std::vector<std::uint64_t>& ranks) {
    std::string out = ranks.size() == 1 ? "rank " : "ranks ";
    for (std::size_t i = 0; i < ranks.size() && i < 3; ++i) out.append(i > 0 ? ", " : "") += decimal(ranks[i]);
    return ranks.size() > 3 ? out + ", +" + decimal(std::uint64_t{ranks.size() - 3}) + " more" : out;
}

CKPT_DETAIL_DEF result<checkpoint> folder_work::open_one(const std::string& name, const open_options& with) const {
    auto opened = detail::open(source::open(path_in(folder, name), {with.io, 0, ~std::uint64_t{0}}), allowed, with);
    if (!opened) opened.error().file = name;
    return opened;
}

CKPT_DETAIL_DEF std::optional<checkpoint> folder_work::open_part(const std::string& name) {
    report.parts.push_back(name);
    open_options as_stored = options; // the set's own state_dict makes the copies, where any are wanted
    as_stored.storages = storage_mode::mapped;
    auto opened = open_one(name, as_stored);
    if (opened) return std::move(*opened);
    find(std::move(opened).error());
    return std::nullopt;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
