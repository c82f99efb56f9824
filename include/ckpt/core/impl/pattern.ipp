// ckpt/core/impl/pattern.ipp: the definitions of pattern.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/core/pattern.hpp>
#include <ckpt/core/str_cat.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF std::string syntax_fault::message(std::string_view text) const {
    constexpr std::string_view prefix = "ckpt: ";
    const std::string_view sentence = why.substr(why.starts_with(prefix) ? prefix.size() : 0);
    const std::size_t it = sentence.find("{it}");
    if (it == std::string_view::npos) return std::string(sentence);
    std::string_view seen = from < text.size() ? text.substr(from, to - from) : std::string_view{};
    if (seen.find_first_not_of(" \t\r\n") == std::string_view::npos)
        seen = {}; // the fault is at the end of the rule: only blanks follow
    return std::string(sentence.substr(0, it)) + (seen.empty() ? std::string("the end of the line") : quoted(seen)) +
           std::string(sentence.substr(it + 4));
}

CKPT_DETAIL_DEF std::string pattern_code::literal_key() const {
    std::string out;
    for (std::size_t i = 0; i + 1 < elements.size(); ++i) {
        if (elements[i].kind == pattern_part::end) out += '.';
        else out += elements[i].text;
    }
    return out;
}

CKPT_DETAIL_DEF match_outcome matcher::match(const pattern_code& code, std::string_view key,
                                             std::vector<binding_value>& slots) {
    if (!key.ends_with(code.tail) || !key.starts_with(code.head)) return match_outcome::no;
    if (code.inside.size() > code.head.size() && code.inside.size() > code.tail.size() &&
        key.find(code.inside) == std::string_view::npos)
        return match_outcome::no;
    if (slots.size() < code.captures.size()) slots.resize(code.captures.size());
    code_ = &code;
    key_ = key;
    stack_.clear();
    failed_.clear();
    e_ = 0;
    p_ = 0;
    for (std::uint64_t steps = 0;; ++steps) {
        if (e_ == code.elements.size()) {
            if (p_ == key.size() + 1) return match_outcome::yes;
            if (!backtrack(slots)) return match_outcome::no;
            continue;
        }
        if (!step(code.elements[e_], slots) && !backtrack(slots)) return match_outcome::no;
        if (steps == memo_after && !code.repeats && cell(code.elements.size(), 0) <= most_cells)
            failed_.assign(cell(code.elements.size(), 0), false);
        if (steps == most_steps) return match_outcome::too_many_steps;
    }
}

CKPT_DETAIL_DEF std::size_t matcher::next_character(std::size_t p) const noexcept {
    ++p;
    while (p < key_.size() && (static_cast<unsigned char>(key_[p]) & 0xC0) == 0x80) ++p;
    return p;
}

CKPT_DETAIL_DEF bool matcher::step(const pattern_element& x, std::vector<binding_value>& slots) {
    if (x.kind == pattern_part::literal) {
        if (key_.size() < p_ + x.text.size() || key_.compare(p_, x.text.size(), x.text) != 0) return false;
        p_ += x.text.size();
        ++e_;
        return true;
    }
    if (x.kind == pattern_part::end) {
        if (!is_end(p_)) return false;
        ++p_;
        ++e_;
        return true;
    }
    if (x.repeated) return again(x, slots[static_cast<std::size_t>(x.slot)].text);
    if (!failed_.empty() && failed_[cell(e_, p_)]) return false;
    choice_point point{e_, p_, 0};
    if (x.kind == pattern_part::text || x.kind == pattern_part::integer) {
        if (p_ >= key_.size() || key_[p_] == '.' || (x.kind == pattern_part::integer && !is_digit(key_[p_])))
            return false;
        point.taken = x.kind == pattern_part::text ? next_character(p_) - p_ : 1;
    } else if (x.kind == pattern_part::choice && !next_choice(x, point)) {
        return false;
    }
    stack_.push_back(point);
    take(x, point, slots);
    return true;
}

CKPT_DETAIL_DEF bool matcher::again(const pattern_element& x, std::string_view text) {
    if (x.kind == pattern_part::choice) {
        bool known = false;
        for (std::uint32_t i = 0; i < x.count; ++i) known = known || code_->choices[x.first + i] == text;
        if (!known) return false;
    }
    if (x.kind == pattern_part::many && text.empty()) {
        ++e_;
        return true;
    }
    if (text.empty() || key_.size() < p_ + text.size() || key_.compare(p_, text.size(), text) != 0) return false;
    if (x.kind != pattern_part::many && text.find('.') != std::string_view::npos) return false;
    p_ += text.size();
    if (x.kind == pattern_part::many) {
        if (!is_end(p_)) return false;
        ++p_;
    }
    ++e_;
    return true;
}

