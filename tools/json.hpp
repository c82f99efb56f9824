// tools/json.hpp: the program's JSON: one document on a stream, and the forms of what JSON has no form for.
//
// SPDX-License-Identifier: MIT
// In:      values in order, keys as the caller orders them; floats and bytes.
// Out:     the document; the text of a float, bytes as base64.
// Refuses: nothing.
#pragma once

#include <ckpt/core/json_writer.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/sha256.hpp>

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>

namespace tool {

/// The shortest text that reads back as `x`, with a `.` or an `e`; not for infinities and NaN.
[[nodiscard]] inline std::string shortest(double x) {
    std::string out = ckpt::detail::shortest(x);
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
    std::string out;
    ckpt::detail::append_hex(out, x);
    return out;
}

/// Writes one document to a stream, in pieces; or, where it is null, nowhere: to know beforehand how much.
class json : public ckpt::detail::json_writer {
  public:
    explicit json(std::FILE* to) noexcept : json_writer{write, this}, to_{to} {}
    ~json() { flush(); }

    /// A float, in the contract's form for what JSON has no number for.
    json& real(double x) {
        const std::string_view special = not_finite(x);
        if (special.empty()) raw(shortest(x));
        else begin_object().member("$float", special).end_object();
        return *this;
    }

    /// Ends the document. False where the stream did not take everything.
    bool finish() {
        flush();
        write(this, "\n");
        return !failed_;
    }

  private:
    static void write(void* self, std::string_view piece) {
        json& of = *static_cast<json*>(self);
        if (of.to_ != nullptr && !piece.empty())
            of.failed_ |=
                std::fwrite(piece.data(), 1, piece.size(), of.to_) != piece.size() || std::fflush(of.to_) != 0;
    }

    std::FILE* to_;
    bool failed_{false};
};

/// An integer of at most 64 bits; beyond 2^53, where readers of JSON may round, in the contract's form.
inline void write_integer(json& to, const std::string& text) {
    constexpr std::string_view largest = "9007199254740992";
    const std::string_view digits = text[0] == '-' ? std::string_view(text).substr(1) : std::string_view(text);
    if (digits.size() < largest.size() || (digits.size() == largest.size() && digits <= largest)) to.raw(text);
    else to.begin_object().member("$int", text).end_object();
}

} // namespace tool
