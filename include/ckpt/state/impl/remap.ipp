// ckpt/state/impl/remap.ipp: the definitions of remap.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/remap.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF remap_plan plan_remap(const state_dict& weights, const key_map& map) {
    auto record = detail::make_shared<detail::remap_record>(weights, map);
    record->plan = detail::make_shared<detail::gather_plan>();
    record->plan->keep(detail::state_dict_access::data(weights));
    detail::remap_planner{*record}.run();
    const detail::remap_record& r = *record;
    remap_plan out{record};
    out.errors = r.errors;
    std::vector<std::uint32_t> roots;
    const auto first_root = [&](std::uint32_t item) {
        r.roots(item, roots);
        return std::string(roots.empty() ? r.items[item].name : r.items[roots[0]].name);
    };
    for (std::uint32_t i = r.items[0].next; i != 0; i = r.items[i].next) {
        const detail::remap_item& item = r.items[i];
        if (item.rule == 0) continue;
        const detail::rule_verb verb = r.rule(item.rule).verb;
        if (verb == detail::rule_verb::fill) {
            out.filled.push_back(std::string(item.name));
            continue;
        }
        r.roots(i, roots);
        if (roots.empty()) out.filled.push_back(std::string(item.name)); // made of what was filled
        for (const std::uint32_t root : roots)
            out.moves.push_back(
                {std::string(r.items[root].name), std::string(item.name), detail::name(verb), item.rule});
    }
    for (const detail::remap_change& c : r.dropped) {
        r.roots(r.links[c.inputs], roots);
        if (roots.empty()) out.dropped.push_back({std::string(r.items[r.links[c.inputs]].name), c.rule});
        for (const std::uint32_t root : roots) out.dropped.push_back({std::string(r.items[root].name), c.rule});
    }
    std::vector<std::uint32_t> kept;
    for (const detail::remap_alias& a : r.aliased) {
        r.roots(a.gone, roots);
        r.roots(a.kept, kept);
        if (roots.empty() || kept.empty()) {
            out.aliased.push_back({first_root(a.gone), first_root(a.kept)});
            continue;
        }
        // Of many where a merge was one view: none of them disappears without its line.
        for (std::size_t i = 0; i < roots.size(); ++i)
            out.aliased.push_back(
                {std::string(r.items[roots[i]].name), std::string(r.items[kept[(std::min)(i, kept.size() - 1)]].name)});
    }
    for (const detail::remap_collision& c : r.collisions) {
        out.collisions.push_back({std::string(c.name), {}, {}});
        for (const std::uint32_t i : c.items) {
            out.collisions.back().from.push_back(first_root(i));
            out.collisions.back().rules.push_back(r.items[i].rule);
        }
    }
    // What stopped before a rule was asked says nothing of it.
    if (out.ok())
        for (std::size_t i = 0; i < r.used.size(); ++i)
            if (r.used[i] == 0 && !r.map.data().rules[i].code.optional) out.unused_rules.push_back(i + 1);
    return out;
}

