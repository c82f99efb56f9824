// ckpt/state/impl/remap_planner.ipp: the definitions of remap_planner.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/remap_planner.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF std::uint32_t remap_record::root_named(std::string_view key) const noexcept {
    const auto& data = *state_dict_access::data(weights);
    const auto* entry = data.find(key);
    return entry == nullptr ? 0 : static_cast<std::uint32_t>(entry - data.entries.data()) + 1;
}

CKPT_DETAIL_DEF void remap_record::roots(std::uint32_t item, std::vector<std::uint32_t>& out) const {
    out.clear();
    while (items[item].rule != 0 && items[item].parent_count == 1) item = links[items[item].parents];
    std::vector<std::uint32_t> open{item};
    std::vector<std::uint32_t> seen; // sorted: a tensor may be part of another by many ways
    while (!open.empty()) {
        const std::uint32_t at = open.back();
        open.pop_back();
        const remap_item& i = items[at];
        const auto place = std::lower_bound(seen.begin(), seen.end(), at);
        if (place != seen.end() && *place == at) continue;
        seen.insert(place, at);
        if (i.rule == 0) out.push_back(at);
        else
            for (std::uint32_t k = i.parent_count; k-- > 0;) open.push_back(links[i.parents + k]);
    }
}

CKPT_DETAIL_DEF const char* check_name(std::string_view name) noexcept {
    if (name.empty()) return "the new name is empty";
    return has_empty_segment(name) ? "the new name has an empty segment" : nullptr;
}

CKPT_DETAIL_DEF bool is_wrapper(std::string_view segment) noexcept {
    return segment == "module" || segment == "_orig_mod" || segment == "_fsdp_wrapped_module" ||
           segment == "_checkpoint_wrapped_module";
}

CKPT_DETAIL_DEF bool without_wrappers(std::string_view name, std::string& out) {
    bool found = false;
    for (std::size_t at = 0;;) {
        const std::size_t dot = name.find('.', at);
        if (dot == std::string_view::npos) {
            if (found) out.append(name.substr(at));
            return found;
        }
        const bool wrapper = is_wrapper(name.substr(at, dot - at));
        if (wrapper && !found) out.assign(name.substr(0, at));
        else if (!wrapper && found) out.append(name.substr(at, dot + 1 - at));
        found = found || wrapper;
        at = dot + 1;
    }
}

CKPT_DETAIL_DEF void remap_planner::run() {
    begin();
    r_.used.assign(r_.map.data().rules.size(), 0);
    for (const map_step& step : r_.map.data().steps) {
        const std::size_t first_change = r_.changes.size();
        if (step.group) run_group(step);
        else run_rule(r_.map.data().rules[step.first]);
        if (r_.errors.empty()) apply(first_change);
        r_.step_ends.push_back(static_cast<std::uint32_t>(r_.changes.size()));
        if (!r_.errors.empty() || !r_.collisions.empty()) return;
    }
}

CKPT_DETAIL_DEF void remap_planner::begin() {
    const auto& data = *state_dict_access::data(r_.weights);
    r_.items.reserve(data.entries.size() + 1);
    r_.items.push_back({});
    for (const auto& e : data.entries) {
        const std::uint32_t node = plan_.add_leaf(e.data, data.source);
        r_.items.push_back({.name = e.key, .hash = hash_bytes(e.key), .node = node});
        link_after(static_cast<std::uint32_t>(r_.items.size() - 1), r_.items[0].prev);
    }
    table_.assign(std::size_t{64}, 0);
    while (table_.size() < 2 * r_.items.size() + 2) table_.resize(table_.size() * 2);
    for (std::uint32_t i = 1; i < r_.items.size(); ++i) (void)insert(i);
}

CKPT_DETAIL_DEF void remap_planner::link_after(std::uint32_t item, std::uint32_t at) {
    remap_item& x = r_.items[item];
    x.prev = at;
    x.next = r_.items[at].next;
    r_.items[x.next].prev = item;
    r_.items[at].next = item;
}

CKPT_DETAIL_DEF void remap_planner::unlink(std::uint32_t item) {
    remap_item& x = r_.items[item];
    r_.items[x.prev].next = x.next;
    r_.items[x.next].prev = x.prev;
}

CKPT_DETAIL_DEF std::uint32_t remap_planner::find(std::string_view name) const noexcept {
    const std::uint64_t hash = hash_bytes(name);
    for (std::size_t at = hash & (table_.size() - 1);; at = (at + 1) & (table_.size() - 1)) {
        const std::uint32_t i = table_[at];
        if (i == 0) return 0;
        if (i != tombstone && r_.items[i].hash == hash && r_.items[i].name == name) return i;
    }
}

CKPT_DETAIL_DEF std::uint32_t remap_planner::insert(std::uint32_t item) {
    if (2 * (filled_ + 1) > table_.size()) rehash();
    const remap_item& x = r_.items[item];
    std::size_t at = x.hash & (table_.size() - 1);
    for (; table_[at] != 0; at = (at + 1) & (table_.size() - 1))
        if (table_[at] != tombstone && r_.items[table_[at]].hash == x.hash && r_.items[table_[at]].name == x.name)
            return table_[at];
    table_[at] = item;
    ++filled_;
    return 0;
}

CKPT_DETAIL_DEF void remap_planner::erase(std::uint32_t item) noexcept {
    for (std::size_t at = r_.items[item].hash & (table_.size() - 1); table_[at] != 0;
         at = (at + 1) & (table_.size() - 1))
        if (table_[at] == item) table_[at] = tombstone;
}

CKPT_DETAIL_DEF void remap_planner::rehash() {
    std::vector<std::uint32_t> old(std::move(table_));
    std::size_t live = 0;
    for (const std::uint32_t i : old) live += i != 0 && i != tombstone ? 1u : 0u;
    std::size_t size = 64;
    while (size < 4 * (live + 1)) size *= 2;
    table_.assign(size, 0);
    filled_ = 0;
    for (const std::uint32_t i : old)
        if (i != 0 && i != tombstone) (void)insert(i);
}

CKPT_DETAIL_DEF void remap_planner::fail(std::uint32_t rule, std::string what) {
    if (r_.errors.size() >= most_errors) return;
    r_.errors.push_back({.code = errc::remap_failed, .detail = r_.named(rule) + ": " + std::move(what)});
}

CKPT_DETAIL_DEF bool remap_planner::matches(std::uint32_t rule, const pattern_code& code, std::uint32_t item,
                                            std::vector<binding_value>& slots) {
    if (gave_up_) return false;
    const match_outcome outcome = matcher_.match(code, r_.items[item].name, slots);
    if (outcome == match_outcome::too_many_steps) {
        gave_up_ = true; // the plan has failed, and more keys would only take more time
        fail_at(rule, item, "the pattern takes too many steps to match this key");
    }
    return outcome == match_outcome::yes;
}

