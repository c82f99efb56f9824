// ckpt/state/impl/binding.ipp: the definitions of binding.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/state/binding.hpp>
#include <ckpt/state/state_dict_data.hpp>

#include <algorithm>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF target_list::target_list(const state_dict& weights) noexcept
    : weights_{state_dict_access::data(weights).get()}, elements_left_{8 * std::uint64_t{weights_->entries.size()}} {}

CKPT_DETAIL_DEF std::size_t target_list::enter(std::string_view name) {
    const std::size_t before = key_.size();
    if (before > 0 && !name.empty()) key_ += '.';
    key_ += name;
    return before;
}

CKPT_DETAIL_DEF void target_list::add(const target_type& type) {
    load_target& t = targets.emplace_back();
    t.key = key_;
    t.type = type;
    t.found = weights_->find(key_);
}

CKPT_DETAIL_DEF std::size_t target_list::count_elements() {
    const std::string prefix = key_.empty() ? std::string{} : key_ + '.';
    const auto& d = *weights_;
    const std::uint64_t most = (std::min)(std::uint64_t{d.entries.size()}, elements_left_);
    std::uint64_t size = 0;
    const auto sorted = d.by_key();
    auto at = std::lower_bound(sorted.begin(), sorted.end(), std::string_view{prefix},
                               [&d](std::uint32_t i, std::string_view k) { return d.entries[i].key < k; });
    for (; at != sorted.end() && d.entries[*at].key.starts_with(prefix); ++at) {
        std::string_view digits = d.entries[*at].key.substr(prefix.size());
        digits = digits.substr(0, digits.find('.'));
        if (digits.empty() || digits.size() > 10 || (digits.size() > 1 && digits[0] == '0')) continue;
        std::uint64_t index = 0;
        if (parse_decimal(digits, index) && index < most) size = (std::max)(size, index + 1);
    }
    elements_left_ -= size;
    if (size == 0) absent.push_back(key_); // said, because nothing below it can be missing
    decisions.push_back(static_cast<std::size_t>(size));
    return decisions.back();
}

CKPT_DETAIL_DEF target_list::mark target_list::begin_optional() {
    mark out{targets.size(), decisions.size(), absent.size(), elements_left_};
    decisions.push_back(1);
    return out;
}

CKPT_DETAIL_DEF void target_list::end_optional(const mark& since) {
    for (std::size_t i = since.targets; i < targets.size(); ++i)
        if (targets[i].found != nullptr) return;
    targets.resize(since.targets);
    decisions.resize(since.decisions);
    absent.resize(since.absent);
    elements_left_ = since.elements_left;
    decisions.push_back(0);
    absent.push_back(key_);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
