// ckpt/state/impl/key_map.ipp: the definitions of key_map.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/key_map.hpp>

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

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF std::string rule::line() const {
    if (!short_form_) return std::string(words_[0]);
    std::string out(name(verb_));
    if (verb_ == detail::rule_verb::strip_wrappers) return out + " wrappers";
    for (std::size_t i = 0; i < count_; ++i) {
        out += i == 0 ? " " : verb_ == detail::rule_verb::keep ? ", " : " -> ";
        detail::append_rule_word(out, words_[i]);
    }
    return out;
}

CKPT_DETAIL_DEF std::string parse_error::pretty() const {
    std::string out = error.detail;
    if (line != 0) out += "\n  " + line_text + "\n  " + std::string(caret, ' ') + std::string(width, '^');
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

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

CKPT_DETAIL_DEF std::string_view key_map_data::own(std::string_view text) {
    texts.push_back(detail::make_shared<owned_text>());
    texts.back()->text = text;
    return texts.back()->text;
}

CKPT_DETAIL_DEF void key_map_data::add_known(std::string_view line, bool in_group) {
    const std::string_view text = own(line);
    syntax_fault fault;
    (void)add(text, 0, end_of_rule(text, 0, text.size()), fault, in_group);
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

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF result<key_map> key_map::parse(std::string_view text, std::string_view name, parse_error* where) {
    auto made = detail::make_shared<detail::key_map_data>();
    const std::string_view kept = made->own(text);
    detail::syntax_fault fault;
    const bool too_long = text.size() > detail::rules_text_limit;
    if (!too_long && read(*made, kept, fault)) {
        key_map out;
        out.data_ = std::move(made);
        return out;
    }
    parse_error problem;
    problem.name = name;
    problem.error.code = too_long ? errc::rules_unreadable : errc::rule_invalid;
    if (too_long) {
        problem.error.detail = detail::printable(name) + ": the rules are " +
                               detail::decimal(std::uint64_t{text.size()}) + " bytes long, at most 1 MiB is read";
    } else {
        detail::locate(text, fault, problem);
        problem.error.offset = fault.from;
        problem.error.detail =
            detail::printable(name) + ':' + detail::decimal(std::uint64_t{problem.line}) + ": " + fault.message(text);
    }
    if (where != nullptr) *where = problem;
    return std::move(problem.error);
}

CKPT_DETAIL_DEF std::string key_map::text() const {
    std::string out;
    for (const detail::map_step& step : data_->steps) {
        if (step.group) out += "first {\n";
        for (std::uint32_t i = 0; i < step.count; ++i)
            out.append(step.group ? "  " : "").append(data_->rules[step.first + i].code.text).append("\n");
        if (step.group) out += "}\n";
    }
    return out;
}

CKPT_DETAIL_DEF bool key_map::read(detail::key_map_data& to, std::string_view text, detail::syntax_fault& fault) {
    bool in_group = false;
    std::size_t opened = 0;
    for (std::size_t at = text.starts_with("\xEF\xBB\xBF") ? 3 : 0; at < text.size();) {
        const std::size_t line_end = text.find('\n', at);
        std::size_t end = line_end == std::string_view::npos ? text.size() : line_end;
        const std::size_t next = line_end == std::string_view::npos ? end : end + 1;
        if (end > at && text[end - 1] == '\r' && line_end != std::string_view::npos) --end;
        if (!detail::check_rule_text(text, at, end, fault)) return false;
        end = detail::end_of_rule(text, at, end);
        while (at < end && (text[at] == ' ' || text[at] == '\t')) ++at;
        while (end > at && (text[end - 1] == ' ' || text[end - 1] == '\t')) --end;
        const std::string_view line = text.substr(at, end - at);
        if (line == "}") {
            if (!in_group) return fault.fail("ckpt: a closing brace without a group", at, end);
            in_group = false;
        } else if (is_first(line)) {
            if (in_group) return fault.fail("ckpt: a group inside a group", at, end);
            in_group = true;
            opened = at;
            to.begin_group();
        } else if (line.starts_with("first") &&
                   (line.size() == 5 || line[5] == ' ' || line[5] == '\t' || line[5] == '{')) {
            return fault.fail("ckpt: a group begins with first { at the end of its line", at, end);
        } else if (!line.empty()) {
            if (line.front() == '?') {
                std::size_t word = 1;
                while (word < line.size() && (line[word] == ' ' || line[word] == '\t')) ++word;
                if (is_first(line.substr(word))) return fault.fail("ckpt: ? does not stand before first", at, at + 1);
            }
            if (!to.add(text, at, end, fault, in_group)) return false;
            if (in_group && !detail::may_stand_in_group(to.rules.back().code.verb))
                return fault.fail("ckpt: {it} cannot stand in a group, which takes strip, add, rename and drop", at,
                                  end);
        }
        at = next;
    }
    if (in_group) return fault.fail("ckpt: a group that is not closed", opened, opened + 5);
    return true;
}

CKPT_DETAIL_DEF bool key_map::is_first(std::string_view line) noexcept {
    if (!line.starts_with("first") || line.back() != '{') return false;
    for (const char c : line.substr(5, line.size() - 6))
        if (c != ' ' && c != '\t') return false;
    return true;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
