// ckpt/state/suggest.hpp: suggests key rules from names and shapes.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict, and the keys that a program needs, with their shapes where they are known.
// Out:     a rules text for people to review and correct, with comments on uncertain and unexplained keys.
// Refuses: nothing. The rules were checked by planning them; names and shapes cannot prove more.
#pragma once

#include <ckpt/core/config.hpp>
#include <ckpt/state/state_dict.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// A key that a program needs, and its shape where it is known.
struct wanted_tensor {
    std::string key{};
    std::optional<std::vector<std::int64_t>> shape{};
};

/// The result of `suggest_rules`. Owns its text.
struct rule_suggestion {
    std::string text{};                             ///< rules for `key_map::parse`, with comments on what is uncertain
    std::vector<std::string> unexplained_sources{}; ///< keys of which the rules make no wanted one
    std::vector<std::string> unexplained_targets{}; ///< wanted keys that the rules do not make, or with another shape
    std::vector<std::string> guessed_targets{};     ///< wanted keys that the rules make, and names do not prove right
    std::size_t matched{};                          ///< number of wanted keys that the rules make, with their shape
};

/// Suggests rules that turn the keys of `weights` into the wanted ones, by names and shapes: prefixes, renames, merged
/// or split query, key and value matrices, transposed matrices. Never fails, reads no element. Keys that differ only in
/// numbers are matched together, so that the time is not quadratic in the number of keys.
[[nodiscard]] rule_suggestion suggest_rules(const state_dict& weights, std::span<const wanted_tensor> wanted);

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/suggest.ipp>
#endif
