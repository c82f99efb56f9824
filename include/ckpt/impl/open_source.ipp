// ckpt/impl/open_source.ipp: the definitions of open_source.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/archive/tar.hpp>
#include <ckpt/checkpoint.hpp>
#include <ckpt/core/arena.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/open_source.hpp>
#include <ckpt/torch/checkpoint_file.hpp>
#include <ckpt/torch/legacy_checkpoint.hpp>
#include <ckpt/torch/pickle_checkpoint.hpp>
#include <ckpt/torch/safetensors_checkpoint.hpp>
#include <ckpt/torch/tar_checkpoint.hpp>
#include <ckpt/torch/tar_member.hpp>
#include <ckpt/torch/zip_checkpoint.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF result<chosen_source> chosen_source::of(shared<source> whole, const open_options& options) {
    const auto is = container_of(*whole);
    if (!is) return is.error();
    if (*is != container_kind::tar) {
        if (options.member.empty()) return chosen_source{std::move(whole), *is, {}};
        return error{.code = errc::record_missing,
                     .offset = whole->base(),
                     .detail = str_cat("no member ", quoted(options.member), ": the file is no tar archive")};
    }
    arena names{options.scratch.pool()};
    const auto archive = tar_archive::read(*whole, options.limits, names);
    if (!archive) return archive.error();
    if (options.member.empty() && tar_checkpoint::is_one(*archive))
        return chosen_source{std::move(whole), container_kind::tar, {}};
    auto member = tar_member::find(whole, *archive, options.member);
    if (!member) return std::move(member).failure();
    const auto inner = container_of(*member->from);
    if (!inner) return inner.error();
    return chosen_source{std::move(member->from), *inner == container_kind::tar ? container_kind::none : *inner,
                         std::string(member->name)};
}

inline result<shared<checkpoint_file>> open_kind(shared<source> from, container_kind is, const allowlist& allowed,
                                                 const open_options& options) {
    const limits& budget = options.limits;
    if (is == container_kind::legacy)
        return legacy_checkpoint::open(std::move(from), allowed, budget, options.scratch, options.index);
    if (is == container_kind::pickle)
        return pickle_checkpoint::open(std::move(from), allowed, budget, options.scratch, options.index);
    if (options.index != 0) return no_such_checkpoint(options.index, 1);
    if (is == container_kind::tar) {
        arena names{options.scratch.pool()};
        const auto archive = tar_archive::read(*from, budget, names);
        if (!archive) return archive.error();
        return tar_checkpoint::open(std::move(from), *archive, allowed, budget, options.scratch);
    }
    if (is == container_kind::safetensors)
        return safetensors_checkpoint::open(std::move(from), budget, options.scratch);
    return zip_checkpoint::open(std::move(from), allowed, budget, options.scratch, options.byte_order, options.inflate);
}

inline result<shared<checkpoint_file>> open_container(shared<source> whole, const allowlist& allowed,
                                                      const open_options& options) {
    const opening_reads few{whole};
    auto chosen = chosen_source::of(std::move(whole), options);
    if (!chosen) return std::move(chosen).failure();
    auto file = open_kind(std::move(chosen->from), chosen->is, allowed, options);
    if (file && !chosen->member.empty()) (*file)->found_in_archive(std::move(chosen->member));
    return file;
}

CKPT_DETAIL_DEF result<checkpoint> open(result<shared<source>> from, const allowlist& allowed,
                                        const open_options& options) {
    if (!from) return std::move(from).failure();
    allowlist judge = allowed;
    judge.refuses_file = judge.refuses_file || options.foreign == foreign_globals::refuse_file;
    auto file = open_container(std::move(*from), judge, options);
    if (!file) return std::move(file).failure();
    return checkpoint_access::make(std::move(*file), options.storages);
}

CKPT_DETAIL_RARE void name_path(path_arg path, error& failure) {
    std::string text = path.text();
    if (failure.file.empty() && failure.detail.find(printable(text)) == std::string::npos)
        failure.file = std::move(text);
}

CKPT_DETAIL_RARE result<checkpoint> opened_at(path_arg path, result<checkpoint> opened, std::string folder) {
    if (opened) {
        std::string text = path.text();
        if (folder.empty()) folder = folder_of(text);
        checkpoint_access::file(*opened)->opened_at(std::move(text), std::move(folder));
    } else {
        name_path(path, opened.error());
    }
    return opened;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