CKPT_DETAIL_DEF std::int64_t remap_planner::floor_divide(std::int64_t a, std::int64_t b) noexcept {
    const std::int64_t q = a / b;
    return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

CKPT_DETAIL_DEF std::int64_t remap_planner::arithmetic(formula_op op, std::int64_t a, std::int64_t b,
                                                       formula_fault& fault) noexcept {
    constexpr std::int64_t least = INT64_MIN;
    constexpr std::int64_t most = INT64_MAX;
    const char* overflow = "a number does not fit into 64 bits";
    switch (op) {
    case formula_op::add:
        if ((b > 0 && a > most - b) || (b < 0 && a < least - b)) return fault.why = overflow, 0;
        return a + b;
    case formula_op::subtract:
        if ((b < 0 && a > most + b) || (b > 0 && a < least + b)) return fault.why = overflow, 0;
        return a - b;
    case formula_op::multiply: {
        if (a == 0 || b == 0) return 0;
        const bool negative = (a < 0) != (b < 0);
        const auto magnitude = [](std::int64_t n) {
            return n < 0 ? std::uint64_t{0} - static_cast<std::uint64_t>(n) : static_cast<std::uint64_t>(n);
        };
        std::uint64_t product{};
        if (!checked_mul(magnitude(a), magnitude(b), product) ||
            product > static_cast<std::uint64_t>(most) + (negative ? 1u : 0u))
            return fault.why = overflow, 0;
        return static_cast<std::int64_t>(negative ? std::uint64_t{0} - product : product);
    }
    default:
        if (b == 0) return fault.why = "a division by zero", 0;
        if (a == least && b == -1) return op == formula_op::modulo ? 0 : (fault.why = overflow, 0);
        return op == formula_op::divide ? floor_divide(a, b) : a - floor_divide(a, b) * b;
    }
}

CKPT_DETAIL_DEF bool remap_planner::compare(formula_op op, std::int64_t a, std::int64_t b) noexcept {
    switch (op) {
    case formula_op::equal: return a == b;
    case formula_op::not_equal: return a != b;
    case formula_op::less: return a < b;
    case formula_op::less_equal: return a <= b;
    case formula_op::greater: return a > b;
    default: return a >= b;
    }
}

CKPT_DETAIL_DEF formula_value remap_planner::evaluate(const formula& steps, const rule_code& code, std::uint32_t item,
                                                      const std::vector<binding_value>& slots, formula_fault& fault) {
    std::vector<formula_value> stack;
    const gather_node& node = plan_.node(r_.items[item].node);
    for (std::size_t i = 0; i < steps.size() && fault.why == nullptr; ++i) {
        const formula_step& s = steps[i];
        const auto slot = static_cast<std::size_t>(s.number);
        switch (s.op) {
        case formula_op::number: stack.push_back({.number = s.number}); break;
        case formula_op::capture: stack.push_back({.number = slots[slot].number}); break;
        case formula_op::text: stack.push_back({.text = s.text}); break;
        case formula_op::text_capture: stack.push_back({.text = slots[slot].text}); break;
        case formula_op::dtype: stack.push_back({.type = s.type}); break;
        case formula_op::own_dtype: stack.push_back({.type = node.type}); break;
        case formula_op::ndim: stack.push_back({.number = static_cast<std::int64_t>(node.rank)}); break;
        case formula_op::numel: stack.push_back({.number = static_cast<std::int64_t>(node.numel)}); break;
        case formula_op::shape: {
            const std::int64_t d = s.number < 0 ? s.number + static_cast<std::int64_t>(node.rank) : s.number;
            const bool there = d >= 0 && d < static_cast<std::int64_t>(node.rank);
            stack.push_back({.number = there ? node.shape[d] : 0, .absent = !there});
            break;
        }
        case formula_op::has: {
            std::string key;
            const bool made = render(code.mentioned[slot], code, item, slots, key) == nullptr;
            stack.push_back({.number = made && find(key) != 0 ? 1 : 0});
            break;
        }
        case formula_op::negate: stack.back().number = stack.back().number == 0 ? 1 : 0; break;
        case formula_op::skip_if_false:
        case formula_op::skip_if_true:
            if ((stack.back().number != 0) == (s.op == formula_op::skip_if_true)) i = slot - 1;
            else stack.pop_back();
            break;
        default: {
            const formula_value b = stack.back();
            stack.pop_back();
            formula_value& a = stack.back();
            if (s.op < formula_op::equal) {
                a.absent = a.absent || b.absent;
                if (!a.absent) a.number = arithmetic(s.op, a.number, b.number, fault);
                break;
            }
            bool truth = false;
            if (a.absent || b.absent) truth = false;
            else if (!same_kind_as_number(steps, i))
                truth = (a.text == b.text && a.type == b.type) == (s.op == formula_op::equal);
            else truth = compare(s.op, a.number, b.number);
            a = {.number = truth ? 1 : 0};
        }
        }
    }
    return stack.empty() ? formula_value{} : stack.back();
}

CKPT_DETAIL_DEF bool remap_planner::same_kind_as_number(const formula& steps, std::size_t i) noexcept {
    const formula_op op = steps[i - 1].op;
    return op != formula_op::text && op != formula_op::text_capture && op != formula_op::dtype &&
           op != formula_op::own_dtype;
}

CKPT_DETAIL_DEF const char* remap_planner::render(const template_code& code, const rule_code& rule, std::uint32_t item,
                                                  const std::vector<binding_value>& slots, std::string& out) {
    out.clear();
    bool any = false;
    bool empty_capture = false;
    for (const template_piece& piece : code.pieces) {
        switch (piece.kind) {
        case template_part::literal: out += piece.text; break;
        case template_part::capture: {
            const std::string_view text = slots[static_cast<std::size_t>(piece.slot)].text;
            empty_capture = piece.alone && text.empty();
            out += text;
            break;
        }
        case template_part::number: {
            formula_fault fault;
            const formula_value v = evaluate(piece.steps, rule, item, slots, fault);
            if (fault.why != nullptr) return fault.why;
            if (v.number < 0 || v.number >= (std::int64_t{1} << 31))
                return "a number in the new name is not in 0 to 2147483647";
            char digits[16];
            out.append(digits, std::to_chars(digits, digits + sizeof digits, v.number).ptr);
            break;
        }
        case template_part::end:
            if (!empty_capture) {
                any = true;
                out += '.';
            }
            empty_capture = false;
            break;
        }
    }
    if (!any) return "the new name is empty";
    out.pop_back();
    return check_name(out);
}

CKPT_DETAIL_DEF bool remap_planner::holds(const map_rule& rule, std::size_t which, std::uint32_t item,
                                          const std::vector<binding_value>& slots) {
    if (rule.code.conditions.empty()) return true;
    formula_fault fault;
    const formula_value v = evaluate(rule.code.conditions[which], rule.code, item, slots, fault);
    if (fault.why == nullptr) return v.number != 0;
    fail_at(rule.number, item, fault.why);
    return false;
}

CKPT_DETAIL_DEF std::string_view remap_planner::keep_name(std::string_view name) {
    char* out = r_.names.allocate<char>(name.size() + 1);
    std::memcpy(out, name.data(), name.size());
    return {out, name.size()};
}

CKPT_DETAIL_DEF std::uint32_t remap_planner::new_item(std::string_view name, std::uint32_t node, std::uint32_t rule) {
    if (r_.items.size() > limits{}.entries) {
        if (!gave_up_) fail(rule, "there would be more than " + decimal(std::uint64_t{limits{}.entries}) + " keys");
        gave_up_ = true;
        return 0;
    }
    r_.items.push_back({.name = name, .hash = hash_bytes(name), .node = node, .rule = rule});
    return static_cast<std::uint32_t>(r_.items.size() - 1);
}

CKPT_DETAIL_DEF std::uint32_t remap_planner::link(std::span<const std::uint32_t> items) {
    const auto at = static_cast<std::uint32_t>(r_.links.size());
    r_.links.insert(r_.links.end(), items.begin(), items.end());
    return at;
}

CKPT_DETAIL_DEF void remap_planner::change(std::uint32_t rule, std::span<const std::uint32_t> inputs,
                                           std::span<const std::uint32_t> outputs, bool removes,
                                           std::uint32_t dimension) {
    remap_change c{.rule = rule, .removes = removes};
    c.inputs = link(inputs);
    c.input_count = static_cast<std::uint32_t>(inputs.size());
    c.outputs = link(outputs);
    c.output_count = static_cast<std::uint32_t>(outputs.size());
    c.dimension = dimension;
    for (const std::uint32_t out : outputs) {
        r_.items[out].parents = c.inputs;
        r_.items[out].parent_count = c.input_count;
    }
    r_.changes.push_back(c);
}

CKPT_DETAIL_DEF void remap_planner::drop(std::uint32_t rule, std::uint32_t item) {
    remap_change c{.rule = rule};
    c.inputs = link(std::span<const std::uint32_t>{&item, 1});
    c.input_count = 1;
    r_.dropped.push_back(c);
    step_drops_.push_back(item);
}

CKPT_DETAIL_DEF void remap_planner::rename(std::uint32_t rule, std::uint32_t item, std::string_view name) {
    if (const char* why = check_name(name); why != nullptr) return fail_at(rule, item, why);
    if (name == r_.items[item].name) return;
    replace(rule, item, keep_name(name), r_.items[item].node);
}

CKPT_DETAIL_DEF void remap_planner::replace(std::uint32_t rule, std::uint32_t item, std::string_view name,
                                            std::uint32_t node) {
    const std::uint32_t out = new_item(name, node, rule);
    if (out != 0) change(rule, std::span<const std::uint32_t>{&item, 1}, std::span<const std::uint32_t>{&out, 1}, true);
}

CKPT_DETAIL_DEF void remap_planner::apply(std::size_t first_change) {
    const std::span<const remap_change> changes{r_.changes.data() + first_change, r_.changes.size() - first_change};
    for (const remap_change& c : changes)
        if (c.removes)
            for (const std::uint32_t i : r_.linked(c.inputs, c.input_count)) erase(i);
    for (const std::uint32_t i : step_drops_) {
        erase(i);
        unlink(i);
    }
    step_drops_.clear();
    for (const remap_change& c : changes) {
        std::uint32_t after = c.input_count == 0 ? r_.items[0].prev : r_.links[c.inputs];
        for (const std::uint32_t out : r_.linked(c.outputs, c.output_count)) {
            link_after(out, after);
            after = out;
        }
    }
    for (const remap_change& c : changes)
        if (c.removes)
            for (const std::uint32_t i : r_.linked(c.inputs, c.input_count)) unlink(i);
    std::vector<std::uint32_t> conflicts; // items whose name another one has
    for (const remap_change& c : changes)
        for (const std::uint32_t out : r_.linked(c.outputs, c.output_count))
            if (insert(out) != 0) conflicts.push_back(out);
    if (!conflicts.empty()) resolve(conflicts);
}

CKPT_DETAIL_DEF std::vector<std::uint32_t> remap_planner::places() const {
    std::vector<std::uint32_t> out(r_.items.size(), 0);
    std::uint32_t n = 0;
    for (std::uint32_t i = r_.items[0].next; i != 0; i = r_.items[i].next) out[i] = ++n;
    return out;
}

CKPT_DETAIL_DEF void remap_planner::resolve(const std::vector<std::uint32_t>& conflicts) {
    const std::vector<std::uint32_t> place = places();
    std::vector<std::uint32_t> collided(r_.items.size(),
                                        0); // 1 + number of the collision that the name's holder is in
    for (const std::uint32_t added : conflicts) {
        const std::uint32_t holder = find(r_.items[added].name); // another one with each conflict that is resolved
        if (collided[holder] == 0 && plan_.same_view(r_.items[holder].node, r_.items[added].node)) {
            const bool earlier = place[added] < place[holder];
            const std::uint32_t kept = earlier ? added : holder;
            const std::uint32_t gone = earlier ? holder : added;
            if (earlier) {
                erase(holder);
                (void)insert(added);
            }
            unlink(gone);
            r_.aliased.push_back({kept, gone});
            continue;
        }
        if (collided[holder] == 0) {
            r_.collisions.push_back({r_.items[holder].name, {holder}});
            collided[holder] = static_cast<std::uint32_t>(r_.collisions.size());
        }
        r_.collisions[collided[holder] - 1].items.push_back(added);
    }
}

CKPT_DETAIL_DEF bool remap_planner::offer(const map_rule& rule, std::uint32_t item) {
    const rule_code& code = rule.code;
    const std::string_view key = r_.items[item].name;
    switch (code.verb) {
    case rule_verb::strip:
        if (!key.starts_with(code.prefix)) return false;
        rename(rule.number, item, key.substr(code.prefix.size()));
        return true;
    case rule_verb::strip_wrappers:
        if (!without_wrappers(key, text_)) return false;
        rename(rule.number, item, text_);
        return true;
    case rule_verb::add:
        text_.assign(code.prefix).append(key);
        rename(rule.number, item, text_);
        return true;
    default: break;
    }
    if (!matches(rule.number, code.patterns.front(), item, slots_) || !holds(rule, 0, item, slots_)) return false;
    if (code.verb == rule_verb::drop) {
        drop(rule.number, item);
        return true;
    }
    if (const char* why = render(code.templates.front(), code, item, slots_, text_); why != nullptr)
        fail_at(rule.number, item, why);
    else rename(rule.number, item, text_);
    return true;
}

CKPT_DETAIL_DEF void remap_planner::run_group(const map_step& step) {
    // Rules about one key are found by the key.
    std::vector<std::pair<std::string, std::uint32_t>> literals;
    std::vector<std::uint32_t> others;
    const auto& rules = r_.map.data().rules;
    for (std::uint32_t i = step.first; i < step.first + step.count; ++i) {
        const rule_code& code = rules[i].code;
        if (!code.patterns.empty() && code.patterns.front().literal)
            literals.push_back({code.patterns.front().literal_key(), i});
        else others.push_back(i);
    }
    std::sort(literals.begin(), literals.end());
    for (std::uint32_t item = r_.items[0].next; item != 0; item = r_.items[item].next) {
        const std::string_view key = r_.items[item].name;
        auto literal = std::lower_bound(literals.begin(), literals.end(), key,
                                        [](const auto& a, std::string_view k) { return a.first < k; });
        auto other = others.begin();
        while (true) {
            const bool has_literal = literal != literals.end() && literal->first == key;
            if (!has_literal && other == others.end()) break;
            const std::uint32_t next =
                !has_literal || (other != others.end() && *other < literal->second) ? *other++ : (literal++)->second;
            if (!offer(rules[next], item)) continue;
            r_.used[next] = 1;
            break;
        }
    }
}

CKPT_DETAIL_DEF void remap_planner::run_rule(const map_rule& rule) {
    const rule_code& code = rule.code;
    char& used = r_.used[rule.number - 1];
    switch (code.verb) {
    case rule_verb::strip:
    case rule_verb::strip_wrappers:
    case rule_verb::add:
        for (std::uint32_t item = r_.items[0].next; item != 0; item = r_.items[item].next)
            if (offer(rule, item)) used = 1;
        return;
    case rule_verb::rename:
    case rule_verb::drop:
        if (code.patterns.front().literal) {
            const std::uint32_t item = find(code.patterns.front().literal_key());
            if (item != 0 && offer(rule, item)) used = 1;
            return;
        }
        for (std::uint32_t item = r_.items[0].next; item != 0; item = r_.items[item].next)
            if (offer(rule, item)) used = 1;
        return;
    case rule_verb::keep: return run_keep(rule);
    case rule_verb::copy: return run_copy(rule);
    case rule_verb::tie: return run_tie(rule);
    case rule_verb::fill: return run_fill(rule);
    case rule_verb::split: return run_split(rule);
    case rule_verb::merge: return run_merge(rule);
    case rule_verb::stack: return run_stack(rule);
    case rule_verb::unstack: return run_unstack(rule);
    default: return run_transform(rule);
    }
}

CKPT_DETAIL_DEF void remap_planner::run_keep(const map_rule& rule) {
    for (std::uint32_t item = r_.items[0].next; item != 0; item = r_.items[item].next) {
        bool kept = false;
        for (std::size_t i = 0; i < rule.code.patterns.size() && !kept; ++i) {
            if (!matches(rule.number, rule.code.patterns[i], item, slots_)) continue;
            r_.used[rule.number - 1] = 1;
            kept = holds(rule, i, item, slots_);
        }
        if (!kept) drop(rule.number, item);
    }
}

CKPT_DETAIL_DEF void remap_planner::run_copy(const map_rule& rule) {
    each_chosen(rule, [&](std::uint32_t item) {
        if (const char* why = render(rule.code.templates.front(), rule.code, item, slots_, text_); why != nullptr)
            return fail_at(rule.number, item, why);
        if (text_ == r_.items[item].name) return;
        add_name(rule.number, item);
    });
}

CKPT_DETAIL_DEF void remap_planner::add_name(std::uint32_t rule, std::uint32_t item) {
    const std::uint32_t out = new_item(keep_name(text_), r_.items[item].node, rule);
    if (out != 0)
        change(rule, std::span<const std::uint32_t>{&item, 1}, std::span<const std::uint32_t>{&out, 1}, false);
}

CKPT_DETAIL_DEF void remap_planner::run_tie(const map_rule& rule) {
    each_chosen(rule, [&](std::uint32_t item) {
        if (const char* why = render(rule.code.templates.front(), rule.code, item, slots_, text_); why != nullptr)
            return fail_at(rule.number, item, why);
        if (text_ == r_.items[item].name) return;
        const std::uint32_t there = find(text_);
        if (there == 0) return add_name(rule.number, item);
        const std::uint32_t a = r_.items[there].node;
        const std::uint32_t b = r_.items[item].node;
        if (plan_.same_view(a, b)) return;
        const gather_node& x = plan_.node(a);
        const gather_node& y = plan_.node(b);
        if (x.type != y.type || x.rank != y.rank || !std::equal(x.shape, x.shape + x.rank, y.shape))
            return fail_at(rule.number, item,
                           "it is tied to " + quoted(text_) + ", which is " + describe(x) + ", but it is " +
                               describe(y));
        if (!usable(rule.number, item) || !usable(rule.number, there) || !in_proportion(rule.number, item, b, true) ||
            !in_proportion(rule.number, there, a, true))
            return;
        r_.equalities.push_back({a, b, rule.number});
    });
}

CKPT_DETAIL_DEF void remap_planner::run_fill(const map_rule& rule) {
    r_.used[rule.number - 1] = 1;
    const std::string key = rule.code.patterns.front().literal_key();
    if (find(key) != 0) return;
    std::array<std::byte, 16> value{};
    if (!fits(rule.code.numbers, rule.code.type)) return fail(rule.number, "the shape overflows");
    if (const char* why = encode(rule.code.filling, rule.code.type, value); why != nullptr)
        return fail(rule.number, why);
    const std::uint32_t out =
        new_item(keep_name(key), plan_.fill(rule.code.type, rule.code.numbers, value), rule.number);
    if (out != 0) change(rule.number, {}, std::span<const std::uint32_t>{&out, 1}, false);
}

CKPT_DETAIL_DEF bool remap_planner::usable(std::uint32_t rule, std::uint32_t item) {
    const gather_node& node = plan_.node(r_.items[item].node);
    if (node.op == gather_op::leaf) {
        if (node.data->refusal != nullptr)
            return fail_at(rule, item, "the tensor could not be built: " + node.data->refusal->detail), false;
        if (node.data->kind != layout::strided || node.source == nullptr)
            return fail_at(rule, item,
                           "the tensor's layout is " + std::string(name(node.data->kind)) +
                               ", and only strided ones have elements to move"),
                   false;
        if (is_quantised(*node.data))
            return fail_at(rule, item, "the tensor is quantised, and pieces of it would not fit its scales"), false;
    }
    if (bits(node.type) < 8 || info(node.type).packed)
        return fail_at(rule, item, "a byte of " + std::string(ckpt::name(node.type)) + " holds several values"), false;
    if (node.depth >= gather_plan::most_depth)
        return fail_at(rule, item,
                       "more than " + decimal(std::uint64_t{gather_plan::most_depth}) + " operations on one tensor"),
               false;
    return true;
}

CKPT_DETAIL_DEF bool remap_planner::fits(std::span<const std::int64_t> shape, ckpt::dtype type) noexcept {
    std::uint64_t n = bits(type);
    bool empty = false;
    for (const std::int64_t size : shape) empty = empty || size == 0;
    for (const std::int64_t size : shape)
        if (size < 0 || (!empty && !checked_mul(n, static_cast<std::uint64_t>(size), n))) return false;
    return shape.size() <= 64 && n <= largest_signed;
}

CKPT_DETAIL_DEF bool remap_planner::in_proportion(std::uint32_t rule, std::uint32_t item, std::uint32_t node,
                                                  bool is_read) {
    const gather_node& n = plan_.node(node);
    if ((n.op == gather_op::leaf && !is_read) || plan_.in_proportion(node)) return true;
    fail_at(rule, item,
            "the values would be " + decimal(bytes_of(n.type, n.numel)) + " bytes, more than 16 times what is stored");
    return false;
}

CKPT_DETAIL_DEF bool remap_planner::dimension(std::uint32_t rule, std::uint32_t item, std::int64_t d,
                                              std::uint32_t extra, std::uint32_t& out) {
    const auto rank = static_cast<std::int64_t>(plan_.node(r_.items[item].node).rank + extra);
    if (d >= -rank && d < rank) return out = static_cast<std::uint32_t>(d < 0 ? d + rank : d), true;
    fail_at(rule, item, "there is no dimension " + decimal(d) + " in " + describe(plan_.node(r_.items[item].node)));
    return false;
}

CKPT_DETAIL_DEF void remap_planner::run_split(const map_rule& rule) {
    each_chosen(rule, [&](std::uint32_t item) {
        std::uint32_t d{};
        if (!usable(rule.number, item) || !dimension(rule.number, item, rule.code.numbers[0], 0, d)) return;
        const std::uint32_t node = r_.items[item].node;
        const std::int64_t size = plan_.node(node).shape[d];
        std::vector<std::uint32_t> nodes;
        if (rule.code.layout != qkv_layout::none) {
            if (!split_qkv(rule, item, d, nodes)) return;
        } else {
            const auto parts = static_cast<std::int64_t>(rule.code.templates.size());
            std::int64_t at = 0;
            for (std::int64_t i = 0; i < parts; ++i) {
                std::int64_t length = size / parts;
                if (rule.code.sizes_given) length = rule.code.numbers[static_cast<std::size_t>(i) + 1];
                else if (size % parts != 0)
                    return fail_at(rule.number, item,
                                   "the size " + decimal(size) + " of dimension " + decimal(std::uint64_t{d}) +
                                       " does not divide into " + decimal(parts) + " parts");
                if (length > size - at)
                    return fail_at(rule.number, item,
                                   "the sizes add up to more than the " + decimal(size) + " of dimension " +
                                       decimal(std::uint64_t{d}));
                nodes.push_back(plan_.narrow(node, d, at, length));
                at += length;
            }
            if (at != size)
                return fail_at(rule.number, item,
                               "the sizes add up to " + decimal(at) + ", dimension " + decimal(std::uint64_t{d}) +
                                   " has " + decimal(size));
        }
        std::vector<std::uint32_t> outputs;
        for (std::size_t i = 0; i < nodes.size(); ++i) {
            if (const char* why = render(rule.code.templates[i], rule.code, item, slots_, text_); why != nullptr)
                return fail_at(rule.number, item, why);
            if (!in_proportion(rule.number, item, nodes[i])) return;
            outputs.push_back(new_item(keep_name(text_), nodes[i], rule.number));
            if (outputs.back() == 0) return;
        }
        change(rule.number, std::span<const std::uint32_t>{&item, 1}, outputs, true, d);
    });
}

CKPT_DETAIL_DEF std::vector<std::int64_t> remap_planner::unfolded(std::vector<std::int64_t> shape, std::uint32_t d,
                                                                  std::int64_t a, std::int64_t b, std::int64_t c) {
    shape[d] = a;
    const std::int64_t more[]{b, c};
    shape.insert(shape.begin() + d + 1, more, more + 2);
    return shape;
}

CKPT_DETAIL_DEF bool remap_planner::split_qkv(const map_rule& rule, std::uint32_t item, std::uint32_t d,
                                              std::vector<std::uint32_t>& nodes) {
    const std::uint32_t node = r_.items[item].node;
    const std::vector<std::int64_t> shape = shape_of(node);
    const std::int64_t h = rule.code.heads;
    const std::int64_t k = rule.code.kv_heads;
    if (h > (INT64_MAX - 2) / 3) return fail_at(rule.number, item, "there are too many heads"), false;
    const std::int64_t rows = h + 2 * k;
    if (shape[d] % rows != 0)
        return fail_at(rule.number, item,
                       "the size " + decimal(shape[d]) + " of dimension " + decimal(std::uint64_t{d}) +
                           " is no multiple of heads + 2 kv_heads, " + decimal(rows)),
               false;
    const std::int64_t head = shape[d] / rows;
    if (rule.code.layout == qkv_layout::concat) {
        nodes.push_back(plan_.narrow(node, d, 0, h * head));
        nodes.push_back(plan_.narrow(node, d, h * head, k * head));
        nodes.push_back(plan_.narrow(node, d, (h + k) * head, k * head));
        return true;
    }
    if (shape.size() + 2 > 64) return fail_at(rule.number, item, "the tensor has too many dimensions"), false;
    const std::int64_t each = h / k;
    const std::uint32_t grid = plan_.reshape(node, unfolded(shape, d, k, each + 2, head));
    const std::int64_t starts[]{0, each, each + 1};
    const std::int64_t lengths[]{each, 1, 1};
    for (std::size_t i = 0; i < 3; ++i) {
        std::vector<std::int64_t> part = shape;
        part[d] = k * lengths[i] * head;
        nodes.push_back(plan_.reshape(plan_.narrow(grid, d + 1, starts[i], lengths[i]), part));
    }
    return true;
}

CKPT_DETAIL_DEF std::string remap_planner::set_name(const std::vector<binding_value>& slots, std::size_t count,
                                                    std::int32_t without) {
    std::string out;
    for (std::size_t i = 0; i < count; ++i) {
        if (static_cast<std::int32_t>(i) == without) continue;
        out += decimal(std::uint64_t{slots[i].text.size()});
        out += ':';
        out += slots[i].text;
    }
    return out;
}

CKPT_DETAIL_DEF void remap_planner::collect(const map_rule& rule, std::vector<part_set>& sets) {
    const rule_code& code = rule.code;
    const std::size_t captures = code.patterns.front().captures.size();
    struct found {
        std::string name{};
        std::int64_t number{0};
        std::uint32_t item{0};
        std::vector<binding_value> slots{};
    };
    std::vector<found> all;
    for (std::size_t p = 0; p < code.patterns.size(); ++p)
        each_match(rule, code.patterns[p], [&](std::uint32_t item) {
            const std::int64_t number = code.counter >= 0 ? slots_[static_cast<std::size_t>(code.counter)].number
                                                          : static_cast<std::int64_t>(p);
            all.push_back({set_name(slots_, captures, code.counter),
                           number,
                           item,
                           {slots_.begin(), slots_.begin() + static_cast<std::ptrdiff_t>(captures)}});
        });
    std::stable_sort(all.begin(), all.end(), [](const found& a, const found& b) {
        return a.name != b.name ? a.name < b.name : a.number < b.number;
    });
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (i == 0 || all[i].name != all[i - 1].name) {
            sets.push_back({});
            sets.back().slots = all[i].slots;
        }
        sets.back().parts.push_back({all[i].number, all[i].item});
        if (all[i].number == 0) sets.back().first_slots = all[i].slots;
    }
    if (sets.size() < 2) return;
    // In the order of the keys, so that what is made and what is said does not depend on how names sort.
    const std::vector<std::uint32_t> place = places();
    std::sort(sets.begin(), sets.end(), [&](const part_set& a, const part_set& b) {
        return place[a.parts.front().second] < place[b.parts.front().second];
    });
}

