// tests/core/index_table.cpp: numbered items, found by what they are.
//
// SPDX-License-Identifier: MIT
#include <ckpt/core/hash.hpp>
#include <ckpt/core/index_table.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace index_table_test {

using namespace ckpt::detail;

namespace {

TEST_CASE("equal items are found, others are not") {
    const std::vector<std::string> items{"a", "b", "c", "b", "d", "a"};
    std::vector<std::uint32_t> slots(index_table::slots_for(items.size()));
    index_table table{slots, items.size()};
    const auto same_as = [&](const std::string& wanted) { return [&](std::uint32_t i) { return items[i] == wanted; }; };
    std::vector<std::uint32_t> found;
    for (std::uint32_t i = 0; i < items.size(); ++i) {
        found.push_back(table.insert(hash_bytes(items[i]), i, same_as(items[i])));
    }
    CHECK(found == std::vector<std::uint32_t>{0, 1, 2, 1, 4, 0});
    CHECK(table.find(hash_bytes("d"), same_as("d")) == 4);
    CHECK(table.find(hash_bytes("e"), same_as("e")) == index_table::none);
    CHECK(table.erase(hash_bytes("b"), 1));
    CHECK(table.find(hash_bytes("b"), same_as("b")) == index_table::none);
    CHECK_FALSE(table.erase(hash_bytes("b"), 1));
    CHECK(index_table{}.find(0, [](std::uint32_t) { return true; }) == index_table::none);
}

TEST_CASE("a table is half full at most, and every slot of it is looked at") {
    for (const std::size_t n : {0u, 1u, 3u, 4u, 5u, 64u, 1000u}) {
        std::vector<std::uint32_t> slots(index_table::slots_for(n));
        CHECK(slots.size() >= 2 * n);
        index_table table{slots, n};
        for (std::uint32_t i = 0; i < n; ++i) { // all with one hash
            REQUIRE(table.insert(7, i, [](std::uint32_t) { return false; }) == i);
        }
        for (std::uint32_t i = 0; i < n; ++i) REQUIRE(table.find(7, [i](std::uint32_t k) { return k == i; }) == i);
    }
}

TEST_CASE("an insertion ends where somebody chose the hashes") {
    std::vector<std::uint32_t> slots(index_table::slots_for(100));
    index_table table{slots, 100};
    const auto never = [](std::uint32_t) { return false; };
    for (std::uint32_t i = 0; i < 5; ++i) CHECK(table.insert(1, i, never, 4) == i);
    CHECK(table.passed() == 0 + 1 + 2 + 3 + 4);
    CHECK(table.insert(1, 5, never, 4) == index_table::none);
    CHECK(table.insert(1, 5, never, 5) == 5);
    CHECK(table.find(1, [](std::uint32_t i) { return i == 4; }, 5) == 4);
    CHECK(table.find(1, [](std::uint32_t i) { return i == 5; }, 5) == index_table::none);
}

TEST_CASE("hashes that differ above 32 bits alone are told apart without a comparison") {
    std::vector<std::uint32_t> slots(index_table::slots_for(2));
    index_table table{slots, 2};
    std::size_t compared = 0;
    const auto counted = [&](std::uint32_t) { return ++compared > 0; };
    CHECK(table.insert(1, 0, counted) == 0);
    CHECK(table.insert(1 | std::uint64_t{1} << 63, 1, counted) == 1);
    CHECK(compared == 0);
    CHECK(table.find(1, counted) == 0);
    CHECK(table.find(1 | std::uint64_t{1} << 63, counted) == 1);
    CHECK(compared == 2);
}

TEST_CASE("a growing table does what a map does, whatever is put in and taken out") {
    growing_index_table table;
    std::unordered_map<std::uint64_t, std::uint32_t> map;
    std::vector<std::uint64_t> items;
    const auto hash_of = [&](std::uint32_t i) { return mix(items[i] % 512); }; // collisions, too
    std::uint64_t random = 1;
    for (int round = 0; round < 20'000; ++round) {
        random = mix(random + 0x9E37);
        const std::uint64_t value = random % 2048;
        const auto item = static_cast<std::uint32_t>(items.size());
        items.push_back(value);
        const auto equal = [&](std::uint32_t i) { return items[i] == value; };
        const auto known = map.find(value);
        REQUIRE(table.find(hash_of(item), equal) == (known == map.end() ? table.none : known->second));
        if ((random >> 32) % 3 == 0) {
            if (known == map.end()) continue;
            table.erase(hash_of(known->second), known->second);
            table.erase(hash_of(known->second), known->second); // is not in any more
            map.erase(known);
        } else {
            REQUIRE(table.insert(hash_of(item), item, equal, hash_of) == (known == map.end() ? item : known->second));
            map.try_emplace(value, item);
        }
    }
    CHECK(map.size() > 500);
}

} // namespace

} // namespace index_table_test
