// ckpt/state/impl/remap.ipp: the definitions of remap.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/core/short_list.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/remap.hpp>
#include <ckpt/state/remap_inverse.hpp>
#include <ckpt/state/remap_planner.hpp>
#include <ckpt/state/remap_record.hpp>
#include <ckpt/state/remap_result.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Fills the lists of a plan from its record.
class plan_lists {
  public:
    plan_lists(const remap_record& record, remap_plan& out) : r_{record}, out_{out} {}

    void fill() {
        out_.errors = r_.errors;
        list_moves();
        list_dropped();
        list_aliased();
        list_collisions();
        // A plan that stopped has not asked the rules behind, so it cannot say that they are unused.
        if (!out_.ok()) return;
        for (std::size_t i = 0; i < r_.used.size(); ++i)
            if (r_.used[i] == 0 && !r_.rules.rules[i].code.optional) out_.unused_rules.push_back(i + 1);
    }

  private:
    [[nodiscard]] std::string name_of(std::uint32_t item) const { return std::string(r_.items[item].name); }
    /// The first key of the source that an item is made of; its own name where it is made of none.
    [[nodiscard]] std::string first_root(std::uint32_t item) {
        r_.roots(item, roots_);
        return name_of(roots_.empty() ? item : roots_[0]);
    }
    void list_moves() {
        std::size_t changed = 0;
        for (std::uint32_t i = r_.items[0].next; i != 0; i = r_.items[i].next) changed += r_.items[i].change != 0;
        out_.moves.reserve(changed); // a move has 88 bytes; a merged key has several
        for (std::uint32_t i = r_.items[0].next; i != 0; i = r_.items[i].next) {
            const std::uint32_t rule = r_.rule_of(i);
            if (rule == 0) continue;
            const rule_verb verb = r_.rule(rule).verb;
            r_.roots(i, roots_);
            if (verb == rule_verb::fill || roots_.empty()) { // filled, or made of what was filled
                out_.filled.push_back(name_of(i));
                continue;
            }
            for (const std::uint32_t root : roots_)
                out_.moves.push_back({name_of(root), name_of(i), detail::name(verb), rule});
        }
    }
    void list_dropped() {
        for (const remap_change& c : r_.dropped) {
            const std::uint32_t item = r_.inputs(c)[0];
            r_.roots(item, roots_);
            if (roots_.empty()) out_.dropped.push_back({name_of(item), c.rule});
            for (const std::uint32_t root : roots_) out_.dropped.push_back({name_of(root), c.rule});
        }
    }
    void list_aliased() {
        std::vector<std::uint32_t> kept;
        for (const remap_alias& a : r_.aliased) {
            r_.roots(a.gone, roots_);
            r_.roots(a.kept, kept);
            if (roots_.empty() || kept.empty()) {
                out_.aliased.push_back({first_root(a.gone), first_root(a.kept)});
                continue;
            }
            // Each may be made of several keys, where a merge was one view. Every key of what is gone has its line.
            for (std::size_t i = 0; i < roots_.size(); ++i)
                out_.aliased.push_back({name_of(roots_[i]), name_of(kept[(std::min)(i, kept.size() - 1)])});
        }
    }
    void list_collisions() {
        for (const remap_collision& c : r_.collisions) {
            remap_plan::collision& out = out_.collisions.emplace_back();
            out.to = c.name;
            for (const std::uint32_t i : c.items) {
                out.from.push_back(first_root(i));
                out.rules.push_back(r_.rule_of(i));
            }
        }
    }

    const remap_record& r_;
    remap_plan& out_;
    std::vector<std::uint32_t> roots_{};
};

/// Follows a key through the changes of a plan.
class key_trace {
  public:
    explicit key_trace(const remap_record& record)
        : r_{record}, concerned_(record.items.size(), 0), stands_for_(record.items.size(), 0) {
        for (const remap_alias& a : r_.aliased) stands_for_[a.gone] = a.kept;
    }

    /// Marks what is made of a key of the source, or what a key of the result is made of. False where neither has it.
    bool mark(std::string_view key) {
        if (const std::uint32_t root = r_.root_named(key); root != 0) {
            follow(root);
            for (const remap_change& c : r_.changes)
                if (touches(r_.inputs(c)))
                    for (const std::uint32_t o : r_.outputs(c)) follow(o);
            return true;
        }
        bool found = false;
        for (std::uint32_t i = r_.items[0].next; i != 0; i = r_.items[i].next) {
            if (r_.items[i].name != key) continue;
            concerned_[i] = 1;
            found = true;
        }
        for (std::size_t k = r_.changes.size(); k-- > 0;)
            if (touches(r_.outputs(r_.changes[k])))
                for (const std::uint32_t i : r_.inputs(r_.changes[k])) concerned_[i] = 1;
        return found;
    }

    [[nodiscard]] std::vector<remap_plan::trace_line> lines() const {
        std::vector<remap_plan::trace_line> out;
        for (const remap_change& c : r_.changes) add_line(c, out);
        for (const remap_change& c : r_.dropped) add_line(c, out);
        return out;
    }

