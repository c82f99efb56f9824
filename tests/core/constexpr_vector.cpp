// tests/core/constexpr_vector.cpp: the vector of constexpr parsers, while compiling and at run time.
//
// SPDX-License-Identifier: MIT
#include <ckpt/core/constexpr_vector.hpp>

#include <doctest/doctest.h>

#include <string>
#include <utility>

namespace constexpr_vector_test {

using ckpt::detail::constexpr_vector;

namespace {

/// 0 where everything is as it should be, otherwise the line's number.
constexpr int faults() {
    constexpr_vector<constexpr_vector<int>> rows;
    if (!rows.empty() || rows.begin() != rows.end()) return __LINE__;
    for (int i = 0; i < 9; ++i) {
        constexpr_vector<int> row;
        for (int k = 0; k < i; ++k) row.push_back(k);
        rows.push_back(row);
    }
    rows.push_back(rows[8]); // a value of its own, also where the block grows
    if (rows.size() != 10 || rows.front().size() != 0 || rows.back().size() != 8 || rows.back()[7] != 7)
        return __LINE__;

    constexpr_vector<int> copy = rows[5];
    copy[0] = 42;
    if (rows[5][0] != 0 || copy.size() != 5 || copy.data() == rows[5].data()) return __LINE__;
    const int* const place = copy.data();
    constexpr_vector<int> moved = std::move(copy);
    if (moved.data() != place || moved.size() != 5 || !copy.empty()) return __LINE__;
    copy = moved;
    if (copy.size() != 5 || copy[0] != 42) return __LINE__;
    moved = rows[3];
    if (moved.size() != 3 || moved.back() != 2) return __LINE__;

    copy.assign(2, 7);
    copy.push_back(8);
    int sum = 0;
    for (const int x : copy) sum += x;
    return sum == 22 && copy.size() == 3 ? 0 : __LINE__;
}

} // namespace

TEST_CASE("constexpr_vector keeps values in order, copies and moves them") {
    static_assert(faults() == 0);
    CHECK(faults() == 0);
}

TEST_CASE("constexpr_vector: values that own memory") {
    constexpr_vector<std::string> words;
    for (int i = 0; i < 100; ++i) words.push_back(std::string(40, static_cast<char>('a' + i % 26)));
    words.push_back(words.front());
    CHECK(words.size() == 101);
    CHECK(words.back() == std::string(40, 'a'));
    constexpr_vector<std::string> other = words;
    const auto& itself = other;
    other = itself;
    CHECK(other[99] == std::string(40, 'v'));
}

} // namespace constexpr_vector_test
