// ckpt/folder/impl/report.ipp: the definitions of report.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/checkpoint.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/folder/report.hpp>
#include <ckpt/io/folder.hpp>
#include <ckpt/open_source.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF std::string listed_ranks(const std::vector<std::uint64_t>& ranks, std::uint64_t count) {
    std::string out = count == 1 ? "rank " : "ranks ";
    short_list list{out};
    for (const std::uint64_t rank : ranks)
        if (list.next()) out += decimal(rank);
    list.skip(count - ranks.size());
    list.end();
    return out;
}

CKPT_DETAIL_DEF bool folder_work::check_rank(std::string_view file, std::string_view key, std::uint64_t dimensions) {
    const std::uint64_t most = options.limits.tensor_rank;
    if (dimensions <= most) return true;
    find({.code = errc::shape_invalid,
          .file = std::string(file),
          .path = printable(key),
          .detail = str_cat("the tensor has ", dimensions, " dimensions, the limit is ", most),
          .hint = "raise limits.tensor_rank if the files are trusted"});
    return false;
}

CKPT_DETAIL_DEF result<checkpoint> folder_work::open_one(const std::string& name, const open_options& with) const {
    auto opened = detail::open(source::open(path_in(folder, name), {with.io, 0, ~std::uint64_t{0}}), allowed, with);
    if (!opened) opened.error().file = name;
    return opened;
}

CKPT_DETAIL_DEF std::optional<checkpoint> folder_work::open_part(const std::string& name) {
    report.parts.push_back(name);
    // With storage_mode::owned the state_dict of the whole set copies its tensors; the files need not.
    open_options as_stored = options;
    as_stored.storages = storage_mode::mapped;
    auto opened = open_one(name, as_stored);
    if (opened) return std::move(*opened);
    find(std::move(opened).error());
    return std::nullopt;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
