// ckpt/state/remap_record.hpp: all that planning a remap found.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict and a map; remap_planner.hpp fills the record.
// Out:     every key that ever stood there as an item: what it was made from, by which rule; the plan of the tensors.
// Refuses: nothing: plain data.
//
// An item is a name with a tensor. Items are never changed: a rename makes a new one, so that the way of a key can be
// followed in both directions. Items 1 to n are the keys of the source, in its order.
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/error.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/state/gather.hpp>
#include <ckpt/state/key_map.hpp>
#include <ckpt/state/key_map_data.hpp>
#include <ckpt/state/state_dict.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// A name with a tensor, at some time while the steps run. Item 0 is the end of the list of those that stand there now.
struct remap_item {
    std::string_view name{};
    std::uint32_t node{0};   ///< of the plan
    std::uint32_t change{0}; ///< that made it, numbered from 1; 0: it stood in the source
    std::uint32_t prev{0};
    std::uint32_t next{0};
};

/// Numbers of items. One lies here; of several, their count lies in remap_record::links, and they behind it. A plan has
/// some millions of items (limits::entries), and as many links.
struct item_list {
    static constexpr std::uint32_t several = std::uint32_t{1} << 31;

    std::uint32_t word{0}; ///< 0: none; an item; or `several` and where in links

    [[nodiscard]] bool empty() const noexcept { return word == 0; }
};

/// One application of a rule: items that it took, and items that it made of them.
struct remap_change {
    std::uint32_t rule{0}; ///< numbered from 1
    item_list inputs{};
    item_list outputs{};
    std::uint16_t dimension{0}; ///< below 64
    bool removes{true};         ///< the inputs give way to the outputs
};

/// Two items that came to one name and show one tensor.
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
/// Items that came to one name and show several tensors.
struct remap_collision {
    std::string_view name{};
    std::vector<std::uint32_t> items{};
};

struct remap_record final : counted {
    state_dict weights;
    key_map map;
    const key_map_data& rules; ///< of `map`
    shared<gather_plan> plan;
    arena names{};
    chunked_array<remap_item> items{};      ///< in `names`, too
    std::vector<std::uint32_t> links{};     ///< see item_list
    std::vector<remap_change> changes{};    ///< in the order of the steps
    std::vector<std::uint32_t> step_ends{}; ///< how many changes there were after each step
    std::vector<remap_change> dropped{};    ///< one input each
    std::vector<remap_alias> aliased{};
    std::vector<remap_equality> equalities{};
    std::vector<remap_collision> collisions{};
    std::vector<char> used{}; ///< by rule: whether it touched something
    std::vector<error> errors{};

    remap_record(const state_dict& w, const key_map& m);

    [[nodiscard]] const rule_code& rule(std::uint32_t number) const noexcept { return rules.rules[number - 1].code; }
    /// "rule 3 (drop a)": how errors name it, as it was written, so that it can be pasted back.
    [[nodiscard]] std::string named(std::uint32_t number) const;

    [[nodiscard]] std::span<const std::uint32_t> inputs(const remap_change& c) const noexcept { return list(c.inputs); }
    [[nodiscard]] std::span<const std::uint32_t> outputs(const remap_change& c) const noexcept {
        return list(c.outputs);
    }
    /// The rule that made an item; 0 for one that stood in the source.
    [[nodiscard]] std::uint32_t rule_of(std::uint32_t item) const noexcept {
        const std::uint32_t change = items[item].change;
        return change == 0 ? 0 : changes[change - 1].rule;
    }
    /// What an item was made of by that rule.
    [[nodiscard]] std::span<const std::uint32_t> parents(std::uint32_t item) const noexcept {
        const std::uint32_t change = items[item].change;
        return change == 0 ? std::span<const std::uint32_t>{} : inputs(changes[change - 1]);
    }
    [[nodiscard]] const gather_node& node_of(std::uint32_t item) const noexcept { return plan->node(items[item].node); }

    /// The item of the source with this key; 0 where there is none.
    [[nodiscard]] std::uint32_t root_named(std::string_view key) const noexcept;
    /// Sets `out` to the items of the source that `item` is made of, each once, in order.
    void roots(std::uint32_t item, std::vector<std::uint32_t>& out) const;

  private:
    [[nodiscard]] std::span<const std::uint32_t> list(const item_list& of) const noexcept {
        if ((of.word & item_list::several) == 0) return {&of.word, of.empty() ? 0u : 1u};
        const std::uint32_t* const at = links.data() + (of.word & ~item_list::several);
        return {at + 1, *at};
    }
};

/// "float32 [4, 2]".
[[nodiscard]] std::string describe(const gather_node& node);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/remap_record.ipp>
#endif
