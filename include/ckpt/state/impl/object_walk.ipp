// ckpt/state/impl/object_walk.ipp: the definitions of object_walk.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/pickle/value_access.hpp>
#include <ckpt/state/object_walk.hpp>

#include <algorithm>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF bool is_slots_pair(const value& state) noexcept {
    const auto fits = [](const value& v) { return v.kind() == kind::dictionary || v.is_none(); };
    return state.kind() == kind::tuple && state.size() == 2 && fits(state[0]) && fits(state[1]);
}

CKPT_DETAIL_RARE step_cursor::step_cursor(const value& v, bool whole) : at_{v} {
    if (v.kind() == kind::tensor) (void)take_attributes(v.state(), 0);
    if (v.kind() != kind::object) return;
    if (v.is_module()) {
        for (std::size_t i = 0; i < parts_of_modules; ++i)
            if (auto part = v.at(module_parts[i])) attributes_[i] = *part;
        if (!attributes_[0] && !attributes_[2]) take_script(v.state(), whole);
        else if (whole && take_attributes(v.state(), parts_of_modules)) attributes_[all_parts - 1] = attributes_[1];
        if (const auto names = v.at("_non_persistent_buffers_set"))
            for (const value name : names->elements())
                if (const auto text = name.as_string()) skipped_.push_back(*text);
        sort_values(skipped_);
        cost_ = skipped_.size() + v.state().size();
        for (const value part : v.state().elements()) cost_ += part.size(); // attributes and slots
        return;
    }
    // Some classes keep a tuple of their own making: a generator its random state, packed parameters their weight.
    if (take_attributes(v.state(), 0) && v.state().kind() == kind::tuple) unnamed_state_ = v.state().size();
    if (v.is_mapping()) {
        attributes_[2] = v;
        first_ = v.items().size();
    }
    attributes_[3] = v.kwargs();
}

CKPT_DETAIL_RARE bool step_cursor::next(value& key, std::uint64_t& position, value& below) noexcept {
    key = {};
    if (at_.is_module()) return next_of_module(key, below);
    switch (at_.kind()) {
    case kind::dictionary: return entry_of(at_, key, below);
    case kind::list:
    case kind::tuple:
        position = i_;
        below = at_[i_++];
        return static_cast<bool>(below);
    case kind::tensor:
        for (; part_ < 2; ++part_, i_ = 0)
            if (entry_of(attributes_[part_], key, below)) return true;
        return false;
    case kind::object: {
        for (; part_ < all_parts; ++part_, i_ = part_ < all_parts ? 0 : first_)
            if (attributes_[part_] && entry_of(attributes_[part_], key, below)) return true;
        if (i_ == at_.items().size()) i_ += unnamed_state_;
        key = {};
        position = i_;
        below = value_access::at_position(at_, i_++);
        return static_cast<bool>(below);
    }
    default: return false;
    }
}

CKPT_DETAIL_DEF value step_cursor::next_tensor(std::string_view& key) noexcept {
    const graph* const g = value_access::graph(at_);
    if (g == nullptr) return {};
    const node& dictionary = g->nodes[value_access::node(at_)];
    if (dictionary.kind != node_kind::dictionary) return {};
    const std::span<const std::uint32_t> entries = g->elements(dictionary);
    if (2 * i_ + 1 >= entries.size()) return {};
    const node& name = g->nodes[entries[2 * i_]];
    const std::uint32_t below = entries[2 * i_ + 1];
    if (name.kind != node_kind::string || g->nodes[below].kind != node_kind::tensor) return {};
    ++i_;
    key = graph::text_of(name);
    return value_access::make(*g, below);
}

CKPT_DETAIL_RARE bool step_cursor::take_attributes(const value& state, std::size_t at) noexcept {
    if (is_slots_pair(state))
        for (std::size_t i = 0; i < 2; ++i) attributes_[at + i] = state[i].is_none() ? value{} : state[i];
    else if (state.kind() == kind::dictionary) attributes_[at] = state;
    else return false;
    return true;
}

