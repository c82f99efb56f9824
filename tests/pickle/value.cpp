// tests/pickle/value.cpp: handles of values at the ends of what they take: positions, numbers, budgets.
//
// SPDX-License-Identifier: MIT
#include "../support/pickle_writer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>

namespace value_test {

using ckpt::errc;
using namespace test_support;
using namespace test_support::pickles;

namespace {

/// Charges what its argument says.
ckpt::result<ckpt::value> charge(ckpt::call& c) {
    const std::int64_t bytes = c.args[0].as_int().value();
    return c.charge(static_cast<std::uint64_t>(bytes)) ? c.make_none() : c.over_budget();
}
using charging = ckpt::allow<ckpt::weights_policy, ckpt::global<"m", "charge", charge>>;

} // namespace

TEST_CASE("at() takes positions below the size, of lists, tuples, items and states of objects") {
    const std::string object = global("m", "C") + ')' + "\x81";
    for (const std::string& three :
         {"](K\1K\2K\3e"s, "(K\1K\2K\3t"s, object + "(K\1K\2K\3e", object + "(K\1K\2K\3tb", object + "](K\1K\2K\3eb"}) {
        const parsed list{three + '.'};
        REQUIRE(list.ok());
        CHECK(list.root().at(0).value().as_int().value() == 1);
        CHECK(list.root().at(2).value().as_int().value() == 3);
        CHECK(list.root().at(3).error().code == errc::path_missing);
        CHECK(list.root().at(-1).error().code == errc::path_missing);
        CHECK(list.root().at(INT64_MIN).error().code == errc::path_missing);
    }
}

TEST_CASE("at() finds a key that Python finds by an int; a path that is the text of two keys is an error") {
    const auto floating = [](const char* digits) { return 'F' + std::string(digits) + '\n'; };
    const parsed alike{"}(\x88K\x0aK\2K\x14" + floating("3.0") + "K\x1e" + floating("4.5") + "K\x28NK\x32u."};
    REQUIRE(alike.ok());
    CHECK(alike.root().at(1).value().as_int().value() == 10);
    CHECK(alike.root().at(2).value().as_int().value() == 20);
    CHECK(alike.root().at(3).value().as_int().value() == 30);
    CHECK(alike.root().at(4).error().code == errc::path_missing);
    CHECK(alike.root().at(0).error().code == errc::path_missing);
    const auto at = [&](const char* path) { return alike.root().find(path).value().as_int().value(); };
    CHECK(at("True") == 10);
    CHECK(at("1") == 10);
    CHECK(at("2") == 20);
    CHECK(at("3.0") == 30);
    CHECK(at("3") == 30);
    CHECK(at("4.5") == 40);
    CHECK(at("None") == 50);
    const parsed both{"}(K\1K\x0a" + text("1") + "K\x14\x88K\x1e" + text("True") + "K\x28" + text("x") + "Nu."};
    REQUIRE(both.ok());
    CHECK(both.root().at(1).value().as_int().value() == 30); // True is the key 1, whose value is set again
    CHECK(both.root().at("1").value().as_int().value() == 20);
    CHECK(both.root().find("1").error().code == errc::key_duplicate);
    CHECK(both.root().find("1").error().hint.find("JSON") != std::string_view::npos);
    CHECK(both.root().find("x").value().is_none());
}

TEST_CASE("a path leads through 16 references of a configuration to what they stand for") {
    const auto behind = [](int references) {
        const auto object = [](std::string_view name, const std::string& state) {
            return global("ml_collections.config_dict.config_dict", name) + ")\x81}(" + state + "ub";
        };
        std::string value = "K\7";
        for (int i = 0; i < references; ++i)
            value = object("FieldReference", text("_value") + value + text("_ops") + ']');
        const parsed file{object("ConfigDict", text("_fields") + "}(" + text("r") + value + 'u') + '.'};
        REQUIRE(file.ok());
        return file.root().find("r").value().kind();
    };
    CHECK(behind(1) == ckpt::kind::integer);
    CHECK(behind(16) == ckpt::kind::integer);
    CHECK(behind(17) == ckpt::kind::object);
}

TEST_CASE("an integer is a real number where float64 has it, up to 2^53") {
    const auto real_of = [](std::int64_t n) {
        const parsed p{long1(number(static_cast<std::uint64_t>(n), 8)) + '.'};
        const auto real = p.root().as_real();
        return real ? *real : 0.5;
    };
    constexpr std::int64_t most = std::int64_t{1} << 53;
    CHECK(real_of(most) == 9007199254740992.0);
    CHECK(real_of(most + 1) == 0.5);
    CHECK(real_of(-most) == -9007199254740992.0);
    CHECK(real_of(-most - 1) == 0.5);
}

TEST_CASE("builders make made_per_byte for each byte of the pickle and a mebibyte, together") {
    const auto charged = [](std::uint64_t bytes, std::uint64_t more = 0) {
        const auto one = [](std::uint64_t n) { return global("m", "charge") + long1(number(n, 8)) + "\x85R0"; };
        return one(bytes) + one(more) + "N.";
    };
    const ckpt::limits twice{.made_per_byte = 2};
    const std::uint64_t most = 2 * std::uint64_t{charged(0).size()} + (1 << 20);
    CHECK(code_of<charging>(charged(most), twice) == errc::none);
    CHECK(code_of<charging>(charged(most + 1), twice) == errc::limit);
    CHECK(code_of<charging>(charged(most - 7, 7), twice) == errc::none);
    CHECK(code_of<charging>(charged(most - 7, 8), twice) == errc::limit);
}

} // namespace value_test
