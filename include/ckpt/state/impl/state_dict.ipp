// ckpt/state/impl/state_dict.ipp: the definitions of state_dict.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/state_dict.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF void state_dict_data::sort_keys() {
    by_key.resize(entries.size());
    for (std::size_t i = 0; i < by_key.size(); ++i) by_key[i] = static_cast<std::uint32_t>(i);
    std::sort(by_key.begin(), by_key.end(), [this](std::uint32_t a, std::uint32_t b) {
        return entries[a].key != entries[b].key ? entries[a].key < entries[b].key : a < b;
    });
}

CKPT_DETAIL_DEF const state_dict_data::entry* state_dict_data::find(std::string_view key) const noexcept {
    const auto at = std::lower_bound(by_key.begin(), by_key.end(), key,
                                     [this](std::uint32_t i, std::string_view k) { return entries[i].key < k; });
    return at != by_key.end() && entries[*at].key == key ? &entries[*at] : nullptr;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF state_dict::entry state_dict::iterator::operator*() const noexcept {
    const auto& e = data_->entries[at_];
    return {e.key, detail::tensor_access::make(e.data, data_->source)};
}

CKPT_DETAIL_DEF result<ckpt::tensor> state_dict::at(std::string_view key) const& {
    const auto* found = data_->find(key);
    if (found == nullptr) return missing(key);
    if (found->data->refusal != nullptr) return refusal_of(*found);
    return detail::tensor_access::make(found->data, data_->source);
}

CKPT_DETAIL_DEF std::vector<state_dict::other> state_dict::others() const& {
    std::vector<other> out;
    out.reserve(data_->others.size());
    for (const auto& o : data_->others) out.push_back({o.key, o.content});
    return out;
}

CKPT_DETAIL_DEF state_dict state_dict::owned() const {
    std::vector<const detail::tensor_data*> tensors;
    tensors.reserve(size());
    for (const auto& e : data_->entries) tensors.push_back(e.data);
    auto out = detail::make_shared<detail::state_dict_data>();
    out->file = data_; // its keys are there, and it keeps the file
    out->storages = detail::owned_storages::read(*data_->source, tensors);
    out->source = out->storages.get();
    out->entries = data_->entries;
    for (std::size_t i = 0; i < tensors.size(); ++i) out->entries[i].data = tensors[i];
    out->by_key = data_->by_key;
    out->others = data_->others;
    out->refused = data_->refused;
    out->path = data_->path;
    out->root = data_->root;
    out->history = data_->history;
    return state_dict{std::move(out)};
}

CKPT_DETAIL_DEF ckpt::error state_dict::refusal_of(const detail::state_dict_data::entry& e) const {
    ckpt::error out = *e.data->refusal;
    out.path = data_->where(e.key);
    return out;
}

CKPT_DETAIL_DEF ckpt::error state_dict::missing(std::string_view key) const {
    ckpt::error out{.code = errc::key_missing, .path = data_->path};
    out.detail = "no key " + detail::quoted(key) + " among " + detail::decimal(std::uint64_t{size()});
    std::vector<std::string_view> keys;
    keys.reserve(size());
    for (const auto& e : data_->entries) keys.push_back(e.key);
    if (const auto closest = detail::nearest(key, keys); !closest.empty()) {
        out.detail += "; nearest:";
        for (const std::string_view k : closest) out.detail += ' ' + detail::quoted(k);
    }
    out.hint = "list the keys with: ckpt ls FILE";
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF result<state_dict> make_state_dict(const value& root, std::string path, shared<counted> file,
                                                   const storage_source& source, const limits& most) {
    auto out = detail::make_shared<state_dict_data>();
    out->file = std::move(file);
    out->source = &source;
    out->path = std::move(path);
    out->root = root;
    auto& d = *out;
    const auto keep = [&d](const std::vector<path_element>& elements) -> std::string_view {
        std::size_t bytes = elements.empty() ? 0 : elements.size() - 1;
        for (const path_element& e : elements) bytes += e.text.size();
        char* text = d.memory.allocate<char>(bytes + 1);
        std::size_t at = 0;
        for (const path_element& e : elements) {
            if (at > 0 || &e != &elements.front()) text[at++] = '.';
            if (!e.text.empty()) std::memcpy(text + at, e.text.data(), e.text.size());
            at += e.text.size();
        }
        return {text, at};
    };
    walk_budget budget{root, most.entries};
    auto walked = walk(root, budget, errc::limit, state_dict_parts{},
                       [&](const std::vector<path_element>& elements, const value& v) {
                           if (elements.empty()) return; // a lone tensor is no state_dict
                           const std::string_view key = keep(elements);
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
        // Two paths, one key: say both.
        std::vector<std::string> paths;
        walk_budget again{root, most.entries};
        (void)walk(root, again, errc::limit, state_dict_parts{},
                   [&](const std::vector<path_element>& elements, const value&) {
                       located_tensor at{elements, {}, {}};
                       if (at.key() != key || paths.size() == 2) return;
                       std::string text;
                       for (const path_element& e : elements) append_path_element(text, e.text, text.empty());
                       paths.push_back(std::move(text));
                   });
        error e{.code = errc::key_duplicate,
                .path = d.path,
                .detail = "the key " + quoted(key) + " comes from two entries"};
        if (paths.size() == 2) e.detail += ": " + quoted(paths[0]) + " and " + quoted(paths[1]);
        e.hint = "select one of the dictionaries by its path";
        return e;
    }
    return state_dict{std::move(out)};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
