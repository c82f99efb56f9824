// ckpt/state/impl/weight_norm.ipp: the definitions of weight_norm.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/progress_meter.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/assemble.hpp>
#include <ckpt/state/weight_norm.hpp>
#include <ckpt/state/weight_norm_sums.hpp>
#include <ckpt/tensor/shape_text.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// What a key is in the names of weight normalisation.
struct norm_name {
    enum class half : std::uint8_t { none, g, v };
    half is{half::none};
    std::string weight{};   ///< the key of the weight
    std::string partner{};  ///< the key of the other half
    std::string prefix{};   ///< of all keys of the parametrization; empty for the older names
    bool is_certain{false}; ///< few other tensors have such a name: a half that does not fit is listed
};

[[nodiscard]] inline norm_name parametrized_name(std::string_view key) {
    norm_name out;
    constexpr std::string_view middle = "parametrizations.", ending = ".original";
    const bool is_g = key.ends_with(".original0");
    if (!is_g && !key.ends_with(".original1")) return out;
    const std::string_view stem = key.substr(0, key.size() - ending.size() - 1); // P.parametrizations.NAME
    const std::size_t name = stem.rfind('.') + 1;
    if (name < middle.size() || stem.substr(name - middle.size(), middle.size()) != middle) return out;
    const std::size_t before = name - middle.size();
    if (before > 0 && stem[before - 1] != '.') return out;
    out.is = is_g ? norm_name::half::g : norm_name::half::v;
    out.weight.append(stem.substr(0, before)).append(stem.substr(name));
    out.partner.append(stem).append(ending) += is_g ? '1' : '0';
    out.prefix.append(stem) += '.';
    out.is_certain = true;
    return out;
}

[[nodiscard]] inline norm_name name_of_half(std::string_view key) {
    if (norm_name out = parametrized_name(key); out.is != norm_name::half::none) return out;
    norm_name out;
    if (key.size() < 3 || (!key.ends_with("_g") && !key.ends_with("_v"))) return out;
    out.is = key.ends_with("_g") ? norm_name::half::g : norm_name::half::v;
    out.weight = key.substr(0, key.size() - 2);
    out.partner = out.weight + (out.is == norm_name::half::g ? "_v" : "_g");
    out.is_certain = std::string_view(out.weight).substr(out.weight.rfind('.') + 1).starts_with("weight");
    return out;
}

/// The dimension along which each index of v has a length of its own in g; `all_dimensions` where v has one length.
/// Fails where there is none.
[[nodiscard]] inline result<std::uint32_t> norm_dimension(const tensor_data& g, const tensor_data& v) {
    const auto differ = [&](std::string detail) {
        return error{.code = errc::shapes_differ, .detail = std::move(detail)};
    };
    for (const tensor_data* half : {&g, &v}) {
        if (half->refusal != nullptr) return *half->refusal;
        if (half->kind != layout::strided) return differ("a half of it is no single array");
    }
    const bool is_usable =
        v.type == dtype::float32 || v.type == dtype::float64 || v.type == dtype::bfloat16 || v.type == dtype::float16;
    if (g.type != v.type || !is_usable)
        return differ(str_cat("g is ", name(g.type), " and v is ", name(v.type),
                              "; both must be one of float32, float64, bfloat16 and float16"));
    if (g.rank == 0 && v.rank > 0) return all_dimensions;
    for (std::uint32_t d = 0; g.rank == v.rank && d < v.rank; ++d) {
        bool fits = g.shape[d] == v.shape[d];
        for (std::uint32_t i = 0; i < g.rank; ++i) fits = fits && (i == d || g.shape[i] == 1);
        if (fits) return d;
    }
    return differ(str_cat("g has the shape ", list_of(g.sizes()), " and v ", list_of(v.sizes()),
                          ": g must be 1 in all dimensions of v but one, or a scalar"));
}

/// Folds the pairs of one state_dict.
class norm_folder {
  public:
    norm_folder(const state_dict& weights, const weight_norm_options& options)
        : from_{weights}, data_{*state_dict_access::data(weights)}, meter_{options.progress} {
        for (const auto& e : data_.entries) nodes_.push_back(plan_->add_leaf(e.data, data_.source));
    }

    [[nodiscard]] result<weight_norm_folded> run() {
        for (std::uint32_t i = 0; i < nodes_.size(); ++i) find(i);
        drop_doubles();
        for (const pair& p : pairs_)
            meter_.expect(bytes_of(plan_->node(nodes_[p.v]).type, plan_->node(nodes_[p.v]).numel));
        for (pair& p : pairs_) {
            auto done = fold(p);
            if (!done) {
                data_.place(done.error(), data_.entries[p.v].key);
                return std::move(done).failure();
            }
        }
        return assemble();
    }

  private:
    struct pair {
        std::string weight{};
        std::uint32_t g{};
        std::uint32_t v{};
        std::uint32_t dimension{};
        std::uint32_t node{};
    };

