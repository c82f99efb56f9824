// ckpt/state/impl/object_walk.ipp: the definitions of object_walk.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sorting.hpp>
#include <ckpt/pickle/value_access.hpp>
#include <ckpt/state/object_walk.hpp>

#include <algorithm>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF bool is_slots_pair(const value& state) noexcept {
    const auto fits = [](const value& v) { return v.kind() == kind::dictionary || v.is_none(); };
    return state.kind() == kind::tuple && state.size() == 2 && fits(state[0]) && fits(state[1]);
}

CKPT_DETAIL_DEF step_cursor::step_cursor(const value& v, bool whole) : at_{v} {
    if (v.kind() != kind::object) return;
    if (v.is_module()) {
        for (std::size_t i = 0; i < parts_of_modules; ++i)
            if (auto part = v.at(module_parts[i])) attributes_[i] = *part;
        const bool script = !attributes_[0] && !attributes_[2];
        if (script) attributes_[0] = v.state();
        if (whole && !script) (void)take_attributes(v.state(), parts_of_modules);
        if (const auto names = v.at("_non_persistent_buffers_set"))
            for (const value name : names->elements())
                if (const auto text = name.as_string()) skipped_.push_back(*text);
        sort_values(skipped_);
        cost_ = skipped_.size() + v.state().size();
        for (const value part : v.state().elements()) cost_ += part.size(); // attributes and slots
        return;
    }
    // Some classes keep a tuple of their own making: a generator its random state, packed parameters their weight.
    const value state = v.state();
    if (take_attributes(state, 0)) return;
    if ((state.kind() == kind::tuple || state.kind() == kind::list) && v.items().empty()) elements_ = state;
}

CKPT_DETAIL_DEF bool step_cursor::next(value& key, std::uint64_t& position, value& below) noexcept {
    key = {};
    if (at_.is_module()) return next_of_module(key, below);
    switch (at_.kind()) {
    case kind::dictionary: return entry_of(at_, key, below);
    case kind::list:
    case kind::tuple:
        position = i_;
        below = at_[i_++];
        return static_cast<bool>(below);
    case kind::object: {
        while (part_ < 2) {
            if (attributes_[part_] && entry_of(attributes_[part_], key, below)) return true;
            ++part_;
            i_ = 0;
        }
        if (at_.is_mapping()) return entry_of(at_, key, below);
        position = i_;
        below = elements_ ? elements_[i_] : at_.items()[i_];
        ++i_;
        return static_cast<bool>(below);
    }
    default: return false;
    }
}

CKPT_DETAIL_DEF bool step_cursor::take_attributes(const value& state, std::size_t at) noexcept {
    if (is_slots_pair(state))
        for (std::size_t i = 0; i < 2; ++i) attributes_[at + i] = state[i].is_none() ? value{} : state[i];
    else if (state.kind() == kind::dictionary) attributes_[at] = state;
    else return false;
    return true;
}

CKPT_DETAIL_DEF bool step_cursor::next_of_module(value& key, value& below) noexcept {
    while (part_ < all_parts) {
        if (!entry_of(attributes_[part_], key, below)) {
            ++part_;
            i_ = 0;
        } else if (!below.is_none() && !(part_ == 1 && is_skipped(key)) &&
                   (part_ < parts_of_modules || is_packed(below))) {
            return true;
        }
    }
    return false;
}

CKPT_DETAIL_DEF bool step_cursor::is_packed(const value& v) noexcept {
    if (v.kind() != kind::object) return false;
    const auto of = v.class_of().as_global();
    return of && of->module == "torch" && of->name == "ScriptObject";
}

CKPT_DETAIL_DEF bool step_cursor::is_skipped(const value& key) const noexcept {
    const auto name = key.as_string();
    return name && std::binary_search(skipped_.begin(), skipped_.end(), *name);
}

CKPT_DETAIL_DEF bool step_cursor::entry_of(const value& dictionary, value& key, value& below) noexcept {
    if (i_ >= dictionary.entries().size()) return false;
    auto it = dictionary.entries().begin();
    it.skip(i_++);
    const value::entry e = *it;
    key = e.key;
    below = e.mapped;
    return true;
}

CKPT_DETAIL_DEF tensor_reach::tensor_reach(const value& root) {
    std::vector<std::pair<std::uint32_t, std::uint32_t>> edges; // from, to
    std::vector<value> todo{root};
    std::vector<std::uint32_t> tensors;
    (void)note(root);
    while (!todo.empty()) {
        const value v = todo.back();
        todo.pop_back();
        if (v.kind() == kind::tensor || v.kind() == kind::array) {
            tensors.push_back(v.object_id());
            continue;
        }
        each_below(v, [&](const value& below) {
            const kind k = below.kind();
            if (!is_walked(k) && k != kind::tensor && k != kind::array) return;
            edges.emplace_back(below.object_id(), v.object_id());
            if (note(below)) todo.push_back(below);
        });
    }
    std::sort(edges.begin(), edges.end());
    for (const std::uint32_t t : tensors) marks_[t] |= reaches;
    while (!tensors.empty()) {
        const std::uint32_t id = tensors.back();
        tensors.pop_back();
        for (auto it = std::lower_bound(edges.begin(), edges.end(), std::pair<std::uint32_t, std::uint32_t>{id, 0});
             it != edges.end() && it->first == id; ++it)
            if ((marks_[it->second] & reaches) == 0) {
                marks_[it->second] |= reaches;
                tensors.push_back(it->second);
            }
    }
}

CKPT_DETAIL_DEF bool tensor_reach::note(const value& v) {
    const std::uint32_t id = v.object_id();
    if (id >= marks_.size()) marks_.resize(std::size_t{id} + 1 + marks_.size() / 2);
    if ((marks_[id] & seen) != 0) return false;
    marks_[id] |= seen;
    return true;
}

CKPT_DETAIL_DEF walk_budget::walk_budget(const value& root, std::uint64_t limit) noexcept : visits{limit} {
    const std::uint64_t bytes = value_access::metadata_bytes(root); // below 2^32 for each file
    steps = 64 * bytes + 250'000;
    text = 16 * bytes + (std::uint64_t{64} << 20);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
