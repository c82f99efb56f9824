// ckpt/state/impl/key_map_data.ipp: the definitions of key_map_data.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/utf8.hpp>
#include <ckpt/state/key_map.hpp>
#include <ckpt/state/key_map_data.hpp>
#include <ckpt/state/key_rules.hpp>

#include <string>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF const key_map_data& key_map_access::data(const key_map& map) noexcept { return *map.data_; }

CKPT_DETAIL_DEF key_map key_map_access::make(shared<key_map_data> data) noexcept { return key_map{std::move(data)}; }

CKPT_DETAIL_DEF std::string_view key_map_data::own(std::string_view text) {
    texts.push_back(detail::make_shared<owned_text>());
    texts.back()->text = text;
    return texts.back()->text;
}

CKPT_DETAIL_DEF bool key_map_data::add(std::string_view text, std::size_t from, std::size_t to, syntax_fault& fault,
                                       bool in_group) {
    rules.emplace_back();
    map_rule& added = rules.back();
    added.number = static_cast<std::uint32_t>(rules.size());
    if (!parse_rule(text, from, to, added.code, fault)) return false;
    if (in_group) ++steps.back().count;
    else steps.push_back({static_cast<std::uint32_t>(rules.size() - 1), 1, false});
    return true;
}

CKPT_DETAIL_DEF void key_map_data::add_known(std::string_view line, bool in_group) {
    const std::string_view text = own(line);
    syntax_fault fault;
    (void)add(text, 0, end_of_rule(text, 0, text.size()), fault, in_group);
}

/// Whether a line opens a group: `first {`.
[[nodiscard]] constexpr bool opens_group(std::string_view line) noexcept {
    if (!line.starts_with("first") || line.back() != '{') return false;
    for (const char c : line.substr(5, line.size() - 6))
        if (c != ' ' && c != '\t') return false;
    return true;
}

CKPT_DETAIL_DEF bool key_map_data::add_text(std::string_view text, syntax_fault& fault) {
    bool in_group = false;
    std::size_t opened = 0;
    for (std::size_t at = text.starts_with("\xEF\xBB\xBF") ? 3 : 0; at < text.size();) {
        const std::size_t line_end = text.find('\n', at);
        std::size_t end = line_end == std::string_view::npos ? text.size() : line_end;
        const std::size_t next = line_end == std::string_view::npos ? end : end + 1;
        if (end > at && text[end - 1] == '\r' && line_end != std::string_view::npos) --end;
        if (!check_rule_text(text, at, end, fault)) return false;
        end = end_of_rule(text, at, end);
        while (at < end && (text[at] == ' ' || text[at] == '\t')) ++at;
        while (end > at && (text[end - 1] == ' ' || text[end - 1] == '\t')) --end;
        const std::string_view line = text.substr(at, end - at);
        if (line == "}") {
            if (!in_group) return fault.fail("ckpt: a closing brace without a group", at, end);
            in_group = false;
        } else if (opens_group(line)) {
            if (in_group) return fault.fail("ckpt: a group inside a group", at, end);
            in_group = true;
            opened = at;
            begin_group();
        } else if (!line.empty() && !add_line(text, at, end, fault, in_group)) {
            return false;
        }
        at = next;
    }
    return !in_group || fault.fail("ckpt: a group that is not closed", opened, opened + 5);
}

CKPT_DETAIL_DEF bool key_map_data::add_line(std::string_view text, std::size_t from, std::size_t to,
                                            syntax_fault& fault, bool in_group) {
    const std::string_view line = text.substr(from, to - from);
    if (line.starts_with("first") && (line.size() == 5 || line[5] == ' ' || line[5] == '\t' || line[5] == '{'))
        return fault.fail("ckpt: a group begins with first { at the end of its line", from, to);
    if (line.front() == '?') {
        std::size_t word = 1;
        while (word < line.size() && (line[word] == ' ' || line[word] == '\t')) ++word;
        if (opens_group(line.substr(word))) return fault.fail("ckpt: ? does not stand before first", from, from + 1);
    }
    if (!add(text, from, to, fault, in_group)) return false;
    if (in_group && !may_stand_in_group(rules.back().code.verb))
        return fault.fail("ckpt: {it} cannot stand in a group, which takes strip, add, rename and drop", from, to);
    return true;
}

CKPT_DETAIL_DEF void locate(std::string_view text, const syntax_fault& fault, parse_error& out) {
    const std::size_t at = fault.from < text.size() ? fault.from : text.size();
    std::size_t begin = at;
    while (begin > 0 && text[begin - 1] != '\n') --begin;
    std::size_t end = text.find('\n', at);
    if (end == std::string_view::npos) end = text.size();
    if (end > begin && text[end - 1] == '\r') --end;
    out.line = 1;
    for (std::size_t i = 0; i < begin; ++i) out.line += text[i] == '\n' ? 1u : 0u;
    if (begin == 0 && text.starts_with("\xEF\xBB\xBF")) begin = 3;
    // One printed character for each code point, so that the caret stands below its place.
    std::vector<std::string> points;
    std::size_t caret = 0;
    std::size_t width = 0;
    for (std::size_t i = begin; i < end;) {
        const std::size_t n = utf8_length(text.substr(0, end), i);
        const std::size_t step = n == 0 ? 1 : n;
        if (i < at) ++caret;
        else if (i < fault.to) ++width;
        const bool plain = n != 0 && !invisible(utf8_point(text, i, n));
        points.push_back(plain ? std::string(text.substr(i, n)) : std::string(text[i] == '\t' ? " " : "?"));
        i += step;
    }
    out.column = caret + 1;
    out.width = width == 0 ? 1 : width;
    // Of a long line, the hundred characters around the place.
    constexpr std::size_t most = 100;
    std::size_t first = 0;
    std::size_t last = points.size();
    if (points.size() > most) {
        first = caret > most / 2 ? caret - most / 2 : 0;
        last = first + most < points.size() ? first + most : points.size();
    }
    if (first > 0) out.line_text += "...";
    out.caret = caret - first + out.line_text.size();
    for (std::size_t i = first; i < last; ++i) out.line_text += points[i];
    if (last < points.size()) out.line_text += "...";
    if (out.width > last - caret && last > caret) out.width = last - caret;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
