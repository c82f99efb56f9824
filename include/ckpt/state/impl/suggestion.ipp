// ckpt/state/impl/suggestion.ipp: the definitions of suggestion.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/suggestion.hpp>

#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF bool suggestion::is_target(std::string_view name, const known_shape& shape) const {
    const auto found = target_of.find(name);
    return found != target_of.end() && shapes_agree(shape, targets[found->second].shape);
}

CKPT_DETAIL_DEF void suggestion::match_equal() {
    for (family_key& s : sources) {
        const auto found = target_of.find(s.name);
        if (found == target_of.end() || !shapes_agree(s.shape, targets[found->second].shape)) continue;
        s.matched = true;
        targets[found->second].matched = true;
        ++equal;
    }
}

CKPT_DETAIL_DEF bool suggestion::fit(const key_family& s, const key_family& t) const noexcept {
    if (!aligned(s, t)) return false;
    for (std::size_t i = 0; i < s.members.size(); ++i)
        if (!shapes_agree(sources[s.members[i]].shape, targets[t.members[i]].shape)) return false;
    return true;
}

CKPT_DETAIL_DEF void suggestion::add_link(link_kind kind, surety sure, family_grain grain,
                                          const std::vector<const key_family*>& from,
                                          const std::vector<const key_family*>& to) {
    family_link out{.kind = kind, .sure = sure, .grain = grain};
    const key_family& s = *from.front();
    const key_family& t = *to.front();
    for (std::size_t k = 0; k < s.numbers.front().size(); ++k) {
        out.offsets.push_back(t.numbers[0][k] - s.numbers[0][k]);
        bool same = true;
        for (const auto& numbers : s.numbers) same = same && numbers[k] == s.numbers[0][k];
        out.constants.push_back(same ? std::optional(s.numbers[0][k]) : std::nullopt);
    }
    for (const key_family* f : from) {
        out.from.push_back(f->pattern);
        out.sources.push_back(f->members);
        for (const std::uint32_t m : f->members) sources[m].matched = true;
    }
    for (const key_family* f : to) {
        out.to.push_back(f->pattern);
        out.targets.push_back(f->members);
        for (const std::uint32_t m : f->members) targets[m].matched = true;
    }
    links.push_back(std::move(out));
}

CKPT_DETAIL_DEF float suggestion::neighbours(const key_family& s, const key_family& t) const {
    constexpr float worth[]{1.0F, 0.5F, 0.25F};
    for (std::size_t d = 0; d < 3; ++d)
        if (s.stems[d] != 0 && t.stems[d] != 0 && modules.contains(pair_hash(s.stems[d], t.stems[d]))) return worth[d];
    return 0;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
