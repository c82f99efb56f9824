// tests/state/diff.cpp: what is different in two state_dicts, and how far apart the values are.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/state/diff.hpp>

#include "../support/safetensors_writer.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace diff_test {

using ckpt::difference;
using namespace test_support;

namespace {

ckpt::state_dict weights(const std::string& bytes, ckpt::io_mode io = ckpt::io_mode::map) {
    return ckpt::open_bytes(bytes_of(bytes), {.io = io}).value().state_dict("").value();
}

/// A file with one tensor "t".
std::string one(std::string_view dtype, std::string_view shape, const std::string& data) {
    return safetensors_file('{' + safetensors_entry("t", dtype, shape, 0, data.size()) + '}', data);
}

/// How the tensors "t" of two files differ, mapped and read.
ckpt::changed_tensor change(const std::string& a, const std::string& b) {
    const auto found = ckpt::diff(weights(a), weights(b));
    const auto again = ckpt::diff(weights(a, ckpt::io_mode::read), weights(b, ckpt::io_mode::read));
    REQUIRE(found.changed.size() == 1);
    REQUIRE(again.changed.size() == 1);
    CHECK(found.equal == 0);
    CHECK(again.changed[0].why == found.changed[0].why);
    return found.changed[0];
}
template <class T> double apart(std::string_view dtype, const std::vector<T>& a, const std::vector<T>& b) {
    const std::string shape = '[' + std::to_string(a.size()) + ']';
    const auto c = change(one(dtype, shape, raw(a)), one(dtype, shape, raw(b)));
    CHECK(c.why == difference::values);
    return c.max_abs_diff.value();
}

double apart_complex() {
    const auto c = change(one("C64", "[2]", raw<float>({9, 9, 1, 1})), one("C64", "[2]", raw<float>({9, 9, 4, 5})));
    return c.max_abs_diff.value();
}

} // namespace

TEST_CASE("keys of one side only, in the order of their file; what is equal is counted") {
    using namespace pkl;
    const std::string a =
        torch_file(dict({{str("z"), floats("0", 1)}, {str("same"), floats("0", 1)}, {str("b"), floats("0", 1)}}),
                   {{"0", raw<float>({1})}});
    const std::string b =
        torch_file(dict({{str("same"), floats("0", 1)}, {str("y"), floats("0", 1)}, {str("x"), floats("0", 1)}}),
                   {{"0", raw<float>({1})}});
    const auto found = ckpt::diff(weights(a), weights(b));
    CHECK(found.only_a == std::vector<std::string>{"z", "b"});
    CHECK(found.only_b == std::vector<std::string>{"y", "x"});
    CHECK(found.changed.empty());
    CHECK(found.equal == 1);
    CHECK_FALSE(found.same());
    CHECK(ckpt::diff(weights(a), weights(a)).same());
    CHECK(ckpt::diff(weights(a), weights(a)).equal == 3);
}

TEST_CASE("an empty key is a key") {
    using namespace pkl;
    const auto file = [](const std::string& key) {
        return torch_file(dict({{str(key), floats("0", 1)}}), {{"0", raw<float>({1})}});
    };
    const std::string a = file(""), b = file("x");
    CHECK(ckpt::diff(weights(a), weights(a)).equal == 1);
    CHECK(ckpt::diff(weights(a), weights(b)).only_a == std::vector<std::string>{""});
    CHECK(ckpt::diff(weights(b), weights(a)).only_b == std::vector<std::string>{""});
}

TEST_CASE("dtype, then shape, then values") {
    CHECK(change(one("F32", "[1]", "1234"), one("I32", "[1]", "1234")).why == difference::dtype);
    CHECK(change(one("U8", "[2,2]", "1234"), one("U8", "[4]", "1234")).why == difference::shape);
    CHECK(change(one("U8", "[4]", "1234"), one("U8", "[4,1]", "1234")).why == difference::shape);
    CHECK_FALSE(change(one("U8", "[2,2]", "1234"), one("U8", "[4]", "1234")).max_abs_diff.has_value());
    CHECK(ckpt::diff(weights(one("U8", "[0,2]", "")), weights(one("U8", "[0,2]", ""))).same());
}

