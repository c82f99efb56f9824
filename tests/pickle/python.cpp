// tests/pickle/python.cpp: objects of Python's standard library, in the forms that each protocol and version writes.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/python.hpp>

#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace python_test {

using ckpt::errc;
using namespace test_support;
using namespace pkl;
using namespace std::string_literals;

namespace {

/// The value of one pickle; its checkpoint lives on.
ckpt::value made(const std::string& opcodes) {
    static std::vector<std::string> files;
    static std::vector<ckpt::checkpoint> open;
    files.push_back(torch_file(opcodes));
    open.push_back(ckpt::open_bytes(bytes_of(files.back())).value());
    return open.back().root();
}
std::string bytes(std::string_view text) {
    return "C" + std::string(1, static_cast<char>(text.size())) + std::string(text);
}
std::string of_path(const char* type, std::initializer_list<std::string> parts) {
    const auto path = ckpt::as_path(made(call(global("pathlib", type), parts)));
    return path ? *path : "!" + std::string(ckpt::info(path.error().code).name);
}
ckpt::date_time of_time(const char* type, std::initializer_list<std::string> args) {
    return ckpt::as_date_time(made(call(global("datetime", type), args))).value();
}
std::string delta(std::int64_t days, std::int64_t seconds, std::int64_t micro) {
    return call(global("datetime", "timedelta"), {num(days), num(seconds), num(micro)});
}

} // namespace

TEST_CASE("paths: parts, one string, Windows, the module of Python 3.13") {
    CHECK(of_path("PosixPath", {str("data"), str("train")}) == "data/train");
    CHECK(of_path("PosixPath", {str("/"), str("data"), str("train")}) == "/data/train");
    CHECK(of_path("PosixPath", {str("/data/train")}) == "/data/train");
    CHECK(of_path("PurePosixPath", {}) == ".");
    CHECK(of_path("WindowsPath", {str("C:\\"), str("data")}) == "C:\\data");
    CHECK(of_path("PureWindowsPath", {str("a"), str("b")}) == "a\\b");
    CHECK(ckpt::as_path(made(call(global("pathlib._local", "PosixPath"), {str("a/b")}))).value() == "a/b");
    CHECK(of_path("PosixPath", {num(1)}) == "!wrong_type");
    CHECK(ckpt::as_path(made(call(global("argparse", "Namespace"), {str("a")}))).error().code ==
          ckpt::errc::wrong_type);
    const auto text = ckpt::as_path(made(str("a/b")));
    CHECK(text.error().detail == "expected a path of pathlib, found str");
    CHECK(ckpt::as_path(made(delta(1, 2, 3))).error().detail ==
          "expected a path of pathlib, found object of \"datetime\" \"timedelta\"");
    CHECK_FALSE(ckpt::as_path(ckpt::value{}).has_value());
}

