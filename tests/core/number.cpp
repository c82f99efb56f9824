// tests/core/number.cpp: numbers and texts against the C library's, which rounds correctly and takes its time.
//
// SPDX-License-Identifier: MIT
#include <ckpt/core/number.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <charconv>
#include <clocale>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <version>

namespace number_test {

using namespace ckpt::detail;

namespace {

template <class T> std::optional<T> whole(std::string_view text) {
    T out = 42;
    if (parse_decimal(text, out)) return out;
    CHECK(out == 42);
    return std::nullopt;
}

std::optional<double> real(std::string_view text) {
    double out = 42;
    if (parse_double(text, out)) return out;
    CHECK(out == 42);
    return std::nullopt;
}

/// What strtod says of a decimal number without blanks; nothing for overflow and for zeros that are none.
std::optional<double> by_strtod(const std::string& text) {
    const double out = std::strtod(text.c_str(), nullptr);
    const bool digit = text.substr(0, text.find_first_of("eE")).find_first_of("123456789") != std::string::npos;
    if (std::bit_cast<std::uint64_t>(out) << 1 == std::uint64_t{0x7FF} << 53 || (out == 0 && digit))
        return std::nullopt;
    return out;
}

/// 0 where both are nothing, or the same bits.
int differ(const std::string& text) {
    const auto mine = real(text), theirs = by_strtod(text);
    const bool same = mine.has_value() == theirs.has_value() &&
                      (!mine || std::bit_cast<std::uint64_t>(*mine) == std::bit_cast<std::uint64_t>(*theirs));
    if (!same) MESSAGE(text);
    return same ? 0 : 1;
}

double of_bits(std::uint64_t bits) { return std::bit_cast<double>(bits); }

/// The middle between a double and the next one above, in full: its bits are those of an integer times 2^exponent.
std::string middle_above(std::uint64_t bits) {
    const auto biased = static_cast<int>(bits >> 52);
    const std::uint64_t mantissa = (bits << 12 >> 12) | (biased == 0 ? 0 : std::uint64_t{1} << 52);
    const int exponent = (biased == 0 ? 1 : biased) - 1076;
    // As digits, most significant first: doubling, and halving with one more place behind the point.
    std::string digits = decimal(2 * mantissa + 1);
    for (int i = 0; i < exponent; ++i) {
        int carry = 0;
        for (std::size_t k = digits.size(); k-- > 0;) {
            carry += 2 * (digits[k] - '0');
            digits[k] = static_cast<char>('0' + carry % 10);
            carry /= 10;
        }
        if (carry > 0) digits.insert(digits.begin(), '1');
    }
    for (int i = 0; i > exponent; --i) {
        int rest = 0;
        digits += '0';
        for (char& c : digits) {
            rest = rest * 10 + (c - '0');
            c = static_cast<char>('0' + rest / 2);
            rest %= 2;
        }
    }
    if (exponent < 0) {
        const auto places = static_cast<std::size_t>(-exponent);
        if (digits.size() <= places) digits.insert(0, places + 1 - digits.size(), '0');
        digits.insert(digits.size() - places, 1, '.');
    }
    return digits;
}

} // namespace

TEST_CASE("whole numbers at their limits, and one past them") {
    CHECK(whole<std::uint64_t>("18446744073709551615") == ~std::uint64_t{0});
    CHECK_FALSE(whole<std::uint64_t>("18446744073709551616"));
    CHECK_FALSE(whole<std::uint64_t>("99999999999999999999999999999999999999999"));
    CHECK(whole<std::int64_t>("9223372036854775807") == INT64_MAX);
    CHECK_FALSE(whole<std::int64_t>("9223372036854775808"));
    CHECK(whole<std::int64_t>("-9223372036854775808") == INT64_MIN);
    CHECK_FALSE(whole<std::int64_t>("-9223372036854775809"));
    CHECK(whole<std::uint32_t>("4294967295") == 0xFFFF'FFFFu);
    CHECK_FALSE(whole<std::uint32_t>("4294967296"));
    CHECK(whole<std::uint8_t>("255") == std::uint8_t{255});
    CHECK_FALSE(whole<std::uint8_t>("256"));
    CHECK(whole<std::int32_t>("-2147483648") == INT32_MIN);
    CHECK_FALSE(whole<std::int32_t>("-2147483649"));
    CHECK_FALSE(whole<std::int32_t>("2147483648"));
}

TEST_CASE("whole numbers: zeros may lead, a minus only where there are negative ones, and nothing else") {
    CHECK(whole<std::uint64_t>("0") == 0u);
    CHECK(whole<std::uint64_t>("00000000000000000000000000007") == 7u);
    CHECK(whole<std::int64_t>("-0") == 0);
    CHECK(whole<std::int64_t>("-007") == -7);
    for (const char* bad : {"", "-", "+1", "--1", " 1", "1 ", "1.", "1e1", "0x1", "a", "1-"}) {
        CAPTURE(bad);
        CHECK_FALSE(whole<std::int64_t>(bad));
        CHECK_FALSE(whole<std::uint64_t>(bad));
    }
    CHECK_FALSE(whole<std::uint64_t>("-1"));
    CHECK_FALSE(whole<std::uint64_t>("-0"));
    static_assert([] {
        int out = 0;
        return parse_decimal("-12", out) && out == -12;
    }());
}

TEST_CASE("digits are taken from the front, up to the one that is too much") {
    std::uint8_t out = 42;
    std::string_view text = "025x";
    CHECK(take_decimal(text, out));
    CHECK(out == 25);
    CHECK(text == "x");
    CHECK_FALSE(take_decimal(text, out));
    CHECK(text == "x");
    text = "2560";
    CHECK_FALSE(take_decimal(text, out));
    CHECK(text == "60");
    CHECK(out == 25);
    std::uint64_t small = 42;
    text = "9";
    CHECK_FALSE(take_digits(text, 8, small));
    CHECK(take_digits(text, 9, small));
    CHECK(small == 9);
}

TEST_CASE("whole numbers as text") {
    CHECK(decimal(0) == "0");
    CHECK(decimal(INT64_MIN) == "-9223372036854775808");
    CHECK(decimal(INT64_MAX) == "9223372036854775807");
    CHECK(decimal(~std::uint64_t{0}) == "18446744073709551615");
    CHECK(decimal(std::int8_t{-7}) == "-7");
    CHECK(hexadecimal(0) == "0x0");
    CHECK(hexadecimal(0x1f) == "0x1f");
    CHECK(hexadecimal(~std::uint64_t{0}) == "0xffffffffffffffff");
}

TEST_CASE("what a text of a double may look like") {
    for (const char* good :
         {"1", "1.", ".5", "5.e1", "-.5e-3", "1E5", "1e+5", "1e-5", "00012", "0", "0e99999999999999999999",
          "0e-99999999999999999999", "0.0000000000000000000000000000000000"}) {
        CAPTURE(good);
        CHECK(differ(good) == 0);
        CHECK(real(good));
    }
    for (const char* bad :
         {"",      "-",     "+1",   "--1",  " 1",    "1 ",  ".",       "-.", "e5",     ".e5",   "1e",   "1e+", "1e-",
          "1e+-1", "1.2.3", "1e5.", "1e5x", "0x1p3", "1,5", "infinit", "in", "nan(1)", "nan()", "+inf", "1_0"}) {
        CAPTURE(bad);
        CHECK_FALSE(real(bad));
    }
    const std::uint64_t infinite = std::uint64_t{0x7FF} << 52;
    for (const char* text : {"inf", "INF", "Infinity", "iNFINITY"})
        CHECK(std::bit_cast<std::uint64_t>(real(text).value()) == infinite);
    CHECK(std::bit_cast<std::uint64_t>(real("-inf").value()) == (infinite | std::uint64_t{1} << 63));
    CHECK(std::bit_cast<std::uint64_t>(real("NaN").value()) == (infinite | std::uint64_t{1} << 51));
    CHECK(std::bit_cast<std::uint64_t>(real("-nan").value()) == (infinite | std::uint64_t{0x1001} << 51));
    CHECK(std::bit_cast<std::uint64_t>(real("-0").value()) == std::uint64_t{1} << 63);
}

TEST_CASE("doubles at their limits, and one past them") {
    CHECK(real("1.7976931348623157e308") == std::numeric_limits<double>::max());
    CHECK(real("1.7976931348623158e308") == std::numeric_limits<double>::max());
    CHECK_FALSE(real("1.7976931348623159e308"));
    CHECK(real("4.9e-324") == std::numeric_limits<double>::denorm_min());
    CHECK(real("2.4703282292062328e-324") == std::numeric_limits<double>::denorm_min());
    CHECK_FALSE(real("2.4703282292062327e-324"));
    CHECK(real("2.2250738585072014e-308") == std::numeric_limits<double>::min());
    CHECK(real("2.2250738585072012e-308") == std::numeric_limits<double>::min()); // rounded up from the subnormals
    for (const char* text : {"1e309", "1e310", "1e311", "-1e400", "1e99999999999999999999", "1e-324", "1e-325",
                             "-1e-400", "1e-99999999999999999999"})
        CHECK_FALSE(real(text));
    CHECK(real("0." + std::string(5000, '0') + "1e5001") == 1.0);
    CHECK(real("1" + std::string(5000, '0') + "e-5000") == 1.0);
    CHECK(real("9007199254740993") == 9007199254740992.0); // the middle goes to the even one
    CHECK(real("9007199254740993.0000000000000000000000000000000000000000001") == 9007199254740994.0);
    CHECK(real("9007199254740995") == 9007199254740996.0);
}

TEST_CASE("numbers that readers of decimal text got wrong") {
    for (const char* text : {"2.2250738585072011e-308",
                             "2.2250738585072012e-308",
                             "6.9294956446009195e15",
                             "3.571e266",
                             "3.08984926168550152811e-32",
                             "1.00000000000000011102230246251565",
                             "1.00000000000000011102230246251566",
                             "100000000000000016777215",
                             "100000000000000016777216",
                             "9214843084008499",
                             "30078505129381147446200",
                             "1777820000000000000001",
                             "0.500000000000000166547006220929549868969843373633921146392822265625",
                             "0.50000000000000016656055874808561867439493653364479541778564453125",
                             "0.000000000000000000000000000000000000011754942807573642918278",
                             "8.0e-324",
                             "1e23",
                             "8.442911973260991817129021e-309",
                             "2.47032822920623272e-324",
                             "1.448997445238699",
                             "6929495644600920e0",
                             "9007199254740991.5"})
        CHECK(differ(text) == 0);
}

TEST_CASE("middles between two doubles, of any length, and what is a little beside them" *
          doctest::test_suite("slow")) {
    std::mt19937_64 random{1};
    int wrong = 0;
    std::size_t longest = 0;
    for (int i = 0; i < 400; ++i) {
        std::uint64_t bits = random() >> (i % 3 == 0 ? 12 : 1);
        if (i < 4) bits = std::uint64_t{1} << 52 | (std::uint64_t{0xF'FFFF'FFFF'FFFF} >> i); // 767 digits
        if (bits >> 52 >= 0x7FE) continue;
        const std::string middle = middle_above(bits);
        longest = (std::max)(longest, middle.size() - middle.find_first_not_of("0."));
        const std::uint64_t even = bits + (bits & 1);
        // What is too small to be a number is none, -1 here.
        wrong += real(middle).value_or(-1) != (even == 0 ? -1 : of_bits(even)) ? 1 : 0;
        const std::string point = middle.find('.') == std::string::npos ? "." : "";
        for (const std::size_t zeros : {0u, 1u, 20u, 900u}) {
            wrong += real(middle + point + std::string(zeros, '0') + '1') != of_bits(bits + 1) ? 1 : 0;
            wrong += real(middle + point + std::string(zeros, '0')) != real(middle) ? 1 : 0;
        }
        std::string below = middle;
        for (std::size_t k = below.size(); k-- > 0;) {
            if (below[k] == '.') continue;
            below[k] = static_cast<char>(below[k] == '0' ? '9' : below[k] - 1);
            if (below[k] != '9') break;
        }
        below += point + std::string(static_cast<std::size_t>(random() % 900), '9');
        wrong += real(below).value_or(-1) != (bits == 0 ? -1 : of_bits(bits)) ? 1 : 0;
    }
    CHECK(wrong == 0);
    CHECK(longest >= 767);
}

TEST_CASE("texts of any shape mean what strtod says") {
    std::mt19937_64 random{2};
    int wrong = 0;
    for (int i = 0; i < 4000; ++i) {
        std::string text;
        const std::uint64_t digits = 1 + random() % (i % 9 == 0 ? 1200 : 25);
        for (std::uint64_t k = 0; k < digits; ++k) text += static_cast<char>('0' + random() % 10);
        if (i % 3 != 0) text.insert(static_cast<std::size_t>(random() % text.size()), ".");
        if (i % 4 != 0) text += 'e' + decimal(static_cast<std::int64_t>(random() % 760) - 380);
        if (i % 5 == 0) text.insert(0, "-");
        wrong += differ(text);
    }
    for (int power = -345; power < 312; ++power)
        for (const char* digits : {"1", "9", "3.3", "17976931348623157", "4940656458412465"})
            wrong += differ(digits + ("e" + decimal(power)));
    CHECK(wrong == 0);
}

TEST_CASE("a double's shortest text reads back, and no shorter one does") {
    std::mt19937_64 random{3};
    int wrong = 0;
    const auto check = [&wrong](std::uint64_t bits) {
        const double value = of_bits(bits);
        const std::string text = shortest(value);
        bool same = std::bit_cast<std::uint64_t>(real(text).value()) == bits;
        // One digit less: rounded as printf does, and one higher and lower.
        char buffer[40];
        std::size_t digits = 0;
        for (const char c : text.substr(0, text.find('e'))) digits += is_digit(c) ? 1u : 0u;
        const std::string plain = text.substr(text[0] == '-' ? 1 : 0, text.find('e'));
        if (text.find_first_of(".e") != std::string::npos && plain[0] != '0' && digits > 1) {
            std::snprintf(buffer, sizeof buffer, "%.*e", static_cast<int>(digits) - 2, value);
            same = same && real(buffer) != value;
        }
#if defined(__cpp_lib_to_chars)
        const std::string theirs(buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr);
        same = same && text == theirs;
#endif
        if (!same) MESSAGE(text);
        wrong += same ? 0 : 1;
    };
    for (std::uint64_t exponent = 0; exponent < 0x7FF; ++exponent)
        for (const std::uint64_t mantissa : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0} >> 12})
            check(exponent << 52 | mantissa);
    for (int i = 0; i < 3000; ++i) {
        const std::uint64_t bits = random();
        if ((bits << 1 >> 53) != 0x7FF) check(bits);
        check(bits >> 12);
        check(std::bit_cast<std::uint64_t>(static_cast<double>(bits >> (i % 64))));
        check(std::bit_cast<std::uint64_t>(static_cast<double>(bits % 1'000'000) * 1e-3));
    }
    CHECK(wrong == 0);
}

TEST_CASE("the forms of a double's text") {
    CHECK(shortest(0) == "0");
    CHECK(shortest(-0.0) == "-0");
    CHECK(shortest(0.1) == "0.1");
    CHECK(shortest(-1250.5) == "-1250.5");
    CHECK(shortest(1e23) == "1e+23");
    CHECK(shortest(9007199254740993.0) == "9007199254740992");
    CHECK(shortest(5e-324) == "5e-324");
    CHECK(shortest(1e-5) == "1e-05");
    CHECK(shortest(0.001) == "0.001");
    CHECK(shortest(0.0001) == "1e-04");
    CHECK(shortest(12300) == "12300");
    CHECK(shortest(123456789012345680) == "123456789012345680");
    CHECK(shortest(1152921504606846976) == "1152921504606846976");
    CHECK(shortest(5.684341886080802e-14) == "5.684341886080802e-14"); // 2^-44, whose lower neighbour is nearer
    CHECK(shortest(1.7976931348623157e308) == "1.7976931348623157e+308");
    const std::uint64_t infinite = std::uint64_t{0x7FF} << 52;
    CHECK(shortest(of_bits(infinite)) == "inf");
    CHECK(shortest(of_bits(infinite | std::uint64_t{1} << 63)) == "-inf");
    CHECK(shortest(of_bits(infinite | 1)) == "nan");
}

TEST_CASE("the locale changes nothing") {
    const std::string before = std::setlocale(LC_ALL, nullptr);
    for (const char* name : {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "C.UTF-8"})
        if (std::setlocale(LC_ALL, name) != nullptr) {
            CHECK(real("1.5") == 1.5);
            CHECK_FALSE(real("1,5"));
            CHECK(shortest(1.5) == "1.5");
        }
    std::setlocale(LC_ALL, before.c_str());
}

} // namespace number_test
