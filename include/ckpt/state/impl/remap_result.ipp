// ckpt/state/impl/remap_result.ipp: the definitions of remap_result.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/remap.hpp>
#include <ckpt/state/remap_result.hpp>

#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF remapped_maker::remapped_maker(const remap_plan& plan, const shared<remap_record>& record)
    : plan_{plan},
      r_{*record},
      from_{*state_dict_access::data(r_.weights)},
      out_{r_.plan, r_.weights, record},
      entry_of_(r_.aliased.empty() ? 0 : r_.items.size(), 0),
      dropped_by_(entry_of_.size(), 0) {}

CKPT_DETAIL_DEF state_dict remapped_maker::run() {
    std::uint32_t entry = 0;
    for (std::uint32_t i = r_.items[0].next; i != 0; i = r_.items[i].next) {
        ++entry;
        r_.roots(i, roots_);
        if (!entry_of_.empty())
            for (const std::uint32_t root : roots_)
                if (entry_of_[root] == 0) entry_of_[root] = entry;
        lineage::origin origin = origin_of_roots();
        add_chain(i, origin);
        out_.add(r_.items[i].name, r_.items[i].node, std::move(origin));
    }
    note_dropped();
    note_aliased();
    return out_.finish();
}

CKPT_DETAIL_DEF lineage::origin remapped_maker::origin_of_roots() const {
    lineage::origin origin;
    for (const std::uint32_t root : roots_) { // more than one for a merge; each may have a history of its own
        lineage::origin before = origin_of(from_, root - 1);
        origin.from.insert(origin.from.end(), before.from.begin(), before.from.end());
        origin.alias.insert(origin.alias.end(), before.alias.begin(), before.alias.end());
        origin.cast = origin.cast || before.cast;
        origin.converted = origin.converted || before.converted;
        if (roots_.size() == 1) origin.chain = std::move(before.chain);
    }
    return origin;
}

CKPT_DETAIL_DEF void remapped_maker::add_chain(std::uint32_t item, lineage::origin& origin) const {
    std::vector<std::string_view> verbs;
    for (std::uint32_t at = item; r_.items[at].change != 0; at = r_.parents(at)[0]) {
        const rule_verb verb = r_.rule(r_.rule_of(at)).verb;
        verbs.push_back(name(verb));
        origin.cast = origin.cast || verb == rule_verb::cast;
        origin.converted = origin.converted || (verb >= rule_verb::split && verb != rule_verb::fill);
        if (r_.parents(at).empty()) break;
    }
    for (std::size_t k = verbs.size(); k-- > 0;) {
        if (!origin.chain.empty()) origin.chain += ", ";
        origin.chain += verbs[k];
    }
}

CKPT_DETAIL_DEF std::vector<std::string> remapped_maker::names_in_file(std::string_view key) const {
    const std::uint32_t root = r_.root_named(key);
    if (root == 0) return {};
    lineage::origin origin = origin_of(from_, root - 1);
    std::vector<std::string> out = std::move(origin.from);
    for (std::string& alias : origin.alias) out.push_back(std::move(alias));
    return out;
}

CKPT_DETAIL_DEF void remapped_maker::note_dropped() {
    for (const remap_plan::drop& d : plan_.dropped) {
        for (std::string& name : names_in_file(d.from))
            out_.history().dropped.push_back({std::move(name), plan_.rule_text(d.rule)});
        if (const std::uint32_t root = r_.root_named(d.from); root != 0 && !entry_of_.empty())
            dropped_by_[root] = d.rule;
    }
}

CKPT_DETAIL_DEF void remapped_maker::note_aliased() {
    // Which root carries on each name that was merged away: the one that was kept, or, where that one was merged away
    // later itself, what stands for it. So merges are followed from the last to the first.
    std::vector<std::uint32_t> stands_for(entry_of_.size(), 0);
    std::vector<std::uint32_t> bearer(plan_.aliased.size(), 0);
    for (std::size_t i = bearer.size(); i-- > 0;) {
        const std::uint32_t kept = r_.root_named(plan_.aliased[i].same_as);
        const std::uint32_t gone = r_.root_named(plan_.aliased[i].key);
        if (kept == 0 || gone == 0 || kept == gone) continue; // made of what was filled, or one key by two ways
        bearer[i] = entry_of_[kept] == 0 && stands_for[kept] != 0 ? stands_for[kept] : kept;
        stands_for[gone] = bearer[i];
    }
    for (std::size_t i = 0; i < bearer.size(); ++i) {
        const std::uint32_t at = bearer[i];
        for (std::string& name : names_in_file(plan_.aliased[i].key)) {
            if (entry_of_[at] != 0) out_.history().entries[entry_of_[at] - 1].alias.push_back(std::move(name));
            else if (dropped_by_[at] != 0)
                out_.history().dropped.push_back({std::move(name), plan_.rule_text(dropped_by_[at])});
        }
    }
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
