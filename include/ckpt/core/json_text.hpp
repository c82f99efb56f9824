// ckpt/core/json_text.hpp: text as JSON spells it, written and read.
//
// SPDX-License-Identifier: MIT
// In:      any bytes to write; a JSON string to read.
// Out:     a JSON string; the text of one.
// Refuses: unknown escapes, strings that do not end, and what `json_dialect` says.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Appends `text` between double quotes, escaped, as valid UTF-8. A surrogate (three bytes, as a pickle holds it) is
/// written by its number, as Python writes it: \ud800. A byte that is no UTF-8 becomes a surrogate, as Python's
/// "surrogateescape" makes one: \udcff for 0xff.
void append_json(std::string& out, std::string_view text);

/// What a string that is read may contain.
enum class json_dialect : std::uint8_t {
    rfc_8259, ///< no control characters, no surrogate without its other half
    python,   ///< allows both, as Python's json module does; a lone surrogate becomes three bytes
};

/// Appends to `out` the text of a JSON string. `text[at]` is the first byte behind the opening quote; afterwards `at`
/// is the place behind the closing quote. Does not check UTF-8. Returns what is wrong, as a clause; empty where nothing
/// is.
[[nodiscard]] std::string_view unescape_json(std::string_view text, std::size_t& at, std::string& out,
                                             json_dialect dialect = json_dialect::rfc_8259);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/json_text.ipp>
#endif
