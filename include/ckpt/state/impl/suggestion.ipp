// ckpt/state/impl/suggestion.ipp: the definitions of suggestion.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/suggestion.hpp>

#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF bool suggestion::is_target(std::string_view name, const known_shape& shape) const {
    const auto found = target_of.find(name);
    return found != target_of.end() && shapes_agree(shape, targets[found->second].shape);
}

/// Hashes of all modules that keys are in which are not matched.
[[nodiscard]] inline std::unordered_set<std::uint64_t> open_modules(const std::vector<family_key>& keys) {
    std::unordered_set<std::uint64_t> out;
    for (const family_key& k : keys)
        if (!k.matched)
            each_segment(k.name, [&](std::size_t at, std::size_t) { out.insert(hash_bytes(k.name.substr(0, at))); });
    return out;
}

CKPT_DETAIL_DEF void suggestion::match_equal() {
    std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs;
    for (std::uint32_t i = 0; i < sources.size(); ++i) {
        const auto found = target_of.find(sources[i].name);
        if (found == target_of.end() || !shapes_agree(sources[i].shape, targets[found->second].shape)) continue;
        sources[i].matched = targets[found->second].matched = true;
        pairs.emplace_back(i, found->second);
    }
    const std::unordered_set<std::uint64_t> open_s = open_modules(sources);
    const std::unordered_set<std::uint64_t> open_t = open_modules(targets);
    for (const auto& [s, t] : pairs) {
        // Where its module has keys on both sides that are called otherwise, the name may mean something else.
        const std::string& name = sources[s].name;
        bool doubtful = source_structure.differs(target_structure, name, [&](std::string_view module) {
            const std::uint64_t hash = hash_bytes(module);
            return open_s.contains(hash) && open_t.contains(hash);
        });
        if (!doubtful && !open_s.empty() && !open_t.empty()) {
            key_family a;
            key_family b;
            a.words = source_structure.words(name, name, words, a.ends);
            b.words = target_structure.words(name, name, words, b.ends);
            doubtful = words_conflict(a, b);
        }
        if (doubtful) sources[s].matched = targets[t].matched = false;
        else ++equal;
    }
}

CKPT_DETAIL_DEF void suggestion::match_doubtful() {
    for (family_key& s : sources) {
        const auto found = target_of.find(s.name);
        if (s.matched || found == target_of.end() || targets[found->second].matched ||
            !shapes_agree(s.shape, targets[found->second].shape))
            continue;
        s.matched = s.doubtful = targets[found->second].matched = true;
        ++equal;
    }
}

[[nodiscard]] inline bool is_square(const known_shape& s) noexcept {
    return s && s->size() == 2 && (*s)[0] == (*s)[1] && (*s)[0] > 1;
}

CKPT_DETAIL_DEF void suggestion::doubt_squares() {
    std::unordered_set<std::uint64_t> turned;
    for (const family_link& l : links)
        if (l.turned && l.block != 0) turned.insert(l.block);
    if (turned.empty()) return;
    std::unordered_set<std::uint32_t> linked;
    for (family_link& l : links) {
        if (l.kind == link_kind::rename && l.sure == surety::named && turned.contains(l.block) &&
            is_square(sources[l.sources[0][0]].shape))
            l.sure = surety::square;
        for (const auto& part : l.sources) linked.insert(part.begin(), part.end());
    }
    for (std::uint32_t i = 0; i < sources.size(); ++i)
        if (sources[i].matched && !linked.contains(i) && is_square(sources[i].shape) &&
            turned.contains(block_of(form_of(sources[i].name, family_grain::modules, source_structure).pattern)))
            sources[i].doubtful = true;
}

/// The module of a weight or a bias: `h.0.ln` of `h.0.ln.weight`. Empty for any other key.
[[nodiscard]] inline std::string_view module_of_parameter(std::string_view key) noexcept {
    for (const std::string_view leaf : {std::string_view{".weight"}, std::string_view{".bias"}})
        if (key.ends_with(leaf)) return key.substr(0, key.size() - leaf.size());
    return {};
}

CKPT_DETAIL_DEF void suggestion::doubt_torn_modules() {
    std::unordered_map<std::string_view, std::string_view> became;
    std::unordered_map<std::string_view, std::string_view> was;
    std::unordered_set<std::string_view> torn_sources;
    std::unordered_set<std::string_view> torn_targets;
    const auto each_module = [this](const family_link& l, auto&& f) {
        if (l.kind != link_kind::rename || l.sure != surety::named) return;
        for (std::size_t i = 0; i < l.sources[0].size(); ++i) {
            const std::string_view from = module_of_parameter(sources[l.sources[0][i]].name);
            const std::string_view to = module_of_parameter(targets[l.targets[0][i]].name);
            if (!from.empty() && !to.empty()) f(from, to);
        }
    };
    for (const family_link& l : links)
        each_module(l, [&](std::string_view from, std::string_view to) {
            if (became.try_emplace(from, to).first->second != to) torn_sources.insert(from);
            if (was.try_emplace(to, from).first->second != from) torn_targets.insert(to);
        });
    for (family_link& l : links) {
        bool torn = false;
        each_module(l, [&](std::string_view from, std::string_view to) {
            torn = torn || torn_sources.contains(from) || torn_targets.contains(to);
        });
        if (torn) l.sure = surety::guess;
    }
}

