// ckpt/folder/impl/zero_stages.ipp: the definitions of zero_stages.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/folder/zero_messages.hpp>
#include <ckpt/folder/zero_stages.hpp>
#include <ckpt/state/gather.hpp>

#include <iterator>
#include <optional>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF const std::map<std::string_view, zero_weight>& zero_stages::run() {
    read_groups();
    read_frozen();
    return weights_;
}

CKPT_DETAIL_DEF void zero_stages::read_shapes(const value& dictionary, std::vector<parameter>& to) {
    for (const value::entry e : dictionary.entries()) {
        const auto key = e.key.as_string();
        parameter p{key ? *key : std::string_view{}, {}, 1};
        bool good = key.has_value() && e.mapped.kind() == kind::tuple;
        if (good && !work_.check_rank(files_.models().front().name, p.name, e.mapped.size())) continue;
        for (const value v : e.mapped.elements()) {
            const auto n = v.as_int();
            good = good && n && *n >= 0;
            if (good) p.shape.push_back(*n);
        }
        if (good && std::find(p.shape.begin(), p.shape.end(), 0) != p.shape.end()) p.numel = 0;
        for (const std::int64_t n : p.shape)
            good = good && (p.numel == 0 || checked_mul(p.numel, static_cast<std::uint64_t>(n), p.numel));
        std::uint64_t bytes = 0;
        if (good && checked_mul(p.numel, 16, bytes)) to.push_back(std::move(p));
        else work_.find(zero_faults::bad_shape(files_.models().front().name, p.name));
    }
}

CKPT_DETAIL_DEF void zero_stages::read_groups() {
    const zero_file& model = files_.models().front();
    const auto shapes = model.content.at("param_shapes");
    std::vector<std::vector<parameter>> groups;
    if (shapes->kind() == kind::list)
        for (const value v : shapes->elements()) read_shapes(v, groups.emplace_back());
    else read_shapes(*shapes, groups.emplace_back()); // one group, before 0.3.16
    if (!is_sound()) return;
    if (files_.is_stage3()) {
        std::vector<parameter> all;
        for (auto& g : groups) std::move(g.begin(), g.end(), std::back_inserter(all));
        return gather_stage3(all);
    }
    const std::uint64_t partitions = files_.optimizers().front().flat.size();
    if (groups.size() != partitions) return work_.find(zero_faults::group_count(model.name, groups.size(), partitions));
    for (std::size_t i = 0; i < groups.size(); ++i) gather_group(i, groups[i]);
}

CKPT_DETAIL_DEF std::uint64_t zero_stages::size_of(const std::vector<parameter>& parameters,
                                                   const std::vector<std::uint64_t>& paddings) noexcept {
    std::uint64_t out = 0;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
        const std::uint64_t after = paddings.empty() ? 0 : paddings[i];
        if (!checked_add(out, parameters[i].numel, out) || !checked_add(out, after, out)) out = largest_signed;
    }
    return out;
}

CKPT_DETAIL_DEF bool zero_stages::join_partitions(std::size_t group, std::uint64_t needed, flat_vector& whole) {
    const std::uint64_t ranks = files_.ranks();
    std::uint64_t size = 0; // of every partition but those at the end
    for (const zero_file& f : files_.optimizers()) size = (std::max)(size, f.flat[group]->numel);
    std::uint64_t total = 0;
    if (!checked_mul(size, ranks, total)) {
        work_.find(zero_faults::group_size(files_.step(), group, size, needed));
        return false;
    }
    const auto add_missing = [&](std::uint64_t first, std::uint64_t end) {
        if (end > first) whole.add((end - first) * size, gather_plan::none, static_cast<std::uint32_t>(first));
    };
    bool ended = false; // behind a partition that was cut
    std::uint64_t next = 0;
    for (const zero_file& f : files_.optimizers()) {
        add_missing(next, f.rank);
        next = f.rank + std::uint64_t{1};
        const std::uint64_t own = f.flat[group]->numel;
        if (ended && own > 0) {
            work_.find(zero_faults::behind_short_partition(f.name, group, own, size));
            return false;
        }
        ended = ended || own < size;
        whole.add(own, out_.leaf(f.part, f.flat[group]), f.rank);
    }
    add_missing(next, ranks);
    return true;
}

CKPT_DETAIL_DEF void zero_stages::gather_group(std::size_t group, const std::vector<parameter>& parameters) {
    const std::vector<std::uint64_t> paddings = alignment_paddings(group, parameters.size());
    if (!is_sound()) return;
    const std::uint64_t needed = size_of(parameters, paddings);
    flat_vector whole;
    if (!join_partitions(group, needed, whole)) return;
    // DeepSpeed pads a group to a multiple of twice the ranks.
    const std::uint64_t align = 2 * files_.ranks();
    const auto aligned = [align](std::uint64_t n) { return n / align + (n % align != 0); };
    const bool all_there = files_.optimizers().size() == files_.ranks();
    if (whole.size < needed || (all_there && aligned(whole.size) != aligned(needed)))
        return work_.find(zero_faults::group_size(files_.step(), group, whole.size, needed));
    std::uint64_t at = 0;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
        tensor_pieces pieces;
        whole.cut(out_.plan(), at, parameters[i].numel, pieces);
        keep(parameters[i], pieces);
        at += parameters[i].numel + (paddings.empty() ? 0 : paddings[i]);
    }
}

