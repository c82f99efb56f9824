// ckpt/state/impl/lora.ipp: the definitions of lora.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/hash.hpp>
#include <ckpt/core/index_table.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/assemble.hpp>
#include <ckpt/state/lora.hpp>
#include <ckpt/state/lora_names.hpp>
#include <ckpt/state/lora_update.hpp>
#include <ckpt/state/nearest.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The pair of all halves of one path; none where they are not one A and one B that fit together.
[[nodiscard]] inline std::optional<lora_pair> pair_up(const state_dict& adapter, std::span<const lora_half> halves) {
    if (halves.size() != 2 || halves[0].is_b || !halves[1].is_b || halves[0].embedding != halves[1].embedding)
        return std::nullopt;
    auto a = adapter.at(halves[0].key);
    auto b = adapter.at(halves[1].key);
    if (!a || !b || a->rank() < 2 || b->rank() < 2 || a->shape()[0] != b->shape()[1] || a->shape()[0] == 0)
        return std::nullopt;
    lora_pair out{.path = halves[0].path,
                  .a = std::string(halves[0].key),
                  .b = std::string(halves[1].key),
                  .rank = a->shape()[0],
                  .embedding = halves[0].embedding};
    if (std::string alpha = str_cat(out.path, ".alpha"); adapter.contains(alpha)) out.alpha = std::move(alpha);
    return out;
}

/// Fails where something of an adapter would be lost or mean something else.
[[nodiscard]] inline result<void> check_lora(const lora_set& found, std::size_t keys) {
    if (!found.unpaired.empty())
        return error{.code = errc::adapter_unmatched,
                     .detail = str_cat(found.unpaired.size(), " keys of the adapter have no partner, the first: ",
                                       quoted(found.unpaired.front()))};
    if (found.pairs.empty())
        return error{.code = errc::adapter_unmatched, .detail = str_cat("no low-rank pairs among the ", keys, " keys")};
    for (const std::string& key : found.others)
        if (changes_lora(key))
            return error{.code = errc::adapter_unmatched,
                         .detail = str_cat(quoted(key), " says that the adapter does more than add scale "
                                                        "* B * A, and what "
                                                        "comes out without it would be wrong"),
                         .hint = "merge such an adapter (DoRA, biases of updates, "
                                 "three factors) with the program that made it"};
    return {};
}

/// The error for a pair whose tensor the base does not have. It names the nearest key.
[[nodiscard]] inline error no_module(const state_dict_data& base, const std::string& path) {
    error out{.code = errc::adapter_unmatched,
              .detail = str_cat("the base has no module for ", quoted(path)),
              .hint = "bring the names together with a key map before"};
    std::vector<std::string_view> keys;
    for (const auto& e : base.entries) keys.push_back(e.key);
    if (const auto closest = nearest(str_cat(path, ".weight"), keys); !closest.empty())
        out.detail += str_cat("; nearest: ", quoted(closest.front()));
    return out;
}

/// Which entries of a base are one tensor: the same view of the same storage.
struct tied_entries {
    static constexpr std::uint32_t none = ~std::uint32_t{0};

    std::vector<std::uint32_t> first{}; ///< of each entry the first one that is the same: itself, where there is none
    std::vector<std::uint32_t> next{};  ///< the next one that is the same

