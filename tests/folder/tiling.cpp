// tests/folder/tiling.cpp: boxes that fill a tensor, against counting every element.
//
// SPDX-License-Identifier: MIT
#include <ckpt/folder/tiling.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <vector>

namespace tiling_test {

using namespace ckpt::detail;

namespace {

using numbers = std::vector<std::int64_t>;

/// How many boxes each element is in, row-major.
numbers counted(const numbers& shape, const box_list& boxes) {
    std::size_t n = 1;
    for (const std::int64_t s : shape) n *= static_cast<std::size_t>(s);
    numbers out(n, 0);
    for (std::size_t i = 0; i < n; ++i) {
        numbers index(shape.size());
        std::size_t rest = i;
        for (std::size_t d = shape.size(); d-- > 0; rest /= static_cast<std::size_t>(shape[d]))
            index[d] = static_cast<std::int64_t>(rest % static_cast<std::size_t>(shape[d]));
        for (std::size_t b = 0; b < boxes.count; ++b) {
            bool inside = true;
            for (std::size_t d = 0; d < shape.size(); ++d) {
                const std::int64_t from = index[d] - boxes.offsets[b * boxes.rank + d];
                inside = inside && from >= 0 && from < boxes.sizes[b * boxes.rank + d];
            }
            out[i] += inside;
        }
    }
    return out;
}
/// What the check should say: the first element in row-major order that is not covered once.
void compare(const numbers& shape, const box_list& boxes) {
    std::uint64_t budget = 1'000'000;
    const tiling got = check_tiling(shape, boxes, budget);
    REQUIRE(got.fits);
    const numbers counts = counted(shape, boxes);
    std::size_t wrong = 0;
    while (wrong < counts.size() && counts[wrong] == 1) ++wrong;
    REQUIRE(got.element.empty() == (wrong == counts.size()));
    if (got.element.empty()) return;
    std::size_t place = 0;
    for (std::size_t d = 0; d < shape.size(); ++d)
        place = place * static_cast<std::size_t>(shape[d]) + static_cast<std::size_t>(got.element[d]);
    CHECK(place == wrong);
    CHECK(got.covered == counts[wrong]);
}

} // namespace

TEST_CASE("random boxes, and tilings cut at random with one box moved") {
    std::mt19937 random(11);
    const auto below = [&random](std::int64_t n) {
        return static_cast<std::int64_t>(random() % static_cast<unsigned>(n));
    };
    std::size_t whole = 0;
    for (int round = 0; round < 3000; ++round) {
        numbers shape(1 + random() % 3);
        for (auto& s : shape) s = 1 + below(5);
        box_list boxes{.rank = shape.size()};
        const auto add = [&](const numbers& at, const numbers& size) {
            boxes.offsets.insert(boxes.offsets.end(), at.begin(), at.end());
            boxes.sizes.insert(boxes.sizes.end(), size.begin(), size.end());
            ++boxes.count;
        };
        add(numbers(shape.size(), 0), shape);
        for (int cuts = static_cast<int>(random() % 6); cuts > 0; --cuts) { // one box becomes two
            const std::size_t b = random() % boxes.count, d = random() % shape.size();
            std::int64_t& size = boxes.sizes[b * boxes.rank + d];
            if (size < 2) continue;
            const std::int64_t first = 1 + below(size - 1);
            numbers at(boxes.offsets.begin() + static_cast<std::ptrdiff_t>(b * boxes.rank),
                       boxes.offsets.begin() + static_cast<std::ptrdiff_t>((b + 1) * boxes.rank));
            numbers rest(boxes.sizes.begin() + static_cast<std::ptrdiff_t>(b * boxes.rank),
                         boxes.sizes.begin() + static_cast<std::ptrdiff_t>((b + 1) * boxes.rank));
            at[d] += first;
            rest[d] -= first;
            size = first;
            add(at, rest);
        }
        std::uint64_t budget = 1'000'000;
        whole += check_tiling(shape, boxes, budget).element.empty();
        compare(shape, boxes);
        const std::size_t b = random() % boxes.count, d = random() % shape.size(); // and now one of them is elsewhere
        boxes.offsets[b * boxes.rank + d] = below(shape[d] - boxes.sizes[b * boxes.rank + d] + 1);
        compare(shape, boxes);
    }
    CHECK(whole == 3000);
}

TEST_CASE("no dimension, huge sizes, a budget") {
    std::uint64_t budget = 100;
    CHECK(check_tiling({}, {.rank = 0, .offsets = {}, .sizes = {}, .count = 1}, budget).element.empty());
    CHECK(check_tiling({}, {.rank = 0, .offsets = {}, .sizes = {}, .count = 2}, budget).covered == 2);
    const numbers huge{std::int64_t{1} << 61};
    const std::int64_t half = huge[0] / 2;
    CHECK(check_tiling(huge, {.rank = 1, .offsets = {0, half}, .sizes = {half, half}, .count = 2}, budget)
              .element.empty());
    CHECK(
        check_tiling(huge, {.rank = 1, .offsets = {0, half}, .sizes = {half, half - 1}, .count = 2}, budget).element ==
        numbers{huge[0] - 1});
    CHECK(budget == 71); // two and three corners without coordinates, then twice three boxes of two corners with one
    // Two boxes that are cut along one dimension cost six corners of two numbers.
    const auto fits = [&](std::uint64_t left) {
        return check_tiling(huge, {.rank = 1, .offsets = {0, half}, .sizes = {half, half}, .count = 2}, left).fits;
    };
    CHECK(fits(12));
    CHECK_FALSE(fits(11));
    const numbers many(31, 2);
    CHECK_FALSE(
        check_tiling(many, {.rank = 31, .offsets = numbers(31, 0), .sizes = numbers(31, 1), .count = 1}, budget).fits);
    CHECK_FALSE(check_tiling(numbers(60, 2),
                             {.rank = 60, .offsets = numbers(60, 0), .sizes = numbers(60, 1), .count = 1}, budget)
                    .fits);
}

} // namespace tiling_test
