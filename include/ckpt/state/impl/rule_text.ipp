// ckpt/state/impl/rule_text.ipp: the definitions of rule_text.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/rule_text.hpp>

#include <cstddef>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF void append_rule_word(std::string& out, std::string_view word) {
    bool quotes = word.empty() || word.front() == '#' || word.front() == '[' || word.front() == '?' ||
                  word.starts_with("qkv(") || word == "where" || word == "with" || word == "by" || word == "wrappers";
    for (std::size_t i = 0; i < word.size(); ++i) {
        const char c = word[i];
        quotes = quotes || c == ' ' || c == '\t' || c == ',' || c == '=' || c == '"' ||
                 (c == '-' && i + 1 < word.size() && word[i + 1] == '>');
    }
    // A word that is digits only could be read as a dimension.
    quotes = quotes || word.find_first_not_of("-0123456789") == std::string_view::npos;
    if (!quotes) {
        out += word;
        return;
    }
    out += '"';
    for (const char c : word) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    out += '"';
}

CKPT_DETAIL_DEF void append_literal(std::string& out, char c) {
    if (c == '\\' || c == '{' || c == '}' || c == '*') out += '\\';
    out += c;
}

CKPT_DETAIL_DEF void append_key_word(std::string& out, std::string_view key) {
    std::string literal;
    for (const char c : key) append_literal(literal, c);
    append_rule_word(out, literal);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
