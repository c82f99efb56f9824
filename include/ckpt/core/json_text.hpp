// ckpt/core/json_text.hpp: text as JSON spells it, written and read.
//
// SPDX-License-Identifier: MIT
// In:      any bytes; what stands between the quotes of a JSON string.
// Out:     a JSON string; the text that one stands for.
// Refuses: escapes that mean nothing, strings that do not end; what `json_dialect` says.
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

/// What may stand in a string that is read.
enum class json_dialect : std::uint8_t {
    rfc_8259, ///< no control characters, no surrogate without its other half
    python,   ///< both, as Python's strings may hold them; a surrogate becomes three bytes
};

/// Appends to `out` the text of a JSON string whose opening quote stands before `text[at]`; `at` then stands behind
/// the closing one. Bytes that are no UTF-8 stay as they are. Gives what is wrong, as a clause; empty where nothing is.
[[nodiscard]] std::string_view unescape_json(std::string_view text, std::size_t& at, std::string& out,
                                             json_dialect dialect = json_dialect::rfc_8259);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/json_text.ipp>
#endif
