// ckpt/state/impl/object_path.ipp: the definitions of object_path.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/key_path.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/state/object_path.hpp>

#include <cstddef>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Bytes as Python shows them: b'a\x00'.
inline void append_bytes(std::string& out, std::string_view raw) {
    constexpr char digits[] = "0123456789abcdef";
    const char quote = raw.find('\'') != raw.npos && raw.find('"') == raw.npos ? '"' : '\'';
    (out += 'b') += quote;
    for (const char c : raw) {
        const auto b = static_cast<unsigned char>(c);
        if (c == quote || c == '\\') (out += '\\') += c;
        else if (c == '\n') out += "\\n";
        else if (c == '\r') out += "\\r";
        else if (c == '\t') out += "\\t";
        else if (b < 0x20 || b >= 0x7F) ((out += "\\x") += digits[b >> 4]) += digits[b & 15];
        else out += c;
    }
    out += quote;
}

/// A float as Python shows it: 1 is "1.0".
inline void append_real(std::string& out, double real) {
    const std::string text = shortest(real);
    out += text;
    if (text.find_first_not_of("-0123456789") == std::string_view::npos) out += ".0";
}

/// A key that is no tuple. Inside a tuple a str stands in quotes: ('a', 1).
inline void append_key(std::string& out, const value& v, bool in_tuple) {
    switch (v.kind()) {
    case kind::string:
        if (in_tuple) (out += '\'').append(*v.as_string()) += '\'';
        else out += *v.as_string();
        return;
    case kind::integer:
        if (const auto i = v.as_int()) out += decimal(*i);
        else out += "<int>";
        return;
    case kind::bytes: {
        const auto bytes = *v.as_bytes();
        append_bytes(out, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
        return;
    }
    case kind::boolean: out += *v.as_bool() ? "True" : "False"; return;
    case kind::none: out += "None"; return;
    case kind::real: append_real(out, *v.as_real()); return;
    case kind::global: {
        const auto g = *v.as_global();
        (out.append(g.module) += '.').append(g.name);
        return;
    }
    default: (out += '<').append(name(v.kind())) += '>'; return;
    }
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF std::string key_text(const value& key) {
    std::string out;
    if (key.kind() != kind::tuple) {
        detail::append_key(out, key, false);
        return out;
    }
    out += '(';
    std::size_t n = 0;
    for (const value v : key.elements()) {
        if (n++ > 0) out += ", ";
        if (n > 16) {
            out += "...";
            break;
        }
        detail::append_key(out, v, true);
    }
    if (n == 1) out += ',';
    out += ')';
    return out;
}

CKPT_DETAIL_DEF std::string detail::path_text(std::span<const path_element> path) {
    std::string out;
    for (const path_element& e : path) append_path_element(out, e.text, &e == path.data());
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
