// ckpt/torch/impl/tar_member.ipp: the definitions of tar_member.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/core/short_list.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/torch/tar_member.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE result<tar_member> tar_member::find(const shared<source>& from, const tar_archive& archive,
                                                     std::string_view wanted) {
    if (!wanted.empty()) {
        for (const tar_entry& e : archive.entries())
            if (e.kind == tar_kind::file && plain(e.name) == plain(wanted)) return open(from, e);
        return error{.code = errc::record_missing,
                     .offset = from->base(),
                     .detail = str_cat("no member ", quoted(wanted), " in a tar archive of ", list(members(archive))),
                     .hint = "give the name as tar -t lists it"};
    }
    // Few bytes make a pickle likely, so a member that only looks like one counts if there is no other container.
    plain_list<const tar_entry*> certain, pickles;
    for (const tar_entry& e : archive.entries()) {
        if (e.kind != tar_kind::file) continue;
        auto part = source::part(from, e.offset, e.size);
        if (!part) return std::move(part).failure();
        const auto is = container_of(**part);
        if (!is) return is.error();
        if (*is == container_kind::zip || *is == container_kind::legacy || *is == container_kind::safetensors)
            certain.push_back(&e);
        else if (*is == container_kind::pickle) pickles.push_back(&e);
    }
    const plain_list<const tar_entry*>& found = certain.empty() ? pickles : certain;
    if (found.size() == 1) return open(from, *found.front());
    error e{.code = errc::container_not_supported, .offset = from->base()};
    if (found.empty()) {
        e.detail = str_cat("a tar archive without a checkpoint, of ", list(members(archive)));
        e.hint = "unpack it and look at what it holds";
    } else {
        e.detail = str_cat("a tar archive with several checkpoints",
                           of_ranks(found) ? ", of a model that NeMo split over ranks" : "", ": ", list(found));
        e.hint = of_ranks(found) ? "choose one rank with open_options.member: its tensors are slices of the model's"
                                 : "choose one with open_options.member";
    }
    return e;
}

CKPT_DETAIL_RARE result<tar_member> tar_member::open(const shared<source>& from, const tar_entry& e) {
    auto part = source::part(from, e.offset, e.size);
    if (!part) return std::move(part).failure();
    return tar_member{plain(e.name), std::move(*part)};
}

CKPT_DETAIL_RARE std::string_view tar_member::plain(std::string_view name) noexcept {
    while (name.starts_with("./")) name.remove_prefix(2);
    return name;
}

CKPT_DETAIL_RARE plain_list<const tar_entry*> tar_member::members(const tar_archive& archive) {
    plain_list<const tar_entry*> out;
    for (const tar_entry& e : archive.entries())
        if (e.kind != tar_kind::folder) out.push_back(&e);
    return out;
}

CKPT_DETAIL_RARE std::string tar_member::list(const plain_list<const tar_entry*>& entries) {
    std::string out = decimal(std::uint64_t{entries.size()}) + (entries.size() == 1 ? " member" : " members");
    if (entries.empty()) return out;
    out += " (";
    short_list list{out};
    for (const tar_entry* e : entries)
        if (list.next()) out += quoted(plain(e->name));
    list.end();
    return out + ')';
}

CKPT_DETAIL_RARE bool tar_member::of_ranks(const plain_list<const tar_entry*>& entries) noexcept {
    for (const tar_entry* e : entries)
        if (e->name.find("mp_rank_") == std::string_view::npos) return false;
    return true;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