CKPT_DETAIL_DEF std::string remap_planner::spell(const pattern_code& code, const std::vector<binding_value>& slots,
                                                 std::int32_t counter, std::int64_t number) {
    std::string out;
    for (const pattern_element& e : code.elements) {
        if (e.kind == pattern_part::literal) out += e.text;
        else if (e.kind == pattern_part::end) out += '.';
        else if (e.slot >= 0 && e.slot == counter) out += decimal(number);
        else if (e.slot >= 0) out += slots[static_cast<std::size_t>(e.slot)].text;
        else out += e.kind == pattern_part::many ? "**" : "*";
        if (e.kind == pattern_part::many && !out.empty() && out.back() != '.') out += '.';
    }
    if (!out.empty() && out.back() == '.') out.pop_back();
    return out;
}

CKPT_DETAIL_DEF bool remap_planner::complete(const map_rule& rule, const part_set& set, std::size_t n) {
    const rule_code& code = rule.code;
    const auto pattern_of = [&](std::int64_t number) -> const pattern_code& {
        return code.patterns[code.counter >= 0 ? 0 : static_cast<std::size_t>(number)];
    };
    for (std::size_t i = 1; i < set.parts.size(); ++i)
        if (set.parts[i].first == set.parts[i - 1].first)
            return fail(rule.number, "two keys are the same part: " + quoted(r_.items[set.parts[i - 1].second].name) +
                                         " and " + quoted(r_.items[set.parts[i].second].name)),
                   false;
    const bool has_first = set.parts.front().first == 0;
    if (has_first && !holds(rule, 0, set.parts.front().second, set.first_slots)) return false;
    const std::size_t wanted = n != 0 ? n : static_cast<std::size_t>(set.parts.back().first) + 1;
    const std::size_t count = wanted - set.parts.size();
    if (count == 0) return true;
    std::string missing;
    std::size_t at = 0;
    std::size_t named = 0;
    for (std::int64_t number = 0; named < count && named < 3; ++number) {
        if (at < set.parts.size() && set.parts[at].first == number) ++at;
        else missing += (named++ == 0 ? "" : ", ") + quoted(spell(pattern_of(number), set.slots, code.counter, number));
    }
    if (count > 3) missing += " and " + decimal(std::uint64_t{count - 3}) + " more";
    fail(rule.number,
         "the set of " + quoted(r_.items[set.parts.front().second].name) + " is incomplete; missing: " + missing);
    return false;
}