    tied_entries(const gather_plan& plan, const state_dict_data& base, const std::vector<std::uint32_t>& nodes)
        : next(nodes.size(), none) {
        const auto hash_of = [&](std::uint32_t i) {
            const tensor_data& t = *base.entries[i].data;
            const auto place = [](const void* of) { return std::uint64_t{reinterpret_cast<std::uintptr_t>(of)}; };
            // Such a tensor is no view: it is the same as itself alone.
            if (t.refusal != nullptr || (t.kind != layout::strided && t.extra == nullptr)) return mix(place(&t));
            std::uint64_t hash = mix(t.storage_offset ^ (std::uint64_t{t.storage} << 32));
            hash = mix(hash ^ place(t.extra));
            for (const std::int64_t n : t.sizes()) hash = mix(hash ^ static_cast<std::uint64_t>(n));
            if (t.strides != nullptr)
                for (const std::int64_t step : t.steps()) hash = mix(hash ^ static_cast<std::uint64_t>(step));
            return hash;
        };
        growing_index_table table;
        std::vector<std::uint32_t> last(nodes.size());
        for (std::uint32_t i = 0; i < nodes.size(); ++i) {
            const auto same = [&](std::uint32_t k) { return plan.same_view(nodes[k], nodes[i]); };
            first.push_back(table.insert(hash_of(i), i, same, hash_of));
            if (first[i] != i) next[last[first[i]]] = i;
            last[first[i]] = i;
        }
    }
    /// The keys that are the same tensor as an entry.
    [[nodiscard]] std::vector<std::string> others(const state_dict_data& base, std::uint32_t entry) const {
        std::vector<std::string> out;
        for (std::uint32_t i = first[entry]; i != none; i = next[i])
            if (i != entry) out.push_back(std::string(base.entries[i].key));
        return out;
    }
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF lora_set find_lora(const state_dict& adapter) {
    std::vector<detail::lora_half> halves;
    lora_set out;
    for (const auto& [key, tensor] : adapter) {
        if (auto half = detail::split_lora_key(key)) halves.push_back(std::move(*half));
        else if (!key.ends_with(".alpha")) out.others.push_back(std::string(key));
    }
    detail::sort_values(halves, [](const detail::lora_half& x, const detail::lora_half& y) {
        return x.path != y.path ? x.path < y.path : x.is_b != y.is_b ? y.is_b : x.key < y.key;
    });
    std::vector<std::string_view> alphas;
    out.pairs.reserve(halves.size() / 2); // alphas are views of it
    for (std::size_t i = 0; i < halves.size();) {
        std::size_t end = i + 1;
        while (end < halves.size() && halves[end].path == halves[i].path) ++end;
        const std::span<const detail::lora_half> one{halves.data() + i, end - i};
        if (auto pair = detail::pair_up(adapter, one)) {
            out.pairs.push_back(std::move(*pair));
            if (!out.pairs.back().alpha.empty()) alphas.push_back(out.pairs.back().alpha);
        } else {
            for (const detail::lora_half& half : one) out.unpaired.push_back(std::string(half.key));
        }
        i = end;
    }
    detail::sort_values(alphas);
    for (const auto& [key, tensor] : adapter)
        if (key.ends_with(".alpha") && !std::binary_search(alphas.begin(), alphas.end(), key))
            out.others.push_back(std::string(key));
    return out;
}

CKPT_DETAIL_DEF result<lora_merged> merge_lora(const state_dict& base, const state_dict& adapter,
                                               const lora_options& options) {
    lora_set found = find_lora(adapter);
    if (auto good = detail::check_lora(found, adapter.size()); !good) return std::move(good).failure();
    const detail::lora_targets targets{base};
    const auto& base_data = *detail::state_dict_access::data(base);
    const auto& adapter_data = *detail::state_dict_access::data(adapter);
    auto plan = detail::make_shared<detail::gather_plan>();
    plan->keep(detail::state_dict_access::data(adapter));
    std::vector<std::uint32_t> nodes;
    for (const auto& e : base_data.entries) nodes.push_back(plan->add_leaf(e.data, base_data.source));
    const detail::tied_entries tied{*plan, base_data, nodes};
    std::vector<lora_merged::merge> merged;
    std::vector<lora_pair> unmatched;
    std::vector<char> touched(nodes.size(), 0);
    for (std::size_t i = 0; i < found.pairs.size(); ++i) {
        lora_pair& pair = found.pairs[i];
        const auto entry = targets.find(pair.path);
        if (!entry && !options.allow_unmatched) return detail::no_module(base_data, pair.path);
        if (!entry) {
            unmatched.push_back(std::move(pair));
            continue;
        }
        auto scale = i < options.scales.size() && options.scales[i] ? result<double>{*options.scales[i]}
                                                                    : detail::lora_scale(adapter, pair, options);
        if (!scale) return std::move(scale).failure();
        const std::uint32_t target = tied.first[*entry];
        const std::uint32_t a = plan->add_leaf(adapter_data.find(pair.a)->data, adapter_data.source);
        const std::uint32_t b = plan->add_leaf(adapter_data.find(pair.b)->data, adapter_data.source);
        auto node = detail::lora_node(*plan, nodes[target], a, b, pair, *scale, options.fan_in_fan_out);
        if (!node) return std::move(node).failure();
        nodes[target] = *node; // a second adapter of one module comes on top
        touched[target] = 1;
        merged.push_back(
            {std::string(base_data.entries[*entry].key), std::move(pair.path), *scale, tied.others(base_data, *entry)});
    }
    detail::assembler out{plan, base, plan};
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        detail::lineage::origin origin = detail::origin_of(base_data, i);
        if (touched[tied.first[i]] != 0) {
            origin.chain += origin.chain.empty() ? "lora" : ", lora";
            origin.converted = true;
        }
        out.add(base_data.entries[i].key, nodes[tied.first[i]], std::move(origin));
    }
    return lora_merged{out.finish(), std::move(merged), std::move(unmatched), std::move(found.others)};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
