// ckpt/impl/checkpoint.ipp: the definitions of checkpoint.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/archive/safetensors.hpp>
#include <ckpt/archive/tar.hpp>
#include <ckpt/checkpoint.hpp>
#include <ckpt/core/arena.hpp>
#include <ckpt/core/plain_list.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/open_source.hpp>
#include <ckpt/pickle/graph.hpp>
#include <ckpt/pickle/value_access.hpp>
#include <ckpt/state/discovery.hpp>
#include <ckpt/state/state_dict_data.hpp>
#include <ckpt/tensor/index_walk.hpp>
#include <ckpt/tensor/parts.hpp>
#include <ckpt/torch/checkpoint_file.hpp>
#include <ckpt/torch/scan.hpp>
#include <ckpt/torch/tar_checkpoint.hpp>
#include <ckpt/torch/zip_checkpoint.hpp>

#include <algorithm>
#include <array>

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_RARE value checkpoint::root() const& noexcept {
    return detail::value_access::make(file_->graph(), file_->graph().root);
}
CKPT_DETAIL_RARE value checkpoint::metadata() const& { return file_->metadata(); }
CKPT_DETAIL_RARE std::vector<candidate> checkpoint::state_dicts() const { return find_candidates(root()); }
CKPT_DETAIL_RARE std::vector<error> checkpoint::refused_globals() const {
    std::vector<error> out;
    for (const error* e : file_->graph().errors)
        if (e->code == errc::global_not_allowed && !e->module.empty()) out.push_back(*e);
    return out;
}
CKPT_DETAIL_RARE std::string_view checkpoint::container() const noexcept { return file_->facts().container; }
CKPT_DETAIL_RARE std::string_view checkpoint::writer() const noexcept { return file_->facts().writer; }
CKPT_DETAIL_RARE ckpt::byte_order checkpoint::byte_order() const noexcept { return file_->facts().order; }
CKPT_DETAIL_RARE bool checkpoint::byte_order_recorded() const noexcept { return file_->facts().order_recorded; }
CKPT_DETAIL_RARE std::uint64_t checkpoint::checkpoints_in_file() const noexcept { return file_->facts().checkpoints; }
CKPT_DETAIL_RARE std::uint64_t checkpoint::file_bytes() const noexcept { return file_->facts().file_bytes; }
CKPT_DETAIL_RARE std::uint64_t checkpoint::pickle_bytes() const noexcept { return file_->graph().metadata_bytes(); }
CKPT_DETAIL_RARE const std::vector<std::string>& checkpoint::files() const& noexcept { return file_->facts().files; }
CKPT_DETAIL_RARE std::span<const record> checkpoint::records() const& noexcept { return file_->records(); }

CKPT_DETAIL_RARE result<ckpt::state_dict> checkpoint::state_dict() const {
    auto best = detail::choose(detail::value_access::make(file_->graph(), file_->graph().root));
    if (best) return state_dict(best->path);
    file_->name_in(best.error());
    return std::move(best).failure();
}

CKPT_DETAIL_RARE result<ckpt::state_dict> checkpoint::state_dict(std::string_view path) const {
    auto out = stored_state_dict(path);
    if (!out) file_->name_in(out.error());
    if (!out || storages_ == storage_mode::mapped) return out;
    return out->owned();
}

CKPT_DETAIL_RARE result<ckpt::state_dict> checkpoint::stored_state_dict(std::string_view path) const {
    auto at = detail::value_access::make(file_->graph(), file_->graph().root).find(path);
    if (!at) return std::move(at).failure();
    if (at->kind() == kind::refused) return *at->refusal();
    const bool is_container =
        at->kind() == kind::dictionary || at->kind() == kind::list || at->kind() == kind::tuple || at->is_module();
    if (!is_container && at->kind() != kind::tensor && at->kind() != kind::array)
        return error{.code = errc::state_dict_missing,
                     .path = std::string(path),
                     .detail = detail::str_cat("not a dictionary or a module, but ", detail::with_article(at->kind())),
                     .hint = "give the path of a dictionary of tensors"};
    auto out = detail::make_state_dict(*at, std::string(path), file_, file_->storages(), file_->budget());
    if (out) detail::state_dict_access::data(*out)->opened = file_->facts().path;
    return out;
}

