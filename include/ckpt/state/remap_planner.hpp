// ckpt/state/remap_planner.hpp: runs a key_map over the keys of a state_dict.
//
// SPDX-License-Identifier: MIT
// In:      the keys, dtypes and shapes of a state_dict, and a map.
// Out:     every key that ever stood there as an item: what it was made from, by which rule; the plan of the tensors.
// Refuses: what a rule cannot do with these keys, collecting all faults of a step before it stops. Reads no element.
//
// Keys stand in a linked list, so that moved keys keep their places, and in a hash table, so that rules about one key
// cost the same among a hundred thousand.
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/checked.hpp>
#include <ckpt/core/hash.hpp>
#include <ckpt/core/limits.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/state/gather.hpp>
#include <ckpt/state/key_map.hpp>
#include <ckpt/state/state_dict.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// A name with a tensor, at some time while the steps run. Item 0 is the list's end.
struct remap_item {
    std::string_view name{};
    std::uint64_t hash{0};
    std::uint32_t node{0};
    std::uint32_t parents{0}; ///< in remap_record::links
    std::uint32_t parent_count{0};
    std::uint32_t rule{0}; ///< 1-based; 0: stood in the source
    std::uint32_t prev{0};
    std::uint32_t next{0};
};

/// One application of a rule.
struct remap_change {
    std::uint32_t rule{0};
    std::uint32_t inputs{0}; ///< in remap_record::links
    std::uint32_t input_count{0};
    std::uint32_t outputs{0};
    std::uint32_t output_count{0};
    std::uint32_t dimension{0};
    bool removes{true}; ///< the inputs give way to the outputs
};

struct remap_alias {
    std::uint32_t kept{0};
    std::uint32_t gone{0};
};
/// Two nodes that a `tie` says are equal.
struct remap_equality {
    std::uint32_t left{0};
    std::uint32_t right{0};
    std::uint32_t rule{0};
};
struct remap_collision {
    std::string_view name{};
    std::vector<std::uint32_t> items{};
};

/// All that planning found.
struct remap_record final : counted {
    state_dict weights;
    key_map map;
    shared<gather_plan> plan{};
    arena names{};
    std::vector<remap_item> items{};
    std::vector<std::uint32_t> links{};
    std::vector<remap_change> changes{};    ///< in the order of the steps
    std::vector<std::uint32_t> step_ends{}; ///< how many changes there were after each step
    std::vector<remap_change> dropped{};    ///< inputs only
    std::vector<remap_alias> aliased{};
    std::vector<remap_equality> equalities{};
    std::vector<remap_collision> collisions{};
    std::vector<char> used{}; ///< by rule
    std::vector<error> errors{};

    remap_record(const state_dict& w, const key_map& m) : weights{w}, map{m} {}
    [[nodiscard]] const rule_code& rule(std::uint32_t number) const noexcept {
        return map.data().rules[number - 1].code;
    }
    /// "rule 3 (drop a)": how errors name it, as it was written, so that it can be pasted back.
    [[nodiscard]] std::string named(std::uint32_t number) const {
        return "rule " + decimal(std::uint64_t{number}) + " (" + printable(rule(number).text, false) + ')';
    }
    [[nodiscard]] std::span<const std::uint32_t> linked(std::uint32_t first, std::uint32_t count) const noexcept {
        return {links.data() + first, count};
    }

    /// The item of the source with this key; 0 where there is none.
    [[nodiscard]] std::uint32_t root_named(std::string_view key) const noexcept;
    /// Sets `out` to the items of the source that `item` is made of, each once, in order.
    void roots(std::uint32_t item, std::vector<std::uint32_t>& out) const;
};

/// Null, or why no rule may give a key this name.
[[nodiscard]] const char* check_name(std::string_view name) noexcept;

[[nodiscard]] bool is_wrapper(std::string_view segment) noexcept;
/// The name without wrappers; false where there are none, and `out` is then as it was.
[[nodiscard]] bool without_wrappers(std::string_view name, std::string& out);

/// The value of an expression or of a part of a condition.
struct formula_value {
    std::int64_t number{0};
    std::string_view text{};
    ckpt::dtype type{};
    bool absent{false}; ///< a dimension that the tensor does not have: comparisons with it are false
};

class remap_planner {
  public:
    explicit remap_planner(remap_record& record) : r_{record}, plan_{*record.plan} {}

    void run();

