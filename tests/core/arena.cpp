// tests/core/arena.cpp: memory that goes back all at once, and arrays that never move.
//
// SPDX-License-Identifier: MIT
#include <ckpt/core/arena.hpp>
#include <ckpt/core/checked.hpp>
#include <ckpt/core/reader.hpp>
#include <ckpt/core/scratch.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

namespace arena_test {

using namespace ckpt::detail;

namespace {

TEST_CASE("allocations are aligned, apart from each other, and of any size") {
    for (const bool pooled : {false, true}) {
        const shared<block_pool> pool = pooled ? make_shared<block_pool>() : shared<block_pool>{};
        arena memory{pool};
        std::vector<std::pair<std::byte*, std::size_t>> all;
        std::uint32_t state = 1;
        for (int i = 0; i < 2000; ++i) {
            state = state * 1664525u + 1013904223u;
            const std::size_t alignment = std::size_t{1} << (state >> 29) % 7; // 64 at most
            const std::size_t bytes = (state >> 8) % (i % 50 == 0 ? 200'000 : 300);
            auto* const p = static_cast<std::byte*>(memory.allocate(bytes, alignment));
            REQUIRE(p != nullptr);
            REQUIRE(reinterpret_cast<std::uintptr_t>(p) % alignment == 0);
            std::memset(p, i & 0xFF, bytes);
            all.emplace_back(p, bytes);
        }
        std::size_t wrong = 0;
        for (std::size_t i = 0; i < all.size(); ++i)
            for (std::size_t k = 0; k < all[i].second; ++k)
                wrong += all[i].first[k] != static_cast<std::byte>(i & 0xFF);
        CHECK(wrong == 0);
        arena moved{std::move(memory)};
        CHECK(memory.total() == 0);
        CHECK(moved.total() > 0);
        CHECK(memory.allocate(8, 8) != nullptr);
    }
}

TEST_CASE("a pool gives the same blocks again") {
    const ckpt::scratch handle = ckpt::scratch::make();
    void* first = nullptr;
    {
        arena memory{handle.pool()};
        first = memory.allocate(100, 64);
        (void)memory.allocate(1 << 20, 64);
    }
    arena memory{handle.pool()};
    CHECK(memory.allocate(100, 64) == first);
    CHECK_FALSE(ckpt::scratch{}.pool());
}

TEST_CASE("a chunked array keeps its elements where they are") {
    arena memory;
    chunked_array<std::uint64_t> a;
    CHECK(a.empty());
    std::vector<const std::uint64_t*> places;
    for (std::uint64_t i = 0; i < 50'000; ++i) {
        a.push_back(memory, i * i);
        places.push_back(&a[static_cast<std::size_t>(i)]);
    }
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < places.size(); ++i) wrong += &a[i] != places[i] || a[i] != i * i;
    CHECK(wrong == 0);
    for (int i = 0; i < 20'000; ++i) a.pop_back();
    a.push_back(memory, 7);
    CHECK(a.size() == 30'001);
    CHECK(a.back() == 7);
    CHECK(a[29'999] == 29'999ull * 29'999);
    std::size_t n = 0;
    for (std::size_t i = 0; i < a.size(); i += a.run(i).size()) n += a.run(i).size();
    CHECK(n == a.size());
}

TEST_CASE("a work array grows, shrinks and fills") {
    for (const bool pooled : {false, true}) {
        work_array<std::uint32_t> a{pooled ? make_shared<block_pool>() : shared<block_pool>{}};
        for (std::uint32_t i = 0; i < 100'000; ++i) a.push_back(i);
        CHECK(a.size() == 100'000);
        CHECK(a[99'999] == 99'999);
        a.shrink(5);
        CHECK(a.back() == 4);
        a.pop_back();
        a.extend(300'000, 9);
        CHECK(a.size() == 300'000);
        CHECK(a[3] == 3);
        CHECK(a[4] == 9);
        CHECK(a.back() == 9);
    }
}

TEST_CASE("checked arithmetic tells what does not fit, at the very ends") {
    constexpr std::uint64_t most = ~std::uint64_t{0};
    std::uint64_t out{};
    CHECK(checked_add(most - 1, 1, out));
    CHECK(out == most);
    CHECK_FALSE(checked_add(most, 1, out));
    CHECK(checked_mul(std::uint64_t{1} << 32, (std::uint64_t{1} << 32) - 1, out));
    CHECK_FALSE(checked_mul(std::uint64_t{1} << 32, std::uint64_t{1} << 32, out));
    CHECK_FALSE(checked_mul(0x4000000000000001u, 4, out));
    CHECK(checked_mul(0, most, out));
    CHECK(checked_mul(most, 0, out));
    CHECK(checked_mul(most, 1, out));
    std::int8_t small{};
    CHECK(checked_narrow(std::int64_t{-128}, small));
    CHECK_FALSE(checked_narrow(std::int64_t{128}, small));
    CHECK_FALSE(checked_narrow(most, small));
    CHECK(range_inside(5, 5, 10));
    CHECK(range_inside(10, 0, 10));
    CHECK_FALSE(range_inside(11, 0, 10));
    CHECK_FALSE(range_inside(5, 6, 10));
    CHECK_FALSE(range_inside(1, most, 10));
    CHECK_FALSE(range_inside(most, most, 10));
    CHECK(budget_for(2, 3, 4) == 10);
    CHECK(budget_for(most, 2, 0) == most);
    CHECK(budget_for(1, most, 1) == most);
}

TEST_CASE("a reader never leaves its bytes, and does not move where it fails") {
    const std::array<std::byte, 9> bytes{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}, std::byte{5},
                                         std::byte{6}, std::byte{7}, std::byte{8}, std::byte{9}};
    reader in{bytes};
    std::uint16_t two{};
    std::uint32_t four{};
    std::uint64_t eight{};
    CHECK(in.take(two));
    CHECK(two == 0x0201);
    CHECK(in.take(four, ckpt::byte_order::big));
    CHECK(four == 0x03040506);
    CHECK_FALSE(in.take(eight));
    CHECK_FALSE(in.take(four));
    CHECK(in.offset() == 6);
    std::span<const std::byte> part;
    CHECK_FALSE(in.take(~std::uint64_t{0}, part));
    CHECK_FALSE(in.take(4, part));
    CHECK(in.take(3, part));
    CHECK(part[2] == std::byte{9});
    CHECK(in.take(0, part));
    CHECK(in.remaining() == 0);
    reader nothing{{}};
    CHECK(nothing.remaining() == 0);
    CHECK_FALSE(nothing.take(two));
    CHECK(byte_swap(std::uint64_t{0x0102030405060708u}) == 0x0807060504030201u);
}

static_assert(!std::is_copy_constructible_v<arena> && std::is_nothrow_move_constructible_v<arena> &&
              std::is_nothrow_move_assignable_v<arena>);

} // namespace

} // namespace arena_test
