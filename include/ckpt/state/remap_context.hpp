// ckpt/state/remap_context.hpp: what all rules work with: the keys, the plan, faults, and changes.
//
// SPDX-License-Identifier: MIT
// In:      the record of a plan, and one rule after another.
// Out:     the keys that a rule is about, new items, the changes of a step; faults that name rule and key.
// Refuses: what no rule may do with a tensor: take apart what is no plain array, ask for a dimension that is not there,
//          claim many times what is stored.
//
// Functions that find a fault record it and return false, so that `return c_.fail_at(...)` ends a rule for one key.
#pragma once

#include <ckpt/core/limits.hpp>
#include <ckpt/core/pattern.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/gather.hpp>
#include <ckpt/state/key_map_data.hpp>
#include <ckpt/state/remap_formula.hpp>
#include <ckpt/state/remap_keys.hpp>
#include <ckpt/state/remap_record.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class remap_context {
  public:
    /// `budget`: how many items there may be in all, those of the source included, and how many bytes may be filled.
    remap_context(remap_record& record, const limits& budget)
        : r{record},
          plan{*record.plan},
          keys{record.items},
          formulas{record, keys},
          most_keys_{budget.entries},
          most_filled_{budget.filled_bytes},
          fill_left_{budget.filled_bytes} {}

    // ---- faults

    /// Records a fault of a rule. Always false.
    bool fail(std::uint32_t rule, std::string what);
    /// The same at a key.
    bool fail_at(std::uint32_t rule, std::uint32_t item, const std::string& what) {
        return fail(rule, str_cat("at ", quoted(r.items[item].name), ": ", what));
    }

    // ---- which keys a rule is about

    /// Whether the key of `item` matches a pattern of the rule; sets `slots`.
    [[nodiscard]] bool matches(std::uint32_t rule, const pattern_code& code, std::uint32_t item);
    /// Whether a condition of the rule holds for `item`. Conditions of keep are numbered by pattern, others have one.
    [[nodiscard]] bool holds(const map_rule& rule, std::size_t which, std::uint32_t item,
                             const std::vector<binding_value>& bound);
    /// Calls `f(item)` for the keys that a pattern matches, with `slots` bound.
    template <class F> void each_match(const map_rule& rule, const pattern_code& code, F&& f) {
        if (code.literal) {
            const std::uint32_t item = keys.find(code.literal_key());
            if (item != 0) f(item);
            return;
        }
        for (std::uint32_t item = keys.first(); item != 0; item = keys.after(item))
            if (matches(rule.number, code, item)) f(item);
    }
    /// The same for the rule's first pattern, where the condition holds too; marks the rule as used.
    template <class F> void each_chosen(const map_rule& rule, F&& f) {
        each_match(rule, rule.code.patterns.front(), [&](std::uint32_t item) {
            if (!holds(rule, 0, item, slots)) return;
            mark_used(rule);
            f(item);
        });
    }
    void mark_used(const map_rule& rule) { r.used[rule.number - 1] = 1; }

    // ---- what a rule makes of them; changes are carried out together, at the end of the step

    /// Sets `text` to the name that a template of the rule makes.
    [[nodiscard]] bool render(const map_rule& rule, std::size_t which, std::uint32_t item,
                              const std::vector<binding_value>& bound);
    /// A copy of a name that lives as long as the record.
    [[nodiscard]] std::string_view keep_name(std::string_view name);
    /// A new item of a name that lives as long as the record; 0 where there would be too many.
    [[nodiscard]] std::uint32_t new_item(std::string_view name, std::uint32_t node, std::uint32_t rule);
    [[nodiscard]] std::uint64_t most_keys() const noexcept { return most_keys_; }
    /// The fault of too many keys.
    [[nodiscard]] std::string too_many_keys() const {
        return str_cat("there would be more than ", most_keys_, " keys");
    }
    /// `inputs` become `outputs`; where they are not removed, they stay beside them.
    void change(std::uint32_t rule, std::span<const std::uint32_t> inputs, std::span<const std::uint32_t> outputs,
                bool removes, std::uint32_t dimension = 0);
    void drop(std::uint32_t rule, std::uint32_t item);
    /// Gives the tensor of `item` another name; no change where it is the one that it has.
    void rename(std::uint32_t rule, std::uint32_t item, std::string_view name);
    /// Replaces `item` by one of another tensor under the same name.
    void replace_tensor(std::uint32_t rule, std::uint32_t item, std::uint32_t node, std::uint32_t dimension);
    /// Gives the tensor of `item` the name in `text` as well.
    void add_name(std::uint32_t rule, std::uint32_t item);

    // ---- what may be done with a tensor

    /// Whether the elements of `item` can be taken apart: strided, whole bytes, not too deep.
    [[nodiscard]] bool usable(std::uint32_t rule, std::uint32_t item);
    /// Whether a shape has at most 64 dimensions, none negative, and its bits can be counted.
    [[nodiscard]] static bool fits(std::span<const std::int64_t> shape, ckpt::dtype type) noexcept;
    /// Takes the bytes of a fill or pad from the budget. Returns why not; empty where so many are left.
    [[nodiscard]] std::string take_filled(std::uint64_t bytes);
    /// Whether a node that is gathered, or read while the plan is carried out, is in proportion to what is stored.
    [[nodiscard]] bool in_proportion(std::uint32_t rule, std::uint32_t item, std::uint32_t node, bool is_read = false);
    /// Sets `out` to dimension `d` counted from the front. `extra`: 1 for a dimension that is inserted.
    [[nodiscard]] bool dimension(std::uint32_t rule, std::uint32_t item, std::int64_t d, std::uint32_t extra,
                                 std::uint32_t& out);
    [[nodiscard]] std::vector<std::int64_t> shape_of(std::uint32_t node) const {
        return {plan.node(node).sizes().begin(), plan.node(node).sizes().end()};
    }

    remap_record& r;
    gather_plan& plan;
    remap_keys keys;
    rule_formulas formulas;
    std::vector<binding_value> slots{};         ///< what the last match bound
    std::string text{};                         ///< the last name that was made
    std::vector<std::uint32_t> dropped_items{}; ///< in this step

  private:
    static constexpr std::size_t most_errors = 1000;

    std::uint64_t most_keys_;
    std::uint64_t most_filled_;
    std::uint64_t fill_left_;
    matcher matcher_{};
    bool gave_up_{false}; ///< the plan has failed in a way that more keys would only repeat
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/remap_context.ipp>
#endif
