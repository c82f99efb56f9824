// ckpt/state/lora.hpp: low-rank adapters: finding their pairs, and merging them into a base.
//
// SPDX-License-Identifier: MIT
// In:      the state_dict of an adapter, in the names of PEFT, diffusers, loralib or kohya's scripts; a base.
// Out:     the pairs with their places in the base; a state_dict in which base + scale * B * A stands for each.
// Refuses: a pair that belongs to no tensor of the base, shapes that do not fit, a scale that nobody gave; adapters
// that do
//          more than add scale * B * A: DoRA's magnitudes, biases of the updates, a third factor.
//
// Merging is a gather plan with arithmetic: nothing is computed before a tensor is read, and then piece by piece. Every
// product is summed in float64 and rounded once to float32; a base of another floating type is rounded once more.
// Names: peft 0.21 save_and_load.py and tuners/lora; diffusers 0.3x loaders; loralib 0.1; sd-scripts networks/lora.py.
#pragma once

#include <ckpt/state/assemble.hpp>
#include <ckpt/state/nearest.hpp>
#include <ckpt/state/state_dict.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// A and B of one low-rank update, by their keys in the adapter.
struct lora_pair {
    std::string path{};  ///< of the module, as the adapter spells it, without what belongs to LoRA
    std::string a{};     ///< [rank, in]
    std::string b{};     ///< [out, rank]
    std::string alpha{}; ///< key of a scalar that the file stores; empty where there is none
    std::int64_t rank{0};
    bool embedding{false}; ///< lora_embedding_A and _B: the update stands transposed in the base
};

/// What a state_dict holds of low-rank adapters.
struct lora_set {
    std::vector<lora_pair> pairs{};
    std::vector<std::string> unpaired{}; ///< an A without its B or the reverse, or shapes that do not fit together
    std::vector<std::string> others{};   ///< keys that are no part of a pair
};

struct lora_options {
    std::optional<double> scale{}; ///< of B * A. Without it alpha / rank, where an alpha is stored or given
    std::optional<double> alpha{}; ///< lora_alpha of adapter_config.json, for pairs whose file stores none
    bool fan_in_fan_out{false};    ///< square weights of the base are stored as [in, out] (GPT-2's Conv1D)
};

/// A base with adapters merged into it.
struct lora_merged {
    struct merge {
        std::string key{};  ///< in the base
        std::string path{}; ///< in the adapter
        double scale{1};
    };
    state_dict weights;
    std::vector<merge> merged{};
    std::vector<std::string> others{}; ///< keys of the adapter that were not used: whole modules that it replaces, say
};

namespace detail {

struct lora_ending {
    std::string_view text{};
    bool is_b{false};
    bool embedding{false};
};
inline constexpr lora_ending lora_endings[]{
    {".lora_A.weight", false, false},    {".lora_B.weight", true, false},
    {".lora_embedding_A", false, true},  {".lora_embedding_B", true, true},
    {".lora_down.weight", false, false}, {".lora_up.weight", true, false},
    {".lora.down.weight", false, false}, {".lora.up.weight", true, false},
    {".lora_A", false, false},           {".lora_B", true, false},
};

/// Splits `key` at the ending of a LoRA dialect; PEFT's adapter name (`.lora_A.default.weight`) may stand in it.
[[nodiscard]] inline bool split_lora_key(std::string_view key, std::string& path, bool& is_b, bool& embedding) {
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

/// Whether a key that is no part of a pair says that pairs mean something else than scale * B * A:
/// `lora_magnitude_vector` of PEFT and `dora_scale` of others (DoRA), `lora_B.bias` (lora_bias), `lora_mid` (a third
/// factor of convolutions).
[[nodiscard]] inline bool changes_lora(std::string_view key) noexcept {
    return key.find(".lora_") != std::string_view::npos || key.ends_with(".dora_scale");
}

} // namespace detail

/// Finds the low-rank pairs among the keys of `adapter`.
[[nodiscard]] inline lora_set find_lora(const state_dict& adapter) {
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

namespace detail {

/// The modules of a base by the names that adapters give them.
class lora_targets {
  public:
    explicit lora_targets(const state_dict& base) {
        std::uint32_t entry = 0;
        for (const auto& [key, tensor] : base) {
            if (key.ends_with(".weight")) add(std::string(key.substr(0, key.size() - 7)), entry);
            else add(std::string(key), entry);
            ++entry;
        }
        std::sort(names_.begin(), names_.end());
    }
    /// The entry that `path` means; none where no tensor, or more than one, answers to it.
    [[nodiscard]] std::optional<std::uint32_t> find(std::string_view path) const {
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

  private:
    void add(std::string name, std::uint32_t entry) {
        std::string flat = "\n" + name; // no key of a checkpoint that people wrote begins so
        std::replace(flat.begin(), flat.end(), '.', '_');
        names_.push_back({std::move(name), entry});
        names_.push_back({std::move(flat), entry});
    }
    [[nodiscard]] std::optional<std::uint32_t> exact(std::string_view name) const {
        const auto at = std::lower_bound(names_.begin(), names_.end(), name,
                                         [](const auto& have, std::string_view n) { return have.first < n; });
        if (at == names_.end() || at->first != name) return std::nullopt;
        const auto next = at + 1;
        if (next != names_.end() && next->first == name && next->second != at->second) return std::nullopt;
        return at->second;
    }
    std::vector<std::pair<std::string, std::uint32_t>> names_{};
};

/// The factor of B * A.
[[nodiscard]] inline result<double> lora_scale(const state_dict& adapter, const lora_pair& pair,
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

/// The node of base + scale * B * A, in the base's dtype; an error where the shapes do not fit.
[[nodiscard]] inline result<std::uint32_t> lora_node(gather_plan& plan, std::uint32_t base, std::uint32_t a,
                                                     std::uint32_t b, const lora_pair& pair, double scale,
                                                     bool fan_in_fan_out) {
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

} // namespace detail

/// The base with every pair of the adapter merged into it: base + scale * B * A. The other tensors of the base stay as
/// they are; keys of the adapter that are no pairs are listed in `others` (lay them over with `overlay`).
/// Fails where a pair belongs to nothing in the base, so that no part of an adapter is lost silently, and where the
/// adapter holds what gives its pairs another meaning, as DoRA does.
[[nodiscard]] inline result<lora_merged> merge_lora(const state_dict& base, const state_dict& adapter,
                                                    const lora_options& options = {}) {
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