  private:
    static constexpr std::size_t most_errors = 1000;
    static constexpr std::uint32_t tombstone = ~std::uint32_t{0};

    // ---- the list and the table

    void begin();
    void link_after(std::uint32_t item, std::uint32_t at);
    void unlink(std::uint32_t item);
    [[nodiscard]] std::uint32_t find(std::string_view name) const noexcept;
    /// 0, or the item that already has the name.
    [[nodiscard]] std::uint32_t insert(std::uint32_t item);
    void erase(std::uint32_t item) noexcept;
    void rehash();

    // ---- faults

    void fail(std::uint32_t rule, std::string what);
    void fail_at(std::uint32_t rule, std::uint32_t item, const std::string& what) {
        fail(rule, "at " + quoted(r_.items[item].name) + ": " + what);
    }
    /// False where the matcher gave up.
    [[nodiscard]] bool matches(std::uint32_t rule, const pattern_code& code, std::uint32_t item,
                               std::vector<binding_value>& slots);

    // ---- expressions, templates, conditions

    struct formula_fault {
        const char* why{nullptr};
    };
    [[nodiscard]] static std::int64_t floor_divide(std::int64_t a, std::int64_t b) noexcept;
    [[nodiscard]] static std::int64_t arithmetic(formula_op op, std::int64_t a, std::int64_t b,
                                                 formula_fault& fault) noexcept;
    [[nodiscard]] static bool compare(formula_op op, std::int64_t a, std::int64_t b) noexcept;

    formula_value evaluate(const formula& steps, const rule_code& code, std::uint32_t item,
                           const std::vector<binding_value>& slots, formula_fault& fault);
    /// Whether the comparison at `i` is one of numbers: what stands before it is its right side's last step.
    [[nodiscard]] static bool same_kind_as_number(const formula& steps, std::size_t i) noexcept;

    /// Null, or why the name cannot be formed.
    const char* render(const template_code& code, const rule_code& rule, std::uint32_t item,
                       const std::vector<binding_value>& slots, std::string& out);
    /// Whether the condition of `rule` holds for `item`; conditions are numbered by pattern for keep.
    [[nodiscard]] bool holds(const map_rule& rule, std::size_t which, std::uint32_t item,
                             const std::vector<binding_value>& slots);

    // ---- changes

    [[nodiscard]] std::string_view keep_name(std::string_view name);
    std::uint32_t new_item(std::string_view name, std::uint32_t node, std::uint32_t rule);
    [[nodiscard]] std::uint32_t link(std::span<const std::uint32_t> items);
    void change(std::uint32_t rule, std::span<const std::uint32_t> inputs, std::span<const std::uint32_t> outputs,
                bool removes, std::uint32_t dimension = 0);
    void drop(std::uint32_t rule, std::uint32_t item);
    void rename(std::uint32_t rule, std::uint32_t item, std::string_view name);
    void replace(std::uint32_t rule, std::uint32_t item, std::string_view name, std::uint32_t node);

    /// Carries out what a step changed, all at once.
    void apply(std::size_t first_change);
    /// Where each item stands in the list, from 1; 0 for those that do not.
    [[nodiscard]] std::vector<std::uint32_t> places() const;
    void resolve(const std::vector<std::uint32_t>& conflicts);

    // ---- names: strip, add, rename, drop, keep, copy, tie, fill

    /// Offers one key to one rule of the kinds that a group takes; whether the rule took it.
    bool offer(const map_rule& rule, std::uint32_t item);

    void run_group(const map_step& step);

    /// Calls `f(item)` for the keys that a pattern matches, with slots_ bound.
    template <class F> void each_match(const map_rule& rule, const pattern_code& code, F&& f) {
        if (code.literal) {
            const std::uint32_t item = find(code.literal_key());
            if (item != 0) f(item);
            return;
        }
        for (std::uint32_t item = r_.items[0].next; item != 0; item = r_.items[item].next)
            if (matches(rule.number, code, item, slots_)) f(item);
    }
    /// The same where the condition holds too; marks the rule as used.
    template <class F> void each_chosen(const map_rule& rule, F&& f) {
        each_match(rule, rule.code.patterns.front(), [&](std::uint32_t item) {
            if (!holds(rule, 0, item, slots_)) return;
            r_.used[rule.number - 1] = 1;
            f(item);
        });
    }

    void run_rule(const map_rule& rule);

    void run_keep(const map_rule& rule);

    void run_copy(const map_rule& rule);
    /// The name in text_ for the tensor of `item`, behind it.
    void add_name(std::uint32_t rule, std::uint32_t item);

