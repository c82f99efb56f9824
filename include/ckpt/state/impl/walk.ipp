// ckpt/state/impl/walk.ipp: the definitions of walk.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/walk.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF std::string located_tensor::key() const {
    std::string out;
    for (const path_element& e : path) {
        if (&e != path.data()) out += '.';
        out += e.text;
    }
    return out;
}

CKPT_DETAIL_DEF std::string key_text(const value& key) {
    std::string out;
    const auto leaf = [&out](const value& v, bool inside) {
        char buffer[40];
        switch (v.kind()) {
        case kind::string:
            if (inside) (out += '\'').append(*v.as_string()) += '\'';
            else out += *v.as_string();
            return;
        case kind::integer:
            if (const auto i = v.as_int()) out += detail::decimal(*i);
            else out += "<int>";
            return;
        case kind::bytes: {
            const auto bytes = *v.as_bytes();
            const std::string_view raw(reinterpret_cast<const char*>(bytes.data()), bytes.size());
            const char quote = raw.find('\'') != raw.npos && raw.find('"') == raw.npos ? '"' : '\'';
            (out += 'b') += quote;
            for (const char c : raw) {
                constexpr char digits[] = "0123456789abcdef";
                const auto b = static_cast<unsigned char>(c);
                if (c == quote || c == '\\') (out += '\\') += c;
                else if (c == '\n') out += "\\n";
                else if (c == '\r') out += "\\r";
                else if (c == '\t') out += "\\t";
                else if (b < 0x20 || b >= 0x7F) ((out += "\\x") += digits[b >> 4]) += digits[b & 15];
                else out += c;
            }
            out += quote;
            return;
        }
        case kind::boolean: out += *v.as_bool() ? "True" : "False"; return;
        case kind::none: out += "None"; return;
        case kind::real: {
            const auto end = std::to_chars(buffer, buffer + sizeof buffer, *v.as_real()).ptr;
            const std::string_view text(buffer, static_cast<std::size_t>(end - buffer));
            out += text;
            if (text.find_first_not_of("-0123456789") == std::string_view::npos) out += ".0";
            return;
        }
        case kind::global: {
            const auto g = *v.as_global();
            (out.append(g.module) += '.').append(g.name);
            return;
        }
        default: (out += '<').append(name(v.kind())) += '>'; return;
        }
    };
    if (key.kind() != kind::tuple) {
        leaf(key, false);
        return out;
    }
    out += '(';
    std::size_t n = 0;
    for (const value v : key.elements()) {
        if (n++ > 0) out += ", ";
        if (n > 16) {
            out += "...";
            break;
        }
        leaf(v, true);
    }
    if (n == 1) out += ',';
    out += ')';
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

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
        std::sort(skipped_.begin(), skipped_.end());
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
        const auto lead_to = [&](const value& below) {
            const kind k = below.kind();
            if (!is_walked(k) && k != kind::tensor && k != kind::array) return;
            edges.emplace_back(below.object_id(), v.object_id());
            if (note(below)) todo.push_back(below);
        };
        if (v.kind() == kind::object) lead_to(v.state());
        if (v.kind() == kind::dictionary)
            for (const value::entry e : v.entries()) lead_to(e.mapped);
        for (const value e : v.elements()) lead_to(e);
        for (const value e : v.items()) lead_to(e);
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
    const graph* const g = detail_access::graph(root);
    const std::uint64_t bytes = g != nullptr ? g->metadata_bytes() : 0; // below 2^32 for each file
    steps = 64 * bytes + 250'000;
    text = 16 * bytes + (std::uint64_t{64} << 20);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF result<std::vector<located_tensor>> find_tensors(const value& root, std::uint64_t limit) {
    std::vector<located_tensor> out;
    detail::walk_budget budget{root, limit};
    auto done = detail::walk(root, budget, errc::output_limit, detail::toward_tensors{root},
                             [&](const std::vector<path_element>& path, const value& v) {
                                 if (v.kind() != kind::tensor && v.kind() != kind::array) return;
                                 out.push_back({path, *v.as_tensor(), v});
                             });
    if (!done) return std::move(done).error();
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
