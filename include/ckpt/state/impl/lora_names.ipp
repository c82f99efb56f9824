// ckpt/state/impl/lora_names.ipp: the definitions of lora_names.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/lora_names.hpp>

#include <algorithm>
#include <cstddef>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

struct lora_ending {
    std::string_view text{};
    bool is_b{false};
    bool embedding{false};
};
inline constexpr lora_ending lora_endings[]{
    {".lora_A.weight", false, false},    {".lora_B.weight", true, false},
    {".lora_embedding_A", false, true},  {".lora_embedding_B", true, true},
    {".lora_down.weight", false, false}, {".lora_up.weight", true, false},
    {".lora.down.weight", false, false}, {".lora.up.weight", true, false},
    {".lora_A", false, false},           {".lora_B", true, false},
};

/// Behind these stands the name that PEFT gives an adapter.
inline constexpr lora_ending named_lora_endings[]{
    {".lora_A.", false, false},
    {".lora_B.", true, false},
    {".lora_embedding_A.", false, true},
    {".lora_embedding_B.", true, true},
};

CKPT_DETAIL_DEF std::optional<lora_half> split_lora_key(std::string_view key) {
    for (const lora_ending& e : lora_endings)
        if (key.size() > e.text.size() && key.ends_with(e.text))
            return lora_half{std::string(key.substr(0, key.size() - e.text.size())), e.is_b, e.embedding, key};
    for (const lora_ending& e : named_lora_endings) {
        const std::size_t at = key.rfind(e.text);
        if (at == std::string_view::npos || at == 0) continue;
        std::string_view name = key.substr(at + e.text.size());
        if (!e.embedding) {
            if (!name.ends_with(".weight")) continue;
            name.remove_suffix(7);
        }
        if (name.empty() || name.find('.') != std::string_view::npos) continue;
        // Two adapters of one module are two paths.
        std::string path(key.substr(0, at));
        if (name != "default") path.append("[").append(name).append("]");
        return lora_half{std::move(path), e.is_b, e.embedding, key};
    }
    return std::nullopt;
}

CKPT_DETAIL_DEF lora_targets::lora_targets(const state_dict& base) {
    std::uint32_t entry = 0;
    for (const auto& [key, tensor] : base) {
        if (key.ends_with(".weight")) add(std::string(key.substr(0, key.size() - 7)), entry);
        else add(std::string(key), entry);
        ++entry;
    }
    sort_values(names_);
}

CKPT_DETAIL_DEF std::optional<std::uint32_t> lora_targets::find(std::string_view path) const {
    if (const std::size_t name = path.rfind('['); path.ends_with(']') && name != std::string_view::npos)
        path = path.substr(0, name);
    for (const std::string_view prefix :
         {std::string_view{}, std::string_view{"base_model.model."}, std::string_view{"base_model."},
          std::string_view{"unet."}, std::string_view{"transformer."}, std::string_view{"text_encoder."}}) {
        if (!path.starts_with(prefix)) continue;
        if (const auto found = exact(path.substr(prefix.size()))) return found;
    }
    // kohya: all dots are underscores, behind a prefix that says which network is meant.
    for (const std::string_view prefix : {std::string_view{"lora_unet_"}, std::string_view{"lora_te1_"},
                                          std::string_view{"lora_te2_"}, std::string_view{"lora_te_"}})
        if (path.starts_with(prefix)) return exact(str_cat("\n", path.substr(prefix.size())));
    return std::nullopt;
}

CKPT_DETAIL_DEF void lora_targets::add(std::string name, std::uint32_t entry) {
    std::string flat = str_cat("\n", name); // no key of a checkpoint that people wrote begins so
    std::replace(flat.begin(), flat.end(), '.', '_');
    names_.push_back({std::move(name), entry});
    names_.push_back({std::move(flat), entry});
}

CKPT_DETAIL_DEF std::optional<std::uint32_t> lora_targets::exact(std::string_view name) const {
    const auto at = std::lower_bound(names_.begin(), names_.end(), name,
                                     [](const auto& have, std::string_view n) { return have.first < n; });
    if (at == names_.end() || at->first != name) return std::nullopt;
    const auto next = at + 1;
    if (next != names_.end() && next->first == name && next->second != at->second) return std::nullopt;
    return at->second;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
