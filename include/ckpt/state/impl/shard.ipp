// ckpt/state/impl/shard.ipp: the definitions of shard.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/assemble.hpp>
#include <ckpt/state/gather.hpp>
#include <ckpt/state/shard.hpp>
#include <ckpt/tensor/shape_text.hpp>

#include <string>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The node of one rank's part of a tensor along dimension `d`; `where` is the tensor's place, for errors.
[[nodiscard]] inline result<std::uint32_t> shard_node(gather_plan& plan, std::uint32_t whole, std::size_t d,
                                                      std::uint32_t rank, std::uint32_t world,
                                                      const std::string& where) {
    const tensor_data& data = *plan.node(whole).data;
    const auto refuse = [&](std::string what) {
        return error{.code = errc::slice_invalid,
                     .path = where,
                     .detail = std::move(what),
                     .hint = "choose another dimension or number of ranks, or "
                             "leave the tensor whole"};
    };
    if (data.refusal != nullptr) return *data.refusal;
    if (data.kind != layout::strided || bits(data.type) < 8 || is_quantised(data))
        return refuse(str_cat("only plain strided tensors of whole bytes are cut; this one is ",
                              is_quantised(data) ? "quantised" : name(data.kind), " ", name(data.type)));
    if (d >= data.rank) return refuse(str_cat("dimension ", d, " of the shape ", list_of(data.sizes())));
    const std::int64_t size = data.shape[d];
    if (size % std::int64_t{world} != 0)
        return refuse(str_cat("size ", size, " of dimension ", d, " is no multiple of ", world, "; the shape is ",
                              list_of(data.sizes())));
    const std::int64_t part = size / std::int64_t{world};
    return plan.narrow(whole, static_cast<std::uint32_t>(d), part * std::int64_t{rank}, part);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF result<state_dict> shard(const state_dict& weights, std::span<const shard_rule> rules,
                                         std::uint32_t rank, std::uint32_t world) {
    using detail::decimal;
    if (world == 0 || rank >= world)
        return error{.code = errc::slice_invalid,
                     .detail = detail::str_cat("rank ", rank, " of ", world),
                     .hint = "ranks count from 0"};
    std::vector<detail::pattern_list> patterns;
    for (const shard_rule& rule : rules) patterns.emplace_back(std::vector<pattern>{rule.keys});
    std::vector<bool> used(rules.size());

    const auto& from = detail::state_dict_access::data(weights);
    const auto plan = detail::make_shared<detail::gather_plan>();
    detail::assembler out{plan, weights, from};
    for (std::size_t i = 0; i < from->entries.size(); ++i) {
        const auto& entry = from->entries[i];
        std::uint32_t node = plan->add_leaf(entry.data, from->source);
        std::size_t r = 0;
        while (r < rules.size() && !patterns[r].matches(entry.key)) ++r;
        if (r < rules.size()) {
            used[r] = true;
            auto part = detail::shard_node(*plan, node, rules[r].dimension, rank, world, from->where(entry.key));
            if (!part) return std::move(part).failure();
            node = *part;
        }
        out.add(entry.key, node, detail::origin_of(*from, i));
    }
    for (std::size_t r = 0; r < rules.size(); ++r)
        if (!used[r])
            return error{.code = errc::slice_invalid,
                         .detail = detail::str_cat("no key matches ", detail::quoted(rules[r].keys.text())),
                         .hint = "a loop over the state_dict gives its keys"};
    return out.finish();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