CKPT_DETAIL_RARE verify_report checkpoint::verify(const verify_options& options) const {
    verify_report out;
    detail::progress_meter meter{options.progress};
    meter.expect(file_->facts().file_bytes);
    meter.begin(file_->facts().file_bytes);
    file_->check({options.checksums, options.workers, meter}, out);
    for (const error* e : file_->graph().errors) // what is merely not supported, or not allowed, is no damage
        if (info(e->code).exit_code != 4 && e->code != errc::global_not_allowed) out.findings.push_back(*e);
    if (!meter.is_stopped()) check_indices(out);
    if (!meter.finish()) out.findings.push_back(meter.stopped());
    return out;
}

CKPT_DETAIL_RARE void checkpoint::check_indices(verify_report& out) const {
    const detail::graph& g = file_->graph();
    detail::plain_list<const detail::tensor_data*> checked;
    for (std::size_t i = 0; i < g.tensors.size(); ++i) // what a wrapper consists of was made before it
        if (const detail::tensor_data& t = g.tensors[i];
            t.extra != nullptr && t.kind != layout::wrapper && t.kind != layout::strided)
            checked.push_back(&t);
    // Of those with the same parts the first stays, and all stay in the file's order.
    const auto parts = [&](std::uint32_t i) { return reinterpret_cast<std::uintptr_t>(checked[i]->extra); };
    std::vector<std::uint32_t> order =
        detail::sorted_indices(checked.size(), [&](std::uint32_t a, std::uint32_t b) { return parts(a) < parts(b); });
    order.erase(std::unique(order.begin(), order.end(),
                            [&](std::uint32_t a, std::uint32_t b) { return checked[a]->extra == checked[b]->extra; }),
                order.end());
    detail::sort_indices(order, [](std::uint32_t a, std::uint32_t b) { return a < b; });
    std::uint64_t left = 16 * file_->facts().file_bytes + (std::uint64_t{64} << 20);
    for (const record& r : file_->records()) // at most what deflate data of that length can become
        if (r.method != 0) left += 8 * (std::min)(r.size, 1032 * r.stored_size);
    for (const std::uint32_t i : order) {
        const detail::tensor_data* const t = checked[i];
        std::uint64_t cost = detail::bytes_of(*t);
        for (const detail::named_data& part : t->extra->parts()) // each line of a matrix inflates it
            if (part.data.kind == layout::strided && part.data.numel != 0 &&
                file_->storages().is_compressed(part.data.storage))
                cost += file_->storages().nbytes(part.data.storage) *
                        (t->kind == layout::sparse_coo && &part == &t->extra->parts()[0]
                             ? static_cast<std::uint64_t>(part.data.shape[0])
                             : 1u);
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
            out.findings.back().detail += detail::str_cat("; its ", part.name, " lie in storage ",
                                                          detail::quoted(file_->storages().key(part.data.storage)));
    }
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

inline result<global_scan> scan_zip(const shared<source>& file, const allowlist& judge, const open_options& options) {
    arena memory{options.scratch.pool()};
    auto zip = opened_zip::read(*file, options.limits, options.inflate, memory);
    if (!zip) return std::move(zip).failure();
    global_scanner scanner{judge, options.limits};
    std::optional<error> damage;
    const auto scan_one = [&](const opened_pickle& p) {
        auto stopped = scanner.scan(p.bytes, p.offset, p.place.from->name, !p.transcoded);
        if (stopped && !damage && p.place.certain) damage = std::move(stopped);
    };
    for (const opened_pickle& p : zip->pickles) scan_one(p);
    auto fault = visit_other_pickles(file, *zip, options.limits, options.inflate, scan_one);
    return scanner.finish(fault ? std::move(fault) : std::move(damage));
}

/// What Python's unpickler would meet in a file whose first bytes are also those of another container: nothing, unless
/// the file was made to be both.
inline global_scan scan_as_pickle(const source& file, const allowlist& judge, const open_options& options) {
    auto met = scan_stream(file, false, judge, options.limits);
    return met && !met->empty() ? std::move(*met) : global_scan{};
}

/// Scans a file that is no tar archive.
inline result<global_scan> scan_one(const shared<source>& file, container_kind is, const allowlist& judge,
                                    const open_options& options) {
    if (is == container_kind::safetensors || is == container_kind::none)
        if (auto met = scan_as_pickle(*file, judge, options); !met.empty()) return met;
    if (is == container_kind::safetensors) {
        arena memory{options.scratch.pool()};
        if (auto header = safetensors_header::read(*file, options.limits, memory); !header)
            return std::move(header).failure();
        return global_scan{};
    }
    if (is == container_kind::legacy || is == container_kind::pickle)
        return scan_stream(*file, is == container_kind::legacy, judge, options.limits);
    return scan_zip(file, judge, options);
}

/// Scans every member of a tar archive: a checkpoint of torch 0.1 as a whole, and then what it does not consist of.
inline global_scan scan_members(const shared<source>& file, const tar_archive& archive, const allowlist& judge,
                                const open_options& options) {
    global_scanner scanner{judge, options.limits};
    std::optional<error> stopped;
    const auto note = [&](const error& e, std::string_view member) {
        if (stopped) return;
        stopped = e;
        if (!member.empty() && stopped->record.empty()) stopped->record = std::string(member);
    };
    const global_scan met = scan_as_pickle(*file, judge, options);
    scanner.add(met);
    if (met.stopped() != nullptr) note(*met.stopped(), {});
    const bool whole = tar_checkpoint::is_one(archive);
    if (whole) {
        const global_scan own = tar_checkpoint::scan(file, archive, judge, options.limits);
        scanner.add(own);
        if (own.stopped() != nullptr) note(*own.stopped(), {});
    }
    for (const tar_entry& e : archive.entries()) {
        if (e.kind != tar_kind::file || (whole && tar_checkpoint::is_member(e.name))) continue;
        auto part = source::part(file, e.offset, e.size);
        if (!part) {
            note(part.error(), e.name);
            continue;
        }
        const auto is = container_of(**part);
        if (is && *is == container_kind::none) {
            const global_scan also = scan_as_pickle(**part, judge, options);
            scanner.add(also);
            if (also.stopped() != nullptr) note(*also.stopped(), e.name);
            std::array<std::byte, 16> head{};
            const auto n = static_cast<std::size_t>((std::min<std::uint64_t>)(e.size, head.size()));
            if (auto read = (*part)->read(0, {head.data(), n}); !read) note(read.error(), e.name);
            else if (const auto closed = sealed_content({reinterpret_cast<const char*>(head.data()), n}))
                note(*closed, e.name);
            continue;
        }
        const auto inner = is && *is != container_kind::tar
                               ? scan_one(*part, *is, judge, options)
                               : result<global_scan>{is ? name_the_file(**part) : is.error()};
        if (!inner) {
            note(inner.error(), e.name);
            continue;
        }
        scanner.add(*inner);
        if (inner->stopped() != nullptr) note(*inner->stopped(), e.name);
    }
    return scanner.finish(std::move(stopped));
}

inline result<global_scan> scan(const result<shared<source>>& from, const allowlist& judge,
                                const open_options& options) {
    if (!from) return from.error();
    const auto is = container_of(**from);
    if (is && *is == container_kind::tar && options.member.empty()) {
        arena names{options.scratch.pool()};
        const auto archive = tar_archive::read(**from, options.limits, names);
        if (!archive) return archive.error();
        return scan_members(*from, *archive, judge, options);
    }
    const auto chosen = chosen_source::of(*from, options);
    if (!chosen) return chosen.error();
    return scan_one(chosen->from, chosen->is, judge, options);
}

inline source_options part_of(const open_options& options) noexcept {
    return {options.io, options.offset, options.length};
}

CKPT_DETAIL_RARE result<checkpoint> open(path_arg path, const allowlist& allowed, const open_options& options) {
    return opened_at(path, open(source::open(path, part_of(options)), allowed, options));
}

CKPT_DETAIL_RARE result<checkpoint> open(std::span<const std::byte> bytes, const allowlist& allowed,
                                         const open_options& options) {
    return open(source::memory(bytes, part_of(options)), allowed, options);
}

CKPT_DETAIL_RARE result<global_scan> scan(path_arg path, const allowlist& judge, const open_options& options) {
    auto out = scan(source::open(path, part_of(options)), judge, options);
    if (!out) name_path(path, out.error());
    return out;
}

CKPT_DETAIL_RARE result<global_scan> scan(std::span<const std::byte> bytes, const allowlist& judge,
                                          const open_options& options) {
    return scan(source::memory(bytes, part_of(options)), judge, options);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
