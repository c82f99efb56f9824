// tools/json.hpp: writes one JSON document.
//
// SPDX-License-Identifier: MIT
// In:      values in order, keys as the caller orders them.
// Out:     UTF-8 with `", "` and `": "` between things, to a stream, in pieces; or nothing, to know beforehand how
// much. Refuses: nothing. Bytes that are not UTF-8 become lone surrogates, as Python writes them: \udcff for the byte
// 0xff.
#pragma once

#include <bit>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>

namespace tool {

/// The length of the valid UTF-8 sequence at `text[at]`, or 0.
[[nodiscard]] inline std::size_t utf8_length(std::string_view text, std::size_t at) noexcept {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned>(static_cast<unsigned char>(text[i])); };
    const unsigned lead = byte(at);
    if (lead < 0x80) return 1;
    const std::size_t n = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || at + n > text.size()) return 0;
    for (std::size_t i = 1; i < n; ++i)
        if ((byte(at + i) & 0xC0) != 0x80) return 0;
    const unsigned second = byte(at + 1);
    const bool wrong = (lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||
                       (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F);
    return wrong ? 0 : n;
}

/// The value of a valid sequence.
[[nodiscard]] inline std::uint32_t utf8_point(std::string_view text, std::size_t at, std::size_t n) noexcept {
    const auto byte = [&](std::size_t i) {
        return static_cast<std::uint32_t>(static_cast<unsigned char>(text[at + i]));
    };
    if (n == 1) return byte(0);
    std::uint32_t out = byte(0) & (0xFFu >> (n + 1));
    for (std::size_t i = 1; i < n; ++i) out = out << 6 | (byte(i) & 0x3Fu);
    return out;
}

/// The shortest text that reads back as `x`, with a `.` or an `e`; not for infinities and NaN.
[[nodiscard]] inline std::string shortest(double x) {
    char buffer[40];
    std::string out(buffer, std::to_chars(buffer, buffer + sizeof buffer, x).ptr);
    if (out.find_first_of(".e") == std::string::npos) out += ".0";
    return out;
}

/// "nan", "inf", "-inf", or nothing for a finite number. By its bits: compilers may assume that there are none.
[[nodiscard]] inline std::string_view not_finite(double x) noexcept {
    const auto bits = std::bit_cast<std::uint64_t>(x);
    if ((bits >> 52 & 0x7FF) != 0x7FF) return {};
    if ((bits << 12) != 0) return "nan";
    return bits >> 63 != 0 ? "-inf" : "inf";
}

/// A number for people.
[[nodiscard]] inline std::string number_text(double x) {
    const std::string_view special = not_finite(x);
    return special.empty() ? shortest(x) : std::string(special);
}

[[nodiscard]] inline std::string base64(std::span<const std::byte> bytes) {
    constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const auto at = [&](std::size_t k) {
            return i + k < bytes.size() ? std::to_integer<std::uint32_t>(bytes[i + k]) : 0u;
        };
        const std::uint32_t three = at(0) << 16 | at(1) << 8 | at(2);
        out += digits[three >> 18];
        out += digits[three >> 12 & 63];
        out += i + 1 < bytes.size() ? digits[three >> 6 & 63] : '=';
        out += i + 2 < bytes.size() ? digits[three & 63] : '=';
    }
    return out;
}

[[nodiscard]] inline std::string hex8(std::uint32_t x) {
    constexpr char digits[] = "0123456789abcdef";
    std::string out(8, '0');
    for (std::size_t i = 8; i-- > 0; x >>= 4) out[i] = digits[x & 15];
    return out;
}

/// The writer. Calls come in the order of the document; commas and quotes are its own affair.
class json {
  public:
    /// Writes to `to`, or, where it is null, nowhere.
    explicit json(std::FILE* to) noexcept : to_{to} {}
    json(const json&) = delete;
    json& operator=(const json&) = delete;
    ~json() { flush(); }