CKPT_DETAIL_DEF std::vector<std::uint64_t> zero_stages::alignment_paddings(std::size_t group, std::size_t parameters) {
    std::vector<std::uint64_t> out;
    const zero_file& first = files_.optimizers().front();
    const auto all = first.content.at("param_alignment_paddings");
    if (!all || all->is_none()) return out;
    const value own = (*all)[group];
    for (const value v : own.elements()) {
        const auto n = v.as_int();
        out.push_back(n && *n >= 0 ? static_cast<std::uint64_t>(*n) : largest_signed);
    }
    if (out.size() != parameters) work_.find(zero_faults::padding_count(first.name, group, out.size(), parameters));
    return out;
}

CKPT_DETAIL_DEF void zero_stages::gather_stage3(const std::vector<parameter>& parameters) {
    std::uint64_t needed = 0;
    for (const parameter& p : parameters)
        if (!checked_add(needed, per_rank(p.numel), needed)) needed = largest_signed;
    std::vector<flat_vector> vectors;
    for (const zero_file& f : files_.optimizers()) {
        flat_vector& own = vectors.emplace_back();
        for (const tensor_data* t : f.flat) own.add(t->numel, out_.leaf(f.part, t), f.rank);
        if (own.size != needed) work_.find(zero_faults::rank_size(f.name, own.size, needed));
    }
    if (!is_sound()) return;
    std::uint64_t at = 0;
    for (const parameter& p : parameters) {
        gather_ranks(
            p, [&](std::size_t i, std::uint64_t n, tensor_pieces& out) { vectors[i].cut(out_.plan(), at, n, out); },
            files_.optimizers());
        at += per_rank(p.numel);
    }
}

CKPT_DETAIL_DEF void zero_stages::keep(const parameter& p, const tensor_pieces& pieces) {
    zero_weight out{};
    const std::vector<std::uint32_t>& parts = pieces.parts;
    if (!pieces.missing.empty()) {
        error e = zero_faults::incomplete(p.name, pieces.what_is_missing());
        out.node = out_.refused(e);
        out.lacks = true;
        work_.report.absent.push_back(std::move(e));
    } else if (parts.empty()) {
        out.node = out_.tensor_of(out_.plan().fill(files_.type().value_or(ckpt::dtype::float32), p.shape, {}));
    } else {
        out.node = out_.tensor_of(out_.plan().reshape(out_.plan().concat(parts, 0), p.shape));
    }
    if (!weights_.try_emplace(p.name, out).second)
        work_.find(zero_faults::key_twice(files_.models().front().name, p.name));
}

CKPT_DETAIL_DEF zero_stages::fragments zero_stages::fragments_in(const zero_file& f) {
    fragments out;
    const auto all = f.content.at("frozen_param_fragments");
    if (!all) return out;
    for (const value::entry e : all->entries()) {
        const auto key = e.key.as_string();
        const auto t = e.mapped.as_tensor();
        if (key && t && t->refusal() == nullptr && t->layout() == layout::strided && t->rank() == 1 &&
            t->is_contiguous())
            out.emplace(*key, tensor_access::data(*t));
    }
    return out;
}

CKPT_DETAIL_DEF bool zero_stages::has_fragments(const parameter& p, const std::vector<fragments>& of_files) {
    const std::uint64_t wanted = per_rank(p.numel);
    std::optional<ckpt::dtype> type;
    for (std::size_t i = 0; i < of_files.size() && p.numel > 0; ++i) {
        const auto found = of_files[i].find(p.name);
        if (found == of_files[i].end() || found->second->numel < (std::min)(wanted, p.numel) ||
            found->second->type != type.value_or(found->second->type)) {
            work_.find(zero_faults::no_frozen_piece(files_.models()[i].name, p.name, wanted));
            return false;
        }
        type = found->second->type;
    }
    return true;
}

CKPT_DETAIL_DEF void zero_stages::read_frozen() {
    const std::vector<zero_file>& models = files_.models();
    const auto shapes = models.front().content.at("frozen_param_shapes");
    if (!shapes || shapes->is_none()) return;
    std::vector<parameter> parameters;
    read_shapes(*shapes, parameters);
    if (!files_.is_stage3()) return; // they are whole in the first file: zero_module finds them there
    std::vector<fragments> of_files;
    for (const zero_file& f : models) of_files.push_back(fragments_in(f));
    for (const parameter& p : parameters) {
        if (!has_fragments(p, of_files)) continue;
        const auto cut = [&](std::size_t i, std::uint64_t n, tensor_pieces& out) {
            const std::uint32_t leaf = out_.leaf(models[i].part, of_files[i].find(p.name)->second);
            out.add(n, out_.plan().narrow(leaf, 0, 0, static_cast<std::int64_t>(n)));
        };
        gather_ranks(p, cut, models);
    }
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