TEST_CASE("how far apart values are, of every kind") {
    CHECK(apart<float>("F32", {1, 2, 3}, {1, 2.5F, 2}) == 1.0);
    CHECK(apart<double>("F64", {1e300}, {-1e300}) == 2e300);
    CHECK(apart<std::uint8_t>("U8", {0, 255}, {255, 255}) == 255.0);
    CHECK(apart<std::int8_t>("I8", {-128}, {127}) == 255.0);
    CHECK(apart<std::int16_t>("I16", {-1}, {1}) == 2.0);
    CHECK(apart<std::uint8_t>("BOOL", {1, 0}, {1, 1}) == 1.0);
    // Beyond 2^53, where doubles are too coarse.
    CHECK(apart<std::int64_t>("I64", {(std::int64_t{1} << 62) + 1}, {std::int64_t{1} << 62}) == 1.0);
    CHECK(apart<std::int64_t>("I64", {std::numeric_limits<std::int64_t>::min()},
                              {std::numeric_limits<std::int64_t>::max()}) == 18446744073709551615.0);
    CHECK(apart<std::uint64_t>("U64", {~std::uint64_t{0}}, {~std::uint64_t{0} - 3}) == 3.0);
    CHECK(apart_complex() == 5.0);
    CHECK(apart<std::uint16_t>("F16", {0x3C00}, {0x4000}) == 1.0);  // 1 and 2
    CHECK(apart<std::uint16_t>("BF16", {0x3F80}, {0x4000}) == 1.0); // 1 and 2
    CHECK(apart<std::uint8_t>("F8_E4M3", {0x38}, {0x40}) == 1.0);   // 1 and 2
    CHECK(apart<float>("F32", {0.0F}, {-0.0F}) == 0.0);             // other bytes, no distance
}

TEST_CASE("NaN: the same bits are equal, others are a distance that is no number") {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float infinity = std::numeric_limits<float>::infinity();
    CHECK(ckpt::diff(weights(one("F32", "[2]", raw<float>({nan, infinity}))),
                     weights(one("F32", "[2]", raw<float>({nan, infinity}))))
              .same());
    CHECK(std::isnan(apart<float>("F32", {nan, 1, 2}, {3, 1, 9})));
    CHECK(std::isnan(apart<float>("F32", {5, 1, nan}, {3, 1, 9})));
    CHECK(apart<float>("F32", {infinity}, {1}) == std::numeric_limits<double>::infinity());
}

TEST_CASE("floats of two types are compared by their values; NaN on one side is counted apart") {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float infinity = std::numeric_limits<float>::infinity();
    const std::string wide = one("F32", "[5]", raw<float>({1, 2, nan, nan, infinity}));
    const std::string narrow = one("BF16", "[5]", raw<std::uint16_t>({0x3F80, 0x4010, 0x4040, 0x7FC0, 0x7F80}));
    const auto c = change(wide, narrow); // 1, 2.25, 3, NaN, infinity
    CHECK(c.why == difference::dtype);
    CHECK_FALSE(c.max_abs_diff.has_value());
    REQUIRE(c.distance.has_value());
    CHECK(c.distance->values == 5);
    CHECK(c.distance->different == 1);
    CHECK(c.distance->nans == 1);
    CHECK(c.distance->max_abs == 0.25);
    CHECK(c.distance->max_rel == 0.25 / 2.25);
    // No distance where one of them is no float, or the shapes differ.
    CHECK_FALSE(change(one("F32", "[1]", "1234"), one("I32", "[1]", "1234")).distance.has_value());
    CHECK_FALSE(change(wide, one("BF16", "[1]", "12")).distance.has_value());
}

