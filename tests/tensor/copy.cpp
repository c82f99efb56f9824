// tests/tensor/copy.cpp: tensors that own their values.
//
// SPDX-License-Identifier: MIT
#include "fake_storage.hpp"

#include <ckpt/tensor/copy.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

namespace copy_test {

using ckpt::dtype;
using ckpt::errc;
using ckpt::tensor_copy;

static_assert(!std::is_copy_constructible_v<tensor_copy<float, 2>> &&
              !std::is_copy_assignable_v<tensor_copy<float, 2>>);
static_assert(std::is_nothrow_move_constructible_v<tensor_copy<float, 2>> &&
              std::is_nothrow_move_assignable_v<tensor_copy<float, 2>>);

TEST_CASE("a copy has the values in row-major order, whatever the strides, at an address that is a multiple of 64") {
    const fake::storage storage(fake::bytes_of<float>({0, 1, 2, 3, 4, 5}), 1); // misaligned
    const fake::tensor transposed(storage, dtype::float32, {3, 2}, {1, 3});
    auto copy = tensor_copy<float, 2>::of(transposed.get()).value();
    CHECK(copy.shape == std::array<std::int64_t, 2>{3, 2});
    CHECK(copy.numel() == 6);
    CHECK(reinterpret_cast<std::uintptr_t>(copy.span().data()) % 64 == 0);
    CHECK(std::vector<float>(copy.span().begin(), copy.span().end()) == std::vector<float>{0, 3, 1, 4, 2, 5});
    CHECK(copy(2, 0) == 2);
    CHECK(copy(0, 1) == 3);
    copy(2, 1) = 7;
    const auto& read = copy;
    CHECK(read(2, 1) == 7);
    CHECK(read.span()[5] == 7);
    const auto view = copy.view();
    CHECK(view.strides == std::array<std::int64_t, 2>{2, 1});
    CHECK(view(2, 1) == 7);
    CHECK(view.is_contiguous());
}

TEST_CASE("bools are 0 and 1; foreign byte order, scalars and empty tensors are copied") {
    const fake::storage bools(fake::bytes_of<std::uint8_t>({0, 255, 1, 2}));
    const fake::tensor flags(bools, dtype::bool_, {4}, {1});
    const auto copy = tensor_copy<bool, 1>::of(flags.get()).value();
    CHECK_FALSE(copy(0));
    CHECK(copy(1) == true);
    CHECK(copy.span()[3] == true);
    std::uint8_t byte = 0;
    std::memcpy(&byte, &copy.span()[1], 1);
    CHECK(byte == 1);
    CHECK(tensor_copy<std::uint8_t, 1>::of(flags.get()).value()(1) == 1); // the integer that a bool is stored as

    fake::storage swapped(fake::bytes_of<std::uint16_t>({0x0102}));
    swapped.endian =
        ckpt::detail::native_order() == ckpt::byte_order::little ? ckpt::byte_order::big : ckpt::byte_order::little;
    swapped.mapped = false;
    const fake::tensor scalar(swapped, dtype::uint16, {}, {});
    CHECK(tensor_copy<std::uint16_t, 0>::of(scalar.get()).value()() == 0x0201);

    const fake::tensor empty(bools, dtype::uint8, {2, 0}, {1, 1});
    const auto nothing = tensor_copy<std::uint8_t, 2>::of(empty.get()).value();
    CHECK(nothing.numel() == 0);
    CHECK(nothing.shape[0] == 2);
    CHECK(nothing.span().empty());
}

TEST_CASE("another dtype is converted only where that is asked for, another rank never") {
    const fake::storage storage(fake::bytes_of<std::int32_t>({1, -2, 300}));
    const fake::tensor numbers(storage, dtype::int32, {3}, {1});
    CHECK(tensor_copy<float, 1>::of(numbers.get()).error().code == errc::dtype_mismatch);
    CHECK(tensor_copy<float, 1>::of(numbers.get(), true).value()(2) == 300);
    CHECK(tensor_copy<std::int8_t, 1>::of(numbers.get(), true).error().code == errc::conversion); // 300 does not fit
    CHECK(tensor_copy<ckpt::c64, 1>::of(numbers.get(), true).error().code == errc::conversion);
    CHECK(tensor_copy<std::int32_t, 2>::of(numbers.get()).error().code == errc::rank_mismatch);
    CHECK(tensor_copy<std::int32_t, 1>::of(ckpt::tensor{}).error().code == errc::no_data);
}

TEST_CASE("an expanded tensor does not make a copy that is far larger than its storage") {
    const fake::storage storage(fake::bytes_of<float>({1}));
    const fake::tensor some(storage, dtype::float32, {1 << 20}, {0}); // 4 MiB
    CHECK(tensor_copy<float, 1>::of(some.get()).value()(12345) == 1);
    const fake::tensor much(storage, dtype::float32, {std::int64_t{1} << 40}, {0});
    CHECK(tensor_copy<float, 1>::of(much.get()).error().code == errc::output_limit);
    // 64 MiB are free, and 16 times the storage of four bytes.
    constexpr std::int64_t most = (std::int64_t{1} << 24) + 16;
    const fake::tensor last(storage, dtype::float32, {most + 3}, {0}); // a sixteenth is rounded down
    CHECK(tensor_copy<float, 1>::of(last.get()).value()(most) == 1);
    const fake::tensor beyond(storage, dtype::float32, {most + 4}, {0});
    CHECK(tensor_copy<float, 1>::of(beyond.get()).error().code == errc::output_limit);
    const fake::tensor overflow(storage, dtype::float32, {std::int64_t{1} << 58}, {0});
    CHECK(tensor_copy<double, 1>::of(overflow.get(), true).error().code == errc::output_limit);
}

TEST_CASE("moving leaves nothing behind; a failed read is passed on") {
    fake::storage storage(fake::bytes_of<float>({1, 2}));
    const fake::tensor t(storage, dtype::float32, {2}, {1});
    auto a = tensor_copy<float, 1>::of(t.get()).value();
    auto b = std::move(a);
    CHECK(b(1) == 2);
    CHECK(a.numel() == 0); // NOLINT: what a moved-from copy is, is the point
    CHECK(a.shape[0] == 0);
    CHECK(a.span().empty());
    a = std::move(b);
    CHECK(a(0) == 1);
    CHECK(b.numel() == 0); // NOLINT
    auto& same = a;
    a = std::move(same);
    CHECK(a(1) == 2);
    CHECK(tensor_copy<float, 3>{}.numel() == 0);
    storage.failure = errc::zip_header_mismatch;
    CHECK(tensor_copy<float, 1>::of(t.get()).error().code == errc::zip_header_mismatch);
}

} // namespace copy_test