CKPT_DETAIL_RARE bool step_cursor::next_of_module(value& key, value& below) noexcept {
    while (part_ < all_parts) {
        if (!entry_of(attributes_[part_], key, below)) {
            ++part_;
            i_ = 0;
        } else if (script_ ? is_of_script_part(below) : is_of_module_part(key, below)) {
            return true;
        }
    }
    return false;
}

CKPT_DETAIL_RARE void step_cursor::take_script(const value& state, bool whole) noexcept {
    script_ = true;
    attributes_[0] = attributes_[2] = state;
    if (whole) attributes_[3] = state;
    for (const value::entry e : state.entries()) {
        if (const auto name = e.key.as_string(); name && *name == "training") return;
        ++own_;
    }
}

CKPT_DETAIL_RARE bool step_cursor::is_of_script_part(const value& below) const noexcept {
    const bool tensor = i_ <= own_ && below.kind() == kind::tensor; // `i_` is past the entry
    if (part_ == 0) return tensor;
    return part_ == 2 ? below.is_module() : !tensor && !below.is_module();
}

CKPT_DETAIL_RARE bool step_cursor::is_of_module_part(const value& key, const value& below) const noexcept {
    if (below.is_none()) return false;
    if (part_ == 1) return !is_skipped(key);
    if (part_ == all_parts - 1) return is_skipped(key);
    if (part_ < parts_of_modules) return true;
    const kind k = below.kind();
    if (!is_walked(k) && k != kind::tensor && k != kind::array) return false;
    const auto name = key.as_string();
    return !name || (*name != module_parts[0] && *name != module_parts[1] && *name != module_parts[2]);
}

CKPT_DETAIL_RARE bool step_cursor::is_skipped(const value& key) const noexcept {
    const auto name = key.as_string();
    return name && std::binary_search(skipped_.begin(), skipped_.end(), *name);
}

