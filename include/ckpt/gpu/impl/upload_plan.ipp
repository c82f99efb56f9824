// ckpt/gpu/impl/upload_plan.ipp: the definitions of upload_plan.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/core/short_list.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/gpu/plan_copies.hpp>
#include <ckpt/gpu/plan_data.hpp>
#include <ckpt/gpu/plan_grouping.hpp>
#include <ckpt/gpu/plan_inputs.hpp>
#include <ckpt/gpu/plan_reads.hpp>
#include <ckpt/gpu/plan_replicas.hpp>
#include <ckpt/gpu/upload_plan.hpp>
#include <ckpt/state/state_dict_data.hpp>
#include <ckpt/tensor/access.hpp>

#include <algorithm>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF upload_plan::upload_plan(detail::shared<detail::upload_plan_data> data) noexcept
    : data_{std::move(data)} {}
CKPT_DETAIL_DEF upload_plan::upload_plan(const upload_plan& other) noexcept = default;
CKPT_DETAIL_DEF upload_plan::upload_plan(upload_plan&& other) noexcept = default;
CKPT_DETAIL_DEF upload_plan& upload_plan::operator=(const upload_plan& other) noexcept = default;
CKPT_DETAIL_DEF upload_plan& upload_plan::operator=(upload_plan&& other) noexcept = default;
CKPT_DETAIL_DEF upload_plan::~upload_plan() = default;

CKPT_DETAIL_DEF std::size_t upload_plan::size() const noexcept { return data_->tensors.size(); }

CKPT_DETAIL_DEF upload_plan::tensor upload_plan::operator[](std::size_t i) const& noexcept {
    const detail::placed_tensor& t = data_->tensors[i];
    return {t.key, t.type, {t.shape, t.rank}, {t.strides, t.rank}, t.target, t.offset, t.way};
}

CKPT_DETAIL_DEF std::vector<upload_plan::run> upload_plan::runs() const& {
    std::vector<run> out;
    for (const detail::byte_run& r : data_->runs)
        out.push_back({r.file_name, r.in == nullptr, r.begin, r.end - r.begin});
    return out;
}

CKPT_DETAIL_DEF std::size_t upload_plan::targets() const noexcept { return data_->targets.size(); }
CKPT_DETAIL_DEF int upload_plan::device(std::size_t target) const noexcept { return data_->targets[target].device; }
CKPT_DETAIL_DEF std::uint64_t upload_plan::device_bytes(std::size_t target) const noexcept {
    return data_->targets[target].bytes;
}
CKPT_DETAIL_DEF std::uint64_t upload_plan::scratch_bytes(std::size_t target) const noexcept {
    return data_->targets[target].temporary();
}
CKPT_DETAIL_DEF std::uint64_t upload_plan::read_bytes() const noexcept { return data_->read_bytes; }
CKPT_DETAIL_DEF std::uint64_t upload_plan::built_bytes() const noexcept { return data_->built_bytes; }
CKPT_DETAIL_DEF std::size_t upload_plan::pieces() const noexcept { return data_->pieces.size(); }
CKPT_DETAIL_DEF std::size_t upload_plan::copies() const noexcept { return data_->copies.size(); }

CKPT_DETAIL_DEF upload_estimate upload_plan::estimate(const upload_rates& rates) const noexcept {
    const detail::upload_plan_data& d = *data_;
    std::vector<double> links(d.targets.size());
    double issued = 0;
    for (const detail::staged_copy& c : d.copies) links[c.target] += static_cast<double>(c.bytes);
    issued = static_cast<double>(d.copies.size() + d.casts.size()) * rates.issue;
    const auto read = static_cast<double>(d.read_bytes + d.built_from);
    const double staged = read + static_cast<double>(d.built_bytes);
    const double disk = read / rates.disk;
    const double host = staged / (rates.copy * (rates.readers != 0 ? rates.readers : 1));
    double link = 0;
    for (const double bytes : links) link = (std::max)(link, bytes / rates.link);
    link = (std::max)(link, issued);
    upload_estimate out{.seconds = (std::max)({disk, host, link})};
    out.bound = out.seconds == link ? "link" : out.seconds == disk ? "disk" : "host";
    // The first piece fills the stages, the last one drains them.
    if (staged > 0)
        out.seconds +=
            (disk + host + link - out.seconds) * (std::min)(1.0, static_cast<double>(d.piece_bytes) / staged);
    return out;
}

