// ckpt/pickle/impl/globals.ipp: the definitions of globals.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/pickle/acting.hpp>
#include <ckpt/pickle/globals.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF global_lookup look_up(const allowlist& list, std::string_view module, std::string_view name) {
    const canonical_name canonical{module, name};
    const bool differs = canonical.module() != module || canonical.name() != name;
    if (is_attack(module, name) || (differs && is_attack(canonical.module(), canonical.name())))
        return {verdict::dangerous, nullptr};
    for (const bool patterns : {false, true})
        for (std::size_t i = list.tables.size(); i-- > 0;) {
            const global_table& table = list.tables[i];
            if (table.patterns != patterns) continue;
            const auto find = patterns ? find_pattern : find_exact;
            const global_entry* e = find(table, module, name);
            if (e == nullptr && differs) e = find(table, canonical.module(), canonical.name());
            if (e == nullptr) continue;
            if (table.classes_only && names_acting_class(name)) continue;
            const bool inert =
                e->build == nullptr && (e->kind == global_kind::other || e->kind >= global_kind::enumeration);
            return {inert ? verdict::inert : verdict::build, e, table.shipped};
        }
    return {verdict::refuse, nullptr};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
