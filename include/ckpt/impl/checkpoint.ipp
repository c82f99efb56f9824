// ckpt/impl/checkpoint.ipp: the definitions of checkpoint.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/checkpoint.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF result<ckpt::state_dict> checkpoint::state_dict() const {
    auto best = detail::choose(detail_access::make(file_->graph(), file_->graph().root));
    if (!best) return std::move(best).error();
    return state_dict(best->path);
}

CKPT_DETAIL_DEF result<ckpt::state_dict> checkpoint::state_dict(std::string_view path) const {
    auto at = detail_access::make(file_->graph(), file_->graph().root).find(path);
    if (!at) return std::move(at).error();
    if (at->kind() == kind::refused) return *at->refusal();
    if (at->kind() != kind::dictionary && at->kind() != kind::list && at->kind() != kind::tuple && !at->is_module())
        return error{.code = errc::state_dict_missing,
                     .path = std::string(path),
                     .detail = "not a dictionary or a module, but a " + std::string(name(at->kind())),
                     .hint = "give the path of a dictionary of tensors"};
    auto out = detail::make_state_dict(*at, std::string(path), file_, file_->storages(), file_->budget());
    if (!out || storages_ == storage_mode::mapped) return out;
    return out->owned();
}

CKPT_DETAIL_DEF verify_report checkpoint::verify(bool checksums) const {
    verify_report out;
    file_->check(checksums, out);
    for (const error* e : file_->graph().errors)
        if (info(e->code).exit_code != 4) out.findings.push_back(*e); // what is merely not supported is no damage
    check_indices(out);
    return out;
}

CKPT_DETAIL_DEF void checkpoint::check_indices(verify_report& out) const {
    const detail::graph& g = file_->graph();
    std::vector<const detail::tensor_data*> checked;
    for (std::size_t i = 0; i < g.tensors.size(); ++i) // what a wrapper consists of was made before it
        if (const detail::tensor_data& t = g.tensors[i];
            t.extra != nullptr && t.kind != layout::wrapper && t.kind != layout::strided)
            checked.push_back(&t);
    // Of those with the same parts the first stays, and all stay in the file's order.
    std::vector<std::uint32_t> order(checked.size());
    for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    const auto parts = [&](std::uint32_t i) {
        return std::pair{reinterpret_cast<std::uintptr_t>(checked[i]->extra), i};
    };
    std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) { return parts(a) < parts(b); });
    order.erase(std::unique(order.begin(), order.end(),
                            [&](std::uint32_t a, std::uint32_t b) { return checked[a]->extra == checked[b]->extra; }),
                order.end());
    std::sort(order.begin(), order.end());
    std::uint64_t left = 16 * file_->facts().file_bytes + (std::uint64_t{64} << 20);
    for (const std::uint32_t i : order) {
        const detail::tensor_data* const t = checked[i];
        std::uint64_t cost = detail::bytes_of(*t);
        for (const detail::named_data& part : t->extra->parts()) // each is inflated as a whole
            if (part.data.kind == layout::strided && part.data.numel != 0 &&
                file_->storages().is_compressed(part.data.storage))
                cost += file_->storages().nbytes(part.data.storage);
        if (cost > left) {
            out.findings.push_back({.code = errc::limit,
                                    .detail = "the indices of the sparse tensors of this file are shared so often "
                                              "that not all were checked"});
            return;
        }
        left -= cost;
        auto valid = detail::check_values(t, &file_->storages());
        if (valid) continue;
        out.findings.push_back(std::move(valid).error());
        if (out.findings.back().code != errc::indices_invalid) continue;
        for (const detail::named_data& part : t->extra->parts().first(1)) // where to look for it
            out.findings.back().detail += "; its " + std::string(part.name) + " lie in storage " +
                                          detail::quoted(file_->storages().key(part.data.storage));
    }
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF result<chosen_source> chosen_source::of(shared<source> whole, const open_options& options) {
    const auto is = container_of(*whole);
    if (!is) return is.error();
    if (*is != container_kind::tar) {
        if (options.member.empty()) return chosen_source{std::move(whole), *is, {}};
        return error{.code = errc::record_missing,
                     .offset = whole->base(),
                     .detail = "no member " + quoted(options.member) + ": the file is no tar archive"};
    }
    arena names{options.scratch.pool()};
    const auto archive = tar_archive::read(*whole, options.limits, names);
    if (!archive) return archive.error();
    if (options.member.empty() && tar_checkpoint::is_one(*archive))
        return chosen_source{std::move(whole), container_kind::tar, {}};
    auto member = tar_member::find(whole, *archive, options.member);
    if (!member) return std::move(member).error();
    const auto inner = container_of(*member->from);
    if (!inner) return inner.error();
    return chosen_source{std::move(member->from), *inner == container_kind::tar ? container_kind::none : *inner,
                         std::string(member->name)};
}

CKPT_DETAIL_DEF result<shared<checkpoint_file>> open_kind(shared<source> from, container_kind is,
                                                          const allowlist& allowed, const open_options& options) {
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

CKPT_DETAIL_DEF result<shared<checkpoint_file>> open_container(shared<source> whole, const allowlist& allowed,
                                                               const open_options& options) {
    auto chosen = chosen_source::of(std::move(whole), options);
    if (!chosen) return std::move(chosen).error();
    auto file = open_kind(std::move(chosen->from), chosen->is, allowed, options);
    if (file && !chosen->member.empty()) (*file)->found_as(std::move(chosen->member));
    return file;
}

CKPT_DETAIL_DEF result<checkpoint> open(result<shared<source>> from, const allowlist& allowed,
                                        const open_options& options) {
    if (!from) return std::move(from).error();
    auto file = open_container(std::move(*from), allowed, options);
    if (!file) return std::move(file).error();
    return checkpoint{std::move(*file), options.storages};
}

CKPT_DETAIL_DEF result<global_scan> scan(const result<shared<source>>& from, const allowlist& judge,
                                         const open_options& options) {
    if (!from) return from.error();
    arena memory{options.scratch.pool()};
    const auto chosen = chosen_source::of(*from, options);
    if (!chosen) return chosen.error();
    const shared<source>& file = chosen->from;
    if (chosen->is == container_kind::safetensors) {
        if (auto header = safetensors_header::read(*file, options.limits, memory); !header)
            return std::move(header).error();
        return global_scan{{}, std::nullopt};
    }
    if (chosen->is == container_kind::tar) {
        const auto archive = tar_archive::read(*file, options.limits, memory);
        if (!archive) return archive.error();
        return tar_checkpoint::scan(file, *archive, judge, options.limits);
    }
    if (chosen->is == container_kind::legacy || chosen->is == container_kind::pickle)
        return scan_stream(*file, chosen->is == container_kind::legacy, judge, options.limits);
    auto zip = opened_zip::read(*file, options.limits, options.inflate, memory);
    if (!zip) return std::move(zip).error();
    const other_pickles others = other_pickles::read(file, *zip, options.limits, options.inflate, memory);
    global_scanner scanner{judge, options.limits};
    std::optional<error> damage = others.fault;
    for (const auto& pickles : {zip->pickles, others.pickles})
        for (const opened_pickle& p : pickles) {
            auto stopped = scanner.scan(p.bytes, p.offset, p.place.from->name, !p.transcoded);
            if (stopped && !damage && p.place.certain) damage = std::move(stopped);
        }
    return global_scan{scanner.take(), std::move(damage)};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