TEST_CASE("a tolerance: at it values are equal, past it they are not") {
    const std::string a = one("F32", "[2]", raw<float>({1, 8}));
    const std::string b = one("F32", "[2]", raw<float>({1, 10}));
    const std::string half = one("F16", "[2]", raw<std::uint16_t>({0x3C00, 0x4900})); // 1, 10
    const auto is_near = [&](const std::string& left, const std::string& right, double atol, double rtol) {
        return ckpt::diff(weights(left), weights(right), {.within = ckpt::diff_tolerance{atol, rtol}}).same();
    };
    CHECK(is_near(a, b, 2, 0));
    CHECK_FALSE(is_near(a, b, 1.999, 0));
    CHECK(is_near(a, b, 0, 0.2)); // of b
    CHECK_FALSE(is_near(b, a, 0, 0.2));
    CHECK(is_near(a, b, 1, 0.1));
    CHECK(is_near(a, half, 2, 0));
    CHECK(is_near(b, half, 0, 0));
    CHECK_FALSE(ckpt::diff(weights(b), weights(half)).same());
    const float nan = std::numeric_limits<float>::quiet_NaN();
    CHECK(is_near(one("F32", "[1]", raw<float>({nan})), one("F32", "[1]", raw<std::uint32_t>({0x7FC0'0001})), 0, 0));
    CHECK_FALSE(is_near(one("F32", "[1]", raw<float>({nan})), one("F32", "[1]", raw<float>({0})), 9, 9));
}

TEST_CASE("strides do not count, in one part and in many") {
    using namespace pkl;
    // 300 x 500 floats, as rows and as columns, with a row of size 1 between: more than one part of 128 KiB.
    std::vector<float> rows(150'000), columns(150'000);
    for (std::size_t r = 0; r < 300; ++r)
        for (std::size_t c = 0; c < 500; ++c)
            rows[r * 500 + c] = columns[c * 300 + r] = static_cast<float>(r * 1000 + c);
    const auto file = [](const std::vector<float>& values, const std::vector<std::int64_t>& strides) {
        return torch_file(dict({{str("t"), tensor(storage("FloatStorage", "0", 150'000), 0, {300, 1, 500}, strides)}}),
                          {{"0", raw(values)}});
    };
    const std::string a = file(rows, {500, 7, 1});
    const std::string b = file(columns, {1, 1, 300});
    CHECK(ckpt::diff(weights(a), weights(b)).same());
    CHECK(ckpt::diff(weights(b), weights(a)).same());
    CHECK(ckpt::diff(weights(a, ckpt::io_mode::read), weights(b, ckpt::io_mode::read)).same());
    for (const std::size_t at : {std::size_t{0}, std::size_t{74'999}, std::size_t{149'999}}) {
        std::vector<float> other = columns;
        other[at] += 0.5F;
        CHECK(change(a, file(other, {1, 1, 300})).max_abs_diff.value() == 0.5);
    }
}

TEST_CASE("a tensor that cannot be read is a difference with its error, and no other entry is lost") {
    using namespace pkl;
    const std::string bad = torch_file(dict({{str("t"), floats("0", 1)}, {str("u"), floats("1", 1)}}),
                                       {{"0", "too long"}, {"1", raw<float>({1})}});
    const auto found = ckpt::diff(weights(bad), weights(bad));
    REQUIRE(found.changed.size() == 1);
    CHECK(found.changed[0].key == "t");
    CHECK(found.changed[0].why == difference::unreadable);
    CHECK(found.changed[0].failure.value().code == ckpt::errc::storage_size_mismatch);
    CHECK(found.equal == 1);
    // An expanded tensor may claim any size: it is not walked.
    const std::string wide =
        torch_file(dict({{str("t"), tensor(storage("FloatStorage", "0", 1), 0, {std::int64_t{1} << 50}, {0})}}),
                   {{"0", raw<float>({1})}});
    const auto refused = ckpt::diff(weights(wide), weights(wide));
    REQUIRE(refused.changed.size() == 1);
    CHECK(refused.changed[0].failure.value().code == ckpt::errc::output_limit);
}

} // namespace diff_test
