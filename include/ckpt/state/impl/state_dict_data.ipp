// ckpt/state/impl/state_dict_data.ipp: the definitions of state_dict_data.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/key_path.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/state/object_walk.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/state/state_dict_data.hpp>
#include <ckpt/state/walk.hpp>

#include <algorithm>
#include <cstring>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF void state_dict_data::sort_keys() {
    by_key = sorted_indices(entries.size(),
                            [this](std::uint32_t a, std::uint32_t b) { return entries[a].key < entries[b].key; });
}

CKPT_DETAIL_DEF const state_dict_data::entry* state_dict_data::find(std::string_view key) const noexcept {
    const auto at = std::lower_bound(by_key.begin(), by_key.end(), key,
                                     [this](std::uint32_t i, std::string_view k) { return entries[i].key < k; });
    return at != by_key.end() && entries[*at].key == key ? &entries[*at] : nullptr;
}

CKPT_DETAIL_DEF std::string_view joined_key(const std::vector<path_element>& elements, arena& memory) {
    std::size_t bytes = elements.empty() ? 0 : elements.size() - 1;
    for (const path_element& e : elements) bytes += e.text.size();
    char* text = memory.allocate<char>(bytes + 1);
    std::size_t at = 0;
    for (const path_element& e : elements) {
        if (at > 0 || &e != &elements.front()) text[at++] = '.';
        if (!e.text.empty()) std::memcpy(text + at, e.text.data(), e.text.size());
        at += e.text.size();
    }
    return {text, at};
}

CKPT_DETAIL_RARE std::string lone_key(std::string_view path) {
    std::string last;
    while (!path.empty()) last = take_path_element(path);
    return last.empty() ? "tensor" : last;
}

/// The error for a key that two paths lead to, with both paths: {"a.b": ..., "a": {"b": ...}}.
CKPT_DETAIL_COLD inline error duplicate_key(const state_dict_data& d, std::string_view key, const limits& most) {
    std::vector<std::string> paths;
    walk_budget budget{d.root, most.entries};
    (void)walk_state_dict(d.root, budget, errc::limit, [&](const std::vector<path_element>& elements, const value&) {
        located_tensor at{elements, {}, {}};
        if (at.key() != key || paths.size() == 2) return;
        paths.push_back(path_text(elements));
    });
    error e{
        .code = errc::key_duplicate, .path = d.path, .detail = "the key " + quoted(key) + " comes from two entries"};
    if (paths.size() == 2) e.detail += ": " + quoted(paths[0]) + " and " + quoted(paths[1]);
    e.hint = "select one of the dictionaries by its path";
    return e;
}

CKPT_DETAIL_RARE result<state_dict> make_state_dict(const value& root, std::string path, shared<counted> file,
                                                    const storage_source& source, const limits& most) {
    auto out = detail::make_shared<state_dict_data>();
    out->file = std::move(file);
    out->source = &source;
    out->path = std::move(path);
    out->root = root;
    auto& d = *out;
    walk_budget budget{root, most.entries};
    auto walked =
        walk_state_dict(root, budget, errc::limit, [&](const std::vector<path_element>& elements, const value& v) {
            const std::string_view key =
                elements.empty() ? joined_key({{lone_key(d.path)}}, d.memory) : joined_key(elements, d.memory);
            if (v.kind() == kind::tensor || v.kind() == kind::array) {
                const tensor_data* data = tensor_access::data(*v.as_tensor());
                d.refused += data->refusal != nullptr;
                d.entries.push_back({key, data});
            } else {
                d.others.push_back({key, v});
            }
        });
    if (!walked) {
        error e = std::move(walked).error();
        e.path = d.path;
        return e;
    }
    d.sort_keys();
    for (std::size_t i = 1; i < d.by_key.size(); ++i) {
        const std::string_view key = d.entries[d.by_key[i]].key;
        if (d.entries[d.by_key[i - 1]].key != key) continue;
        return duplicate_key(d, key, most);
    }
    return state_dict_access::make(std::move(out));
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