/// The last segment of a key that names something: `wi_0` of `mlp/wi_0/kernel`, `norm2` of `h.0.norm2.weight`.
[[nodiscard]] inline std::string_view naming_segment(std::string_view key) noexcept {
    for (const std::string_view leaf : {"weight", "bias", "kernel", "scale"})
        if (key.ends_with(leaf) && key.size() > leaf.size() + 1) {
            const std::string_view rest = key.substr(0, key.size() - leaf.size() - 1);
            if (const char c = key[rest.size()]; c == '.' || c == '/') key = rest;
        }
    return key.substr(key.find_last_of("./") + 1);
}

/// Whether two segments differ in their last byte alone: `wi_0` and `wi_1`, `rel_pos_h` and `rel_pos_w`.
[[nodiscard]] inline bool are_rivals(std::string_view a, std::string_view b) noexcept {
    return a.size() == b.size() && a.size() > 1 && a.back() != b.back() &&
           a.substr(0, a.size() - 1) == b.substr(0, b.size() - 1);
}

CKPT_DETAIL_DEF void suggestion::doubt_rivals() {
    for (family_link& l : links) {
        if (l.kind != link_kind::rename || l.sure != surety::named) continue;
        for (std::size_t i = 0; i < l.sources[0].size() && l.sure == surety::named; ++i)
            if (are_rivals(naming_segment(sources[l.sources[0][i]].name),
                           naming_segment(targets[l.targets[0][i]].name)))
                l.sure = surety::guess;
    }
}

CKPT_DETAIL_DEF shape_fit suggestion::fit(const key_family& s, const key_family& t) const noexcept {
    if (!aligned(s, t)) return shape_fit::none;
    bool equal_shapes = true;
    bool turned = true;
    for (std::size_t i = 0; i < s.members.size() && (equal_shapes || turned); ++i) {
        const known_shape& a = sources[s.members[i]].shape;
        const known_shape& b = targets[t.members[i]].shape;
        equal_shapes = equal_shapes && shapes_agree(a, b);
        turned = turned && a && b && a->size() == 2 && b->size() == 2 && (*a)[0] == (*b)[1] && (*a)[1] == (*b)[0];
    }
    return equal_shapes ? shape_fit::equal : turned ? shape_fit::turned : shape_fit::none;
}

CKPT_DETAIL_DEF void suggestion::add_link(link_kind kind, surety sure, family_grain grain,
                                          const std::vector<const key_family*>& from,
                                          const std::vector<const key_family*>& to) {
    family_link out{.kind = kind, .sure = sure, .grain = grain, .block = from.front()->block};
    const key_family& s = *from.front();
    const key_family& t = *to.front();
    for (std::size_t k = 0; k < s.numbers.front().size(); ++k) {
        out.offsets.push_back(t.numbers[0][k] - s.numbers[0][k]);
        bool same = true;
        for (const auto& numbers : s.numbers) same = same && numbers[k] == s.numbers[0][k];
        out.constants.push_back(same ? std::optional(s.numbers[0][k]) : std::nullopt);
    }
    for (const key_family* f : from) {
        out.from.push_back(f->pattern);
        out.sources.push_back(f->members);
        for (const std::uint32_t m : f->members) sources[m].matched = true;
    }
    for (const key_family* f : to) {
        out.to.push_back(f->pattern);
        out.targets.push_back(f->members);
        for (const std::uint32_t m : f->members) targets[m].matched = true;
    }
    links.push_back(std::move(out));
}

CKPT_DETAIL_DEF void suggestion::find_structure() {
    source_structure = key_structure(sources, words);
    target_structure = key_structure(targets, words);
}

/// A block or a module by itself, as an element of suggestion::blocks and modules.
[[nodiscard]] inline std::uint64_t block_hash(std::uint64_t block, bool source) noexcept {
    return mix(block + (source ? 0x51DE : 0x51DF));
}

CKPT_DETAIL_DEF void suggestion::add_neighbours(const key_family& s, const key_family& t) {
    for (std::size_t d = 0; d < 3; ++d)
        if (s.stems[d] != 0 && t.stems[d] != 0) modules.insert(pair_hash(s.stems[d], t.stems[d]));
    if (s.stems[0] != 0 && t.stems[0] != 0) {
        modules.insert(block_hash(s.stems[0], true));
        modules.insert(block_hash(t.stems[0], false));
    }
    if (s.block == 0 || t.block == 0) return;
    blocks.insert(pair_hash(s.block, t.block));
    blocks.insert(block_hash(s.block, true));
    blocks.insert(block_hash(t.block, false));
}

CKPT_DETAIL_DEF bool suggestion::contradicts(const key_family& s, const key_family& t) const {
    if (s.leaf != 0 && t.leaf != 0 && s.stems[0] != 0 && t.stems[0] != 0 &&
        !modules.contains(pair_hash(s.stems[0], t.stems[0])) &&
        (modules.contains(block_hash(s.stems[0], true)) || modules.contains(block_hash(t.stems[0], false))))
        return true;
    if (s.block == 0 || t.block == 0 || blocks.contains(pair_hash(s.block, t.block))) return false;
    return blocks.contains(block_hash(s.block, true)) || blocks.contains(block_hash(t.block, false));
}

CKPT_DETAIL_DEF bool suggestion::knows_block(std::uint64_t block, bool source) const {
    return blocks.contains(block_hash(block, source));
}

CKPT_DETAIL_DEF float suggestion::neighbours(const key_family& s, const key_family& t) const {
    constexpr float worth[]{1.0F, 0.5F, 0.25F};
    for (std::size_t d = 0; d < 3; ++d)
        if (s.stems[d] != 0 && t.stems[d] != 0 && modules.contains(pair_hash(s.stems[d], t.stems[d]))) return worth[d];
    return 0;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
