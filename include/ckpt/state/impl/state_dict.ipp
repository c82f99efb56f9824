// ckpt/state/impl/state_dict.ipp: the definitions of state_dict.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/plain_list.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/nearest.hpp>
#include <ckpt/state/owned_storages.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/state/state_dict_data.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF state_dict::entry state_dict::iterator::operator*() const noexcept {
    const auto& e = data_->entries[at_];
    return {e.key, detail::tensor_access::make(e.data, data_->source)};
}

CKPT_DETAIL_DEF std::size_t state_dict::size() const noexcept { return data_->entries.size(); }

CKPT_DETAIL_DEF state_dict::iterator state_dict::begin() const& noexcept { return {data_.get(), 0}; }

CKPT_DETAIL_DEF state_dict::iterator state_dict::end() const& noexcept { return {data_.get(), size()}; }

CKPT_DETAIL_DEF bool state_dict::contains(std::string_view key) const noexcept { return data_->find(key) != nullptr; }

CKPT_DETAIL_DEF std::size_t state_dict::refused() const noexcept { return data_->refused; }

CKPT_DETAIL_DEF const std::string& state_dict::path() const& noexcept { return data_->path; }

CKPT_DETAIL_DEF value state_dict::root() const& noexcept { return data_->root; }

CKPT_DETAIL_DEF void state_dict::place(ckpt::error& failure, std::string_view key) const { data_->place(failure, key); }

CKPT_DETAIL_DEF result<ckpt::tensor> state_dict::at(std::string_view key) const& {
    const auto* found = data_->find(key);
    if (found == nullptr) return missing(key);
    if (found->data->refusal != nullptr) {
        ckpt::error out = *found->data->refusal;
        out.path.clear();
        data_->place(out, key);
        return out;
    }
    return detail::tensor_access::make(found->data, data_->source);
}

CKPT_DETAIL_DEF std::vector<state_dict::other> state_dict::others() const& {
    std::vector<other> out;
    out.reserve(data_->others.size());
    for (const auto& o : data_->others) out.push_back({o.key, o.content});
    return out;
}

CKPT_DETAIL_RARE state_dict state_dict::owned(const workers& lent) const {
    detail::plain_list<const detail::tensor_data*> tensors;
    tensors.reserve(size());
    for (const auto& e : data_->entries) tensors.push_back(e.data);
    auto out = detail::make_shared<detail::state_dict_data>();
    out->file = data_; // its keys are there, and it keeps the file
    out->storages = detail::owned_storages::read(*data_->source, tensors, lent);
    out->source = out->storages.get();
    out->entries = data_->entries;
    for (std::size_t i = 0; i < tensors.size(); ++i) out->entries[i].data = tensors[i];
    out->others = data_->others;
    out->refused = data_->refused;
    out->path = data_->path;
    out->opened = data_->opened;
    out->root = data_->root;
    out->history = data_->history;
    return detail::state_dict_access::make(std::move(out));
}

CKPT_DETAIL_RARE result<void> state_dict::read_scalar(std::string_view key, ckpt::dtype to, std::byte* out) const {
    if (const auto* found = data_->find(key)) {
        auto done = detail::read_scalar(detail::tensor_access::make(found->data, data_->source), to, out);
        if (!done) data_->place(done.error(), key);
        return done;
    }
    for (const auto& o : data_->others) {
        if (o.key != key) continue;
        auto done = detail::read_scalar(result<value>{o.content}, data_->where(key), to, out);
        if (!done) data_->place(done.error(), key);
        return done;
    }
    return missing(key);
}

CKPT_DETAIL_DEF ckpt::error state_dict::missing(std::string_view key) const {
    ckpt::error out{.code = errc::key_missing, .file = std::string(data_->opened), .path = data_->path};
    out.detail = detail::str_cat("no key ", detail::quoted(key), " among ", size());
    std::vector<std::string_view> keys;
    keys.reserve(size());
    for (const auto& e : data_->entries) keys.push_back(e.key);
    if (const auto closest = detail::nearest(key, keys); !closest.empty()) {
        out.detail += "; nearest:";
        for (const std::string_view k : closest) out.detail += ' ' + detail::quoted(k);
    }
    out.hint = "a loop over the state_dict gives its keys";
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
