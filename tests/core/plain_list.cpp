// tests/core/plain_list.cpp: lists of elements that may be copied as bytes.
//
// SPDX-License-Identifier: MIT
#include <ckpt/core/plain_list.hpp>
#include <ckpt/core/sorting.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <utility>
#include <vector>

namespace plain_list_test {

using ckpt::detail::plain_list;

namespace {

struct plain_row {
    std::uint64_t key{};
    std::uint32_t value{7};
    friend bool operator==(const plain_row&, const plain_row&) = default;
};

std::vector<plain_row> rows_of(const plain_list<plain_row>& list) { return {list.begin(), list.end()}; }

} // namespace

TEST_CASE("a plain_list does what a vector does") {
    plain_list<plain_row> list;
    std::vector<plain_row> same;
    CHECK(list.empty());
    CHECK(list.begin() == list.end());
    std::mt19937 random{3};
    for (std::uint32_t i = 0; i < 3000; ++i) {
        switch (random() % 8) {
        case 0:
            if (!same.empty()) {
                list.pop_back();
                same.pop_back();
            }
            break;
        case 1:
            CHECK(list.emplace_back() == plain_row{});
            same.emplace_back();
            break;
        case 2:
            if (same.size() > 100) {
                list.shrink(50);
                same.resize(50);
            }
            break;
        default: list.push_back({i, i}); same.push_back({i, i});
        }
        REQUIRE(list.size() == same.size());
        REQUIRE(list.empty() == same.empty());
        if (same.empty()) continue;
        REQUIRE(list.front() == same.front());
        REQUIRE(list.back() == same.back());
        REQUIRE(list[i % same.size()] == same[i % same.size()]);
    }
    CHECK(rows_of(list) == same);
    const std::span<const plain_row> seen{list};
    CHECK(seen.size() == same.size());
    CHECK(seen.data() == list.data());
    list.clear();
    CHECK(list.empty());
}

TEST_CASE("an element of a plain_list can be added to it while it grows") {
    plain_list<plain_row> list;
    list.push_back({5, 6});
    for (int i = 0; i < 100; ++i) list.push_back(list.front());
    for (const plain_row& r : list) CHECK(r == plain_row{5, 6});
}

TEST_CASE("a plain_list takes the room that is asked for, and no more when it is there") {
    plain_list<plain_row> list;
    list.reserve(10);
    CHECK(list.capacity() == 10);
    const plain_row* const first = list.data();
    for (std::uint32_t i = 0; i < 10; ++i) list.push_back({i, i});
    CHECK(list.data() == first);
    list.reserve(10);
    CHECK(list.data() == first);
    list.push_back({10, 10});
    CHECK(list.capacity() == 20); // twice as much
    list.reserve(21);
    CHECK(list.capacity() == 40);
    list.reserve(81);
    CHECK(list.capacity() == 81);
    CHECK(list.size() == 11);
    CHECK(list[9] == plain_row{9, 9});
}

TEST_CASE("a plain_list is copied and moved as a vector is") {
    plain_list<plain_row> list;
    const plain_list<plain_row> nothing{list};
    CHECK(nothing.empty());
    for (std::uint32_t i = 0; i < 20; ++i) list.push_back({i, i});
    plain_list<plain_row> copy{list};
    copy[0].value = 99;
    CHECK(list[0].value == 0);
    CHECK(copy.size() == 20);
    const plain_row* const first = list.data();
    plain_list<plain_row> moved{std::move(list)};
    CHECK(moved.data() == first);
    CHECK(list.empty());
    copy = moved;
    CHECK(copy[0].value == 0);
    CHECK(copy.data() != first);
    list = std::move(moved);
    CHECK(list.data() == first);
    CHECK(moved.empty());
    auto& self = list;
    list = self;
    CHECK(list.size() == 20);
}

TEST_CASE("a plain_list is sorted as a vector is, equal elements keep their places") {
    plain_list<plain_row> list;
    for (std::uint32_t i = 0; i < 100; ++i) list.push_back({i % 3, i});
    ckpt::detail::sort_values(list, [](const plain_row& a, const plain_row& b) { return a.key < b.key; });
    for (std::size_t i = 1; i < list.size(); ++i) {
        CHECK(list[i - 1].key <= list[i].key);
        if (list[i - 1].key == list[i].key) CHECK(list[i - 1].value < list[i].value);
    }
}

} // namespace plain_list_test
