// ckpt/maps/averages.hpp: averaged weights in the place of the raw ones.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict that holds both, the averages under names without dots: latent diffusion's LitEma.
// Out:     a map that drops each raw tensor for its average. Without it the raw ones stay: the choice is explicit.
// Refuses: an average that belongs to no raw tensor, or to two.
#pragma once

#include <ckpt/state/key_map.hpp>
#include <ckpt/state/state_dict.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::maps {

/// The map that puts the averages of `weights` in the place of the raw tensors below `raw`, with one explicit rule for
/// each; raw tensors without an average (buffers) stay. LitEma stores the average of `model.a.b` as `model_ema.ab`:
/// all dots of the name are left out (CompVis/stable-diffusion, ldm/modules/ema.py), so only the names of the raw
/// tensors tell where they belong. Its counters `decay` and `num_updates` are dropped.
[[nodiscard]] inline result<key_map> averages_to_raw(const state_dict& weights, std::string_view raw = "model.",
                                                     std::string_view averages = "model_ema.") {
    std::vector<std::pair<std::string, std::string_view>> by_dotless;
    for (const auto& [key, tensor] : weights) {
        if (!key.starts_with(raw) || key.starts_with(averages)) continue;
        std::string dotless(key.substr(raw.size()));
        dotless.erase(std::remove(dotless.begin(), dotless.end(), '.'), dotless.end());
        by_dotless.push_back({std::move(dotless), key});
    }
    std::sort(by_dotless.begin(), by_dotless.end());
    auto out = detail::make_shared<detail::key_map_data>();
    out->begin_group();
    std::size_t found = 0;
    for (const auto& [key, tensor] : weights) {
        if (!key.starts_with(averages)) continue;
        const std::string_view name = key.substr(averages.size());
        std::string line = "drop ";
        if (name == "decay" || name == "num_updates") {
            detail::append_key_word(line, key);
            out->add_known(line, true);
            continue;
        }
        const auto at = std::lower_bound(by_dotless.begin(), by_dotless.end(), name,
                                         [](const auto& have, std::string_view n) { return have.first < n; });
        if (at == by_dotless.end() || at->first != name)
            return error{.code = errc::key_missing,
                         .detail = "the average " + detail::quoted(key) + " belongs to no tensor below " +
                                   detail::quoted(raw)};
        if (at + 1 != by_dotless.end() && (at + 1)->first == name)
            return error{.code = errc::key_duplicate,
                         .detail = "the average " + detail::quoted(key) + " may belong to " +
                                   detail::quoted(at->second) + " or to " + detail::quoted((at + 1)->second)};
        detail::append_key_word(line, at->second);
        out->add_known(line, true);
        line = "rename ";
        detail::append_key_word(line, key);
        line += " -> ";
        detail::append_key_word(line, at->second);
        out->add_known(line, true);
        ++found;
    }
    if (found == 0) return error{.code = errc::key_missing, .detail = "no averages below " + detail::quoted(averages)};
    return key_map{std::move(out)};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::maps
