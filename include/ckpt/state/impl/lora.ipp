// ckpt/state/impl/lora.ipp: the definitions of lora.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/lora.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF bool split_lora_key(std::string_view key, std::string& path, bool& is_b, bool& embedding) {
    for (const lora_ending& e : lora_endings) {
        if (key.size() > e.text.size() && key.ends_with(e.text)) {
            path = key.substr(0, key.size() - e.text.size());
            is_b = e.is_b;
            embedding = e.embedding;
            return true;
        }
    }
    for (const std::string_view word :
         {std::string_view{".lora_A."}, std::string_view{".lora_B."}, std::string_view{".lora_embedding_A."},
          std::string_view{".lora_embedding_B."}}) {
        const std::size_t at = key.rfind(word);
        if (at == std::string_view::npos || at == 0) continue;
        std::string_view name = key.substr(at + word.size());
        embedding = word.starts_with(".lora_embedding");
        if (!embedding) {
            if (!name.ends_with(".weight")) continue;
            name.remove_suffix(7);
        }
        if (name.empty() || name.find('.') != std::string_view::npos) continue;
        // Two adapters of one module are two paths.
        path = std::string(key.substr(0, at)) + (name == "default" ? std::string{} : '[' + std::string(name) + ']');
        is_b = word.find("_B") != std::string_view::npos;
        return true;
    }
    return false;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF lora_set find_lora(const state_dict& adapter) {
    struct half {
        std::string path{};
        bool is_b{false};
        bool embedding{false};
        std::string_view key{};
    };
    std::vector<half> halves;
    lora_set out;
    for (const auto& [key, tensor] : adapter) {
        half h{.key = key};
        if (detail::split_lora_key(key, h.path, h.is_b, h.embedding)) halves.push_back(std::move(h));
        else if (!key.ends_with(".alpha")) out.others.push_back(std::string(key));
    }
    std::sort(halves.begin(), halves.end(), [](const half& x, const half& y) {
        return x.path != y.path ? x.path < y.path : x.is_b != y.is_b ? y.is_b : x.key < y.key;
    });
    std::vector<std::string> alphas;
    for (std::size_t i = 0; i < halves.size();) {
        std::size_t end = i + 1;
        while (end < halves.size() && halves[end].path == halves[i].path) ++end;
        const auto pair_up = [&] {
            if (end - i != 2 || halves[i].is_b || !halves[i + 1].is_b || halves[i].embedding != halves[i + 1].embedding)
                return false;
            auto a = adapter.at(halves[i].key);
            auto b = adapter.at(halves[i + 1].key);
            if (!a || !b || a->rank() < 2 || b->rank() < 2 || a->shape()[0] != b->shape()[1] || a->shape()[0] == 0)
                return false;
            lora_pair pair{.path = halves[i].path,
                           .a = std::string(halves[i].key),
                           .b = std::string(halves[i + 1].key),
                           .rank = a->shape()[0],
                           .embedding = halves[i].embedding};
            if (std::string alpha = pair.path + ".alpha"; adapter.contains(alpha)) {
                alphas.push_back(alpha);
                pair.alpha = std::move(alpha);
            }
            out.pairs.push_back(std::move(pair));
            return true;
        };
        if (!pair_up())
            for (std::size_t k = i; k < end; ++k) out.unpaired.push_back(std::string(halves[k].key));
        i = end;
    }
    std::sort(alphas.begin(), alphas.end());
    for (const auto& [key, tensor] : adapter)
        if (key.ends_with(".alpha") && !std::binary_search(alphas.begin(), alphas.end(), key))
            out.others.push_back(std::string(key));
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF lora_targets::lora_targets(const state_dict& base) {
    std::uint32_t entry = 0;
    for (const auto& [key, tensor] : base) {
        if (key.ends_with(".weight")) add(std::string(key.substr(0, key.size() - 7)), entry);
        else add(std::string(key), entry);
        ++entry;
    }
    std::sort(names_.begin(), names_.end());
}

CKPT_DETAIL_DEF std::optional<std::uint32_t> lora_targets::find(std::string_view path) const {
    if (const std::size_t name = path.rfind('['); path.ends_with(']') && name != std::string_view::npos)
        path = path.substr(0, name);
    for (const std::string_view prefix :
         {std::string_view{}, std::string_view{"base_model.model."}, std::string_view{"base_model."},
          std::string_view{"unet."}, std::string_view{"transformer."}, std::string_view{"text_encoder."}}) {
        if (!path.starts_with(prefix)) continue;
        if (const auto found = exact(path.substr(prefix.size()))) return found;
    }
    // kohya: all dots are underscores, behind a prefix that says which network is meant.
    for (const std::string_view prefix : {std::string_view{"lora_unet_"}, std::string_view{"lora_te1_"},
                                          std::string_view{"lora_te2_"}, std::string_view{"lora_te_"}})
        if (path.starts_with(prefix)) return exact("\n" + std::string(path.substr(prefix.size())));
    return std::nullopt;
}

CKPT_DETAIL_DEF void lora_targets::add(std::string name, std::uint32_t entry) {
    std::string flat = "\n" + name; // no key of a checkpoint that people wrote begins so
    std::replace(flat.begin(), flat.end(), '.', '_');
    names_.push_back({std::move(name), entry});
    names_.push_back({std::move(flat), entry});
}

CKPT_DETAIL_DEF std::optional<std::uint32_t> lora_targets::exact(std::string_view name) const {
    const auto at = std::lower_bound(names_.begin(), names_.end(), name,
                                     [](const auto& have, std::string_view n) { return have.first < n; });
    if (at == names_.end() || at->first != name) return std::nullopt;
    const auto next = at + 1;
    if (next != names_.end() && next->first == name && next->second != at->second) return std::nullopt;
    return at->second;
}

CKPT_DETAIL_DEF result<double> lora_scale(const state_dict& adapter, const lora_pair& pair,
                                          const lora_options& options) {
    if (options.scale) return *options.scale;
    double alpha = options.alpha.value_or(0);
    if (!pair.alpha.empty()) {
        auto stored = adapter.at(pair.alpha);
        if (!stored) return std::move(stored).error();
        if (stored->numel() != 1)
            return error{.code = errc::adapter_unmatched,
                         .detail = "the alpha " + quoted(pair.alpha) + " is no single number"};
        if (auto read = stored->copy_as(std::span<double>{&alpha, 1}); !read) return std::move(read).error();
    } else if (!options.alpha) {
        return error{.code = errc::adapter_unmatched,
                     .detail = "nobody says by what " + quoted(pair.path) + " is scaled: the file stores no alpha",
                     .hint = "give alpha (lora_alpha in adapter_config.json) or scale in the options"};
    }
    return alpha / static_cast<double>(pair.rank);
}

CKPT_DETAIL_DEF result<std::uint32_t> lora_node(gather_plan& plan, std::uint32_t base, std::uint32_t a, std::uint32_t b,
                                                const lora_pair& pair, double scale, bool fan_in_fan_out) {
    const auto shape = [&plan](std::uint32_t node) { return plan.node(node).sizes(); };
    const auto wrong = [&](std::string_view what) {
        return error{.code = errc::shapes_differ,
                     .detail = "the update of " + quoted(pair.path) + ", B " + list_of(shape(b)) + " and A " +
                               list_of(shape(a)) + ", does not fit the base's " + list_of(shape(base)) + ": " +
                               std::string(what)};
    };
    for (const std::uint32_t node : {base, a, b}) {
        const gather_node& n = plan.node(node);
        const bool dense = n.op != gather_op::leaf || (n.data->refusal == nullptr && n.data->kind == layout::strided);
        if (!dense || !is_convertible(n.type, dtype::float32) || info(n.type).packed)
            return wrong("all three must be strided and convertible to float32");
        if (n.depth + 4 >= gather_plan::most_depth) return wrong("too many operations on one tensor");
    }
    const dtype own = plan.node(base).type;
    if (!is_convertible(dtype::float32, own)) return wrong("the base has no floating type");
    // Convolutions are matrices over all that follows their first dimension.
    const std::int64_t r = pair.rank;
    const auto columns = [&](std::uint32_t node, std::int64_t rows) {
        return rows == 0 ? std::int64_t{0} : static_cast<std::int64_t>(plan.node(node).numel) / rows;
    };
    const std::int64_t n = columns(a, r);
    const std::int64_t m = static_cast<std::int64_t>(plan.node(b).numel) / r;
    if (shape(base).size() < 2 || shape(b)[0] != m) return wrong("B has other dimensions than out and rank");
    const std::int64_t rows = shape(base)[0];
    const std::int64_t width = columns(base, rows);
    const bool straight = rows == m && width == n;
    const bool turned = shape(base).size() == 2 && rows == n && width == m;
    if (!straight && !turned) return wrong("out and in are other numbers");
    const bool transposed = straight && turned ? fan_in_fan_out || pair.embedding : turned;
    const std::vector<std::int64_t> whole(shape(base).begin(), shape(base).end());
    const auto matrix = [&](std::uint32_t node, std::int64_t rows_of, std::int64_t columns_of) {
        const std::int64_t two[]{rows_of, columns_of};
        return plan.cast(plan.reshape(node, two), dtype::float32);
    };
    const std::int64_t swapped[]{1, 0};
    std::uint32_t left = matrix(b, m, r);
    std::uint32_t right = matrix(a, r, n);
    if (transposed) { // (B A)' = A' B'
        const std::uint32_t turned_b = plan.permute(left, swapped);
        left = plan.permute(right, swapped);
        right = turned_b;
    }
    const std::uint32_t product = plan.product(matrix(base, rows, width), left, right, scale);
    return plan.cast(plan.reshape(product, whole), own);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF result<lora_merged> merge_lora(const state_dict& base, const state_dict& adapter,
                                               const lora_options& options) {
    const lora_set found = find_lora(adapter);
    if (!found.unpaired.empty())
        return error{.code = errc::adapter_unmatched,
                     .detail =
                         detail::decimal(std::uint64_t{found.unpaired.size()}) +
                         " keys of the adapter have no partner, the first: " + detail::quoted(found.unpaired.front())};
    if (found.pairs.empty())
        return error{.code = errc::adapter_unmatched,
                     .detail =
                         "no low-rank pairs among the " + detail::decimal(std::uint64_t{adapter.size()}) + " keys"};
    for (const std::string& key : found.others)
        if (detail::changes_lora(key))
            return error{
                .code = errc::adapter_unmatched,
                .detail = detail::quoted(key) + " says that the adapter does more than add scale * B * A, and what "
                                                "comes out without it would be wrong",
                .hint = "merge such an adapter (DoRA, biases of updates, three factors) with the program that made it"};
    const detail::lora_targets targets{base};
    const auto& base_data = *detail::state_dict_access::data(base);
    const auto& adapter_data = *detail::state_dict_access::data(adapter);
    auto plan = detail::make_shared<detail::gather_plan>();
    plan->keep(detail::state_dict_access::data(adapter));
    std::vector<std::uint32_t> nodes;
    for (const auto& e : base_data.entries) nodes.push_back(plan->add_leaf(e.data, base_data.source));
    std::vector<lora_merged::merge> merged;
    std::vector<char> touched(nodes.size(), 0);
    for (const lora_pair& pair : found.pairs) {
        const auto entry = targets.find(pair.path);
        if (!entry) {
            error out{.code = errc::adapter_unmatched,
                      .detail = "the base has no module for " + detail::quoted(pair.path),
                      .hint = "bring the names together with a key map before"};
            std::vector<std::string_view> keys;
            for (const auto& e : base_data.entries) keys.push_back(e.key);
            if (const auto closest = detail::nearest(pair.path + ".weight", keys); !closest.empty())
                out.detail += "; nearest: " + detail::quoted(closest.front());
            return out;
        }
        auto scale = detail::lora_scale(adapter, pair, options);
        if (!scale) return std::move(scale).error();
        const auto leaf = [&](const std::string& key) {
            return plan->add_leaf(adapter_data.find(key)->data, adapter_data.source);
        };
        auto node =
            detail::lora_node(*plan, nodes[*entry], leaf(pair.a), leaf(pair.b), pair, *scale, options.fan_in_fan_out);
        if (!node) return std::move(node).error();
        nodes[*entry] = *node; // a second adapter of one module comes on top
        touched[*entry] = 1;
        merged.push_back({std::string(base_data.entries[*entry].key), pair.path, *scale});
    }
    detail::assembler out{plan, base, plan};
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        detail::lineage::origin origin = detail::origin_of(base_data, i);
        if (touched[i] != 0) {
            origin.chain += origin.chain.empty() ? "lora" : ", lora";
            origin.converted = true;
        }
        out.add(base_data.entries[i].key, nodes[i], std::move(origin));
    }
    return lora_merged{out.finish(), std::move(merged), found.others};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
