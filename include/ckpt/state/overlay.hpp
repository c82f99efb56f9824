// ckpt/state/overlay.hpp: several state_dicts as one; later ones win.
//
// SPDX-License-Identifier: MIT
// In:      layers: a base, then adapters or files of changed tensors, each with a name for reports.
// Out:     one state_dict whose tensors say from which layer they are; what was replaced, and what was added.
// Refuses: no layers; a replacement of another shape, unless it is asked for.
//
// Nothing is copied: the result shares the files of all layers. Keys of different spellings are brought together by
// a map before (`remap(adapter, map)`), so that the names meet.
#pragma once

#include <ckpt/state/assemble.hpp>
#include <ckpt/state/state_dict.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// One state_dict of an overlay. `name` is what `tensor::file()` of its tensors says.
struct layer {
    state_dict weights;
    std::string name{};
};

struct overlay_options {
    bool allow_other_shapes{false}; ///< a later layer may replace a tensor by one of another shape
};

/// What an overlay became.
struct overlaid {
    struct replacement {
        std::string key{};
        std::string layer{};    ///< the one that won
        std::string replaced{}; ///< the one whose tensor is not used
        dtype type{};           ///< of the tensor that won
        dtype type_before{};    ///< of the tensor that is not used
    };
    struct addition {
        std::string key{};
        std::string layer{};
    };
    state_dict weights;
    std::vector<replacement> replaced{};
    std::vector<addition> added{}; ///< keys that the first layer does not have
};

namespace detail {

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
    [[nodiscard]] result<stored_place> place_of(std::uint32_t i) const override { return from_.place_of(i); }
    [[nodiscard]] result<std::uint64_t> file_offset(std::uint32_t i) const override { return from_.file_offset(i); }
    [[nodiscard]] result<std::span<const std::byte>> bytes(std::uint32_t i) const override { return from_.bytes(i); }
    [[nodiscard]] result<void> read(std::uint32_t i, std::uint64_t offset, std::span<std::byte> out) const override {
        return from_.read(i, offset, out);
    }

  private:
    const storage_source& from_;
    std::string name_;
};

} // namespace detail

/// Lays `layers` over one another. The keys stand in the order of the first layer, those that others add behind them.
/// Fails with `shapes_differ` where a later layer would replace a tensor by one of another shape.
[[nodiscard]] inline result<overlaid> overlay(std::span<const layer> layers, const overlay_options& options = {}) {
    if (layers.empty()) return error{.code = errc::state_dict_missing, .detail = "an overlay of no layers"};
    auto plan = detail::make_shared<detail::gather_plan>();
    std::vector<overlaid::replacement> replaced;
    std::vector<overlaid::addition> added;
    // All keys, sorted, the layers of one key behind one another.
    struct named {
        std::string_view key{};
        std::uint32_t layer{0};
        std::uint32_t entry{0};
    };
    std::vector<named> all;
    std::vector<detail::shared<detail::layer_storages>> sources;
    for (std::uint32_t l = 0; l < layers.size(); ++l) {
        const auto& shared_data = detail::state_dict_access::data(layers[l].weights);
        plan->keep(shared_data);
        sources.push_back(detail::make_shared<detail::layer_storages>(*shared_data->source, layers[l].name));
        plan->keep(sources.back());
        for (std::uint32_t e = 0; e < shared_data->entries.size(); ++e)
            all.push_back({shared_data->entries[e].key, l, e});
    }
    std::sort(all.begin(), all.end(),
              [](const named& a, const named& b) { return a.key != b.key ? a.key < b.key : a.layer < b.layer; });
    struct choice {
        named winner{};
        named place{}; ///< where the key was first seen
    };
    std::vector<choice> chosen;
    for (std::size_t i = 0; i < all.size();) {
        std::size_t end = i + 1;
        while (end < all.size() && all[end].key == all[i].key) ++end;
        const named& last = all[end - 1];
        const auto data_of = [&](const named& n) {
            return detail::state_dict_access::data(layers[n.layer].weights)->entries[n.entry].data;
        };
        for (std::size_t k = i; k + 1 < end; ++k) {
            const auto* below = data_of(all[k]);
            const auto* above = data_of(last);
            const bool same =
                below->rank == above->rank && std::equal(below->shape, below->shape + below->rank, above->shape);
            if (!same && !options.allow_other_shapes && below->refusal == nullptr && above->refusal == nullptr)
                return error{.code = errc::shapes_differ,
                             .file = layers[last.layer].name,
                             .detail = "the tensor " + detail::quoted(last.key) + " has the shape " +
                                       detail::list_of(above->sizes()) + ", in " +
                                       detail::quoted(layers[all[k].layer].name) + " it has " +
                                       detail::list_of(below->sizes()),
                             .hint = "check that the layers belong together, or set allow_other_shapes"};
            replaced.push_back(
                {std::string(last.key), layers[last.layer].name, layers[all[k].layer].name, above->type, below->type});
        }
        if (all[i].layer != 0) added.push_back({std::string(last.key), layers[last.layer].name});
        chosen.push_back({last, all[i]});
        i = end;
    }
    std::sort(chosen.begin(), chosen.end(), [](const choice& a, const choice& b) {
        return a.place.layer != b.place.layer ? a.place.layer < b.place.layer : a.place.entry < b.place.entry;
    });
    detail::assembler out{plan, layers.front().weights, plan};
    for (const choice& c : chosen) {
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
