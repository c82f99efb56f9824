// ckpt/core/impl/json.ipp: the definitions of json.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/json.hpp>
#include <ckpt/core/json_text.hpp>
#include <ckpt/core/number.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF json_kind json_reader::peek() noexcept {
    blanks();
    if (!fault_.empty() || at_ >= text_.size()) return json_kind::none;
    switch (const char c = text_[at_]) {
    case '{': return json_kind::object;
    case '[': return json_kind::array;
    case '"': return json_kind::string;
    case 't':
    case 'f': return json_kind::boolean;
    case 'n': return json_kind::null;
    default: return c == '-' || is_digit(c) ? json_kind::number : json_kind::none;
    }
}

CKPT_DETAIL_DEF bool json_reader::next_member(std::string_view& name) {
    if (!next('}')) return false;
    if (!string(name)) return false;
    blanks();
    if (take(':')) return true;
    return fail("':' was expected after a name");
}

CKPT_DETAIL_RARE bool json_reader::members(function_ref<bool(std::string_view)> visit) {
    if (!enter_object()) return false;
    std::string_view name;
    while (next_member(name))
        if (!visit(name)) return false;
    return fault().empty();
}

CKPT_DETAIL_DEF bool json_reader::string(std::string_view& out) {
    if (peek() != json_kind::string) return fail("a string was expected");
    const std::size_t begin = ++at_;
    std::size_t end = begin;
    while (end < text_.size() && text_[end] != '"' && text_[end] != '\\' && !is_control(text_[end])) ++end;
    at_ = end;
    if (end < text_.size() && text_[end] == '"') {
        out = text_.substr(begin, end - begin);
        ++at_;
        return done();
    }
    std::string unescaped(text_.substr(begin, end - begin));
    if (const std::string_view wrong = unescape_json(text_, at_, unescaped); !wrong.empty()) return fail(wrong);
    char* const kept = memory_.allocate<char>(unescaped.size() + 1);
    if (!unescaped.empty()) std::memcpy(kept, unescaped.data(), unescaped.size());
    out = {kept, unescaped.size()};
    return done();
}

CKPT_DETAIL_DEF bool json_reader::whole(std::uint64_t& out) {
    if (peek() != json_kind::number) return fail("a whole number was expected");
    const std::size_t begin = at_;
    std::string_view rest = text_.substr(at_);
    out = 0;
    const bool fits = take_decimal(rest, out);
    at_ = text_.size() - rest.size();
    if (!rest.empty() && is_digit(rest[0])) return fail("a number beyond 64 bits");
    const bool longer = !rest.empty() && (rest[0] == '.' || rest[0] == 'e' || rest[0] == 'E');
    if (!fits || longer) return fail("a number that is not whole, or negative");
    if (text_[begin] == '0' && at_ - begin > 1) return fail("a number with a leading zero");
    return done();
}

CKPT_DETAIL_RARE bool json_reader::number_text(std::string_view& out) {
    const bool begins_number = peek() == json_kind::number;
    if (!fault_.empty()) return false;
    const std::size_t begin = at_;
    bool read = false;
    for (const std::string_view special : {"NaN", "Infinity", "-Infinity"})
        if (text_.substr(at_).starts_with(special)) read = word(special);
    if (!read && !(begins_number ? number() : fail("a value was expected"))) return false;
    out = text_.substr(begin, at_ - begin);
    return true;
}

CKPT_DETAIL_RARE bool json_reader::null() {
    if (peek() != json_kind::null) return fail("null was expected");
    return word("null");
}

CKPT_DETAIL_DEF bool json_reader::boolean(bool& out) {
    if (peek() != json_kind::boolean) return fail("true or false was expected");
    out = text_[at_] == 't';
    return word(out ? "true" : "false");
}

CKPT_DETAIL_DEF bool json_reader::skip() {
    std::string closers; // closing brackets of all arrays and objects that are open
    do {
        std::string_view ignored;
        if (!closers.empty()) {
            const bool in_object = closers.back() == '}';
            const bool more = in_object ? next_member(ignored) : next_element();
            if (!more) {
                if (!fault_.empty()) return false;
                closers.pop_back();
                continue;
            }
        }
        switch (peek()) {
        case json_kind::object:
            if (!enter_object()) return false;
            closers += '}';
            break;
        case json_kind::array:
            if (!enter_array()) return false;
            closers += ']';
            break;
        case json_kind::string:
            if (!string(ignored)) return false;
            break;
        case json_kind::number:
            if (!number()) return false;
            break;
        case json_kind::boolean:
            if (!word(text_[at_] == 't' ? "true" : "false")) return false;
            break;
        case json_kind::null:
            if (!word("null")) return false;
            break;
        case json_kind::none: return fail("a value was expected");
        }
    } while (!closers.empty());
    return true;
}

CKPT_DETAIL_DEF bool json_reader::finish() {
    blanks();
    if (!fault_.empty()) return false;
    return at_ == text_.size() || fail("text after the end of the value");
}

CKPT_DETAIL_DEF bool json_reader::fail(std::string_view what) noexcept {
    if (fault_.empty()) fault_ = what;
    return false;
}

CKPT_DETAIL_DEF bool json_reader::done() noexcept {
    first_ = false;
    return true;
}

CKPT_DETAIL_DEF void json_reader::blanks() noexcept {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
        ++at_;
}

CKPT_DETAIL_DEF bool json_reader::take(char c) noexcept {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
}

CKPT_DETAIL_DEF bool json_reader::enter(char opener, std::string_view expected) {
    blanks();
    if (!fault_.empty() || !take(opener)) return fail(expected);
    if (++depth_ > deepest) return fail("values are nested too deeply");
    first_ = true;
    return true;
}

CKPT_DETAIL_DEF bool json_reader::next(char closer) {
    blanks();
    if (!fault_.empty()) return false;
    if (take(closer)) {
        --depth_;
        (void)done();
        return false;
    }
    if (!first_ && !take(',')) return fail("',' or the end of what is open was expected");
    return true;
}

CKPT_DETAIL_DEF bool json_reader::word(std::string_view whole_word) {
    if (text_.substr(at_, whole_word.size()) != whole_word) return fail("a value was expected");
    at_ += whole_word.size();
    return done();
}

CKPT_DETAIL_DEF bool json_reader::digits() noexcept {
    const std::size_t begin = at_;
    while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
    return at_ > begin;
}

CKPT_DETAIL_DEF bool json_reader::number() {
    (void)take('-');
    const std::size_t begin = at_;
    if (!digits() || (text_[begin] == '0' && at_ - begin > 1)) return fail("a malformed number");
    if (take('.') && !digits()) return fail("a malformed number");
    if (take('e') || take('E')) {
        if (!take('+')) (void)take('-');
        if (!digits()) return fail("a malformed number");
    }
    return done();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
