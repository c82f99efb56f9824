// ckpt/state/remap_sets.hpp: rules about several tensors at once: merge and stack.
//
// SPDX-License-Identifier: MIT
// In:      a rule, and the keys that its patterns match.
// Out:     one tensor for each set of parts: keys whose captures are bound to the same text belong together.
// Refuses: sets with a part missing or two for one place, parts that do not fit together, shapes that overflow.
#pragma once

#include <ckpt/core/pattern.hpp>
#include <ckpt/state/key_map_data.hpp>
#include <ckpt/state/remap_context.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class set_rules {
  public:
    explicit set_rules(remap_context& context) : c_{context} {}

    void run_merge(const map_rule& rule);
    void run_stack(const map_rule& rule);

  private:
    /// Parts of one tensor, by what the captures of the rule's patterns are bound to.
    struct part_set {
        std::vector<std::pair<std::int64_t, std::uint32_t>> parts{}; ///< number of the part, item; sorted
        std::vector<binding_value> slots{};                          ///< as one of the parts binds them
        std::vector<binding_value> first_slots{};                    ///< as part 0 binds them

        [[nodiscard]] std::uint32_t head() const noexcept { return parts.front().second; }
    };

    /// The sets of a rule, in the order of the keys, so that what is made and said does not depend on how names sort.
    [[nodiscard]] std::vector<part_set> collect(const map_rule& rule);
    /// Fails where one key would be two parts.
    bool each_key_once(const map_rule& rule, const std::vector<part_set>& sets);
    /// Whether `set` holds the parts 0 to n-1, each once, and the condition holds for the first. n is the number of
    /// patterns; of a stack, one more than the largest number that was met.
    [[nodiscard]] bool complete(const map_rule& rule, const part_set& set);
    /// Whether all parts can be taken apart and agree in dtype and in shape, but for dimension `but`, if given.
    [[nodiscard]] bool agree(const map_rule& rule, const part_set& set, std::optional<std::uint32_t> but);

    bool merge(const map_rule& rule, const part_set& set);
    /// Sets `out` to queries, keys and values in one, as the rule's layout says. `whole` is its shape.
    bool merge_qkv(const map_rule& rule, std::uint32_t head_item, std::uint32_t d, std::vector<std::uint32_t>& nodes,
                   const std::vector<std::int64_t>& whole, std::uint32_t& out);
    bool stack(const map_rule& rule, const part_set& set);
    /// Replaces the parts of a set by one tensor.
    bool finish(const map_rule& rule, const part_set& set, std::uint32_t node, std::uint32_t d);

    remap_context& c_;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/remap_sets.ipp>
#endif
