// tools/fold.hpp: long lists of keys, and of keys with what becomes of them, as people read them.
//
// SPDX-License-Identifier: MIT
// In:      pairs of a key and a key, or of a key and nothing, with a label.
// Out:     lines such as `layers.{0..31}.{q,k,v}.weight -> blocks.{0..31}.qkv.weight`, in the order of the first pair
//          of each.
// Refuses: nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tool {

struct key_pair {
    std::string from{};
    std::string to{};    // may be empty
    std::string label{}; // pairs of other labels stay apart
    std::uint64_t count{1};
};

/// Merges pairs that differ in one number on both sides, and then those that differ in one name.
[[nodiscard]] std::vector<key_pair> folded(const std::vector<key_pair>& pairs);

} // namespace tool
