// ckpt/state/remap.hpp: applies a key_map to a state_dict, or plans it.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict and a key_map.
// Out:     `plan_remap`: every move with its rule; dropped, merged and filled keys, unused rules; the inverse.
//          `remap`: the state_dict with new keys, without a copy; tensors that are not strided views of stored ones are
//          gathered when they are read.
// Refuses: `plan_remap` nothing: faults are listed. `remap` a plan with collisions or errors, and a tie whose two sides
//          are not equal.
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/state/key_map.hpp>
#include <ckpt/state/state_dict.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

struct remap_record;
struct remap_plan_access;

} // namespace detail

/// What `remap` would do. `plan_remap` fills all lists, without reading or copying elements. A plan owns its text, and
/// shares ownership of the file and the map, so it may outlive both. Rules are numbered from 1 in the order of the map;
/// each rule of a group has its own number.
struct remap_plan {
    /// A source key and a key of the result that is made from it. A merge has several moves to one key.
    struct move {
        std::string from{};
        std::string to{};
        std::string_view op{}; ///< verb of the last rule that changed it: "rename", "merge"; static text
        std::size_t rule{0};   ///< number of that rule
    };
    struct drop {
        std::string from{}; ///< key of the source
        std::size_t rule{0};
    };
    /// Two source keys that get the same name and are the same view of the same storage.
    struct alias {
        std::string key{};     ///< the source key that the result does not have
        std::string same_as{}; ///< the source key whose entry is kept for both
    };
    /// Different tensors whose source keys get the same name.
    struct collision {
        std::string to{};
        std::vector<std::string> from{};  ///< their source keys
        std::vector<std::size_t> rules{}; ///< for each the rule that gave it the name; 0 where it had the name already
    };

    std::vector<move> moves{}; ///< in the order of the result; none for keys that no rule changed
    std::vector<drop> dropped{};
    std::vector<alias> aliased{};
    std::vector<std::string> filled{};       ///< keys of the result that are not made from a source key
    std::vector<std::size_t> unused_rules{}; ///< numbers of rules that matched nothing and are not marked with `?`
    std::vector<collision> collisions{};
    std::vector<ckpt::error> errors{}; ///< `remap_failed`, each naming a rule and, where there is one, a key

    /// Whether `remap` would succeed, except for equalities and casts, which depend on the values.
    [[nodiscard]] bool ok() const noexcept { return collisions.empty() && errors.empty(); }
    /// The keys of the result, in order.
    [[nodiscard]] std::vector<std::string> keys() const;
    /// The text of a rule as it was written, by its number.
    [[nodiscard]] std::string rule_text(std::size_t number) const;

    /// The effect of one rule on a key.
    struct trace_line {
        std::size_t rule{0};
        std::vector<std::string> before{};
        std::vector<std::string> after{}; ///< empty: dropped
        std::string what{};               ///< dtype and shape of the result: "float32 [4, 2]"
    };
    /// The effects of all rules on `key`, a key of the source or of the result; empty where no rule changed it. Fails
    /// with `key_missing` where neither has such a key.
    [[nodiscard]] result<std::vector<trace_line>> explain(std::string_view key) const;

    /// Succeeds if there is an inverse. Fails with `not_reversible`, which names the first rule that prevents it, and
    /// as `remap` does where the plan is not ok.
    [[nodiscard]] result<void> reversible() const;
    /// A map from the result back to the source: its names and its tensors, bit for bit; the order of the keys may
    /// differ. Fails as `reversible` does.
    [[nodiscard]] result<key_map> inverse() const;

    remap_plan(const remap_plan& other);
    remap_plan(remap_plan&& other) noexcept;
    remap_plan& operator=(const remap_plan& other);
    remap_plan& operator=(remap_plan&& other) noexcept;
    ~remap_plan();

  private:
    friend struct detail::remap_plan_access;
    friend remap_plan plan_remap(const state_dict& weights, const key_map& map);
    friend result<ckpt::state_dict> remap(const remap_plan& plan);

    explicit remap_plan(detail::shared<detail::remap_record> record) noexcept;
    /// The first fault of a plan that is not ok, with counts.
    [[nodiscard]] ckpt::error failure() const;

    detail::shared<detail::remap_record> record_;
};

/// Plans what `map` does to the keys of `weights`. Never fails: faults are listed in the plan. Reads no element.
[[nodiscard]] remap_plan plan_remap(const state_dict& weights, const key_map& map);

/// Executes a plan: returns the state_dict with its new keys. Fails with `remap_failed` where the plan is not ok, and
/// with `equality_broken` where two tensors that a rule ties are not equal; elements are read only to compare them. The
/// result shares ownership of the files of its source.
[[nodiscard]] result<state_dict> remap(const remap_plan& plan);
/// `remap(plan_remap(weights, map))`.
[[nodiscard]] result<state_dict> remap(const state_dict& weights, const key_map& map);

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/remap.ipp>
#endif