CKPT_DETAIL_RARE bool step_cursor::entry_of(const value& dictionary, value& key, value& below) noexcept {
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
    bool has_modules = false;
    (void)note(root, seen);
    while (!todo.empty()) {
        const value v = todo.back();
        todo.pop_back();
        has_modules = has_modules || v.is_module();
        if (v.kind() == kind::tensor || v.kind() == kind::array) tensors.push_back(v.object_id());
        each_below(v, [&](const value& below) {
            const kind k = below.kind();
            if (!is_walked(k) && k != kind::tensor && k != kind::array) return;
            if (v.kind() != kind::tensor) edges.emplace_back(below.object_id(), v.object_id());
            if (note(below, seen)) todo.push_back(below);
        });
    }
    if (has_modules) mark_kept(root);
    sort_values(edges);
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

CKPT_DETAIL_DEF void tensor_reach::mark_kept(const value& root) {
    std::vector<value> todo{root};
    (void)note(root, kept);
    const auto add = [&](const value& below) {
        const kind k = below.kind();
        if ((is_walked(k) || k == kind::tensor || k == kind::array) && note(below, kept)) todo.push_back(below);
    };
    while (!todo.empty()) {
        const value v = todo.back();
        todo.pop_back();
        if (!v.is_module()) each_below(v, add);
        else if (const value state = v.state(); note(state, kept)) // several modules may share it
            for (const std::string_view part : {"_parameters", "_buffers", "_modules"})
                if (const auto of = v.at(part)) add(*of);
    }
}

CKPT_DETAIL_DEF bool tensor_reach::note(const value& v, mark what) {
    const std::uint32_t id = v.object_id();
    if (id >= marks_.size()) marks_.resize(std::size_t{id} + 1 + marks_.size() / 2);
    if ((marks_[id] & what) != 0) return false;
    marks_[id] |= what;
    return true;
}

CKPT_DETAIL_DEF walk_budget::walk_budget(const value& root, std::uint64_t limit) noexcept : visits{limit} {
    const std::uint64_t bytes = value_access::metadata_bytes(root); // below 2^32 for each file
    steps = 64 * bytes + 250'000;
    text = 16 * bytes + (std::uint64_t{64} << 20);
}

/// One walk: a stack of the containers on the present path, each with the steps that are left in it.
class object_walk {
  public:
    /// `reach`: where tensors are, to go nowhere else; null to go through a state_dict.
    /// `tensor`: for tensors of dictionaries that belong to a state_dict; may be null.
    object_walk(walk_budget& budget, errc code, const tensor_reach* reach, walk_visitor visit,
                const tensor_visitor* tensor = nullptr)
        : budget_{budget}, code_{code}, limit_{budget.visits}, reach_{reach}, visit_{visit}, tensor_{tensor} {}

    [[nodiscard]] result<void> run(const value& root) {
        const bool walked = is_walked(root.kind()) && enters(root);
        if (!walked) visit_(path_, root);
        if (walked || has_attributes(root)) push(root, fresh, false);
        while (!stack_.empty()) {
            value key{};
            value below{};
            std::uint64_t position = 0;
            spent what = tensor_ != nullptr ? pass_tensors() : spent::none;
            if (what == spent::none) {
                if (!stack_.back().cursor.next(key, position, below)) {
                    leave();
                    continue;
                }
                what = take(budget_.steps, 1) ? step(key, position, below) : spent::paths;
            }
            if (what == spent::none) continue;
            for (const frame& f : stack_) budget_.open[f.at.object_id()] = 0;
            return what == spent::visits ? too_many() : too_far();
        }
        return {};
    }

  private:
    /// Which budget is spent.
    enum class spent : std::uint8_t { none, visits, paths };
    struct frame {
        value at;
        step_cursor cursor;
        std::size_t before{}; // bytes of the last element of the path that belong to what is around it, or `fresh`
        bool joins{false};    // a submodule: what is below goes on in the last element of the path
        bool beside{false};   // below an attribute of a module
    };
    static constexpr std::size_t fresh = ~std::size_t{0}; // the step made an element of its own

    [[nodiscard]] bool leaves() const noexcept { return reach_ == nullptr; }
    [[nodiscard]] bool enters(const value& v) const noexcept {
        return reach_ != nullptr ? reach_->has_tensors(v) : v.kind() != kind::object || v.is_module();
    }

    void push(const value& v, std::size_t before, bool joins, bool beside = false) {
        std::vector<std::uint8_t>& open = budget_.open;
        if (v.object_id() >= open.size()) open.resize(std::size_t{v.object_id()} + 1 + open.size() / 2);
        open[v.object_id()] = 1;
        stack_.push_back({v, step_cursor{v, !leaves()}, before, joins, beside});
    }
    void leave() {
        budget_.open[stack_.back().at.object_id()] = 0;
        const std::size_t before = stack_.back().before;
        stack_.pop_back();
        if (!path_.empty()) shorten(before);
    }

    /// Makes the path longer by one step. Returns what `shorten` needs to take the step back.
    [[nodiscard]] std::size_t lengthen(const value& key, std::uint64_t position) {
        if (stack_.back().joins) {
            const std::size_t before = path_.back().text.size();
            (path_.back().text += '.') += key_text(key);
            path_text_ += path_.back().text.size() - before;
            return before;
        }
        path_.push_back(key ? path_element{key_text(key), key.kind() == kind::integer}
                            : path_element{decimal(position), true});
        path_text_ += path_.back().text.size() + element_bytes();
        return fresh;
    }
    void shorten(std::size_t before) {
        if (before != fresh) {
            path_text_ -= path_.back().text.size() - before;
            path_.back().text.resize(before);
            return;
        }
        path_text_ -= path_.back().text.size() + element_bytes();
        path_.pop_back();
    }
    [[nodiscard]] std::uint64_t element_bytes() const noexcept { return leaves() ? 1 : sizeof(path_element); }

    /// Whether a tensor has attributes to go on to.
    [[nodiscard]] bool has_attributes(const value& v) const noexcept {
        return reach_ != nullptr && v.kind() == kind::tensor && v.state() && reach_->has_tensors(v.state());
    }

    /// Tells of the tensors that come next in a dictionary, at the same cost as `step`.
    [[nodiscard]] spent pass_tensors() {
        frame& top = stack_.back();
        std::string_view key{};
        if (top.joins) return spent::none;
        while (const value tensor = top.cursor.next_tensor(key)) {
            const std::uint64_t text = path_text_ + key.size() + element_bytes();
            if (!take(budget_.steps, 1) || !take(budget_.steps, key.size() / 64) || text > budget_.text)
                return spent::paths;
            if (!take(budget_.visits, 1)) return spent::visits;
            if (!take(budget_.text, text)) return spent::paths;
            (*tensor_)(path_, key, tensor);
        }
        return spent::none;
    }

    /// Goes one step on: below the value, past it, or only tells of it.
    [[nodiscard]] spent step(const value& key, std::uint64_t position, const value& below) {
        const bool walked = is_walked(below.kind()) && enters(below);
        const bool attributed = has_attributes(below);
        const std::vector<std::uint8_t>& open = budget_.open;
        if ((walked || attributed) && below.object_id() < open.size() && open[below.object_id()] != 0)
            return spent::none; // a cycle
        const frame& top = stack_.back();
        const bool beside = top.at.is_module() ? top.cursor.is_beside() : top.beside;
        if (beside && reach_->is_kept(below)) return spent::none; // a way without attributes leads there
        if (!walked && !leaves() && below.kind() != kind::tensor && below.kind() != kind::array) return spent::none;
        const std::size_t before = lengthen(key, position);
        if (!take(budget_.steps, path_.back().text.size() / 64) || path_text_ > budget_.text) return spent::paths;
        if (walked) {
            push(below, before, stack_.back().at.is_module() && below.is_module(), beside);
            if (!take(budget_.steps, stack_.back().cursor.cost())) return spent::paths;
            return spent::none;
        }
        if (!take(budget_.visits, 1)) return spent::visits;
        if (!take(budget_.text, path_text_)) return spent::paths;
        visit_(path_, below);
        if (attributed) push(below, before, false, beside);
        else shorten(before);
        return spent::none;
    }

    [[nodiscard]] static bool take(std::uint64_t& left, std::uint64_t n) noexcept {
        const bool enough = n <= left;
        left = enough ? left - n : 0;
        return enough;
    }
    [[nodiscard]] error too_many() const {
        return {.code = code_,
                .detail = str_cat("more than ", limit_,
                                  " values are below this one, counted under every path that reaches them"),
                .hint = "select a smaller part by its path"};
    }
    [[nodiscard]] error too_far() const {
        return {.code = code_,
                .detail = "the paths below this value cost more than the size of the pickle allows: its containers are "
                          "shared, or nested, very often",
                .hint = "select a smaller part by its path"};
    }

    walk_budget& budget_;
    errc code_;
    std::uint64_t limit_;
    const tensor_reach* reach_;
    walk_visitor visit_;
    const tensor_visitor* tensor_;
    std::vector<frame> stack_{};
    std::vector<path_element> path_{};
    std::uint64_t path_text_{0}; // bytes of the path's text, which a visitor may keep
};

CKPT_DETAIL_DEF result<void> walk_tensors(const value& root, walk_budget& budget, errc code, walk_visitor visit) {
    const tensor_reach reach{root};
    return object_walk{budget, code, &reach, visit}.run(root);
}

CKPT_DETAIL_RARE result<void> walk_state_dict(const value& root, walk_budget& budget, errc code, walk_visitor visit) {
    return object_walk{budget, code, nullptr, visit}.run(root);
}

CKPT_DETAIL_RARE result<void> walk_state_dict(const value& root, walk_budget& budget, errc code, walk_visitor visit,
                                              tensor_visitor tensor) {
    return object_walk{budget, code, nullptr, visit, &tensor}.run(root);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