CKPT_DETAIL_DEF bool remap_planner::agree(const map_rule& rule, const part_set& set, std::uint32_t but) {
    const std::uint32_t head = set.parts.front().second;
    const gather_node& first = plan_.node(r_.items[head].node);
    for (const auto& [number, item] : set.parts) {
        if (!usable(rule.number, item)) return false;
        const gather_node& node = plan_.node(r_.items[item].node);
        bool same = node.type == first.type && node.rank == first.rank;
        for (std::uint32_t i = 0; same && i < node.rank; ++i) same = i == but || node.shape[i] == first.shape[i];
        if (!same)
            return fail(rule.number, "the parts do not fit together: " + quoted(r_.items[head].name) + " is " +
                                         describe(first) + ", " + quoted(r_.items[item].name) + " is " +
                                         describe(node)),
                   false;
    }
    return true;
}

CKPT_DETAIL_DEF void remap_planner::run_merge(const map_rule& rule) {
    std::vector<part_set> sets;
    collect(rule, sets);
    // One key that matches two patterns would be two parts.
    std::vector<std::pair<std::uint32_t, std::int64_t>> seen;
    for (const part_set& set : sets)
        for (const auto& [number, item] : set.parts) seen.push_back({item, number});
    std::sort(seen.begin(), seen.end());
    for (std::size_t i = 1; i < seen.size(); ++i)
        if (seen[i].first == seen[i - 1].first) {
            const auto& words = rule.code.words;
            return fail_at(
                rule.number, seen[i].first,
                "the key matches two patterns: " + quoted(words[static_cast<std::size_t>(seen[i - 1].second)].text) +
                    " and " + quoted(words[static_cast<std::size_t>(seen[i].second)].text));
        }
    for (const part_set& set : sets) {
        if (!complete(rule, set, rule.code.patterns.size())) continue;
        const std::uint32_t head = set.parts.front().second;
        std::uint32_t d{};
        if (!usable(rule.number, head) || !dimension(rule.number, head, rule.code.numbers[0], 0, d) ||
            !agree(rule, set, d))
            continue;
        r_.used[rule.number - 1] = 1;
        std::vector<std::uint32_t> nodes;
        std::vector<std::uint32_t> inputs;
        std::vector<std::int64_t> shape = shape_of(r_.items[head].node);
        shape[d] = 0;
        bool sized = true;
        for (const auto& [number, item] : set.parts) {
            nodes.push_back(r_.items[item].node);
            inputs.push_back(item);
            const std::int64_t more = plan_.node(nodes.back()).shape[d];
            sized = sized && more <= INT64_MAX - shape[d];
            if (sized) shape[d] += more;
        }
        if (!sized || !fits(shape, plan_.node(nodes[0]).type)) {
            fail_at(rule.number, head, "the merged shape overflows");
            continue;
        }
        std::uint32_t node{};
        if (rule.code.layout != qkv_layout::none) {
            if (!merge_qkv(rule, head, d, nodes, shape, node)) continue;
        } else {
            node = plan_.concat(nodes, d);
        }
        finish(rule, set, inputs, node, d);
    }
}

