// SPDX-License-Identifier: MIT
#include <ckpt/tensor/strided.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

namespace strided_test {

// That strided copies give the right elements is tested through tensors, in tensor.cpp.
namespace {

namespace detail = ckpt::detail;

TEST_CASE("neighbouring dimensions merge where one continues the other") {
    detail::box b;
    const std::int64_t shape[]{4, 1, 3, 5};
    const std::int64_t dense[]{15, 99, 5, 1};
    REQUIRE(detail::make_box(shape, dense, 7, b));
    CHECK(b.rank == 1);
    CHECK(b.sizes[0] == 60);
    CHECK(detail::is_dense(b));
    const std::int64_t sliced[]{20, 99, 5, 1};
    REQUIRE(detail::make_box(shape, sliced, 7, b));
    CHECK(b.rank == 2);
    CHECK(b.sizes[0] == 4);
    CHECK(b.sizes[1] == 15);
    std::uint64_t end{};
    REQUIRE(detail::reach(b, end));
    CHECK(end == 7 + 3 * 20 + 14 + 1);
    const std::int64_t zero[]{2, 0};
    const std::int64_t steps[]{1, 1};
    CHECK_FALSE(detail::make_box(zero, steps, 0, b));
    const std::int64_t negative[]{2, -3};
    CHECK_FALSE(detail::make_box(negative, steps, 0, b));
}

TEST_CASE("parts are as large as they may be, in order, and cover everything once") {
    detail::box b;
    const std::int64_t shape[]{3, 10, 4};
    const std::int64_t strides[]{1000, 50, 7};
    REQUIRE(detail::make_box(shape, strides, 5, b));
    REQUIRE(b.rank == 3);
    const auto parts_of = [&](std::uint64_t most) {
        std::vector<std::pair<std::uint64_t, std::uint64_t>> out; // offset, elements
        std::uint64_t expected = 0;
        const auto done =
            detail::for_each_part(b, most, [&](const detail::box& part, std::uint64_t first, std::uint64_t n) {
                CHECK(first == expected);
                CHECK(detail::count(part) == n);
                CHECK(n <= most);
                expected += n;
                out.emplace_back(part.offset, n);
                return ckpt::result<void>{};
            });
        CHECK(done.has_value());
        CHECK(expected == 120);
        return out;
    };
    using parts = std::vector<std::pair<std::uint64_t, std::uint64_t>>;
    CHECK(parts_of(120) == parts{{5, 120}});
    CHECK(parts_of(80) == parts{{5, 80}, {2005, 40}});
    CHECK(parts_of(39) == parts{{5, 36}, {455, 4}, {1005, 36}, {1455, 4}, {2005, 36}, {2455, 4}});
    CHECK(parts_of(3).size() == 60);
    CHECK(parts_of(1).size() == 120);
    CHECK(parts_of(1).back().first == 5 + 2 * 1000 + 9 * 50 + 3 * 7);
    int calls = 0;
    const auto failed =
        detail::for_each_part(b, 1, [&](const detail::box&, std::uint64_t, std::uint64_t) -> ckpt::result<void> {
            if (++calls == 3) return ckpt::error{.code = ckpt::errc::truncated};
            return {};
        });
    CHECK(failed.error().code == ckpt::errc::truncated);
    CHECK(calls == 3);
}

TEST_CASE("stored parts follow each other in the storage, and their elements know their places") {
    std::mt19937 random{20'261'129};
    const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
    std::vector<std::byte> storage(std::size_t{1} << 16);
    for (std::size_t i = 0; i < storage.size(); ++i) storage[i] = static_cast<std::byte>(i * 2654435761U >> 11);
    for (int round = 0; round < 2000; ++round) {
        // Dimensions in any order of their strides, with gaps between some, and now and then an expanded one.
        const std::uint32_t rank = below(5);
        std::vector<std::int64_t> sizes(rank), strides(rank);
        std::vector<std::uint32_t> order(rank);
        std::iota(order.begin(), order.end(), 0U);
        std::shuffle(order.begin(), order.end(), random);
        std::int64_t step = 1;
        for (const std::uint32_t d : order) {
            sizes[d] = 1 + below(6);
            strides[d] = below(12) == 0 ? 0 : step;
            step = step * sizes[d] + (below(3) == 0 ? below(5) : 0);
        }
        detail::box b;
        REQUIRE(detail::make_box(sizes, strides, below(100), b));
        std::vector<std::byte> wanted(detail::count(b)), got(wanted.size());
        detail::gather(storage.data(), b, 1, wanted.data());
        const std::uint64_t most = 1 + below(40);
        std::uint64_t all = 0;
        std::uint64_t last = 0;
        const auto done = detail::for_each_stored_part(b, most, [&](const detail::stored_part& part) {
            CHECK(part.count <= most);
            CHECK(detail::count(part.elements) == part.count);
            CHECK(part.elements.offset >= last);
            last = part.elements.offset;
            std::vector<std::byte> dense(part.count);
            detail::gather(storage.data(), part.elements, 1, dense.data());
            detail::copy_axes(part.axes, 1, dense.data(), got.data() + part.first);
            for (std::uint64_t i = 0; i < part.count; ++i) {
                REQUIRE(part.place(i) < wanted.size());
                CHECK(wanted[part.place(i)] == dense[i]);
                if (part.is_in_place()) CHECK(part.place(i) == part.first + i);
            }
            all += part.count;
            return ckpt::result<void>{};
        });
        CHECK(done.has_value());
        CHECK(all == wanted.size());
        CHECK(got == wanted);
    }
    detail::box b;
    const std::int64_t shape[]{4, 4};
    const std::int64_t strides[]{1, 4};
    REQUIRE(detail::make_box(shape, strides, 0, b));
    int calls = 0;
    const auto failed = detail::for_each_stored_part(b, 1, [&](const detail::stored_part&) -> ckpt::result<void> {
        if (++calls == 3) return ckpt::error{.code = ckpt::errc::truncated};
        return {};
    });
    CHECK(failed.error().code == ckpt::errc::truncated);
    CHECK(calls == 3);
}

/// Whether a copy along `axes` puts each element where it belongs, and writes nothing else.
bool copies(std::vector<detail::copy_axis> axes, std::size_t size, std::size_t misplaced,
            std::uint64_t whole_bytes = 0) {
    std::uint64_t in_end = 1, out_end = 1;
    for (const auto& a : axes) in_end += (a.size - 1) * a.in, out_end += (a.size - 1) * a.out;
    std::vector<std::byte> in(in_end * size + misplaced), out(out_end * size + 64 + 64), expected;
    std::uint32_t x = 1;
    for (std::byte& b : in) b = static_cast<std::byte>((x = x * 1664525u + 1013904223u) >> 24);
    auto* to = out.data();
    while (reinterpret_cast<std::uintptr_t>(to) % 64 != 0) ++to;
    to += misplaced;
    expected = out;
    std::byte* const should = expected.data() + (to - out.data());
    std::array<std::uint64_t, 64> index{};
    std::uint64_t from_at = 0, to_at = 0;
    do {
        std::memcpy(should + to_at * size, in.data() + misplaced + from_at * size, size);
    } while (detail::next_index(
        index, axes.size(), [&](std::size_t d) { return axes[d].size; },
        [&](std::size_t d, std::uint64_t n) { from_at += n * axes[d].in, to_at += n * axes[d].out; }));
    detail::copy_axes(axes, size, in.data() + misplaced, to, whole_bytes);
    return out == expected;
}

TEST_CASE("transposed matrices of every element size, below and above whole squares") {
    for (const std::size_t size : {1u, 2u, 4u, 8u, 16u})
        for (const std::uint64_t rows : {2u, 15u, 64u, 65u, 130u})
            for (const std::uint64_t columns : {2u, 16u, 63u, 66u}) {
                CAPTURE(size);
                CAPTURE(rows);
                CAPTURE(columns);
                CHECK(copies({{rows, 1, columns}, {columns, rows, 1}}, size, 0));
                CHECK(copies({{rows, columns + 3, 1}, {columns, 1, rows + 5}}, size, 1)); // to what is transposed
                CHECK(copies({{3, rows * columns, 7}, {rows, 1, 21 * columns}, {columns, rows, 21}}, size, 0));
                CHECK(copies({{rows, 1, 3 * columns}, {3, rows * columns, columns}, {columns, rows, 1}}, size, 0));
            }
    CHECK(copies({{1200, 1, 1152}, {1152, 1200, 1}}, 4, 0)); // large enough to go around the cache
    CHECK(copies({{1200, 1, 1152}, {1152, 1200, 1}}, 2, 1));
    CHECK(copies({{1200, 1, 1100}, {1100, 1200, 1}}, 2, 0));
}

TEST_CASE("transposed matrices whose rows lie whole pages apart, in memory and around the cache") {
    for (const std::uint64_t size : {1u, 2u, 4u, 8u})
        for (const std::uint64_t rows : {192u, 531u}) { // 531 of them are more than 2 MiB
            CAPTURE(size);
            CAPTURE(rows);
            const std::uint64_t step = 4096 / size, columns = step - 13;
            CHECK(copies({{columns, 1, rows}, {rows, step, 1}}, size, 0));
            CHECK(copies({{rows, step, 1}, {columns, 1, rows + 64}}, size, 8));
        }
}

TEST_CASE("parts of a copy that is large go around the cache, to the same places") {
    for (const std::size_t misplaced : {0u, 5u}) {
        CHECK(copies({{64, 1, 192}, {192, 64, 1}}, 4, misplaced, 2 << 20));
        CHECK(copies({{64, 192, 200}, {192, 1, 1}}, 4, misplaced, 2 << 20));
    }
}

TEST_CASE("rows that go around the cache, at any place") {
    for (const std::size_t misplaced : {0u, 1u, 16u, 63u}) {
        CHECK(copies({{700, 1000, 900}, {900, 1, 1}}, 4, misplaced));
        CHECK(copies({{90'000, 40, 30}, {30, 1, 1}}, 1, misplaced));
    }
    CHECK(copies({{1, 5, 9}, {6, 10, 10}, {10, 1, 1}}, 2, 0)); // one run
    CHECK(copies({{1, 5, 9}}, 8, 0));
    CHECK(copies({{5, 0, 3}, {3, 0, 1}}, 4, 0)); // one element everywhere
}

} // namespace

} // namespace strided_test
