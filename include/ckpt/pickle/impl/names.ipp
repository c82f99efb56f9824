// ckpt/pickle/impl/names.ipp: the definitions of names.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/pickle/names.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE canonical_name::canonical_name(std::string_view module, std::string_view name)
    : module_{module}, name_{name} {
    for (const renamed& r : renamed_globals)
        if (r.from_module == module && (r.from_name.empty() || r.from_name == name)) {
            module_ = r.to_module;
            if (!r.to_name.empty()) name_ = r.to_name;
            return;
        }
    for (const auto& r : renamed_packages)
        if (module.starts_with(r.from) && (module.size() == r.from.size() || module[r.from.size()] == '.')) {
            joined_.reserve(r.to.size() + module.size() - r.from.size());
            joined_ += r.to;
            joined_ += module.substr(r.from.size());
            module_ = joined_;
            return;
        }
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
