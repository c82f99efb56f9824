// tools/key_parts.hpp: the parts of a key between its dots, some of which are numbers.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tool {

using key_parts = std::vector<std::string>;

/// Parts of a key that are looked at when lines are merged.
inline constexpr std::size_t deepest_part = 16;

[[nodiscard]] key_parts split(std::string_view key);
[[nodiscard]] std::string joined(const key_parts& parts);

/// A number as PyTorch counts modules: digits without a leading zero.
[[nodiscard]] std::optional<std::int64_t> counter(std::string_view part);

/// What stands for the numbers of a range, such as `{0..31}`.
[[nodiscard]] std::string range(std::int64_t first, std::int64_t last);

} // namespace tool
