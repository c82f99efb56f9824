// tools/values.hpp: the values of a tensor, as numpy prints them and as JSON.
//
// SPDX-License-Identifier: MIT
// In:      a strided tensor of any dtype; how many values may be written.
// Out:     text in the form of numpy 2.4; nested arrays of JSON.
// Refuses: what the library refuses to read, and more dimensions than text can show the edges of.
#pragma once

#include "json.hpp"

#include <ckpt/ckpt.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

namespace tool {

/// How many values are shown of a tensor without --values, and with it.
inline constexpr std::uint64_t few_values = 64;
inline constexpr std::uint64_t many_values = 1000;

/// The text of numpy.array2string: all values if there are at most `most`, else the first and last of each dimension.
/// Lines have at most `line_width` columns, where words allow it. bfloat16, float8 and quantised values are float32.
[[nodiscard]] ckpt::result<std::string> values_text(const ckpt::tensor& t, std::uint64_t most, std::size_t line_width);

/// Writes all values as nested arrays, an empty one where there are none. Fails before anything is written.
[[nodiscard]] ckpt::result<void> write_values(json& to, const ckpt::tensor& t);

} // namespace tool
