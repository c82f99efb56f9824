// ckpt/state/suggest_prefixes.hpp: rules that take a prefix off all keys, or put one on.
//
// SPDX-License-Identifier: MIT
// In:      a suggestion in which nothing is matched yet.
// Out:     its rules about prefixes, and the names of the sources after them.
// Refuses: rules after which two keys would have one name, such as change many keys and match few, and prefixes that
//          are not the only ones: "model." and "ema." before the same names.
#pragma once

#include <ckpt/state/suggestion.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Whether a line is a rule. A key with a line feed at its end would leave a rule about another key before it.
[[nodiscard]] bool is_rule(std::string_view line);

class prefix_finder {
  public:
    explicit prefix_finder(suggestion& to) : to_{to} {}

    void run();

  private:
    struct prefix_rule {
        std::string line{};
        std::string strip{};
        std::string add{};
        bool wrappers{false};
        [[nodiscard]] std::string apply(std::string_view name) const;
    };
    using votes = std::unordered_map<std::string, std::size_t>;

    /// Finds one more rule and applies it; whether there was one.
    bool find_one();
    /// Rules that would match keys, by the keys that ask for them.
    [[nodiscard]] std::vector<prefix_rule> candidates();
    /// Votes for each prefix without which a source that is not wanted would be.
    [[nodiscard]] votes vote_to_strip() const;
    /// Votes for each prefix with which a source would be what is wanted.
    [[nodiscard]] votes vote_to_add() const;
    /// Whether sources without its prefix would be wanted under the same names without another one.
    [[nodiscard]] bool has_rival(const prefix_rule& rule) const;
    /// How many sources are wanted after a rule; size_t(-1) where two names become one.
    [[nodiscard]] std::size_t matches_after(const prefix_rule& rule, std::size_t& changed) const;

    suggestion& to_;
    std::size_t matched_{0};      ///< sources that are wanted as they stand
    std::size_t wrapped_{0};      ///< sources with wrappers in their names
    bool targets_wrapped_{false}; ///< whether wanted keys have wrappers in their names
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/suggest_prefixes.ipp>
#endif
