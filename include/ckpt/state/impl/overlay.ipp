// ckpt/state/impl/overlay.ipp: the definitions of overlay.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/overlay.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF result<overlaid> overlay(std::span<const layer> layers, const overlay_options& options) {
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
