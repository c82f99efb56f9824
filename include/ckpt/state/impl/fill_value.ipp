// ckpt/state/impl/fill_value.ipp: the definitions of fill_value.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/state/fill_value.hpp>
#include <ckpt/state/rule_words.hpp>
#include <ckpt/tensor/convert.hpp>

#include <cstdint>
#include <cstring>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Writes an integer where `text` is one that the dtype holds.
[[nodiscard]] inline bool encode_integer(std::string_view text, ckpt::dtype type, std::array<std::byte, 16>& out) {
    std::array<std::byte, 16> from{};
    if (std::int64_t number{}; parse_decimal(text, number)) {
        std::memcpy(from.data(), &number, sizeof number);
        return convert(dtype::int64, from.data(), type, out.data(), 1) == 1;
    }
    std::uint64_t large{};
    if (!parse_decimal(text, large)) return false;
    std::memcpy(from.data(), &large, sizeof large);
    return convert(dtype::uint64, from.data(), type, out.data(), 1) == 1;
}

/// Writes a number that may be rounded, but neither overflows nor vanishes.
[[nodiscard]] inline bool encode_floating(std::string_view text, ckpt::dtype type, std::array<std::byte, 16>& out) {
    double value{};
    if (!parse_double(text, value)) return false;
    std::array<std::byte, 16> from{};
    std::memcpy(from.data(), &value, sizeof value);
    (void)convert(dtype::float64, from.data(), type, out.data(), 1);
    double back{};
    std::array<std::byte, 16> again{};
    (void)convert(type, out.data(), dtype::float64, again.data(), 1);
    std::memcpy(&back, again.data(), sizeof back);
    if (value != value) return back != back;
    if (value == back) return true;
    const double distance = value < back ? back - value : value - back;
    const double size = value < 0 ? -value : value;
    if (type == dtype::float8_e4m3fn && size > 448) return false; // it saturates, also at infinity
    return distance <= size / 4;
}

CKPT_DETAIL_DEF const char* encode_value(std::string_view text, ckpt::dtype type, std::array<std::byte, 16>& out) {
    const ckpt::dtype component = component_type(type);
    const carrier c = carrier_of(component);
    if (c == carrier::none || info(type).packed) return "a tensor of this dtype cannot be filled with a number";
    if (text == "true") text = "1";
    else if (text == "false") text = "0";
    const bool is_integer = c == carrier::signed_integer || c == carrier::unsigned_integer;
    if (!is_integer && type == dtype::float8_e8m0fnu) return "a tensor of this dtype cannot be filled with a number";
    const bool fits = is_integer ? encode_integer(text, component, out) : encode_floating(text, component, out);
    return fits ? nullptr : "the value does not fit the dtype";
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