CKPT_DETAIL_DEF std::string upload_plan::text(std::size_t most) const {
    using detail::decimal;
    const detail::upload_plan_data& d = *data_;
    std::string out;
    const auto number = [](std::uint64_t n, const char* what) { return decimal(n) + ' ' + what; };
    out += number(d.tensors.size(), "tensors, ") + number(d.read_bytes, "bytes read in ") +
           number(d.runs.size(), "runs, ") + number(d.built_bytes, "bytes built by the host, ") +
           number(d.pieces.size(), "pieces, ") + number(d.copies.size(), "copies, ") +
           number(d.casts.size(), "conversions by a device\n");
    for (std::size_t t = 0; t < d.targets.size(); ++t) {
        out += detail::str_cat("device ", d.targets[t].device, ": ", number(d.targets[t].bytes, "bytes"));
        if (const std::uint64_t scratch = scratch_bytes(t); scratch != 0)
            out += detail::str_cat(", and ", number(scratch, "while it runs"));
        if (const std::uint32_t first = d.targets[t].alike; first != t)
            out += detail::str_cat(", the same as target ", first, ", from which it may be copied");
        out += '\n';
    }
    const detail::list_style lines{.most = most, .separator = {}, .before_rest = "  and ", .after_rest = " more\n"};
    detail::short_list runs{out, lines};
    for (const detail::byte_run& r : d.runs) {
        if (!runs.next()) continue;
        out += detail::str_cat("  read ", number(r.end - r.begin, "bytes "));
        if (r.in == nullptr) out += "of memory";
        else
            out += detail::str_cat("at ", r.begin,
                                   r.file_name.empty() ? std::string()
                                                       : detail::str_cat(" of ", detail::quoted(r.file_name)));
        out += '\n';
    }
    runs.end();
    detail::short_list tensors{out, lines};
    for (const detail::placed_tensor& t : d.tensors) {
        if (!tensors.next()) continue;
        out +=
            detail::str_cat("  ", detail::printable(t.key), " ", name(t.type), " ", detail::list_of({t.shape, t.rank}),
                            " at ", t.offset, " of device ", d.targets[t.target].device);
        if (t.way != upload_way::stored)
            out += t.way == upload_way::host ? ", built by the host" : ", built by the device";
        out += '\n';
    }
    tensors.end();
    return out;
}

CKPT_DETAIL_DEF result<upload_plan> plan_upload(std::span<const upload_target> targets,
                                                const upload_plan_options& options) {
    using namespace detail;
    if (options.piece_bytes == 0 || options.piece_bytes % 4096 != 0 || options.piece_bytes > (std::uint64_t{1} << 30))
        return error{.code = errc::limit,
                     .detail = str_cat("pieces of ", options.piece_bytes, " bytes"),
                     .hint = "they are a multiple of 4096 of at most 1 GiB"};
    if (options.alignment < 16 || (options.alignment & (options.alignment - 1)) != 0 || options.alignment > 4096)
        return error{.code = errc::limit,
                     .detail = str_cat("an alignment of ", options.alignment),
                     .hint = "it is a power of two from 16 to 4096"};
    auto out = detail::make_shared<upload_plan_data>();
    out->piece_bytes = options.piece_bytes;
    out->kernels = options.kernels;
    out->phases = static_cast<std::uint32_t>(options.order.size()) + 1;
    plan_inputs inputs{options, *out};
    for (std::uint32_t t = 0; t < targets.size(); ++t) {
        const auto& weights = state_dict_access::data(targets[t].weights);
        out->owners.push_back(weights);
        out->targets.push_back({.device = targets[t].device});
        if (auto added = inputs.add(*weights, t); !added) return std::move(added).failure();
    }
    if (auto done = inputs.finish(); !done) return std::move(done).failure();
    plan_grouping grouping{options, inputs, *out};
    if (auto placed = grouping.run(); !placed) return std::move(placed).failure();
    plan_reads{options, inputs, grouping, *out}.run();
    for (const upload_piece& p : out->pieces)
        out->slot_bytes = (std::max)(out->slot_bytes, align_up(out->lead(p) + p.bytes, file::direct_alignment));
    find_replicas(*out);
    return upload_plan_access::make(std::move(out));
}

CKPT_DETAIL_DEF result<upload_plan> plan_upload(const state_dict& weights, const upload_plan_options& options,
                                                int device) {
    const upload_target one[]{{device, weights}};
    return plan_upload(one, options);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF upload_plan upload_plan_access::make(shared<upload_plan_data> data) noexcept {
    return upload_plan{std::move(data)};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
