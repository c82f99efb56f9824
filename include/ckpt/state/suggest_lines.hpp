// ckpt/state/suggest_lines.hpp: the links of a suggestion as rules.
//
// SPDX-License-Identifier: MIT
// In:      links of families.
// Out:     lines of a rules text: one for each link, for links that differ in their last word, for whole modules, or
//          for each key.
// Refuses: nothing; whether the rules do what the links say is for the planner to tell.
#pragma once

#include <ckpt/state/suggestion.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// A rule, with the links that it stands for.
struct suggested_line {
    std::string text{};
    surety sure{};
    link_kind kind{};
    std::size_t order{}; ///< of its first link
    std::vector<std::size_t> links{};
};

/// `rename from -> to`, about one key.
[[nodiscard]] std::string literal_rename(std::string_view from, std::string_view to);
/// The rule of a link. The last `leaf` bytes of its patterns and templates are replaced.
[[nodiscard]] std::string rule_of(const family_link& l, std::size_t leaf = 0, std::string_view in_pattern = {},
                                  std::string_view in_template = {});

/// The rule that transposes the sources of a link.
[[nodiscard]] std::string rule_of_turn(const family_link& l);

class line_writer {
  public:
    explicit line_writer(const suggestion& of);

    /// One line for links that differ in their last word only.
    [[nodiscard]] std::vector<suggested_line> specific(const std::vector<std::size_t>& which) const;
    /// Modules whose whole content moves: `rename F.{rest:**} -> T.{rest}` for many links, which are taken out of
    /// `which`.
    [[nodiscard]] std::vector<suggested_line> modules(std::vector<std::size_t>& which) const;
    /// Each key by itself: what cannot go wrong.
    [[nodiscard]] std::vector<suggested_line> literal(const std::vector<std::size_t>& which) const;
    /// Leaves out the patterns beyond the first `most`, those that explain least.
    void cut(std::vector<suggested_line>& lines, std::size_t most) const;

  private:
    /// Links of renames whose names end in the same segments.
    struct module_move {
        std::string from{}; ///< pattern of what stands before those segments
        std::string to{};
        family_grain grain{};
        std::vector<std::size_t> links{};
        std::size_t tails{0}; ///< how many different ends there are
    };
    [[nodiscard]] std::vector<module_move> module_moves(const std::vector<std::size_t>& which) const;
    /// Whether a rule about the module would take along a key that keeps its name, or one that is a guess.
    [[nodiscard]] bool takes_others_along(const module_move& move) const;
    [[nodiscard]] std::string rule_of_module(const module_move& move) const;

    const suggestion& of_;
    std::unordered_set<std::uint32_t> moved_{}; ///< sources of links that are no guesses
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/suggest_lines.ipp>
#endif
