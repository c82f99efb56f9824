// ckpt/state/impl/overlay.ipp: the definitions of overlay.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/shared.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/assemble.hpp>
#include <ckpt/state/gather.hpp>
#include <ckpt/state/overlay.hpp>
#include <ckpt/tensor/shape_text.hpp>
#include <ckpt/tensor/storage.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The storages of one layer, under the layer's name.
class layer_storages final : public storage_source {
  public:
    layer_storages(const storage_source& from, std::string_view name) : from_{from}, name_{name} {}
    [[nodiscard]] std::uint64_t nbytes(std::uint32_t i) const noexcept override { return from_.nbytes(i); }
    [[nodiscard]] byte_order order(std::uint32_t i) const noexcept override { return from_.order(i); }
    [[nodiscard]] std::string_view key(std::uint32_t i) const noexcept override { return from_.key(i); }
    [[nodiscard]] std::string_view file(std::uint32_t) const noexcept override { return name_; }
    [[nodiscard]] bool is_compressed(std::uint32_t i) const noexcept override { return from_.is_compressed(i); }
    [[nodiscard]] bool is_gathered(std::uint32_t i) const noexcept override { return from_.is_gathered(i); }
    [[nodiscard]] storage_origin origin(std::uint32_t i) const noexcept override { return from_.origin(i); }
    [[nodiscard]] result<stored_place> place_of(std::uint32_t i) const override { return from_.place_of(i); }
    void find_touched(std::uint32_t i, std::uint64_t begin, std::uint64_t end, range_visitor visit) const override {
        from_.find_touched(i, begin, end, visit);
    }
    [[nodiscard]] result<std::uint64_t> file_offset(std::uint32_t i) const override { return from_.file_offset(i); }
    [[nodiscard]] result<std::span<const std::byte>> bytes(std::uint32_t i) const override { return from_.bytes(i); }
    [[nodiscard]] result<shared<storage_reader>> reader(std::uint32_t i, storage_readers& others) const override {
        return from_.reader(i, others);
    }
    [[nodiscard]] result<void> read(std::uint32_t i, std::uint64_t offset, std::span<std::byte> out) const override {
        return from_.read(i, offset, out);
    }

  private:
    const storage_source& from_;
    std::string name_;
};

/// A key of one layer.
struct layer_entry {
    std::string_view key{};
    std::uint32_t layer{0};
    std::uint32_t entry{0};
};

/// All keys of all layers, sorted; the layers of one key stand behind one another.
[[nodiscard]] inline std::vector<layer_entry> sorted_entries(std::span<const layer> layers) {
    std::vector<layer_entry> out;
    for (std::uint32_t l = 0; l < layers.size(); ++l) {
        const state_dict_data& data = *state_dict_access::data(layers[l].weights);
        for (std::uint32_t e = 0; e < data.entries.size(); ++e) out.push_back({data.entries[e].key, l, e});
    }
    sort_values(out, [](const layer_entry& a, const layer_entry& b) {
        return a.key != b.key ? a.key < b.key : a.layer < b.layer;
    });
    return out;
}

/// A key of the result: the entry that won, and the one that says where it stands.
struct layer_choice {
    layer_entry winner{};
    layer_entry place{};
};

/// Says that `above` replaces `below`. Fails where their shapes differ and that was not asked for.
[[nodiscard]] inline result<overlaid::replacement> replace_entry(std::span<const layer> layers,
                                                                 const overlay_options& options,
                                                                 const layer_entry& below, const layer_entry& above) {
    const auto data_of = [&](const layer_entry& n) -> const tensor_data& {
        return *state_dict_access::data(layers[n.layer].weights)->entries[n.entry].data;
    };
    const tensor_data& x = data_of(below);
    const tensor_data& y = data_of(above);
    const bool same = x.rank == y.rank && std::equal(x.shape, x.shape + x.rank, y.shape);
    if (!same && !options.allow_other_shapes && x.refusal == nullptr && y.refusal == nullptr)
        return error{.code = errc::shapes_differ,
                     .file = layers[above.layer].name,
                     .detail = str_cat("the tensor ", quoted(above.key), " has the shape ", list_of(y.sizes()), ", in ",
                                       quoted(layers[below.layer].name), " it has ", list_of(x.sizes())),
                     .hint = "check that the layers belong together, or set allow_other_shapes"};
    return overlaid::replacement{std::string(above.key), layers[above.layer].name, layers[below.layer].name, y.type,
                                 x.type};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF result<overlaid> overlay(std::span<const layer> layers, const overlay_options& options) {
    if (layers.empty()) return error{.code = errc::state_dict_missing, .detail = "an overlay of no layers"};
    auto plan = detail::make_shared<detail::gather_plan>();
    std::vector<detail::shared<detail::layer_storages>> sources;
    for (const layer& one : layers) {
        const auto& data = detail::state_dict_access::data(one.weights);
        plan->keep(data);
        sources.push_back(detail::make_shared<detail::layer_storages>(*data->source, one.name));
        plan->keep(sources.back());
    }
    std::vector<overlaid::replacement> replaced;
    std::vector<overlaid::addition> added;
    std::vector<detail::layer_choice> chosen;
    const std::vector<detail::layer_entry> all = detail::sorted_entries(layers);
    for (std::size_t i = 0; i < all.size();) {
        std::size_t end = i + 1;
        while (end < all.size() && all[end].key == all[i].key) ++end;
        const detail::layer_entry& last = all[end - 1];
        for (std::size_t k = i; k + 1 < end; ++k) {
            auto one = detail::replace_entry(layers, options, all[k], last);
            if (!one) return std::move(one).failure();
            replaced.push_back(std::move(*one));
        }
        if (all[i].layer != 0) added.push_back({std::string(last.key), layers[last.layer].name});
        chosen.push_back({last, all[i]});
        i = end;
    }
    sort_values(chosen, [](const detail::layer_choice& a, const detail::layer_choice& b) {
        return a.place.layer != b.place.layer ? a.place.layer < b.place.layer : a.place.entry < b.place.entry;
    });
    detail::assembler out{plan, layers.front().weights, plan};
    for (const detail::layer_choice& c : chosen) {
        const auto& data = *detail::state_dict_access::data(layers[c.winner.layer].weights);
        out.add(c.winner.key, plan->add_leaf(data.entries[c.winner.entry].data, sources[c.winner.layer].get()),
                detail::origin_of(data, c.winner.entry));
    }
    for (const layer& one : layers.subspan(1))
        if (const auto& history = detail::state_dict_access::data(one.weights)->history)
            out.history().dropped.insert(out.history().dropped.end(), history->dropped.begin(), history->dropped.end());
    return overlaid{out.finish(), std::move(replaced), std::move(added)};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