CKPT_DETAIL_DEF void remap_planner::finish(const map_rule& rule, const part_set& set,
                                           std::span<const std::uint32_t> inputs, std::uint32_t node, std::uint32_t d) {
    const std::uint32_t head = inputs[0];
    if (!in_proportion(rule.number, head, node)) return;
    if (const char* why = render(rule.code.templates.front(), rule.code, head, set.first_slots, text_); why != nullptr)
        return fail_at(rule.number, head, why);
    const std::uint32_t out = new_item(keep_name(text_), node, rule.number);
    if (out != 0) change(rule.number, inputs, std::span<const std::uint32_t>{&out, 1}, true, d);
}

CKPT_DETAIL_DEF bool remap_planner::merge_qkv(const map_rule& rule, std::uint32_t head_item, std::uint32_t d,
                                              std::vector<std::uint32_t>& nodes, const std::vector<std::int64_t>& whole,
                                              std::uint32_t& out) {
    const std::int64_t counts[]{rule.code.heads, rule.code.kv_heads, rule.code.kv_heads};
    const std::int64_t head = plan_.node(nodes[0]).shape[d] / counts[0];
    for (std::size_t i = 0; i < 3; ++i) {
        const std::int64_t size = plan_.node(nodes[i]).shape[d];
        if (size % counts[i] == 0 && size / counts[i] == head) continue;
        return fail_at(rule.number, head_item,
                       "the sizes of q, k and v in dimension " + decimal(std::uint64_t{d}) +
                           " are not heads, kv_heads and kv_heads times one head size"),
               false;
    }
    if (rule.code.layout == qkv_layout::concat) return out = plan_.concat(nodes, d), true;
    if (whole.size() + 2 > 64) return fail_at(rule.number, head_item, "the tensor has too many dimensions"), false;
    const std::int64_t k = rule.code.kv_heads;
    for (std::size_t i = 0; i < 3; ++i)
        nodes[i] = plan_.reshape(nodes[i], unfolded(shape_of(nodes[i]), d, k, counts[i] / k, head));
    out = plan_.reshape(plan_.concat(nodes, d + 1), whole);
    return true;
}