  private:
    /// Marks an item, and what stands for it where it was merged away.
    void follow(std::uint32_t item) {
        for (; item != 0 && concerned_[item] == 0; item = stands_for_[item]) concerned_[item] = 1;
    }
    [[nodiscard]] bool touches(std::span<const std::uint32_t> items) const {
        for (const std::uint32_t i : items)
            if (concerned_[i] != 0) return true;
        return false;
    }
    void add_line(const remap_change& c, std::vector<remap_plan::trace_line>& out) const {
        // What has no inputs was filled, and is told by what came out.
        if (!touches(c.inputs.empty() ? r_.outputs(c) : r_.inputs(c))) return;
        remap_plan::trace_line& line = out.emplace_back();
        line.rule = c.rule;
        for (const std::uint32_t i : r_.inputs(c)) line.before.push_back(std::string(r_.items[i].name));
        for (const std::uint32_t o : r_.outputs(c)) {
            line.after.push_back(std::string(r_.items[o].name));
            if (line.what.empty()) line.what = describe(r_.node_of(o));
        }
    }

    const remap_record& r_;
    std::vector<char> concerned_;           ///< by item
    std::vector<std::uint32_t> stands_for_; ///< by item; 0: nothing
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF remap_plan::remap_plan(detail::shared<detail::remap_record> record) noexcept
    : record_{std::move(record)} {}

CKPT_DETAIL_DEF remap_plan::remap_plan(const remap_plan& other) = default;

CKPT_DETAIL_DEF remap_plan::remap_plan(remap_plan&& other) noexcept = default;

CKPT_DETAIL_DEF remap_plan& remap_plan::operator=(const remap_plan& other) = default;

CKPT_DETAIL_DEF remap_plan& remap_plan::operator=(remap_plan&& other) noexcept = default;

CKPT_DETAIL_DEF remap_plan::~remap_plan() = default;

CKPT_DETAIL_DEF remap_plan plan_remap(const state_dict& weights, const key_map& map) {
    auto record = detail::make_shared<detail::remap_record>(weights, map);
    detail::remap_planner{*record}.run();
    remap_plan out{record};
    detail::plan_lists{*record, out}.fill();
    return out;
}

CKPT_DETAIL_DEF std::vector<std::string> remap_plan::keys() const {
    std::vector<std::string> out;
    for (std::uint32_t i = record_->items[0].next; i != 0; i = record_->items[i].next)
        out.push_back(std::string(record_->items[i].name));
    return out;
}

CKPT_DETAIL_DEF std::string remap_plan::rule_text(std::size_t number) const {
    return std::string(record_->rule(static_cast<std::uint32_t>(number)).text);
}

CKPT_DETAIL_DEF error remap_plan::failure() const {
    error out{.code = errc::remap_failed};
    if (collisions.empty()) {
        out.detail = errors.front().detail;
        if (errors.size() > 1) out.detail += detail::str_cat(" (and ", errors.size() - 1, " more)");
        out.hint = "plan_remap lists all of them";
        return out;
    }
    const collision& c = collisions.front();
    out.detail = detail::decimal(std::uint64_t{collisions.size()}) +
                 (collisions.size() == 1 ? " collision: " : " collisions, the first: ");
    detail::short_list list{out.detail, {.most = 3, .separator = " and ", .before_rest = " and "}};
    for (std::size_t i = 0; i < c.from.size(); ++i) {
        if (!list.next()) continue;
        out.detail += detail::quoted(c.from[i]);
        if (c.rules[i] == 0) out.detail += " (untouched)";
        else
            out.detail +=
                detail::str_cat(" (rule ", c.rules[i], ", ", detail::printable(rule_text(c.rules[i]), false), ")");
    }
    list.end();
    out.detail += detail::str_cat(" all become ", detail::quoted(c.to));
    out.hint = "rename or drop one of them; plan_remap lists all";
    return out;
}

CKPT_DETAIL_DEF result<std::vector<remap_plan::trace_line>> remap_plan::explain(std::string_view key) const {
    detail::key_trace trace{*record_};
    if (!trace.mark(key))
        return error{.code = errc::key_missing,
                     .detail = detail::str_cat("neither the source nor the result has the key ", detail::quoted(key)),
                     .hint = "a loop over the state_dict gives its keys"};
    return trace.lines();
}

CKPT_DETAIL_DEF result<void> remap_plan::reversible() const {
    if (!ok()) return failure();
    return detail::inverse_writer{*record_}.check();
}

CKPT_DETAIL_DEF result<key_map> remap_plan::inverse() const {
    if (auto possible = reversible(); !possible) return std::move(possible).failure();
    return detail::inverse_writer{*record_}.run();
}

CKPT_DETAIL_DEF result<state_dict> remap(const remap_plan& plan) {
    if (!plan.ok()) return plan.failure();
    const detail::remap_record& r = *plan.record_;
    for (const detail::remap_equality& e : r.equalities) {
        auto same = r.plan->equal(e.left, e.right);
        if (!same) return std::move(same).failure();
        if (*same) continue;
        return error{.code = errc::equality_broken,
                     .detail = detail::str_cat(r.named(e.rule), " ties two tensors whose values differ"),
                     .hint = "drop one of them before the rule, or leave the rule out"};
    }
    return detail::remapped_maker{plan, plan.record_}.run();
}

CKPT_DETAIL_DEF result<state_dict> remap(const state_dict& weights, const key_map& map) {
    return remap(plan_remap(weights, map));
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