    json& begin_object() { return open('{'); }
    json& end_object() { return close('}'); }
    json& begin_array() { return open('['); }
    json& end_array() { return close(']'); }
    /// Begins a new line before the next element.
    json& line() {
        newline_ = true;
        return *this;
    }

    json& key(std::string_view name) {
        separate();
        quote(name);
        out_ += ": ";
        comma_ = false;
        return *this;
    }
    json& text(std::string_view s) {
        separate();
        quote(s);
        return done();
    }
    json& boolean(bool b) { return raw(b ? "true" : "false"); }
    json& null() { return raw("null"); }
    template <std::integral Integer> json& number(Integer x) {
        char buffer[24];
        return raw({buffer, std::to_chars(buffer, buffer + sizeof buffer, x).ptr});
    }
    /// A float, in the contract's form for what JSON has no number for.
    json& real(double x) {
        const std::string_view special = not_finite(x);
        if (special.empty()) return raw(shortest(x));
        begin_object();
        key("$float").text(special);
        return end_object();
    }

    json& member(std::string_view name, std::string_view s) { return key(name).text(s); }
    json& member(std::string_view name, const char* s) { return key(name).text(s); }
    json& member(std::string_view name, bool b) { return key(name).boolean(b); }
    template <std::integral Integer> json& member(std::string_view name, Integer x) { return key(name).number(x); }
    template <class Range> json& numbers(const Range& all) {
        begin_array();
        for (const auto x : all) number(x);
        return end_array();
    }

    /// Ends the document. False where the stream did not take everything.
    bool finish() {
        out_ += '\n';
        flush();
        return !failed_;
    }

  private:
    void separate() {
        if (comma_) out_ += newline_ ? "," : ", ";
        if (newline_) out_ += "\n  ";
        newline_ = false;
    }
    json& done() {
        comma_ = true;
        if (out_.size() > (std::size_t{1} << 16)) flush();
        return *this;
    }
    json& raw(std::string_view text) {
        separate();
        out_ += text;
        return done();
    }
    json& open(char c) {
        separate();
        out_ += c;
        comma_ = false;
        return *this;
    }
    json& close(char c) {
        newline_ = false;
        out_ += c;
        return done();
    }
    void unit(std::uint32_t x) {
        constexpr char digits[] = "0123456789abcdef";
        out_ += "\\u";
        for (int shift = 12; shift >= 0; shift -= 4) out_ += digits[x >> shift & 15];
    }
    void quote(std::string_view s) {
        out_ += '"';
        for (std::size_t i = 0; i < s.size();) {
            const auto c = static_cast<unsigned char>(s[i]);
            const std::size_t n = utf8_length(s, i);
            if (n == 0) {
                // A surrogate that Python's strings may hold, or a byte that stands for itself.
                const auto at = [&](std::size_t k) {
                    return static_cast<std::uint32_t>(static_cast<unsigned char>(s[i + k]));
                };
                if (c == 0xED && i + 2 < s.size() && (at(1) & 0xE0) == 0xA0 && (at(2) & 0xC0) == 0x80) {
                    unit(0xD000u | (at(1) & 0x3F) << 6 | (at(2) & 0x3F));
                    i += 3;
                } else {
                    unit(0xDC00u + c);
                    ++i;
                }
                continue;
            }
            if (c == '"' || c == '\\') (out_ += '\\') += s[i];
            else if (c == '\n') out_ += "\\n";
            else if (c == '\t') out_ += "\\t";
            else if (c < 0x20 || c == 0x7F) unit(c);
            else out_.append(s.substr(i, n));
            i += n;
        }
        out_ += '"';
    }
    void flush() {
        if (to_ != nullptr && !out_.empty())
            failed_ |= std::fwrite(out_.data(), 1, out_.size(), to_) != out_.size() || (std::fflush(to_) != 0);
        out_.clear();
    }

    std::FILE* to_;
    std::string out_{};
    bool comma_{false};
    bool newline_{false};
    bool failed_{false};
};

} // namespace tool
