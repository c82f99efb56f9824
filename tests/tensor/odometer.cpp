// tests/tensor/odometer.cpp: every index once, the last dimension fastest.
//
// SPDX-License-Identifier: MIT
#include <ckpt/tensor/odometer.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace odometer_test {

using ckpt::detail::next_index;

namespace {

TEST_CASE("offsets follow the indices, and are 0 again at the end") {
    const std::array<std::uint64_t, 3> sizes{2, 1, 3};
    const std::array<std::uint64_t, 3> strides{10, 7, 100};
    std::array<std::uint64_t, 3> index{};
    std::vector<std::uint64_t> offsets;
    std::uint64_t offset = 0;
    do {
        CHECK(offset == index[0] * 10 + index[1] * 7 + index[2] * 100);
        offsets.push_back(offset);
    } while (next_index(
        index, 3, [&](std::size_t d) { return sizes[d]; },
        [&](std::size_t d, std::uint64_t n) { offset += n * strides[d]; }));
    CHECK(offsets == std::vector<std::uint64_t>{0, 100, 200, 10, 110, 210});
    CHECK(offset == 0);
    CHECK((index[0] | index[1] | index[2]) == 0);
}

TEST_CASE("without dimensions there is one index") {
    std::array<std::uint64_t, 3> index{};
    CHECK_FALSE(next_index(index, 0, [](std::size_t) { return std::uint64_t{1}; }, [](std::size_t, std::uint64_t) {}));
}

} // namespace

} // namespace odometer_test
