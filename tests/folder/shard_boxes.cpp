// tests/folder/shard_boxes.cpp: the boxes of one process, against lists of indices that are cut one after another.
//
// SPDX-License-Identifier: MIT
#include <ckpt/folder/shard_boxes.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

namespace shard_boxes_test {

using namespace ckpt::detail;

namespace {

using numbers = std::vector<std::int64_t>;

/// torch.chunk: pieces of one size, the last ones shorter or empty.
std::vector<numbers> chunk(const numbers& of, std::int64_t n) {
    const auto all = static_cast<std::int64_t>(of.size());
    const std::int64_t size = (all + n - 1) / n;
    std::vector<numbers> out;
    for (std::int64_t i = 0; i < n; ++i)
        out.emplace_back(of.begin() + (std::min)(i * size, all), of.begin() + (std::min)((i + 1) * size, all));
    return out;
}
/// The indices of each dimension that one process has.
std::vector<numbers> indices(const numbers& shape, const std::vector<mesh_cut>& cuts) {
    std::vector<numbers> out;
    for (const std::int64_t n : shape) {
        out.emplace_back();
        for (std::int64_t i = 0; i < n; ++i) out.back().push_back(i);
    }
    for (const mesh_cut& c : cuts) {
        if (c.kind == mesh_cut::how::whole) continue;
        numbers mine;
        for (const numbers& block : chunk(out[c.dimension], c.split_factor)) {
            const numbers piece = chunk(block, c.size)[static_cast<std::size_t>(c.at)];
            mine.insert(mine.end(), piece.begin(), piece.end());
        }
        out[c.dimension] = mine;
    }
    return out;
}

} // namespace

TEST_CASE("placements cut a tensor as lists of indices are cut") {
    std::mt19937 random(5);
    const auto below = [&random](std::int64_t n) {
        return static_cast<std::int64_t>(random() % static_cast<unsigned>(n));
    };
    std::size_t several = 0;
    std::size_t none = 0;
    for (int round = 0; round < 3000; ++round) {
        numbers shape(1 + random() % 3);
        for (auto& n : shape) n = below(9);
        std::vector<mesh_cut> cuts(random() % 4);
        for (mesh_cut& c : cuts) {
            c = {random() % 4 == 0 ? mesh_cut::how::whole : mesh_cut::how::cut,
                 static_cast<std::uint32_t>(random() % shape.size()), random() % 3 == 0 ? 1 + below(4) : 1,
                 1 + below(4), 0};
            c.at = below(c.size);
        }
        const shard_boxes got = boxes_of_shard(shape, cuts);
        REQUIRE(got.fits);
        const std::vector<numbers> want = indices(shape, cuts);
        const std::size_t rank = shape.size();
        bool empty = false;
        for (std::size_t d = 0; d < rank; ++d) {
            CHECK(got.shape[d] == static_cast<std::int64_t>(want[d].size()));
            empty = empty || want[d].empty();
        }
        CHECK((got.whole.count == 0) == empty);
        none += empty;
        several += got.whole.count > 1;
        // Each element of what the process has is in one box, which puts it where its index says.
        std::int64_t elements = 0;
        for (std::size_t b = 0; b < got.whole.count; ++b) {
            std::int64_t n = 1;
            for (std::size_t d = 0; d < rank; ++d) {
                const std::size_t i = b * rank + d;
                n *= got.whole.sizes[i];
                for (std::int64_t k = 0; k < got.whole.sizes[i]; ++k)
                    CHECK(want[d][static_cast<std::size_t>(got.inner[i] + k)] == got.whole.offsets[i] + k);
            }
            elements += n;
        }
        std::int64_t all = empty ? 0 : 1;
        for (const numbers& w : want) all *= empty ? 1 : static_cast<std::int64_t>(w.size());
        CHECK(elements == all);
    }
    CHECK(several > 100);
    CHECK(none > 100);
}

TEST_CASE("sizes and factors of any magnitude are done at once, and too many stretches are refused") {
    constexpr std::int64_t huge = 9'223'372'036'854'775'807;
    using how = mesh_cut::how;
    const auto with = [](std::int64_t shape, std::vector<mesh_cut> cuts) {
        return boxes_of_shard(std::vector<std::int64_t>{shape}, cuts);
    };
    CHECK(with(huge, {{how::cut, 0, 1, huge, huge - 1}}).whole.offsets == numbers{huge - 1});
    CHECK(with(5, {{how::cut, 0, 1, huge, huge - 1}}).whole.count == 0);
    CHECK(with(5, {{how::cut, 0, huge, 1, 0}}).whole.sizes == numbers{5});
    CHECK_FALSE(with(huge, {{how::cut, 0, huge, 2, 0}}).fits); // all in one stretch, block by block
    CHECK(with(huge, {{how::cut, 0, huge, 1, 0}}).fits);
    CHECK_FALSE(with(huge, {{how::cut, 0, huge / 4, 2, 0}}).fits);
    CHECK(with(8192, {{how::cut, 0, 4096, 2, 0}}).whole.count == 4096);
    CHECK_FALSE(with(8194, {{how::cut, 0, 4097, 2, 0}}).fits);
    const std::vector<mesh_cut> both{{how::cut, 0, 64, 2, 0}, {how::cut, 1, 65, 2, 0}};
    CHECK_FALSE(boxes_of_shard(numbers{128, 130}, both).fits);
    const auto grid = [](std::int64_t rows, std::int64_t columns) {
        const std::vector<mesh_cut> cuts{{how::cut, 0, rows, 2, 0}, {how::cut, 1, columns, 2, 0}};
        return boxes_of_shard(numbers{2 * rows, 2 * columns}, cuts).fits;
    };
    CHECK(grid(64, 64));
    CHECK_FALSE(grid(17, 241)); // 4,097
}

} // namespace shard_boxes_test