CKPT_DETAIL_DEF std::vector<std::string> remap_plan::keys() const {
    std::vector<std::string> out;
    for (std::uint32_t i = record_->items[0].next; i != 0; i = record_->items[i].next)
        out.push_back(std::string(record_->items[i].name));
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF error remap_failure(const remap_plan& plan) {
    error out{.code = errc::remap_failed};
    if (!plan.collisions.empty()) {
        const remap_plan::collision& c = plan.collisions.front();
        out.detail = decimal(std::uint64_t{plan.collisions.size()}) +
                     (plan.collisions.size() == 1 ? " collision: " : " collisions, the first: ");
        for (std::size_t i = 0; i < c.from.size() && i < 3; ++i)
            out.detail += (i == 0 ? "" : " and ") + quoted(c.from[i]) +
                          (c.rules[i] == 0 ? " (untouched)"
                                           : " (rule " + decimal(std::uint64_t{c.rules[i]}) + ", " +
                                                 printable(plan.rule_text(c.rules[i]), false) + ")");
        if (c.from.size() > 3) out.detail += " and " + decimal(std::uint64_t{c.from.size() - 3}) + " more";
        out.detail += " all become " + quoted(c.to);
        out.hint = "rename or drop one of them; plan_remap lists all";
        return out;
    }
    out.detail = plan.errors.front().detail;
    if (plan.errors.size() > 1) out.detail += " (and " + decimal(std::uint64_t{plan.errors.size() - 1}) + " more)";
    out.hint = "plan_remap lists all; ckpt map --rules shows them";
    return out;
}

CKPT_DETAIL_DEF result<bool> equal_values(const gather_plan& plan, std::uint32_t a, std::uint32_t b) {
    const std::size_t size = itemsize(plan.node(a).type);
    const std::uint64_t most = part_bytes / size;
    std::vector<std::byte> left(static_cast<std::size_t>(part_bytes));
    std::vector<std::byte> right(static_cast<std::size_t>(part_bytes));
    const std::uint64_t numel = plan.node(a).numel;
    for (std::uint64_t done = 0; done < numel;) {
        const std::uint64_t n = numel - done < most ? numel - done : most;
        if (auto read = plan.read(a, done, n, left.data()); !read) return std::move(read).error();
        if (auto read = plan.read(b, done, n, right.data()); !read) return std::move(read).error();
        if (std::memcmp(left.data(), right.data(), static_cast<std::size_t>(n * size)) != 0) return false;
        done += n;
    }
    return true;
}

CKPT_DETAIL_DEF state_dict make_remapped(const remap_plan& plan) {
    const remap_record& r = plan.record();
    const auto& from = *state_dict_access::data(r.weights);
    assembler out{r.plan, r.weights, plan.shared_record()};
    std::vector<std::uint32_t> roots;
    std::vector<std::uint32_t> entry_of(r.aliased.empty() ? 0 : r.items.size(), 0); // 1 + entry, by root
    std::uint32_t entry = 0;
    for (std::uint32_t i = r.items[0].next; i != 0; i = r.items[i].next) {
        ++entry;
        r.roots(i, roots);
        lineage::origin origin;
        for (const std::uint32_t root : roots) { // more than one for a merge; each may have a history of its own
            lineage::origin before = origin_of(from, root - 1);
            origin.from.insert(origin.from.end(), before.from.begin(), before.from.end());
            origin.alias.insert(origin.alias.end(), before.alias.begin(), before.alias.end());
            origin.cast = origin.cast || before.cast;
            origin.converted = origin.converted || before.converted;
            if (roots.size() == 1) origin.chain = std::move(before.chain);
        }
        if (!entry_of.empty())
            for (const std::uint32_t root : roots)
                if (entry_of[root] == 0) entry_of[root] = entry;
        std::vector<std::string_view> verbs;
        for (std::uint32_t at = i; r.items[at].rule != 0; at = r.links[r.items[at].parents]) {
            const rule_verb verb = r.rule(r.items[at].rule).verb;
            verbs.push_back(name(verb));
            origin.cast = origin.cast || verb == rule_verb::cast;
            origin.converted = origin.converted || (verb >= rule_verb::split && verb != rule_verb::fill);
            if (r.items[at].parent_count == 0) break;
        }
        for (std::size_t k = verbs.size(); k-- > 0;)
            origin.chain += (origin.chain.empty() ? "" : ", ") + std::string(verbs[k]);
        out.add(r.items[i].name, r.items[i].node, std::move(origin));
    }
    // What the file calls a key of the source: a map before this one may have given it its name.
    const auto add_names = [&](std::string_view key, const auto& add) {
        const std::uint32_t root = r.root_named(key);
        if (root == 0) return;
        const lineage::origin origin = origin_of(from, root - 1);
        for (const std::string& name : origin.from) add(name);
        for (const std::string& name : origin.alias) add(name);
    };
    std::vector<std::size_t> dropped_by(entry_of.size(), 0); // the rule, by root
    for (const auto& d : plan.dropped) {
        add_names(d.from,
                  [&](const std::string& name) { out.history().dropped.push_back({name, plan.rule_text(d.rule)}); });
        if (const std::uint32_t root = r.root_named(d.from); root != 0 && !entry_of.empty()) dropped_by[root] = d.rule;
    }
    // Where the names that were kept stand now: their descendants carry the merged ones on, and take them along where
    // they are dropped. From the last merge to the first, because what stands for a name may be merged away itself.
    std::vector<std::uint32_t> stands_for(entry_of.size(), 0);
    std::vector<std::uint32_t> bearer(plan.aliased.size(), 0);
    for (std::size_t i = bearer.size(); i-- > 0;) {
        const std::uint32_t kept = r.root_named(plan.aliased[i].same_as);
        const std::uint32_t gone = r.root_named(plan.aliased[i].key);
        if (kept == 0 || gone == 0 || kept == gone) continue; // made of what was filled, or one key by two ways
        bearer[i] = entry_of[kept] == 0 && stands_for[kept] != 0 ? stands_for[kept] : kept;
        stands_for[gone] = bearer[i];
    }
    for (std::size_t i = 0; i < bearer.size(); ++i) {
        const std::uint32_t at = bearer[i];
        add_names(plan.aliased[i].key, [&](const std::string& name) {
            if (entry_of[at] != 0) out.history().entries[entry_of[at] - 1].alias.push_back(name);
            else if (dropped_by[at] != 0) out.history().dropped.push_back({name, plan.rule_text(dropped_by[at])});
        });
    }
    return out.finish();
}

CKPT_DETAIL_DEF key_map inverse_writer::run() {
    for (const remap_item& item : r_.items)
        while (item.name.starts_with(unused_)) unused_.insert(unused_.size() - 1, 1, '_');
    std::uint32_t end = static_cast<std::uint32_t>(r_.changes.size());
    for (std::size_t step = r_.step_ends.size(); step-- > 0;) {
        const std::uint32_t begin = step == 0 ? 0 : r_.step_ends[step - 1];
        write_step(begin, end);
        end = begin;
    }
    return key_map{out_};
}

CKPT_DETAIL_DEF result<void> inverse_writer::check() const {
    std::uint32_t first = ~std::uint32_t{0};
    std::string why;
    const auto blame = [&](std::uint32_t rule, std::string reason) {
        if (rule >= first) return;
        first = rule;
        why = std::move(reason);
    };
    for (const remap_change& d : r_.dropped) blame(d.rule, "it dropped " + quoted(r_.items[r_.links[d.inputs]].name));
    for (const remap_alias& a : r_.aliased) {
        const std::uint32_t rule = (std::max)(r_.items[a.kept].rule, r_.items[a.gone].rule);
        blame(rule, "it merged two names of one tensor under " + quoted(r_.items[a.kept].name));
    }
    for (const remap_change& c : r_.changes) {
        const rule_verb verb = r_.rule(c.rule).verb;
        // Tensors that keep their names need no template.
        const bool renames =
            c.removes && (verb <= rule_verb::rename || (verb >= rule_verb::split && verb <= rule_verb::unstack));
        for (const std::uint32_t in : r_.linked(c.inputs, c.input_count))
            if (renames && check_name(r_.items[in].name) != nullptr)
                blame(c.rule, "no rule can give " + quoted(r_.items[in].name) + " its name back");
        const std::string key = c.output_count != 0 ? quoted(r_.items[r_.links[c.outputs]].name) : std::string{};
        if (verb == rule_verb::narrow) blame(c.rule, "it cut " + key);
        if (verb == rule_verb::fill) blame(c.rule, "it filled " + key);
        if (verb == rule_verb::cast) {
            const ckpt::dtype from = r_.plan->node(r_.items[r_.links[c.inputs]].node).type;
            const ckpt::dtype to = r_.plan->node(r_.items[r_.links[c.outputs]].node).type;
            if (!holds_all(from, to))
                blame(c.rule, "its cast of " + key + " from " + std::string(ckpt::name(from)) + " to " +
                                  std::string(ckpt::name(to)) + " loses values");
        }
    }
    if (why.empty()) return {};
    return error{.code = errc::not_reversible, .detail = r_.named(first) + " cannot be undone: " + why};
}

CKPT_DETAIL_DEF bool inverse_writer::holds_all(ckpt::dtype from, ckpt::dtype to) noexcept {
    if (!is_convertible(to, from)) return false;
    const ckpt::dtype a = component_type(from);
    const ckpt::dtype b = component_type(to);
    if (a == b) return true;
    const auto is_integer = [](ckpt::dtype t) {
        return carrier_of(t) == carrier::signed_integer || carrier_of(t) == carrier::unsigned_integer;
    };
    if (is_integer(a) != is_integer(b)) return false;
    if (is_integer(a)) {
        const integer_range x = range_of(a);
        const integer_range y = range_of(b);
        return x.least >= y.least && x.most <= y.most;
    }
    switch (b) {
    case dtype::float64: return true;
    case dtype::float32: return a != dtype::float64;
    case dtype::float16: return a != dtype::float64 && a != dtype::float32 && a != dtype::bfloat16;
    case dtype::bfloat16: return a != dtype::float64 && a != dtype::float32 && a != dtype::float16;
    default: return false;
    }
}

CKPT_DETAIL_DEF void inverse_writer::line_to(std::string_view verb, std::string_view from, std::string_view to,
                                             bool in_group) {
    std::string line(verb);
    line += ' ';
    append_key_word(line, from);
    line += " -> ";
    append_key_word(line, to);
    rule(line, in_group);
}

CKPT_DETAIL_DEF void inverse_writer::write_step(std::uint32_t begin, std::uint32_t end) {
    if (begin == end) return;
    // Names that are given back while others still bear them go by way of names that nobody has.
    std::vector<std::string_view> borne;
    for (std::uint32_t i = begin; i < end; ++i)
        for (const std::uint32_t out : outputs(i)) borne.push_back(name_of(out));
    std::sort(borne.begin(), borne.end());
    pending_.clear();
    const auto target = [&](std::uint32_t item) {
        const std::string_view name = name_of(item);
        if (!std::binary_search(borne.begin(), borne.end(), name)) return std::string(name);
        std::string other = unused_ + decimal(std::uint64_t{next_++}) + '.' + std::string(name);
        pending_.push_back({other, std::string(name)});
        return other;
    };
    bool group = false;
    for (std::uint32_t i = begin; i < end; ++i)
        if (is_rename(i)) {
            if (!group) out_->begin_group();
            group = true;
            line_to("rename", name_of(outputs(i)[0]), name_of(inputs(i)[0]), true);
        }
    for (std::uint32_t i = begin; i < end; ++i)
        if (!is_rename(i)) undo(i, target);
    if (pending_.empty()) return;
    out_->begin_group();
    for (const auto& [from, to] : pending_) line_to("rename", from, to, true);
}

CKPT_DETAIL_DEF bool inverse_writer::is_rename(std::uint32_t change) const noexcept {
    const rule_verb verb = r_.rule(r_.changes[change].rule).verb;
    return verb <= rule_verb::rename;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF result<state_dict> remap(const remap_plan& plan) {
    if (!plan.ok()) return detail::remap_failure(plan);
    const detail::remap_record& r = plan.record();
    for (const detail::remap_equality& e : r.equalities) {
        auto same = detail::equal_values(*r.plan, e.left, e.right);
        if (!same) return std::move(same).error();
        if (*same) continue;
        return error{.code = errc::equality_broken,
                     .detail = r.named(e.rule) + " ties two tensors whose values differ",
                     .hint = "drop one of them before the rule, or leave the rule out"};
    }
    return detail::make_remapped(plan);
}

CKPT_DETAIL_DEF result<void> remap_plan::reversible() const {
    if (!ok()) return detail::remap_failure(*this);
    return detail::inverse_writer{*record_}.check();
}

CKPT_DETAIL_DEF result<key_map> remap_plan::inverse() const {
    if (auto possible = reversible(); !possible) return std::move(possible).error();
    return detail::inverse_writer{*record_}.run();
}

CKPT_DETAIL_DEF result<std::vector<remap_plan::trace_line>> remap_plan::explain(std::string_view key) const {
    const detail::remap_record& r = *record_;
    std::vector<char> concerned(r.items.size(), 0);
    bool found = false;
    // What was merged away goes on as what stands for it.
    std::vector<std::uint32_t> kept(r.items.size(), 0);
    for (const detail::remap_alias& a : r.aliased) kept[a.gone] = a.kept;
    const auto follow = [&](std::uint32_t i) {
        for (; i != 0 && concerned[i] == 0; i = kept[i]) concerned[i] = 1;
    };
    // From a key of the source all that is made of it; from a key of the result all that it is made of.
    for (std::uint32_t i = 1; i < r.items.size() && r.items[i].rule == 0; ++i)
        if (r.items[i].name == key) follow(i), found = true;
    if (found) {
        for (const detail::remap_change& c : r.changes) {
            bool touched = false;
            for (const std::uint32_t i : r.linked(c.inputs, c.input_count)) touched = touched || concerned[i] != 0;
            if (touched)
                for (const std::uint32_t o : r.linked(c.outputs, c.output_count)) follow(o);
        }
    } else {
        for (std::uint32_t i = r.items[0].next; i != 0; i = r.items[i].next)
            if (r.items[i].name == key) concerned[i] = 1, found = true;
        for (std::size_t k = r.changes.size(); k-- > 0;) {
            bool touched = false;
            for (const std::uint32_t o : r.linked(r.changes[k].outputs, r.changes[k].output_count))
                touched = touched || concerned[o] != 0;
            if (touched)
                for (const std::uint32_t i : r.linked(r.changes[k].inputs, r.changes[k].input_count)) concerned[i] = 1;
        }
    }
    if (!found)
        return error{.code = errc::key_missing,
                     .detail = "neither the source nor the result has the key " + detail::quoted(key),
                     .hint = "list the keys with: ckpt ls FILE"};
    std::vector<trace_line> out;
    const auto add = [&](const detail::remap_change& c) {
        bool touched = false;
        for (const std::uint32_t i : r.linked(c.inputs, c.input_count)) touched = touched || concerned[i] != 0;
        if (!touched && c.input_count != 0) return;
        trace_line line{.rule = c.rule};
        for (const std::uint32_t i : r.linked(c.inputs, c.input_count))
            line.before.push_back(std::string(r.items[i].name));
        for (const std::uint32_t o : r.linked(c.outputs, c.output_count)) {
            if (c.input_count == 0 && concerned[o] == 0) return;
            const detail::gather_node& node = r.plan->node(r.items[o].node);
            line.after.push_back(std::string(r.items[o].name));
            if (line.what.empty()) line.what = std::string(ckpt::name(node.type)) + ' ' + detail::list_of(node.sizes());
        }
        out.push_back(std::move(line));
    };
    for (const detail::remap_change& c : r.changes) add(c);
    for (const detail::remap_change& c : r.dropped) add(c);
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
