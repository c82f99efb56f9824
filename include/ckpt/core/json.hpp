// ckpt/core/json.hpp: reads a JSON text, one step after another.
//
// SPDX-License-Identifier: MIT
// In:      a whole text in memory: the header of a safetensors file, the index of a set of shards.
// Out:     names, strings and whole numbers as the caller asks for them; everything else can be skipped.
// Refuses: what RFC 8259 refuses, and what no reader agrees on: bytes that are not UTF-8, lone surrogates, nesting
// beyond
//          127 levels (serde_json's bound, which is what reads the reference's headers). The first fault stays.
#pragma once

#include <ckpt/core/arena.hpp>
#include <ckpt/core/utf8.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

enum class json_kind : std::uint8_t { none, null, boolean, number, string, array, object };

/// A cursor over a JSON text. Every step that does not fit leaves `fault()` set, and every step after it fails.
class json_reader {
  public:
    /// `text` outlives what is read from it; strings with escapes are unescaped into `memory`.
    json_reader(std::string_view text, arena& memory) : text_{text}, memory_{memory} {
        if (check_utf8(text) != utf8_verdict::valid) fail("bytes that are not UTF-8");
    }

    /// What went wrong, as a clause; empty where nothing did.
    [[nodiscard]] std::string_view fault() const noexcept { return fault_; }
    /// How far the text was read.
    [[nodiscard]] std::size_t offset() const noexcept { return at_; }

    /// What comes next; `none` at the end, after a fault, and before what begins no value.
    [[nodiscard]] json_kind peek() noexcept {
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

    /// Enters an object or an array; `next_member` or `next_element` then tell whether there is one.
    [[nodiscard]] bool enter_object() { return enter('{', "an object was expected"); }
    [[nodiscard]] bool enter_array() { return enter('[', "an array was expected"); }

    /// Goes to the next member of an object and reads its name; false at the object's end, and after a fault.
    [[nodiscard]] bool next_member(std::string_view& name) {
        if (!next('}')) return false;
        if (!string(name)) return false;
        blanks();
        if (take(':')) return true;
        return fail("':' was expected after a name");
    }
    /// Goes to the next element of an array; false at the array's end, and after a fault.
    [[nodiscard]] bool next_element() { return next(']'); }
    /// A whole object: `visit(name)` reads the value of each member, and says whether it could.
    template <class Visit> [[nodiscard]] bool members(Visit&& visit) {
        if (!enter_object()) return false;
        std::string_view name;
        while (next_member(name))
            if (!visit(name)) return false;
        return fault().empty();
    }

    [[nodiscard]] bool string(std::string_view& out) {
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
        while (true) {
            if (at_ >= text_.size()) return fail("a string that does not end");
            const char c = text_[at_];
            if (is_control(c)) return fail("a control character in a string");
            ++at_;
            if (c == '"') break;
            if (c != '\\') unescaped += c;
            else if (!escape(unescaped)) return fail("an escape that means nothing, or a lone surrogate");
        }
        char* const kept = memory_.allocate<char>(unescaped.size() + 1);
        if (!unescaped.empty()) std::memcpy(kept, unescaped.data(), unescaped.size());
        out = {kept, unescaped.size()};
        return done();
    }

    /// A whole number that is not negative, without a fraction or an exponent, below 2^64.
    [[nodiscard]] bool whole(std::uint64_t& out) {
        if (peek() != json_kind::number) return fail("a whole number was expected");
        const std::size_t begin = at_;
        out = 0;
        for (; at_ < text_.size() && is_digit(text_[at_]); ++at_) {
            const auto digit = static_cast<std::uint64_t>(text_[at_] - '0');
            if (out > (~std::uint64_t{0} - digit) / 10) return fail("a number beyond 64 bits");
            out = out * 10 + digit;
        }
        const bool longer = at_ < text_.size() && (text_[at_] == '.' || text_[at_] == 'e' || text_[at_] == 'E');
        if (at_ == begin || longer) return fail("a number that is not whole, or negative");
        if (text_[begin] == '0' && at_ - begin > 1) return fail("a number with a leading zero");
        return done();
    }

    [[nodiscard]] bool boolean(bool& out) {
        if (peek() != json_kind::boolean) return fail("true or false was expected");
        out = text_[at_] == 't';
        return word(out ? "true" : "false");
    }

    /// Goes over one value of any kind.
    [[nodiscard]] bool skip() {
        std::string closers; // of the arrays and objects around what comes next
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

    /// Whether nothing but blanks is left.
    [[nodiscard]] bool finish() {
        blanks();
        if (!fault_.empty()) return false;
        return at_ == text_.size() || fail("text after the end of the value");
    }

  private:
    static constexpr int deepest = 127;

    [[nodiscard]] static bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
    [[nodiscard]] static bool is_control(char c) noexcept { return static_cast<unsigned char>(c) < 0x20; }

    bool fail(std::string_view what) noexcept {
        if (fault_.empty()) fault_ = what;
        return false;
    }
    /// A value ends here.
    bool done() noexcept {
        first_ = false;
        return true;
    }
    void blanks() noexcept {
        while (at_ < text_.size() &&
               (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r'))
            ++at_;
    }
    bool take(char c) noexcept {
        if (at_ >= text_.size() || text_[at_] != c) return false;
        ++at_;
        return true;
    }
    bool enter(char opener, std::string_view expected) {
        blanks();
        if (!fault_.empty() || !take(opener)) return fail(expected);
        if (++depth_ > deepest) return fail("values are nested too deeply");
        first_ = true;
        return true;
    }
    bool next(char closer) {
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
    bool word(std::string_view whole_word) {
        if (text_.substr(at_, whole_word.size()) != whole_word) return fail("a value was expected");
        at_ += whole_word.size();
        return done();
    }
    bool digits() noexcept {
        const std::size_t begin = at_;
        while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
        return at_ > begin;
    }
    bool number() {
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
    [[nodiscard]] bool unit(std::uint32_t& out) noexcept {
        if (text_.size() - at_ < 4) return false;
        out = 0;
        for (int i = 0; i < 4; ++i) {
            const int digit = hex_digit(text_[at_++]);
            if (digit < 0) return false;
            out = out << 4 | static_cast<std::uint32_t>(digit);
        }
        return true;
    }
    /// What follows a backslash.
    [[nodiscard]] bool escape(std::string& out) {
        if (at_ >= text_.size()) return false;
        const char c = text_[at_++];
        constexpr std::string_view from = "\"\\/bfnrt";
        constexpr std::string_view to = "\"\\/\b\f\n\r\t";
        if (const std::size_t i = from.find(c); i != std::string_view::npos) {
            out += to[i];
            return true;
        }
        std::uint32_t point = 0;
        if (c != 'u' || !unit(point)) return false;
        if (point >= 0xDC00 && point < 0xE000) return false;
        if (point >= 0xD800 && point < 0xDC00) {
            std::uint32_t low = 0;
            if (!take('\\') || !take('u') || !unit(low) || low < 0xDC00 || low >= 0xE000) return false;
            point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00);
        }
        append_code_point(out, point);
        return true;
    }

    std::string_view text_;
    arena& memory_;
    std::size_t at_{0};
    int depth_{0};
    bool first_{true};
    std::string_view fault_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
