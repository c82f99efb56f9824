// ckpt/python.hpp: converts objects of Python's standard library to plain C++ values.
//
// SPDX-License-Identifier: MIT
// In:      an inert object: a path, a date or time, a Decimal, a UUID, a member of an enum, a range, a slice.
// Out:     its value.
// Refuses: every other value, with `wrong_type`.
//
// The forms in a pickle are those of CPython's __reduce__ functions (Lib/pathlib, Modules/_datetimemodule.c,
// Lib/uuid.py, Lib/enum.py), Python 2.7 to 3.14, any protocol.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/pickle/value.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// datetime.timedelta: days + seconds + microseconds, of which only the days may be negative.
struct time_delta {
    std::int64_t days{};
    std::int64_t seconds{};      ///< 0 to 86,399
    std::int64_t microseconds{}; ///< 0 to 999,999
    friend bool operator==(const time_delta&, const time_delta&) = default;
};

/// datetime.datetime. For a datetime.date the time is zero, for a datetime.time the date.
struct date_time {
    int year{};
    int month{};
    int day{};
    int hour{};
    int minute{};
    int second{};
    int microsecond{};
    bool fold{};                        ///< whether this is the second of two equal local times (PEP 495)
    std::optional<time_delta> offset{}; ///< from UTC; nothing unless tzinfo is a `datetime.timezone`
    friend bool operator==(const date_time&, const date_time&) = default;
};

/// A member of an enum, by its value, or by its name (CPython 3.11.0 to 3.11.3). Borrows from the checkpoint.
struct enum_member {
    global_name type{};
    value member{}; ///< its value; absent where the file has the name
    std::string_view name{};
};

/// The three values of a range or a slice; those of a slice may be None. Borrows from the checkpoint.
struct python_range {
    value start{};
    value stop{};
    value step{};
};

namespace detail {

[[nodiscard]] error not_that(const value& v, std::string_view wanted);

/// Whether an object is of `module.name`, in present spelling.
[[nodiscard]] bool is_of(const value& v, std::string_view module, std::string_view name);

} // namespace detail

/// A path of pathlib: its parts joined by '/', or by '\' for PureWindowsPath and WindowsPath.
[[nodiscard]] result<std::string> as_path(const value& v);

/// datetime.timedelta.
[[nodiscard]] result<time_delta> as_time_delta(const value& v);

/// datetime.datetime, date or time.
[[nodiscard]] result<date_time> as_date_time(const value& v);

/// decimal.Decimal, as Python's text: "3.14", "1E+3", "NaN". Borrows from the checkpoint.
[[nodiscard]] result<std::string_view> as_decimal(const value& v);

/// uuid.UUID, as 32 digits in five groups.
[[nodiscard]] result<std::string> as_uuid(const value& v);

/// A member of an enum: a call of a class with one value, or getattr(class, name). A file does not tell whether the
/// class is an enum; the caller must know.
[[nodiscard]] result<enum_member> as_enum(const value& v);

/// range or slice.
[[nodiscard]] result<python_range> as_range(const value& v);

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/impl/python.ipp>
#endif
