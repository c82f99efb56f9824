// tests/pickle/keys.cpp: equal keys, in small and large containers, against a plain comparison of all pairs.
//
// SPDX-License-Identifier: MIT
#include "../support/pickle_writer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace keys_test {

using ckpt::errc;
using namespace test_support;
using namespace test_support::pickles;

namespace {

// Ways to write each of some keys; those of one row are equal in Python.
const std::vector<std::vector<std::string>> keys{
    {"K\1", "I1\n", "I01\n", "\x88", real(1.0), long1("\1\0"s)},
    {"K\0"s, "I00\n", "\x89", real(0.0), real(-0.0), long1("")},
    {text("a"), short_text("a"), "Va\n", "S'a'\n", "U\1a", "T\1\0\0\0a"s},
    {bytes("a"), "C\1a", "\x8e\1\0\0\0\0\0\0\0a"s},
    {"N"},
    {")", "(t"},
    {"K\1\x85", "\x88\x85", real(1.0) + "\x85"},
    {"K\1K\2\x86", "(I01\nK\2t"},
    {"K\1K\2K\3\x87"},
    {text("a") + "K\1\x86", "Va\n\x88\x86"},
    {real(0.5)},
    {real(1e300)},
    {"L18446744073709551616L\n", long1("\0\0\0\0\0\0\0\0\1"s), long1("\0\0\0\0\0\0\0\0\1\0"s)},
    {global("m", "n"), stack_global("m", "n")},
    {global("m", "o")},
    {"I-9223372036854775808\n", real(-9223372036854775808.0), long1("\0\0\0\0\0\0\0\x80"s)},
};

TEST_CASE("keys that Python finds equal are one, in containers of every size and order") {
    std::uint32_t state = 3;
    const auto next = [&state](std::size_t n) {
        return static_cast<std::size_t>((state = state * 1664525u + 1013904223u) >> 8) % n;
    };
    for (int round = 0; round < 600; ++round) {
        const std::size_t n = 1 + next(round % 3 == 0 ? 60 : 9);
        std::string p = "}(";
        std::vector<std::size_t> order;           // rows, in order of first use
        std::map<std::size_t, std::int64_t> last; // what the last one was given
        for (std::size_t i = 0; i < n; ++i) {
            const std::size_t row = next(keys.size());
            p += keys[row][next(keys[row].size())] + 'M' + number(i, 2);
            if (last.count(row) == 0) order.push_back(row);
            last[row] = static_cast<std::int64_t>(i);
        }
        const parsed out{p + "u."};
        REQUIRE(out.ok());
        REQUIRE(out.root().size() == order.size());
        std::size_t i = 0;
        for (const ckpt::value::entry e : out.root().entries()) REQUIRE(*e.mapped.as_int() == last[order[i++]]);
    }
}

TEST_CASE("a NaN is equal to itself only where it is one object") {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    CHECK(parsed{"}(" + real(nan) + "N" + real(nan) + "Nu."}.root().size() == 2);
    CHECK(parsed{real(nan) + "q\0000}(h\0Nh\0Nu."s}.root().size() == 1);
}

TEST_CASE("objects are keys by identity") {
    CHECK(parsed{"}(" + global("m", "n") + ")RN" + global("m", "n") + ")RNu."}.root().size() == 2);
    CHECK(parsed{global("m", "n") + ")Rq\0000}(h\0Nh\0Nu."s}.root().size() == 1);
}

TEST_CASE("keys whose places in a table collide are all kept") {
    // Enough keys that the fall-back for crowded tables is reached by long runs of one hash.
    std::string p = "}(";
    for (std::uint32_t i = 0; i < 150; ++i) p += "(NNNNNNNNM" + number(i, 2) + "tM" + number(i, 2);
    for (std::uint32_t i = 0; i < 150; i += 3) p += "(NNNNNNNNM" + number(i, 2) + "tM" + number(1000 + i, 2);
    for (std::uint32_t i = 0; i < 500; ++i) p += 'M' + number(i, 2) + 'N';
    const parsed out{p + "u."};
    REQUIRE(out.ok());
    REQUIRE(out.root().size() == 650);
    std::size_t i = 0;
    for (const ckpt::value::entry e : out.root().entries()) {
        if (i < 150) REQUIRE(*e.mapped.as_int() == static_cast<std::int64_t>(i % 3 == 0 ? 1000 + i : i));
        ++i;
    }
}

} // namespace

} // namespace keys_test
