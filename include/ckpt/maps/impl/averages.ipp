// ckpt/maps/impl/averages.ipp: the definitions of averages.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/maps/averages.hpp>
#include <ckpt/state/key_map_data.hpp>
#include <ckpt/state/rule_text.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::maps {

CKPT_DETAIL_DEF result<key_map> averages_to_raw(const state_dict& weights, std::string_view raw,
                                                std::string_view averages) {
    std::vector<std::pair<std::string, std::string_view>> by_dotless;
    for (const auto& [key, tensor] : weights) {
        if (!key.starts_with(raw) || key.starts_with(averages)) continue;
        std::string dotless(key.substr(raw.size()));
        dotless.erase(std::remove(dotless.begin(), dotless.end(), '.'), dotless.end());
        by_dotless.push_back({std::move(dotless), key});
    }
    detail::sort_values(by_dotless);
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
                         .detail = detail::str_cat("the average ", detail::quoted(key), " belongs to no tensor below ",
                                                   detail::quoted(raw))};
        if (at + 1 != by_dotless.end() && (at + 1)->first == name)
            return error{.code = errc::key_duplicate,
                         .detail =
                             detail::str_cat("the average ", detail::quoted(key), " may belong to ",
                                             detail::quoted(at->second), " or to ", detail::quoted((at + 1)->second))};
        detail::append_key_word(line, at->second);
        out->add_known(line, true);
        line = "rename ";
        detail::append_key_word(line, key);
        line += " -> ";
        detail::append_key_word(line, at->second);
        out->add_known(line, true);
        ++found;
    }
    if (found == 0)
        return error{.code = errc::key_missing,
                     .detail = detail::str_cat("no averages below ", detail::quoted(averages))};
    return detail::key_map_access::make(std::move(out));
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::maps