TEST_CASE("datetime, date, time: the packed bytes, zones and folds") {
    const std::string moment = "\x07\xe9\x0b\x18\x0d\x2d\x1e\x01\xe2\x40"s; // 2025-11-24 13:45:30.123456
    const auto d = of_time("datetime", {bytes(moment)});
    CHECK(d == ckpt::date_time{2025, 11, 24, 13, 45, 30, 123456, false, {}});
    std::string folded = moment;
    folded[2] = static_cast<char>(folded[2] | '\x80');
    CHECK(of_time("datetime", {bytes(folded)}).fold);
    CHECK(of_time("datetime", {bytes(folded)}).month == 11);
    const auto zoned =
        of_time("datetime", {bytes(moment), call(global("datetime", "timezone"), {delta(-1, 68'400, 0)})});
    CHECK(zoned.offset == ckpt::time_delta{-1, 68'400, 0});
    CHECK_FALSE(of_time("datetime", {bytes(moment), call(global("zoneinfo", "ZoneInfo"), {str("Europe/Berlin")})})
                    .offset.has_value()); // a rule, not an offset
    CHECK(of_time("date", {bytes("\x07\xe9\x0b\x18"s)}) == ckpt::date_time{2025, 11, 24, 0, 0, 0, 0, false, {}});
    CHECK(of_time("time", {bytes("\x8d\x2d\x1e\x01\xe2\x40"s)}) ==
          ckpt::date_time{0, 0, 0, 13, 45, 30, 123456, true, {}});
    // Protocol 2 writes bytes as text.
    CHECK(of_time("date", {call(global("_codecs", "encode"), {str("\x07\xc3\xa9\x0b\x18"s), str("latin1")})}).year ==
          2025);
    for (const std::string& wrong :
         {moment.substr(1), moment + "x", "\x07\xe9\x0d\x18\x0d\x2d\x1e\x01\xe2\x40"s,
          "\x07\xe9\x0b\x20\x0d\x2d\x1e\x01\xe2\x40"s, "\x07\xe9\x0b\x18\x18\x2d\x1e\x01\xe2\x40"s,
          "\x07\xe9\x0b\x18\x0d\x2d\x1e\xff\xff\xff"s})
        CHECK(ckpt::as_date_time(made(call(global("datetime", "datetime"), {bytes(wrong)}))).error().code ==
              errc::wrong_type);
    // Month, day, hour, minute, second and microseconds at either end, and one past it.
    const auto reads = [&](std::size_t at, const char* field, std::size_t length) {
        std::string changed = moment;
        changed.replace(at, length, field, length);
        return ckpt::as_date_time(made(call(global("datetime", "datetime"), {bytes(changed)}))).has_value();
    };
    CHECK((reads(2, "\x01", 1) && reads(2, "\x0c", 1)));
    CHECK_FALSE((reads(2, "\x00", 1) || reads(2, "\x0d", 1)));
    CHECK((reads(3, "\x01", 1) && reads(3, "\x1f", 1)));
    CHECK_FALSE((reads(3, "\x00", 1) || reads(3, "\x20", 1)));
    CHECK((reads(4, "\x17", 1) && reads(5, "\x3b", 1) && reads(6, "\x3b", 1) && reads(7, "\x0f\x42\x3f", 3)));
    CHECK_FALSE((reads(4, "\x18", 1) || reads(5, "\x3c", 1) || reads(6, "\x3c", 1) || reads(7, "\x0f\x42\x40", 3)));
    CHECK(ckpt::as_date_time(made(call(global("datetime", "datetime"), {num(1)}))).error().code == errc::wrong_type);
    CHECK(ckpt::as_date_time(made(num(1))).error().code == errc::wrong_type);
}

TEST_CASE("timedelta, Decimal, UUID") {
    CHECK(ckpt::as_time_delta(made(delta(-1, 86'399, 999'999))).value() == ckpt::time_delta{-1, 86'399, 999'999});
    CHECK_FALSE(ckpt::as_time_delta(made(call(global("datetime", "timedelta"), {num(1)}))).has_value());
    CHECK(ckpt::as_decimal(made(call(global("decimal", "Decimal"), {str("3.14")}))).value() == "3.14");
    CHECK_FALSE(ckpt::as_decimal(made(call(global("decimal", "Decimal"), {num(3)}))).has_value());
    const auto uuid = [](const std::string& number) {
        const auto out = ckpt::as_uuid(made(object("uuid", "UUID", dict({{str("int"), number}}))));
        return out ? *out : std::string("!");
    };
    CHECK(uuid(num(1)) == "00000000-0000-0000-0000-000000000001");
    CHECK(uuid("\x8a\x10\x0f\x0e\x0d\x0c\x0b\x0a\x09\x08\x07\x06\x05\x04\x03\x02\x01\x00"s) ==
          "00010203-0405-0607-0809-0a0b0c0d0e0f");
    CHECK(uuid("\x8a\x11\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00"s) ==
          "ffffffff-ffff-ffff-ffff-ffffffffffff");
    CHECK(uuid("\x8a\x11\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"s) == "!"); // 2^128
    CHECK(uuid("\x8a\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe"s) == "!");     // negative
    CHECK(uuid(num(-1)) == "!");
    CHECK(uuid(str("x")) == "!");
}

TEST_CASE("enums by value and by name; ranges and slices") {
    const auto by_value = ckpt::as_enum(made(call(global("uuid", "SafeUUID"), {num(0)}))).value();
    CHECK(by_value.type == ckpt::global_name{"uuid", "SafeUUID"});
    CHECK(by_value.member.as_int().value() == 0);
    CHECK(by_value.name.empty());
    const auto by_name =
        ckpt::as_enum(made(call(global("__builtin__", "getattr"), {global("uuid", "SafeUUID"), str("safe")}))).value();
    CHECK(by_name.type == ckpt::global_name{"uuid", "SafeUUID"});
    CHECK(by_name.name == "safe");
    CHECK_FALSE(static_cast<bool>(by_name.member));
    CHECK_FALSE(ckpt::as_enum(made(call(global("argparse", "Namespace"), {num(1), str("safe")}))).has_value());
    CHECK_FALSE(ckpt::as_enum(made(num(1))).has_value());
    const auto range = ckpt::as_range(made(call(global("__builtin__", "xrange"), {num(0), num(10), num(2)}))).value();
    CHECK(range.stop.as_int().value() == 10);
    const auto slice = ckpt::as_range(made(call(global("builtins", "slice"), {none, num(3), none}))).value();
    CHECK(slice.start.is_none());
    CHECK(slice.stop.as_int().value() == 3);
    CHECK_FALSE(ckpt::as_range(made(list({num(1)}))).has_value());
}

TEST_CASE("the same from files that Python wrote") {
    for (const char* name : {"values_p2.pt", "values_p4.pt", "values_p5.pt"}) {
        CAPTURE(name);
        const auto file = ckpt::open(std::filesystem::path(CKPT_TEST_DATA) / "frameworks/values" / name).value();
        std::size_t paths = 0, times = 0, deltas = 0, decimals = 0, uuids = 0, ranges = 0;
        const auto count = [&](const ckpt::value& v) {
            paths += ckpt::as_path(v).has_value();
            times += ckpt::as_date_time(v).has_value();
            deltas += ckpt::as_time_delta(v).has_value();
            decimals += ckpt::as_decimal(v).has_value();
            uuids += ckpt::as_uuid(v).has_value();
            ranges += ckpt::as_range(v).has_value();
        };
        std::vector<ckpt::value> todo{file.root()};
        std::vector<bool> seen(100'000); // there are cycles
        while (!todo.empty()) {
            const ckpt::value v = todo.back();
            todo.pop_back();
            if (seen.at(v.object_id())) continue;
            seen.at(v.object_id()) = true;
            count(v);
            for (const ckpt::value::entry e : v.entries()) todo.push_back(e.mapped);
            for (const ckpt::value element : v.elements()) todo.push_back(element);
        }
        CHECK(paths >= 3);
        CHECK(times >= 4);
        CHECK(deltas >= 1);
        CHECK(decimals >= 1);
        CHECK(uuids >= 1);
        CHECK(ranges >= 2);
    }
}

} // namespace python_test
