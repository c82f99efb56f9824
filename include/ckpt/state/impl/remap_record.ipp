// ckpt/state/impl/remap_record.ipp: the definitions of remap_record.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/remap_record.hpp>
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/tensor/shape_text.hpp>

#include <algorithm>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF remap_record::remap_record(const state_dict& w, const key_map& m)
    : weights{w}, map{m}, rules{key_map_access::data(map)}, plan{detail::make_shared<gather_plan>()} {
    plan->keep(state_dict_access::data(weights));
}

CKPT_DETAIL_DEF std::string remap_record::named(std::uint32_t number) const {
    return str_cat("rule ", number, " (", printable(rule(number).text, false), ")");
}

CKPT_DETAIL_DEF std::uint32_t remap_record::root_named(std::string_view key) const noexcept {
    const auto& data = *state_dict_access::data(weights);
    const auto* entry = data.find(key);
    return entry == nullptr ? 0 : static_cast<std::uint32_t>(entry - data.entries.data()) + 1;
}

CKPT_DETAIL_DEF void remap_record::roots(std::uint32_t item, std::vector<std::uint32_t>& out) const {
    out.clear();
    while (parents(item).size() == 1) item = parents(item)[0];
    std::vector<std::uint32_t> open{item};
    std::vector<std::uint32_t> seen; // sorted: a tensor may be part of another by many ways
    while (!open.empty()) {
        const std::uint32_t at = open.back();
        open.pop_back();
        const auto place = std::lower_bound(seen.begin(), seen.end(), at);
        if (place != seen.end() && *place == at) continue;
        seen.insert(place, at);
        if (items[at].change == 0) out.push_back(at);
        const std::span<const std::uint32_t> made_of = parents(at);
        open.insert(open.end(), made_of.rbegin(), made_of.rend());
    }
}

CKPT_DETAIL_DEF std::string describe(const gather_node& node) {
    return std::string(ckpt::name(node.type)) + ' ' + list_of(node.sizes());
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
