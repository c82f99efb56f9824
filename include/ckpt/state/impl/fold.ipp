// ckpt/state/impl/fold.ipp: the definitions of fold.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/core/short_list.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/fold.hpp>

#include <algorithm>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF std::string report_text(std::string_view text) {
    constexpr std::size_t longest = 240;
    std::string out;
    if (text.size() <= longest) {
        append_escaped(out, text);
        return out;
    }
    append_escaped(out, text.substr(0, longest / 2));
    out += "...";
    append_escaped(out, text.substr(text.size() - longest / 4));
    return out;
}

CKPT_DETAIL_DEF key_folding::key_folding(std::span<const std::string> keys) {
    const std::size_t n = (std::min)(keys.size(), most_keys);
    rows_.reserve(n);
    for (std::size_t i = 0; i < n; ++i) rows_.push_back(split(keys[i], i));
    std::size_t longest = 0;
    for (const row& r : rows_) longest = (std::max)(longest, r.segments.size());
    for (const bool numbers : {true, false})
        for (std::size_t at = longest; at-- > 0 && rows_.size() > 1;) merge(at, numbers);
    sort_values(rows_, [](const row& a, const row& b) { return a.first < b.first; });
    unseen_ = keys.size() - n;
}

CKPT_DETAIL_DEF void key_folding::append_to(std::string& out, std::string_view indent, std::size_t most) const {
    const std::string before_rest = std::string(indent) + '+';
    short_list list{out, {.most = most, .separator = "", .before_rest = before_rest, .after_rest = " more\n"}};
    list.skip(unseen_);
    for (std::size_t i = 0; i < rows_.size(); ++i) {
        const row& r = rows_[i];
        if (i >= most) {
            list.skip(r.count); // keys are counted, not lines
            continue;
        }
        (void)list.next();
        out += indent;
        std::string joined;
        for (const std::string& segment : r.segments) {
            if (&segment != &r.segments.front()) joined += '.';
            joined += segment;
        }
        out += report_text(joined);
        if (r.count > 1) out += str_cat(" (", r.count, ")");
        out += '\n';
    }
    list.end();
}

CKPT_DETAIL_DEF key_folding::row key_folding::split(std::string_view key, std::size_t place) {
    row out;
    out.first = place;
    while (out.segments.size() < most_segments) {
        const std::size_t dot = key.find('.');
        out.segments.emplace_back(key.substr(0, dot));
        if (dot == std::string_view::npos) return out;
        key.remove_prefix(dot + 1);
    }
    out.segments.back().append(".").append(key);
    return out;
}

CKPT_DETAIL_DEF bool key_folding::is_number(std::string_view s) noexcept {
    if (s.empty() || s.size() > 9 || (s.size() > 1 && s[0] == '0')) return false;
    for (const char c : s)
        if (c < '0' || c > '9') return false;
    return true;
}

CKPT_DETAIL_DEF std::uint32_t key_folding::number(std::string_view s) noexcept {
    std::uint32_t out = 0;
    (void)parse_decimal(s, out);
    return out;
}

CKPT_DETAIL_DEF std::string key_folding::ranges(std::vector<std::uint32_t> numbers) {
    sort_values(numbers);
    std::string out = "{";
    for (std::size_t i = 0; i < numbers.size();) {
        std::size_t end = i + 1;
        while (end < numbers.size() && numbers[end] == numbers[end - 1] + 1) ++end;
        if (end - i < 3) end = i + 1;
        if (i > 0) out += ',';
        out += decimal(std::uint64_t{numbers[i]});
        if (end - i > 1) out += str_cat("..", numbers[end - 1]);
        i = end;
    }
    return out + '}';
}

CKPT_DETAIL_DEF void key_folding::merge(std::size_t at, bool numbers) {
    const auto fits = [&](const row& r) {
        return r.segments.size() > at && is_number(r.segments[at]) == numbers &&
               r.segments[at].find_first_of("{.") == std::string::npos;
    };
    const auto less = [&](const row& a, const row& b) {
        const bool in_a = fits(a);
        const bool in_b = fits(b);
        if (in_a != in_b) return in_a;
        if (!in_a) return a.first < b.first;
        if (a.segments.size() != b.segments.size()) return a.segments.size() < b.segments.size();
        for (std::size_t i = 0; i < a.segments.size(); ++i) {
            if (i == at) continue;
            if (const int c = a.segments[i].compare(b.segments[i]); c != 0) return c < 0;
        }
        return a.first < b.first;
    };
    const auto together = [&](const row& a, const row& b) {
        if (!fits(b) || a.segments.size() != b.segments.size()) return false;
        for (std::size_t i = 0; i < a.segments.size(); ++i)
            if (i != at && a.segments[i] != b.segments[i]) return false;
        return true;
    };
    sort_values(rows_, less);
    std::size_t kept = 0;
    for (std::size_t i = 0; i < rows_.size();) {
        std::size_t end = i + 1;
        if (fits(rows_[i]))
            while (end < rows_.size() && together(rows_[i], rows_[end])) ++end;
        if (end - i > 1 && (numbers || end - i <= most_names)) {
            row whole = std::move(rows_[i]);
            std::vector<std::uint32_t> members;
            std::string names = str_cat("{", whole.segments[at]);
            if (numbers) members.push_back(number(whole.segments[at]));
            for (std::size_t k = i + 1; k < end; ++k) {
                if (numbers) members.push_back(number(rows_[k].segments[at]));
                else names += str_cat(",", rows_[k].segments[at]);
                whole.count += rows_[k].count;
                whole.first = (std::min)(whole.first, rows_[k].first);
            }
            whole.segments[at] = numbers ? ranges(std::move(members)) : names + '}';
            rows_[kept++] = std::move(whole);
        } else {
            for (std::size_t k = i; k < end; ++k, ++kept)
                if (kept != k) rows_[kept] = std::move(rows_[k]);
        }
        i = end;
    }
    rows_.resize(kept);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