CKPT_DETAIL_DEF bool matcher::next_choice(const pattern_element& x, choice_point& point) const {
    for (; point.taken < x.count; ++point.taken) {
        const std::string_view text = code_->choices[x.first + point.taken];
        if (key_.size() >= point.from + text.size() && key_.compare(point.from, text.size(), text) == 0) return true;
    }
    return false;
}

CKPT_DETAIL_DEF void matcher::take(const pattern_element& x, const choice_point& point,
                                   std::vector<binding_value>& slots) {
    const std::size_t bytes =
        x.kind == pattern_part::choice ? code_->choices[x.first + point.taken].size() : point.taken;
    e_ = point.element + 1;
    p_ = point.from + bytes;
    if (x.slot < 0) return;
    binding_value& slot = slots[static_cast<std::size_t>(x.slot)];
    // `**` that matches no segment has no text: it may begin past the end of the key.
    slot.text =
        bytes == 0 ? std::string_view{} : key_.substr(point.from, x.kind == pattern_part::many ? bytes - 1 : bytes);
    slot.number = 0;
    if (x.kind == pattern_part::integer) (void)parse_decimal(slot.text, slot.number); // digits, ten at most
}

CKPT_DETAIL_DEF bool matcher::backtrack(std::vector<binding_value>& slots) {
    while (!stack_.empty()) {
        choice_point& point = stack_.back();
        const pattern_element& x = code_->elements[point.element];
        const std::size_t next = point.from + point.taken;
        bool more = false;
        switch (x.kind) {
        case pattern_part::star:
        case pattern_part::text: more = next < key_.size() && key_[next] != '.'; break;
        case pattern_part::integer: {
            more = next < key_.size() && is_digit(key_[next]) && key_[point.from] != '0' && point.taken < 10;
            if (more && point.taken == 9) {
                std::int32_t number = 0;
                more = parse_decimal(key_.substr(point.from, next + 1 - point.from), number);
            }
            break;
        }
        case pattern_part::choice:
            ++point.taken;
            if (!next_choice(x, point)) break;
            take(x, point, slots);
            return true;
        case pattern_part::many: {
            if (next > key_.size()) break;
            const std::size_t dot = key_.find('.', next);
            point.taken = (dot == std::string_view::npos ? key_.size() : dot) + 1 - point.from;
            take(x, point, slots);
            return true;
        }
        default: break;
        }
        if (more) {
            point.taken = (x.kind == pattern_part::integer ? next + 1 : next_character(next)) - point.from;
            take(x, point, slots);
            return true;
        }
        if (!failed_.empty()) failed_[cell(point.element, point.from)] = true;
        stack_.pop_back();
    }
    return false;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF result<pattern> pattern::parse(std::string_view text) {
    auto owned = detail::make_shared<detail::owned_text>();
    owned->text = text;
    detail::pattern_code code;
    detail::syntax_fault fault;
    const std::string_view kept = owned->text;
    if (!detail::parse_pattern({kept, kept, 0, false}, code, fault))
        return error{.code = errc::pattern_invalid,
                     .detail = detail::str_cat("in the pattern ", detail::quoted(text), " at byte ", fault.from, ": ",
                                               fault.message(text))};
    pattern out;
    out.text_ = kept;
    out.owned_ = std::move(owned);
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF pattern_list::pattern_list(const std::vector<pattern>& patterns) {
    codes_.resize(patterns.size());
    syntax_fault fault;
    for (std::size_t i = 0; i < patterns.size(); ++i)
        (void)parse_pattern({patterns[i].text(), patterns[i].text(), 0, false}, codes_[i], fault);
}

CKPT_DETAIL_DEF bool pattern_list::matches(std::string_view key) {
    for (const pattern_code& code : codes_)
        if (matcher_.match(code, key, slots_) == match_outcome::yes) return true;
    return false;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF bool pattern::matches(std::string_view key) const { return detail::pattern_list{{*this}}.matches(key); }

} // namespace ckpt::inline CKPT_DETAIL_ABI
