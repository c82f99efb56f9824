// SPDX-License-Identifier: MIT
#include <ckpt/tensor/copy.hpp>
#include <ckpt/tensor/view.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <type_traits>

namespace view_test {

namespace {

static_assert(std::is_trivially_copyable_v<ckpt::tensor_view<float, 2>>);
static_assert(std::is_aggregate_v<ckpt::tensor_view<float, 2>>);
static_assert(std::is_invocable_v<ckpt::tensor_view<float, 2>, int, std::size_t>);
static_assert(!std::is_invocable_v<ckpt::tensor_view<float, 2>, int>);
static_assert(!std::is_invocable_v<ckpt::tensor_view<float, 2>, int, int, int>);
static_assert(!std::is_invocable_v<ckpt::tensor_view<float, 2>, int, double>);

TEST_CASE("a view is indexed by its strides, with any integer types") {
    const float data[]{0, 1, 2, 3, 4, 5};
    const ckpt::tensor_view<float, 2> rows{data, {2, 3}, {3, 1}};
    const ckpt::tensor_view<float, 2> columns{data, {3, 2}, {1, 3}};
    for (int r = 0; r < rows.shape[0]; ++r)
        for (int c = 0; c < rows.shape[1]; ++c) {
            CHECK(rows(r, c) == data[3 * r + c]);
            CHECK(&columns(static_cast<std::uint8_t>(c), static_cast<long long>(r)) == &rows(r, c));
        }
    CHECK(rows.numel() == 6);
    CHECK(rows.is_contiguous());
    CHECK_FALSE(columns.is_contiguous());
    CHECK(rows.span().value().size() == 6);
    CHECK(columns.span().error().code == ckpt::errc::needs_copy);
}

TEST_CASE("a view of rank 0 is one element") {
    const double x = 2.5;
    const ckpt::tensor_view<double, 0> w{&x};
    CHECK(w() == 2.5);
    CHECK(w.numel() == 1);
    CHECK(w.span().value().size() == 1);
}

TEST_CASE("shape and strides are arrays, and are called as those of a tensor are") {
    const float x[6]{};
    const ckpt::tensor_view<float, 2> w{x, {2, 3}, {3, 1}};
    CHECK(w.shape[1] == 3);
    CHECK(w.shape()[1] == 3);
    CHECK(w.strides()[0] == 3);
    CHECK(w.shape == std::array<std::int64_t, 2>{2, 3});
    CHECK(w.shape() == w.shape);
    const auto [rows, columns] = w.shape;
    CHECK(rows * columns == w.numel());
    static_assert(std::is_same_v<decltype(ckpt::tensor_copy<float, 2>{}.shape), ckpt::dimensions<2>>);
}

TEST_CASE("sizes of 1 and 0 do not spoil contiguity") {
    const float x[4]{};
    CHECK(ckpt::tensor_view<float, 3>{x, {2, 1, 2}, {2, 77, 1}}.is_contiguous());
    CHECK(ckpt::tensor_view<float, 2>{x, {1, 4}, {0, 1}}.is_contiguous());
    CHECK_FALSE(ckpt::tensor_view<float, 2>{x, {4, 1}, {0, 1}}.is_contiguous());
    const ckpt::tensor_view<float, 3> none{nullptr, {INT64_MAX, INT64_MAX, 0}, {1, 1, 1}};
    CHECK(none.numel() == 0);
    CHECK(none.span().value().empty());
    const ckpt::tensor_view<float, 3> none_first{nullptr, {0, INT64_MAX, INT64_MAX}, {1, 5, 1}};
    CHECK(none_first.is_contiguous());
    CHECK(none_first.numel() == 0);
}

} // namespace

} // namespace view_test
