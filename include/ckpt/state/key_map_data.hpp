// ckpt/state/key_map_data.hpp: the rules of a key_map, and reading a text of them.
//
// SPDX-License-Identifier: MIT
// In:      rules one by one, or a whole text with comments and groups.
// Out:     the rules as data, numbered, and the steps that they make up.
// Refuses: texts that docs/key-rules.md refuses: the first fault, with its place.
#pragma once

#include <ckpt/core/pattern.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/state/rule_code.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

class key_map;
struct parse_error;

} // namespace ckpt::inline CKPT_DETAIL_ABI

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// What is read of a text at most, in bytes.
inline constexpr std::size_t rules_text_limit = std::size_t{1} << 20;

struct map_rule {
    rule_code code{};
    std::uint32_t number{0}; ///< 1-based, in the order of the text
};
/// What the planner runs at once: one rule, or a group.
struct map_step {
    std::uint32_t first{0}; ///< place in key_map_data::rules
    std::uint32_t count{0};
    bool group{false};
};

struct key_map_data final : counted {
    std::vector<shared<owned_text>> texts{}; ///< what the rules borrow from
    std::vector<map_rule> rules{};
    std::vector<map_step> steps{};

    /// Copies a text to where it stays as long as the rules.
    [[nodiscard]] std::string_view own(std::string_view text);
    void begin_group() { steps.push_back({static_cast<std::uint32_t>(rules.size()), 0, true}); }

    /// Adds the rule in [from, to) of a text that stays, as a step or to the last group. False where it is no rule.
    bool add(std::string_view text, std::size_t from, std::size_t to, syntax_fault& fault, bool in_group);
    /// Adds a rule that is known to be one: a literal that the compiler has checked, or a line that the library wrote.
    void add_known(std::string_view line, bool in_group);
    /// Adds the rules and groups of a whole text that stays. False at the first fault.
    bool add_text(std::string_view text, syntax_fault& fault);

  private:
    /// Adds the rule in [from, to), which is no part of a group's frame. False where it cannot stand there.
    bool add_line(std::string_view text, std::size_t from, std::size_t to, syntax_fault& fault, bool in_group);
};

/// How the rest of the library looks into a key_map, and makes one of rules as data.
struct key_map_access {
    [[nodiscard]] static const key_map_data& data(const key_map& map) noexcept;
    [[nodiscard]] static key_map make(shared<key_map_data> data) noexcept;
};

/// Fills in where a fault of `text` is: line, column, and the line for people.
void locate(std::string_view text, const syntax_fault& fault, parse_error& out);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/key_map_data.ipp>
#endif
