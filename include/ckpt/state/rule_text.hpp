// ckpt/state/rule_text.hpp: writes the words of key rules.
//
// SPDX-License-Identifier: MIT
// In:      keys, prefixes, patterns and templates.
// Out:     words that the parser of key_rules.hpp reads back as the same.
// Refuses: nothing. Keys with control characters make a text that the parser refuses.
#pragma once

#include <ckpt/core/config.hpp>

#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Appends a word of a rule, in quotes where it would mean something else without them.
void append_rule_word(std::string& out, std::string_view word);

/// Appends a character of a key to a pattern or template, escaped where it would mean something else.
void append_literal(std::string& out, char c);
/// Appends a key as a pattern or template that means just it.
void append_key_word(std::string& out, std::string_view key);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/rule_text.ipp>
#endif