CKPT_DETAIL_DEF void remap_planner::run_stack(const map_rule& rule) {
    std::vector<part_set> sets;
    collect(rule, sets);
    for (const part_set& set : sets) {
        if (!complete(rule, set, 0)) continue;
        const std::uint32_t head = set.parts.front().second;
        std::uint32_t d{};
        if (!usable(rule.number, head) || !dimension(rule.number, head, rule.code.numbers[0], 1, d) ||
            !agree(rule, set, tombstone))
            continue;
        r_.used[rule.number - 1] = 1;
        std::vector<std::int64_t> shape = shape_of(r_.items[head].node);
        shape.insert(shape.begin() + d, 1);
        std::vector<std::int64_t> whole = shape;
        whole[d] = static_cast<std::int64_t>(set.parts.size());
        if (!fits(whole, plan_.node(r_.items[head].node).type)) {
            fail_at(rule.number, head, "the stacked shape overflows");
            continue;
        }
        std::vector<std::uint32_t> nodes;
        std::vector<std::uint32_t> inputs;
        for (const auto& [number, item] : set.parts) {
            nodes.push_back(plan_.reshape(r_.items[item].node, shape));
            inputs.push_back(item);
        }
        finish(rule, set, inputs, plan_.concat(nodes, d), d);
    }
}

