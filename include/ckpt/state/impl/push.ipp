// ckpt/state/impl/push.ipp: the definitions of push.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/short_list.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/load_judge.hpp>
#include <ckpt/state/push.hpp>
#include <ckpt/state/state_dict_data.hpp>
#include <ckpt/tensor/access.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF place_target make_place(const state_dict& weights, std::string_view key, sink to) {
    place_target p;
    p.target.key = key;
    p.target.found = state_dict_access::data(weights)->find(key);
    p.target.type = {.kind = to.rows != 0 ? target_kind::rows : target_kind::place,
                     .sized = to.shape.has_value(),
                     .type = to.dtype,
                     .room = to.bytes.size()};
    if (to.shape) p.sizes = *std::move(to.shape);
    p.target.type.sizes = p.sizes;
    p.out = to.bytes.data();
    p.rows = to.rows;
    return p;
}

/// Hands the rows of tensors out, in a block that is reused.
class row_pusher {
  public:
    row_pusher(rows_taker take, void* context) noexcept : take_{take}, context_{context} {}

    [[nodiscard]] bool takes() const noexcept { return take_ != nullptr; }

    [[nodiscard]] result<void> push(const place_target& p, bool convert, storage_readers& readers) {
        const tensor_data& data = *p.target.found->data;
        const storage_source* const source = tensor_access::source(p.target.source);
        rows_ = {.key = p.target.found->key, .dtype = p.target.type.type, .shape = data.sizes()};
        if (data.numel == 0) return {};
        if (data.rank != 0) {
            row_bytes_ = static_cast<std::size_t>(data.numel / static_cast<std::uint64_t>(data.shape[0])) *
                         itemsize(rows_.dtype);
            return visit_rows(&data, source, rows_.dtype, p.rows, &take_rows, this, &block_, &readers);
        }
        row_bytes_ = itemsize(rows_.dtype);
        std::byte* const value = block_.of_size(row_bytes_);
        auto copied = copy_tensor(&data, source, rows_.dtype, !convert, value, 1, &readers);
        return copied ? take_rows(this, 0, value, 1) : copied;
    }

  private:
    static result<void> take_rows(void* self, std::uint64_t first, const std::byte* values, std::size_t n) {
        row_pusher& to = *static_cast<row_pusher*>(self);
        to.rows_.first = first;
        to.rows_.bytes = {values, n * itemsize(to.rows_.dtype)};
        to.rows_.count = to.rows_.bytes.size() / to.row_bytes_;
        return to.take_(to.context_, to.rows_);
    }

    rows_taker take_;
    void* context_;
    row_block block_{};
    pushed_rows rows_{};
    std::size_t row_bytes_{0};
};

/// Says of a cancelled copy to places which of them were not written. The one at which it stopped was, or in part.
inline void tell_unwritten(error& e, std::span<const place_target> places, std::size_t at, bool is_whole) {
    if (!is_whole) e.detail += str_cat("; ", quoted(places[at].target.key), " was written in part");
    const auto is_left = [](const place_target& p) { return p.target.outcome == target_outcome::loaded; };
    std::uint64_t left = 0;
    for (const place_target& p : places.subspan(at + 1)) left += is_left(p);
    e.detail += str_cat("; ", left, " were not written");
    if (left != 0) e.detail += ": ";
    short_list list{e.detail};
    for (const place_target& p : places.subspan(at + 1))
        if (is_left(p) && list.next()) e.detail += quoted(p.target.key);
    list.end();
}

CKPT_DETAIL_DEF result<load_report> write_places(const state_dict& weights, std::span<place_target> places,
                                                 const load_options& options, rows_taker take, void* context) {
    load_judge judge{weights, options};
    row_pusher rows{take, context};
    for (place_target& p : places) {
        if (p.rows == 0 || rows.takes()) (void)judge.judge(p.target);
        else judge.mismatch(p.target, "the sink asks for rows, and push was given no function that takes them");
    }
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
        auto done = p.rows != 0 ? rows.push(p, options.convert, readers)
                                : copy_tensor(t.found->data, tensor_access::source(t.source), t.type.type,
                                              !options.convert, p.out, t.source.numel(), &readers);
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
    for (const destination& d : places) {
        sink to{.dtype = d.dtype, .bytes = d.bytes};
        if (d.shape) to.shape.emplace(d.shape->begin(), d.shape->end());
        targets.push_back(detail::make_place(weights, d.key, std::move(to)));
    }
    return detail::write_places(weights, targets, options);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
