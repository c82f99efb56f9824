// ckpt/impl/python.ipp: the definitions of python.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/python.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF error not_that(const value& v, std::string_view wanted) {
    if (const error* own = v.refusal()) return *own;
    error e{.code = errc::wrong_type, .detail = str_cat("expected ", wanted, ", found ", name(v.kind()))};
    if (const auto g = v.class_of().as_global()) e.detail += str_cat(" of ", quoted(g->module), " ", quoted(g->name));
    return e;
}

CKPT_DETAIL_DEF bool is_of(const value& v, std::string_view module, std::string_view name) {
    const auto g = v.class_of().as_global();
    if (v.kind() != kind::object || !g) return false;
    const canonical_name present{g->module, g->name};
    return present.module() == module && present.name() == name;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF result<std::string> as_path(const value& v) {
    const bool windows = detail::is_of(v, "pathlib", "WindowsPath") || detail::is_of(v, "pathlib", "PureWindowsPath");
    const bool posix = detail::is_of(v, "pathlib", "PosixPath") || detail::is_of(v, "pathlib", "PurePosixPath") ||
                       detail::is_of(v, "pathlib", "Path") || detail::is_of(v, "pathlib", "PurePath");
    if (!windows && !posix) return detail::not_that(v, "a path of pathlib");
    const char separator = windows ? '\\' : '/';
    std::string out;
    for (const value part : v.args().elements()) {
        const auto text = part.as_string();
        if (!text) return detail::not_that(v, "a path of pathlib");
        if (!out.empty() && out.back() != separator) out += separator;
        out += *text;
    }
    return out.empty() ? std::string(".") : out;
}

CKPT_DETAIL_DEF result<time_delta> as_time_delta(const value& v) {
    const auto args = v.args();
    const auto days = args[0].as_int();
    const auto seconds = args[1].as_int();
    const auto microseconds = args[2].as_int();
    if (!detail::is_of(v, "datetime", "timedelta") || args.size() != 3 || !days || !seconds || !microseconds)
        return detail::not_that(v, "a timedelta");
    return time_delta{*days, *seconds, *microseconds};
}

CKPT_DETAIL_DEF result<date_time> as_date_time(const value& v) {
    const bool both = detail::is_of(v, "datetime", "datetime");
    const bool date = both || detail::is_of(v, "datetime", "date");
    const bool time = both || detail::is_of(v, "datetime", "time");
    const auto packed = v.args()[0].as_bytes();
    const std::size_t length = both ? 10 : date ? 4 : 6;
    if ((!date && !time) || !packed || packed->size() != length)
        return detail::not_that(v, "a datetime, a date or a time");
    std::size_t at = 0;
    const auto next = [&] { return std::to_integer<int>((*packed)[at++]); };
    date_time out;
    if (date) {
        out.year = next() * 256;
        out.year += next();
        out.month = next();
        out.day = next();
        if (both) out.fold = out.month > 127;
        out.month &= 127;
    }
    if (time) {
        out.hour = next();
        if (!date) out.fold = out.hour > 127;
        out.hour &= 127;
        out.minute = next();
        out.second = next();
        out.microsecond = next() << 16;
        out.microsecond += next() << 8;
        out.microsecond += next();
    }
    const bool sensible = (!date || (out.month >= 1 && out.month <= 12 && out.day >= 1 && out.day <= 31)) &&
                          out.hour < 24 && out.minute < 60 && out.second < 60 && out.microsecond < 1'000'000;
    if (!sensible) return detail::not_that(v, "a datetime, a date or a time");
    if (const value zone = v.args()[1]; detail::is_of(zone, "datetime", "timezone"))
        if (const auto offset = as_time_delta(zone.args()[0])) out.offset = *offset;
    return out;
}

CKPT_DETAIL_DEF result<std::string_view> as_decimal(const value& v) {
    const auto text = v.args()[0].as_string();
    if (!detail::is_of(v, "decimal", "Decimal") || !text) return detail::not_that(v, "a Decimal");
    return *text;
}

CKPT_DETAIL_DEF result<std::string> as_uuid(const value& v) {
    const auto number = v.at("int");
    if (!detail::is_of(v, "uuid", "UUID") || !number || number->kind() != kind::integer)
        return detail::not_that(v, "a UUID");
    std::uint8_t digits[17]{}; // little-endian
    if (const auto low = number->as_int()) {
        if (*low < 0) return detail::not_that(v, "a UUID");
        for (std::size_t i = 0; i < 8; ++i)
            digits[i] = static_cast<std::uint8_t>(static_cast<std::uint64_t>(*low) >> (8 * i));
    } else {
        const auto bytes = *number->as_integer_bytes();
        if (bytes.size() > 17 || (bytes.size() == 17 && bytes[16] != std::byte{0}) ||
            (bytes.back() & std::byte{0x80}) != std::byte{0})
            return detail::not_that(v, "a UUID");
        for (std::size_t i = 0; i < bytes.size(); ++i) digits[i] = std::to_integer<std::uint8_t>(bytes[i]);
    }
    constexpr char hex[] = "0123456789abcdef";
    std::string out;
    for (std::size_t i = 16; i-- > 0;) {
        out += hex[digits[i] >> 4];
        out += hex[digits[i] & 15];
        if (i == 12 || i == 10 || i == 8 || i == 6) out += '-';
    }
    return out;
}

CKPT_DETAIL_DEF result<enum_member> as_enum(const value& v) {
    enum_member out;
    const bool by_name = detail::is_of(v, "builtins", "getattr");
    const auto type = by_name ? v.args()[0].as_global() : v.class_of().as_global();
    if (v.kind() != kind::object || !type || v.args().size() != (by_name ? 2u : 1u))
        return detail::not_that(v, "a member of an enum");
    out.type = *type;
    if (!by_name) {
        out.member = v.args()[0];
        return out;
    }
    const auto name = v.args()[1].as_string();
    if (!name) return detail::not_that(v, "a member of an enum");
    out.name = *name;
    return out;
}

CKPT_DETAIL_DEF result<python_range> as_range(const value& v) {
    const auto args = v.args();
    if ((!detail::is_of(v, "builtins", "range") && !detail::is_of(v, "builtins", "slice")) || args.size() != 3)
        return detail::not_that(v, "a range or a slice");
    return python_range{args[0], args[1], args[2]};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