    void leave(std::uint32_t entry, error why) {
        left_.push_back({std::string(data_.entries[entry].key), std::move(why)});
    }
    [[nodiscard]] std::uint32_t number_of(const state_dict_entry* entry) const noexcept {
        return static_cast<std::uint32_t>(entry - data_.entries.data());
    }
    /// The number of keys that begin so, counted to three.
    [[nodiscard]] std::size_t count(std::string_view prefix) const {
        const auto key = [&](std::uint32_t i) { return data_.entries[i].key; };
        const auto sorted = data_.by_key();
        auto at = std::lower_bound(sorted.begin(), sorted.end(), prefix,
                                   [&](std::uint32_t i, std::string_view p) { return key(i) < p; });
        std::size_t n = 0;
        for (; n < 3 && at != sorted.end() && key(*at).starts_with(prefix); ++at) ++n;
        return n;
    }
    /// Makes a pair of an entry that is its g; lists halves that cannot be one.
    void find(std::uint32_t i) {
        const norm_name name = name_of_half(data_.entries[i].key);
        if (name.is == norm_name::half::none) return;
        const state_dict_entry* const other = data_.find(name.partner);
        const auto because = [](errc code, std::string detail) {
            return error{.code = code, .detail = std::move(detail)};
        };
        if (other == nullptr) {
            if (name.is_certain)
                leave(i, because(errc::key_missing,
                                 str_cat("it is half of a normalised weight: there is no ", quoted(name.partner))));
            return;
        }
        if (name.is == norm_name::half::v) return; // its g says what it is
        const std::uint32_t v = number_of(other);
        auto dimension = norm_dimension(*data_.entries[i].data, *other->data);
        if (!dimension) {
            if (name.is_certain) leave(i, std::move(dimension).error());
        } else if (!name.prefix.empty() && count(name.prefix) != 2) {
            leave(i, because(errc::remap_failed,
                             str_cat("another parametrization of it stands under ", quoted(name.prefix))));
        } else if (data_.find(name.weight) != nullptr) {
            if (name.is_certain)
                leave(i, because(errc::key_duplicate, str_cat("there is a tensor ", quoted(name.weight), " already")));
        } else if (!plan_->in_proportion(nodes_[v])) {
            leave(i, because(errc::output_limit, "v has far more elements than are stored"));
        } else {
            pairs_.push_back({name.weight, i, v, *dimension, 0});
        }
    }
    /// One weight in both kinds of names stays as it is.
    void drop_doubles() {
        sort_values(pairs_, [](const pair& a, const pair& b) { return a.weight < b.weight; });
        std::size_t kept = 0;
        for (std::size_t i = 0; i < pairs_.size(); ++i) {
            const bool same = (i > 0 && pairs_[i - 1].weight == pairs_[i].weight) ||
                              (i + 1 < pairs_.size() && pairs_[i + 1].weight == pairs_[i].weight);
            if (same)
                leave(pairs_[i].g, {.code = errc::key_duplicate,
                                    .detail = str_cat("two pairs would become ", quoted(pairs_[i].weight))});
            else if (kept++ != i) pairs_[kept - 1] = std::move(pairs_[i]);
        }
        pairs_.resize(kept);
    }
    [[nodiscard]] result<void> fold(pair& p) {
        const gather_node& v = plan_->node(nodes_[p.v]);
        if (v.numel == 0) {
            p.node = nodes_[p.v];
            return {};
        }
        meter_.begin(bytes_of(v.type, v.numel));
        storage_readers readers;
        auto factors = weight_norm_factors(*plan_, nodes_[p.v], nodes_[p.g], p.dimension, readers, meter_);
        if (!factors) return std::move(factors).failure();
        if (auto checked = readers.finish(); !checked) return checked;
        p.node = plan_->times(nodes_[p.v], p.dimension == all_dimensions ? 0 : p.dimension,
                              {factors->data(), factors->size()});
        return meter_.finish() ? result<void>{} : result<void>{meter_.stopped()};
    }
    [[nodiscard]] std::string_view kept(const std::string& text) {
        char* const out = plan_->memory().template allocate<char>(text.size() + 1);
        std::memcpy(out, text.data(), text.size());
        return {out, text.size()};
    }
    [[nodiscard]] result<weight_norm_folded> assemble() {
        std::vector<const pair*> at(nodes_.size(), nullptr); // where a weight stands
        std::vector<char> is_half(nodes_.size(), 0);
        std::vector<weight_norm_folded::fold> folded;
        for (const pair& p : pairs_) {
            at[(std::min)(p.g, p.v)] = &p;
            is_half[p.g] = is_half[p.v] = 1;
            folded.push_back({p.weight, std::string(data_.entries[p.g].key), std::string(data_.entries[p.v].key)});
        }
        assembler out{plan_, from_, plan_};
        for (std::uint32_t i = 0; i < nodes_.size(); ++i) {
            if (at[i] != nullptr) {
                lineage::origin origin = origin_of(data_, at[i]->g), v = origin_of(data_, at[i]->v);
                origin.from.insert(origin.from.end(), v.from.begin(), v.from.end());
                origin.chain += origin.chain.empty() ? "weight_norm" : ", weight_norm";
                origin.converted = true;
                out.add(kept(at[i]->weight), at[i]->node, std::move(origin));
            } else if (is_half[i] == 0) {
                out.add(data_.entries[i].key, nodes_[i], origin_of(data_, i));
            }
        }
        return weight_norm_folded{out.finish(), std::move(folded), std::move(left_)};
    }

    const state_dict& from_;
    const state_dict_data& data_;
    progress_meter meter_;
    shared<gather_plan> plan_{detail::make_shared<gather_plan>()};
    std::vector<std::uint32_t> nodes_{};
    std::vector<pair> pairs_{};
    std::vector<weight_norm_folded::unfolded> left_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_RARE result<weight_norm_folded> fold_weight_norm(const state_dict& weights,
                                                             const weight_norm_options& options) {
    return detail::norm_folder{weights, options}.run();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