    void run_tie(const map_rule& rule);

    void run_fill(const map_rule& rule);

    // ---- structure

    [[nodiscard]] static std::string describe(const gather_node& node) {
        return std::string(ckpt::name(node.type)) + ' ' + list_of(node.sizes());
    }
    /// Whether the elements of `item` can be taken apart: strided, whole bytes, not too deep.
    [[nodiscard]] bool usable(std::uint32_t rule, std::uint32_t item);
    [[nodiscard]] static bool fits(std::span<const std::int64_t> shape, ckpt::dtype type) noexcept;
    /// Whether a node that is gathered, or read while the plan is carried out, is in proportion to what is stored.
    [[nodiscard]] bool in_proportion(std::uint32_t rule, std::uint32_t item, std::uint32_t node, bool is_read = false);
    /// `d` counted from the front; false where there is no such dimension. `extra`: 1 for a new dimension.
    [[nodiscard]] bool dimension(std::uint32_t rule, std::uint32_t item, std::int64_t d, std::uint32_t extra,
                                 std::uint32_t& out);
    [[nodiscard]] std::vector<std::int64_t> shape_of(std::uint32_t node) const {
        return {plan_.node(node).sizes().begin(), plan_.node(node).sizes().end()};
    }

    void run_split(const map_rule& rule);
    /// The shape with dimension `d` taken apart into three.
    [[nodiscard]] static std::vector<std::int64_t> unfolded(std::vector<std::int64_t> shape, std::uint32_t d,
                                                            std::int64_t a, std::int64_t b, std::int64_t c);
    [[nodiscard]] bool split_qkv(const map_rule& rule, std::uint32_t item, std::uint32_t d,
                                 std::vector<std::uint32_t>& nodes);

    /// Parts of one tensor, by what the captures of the rule's patterns are bound to.
    struct part_set {
        std::vector<std::pair<std::int64_t, std::uint32_t>> parts{}; ///< number of the part, item
        std::vector<binding_value> slots{};                          ///< as the first part that was met binds them
        std::vector<binding_value> first_slots{};                    ///< as part 0 binds them
    };
    [[nodiscard]] static std::string set_name(const std::vector<binding_value>& slots, std::size_t count,
                                              std::int32_t without);
    void collect(const map_rule& rule, std::vector<part_set>& sets);
    /// The key that a part would have, for messages.
    [[nodiscard]] static std::string spell(const pattern_code& code, const std::vector<binding_value>& slots,
                                           std::int32_t counter, std::int64_t number);
    /// Whether `set` holds the parts 0 to n-1, each once, and the condition holds for the first; n is 0 for stack.
    [[nodiscard]] bool complete(const map_rule& rule, const part_set& set, std::size_t n);
    /// Whether all parts agree in dtype and in shape, but for dimension `but`.
    [[nodiscard]] bool agree(const map_rule& rule, const part_set& set, std::uint32_t but);

    void run_merge(const map_rule& rule);
    void finish(const map_rule& rule, const part_set& set, std::span<const std::uint32_t> inputs, std::uint32_t node,
                std::uint32_t d);
    [[nodiscard]] bool merge_qkv(const map_rule& rule, std::uint32_t head_item, std::uint32_t d,
                                 std::vector<std::uint32_t>& nodes, const std::vector<std::int64_t>& whole,
                                 std::uint32_t& out);

    void run_stack(const map_rule& rule);

    void run_unstack(const map_rule& rule);

    void run_transform(const map_rule& rule);
    /// Sets `node` to the tensor that the rule makes of it; false where it cannot.
    [[nodiscard]] bool transform(const map_rule& rule, std::uint32_t item, std::uint32_t& node, std::uint32_t& d);
    [[nodiscard]] bool reshape(const map_rule& rule, std::uint32_t item, std::uint32_t& node);

    // ---- values

    /// One element of `type` with the value that `text` says; null, or why there is none.
    [[nodiscard]] static const char* encode(std::string_view text, ckpt::dtype type, std::array<std::byte, 16>& out);

    remap_record& r_;
    gather_plan& plan_;
    std::vector<std::uint32_t> table_{};
    std::size_t filled_{0};
    std::vector<std::uint32_t> step_drops_{};
    std::vector<binding_value> slots_{};
    std::string text_{};
    matcher matcher_{};
    bool gave_up_{false};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/remap_planner.ipp>
#endif