CKPT_DETAIL_DEF void remap_planner::run_unstack(const map_rule& rule) {
    each_chosen(rule, [&](std::uint32_t item) {
        std::uint32_t d{};
        if (!usable(rule.number, item) || !dimension(rule.number, item, rule.code.numbers[0], 0, d)) return;
        const std::uint32_t node = r_.items[item].node;
        std::vector<std::int64_t> shape = shape_of(node);
        const std::int64_t n = shape[d];
        if (n == 0)
            return fail_at(rule.number, item,
                           "dimension " + decimal(std::uint64_t{d}) + " has the size 0, so the tensor would vanish");
        if (static_cast<std::uint64_t>(n) > limits{}.entries)
            return fail_at(rule.number, item,
                           "there would be more than " + decimal(std::uint64_t{limits{}.entries}) + " keys");
        shape.erase(shape.begin() + d);
        std::vector<std::uint32_t> outputs;
        std::vector<binding_value> slots = slots_;
        slots.resize(static_cast<std::size_t>(rule.code.counter) + 1);
        for (std::int64_t i = 0; i < n; ++i) {
            slots[static_cast<std::size_t>(rule.code.counter)].number = i;
            if (const char* why = render(rule.code.templates.front(), rule.code, item, slots, text_); why != nullptr)
                return fail_at(rule.number, item, why);
            const std::uint32_t part = plan_.reshape(plan_.narrow(node, d, i, 1), shape);
            if (!in_proportion(rule.number, item, part)) return;
            outputs.push_back(new_item(keep_name(text_), part, rule.number));
            if (outputs.back() == 0) return;
        }
        change(rule.number, std::span<const std::uint32_t>{&item, 1}, outputs, true, d);
    });
}

CKPT_DETAIL_DEF void remap_planner::run_transform(const map_rule& rule) {
    each_chosen(rule, [&](std::uint32_t item) {
        if (!usable(rule.number, item)) return;
        std::uint32_t node = r_.items[item].node;
        std::uint32_t d{};
        if (!transform(rule, item, node, d)) return;
        if (node == r_.items[item].node) return;
        if (!in_proportion(rule.number, item, node)) return;
        const std::uint32_t out = new_item(r_.items[item].name, node, rule.number);
        if (out != 0)
            change(rule.number, std::span<const std::uint32_t>{&item, 1}, std::span<const std::uint32_t>{&out, 1}, true,
                   d);
    });
}

