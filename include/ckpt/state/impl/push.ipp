// ckpt/state/impl/push.ipp: the definitions of push.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

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

CKPT_DETAIL_DEF result<load_report> write_places(const state_dict& weights, std::span<place_target> places,
                                                 const load_options& options) {
    load_judge judge{weights, options};
    for (place_target& p : places) (void)judge.judge(p.target);
    load_report report = judge.finish();
    if (!report.ok()) return incomplete_error(report, options, *state_dict_access::data(weights));
    std::size_t loaded = 0;
    for (const place_target& p : places) {
        const load_target& t = p.target;
        if (t.outcome != target_outcome::loaded) continue;
        auto done = copy_tensor(t.found->data, tensor_access::source(t.source), t.type.type, !options.convert, p.out,
                                t.source.numel());
        auto digest = done && options.digests ? add_digest(t.source, report.loaded[loaded]) : result<void>{};
        ++loaded;
        if (done && digest) continue;
        error e = done ? std::move(digest).error() : std::move(done).error();
        judge.place(e, t.key);
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
