// ckpt/state/impl/push.ipp: the definitions of push.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/short_list.hpp>
#include <ckpt/state/load_judge.hpp>
#include <ckpt/state/push.hpp>
#include <ckpt/state/state_dict_data.hpp>
#include <ckpt/tensor/access.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF place_target make_place(const state_dict& weights, std::string_view key,
                                        std::span<const std::int64_t> sizes, ckpt::dtype type,
                                        std::span<std::byte> bytes) {
    place_target p;
    p.target.key = key;
    p.target.type = {.kind = target_kind::place,
                     .sized = true,
                     .type = type,
                     .rank = static_cast<std::uint32_t>(sizes.size()),
                     .room = bytes.size(),
                     .sizes = sizes};
    p.target.found = state_dict_access::data(weights)->find(key);
    p.out = bytes.data();
    return p;
}

/// Says of a cancelled copy to places which of them were not written. The one at which it stopped was, or in part.
inline void tell_unwritten(error& e, std::span<const place_target> places, std::size_t at, bool is_whole) {
    if (!is_whole) e.detail += "; " + quoted(places[at].target.key) + " was written in part";
    const auto is_left = [](const place_target& p) { return p.target.outcome == target_outcome::loaded; };
    std::uint64_t left = 0;
    for (const place_target& p : places.subspan(at + 1)) left += is_left(p);
    e.detail += "; " + decimal(left) + " were not written";
    if (left != 0) e.detail += ": ";
    short_list list{e.detail};
    for (const place_target& p : places.subspan(at + 1))
        if (is_left(p) && list.next()) e.detail += quoted(p.target.key);
    list.end();
}

CKPT_DETAIL_DEF result<load_report> write_places(const state_dict& weights, std::span<place_target> places,
                                                 const load_options& options) {
    load_judge judge{weights, options};
    for (place_target& p : places) (void)judge.judge(p.target);
    load_report report = judge.finish();
    if (!report.ok()) return incomplete_error(report, options, *state_dict_access::data(weights));
    const auto bytes_of_place = [&](const load_target& t) {
        return t.outcome == target_outcome::loaded ? bytes_of(*t.found->data) * (options.digests ? 2u : 1u) : 0;
    };
    progress_meter meter{options.progress};
    for (const place_target& p : places) meter.expect(bytes_of_place(p.target));
    std::size_t loaded = 0;
    storage_readers readers;
    readers.meter = &meter;
    for (const place_target& p : places) {
        const load_target& t = p.target;
        if (t.outcome != target_outcome::loaded) continue;
        meter.begin(bytes_of_place(t));
        auto done = copy_tensor(t.found->data, tensor_access::source(t.source), t.type.type, !options.convert, p.out,
                                t.source.numel(), &readers);
        auto digest = done && options.digests ? add_digest(t.source, report.loaded[loaded], readers) : result<void>{};
        ++loaded;
        if (done && digest && meter.finish()) continue;
        error e = !done ? std::move(done).error() : !digest ? std::move(digest).error() : meter.stopped();
        judge.place(e, t.key);
        if (e.code == errc::cancelled)
            tell_unwritten(e, places, static_cast<std::size_t>(&p - places.data()), done.has_value());
        return e;
    }
    return report;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF result<load_report> load_into(const state_dict& weights, std::span<const destination> places,
                                              const load_options& options) {
    std::vector<detail::place_target> targets;
    targets.reserve(places.size());
    for (const destination& d : places)
        targets.push_back(detail::make_place(weights, d.key, d.shape, d.dtype, d.bytes));
    return detail::write_places(weights, targets, options);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
