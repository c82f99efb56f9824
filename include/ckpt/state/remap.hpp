// ckpt/state/remap.hpp: what a key_map would do to a state_dict, and doing it.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict and a key_map.
// Out:     `plan_remap`: every move with the rule that made it, what is dropped, merged, filled, unused; the inverse.
//          `remap`: the state_dict under its new names, without a copy; tensors that no stride can show are gathered
//          when they are read.
// Refuses: `plan_remap` nothing: faults are listed. `remap` a plan with collisions or errors, and a tie whose two sides
//          are not equal.
#pragma once

#include <ckpt/state/assemble.hpp>
#include <ckpt/state/remap_planner.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// What a key_map would do. All lists are filled when `plan_remap` returns; nothing was read or copied.
struct remap_plan {
    /// A source key and a key of the result that is made of it. A merge has several moves to one key.
    struct move {
        std::string from{};
        std::string to{};
        std::string_view op{}; ///< verb of the last rule that touched it
        std::size_t rule{0};   ///< number of that rule, from 1
    };
    struct drop {
        std::string from{}; ///< key of the source
        std::size_t rule{0};
    };
    /// Two source keys that came to one name and are the same view of the same storage.
    struct alias {
        std::string key{};     ///< the source key that was merged away
        std::string same_as{}; ///< the source key that stands for both
    };
    struct collision {
        std::string to{};
        std::vector<std::string> from{};  ///< source keys, one for each claimant
        std::vector<std::size_t> rules{}; ///< the rule that gave each its name; 0: none, it had the name already
    };

    std::vector<move> moves{};
    std::vector<drop> dropped{};
    std::vector<alias> aliased{};
    std::vector<std::string> filled{};
    std::vector<std::size_t> unused_rules{}; ///< numbers of rules that touched nothing and are not marked with `?`
    std::vector<collision> collisions{};
    std::vector<ckpt::error> errors{};

    /// Whether `remap` would carry it out (but for equalities and casts, which only the values can tell).
    [[nodiscard]] bool ok() const noexcept { return collisions.empty() && errors.empty(); }
    /// The keys of the result, in order.
    [[nodiscard]] std::vector<std::string> keys() const;
    /// The text of a rule, by its number.
    [[nodiscard]] std::string rule_text(std::size_t number) const {
        return std::string(record_->rule(static_cast<std::uint32_t>(number)).text);
    }

    /// One rule's effect on the way of a key.
    struct trace_line {
        std::size_t rule{0};
        std::vector<std::string> before{};
        std::vector<std::string> after{}; ///< empty: dropped
        std::string what{};               ///< dtype and shape of what came out
    };
    /// The way of `key`, a key of the source or of the result, rule by rule. Empty where no rule touched it.
    /// Fails with `key_missing` where neither has such a key.
    [[nodiscard]] result<std::vector<trace_line>> explain(std::string_view key) const;

    /// Whether there is an inverse. Fails with `not_reversible`, naming the first rule that prevents it, and as `remap`
    /// does where the plan is not ok.
    [[nodiscard]] result<void> reversible() const;
    /// A map from the result back to the source: its names and its tensors, bit for bit; the order of the keys may
    /// differ. Fails as `reversible` does.
    [[nodiscard]] result<key_map> inverse() const;

    explicit remap_plan(detail::shared<detail::remap_record> record) : record_{std::move(record)} {}
    [[nodiscard]] const detail::remap_record& record() const noexcept { return *record_; }
    [[nodiscard]] const detail::shared<detail::remap_record>& shared_record() const noexcept { return record_; }

  private:
    detail::shared<detail::remap_record> record_;
};

/// What `map` would do to the keys of `weights`. Never fails, reads no element; the plan shares the weights' file.
[[nodiscard]] remap_plan plan_remap(const state_dict& weights, const key_map& map);

namespace detail {

/// The first fault of a plan that cannot be carried out, with counts.
[[nodiscard]] error remap_failure(const remap_plan& plan);

/// Compares two nodes bit by bit, in bounded pieces.
[[nodiscard]] result<bool> equal_values(const gather_plan& plan, std::uint32_t a, std::uint32_t b);

/// Makes the state_dict of a plan that is ok.
[[nodiscard]] state_dict make_remapped(const remap_plan& plan);

/// Writes the inverse of a plan, step by step from the last to the first.
class inverse_writer {
  public:
    explicit inverse_writer(const remap_record& record) : r_{record} {}

    /// Of a plan that `check` has found reversible.
    [[nodiscard]] key_map run();

    /// Fails where some rule did what cannot be undone; the first of them in the order of the rules.
    [[nodiscard]] result<void> check() const;

  private:
    /// Whether every value of `from` survives the way to `to` and back.
    [[nodiscard]] static bool holds_all(ckpt::dtype from, ckpt::dtype to) noexcept;

    [[nodiscard]] std::string_view name_of(std::uint32_t item) const noexcept { return r_.items[item].name; }
    void rule(const std::string& line, bool in_group = false) { out_->add_known(line, in_group); }
    void line_to(std::string_view verb, std::string_view from, std::string_view to, bool in_group);

