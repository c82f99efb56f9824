// ckpt/state/impl/pull.ipp: the definitions of pull.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/pull.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF result<load_target> pull_record::ask(std::string key, const target_type& type, bool optional) {
    request& r = requests_.emplace_back();
    r.key = std::move(key);
    r.type = type;
    r.optional = optional;
    r.sizes.assign(type.sizes.begin(), type.sizes.end());
    const state_dict_data& data = *state_dict_access::data(weights_);
    load_target out;
    out.key = r.key;
    out.type = type;
    out.found = data.find(r.key);
    if (out.found == nullptr) return weights_.at(r.key).error();
    out.source = tensor_access::make(out.found->data, data.source);
    auto fits = fit(out.source, type, options_.casts);
    if (!fits) {
        error e = std::move(fits).error();
        e.path = data.where(r.key);
        return e;
    }
    out.address = fits->address;
    out.bytes = fits->bytes;
    return out;
}

CKPT_DETAIL_DEF error pull_record::fail(error e) {
    requests_.back().failure = e.message();
    return e;
}

CKPT_DETAIL_DEF load_report pull_record::report() const {
    std::vector<std::size_t> order(requests_.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) {
        return requests_[a].key != requests_[b].key ? requests_[a].key < requests_[b].key : a < b;
    });
    std::vector<std::size_t> last;
    for (std::size_t i = 0; i < order.size(); ++i)
        if (i + 1 == order.size() || requests_[order[i]].key != requests_[order[i + 1]].key) last.push_back(order[i]);
    std::sort(last.begin(), last.end());

    const state_dict_data& data = *state_dict_access::data(weights_);
    load_judge judge{weights_, options_};
    std::vector<load_target> loaded;
    for (const std::size_t i : last) {
        const request& r = requests_[i];
        load_target t;
        t.key = r.key;
        t.type = r.type;
        t.type.sizes = r.sizes;
        t.found = data.find(r.key);
        if (t.found == nullptr && r.optional) {
            judge.absent(r.key);
        } else if (r.failure) {
            t.source = tensor_access::make(t.found->data, data.source);
            judge.mismatch(t, *r.failure);
        } else if (judge.judge(t)) {
            loaded.push_back(std::move(t));
        }
    }
    load_report out = judge.finish();
    if (options_.digests)
        for (std::size_t i = 0; i < loaded.size(); ++i) (void)add_digest(loaded[i].source, out.loaded[i]);
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF puller puller::scope(std::string_view name) const {
    puller out{*this};
    out.prefix_ = key_of(name);
    return out;
}

CKPT_DETAIL_DEF result<tensor> puller::get(std::string_view key) const {
    auto found = record_->ask(key_of(key), {}, false);
    if (!found) return std::move(found).error();
    return found->source;
}

CKPT_DETAIL_DEF std::string puller::key_of(std::string_view name) const {
    std::string out = prefix_;
    if (!out.empty() && !name.empty()) out += '.';
    return out += name;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