CKPT_DETAIL_DEF bool remap_planner::transform(const map_rule& rule, std::uint32_t item, std::uint32_t& node,
                                              std::uint32_t& d) {
    const rule_code& code = rule.code;
    const std::span<const std::int64_t> numbers = code.numbers;
    std::vector<std::int64_t> shape = shape_of(node);
    switch (code.verb) {
    case rule_verb::transpose: {
        std::uint32_t second{};
        if (!dimension(rule.number, item, numbers[0], 0, d) || !dimension(rule.number, item, numbers[1], 0, second))
            return false;
        std::vector<std::int64_t> order;
        for (std::size_t i = 0; i < shape.size(); ++i) order.push_back(static_cast<std::int64_t>(i));
        std::swap(order[d], order[second]);
        if (d != second) node = plan_.permute(node, order);
        return true;
    }
    case rule_verb::permute: {
        if (numbers.size() != shape.size())
            return fail_at(rule.number, item,
                           "the tensor has " + decimal(std::uint64_t{shape.size()}) + " dimensions, the rule names " +
                               decimal(std::uint64_t{numbers.size()})),
                   false;
        std::vector<std::int64_t> order;
        bool identity = true;
        for (const std::int64_t number : numbers) {
            if (!dimension(rule.number, item, number, 0, d)) return false;
            if (std::find(order.begin(), order.end(), static_cast<std::int64_t>(d)) != order.end())
                return fail_at(rule.number, item, "dimension " + decimal(number) + " is named twice"), false;
            identity = identity && d == order.size();
            order.push_back(static_cast<std::int64_t>(d));
        }
        if (!identity) node = plan_.permute(node, order);
        return true;
    }
    case rule_verb::reshape: return reshape(rule, item, node);
    case rule_verb::squeeze:
        if (code.every_dimension) {
            shape.erase(std::remove(shape.begin(), shape.end(), 1), shape.end());
        } else {
            if (!dimension(rule.number, item, numbers[0], 0, d)) return false;
            if (shape[d] != 1)
                return fail_at(rule.number, item,
                               "dimension " + decimal(numbers[0]) + " has the size " + decimal(shape[d]) + ", not 1"),
                       false;
            shape.erase(shape.begin() + d);
        }
        node = plan_.reshape(node, shape);
        return true;
    case rule_verb::unsqueeze:
        if (!dimension(rule.number, item, numbers[0], 1, d)) return false;
        if (shape.size() == 64) return fail_at(rule.number, item, "the tensor has too many dimensions"), false;
        shape.insert(shape.begin() + d, 1);
        node = plan_.reshape(node, shape);
        return true;
    case rule_verb::narrow:
        if (!dimension(rule.number, item, numbers[0], 0, d)) return false;
        if (numbers[1] > shape[d] || numbers[2] > shape[d] - numbers[1])
            return fail_at(rule.number, item,
                           "elements " + decimal(numbers[1]) + " and " + decimal(numbers[2]) +
                               " more reach past the size " + decimal(shape[d]) + " of dimension " +
                               decimal(std::uint64_t{d})),
                   false;
        node = plan_.narrow(node, d, numbers[1], numbers[2]);
        return true;
    case rule_verb::pad: {
        if (!dimension(rule.number, item, numbers[0], 0, d)) return false;
        std::array<std::byte, 16> value{};
        if (const char* why = encode(code.filling, plan_.node(node).type, value); why != nullptr)
            return fail_at(rule.number, item, why), false;
        const bool sized = numbers[1] <= INT64_MAX - shape[d] && numbers[2] <= INT64_MAX - shape[d] - numbers[1];
        if (sized) shape[d] += numbers[1] + numbers[2];
        if (!sized || !fits(shape, plan_.node(node).type))
            return fail_at(rule.number, item, "the padded shape overflows"), false;
        node = plan_.pad(node, d, numbers[1], numbers[2], value);
        return true;
    }
    default: { // cast
        const ckpt::dtype from = plan_.node(node).type;
        if (!is_convertible(from, code.type))
            return fail_at(rule.number, item,
                           std::string(ckpt::name(from)) + " cannot be cast to " + std::string(ckpt::name(code.type)) +
                               " without losing what the values mean"),
                   false;
        if (!fits(shape, code.type)) return fail_at(rule.number, item, "the cast shape overflows"), false;
        node = plan_.cast(node, code.type);
        return true;
    }
    }
}

CKPT_DETAIL_DEF bool remap_planner::reshape(const map_rule& rule, std::uint32_t item, std::uint32_t& node) {
    std::vector<std::int64_t> shape(rule.code.numbers.begin(), rule.code.numbers.end());
    const std::uint64_t numel = plan_.node(node).numel;
    std::uint64_t product = 1;
    std::size_t open = shape.size();
    bool sized = true;
    bool empty = false;
    for (const std::int64_t n : shape) empty = empty || n == 0;
    for (std::size_t i = 0; i < shape.size(); ++i) {
        if (shape[i] < 0) open = i;
        else if (!empty) sized = sized && checked_mul(product, static_cast<std::uint64_t>(shape[i]), product);
    }
    if (empty) product = 0;
    if (open < shape.size()) {
        if (product == 0) return fail_at(rule.number, item, "-1 has no meaning beside a size of 0"), false;
        if (sized && numel % product == 0) {
            shape[open] = static_cast<std::int64_t>(numel / product);
            product = numel;
        }
    }
    if (!sized || product != numel || shape.size() > 64)
        return fail_at(rule.number, item,
                       "the " + decimal(numel) + " elements of " + describe(plan_.node(node)) + " do not fit into " +
                           list_of(rule.code.numbers)),
               false;
    node = plan_.reshape(node, shape);
    return true;
}

CKPT_DETAIL_DEF const char* remap_planner::encode(std::string_view text, ckpt::dtype type,
                                                  std::array<std::byte, 16>& out) {
    constexpr const char* wrong = "the value does not fit the dtype";
    const ckpt::dtype component = component_type(type);
    if (carrier_of(component) == carrier::none || info(type).packed)
        return "a tensor of this dtype cannot be filled with a number";
    if (text == "true") text = "1";
    else if (text == "false") text = "0";
    std::array<std::byte, 16> from{};
    std::int64_t integer{};
    const bool is_integer = parse_integer(text, integer);
    const carrier c = carrier_of(component);
    if (c == carrier::signed_integer || c == carrier::unsigned_integer) {
        std::uint64_t large{};
        const bool is_large =
            !is_integer &&
            std::from_chars(text.data(), text.data() + text.size(), large).ptr == text.data() + text.size() &&
            !text.starts_with('-');
        if (!is_integer && !is_large) return wrong;
        if (is_large) std::memcpy(from.data(), &large, sizeof large);
        else std::memcpy(from.data(), &integer, sizeof integer);
        return convert(is_large ? dtype::uint64 : dtype::int64, from.data(), component, out.data(), 1) == 1 ? nullptr
                                                                                                            : wrong;
    }
    if (type == dtype::float8_e8m0fnu) return "a tensor of this dtype cannot be filled with a number";
    double value{};
    const char* end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, value);
    if (read.ec != std::errc{} || read.ptr != end) return wrong;
    std::memcpy(from.data(), &value, sizeof value);
    (void)convert(dtype::float64, from.data(), component, out.data(), 1);
    double back{};
    std::array<std::byte, 16> again{};
    (void)convert(component, out.data(), dtype::float64, again.data(), 1);
    std::memcpy(&back, again.data(), sizeof back);
    if (value != value) return back != back ? nullptr : wrong;
    if (value == back) return nullptr;
    const double distance = value < back ? back - value : value - back;
    const double size = value < 0 ? -value : value;
    if (component == dtype::float8_e4m3fn && size > 448) return wrong; // it saturates, also at infinity
    return distance <= size / 4 ? nullptr : wrong;                     // rounded, but neither overflowed nor vanished
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
