// ckpt/core/impl/error.ipp: the definitions of error.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/core/utf8.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE void append_escaped(std::string& out, std::string_view text, bool in_quotes) {
    constexpr char digits[] = "0123456789abcdef";
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t n = utf8_length(text, i);
        const auto c = static_cast<unsigned char>(text[i]);
        if (n == 0 || invisible(utf8_point(text, i, n))) {
            for (std::size_t k = 0; k < (n == 0 ? 1 : n); ++k) {
                const auto b = static_cast<unsigned char>(text[i + k]);
                if (b == '\n') out += "\\n";
                else if (b == '\t') out += "\\t";
                else (out += "\\x").append(1, digits[b >> 4]).append(1, digits[b & 15]);
            }
            i += n == 0 ? 1 : n;
            continue;
        }
        if (in_quotes && (c == '"' || c == '\\')) out += '\\';
        out.append(text.substr(i, n));
        i += n;
    }
}

CKPT_DETAIL_RARE std::string printable(std::string_view text, bool in_quotes) {
    std::string out;
    if (text.size() <= quoted_limit) {
        append_escaped(out, text, in_quotes);
        return out;
    }
    // Cut between UTF-8 sequences, so that the escaping does not show halves of characters.
    std::size_t head = 40;
    while (head > 36 && (static_cast<unsigned char>(text[head]) & 0xC0) == 0x80) --head;
    std::size_t tail = text.size() - 20;
    while (tail < text.size() - 16 && (static_cast<unsigned char>(text[tail]) & 0xC0) == 0x80) ++tail;
    append_escaped(out, text.substr(0, head), in_quotes);
    out += "...";
    append_escaped(out, text.substr(tail), in_quotes);
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_RARE std::string error::advice() const {
    std::string out;
    for (std::size_t i = 0; i < hint.size();) {
        const std::string_view rest = hint.substr(i);
        if (rest.starts_with("{module}")) {
            out += detail::printable(module);
            i += std::string_view{"{module}"}.size();
        } else if (rest.starts_with("{name}")) {
            out += detail::printable(name);
            i += std::string_view{"{name}"}.size();
        } else {
            out += hint[i++];
        }
    }
    return out;
}

CKPT_DETAIL_RARE std::string error::message() const {
    std::string out;
    out += info(code).name;
    out += detail::str_cat(" (", static_cast<std::uint16_t>(code), "): ");
    out += detail.empty() ? std::string(info(code).meaning) : detail;
    std::string place;
    const auto add = [&place](std::string_view separator, const std::string& text) {
        if (!place.empty()) place += separator;
        place += text;
    };
    if (!file.empty()) add("", detail::printable(file));
    if (!record.empty()) add(": ", detail::printable(record));
    if (offset != no_offset) add(" ", detail::str_cat("at ", detail::hexadecimal(offset)));
    if (!opcode_name.empty()) add(", ", detail::str_cat("opcode ", opcode_name));
    if (!path.empty()) add(", ", detail::str_cat("under ", detail::printable(path)));
    if (!place.empty()) out += detail::str_cat("; ", place);
    if (code == errc::global_not_allowed) out += "; nothing was run";
    if (!hint.empty()) out += detail::str_cat(". ", advice());
    if (out.size() > detail::message_limit) {
        std::size_t cut = detail::message_limit - 3;
        while (cut > 0 && (static_cast<unsigned char>(out[cut]) & 0xC0) == 0x80) --cut;
        out.resize(cut);
        out += "...";
    }
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