    void write_step(std::uint32_t begin, std::uint32_t end);
    [[nodiscard]] std::span<const std::uint32_t> inputs(std::uint32_t change) const noexcept {
        return r_.linked(r_.changes[change].inputs, r_.changes[change].input_count);
    }
    [[nodiscard]] std::span<const std::uint32_t> outputs(std::uint32_t change) const noexcept {
        return r_.linked(r_.changes[change].outputs, r_.changes[change].output_count);
    }
    [[nodiscard]] bool is_rename(std::uint32_t change) const noexcept;

    template <class Target> void undo(std::uint32_t i, Target& target) {
        const remap_change& c = r_.changes[i];
        const rule_code& code = r_.rule(c.rule);
        const std::string d = decimal(std::uint64_t{c.dimension});
        const auto shape_text = [&](std::uint32_t item) {
            return ckpt::detail::shape_text(r_.plan->node(r_.items[item].node).sizes(), {.open = '(', .close = ')'});
        };
        const auto size_of = [&](std::uint32_t item) { return r_.plan->node(r_.items[item].node).shape[c.dimension]; };
        const auto on = [&](std::string line, std::string_view key) {
            line += ' ';
            append_key_word(line, key);
            rule(line);
        };
        std::string qkv;
        if (code.layout != qkv_layout::none)
            qkv = "qkv(heads=" + decimal(code.heads) + ", kv_heads=" + decimal(code.kv_heads) + ", layout=" +
                  (code.layout == qkv_layout::concat    ? "concat"
                   : code.layout == qkv_layout::grouped ? "grouped"
                                                        : "interleaved") +
                  ") ";
        const std::uint32_t in = inputs(i)[0];
        switch (code.verb) {
        case rule_verb::copy:
        case rule_verb::tie: return on("drop", name_of(outputs(i)[0]));
        case rule_verb::split:
        case rule_verb::unstack: {
            if (code.verb == rule_verb::unstack)
                for (const std::uint32_t part : outputs(i)) on("unsqueeze " + d, name_of(part));
            if (outputs(i).size() == 1) return move_to(outputs(i)[0], target(in));
            std::string line = "merge " + d + ' ' + qkv;
            for (std::size_t k = 0; k < outputs(i).size(); ++k) {
                if (k != 0) line += ", ";
                append_key_word(line, name_of(outputs(i)[k]));
            }
            line += " -> ";
            append_key_word(line, target(in));
            return rule(line);
        }
        case rule_verb::merge:
        case rule_verb::stack: {
            std::vector<std::string> names;
            for (const std::uint32_t part : inputs(i)) names.push_back(target(part));
            std::string line = "split " + d + ' ' + qkv;
            if (qkv.empty()) {
                line += '[';
                for (std::size_t k = 0; k < names.size(); ++k)
                    line += (k == 0 ? "" : ", ") +
                            decimal(code.verb == rule_verb::stack ? std::int64_t{1} : size_of(inputs(i)[k]));
                line += "] ";
            }
            append_key_word(line, name_of(outputs(i)[0]));
            line += " -> ";
            for (std::size_t k = 0; k < names.size(); ++k) {
                if (k != 0) line += ", ";
                append_key_word(line, names[k]);
            }
            rule(line);
            if (code.verb == rule_verb::stack)
                for (const std::string& part : names) on("squeeze " + d, part);
            return;
        }
        case rule_verb::transpose:
            return on("transpose " + decimal(code.numbers[0]) + ' ' + decimal(code.numbers[1]), name_of(in));
        case rule_verb::permute: {
            const auto rank = static_cast<std::int64_t>(code.numbers.size());
            std::vector<std::int64_t> order(code.numbers.size());
            for (std::size_t k = 0; k < order.size(); ++k)
                order[static_cast<std::size_t>(code.numbers[k] < 0 ? code.numbers[k] + rank : code.numbers[k])] =
                    static_cast<std::int64_t>(k);
            std::string line = "permute (";
            for (std::size_t k = 0; k < order.size(); ++k) line += (k == 0 ? "" : ", ") + decimal(order[k]);
            return on(line + ')', name_of(in));
        }
        case rule_verb::pad:
            return on("narrow " + d + ' ' + decimal(code.numbers[1]) + ' ' + decimal(size_of(in)), name_of(in));
        case rule_verb::cast:
            return on("cast " + std::string(ckpt::name(r_.plan->node(r_.items[in].node).type)), name_of(in));
        default: return on("reshape " + shape_text(in), name_of(in)); // reshape, squeeze, unsqueeze
        }
    }
    void move_to(std::uint32_t item, const std::string& name) {
        if (name_of(item) != name) line_to("rename", name_of(item), name, false);
    }

    const remap_record& r_;
    shared<key_map_data> out_{detail::make_shared<key_map_data>()};
    std::vector<std::pair<std::string, std::string>> pending_{};
    std::string unused_{"ckpt_inverse."}; ///< no key begins with it
    std::uint64_t next_{0};
};

} // namespace detail

/// Carries a plan out: the state_dict under its new names. Fails with `remap_failed` where the plan is not ok, and with
/// `equality_broken` where two tensors that a rule ties are not equal. The result shares the files of its source.
[[nodiscard]] result<state_dict> remap(const remap_plan& plan);
/// `remap(plan_remap(weights, map))`.
[[nodiscard]] inline result<state_dict> remap(const state_dict& weights, const key_map& map) {
    return remap(plan_remap(weights, map));
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/remap.ipp>
#endif
