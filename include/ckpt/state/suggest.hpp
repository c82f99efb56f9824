// ckpt/state/suggest.hpp: key rules that somebody could have written, from names and shapes alone.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict, and the keys that a program wants, with their shapes where they are known.
// Out:     a rules text to read and to correct, with what it does not explain as comments. Nothing is applied.
// Refuses: nothing. What the text claims was checked by planning it; names and shapes cannot prove more than that.
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

/// A key that shall come out, and its shape where it is known.
struct wanted_tensor {
    std::string key{};
    std::optional<std::vector<std::int64_t>> shape{};
};

struct rule_suggestion {
    std::string text{};                             ///< `key_map::parse` reads it; comments say what is uncertain
    std::vector<std::string> unexplained_sources{}; ///< keys that the rules lead to nothing that is wanted
    std::vector<std::string> unexplained_targets{}; ///< wanted keys that nothing becomes, or only with another shape
    std::size_t matched{};                          ///< wanted keys that come out, in their shape
};

/// Rules that lead from the keys of `weights` to the wanted ones, as far as names and shapes tell: prefixes, renames,
/// queries, keys and values fused or taken apart, matrices transposed. Never fails, reads no element, changes nothing;
/// what it returns borrows nothing. Keys that differ in numbers only are matched together, so that the work is bounded
/// by the number of keys and not by its square.
[[nodiscard]] rule_suggestion suggest_rules(const state_dict& weights, std::span<const wanted_tensor> wanted);

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/suggest.ipp>
#endif
