// ckpt/state/impl/key_structure.ipp: the definitions of key_structure.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/hash.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/state/key_structure.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF number_run next_number(std::string_view name, std::size_t from) noexcept {
    constexpr std::size_t longest = 9;
    const auto digit = [&](std::size_t i) { return i < name.size() && name[i] >= '0' && name[i] <= '9'; };
    for (std::size_t i = from; i < name.size();) {
        if (!digit(i)) {
            ++i;
            continue;
        }
        number_run out{i, i, 0, false};
        while (digit(out.end)) ++out.end;
        if (out.end - i <= longest && (out.end - i == 1 || name[i] != '0')) {
            (void)parse_decimal(name.substr(i, out.end - i), out.number);
            out.whole = (i == 0 || separates(name[i - 1])) && (out.end == name.size() || separates(name[out.end]));
            return out;
        }
        i = out.end;
    }
    return {name.size(), name.size(), 0, false};
}

CKPT_DETAIL_DEF std::uint64_t hash_of_sizes(const known_shape& shape, bool ordered) {
    if (!shape) return 0;
    std::vector<std::int64_t> sizes = *shape;
    if (!ordered) sort_values(sizes);
    std::uint64_t out = 0x5AFE + sizes.size();
    for (const std::int64_t n : sizes) out = mix(out * 0x9E37'79B9'7F4A'7C15u + static_cast<std::uint64_t>(n));
    return out;
}

CKPT_DETAIL_DEF key_structure::key_structure(const std::vector<family_key>& keys, word_table& words) {
    find_numberings(keys);
    find_modules(keys, words);
    count_words(keys, words);
}

CKPT_DETAIL_DEF void key_structure::count_words(const std::vector<family_key>& keys, word_table& words) {
    std::vector<std::size_t> count;
    std::vector<std::uint32_t> ends;
    for (const family_key& k : keys) {
        const std::vector<std::uint32_t> of_key = this->words(k.name, k.name, words, ends);
        count.resize(words.size(), 0);
        for (const std::uint32_t w : of_key) ++count[w];
    }
    for (const std::size_t n : count) common_.push_back(n * 10 > keys.size() * 7 ? 1 : 0);
}

CKPT_DETAIL_DEF std::vector<char> key_structure::common(const word_table& words) const {
    std::vector<char> out = common_;
    out.resize(words.size(), 0);
    for (std::uint32_t w = 0; w < out.size(); ++w)
        if (words.is_number(w)) out[w] = 1;
    return out;
}

CKPT_DETAIL_DEF void key_structure::find_numberings(const std::vector<family_key>& keys) {
    struct use {
        std::uint64_t before{};
        std::uint64_t behind{}; ///< hash of what follows, and of the shape
        std::int64_t number{};
        bool whole{};
    };
    plain_list<use> uses;
    for (const family_key& k : keys) {
        const std::string_view name = k.name;
        number_run run = next_number(name, 0);
        for (std::size_t n = 0; n < most_numbers && run.begin < run.end; ++n) {
            const std::uint64_t behind = hash_bytes(name.substr(run.end)) ^ hash_of_sizes(k.shape, true);
            uses.push_back({hash_bytes(name.substr(0, run.begin)), behind, run.number, run.whole});
            run = next_number(name, run.end);
        }
    }
    sort_values(uses, [](const use& a, const use& b) {
        if (a.before != b.before) return a.before < b.before;
        return a.number != b.number ? a.number < b.number : a.behind < b.behind;
    });
    plain_list<std::uint64_t> ends;
    for (std::size_t i = 0; i < uses.size();) {
        numbering out{uses[i].before, 0, false};
        std::size_t numbers = 0;
        bool whole = true;
        const std::size_t first = i;
        ends.clear();
        for (; i < uses.size() && uses[i].before == out.before; ++i) {
            if (i == first || uses[i].number != uses[i - 1].number) {
                ++numbers;
                out.all = mix(out.all * 31 + static_cast<std::uint64_t>(uses[i].number) + 1);
            }
            whole = whole && uses[i].whole;
            ends.push_back(uses[i].behind);
        }
        const std::size_t count = ends.size();
        sort_values(ends);
        const auto different = static_cast<std::size_t>(std::unique(ends.begin(), ends.end()) - ends.begin());
        // A number counts equal modules where most of what follows one number follows the others, too. One that is a
        // part of a word counts them only where they are large: "layer_0", but not "norm1".
        out.index = numbers > 1 && count * 5 >= numbers * different * 3 && (whole || different > 3);
        numberings_.push_back(out);
    }
}

CKPT_DETAIL_DEF void key_structure::find_modules(const std::vector<family_key>& keys, word_table& words) {
    plain_list<module_content> found;
    for (const family_key& k : keys) {
        const std::string_view name = k.name;
        std::size_t before = 0; // where the segment before begins
        each_segment(name, [&](std::size_t at, std::size_t end) {
            const std::string_view segment = name.substr(at, end - at);
            module_content one{hash_bytes(name.substr(0, at)), 0, false, {words.roles_of(segment), 0}};
            const bool is_weight =
                end == name.size() && (segment == "kernel" || segment == "scale" || segment.ends_with("weight"));
            one.running = end == name.size() && segment.starts_with("running_");
            if (is_weight) one.weight = k.shape ? hash_of_sizes(k.shape, false) | 4 : 2;
            if (one.has.roles != 0 || one.weight != 0 || one.running) found.push_back(one);
            if (is_weight && k.shape && k.shape->size() == 1)
                found.push_back({hash_bytes(name.substr(0, before)), 0, false, {0, 1}});
            before = at;
        });
    }
    sort_values(found, [](const module_content& a, const module_content& b) { return a.path < b.path; });
    for (const module_content& one : found) {
        if (modules_.empty() || modules_.back().path != one.path) modules_.push_back({one.path, 0, false, {}});
        module_neighbours& has = modules_.back().has;
        has.roles = std::uint8_t(has.roles | one.has.roles);
        has.norms = std::uint16_t((std::min)(has.norms + one.has.norms, 9));
        if (one.weight != 0) modules_.back().weight = one.weight;
        modules_.back().running = modules_.back().running || one.running;
    }
}

CKPT_DETAIL_DEF const key_structure::numbering* key_structure::numbering_at(std::string_view before) const {
    const std::uint64_t hash = hash_bytes(before);
    const auto* found = std::lower_bound(numberings_.begin(), numberings_.end(), hash,
                                         [](const numbering& n, std::uint64_t h) { return n.before < h; });
    return found != numberings_.end() && found->before == hash ? found : nullptr;
}

CKPT_DETAIL_DEF const key_structure::module_content* key_structure::module_at(std::string_view path) const {
    const std::uint64_t hash = hash_bytes(path);
    const auto* found = std::lower_bound(modules_.begin(), modules_.end(), hash,
                                         [](const module_content& m, std::uint64_t h) { return m.path < h; });
    return found != modules_.end() && found->path == hash ? found : nullptr;
}

CKPT_DETAIL_DEF bool key_structure::is_index(std::string_view name, const number_run& run) const {
    const numbering* n = numbering_at(name.substr(0, run.begin));
    return n != nullptr && n->index;
}

CKPT_DETAIL_DEF bool key_structure::differs(const key_structure& there, std::string_view name,
                                            const function_ref<bool(std::string_view)>& open) const {
    number_run run = next_number(name, 0);
    for (std::size_t n = 0; n < most_numbers && run.begin < run.end; ++n, run = next_number(name, run.end)) {
        const numbering* a = numbering_at(name.substr(0, run.begin));
        const numbering* b = there.numbering_at(name.substr(0, run.begin));
        if (a == nullptr || b == nullptr || a->all == b->all || (a->index && b->index)) continue;
        std::size_t at = run.whole && run.begin > 0 ? run.begin - 1 : run.begin; // the module that they are in
        while (at > 0 && !separates(name[at - 1])) --at;
        if (open(name.substr(0, at))) return true;
    }
    return false;
}

CKPT_DETAIL_DEF std::uint64_t key_structure::weight_beside(std::string_view name) const {
    const std::size_t last = name.find_last_of("./");
    const module_content* m = module_at(name.substr(0, last == std::string_view::npos ? 0 : last + 1));
    return m != nullptr && m->weight != 0 ? m->weight ^ (m->running ? 1u : 0u) : 0;
}

/// Calls `f(run)` for the numbers of a name that are no marks in its pattern.
template <class F> void each_literal(std::string_view name, std::string_view pattern, const F& f) {
    std::size_t behind = 0; // how much longer the name is than the pattern so far
    number_run run = next_number(name, 0);
    for (std::size_t n = 0; n < most_numbers && run.begin < run.end; ++n, run = next_number(name, run.end)) {
        if (pattern.substr(run.begin - behind).starts_with(number_mark)) behind += run.end - run.begin - 1;
        else f(run);
    }
}

CKPT_DETAIL_DEF std::uint64_t key_structure::indices(std::string_view name, std::string_view pattern) const {
    std::uint64_t out = 0;
    each_literal(name, pattern, [&](const number_run& run) {
        if (is_index(name, run)) out = mix(out * 31 + static_cast<std::uint64_t>(run.number) + 1);
    });
    return out;
}

CKPT_DETAIL_DEF std::vector<std::uint32_t> key_structure::words(std::string_view name, std::string_view pattern,
                                                                word_table& known,
                                                                std::vector<std::uint32_t>& ends) const {
    std::vector<std::uint32_t> out;
    std::array<std::size_t, 3> before{}; // words before each of the last three segments
    each_segment(name, [&](std::size_t at, std::size_t end) {
        before = {before[1], before[2], out.size()};
        const module_content* m = module_at(name.substr(0, at));
        known.add_segment(name.substr(at, end - at), m != nullptr ? m->has : module_neighbours{}, out);
    });
    word_table::settle(out);
    ends.assign(out.begin() + static_cast<std::ptrdiff_t>(before[0]), out.end());
    // Numbers that are no marks in the pattern, each with all that stand in its place: "conv1" of "conv1" and "conv2".
    each_literal(name, pattern, [&](const number_run& run) {
        const numbering* of = numbering_at(name.substr(0, run.begin));
        if (of == nullptr) return;
        std::size_t at = run.whole && run.begin > 0 ? run.begin - 1 : run.begin; // with the segment before it
        while (at > 0 && !separates(name[at - 1])) --at;
        std::vector<std::uint32_t> belongs;
        known.add_segment(name.substr(at, run.begin - at), {}, belongs);
        known.add_number(std::move(belongs), run.number, of->all, out);
    });
    sort_values(out);
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
