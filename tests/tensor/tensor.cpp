// SPDX-License-Identifier: MIT
#include "fake_storage.hpp"

#include <ckpt/core/digest.hpp>
#include <ckpt/tensor/convert.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <span>
#include <string>
#include <vector>

namespace tensor_test {

namespace {

using ckpt::dtype;
using ckpt::errc;
using ckpt::detail::byte_swap;

constexpr ckpt::byte_order foreign =
    ckpt::detail::native_order() == ckpt::byte_order::little ? ckpt::byte_order::big : ckpt::byte_order::little;

template <class T> std::vector<T> counting(std::size_t n, T first = T{}) {
    std::vector<T> out(n);
    std::iota(out.begin(), out.end(), first);
    return out;
}

template <class T> std::vector<T> copied(const ckpt::tensor& t) {
    std::vector<T> out(static_cast<std::size_t>(t.numel()));
    const auto done = t.copy_to(std::span{out});
    CAPTURE((done ? std::string() : done.error().message()));
    REQUIRE(done.has_value());
    return out;
}

template <class T> std::uint32_t crc_of(const std::vector<T>& values) { // as a little-endian machine keeps them
    auto raw = fake::bytes_of(values);
    if (ckpt::detail::native_order() == ckpt::byte_order::big)
        ckpt::detail::swap_components(ckpt::dtype_of<T>::value, raw.data(), values.size());
    return ckpt::detail::crc32(raw);
}

TEST_CASE("an empty handle answers with zeros and errors") {
    const ckpt::tensor none;
    CHECK_FALSE(none);
    CHECK(none.shape().empty());
    CHECK(none.strides().empty());
    CHECK(none.numel() == 0);
    CHECK(none.nbytes() == 0);
    CHECK(none.storage_key().empty());
    CHECK(none.storage_nbytes() == 0);
    CHECK_FALSE(none.is_contiguous());
    CHECK(none.refusal() == nullptr);
    CHECK(none.bytes().error().code == errc::no_data);
    CHECK(none.view<float, 2>().error().code == errc::no_data);
    CHECK(none.copy_to(std::span<float>{}).error().code == errc::no_data);
    CHECK(none.copy_as(std::span<float>{}).error().code == errc::no_data);
    CHECK(none.crc32().error().code == errc::no_data);
    CHECK(none.file_offset().error().code == errc::no_data);
}

TEST_CASE("V1: the last byte of a tensor lies inside its storage") {
    const fake::storage store{std::vector<std::byte>(100)};
    const auto check = [&](dtype type, std::vector<std::int64_t> shape, std::vector<std::int64_t> strides,
                           std::uint64_t offset = 0) {
        return fake::tensor{store, type, std::move(shape), std::move(strides), offset}.checked;
    };
    CHECK(check(dtype::float32, {25}, {1}) == errc::none);
    CHECK(check(dtype::float32, {26}, {1}) == errc::out_of_bounds);
    CHECK(check(dtype::float32, {24}, {1}, 1) == errc::none);
    CHECK(check(dtype::float32, {25}, {1}, 1) == errc::out_of_bounds);
    CHECK(check(dtype::float32, {}, {}, 24) == errc::none);
    CHECK(check(dtype::float32, {}, {}, 25) == errc::out_of_bounds);
    CHECK(check(dtype::float32, {5, 5}, {5, 1}) == errc::none);
    CHECK(check(dtype::float32, {5, 5}, {1, 5}) == errc::none);
    CHECK(check(dtype::float32, {5, 5}, {5, 2}) == errc::out_of_bounds);
    CHECK(check(dtype::float64, {2, 7}, {5, 1}) == errc::none); // 12 elements of 8 bytes: 96
    CHECK(check(dtype::float64, {2, 8}, {5, 1}) == errc::out_of_bounds);
    // An expanded tensor may claim any shape that can be counted.
    CHECK(check(dtype::float32, {1'000'000'000, 1'000'000}, {0, 0}) == errc::none);
    // Sizes of 1 have strides that nobody follows.
    CHECK(check(dtype::float32, {1, 25}, {INT64_MAX, 1}) == errc::none);
    // In bits: two values in a byte.
    CHECK(check(dtype::quint4x2, {200}, {1}) == errc::none);
    CHECK(check(dtype::quint4x2, {199}, {1}) == errc::none);
    CHECK(check(dtype::quint4x2, {201}, {1}) == errc::out_of_bounds);
    CHECK(check(dtype::quint2x4, {400}, {1}) == errc::none);
    CHECK(check(dtype::quint2x4, {400}, {1}, 1) == errc::out_of_bounds);
}

TEST_CASE("V1: nothing negative, nothing that wraps, no more dimensions than the limit") {
    const fake::storage store{std::vector<std::byte>(100)};
    const auto check = [&](std::vector<std::int64_t> shape, std::vector<std::int64_t> strides,
                           std::uint64_t offset = 0) {
        const fake::tensor t{store, dtype::float32, std::move(shape), std::move(strides), offset};
        if (t.checked != errc::none) CHECK(t.data.numel == 0);
        return t.checked;
    };
    CHECK(check({-1}, {1}) == errc::shape_invalid);
    CHECK(check({2}, {-1}) == errc::shape_invalid);
    CHECK(check({1}, {-1}) == errc::shape_invalid);
    CHECK(check({0}, {-1}) == errc::shape_invalid);
    CHECK(check({0, -1}, {1, 1}) == errc::shape_invalid);
    CHECK(check({1}, {1}, static_cast<std::uint64_t>(std::int64_t{-1})) == errc::shape_invalid);
    CHECK(check({4294967296, 4294967296}, {0, 0}) == errc::shape_invalid);       // 2^64 elements
    CHECK(check({4294967296, 2147483648}, {0, 0}) == errc::shape_invalid);       // 2^63
    CHECK(check({INT64_MAX}, {0}) == errc::shape_invalid);                       // 2^65 bytes
    CHECK(check({std::int64_t{1} << 58}, {0}) == errc::none);                    // 2^60 bytes, all the same four
    CHECK(check({3}, {INT64_MAX}) == errc::shape_invalid);                       // 2 * stride wraps
    CHECK(check({3, 3}, {INT64_MAX / 2, INT64_MAX / 2}) == errc::shape_invalid); // the sum wraps
    CHECK(check({2}, {std::int64_t{1} << 59}) == errc::shape_invalid);           // the bits wrap
    CHECK(check({2}, {std::int64_t{1} << 58}) == errc::out_of_bounds);
    CHECK(check({1}, {1}, INT64_MAX) == errc::shape_invalid);
    CHECK(check(std::vector<std::int64_t>(64, 1), std::vector<std::int64_t>(64, 1)) == errc::none);
    CHECK(check(std::vector<std::int64_t>(65, 1), std::vector<std::int64_t>(65, 1)) == errc::shape_invalid);
    CHECK(fake::tensor(store, static_cast<dtype>(99), {1}, {1}).checked == errc::dtype_unknown);
}

TEST_CASE("a tensor without elements needs only non-negative numbers") {
    const fake::storage store{std::vector<std::byte>(8)};
    const fake::tensor t{store, dtype::float32, {INT64_MAX, 0, INT64_MAX}, {INT64_MAX, INT64_MAX, 1}, INT64_MAX};
    REQUIRE(t.checked == errc::none);
    CHECK(t.get().numel() == 0);
    CHECK(t.get().nbytes() == 0);
    CHECK(t.get().is_contiguous());
    CHECK(t.get().bytes().value().empty());
    CHECK(t.get().crc32().value() == 0);
    CHECK(t.get().copy_to(std::span<float>{}).has_value());
    const auto w = t.get().view<float, 3>().value();
    CHECK(w.data == nullptr);
    CHECK(w.shape[0] == INT64_MAX);
    CHECK(w.span().value().empty());
    CHECK(t.get().file_offset().value() == 1216 + 8); // not past the storage
}

TEST_CASE("the error of a geometry has its numbers") {
    const fake::storage store{std::vector<std::byte>(100)};
    const auto text = [&](const fake::tensor& t) {
        return ckpt::detail::geometry_error(t.checked, t.data, 100, 64).message();
    };
    const std::string out = text({store, dtype::float32, {5, 6}, {6, 1}, 3});
    CHECK(out.find("float32") != std::string::npos);
    CHECK(out.find("[5, 6]") != std::string::npos);
    CHECK(out.find("needs 132 bytes, its storage has 100") != std::string::npos);
    CHECK(text({store, dtype::float32, {-5}, {1}}).find("negative") != std::string::npos);
    CHECK(text({store, dtype::float32, {2}, {1}, ~std::uint64_t{0}}).find("offset -1 has a negative") !=
          std::string::npos);
    CHECK(text({store, dtype::float32, {INT64_MAX}, {1}}).find("overflows") != std::string::npos);
    CHECK(text({store, dtype::float32, std::vector<std::int64_t>(65, 1), std::vector<std::int64_t>(65, 1)})
              .find("65 dimensions") != std::string::npos);
    CHECK(text({store, dtype::float32, std::vector<std::int64_t>(20, 9), std::vector<std::int64_t>(20, 1)})
              .find("+12 more") != std::string::npos);
}

TEST_CASE("a view shows the storage itself, through the tensor's strides") {
    const fake::storage store{fake::bytes_of(counting<float>(24))};
    const fake::tensor t{store, dtype::float32, {3, 4}, {1, 5}, 2};
    const auto w = t.get().view<float, 2>().value();
    for (int r = 0; r < w.shape[0]; ++r)
        for (int c = 0; c < w.shape[1]; ++c) CHECK(w(r, c) == static_cast<float>(2 + r + 5 * c));
    CHECK(reinterpret_cast<const std::byte*>(w.data) == store.all().data() + 8);
    const fake::tensor scalar{store, dtype::float32, {}, {}, 23};
    CHECK(scalar.get().view<float, 0>().value()() == 23.0f);
}

TEST_CASE("a view that would show wrong numbers is refused, with the reason") {
    fake::storage store{fake::bytes_of(counting<std::uint64_t>(8))};
    const auto code = [&]<class T, std::size_t Rank>(dtype type, bool neg, bool conj, T,
                                                     std::integral_constant<std::size_t, Rank>) {
        fake::tensor t{store, type, {2}, {1}};
        t.data.neg = neg;
        t.data.conj = conj;
        const auto view = t.get().view<T, Rank>();
        return view ? errc::none : view.error().code;
    };
    constexpr std::integral_constant<std::size_t, 1> one;
    constexpr std::integral_constant<std::size_t, 2> two;
    CHECK(code(dtype::float32, false, false, 0.0f, one) == errc::none);
    CHECK(code(dtype::float32, false, false, 0.0f, two) == errc::rank_mismatch);
    CHECK(code(dtype::float32, false, false, std::int32_t{}, one) == errc::dtype_mismatch);
    CHECK(code(dtype::float16, false, false, ckpt::bf16{}, one) == errc::dtype_mismatch);
    CHECK(code(dtype::float32, true, false, 0.0f, one) == errc::lazy_bit);
    CHECK(code(dtype::complex64, false, true, ckpt::c64{}, one) == errc::lazy_bit);
    CHECK(code(dtype::float32, false, true, 0.0f, one) == errc::none); // conj means nothing for real numbers
    CHECK(code(dtype::quint4x2, false, false, std::uint8_t{}, one) == errc::packed);
    CHECK(code(dtype::float4_e2m1fn_x2, false, false, std::uint8_t{}, one) == errc::packed);
    // What has no type in C++ is seen as the integer that it is stored as.
    CHECK(code(dtype::bool_, false, false, std::uint8_t{}, one) == errc::none);
    CHECK(code(dtype::qint8, false, false, std::int8_t{}, one) == errc::none);
    CHECK(code(dtype::qint8, false, false, std::uint8_t{}, one) == errc::dtype_mismatch);
    CHECK(code(dtype::qint32, false, false, std::int32_t{}, one) == errc::none);
    CHECK(code(dtype::uint8, false, false, std::uint8_t{}, one) == errc::none);

    store.endian = foreign;
    CHECK(code(dtype::float32, false, false, 0.0f, one) == errc::byte_order);
    CHECK(code(dtype::uint8, false, false, std::uint8_t{}, one) == errc::none); // single bytes have no order
    store.endian = ckpt::detail::native_order();
    store.mapped = false;
    CHECK(code(dtype::float32, false, false, 0.0f, one) == errc::not_mapped);
    store.failure = errc::zip_header_mismatch; // what the storage says comes through
    CHECK(code(dtype::float32, false, false, 0.0f, one) == errc::zip_header_mismatch);
}

TEST_CASE("a view of bytes that are not aligned is refused, a copy works") {
    const fake::storage store{fake::bytes_of(counting<float>(6)), 2};
    const fake::tensor t{store, dtype::float32, {6}, {1}};
    CHECK(t.get().view<float, 1>().error().code == errc::misaligned);
    CHECK(copied<float>(t.get()) == counting<float>(6));
    CHECK(t.get().bytes().value().size() == 24);
    const fake::storage half{fake::bytes_of(counting<std::uint16_t>(6)), 2};
    const fake::tensor aligned{half, dtype::uint16, {6}, {1}};
    CHECK(aligned.get().view<std::uint16_t, 1>().has_value());
}

TEST_CASE("layouts without elements of their own say so; a refused tensor returns its error") {
    const fake::storage store{std::vector<std::byte>(16)};
    fake::tensor t{store, dtype::float32, {4}, {1}};
    float out[4];
    t.data.kind = ckpt::layout::sparse_coo;
    CHECK(t.get().view<float, 1>().error().code == errc::not_strided);
    CHECK(t.get().copy_to(std::span{out}).error().code == errc::not_strided);
    CHECK(t.get().crc32().error().code == errc::not_strided);
    CHECK(t.get().bytes().error().code == errc::not_strided);
    CHECK(t.get().file_offset().error().code == errc::not_strided);
    CHECK(t.get().storage_key().empty());
    t.data.kind = ckpt::layout::meta;
    CHECK(t.get().copy_as(std::span{out}).error().code == errc::no_data);
    CHECK(t.get().nbytes() == 16);
    t.data.kind = ckpt::layout::strided;
    const ckpt::error refusal{.code = errc::bad_arguments, .detail = "was refused"};
    t.data.refusal = &refusal;
    CHECK(t.get().refusal() == &refusal);
    CHECK(t.get().view<float, 1>().error().code == errc::bad_arguments);
    CHECK(t.get().copy_to(std::span{out}).error().detail == "was refused");
    CHECK(t.get().crc32().error().code == errc::bad_arguments);
    for (const ckpt::layout kind : {ckpt::layout::strided, ckpt::layout::wrapper}) CHECK(ckpt::name(kind) != "unknown");
}

TEST_CASE("bytes are the stored ones, of contiguous tensors only") {
    fake::storage store{fake::bytes_of(counting<std::uint16_t>(12))};
    const fake::tensor t{store, dtype::int16, {2, 4}, {4, 1}, 3};
    CHECK(t.get().bytes().value().data() == store.all().data() + 6);
    CHECK(t.get().bytes().value().size() == 16);
    CHECK(t.get().file_offset().value() == 1216 + 6);
    CHECK(t.get().storage_nbytes() == 24);
    CHECK(t.get().storage_key() == "7");
    const fake::tensor row{store, dtype::int16, {1, 4}, {99, 1}};
    CHECK(row.get().is_contiguous()); // nobody follows the stride of a size of 1
    const fake::tensor across{store, dtype::int16, {4, 2}, {1, 4}};
    CHECK(across.get().bytes().error().code == errc::needs_copy);
    fake::tensor negated{store, dtype::int16, {4}, {1}};
    negated.data.neg = true;
    CHECK(negated.get().bytes().error().code == errc::lazy_bit);
    const fake::tensor nibbles{store, dtype::quint4x2, {5}, {1}, 2};
    CHECK(nibbles.get().nbytes() == 3);
    CHECK(nibbles.get().bytes().value().data() == store.all().data() + 1);
    CHECK(nibbles.get().bytes().value().size() == 3);
    const fake::tensor half_a_byte{store, dtype::quint4x2, {4}, {1}, 1};
    CHECK(half_a_byte.get().bytes().error().code == errc::needs_copy);
    store.mapped = false;
    CHECK(t.get().bytes().error().code == errc::not_mapped);
}

TEST_CASE("a copy has the exact type and as many elements as the tensor") {
    const fake::storage store{fake::bytes_of(counting<float>(4))};
    const fake::tensor t{store, dtype::float32, {4}, {1}};
    std::array<double, 4> wide{};
    std::array<float, 5> five{};
    CHECK(t.get().copy_to(std::span{wide}).error().code == errc::dtype_mismatch);
    CHECK(t.get().copy_to(std::span{five}).error().code == errc::size_mismatch);
    CHECK(t.get().copy_as(std::span{wide}).has_value());
    CHECK(wide[3] == 3.0);
    std::array<std::int32_t, 4> integers{};
    CHECK(t.get().copy_as(std::span{integers}).error().code == errc::conversion);
    std::array<ckpt::c64, 4> pairs{};
    CHECK(t.get().copy_as(std::span{pairs}).error().code == errc::conversion);
    fake::tensor powers{store, dtype::float8_e8m0fnu, {4}, {1}};
    powers.data.neg = true;
    std::array<ckpt::f8_e8m0fnu, 4> raw{};
    CHECK(powers.get().copy_to(std::span{raw}).error().code == errc::lazy_bit);
    CHECK(powers.get().crc32().error().code == errc::lazy_bit);
}

TEST_CASE("one span has the elements of any rank, where they lie one after another") {
    const fake::storage store{fake::bytes_of(counting<float>(12))};
    const fake::tensor rows{store, dtype::float32, {2, 3}, {3, 1}, 2};
    const auto flat = rows.get().view<float>().value();
    CHECK(std::vector<float>(flat.begin(), flat.end()) == std::vector<float>{2, 3, 4, 5, 6, 7});
    const fake::tensor scalar{store, dtype::float32, {}, {}, 5};
    CHECK(scalar.get().view<float>().value()[0] == 5);
    CHECK(fake::tensor{store, dtype::float32, {0, 3}, {3, 1}}.get().view<float>().value().empty());
    const fake::tensor columns{store, dtype::float32, {2, 3}, {1, 2}};
    CHECK(columns.get().view<float>().error().code == errc::needs_copy);
    CHECK(columns.get().view<float>().error().hint.find("copy_to") != std::string_view::npos);
    CHECK(rows.get().view<double>().error().code == errc::dtype_mismatch);
    CHECK(ckpt::tensor{}.view<float>().error().code == errc::no_data);
    const fake::storage odd{fake::bytes_of(counting<float>(12)), 1};
    CHECK(fake::tensor{odd, dtype::float32, {2, 3}, {3, 1}}.get().view<float>().error().code == errc::misaligned);
}

TEST_CASE("copies fill spans, vectors, arrays and whatever has data() and size(); or bytes of a dtype known later") {
    struct matrix { // as Eigen's: a signed size
        float values[6]{};
        [[nodiscard]] float* data() { return values; }
        [[nodiscard]] std::ptrdiff_t size() const { return 6; }
    };
    const fake::storage store{fake::bytes_of(counting<float>(6))};
    const fake::tensor columns{store, dtype::float32, {3, 2}, {1, 3}};
    const ckpt::tensor t = columns.get();
    const std::vector<float> expected{0, 3, 1, 4, 2, 5};
    std::vector<float> vector(6);
    t.copy_to(vector).value();
    CHECK(vector == expected);
    std::array<double, 6> array{};
    t.copy_as(array).value();
    CHECK(std::vector<float>(array.begin(), array.end()) == expected);
    matrix m;
    t.copy_to(m).value();
    CHECK(std::equal(expected.begin(), expected.end(), m.values));
    CHECK(t.copy_to(std::span(vector).first(5)).error().detail == "the tensor has 6 elements, the destination 5");
    CHECK(t.copy_to(array).error().code == errc::dtype_mismatch);

    std::vector<std::byte> bytes(24);
    t.copy_to(bytes).value();
    CHECK(bytes == fake::bytes_of(expected));
    CHECK(t.copy_to(std::span(bytes).first(23)).error().detail ==
          "the destination has 23 bytes, an element of float32 has 4");
    CHECK(t.copy_to(std::span(bytes).first(20)).error().code == errc::size_mismatch);
    bytes.resize(12);
    t.copy_as(dtype::bfloat16, bytes).value();
    std::vector<ckpt::bf16> halves(6);
    t.copy_as(halves).value();
    CHECK(bytes == fake::bytes_of(halves));
    CHECK(t.copy_as(dtype::int32, bytes).error().code == errc::conversion);
    static_assert(!ckpt::detail::element_range<const std::vector<float>> &&
                  !ckpt::detail::element_range<std::vector<std::string>>);
}

TEST_CASE("rows are copied some at a time, converted, whatever the strides") {
    fake::storage store{fake::bytes_of(counting<float>(40))};
    const fake::tensor columns{store, dtype::float32, {5, 3}, {1, 7}, 2}; // [r][c] is 2 + r + 7 * c
    for (const bool mapped : {true, false}) {
        store.mapped = mapped;
        const ckpt::tensor t = columns.get();
        std::vector<double> some(6);
        t.copy_rows(3, 2, some).value();
        CHECK(some == std::vector<double>{5, 12, 19, 6, 13, 20});
        t.copy_rows(5, 0, std::span<double>{}).value();
        CHECK(t.copy_rows(4, 2, some).error().detail == "2 rows from row 4 on, of a tensor that has 5");
        CHECK(t.copy_rows(~std::uint64_t{0}, 2, some).error().code == errc::size_mismatch);
        CHECK(t.copy_rows(0, 3, some).error().code == errc::size_mismatch);
        std::vector<std::byte> bytes(6);
        t.copy_rows(4, 1, dtype::float16, bytes).value();
        CHECK(bytes == fake::bytes_of(std::vector<ckpt::f16>{ckpt::f16::from_float(6), ckpt::f16::from_float(13),
                                                             ckpt::f16::from_float(20)}));

        std::vector<double> all;
        std::vector<std::uint64_t> firsts;
        t.for_rows<double>(2, [&](std::uint64_t first, std::span<const double> values) {
             firsts.push_back(first);
             all.insert(all.end(), values.begin(), values.end());
         }).value();
        CHECK(firsts == std::vector<std::uint64_t>{0, 2, 4});
        std::vector<double> whole(15);
        t.copy_as(whole).value();
        CHECK(all == whole);
    }
    const ckpt::tensor t = columns.get();
    int calls = 0;
    const auto stopped = t.for_rows<float>(2, [&](std::uint64_t, std::span<const float>) -> ckpt::result<void> {
        ++calls;
        return ckpt::error{.code = errc::limit};
    });
    CHECK(stopped.error().code == errc::limit);
    CHECK(calls == 1);
    const auto nothing = [](std::uint64_t, std::span<const float>) {};
    t.for_rows<float>(~std::uint64_t{0}, nothing).value();
    CHECK(t.for_rows<float>(0, nothing).error().code == errc::size_mismatch);
    CHECK(t.for_rows<std::int32_t>(2, [](std::uint64_t, std::span<const std::int32_t>) {}).error().code ==
          errc::conversion);
    CHECK(fake::tensor{store, dtype::float32, {}, {}}.get().for_rows<float>(1, nothing).error().code ==
          errc::rank_mismatch);
    for (const auto& shape : {std::vector<std::int64_t>{0, 3}, std::vector<std::int64_t>{3, 0}}) {
        const fake::tensor empty{store, dtype::float32, shape, {3, 1}, 1'000};
        empty.get().for_rows<float>(2, [&](std::uint64_t, std::span<const float>) { ++calls; }).value();
        empty.get().copy_rows(0, static_cast<std::uint64_t>(shape[0]), std::span<float>{}).value();
    }
    CHECK(calls == 1);
    // An expanded tensor may have any shape.
    const fake::tensor wide{store, dtype::float32, {1 << 24, 2}, {0, 1}};
    CHECK(wide.get().for_rows<float>(1, nothing).error().code == errc::output_limit);
    std::vector<float> last(2);
    wide.get().copy_rows((1 << 24) - 1, 1, last).value();
    CHECK(last == std::vector<float>{0, 1});
    const fake::storage nibbles{std::vector<std::byte>{std::byte{0x21}, std::byte{0x43}, std::byte{0x65}}};
    const fake::tensor packed{nibbles, dtype::quint4x2, {2, 3}, {3, 1}};
    std::array<std::uint8_t, 3> second{};
    packed.get().copy_rows(1, 1, second).value();
    CHECK(second == std::array<std::uint8_t, 3>{4, 5, 6});
}

TEST_CASE("bools come out as 0 and 1, whatever the bytes are") {
    fake::storage store{fake::bytes_of(std::vector<std::uint8_t>{0, 1, 255, 2})};
    for (const bool mapped : {true, false}) {
        store.mapped = mapped;
        const fake::tensor t{store, dtype::bool_, {4}, {1}};
        std::array<bool, 4> out{};
        REQUIRE(t.get().copy_to(std::span{out}).has_value());
        CHECK(out == std::array<bool, 4>{false, true, true, true});
        CHECK(copied<std::uint8_t>(t.get()) == std::vector<std::uint8_t>{0, 1, 1, 1});
        std::array<float, 4> real{};
        REQUIRE(t.get().copy_as(std::span{real}).has_value());
        CHECK(real[2] == 1.0f);
        std::array<std::uint8_t, 4> bytes{};
        REQUIRE(t.get().copy_as(std::span{bytes}).has_value());
        CHECK(bytes[2] == 1);
        CHECK(t.get().crc32().value() == crc_of(std::vector<std::uint8_t>{0, 1, 1, 1}));
    }
}

TEST_CASE("a foreign byte order is resolved by copies and digests") {
    std::vector<std::uint32_t> values = counting<std::uint32_t>(6, 0x01020304u);
    std::vector<std::uint32_t> swapped = values;
    for (auto& v : swapped) v = byte_swap(v);
    fake::storage store{fake::bytes_of(swapped)};
    store.endian = foreign;
    for (const bool mapped : {true, false}) {
        store.mapped = mapped;
        const fake::tensor t{store, dtype::uint32, {6}, {1}};
        CHECK(copied<std::uint32_t>(t.get()) == values);
        CHECK(t.get().crc32().value() == crc_of(values));
        std::vector<std::uint64_t> wide(6);
        REQUIRE(t.get().copy_as(std::span{wide}).has_value());
        CHECK(wide[5] == 0x01020309u);
        const fake::tensor pair{store, dtype::complex64, {3}, {1}};
        const auto c = copied<ckpt::c64>(pair.get());
        CHECK(std::bit_cast<std::uint32_t>(c[1].re) == values[2]);
        CHECK(std::bit_cast<std::uint32_t>(c[1].im) == values[3]);
    }
}

TEST_CASE("neg and conj are resolved after the byte order") {
    std::vector<std::uint32_t> raw;
    for (const float f : {1.0f, 2.0f, 3.0f, 4.0f}) raw.push_back(byte_swap(std::bit_cast<std::uint32_t>(f)));
    fake::storage store{fake::bytes_of(raw)};
    store.endian = foreign;
    fake::tensor t{store, dtype::complex64, {2}, {1}};
    t.data.conj = true;
    const auto c = copied<ckpt::c64>(t.get());
    CHECK(c[0].re == 1.0f);
    CHECK(c[0].im == -2.0f);
    CHECK(c[1].im == -4.0f);
    CHECK(t.get().crc32().value() == crc_of(std::vector<float>{1, -2, 3, -4}));
    fake::tensor imaginary{store, dtype::float32, {2}, {2}, 1}; // x.conj().imag
    imaginary.data.neg = true;
    CHECK(copied<float>(imaginary.get()) == std::vector<float>{-2, -4});
    std::array<ckpt::f16, 2> half{};
    REQUIRE(imaginary.get().copy_as(std::span{half}).has_value());
    CHECK(half[1].bits == 0xC400);
    CHECK(imaginary.get().crc32().value() == crc_of(std::vector<float>{-2, -4}));
}

TEST_CASE("an integer that does not fit names its place") {
    std::vector<std::int64_t> values(100'000, 7);
    values[70'001] = 256;
    fake::storage store{fake::bytes_of(values)};
    for (const bool mapped : {true, false}) { // at once, and in parts
        store.mapped = mapped;
        const fake::tensor t{store, dtype::int64, {100'000}, {1}};
        std::vector<std::uint8_t> out(100'000);
        const auto done = t.get().copy_as(std::span{out});
        REQUIRE_FALSE(done.has_value());
        CHECK(done.error().code == errc::conversion);
        CHECK(done.error().detail.find("70001") != std::string::npos);
    }
}

TEST_CASE("packed values are unpacked by copy_as, and digested as stored") {
    fake::storage store{fake::bytes_of(std::vector<std::uint8_t>{0x10, 0x32, 0x54})};
    for (const bool mapped : {true, false}) {
        store.mapped = mapped;
        const fake::tensor t{store, dtype::quint4x2, {5}, {1}};
        std::array<std::uint8_t, 5> out{};
        REQUIRE(t.get().copy_as(std::span{out}).has_value());
        CHECK(out == std::array<std::uint8_t, 5>{0, 1, 2, 3, 4});
        CHECK(t.get().copy_to(std::span{out}).error().code == errc::packed);
        std::array<float, 5> real{};
        CHECK(t.get().copy_as(std::span{real}).error().code == errc::packed);
        CHECK(t.get().crc32().value() == crc_of(std::vector<std::uint8_t>{0x10, 0x32, 0x54}));
        const fake::tensor odd{store, dtype::quint4x2, {3}, {1}, 1};
        std::array<std::uint8_t, 3> three{};
        REQUIRE(odd.get().copy_as(std::span{three}).has_value());
        CHECK(three == std::array<std::uint8_t, 3>{1, 2, 3});
        CHECK(odd.get().crc32().error().code == errc::packed);
        const fake::tensor pairs{store, dtype::float4_e2m1fn_x2, {3}, {1}};
        CHECK(copied<std::uint8_t>(pairs.get()) == std::vector<std::uint8_t>{0x10, 0x32, 0x54});
    }
    // More values than one buffer holds.
    std::vector<std::uint8_t> many(300'000);
    for (std::size_t i = 0; i < many.size(); ++i) many[i] = static_cast<std::uint8_t>(i * 37);
    fake::storage large{fake::bytes_of(many)};
    large.mapped = false;
    const fake::tensor t{large, dtype::quint2x4, {1'199'990}, {1}, 3};
    std::vector<std::uint8_t> out(1'199'990);
    REQUIRE(t.get().copy_as(std::span{out}).has_value());
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < out.size(); ++i) wrong += out[i] != ((many[(i + 3) / 4] >> ((i + 3) % 4 * 2)) & 3);
    CHECK(wrong == 0);
    CHECK_FALSE(large.strayed);
}

/// The elements by the definition of strides, one at a time.
std::vector<std::uint32_t> by_definition(const std::vector<std::uint32_t>& storage, const fake::tensor& t) {
    std::vector<std::uint32_t> out;
    std::vector<std::int64_t> index(t.shape.size());
    for (std::uint64_t n = 0; n < t.data.numel; ++n) {
        std::uint64_t at = t.data.storage_offset;
        for (std::size_t i = 0; i < index.size(); ++i) at += static_cast<std::uint64_t>(index[i] * t.strides[i]);
        out.push_back(storage[static_cast<std::size_t>(at)]);
        for (std::size_t i = index.size(); i-- > 0;) {
            if (++index[i] < t.shape[i]) break;
            index[i] = 0;
        }
    }
    return out;
}

void agrees(const std::vector<std::uint32_t>& values, fake::storage& store, const fake::tensor& t) {
    const auto expected = by_definition(values, t);
    std::vector<std::uint64_t> wide(expected.begin(), expected.end());
    for (const bool mapped : {true, false}) {
        store.mapped = mapped;
        REQUIRE(copied<std::uint32_t>(t.get()) == expected);
        std::vector<std::uint64_t> converted(expected.size());
        REQUIRE(t.get().copy_as(std::span{converted}).has_value());
        REQUIRE(converted == wide);
        const auto crc = t.get().crc32();
        if (t.get().nbytes() > 16 * store.nbytes(0)) REQUIRE(crc.error().code == errc::output_limit);
        else REQUIRE(crc.value() == crc_of(expected));
    }
    REQUIRE_FALSE(store.strayed);
}

TEST_CASE("any geometry copies, converts and digests to the same elements, mapped or read") {
    const auto values = counting<std::uint32_t>(5000, 1);
    fake::storage store{fake::bytes_of(values), 1};
    std::uint32_t state = 12345;
    const auto random = [&](std::uint32_t below) { return ((state = state * 1664525u + 1013904223u) >> 8) % below; };
    int tried = 0;
    while (tried < 1500) {
        std::vector<std::int64_t> shape;
        std::vector<std::int64_t> strides;
        for (std::uint32_t rank = random(6); rank > 0; --rank) {
            shape.push_back(1 + random(8));
            strides.push_back(random(3) == 0 ? random(3) : random(300));
        }
        const fake::tensor t{store, dtype::uint32, shape, strides, random(100)};
        if (t.checked != errc::none) continue;
        CAPTURE(ckpt::detail::list_of(t.shape));
        CAPTURE(ckpt::detail::list_of(t.strides));
        agrees(values, store, t);
        ++tried;
    }
}

TEST_CASE("large geometries, which are cut into parts, copy, convert and digest to the same elements") {
    const auto values = counting<std::uint32_t>(300'000, 9);
    fake::storage store{fake::bytes_of(values)};
    agrees(values, store, {store, dtype::uint32, {500, 600}, {600, 1}});          // contiguous
    agrees(values, store, {store, dtype::uint32, {600, 500}, {1, 600}});          // transposed
    agrees(values, store, {store, dtype::uint32, {500, 599}, {600, 1}, 1});       // columns left out
    agrees(values, store, {store, dtype::uint32, {3, 90'000}, {100'000, 1}});     // long rows
    agrees(values, store, {store, dtype::uint32, {90'000, 3}, {1, 100'000}});     // the same across
    agrees(values, store, {store, dtype::uint32, {50, 60, 100}, {100, 5000, 1}}); // outer two swapped
    agrees(values, store, {store, dtype::uint32, {100, 60, 50}, {1, 5000, 100}}); // all reversed
    agrees(values, store, {store, dtype::uint32, {3, 200'000}, {0, 1}});          // expanded
    agrees(values, store, {store, dtype::uint32, {200'000, 3}, {1, 0}});
    agrees(values, store, {store, dtype::uint32, {299'000, 2}, {1, 1}}); // overlapping
    agrees(values, store, {store, dtype::uint32, {60}, {5000}, 17});     // far apart
}

TEST_CASE("copies by reads take each byte about once, and not one element at a time") {
    fake::storage store{fake::bytes_of(counting<std::uint32_t>(1'000'000))};
    store.mapped = false;
    std::vector<std::uint32_t> out(1'000'000);
    const fake::tensor across{store, dtype::uint32, {1000, 1000}, {1, 1000}};
    REQUIRE(across.get().copy_to(std::span{out}).has_value());
    CHECK(store.bytes_read <= 4'100'000);
    CHECK(store.reads <= 8); // two a MiB
    CHECK(store.largest_read <= std::size_t{512} * 1024);
    store.reads = store.bytes_read = 0;
    const fake::tensor column{store, dtype::uint32, {1000}, {200}, 5};
    REQUIRE(column.get().copy_to(std::span{out}.first(1000)).has_value());
    CHECK(store.reads <= 100); // neighbours that are close are read together
    store.reads = store.bytes_read = 0;
    const fake::tensor far_apart{store, dtype::uint32, {50}, {20'000}};
    REQUIRE(far_apart.get().copy_to(std::span{out}.first(50)).has_value());
    CHECK(store.bytes_read == 200); // but what lies between is not read for nothing
    store.reads = store.bytes_read = store.largest_read = 0;
    REQUIRE(across.get().crc32().has_value());
    CHECK(store.largest_read <= 256 * 1024);
    CHECK(store.bytes_read <= 4'100'000);
    CHECK(store.reads <= 40'000); // of the 1,000,000 elements
    store.largest_read = 0;
    const fake::tensor dense{store, dtype::uint32, {1'000'000}, {1}};
    REQUIRE(dense.get().crc32().has_value());
    CHECK(store.largest_read <= 256 * 1024);
}

TEST_CASE("at most two reads a MiB, whatever the strides, with a conversion and without one") {
    // bfloat16 [3072, 768], saved as .t(); permuted; expanded; every second element.
    std::vector<std::uint16_t> values(3072 * 768);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::uint16_t>(i % 0x7f80); // no NaN
    fake::storage store{fake::bytes_of(values)};
    const auto read_alike = [&](const fake::tensor& t, double mebibytes) {
        store.mapped = true;
        std::vector<float> wanted(t.get().numel()), got(wanted.size());
        REQUIRE(t.get().copy_as(std::span{wanted}).has_value());
        store.mapped = false;
        store.reads = store.bytes_read = 0;
        REQUIRE(t.get().copy_as(std::span{got}).has_value());
        CHECK(got == wanted);
        CHECK(static_cast<double>(store.reads) <= 2 * mebibytes + 1);
        CHECK(static_cast<double>(store.bytes_read) <= (mebibytes + 0.01) * 1024 * 1024);
        CHECK_FALSE(store.strayed);
        std::vector<ckpt::bf16> raw(t.get().numel());
        store.reads = 0;
        REQUIRE(t.get().copy_to(std::span{raw}).has_value());
        CHECK(std::equal(raw.begin(), raw.end(), wanted.begin(), [](ckpt::bf16 a, float b) { return float(a) == b; }));
        CHECK(static_cast<double>(store.reads) <= 2 * mebibytes + 1);
    };
    read_alike({store, dtype::bfloat16, {768, 3072}, {1, 768}}, 4.5);
    read_alike({store, dtype::bfloat16, {32, 3072, 24}, {24, 768, 1}}, 4.5);
    read_alike({store, dtype::bfloat16, {24, 96, 32, 32}, {1, 24576, 24, 768}}, 4.5);
    read_alike({store, dtype::bfloat16, {2, 768, 1536}, {0, 1, 768}}, 4.5); // expanded
    read_alike({store, dtype::bfloat16, {768, 3071}, {1, 768}, 700}, 4.5);  // from the middle of a row
    read_alike({store, dtype::bfloat16, {1 << 20}, {2}}, 4);
    read_alike({store, dtype::bfloat16, {}, {}, 5}, 0);
}

TEST_CASE("gaps are read through up to 1 KiB") {
    fake::storage store{std::vector<std::byte>(std::size_t{1} << 20)};
    store.mapped = false;
    const auto reads_of = [&](std::int64_t run, std::int64_t gap) {
        const fake::tensor t{store, dtype::uint8, {4, run}, {run + gap, 1}};
        std::vector<std::uint8_t> out(static_cast<std::size_t>(4 * run));
        store.reads = 0;
        REQUIRE(t.get().copy_to(std::span{out}).has_value());
        return store.reads;
    };
    CHECK(reads_of(8, 1024) == 1);
    CHECK(reads_of(8, 1025) == 4);
    CHECK(reads_of(4096, 1024) == 1);
    CHECK(reads_of(4096, 1025) == 4); // of a slice of columns nothing else is read
}

TEST_CASE("an element that does not fit is named by its place, also where the storage has another order") {
    std::vector<std::int32_t> values(60);
    values[3 * 12 + 7] = 300; // of [5, 12]: row 3, column 7
    fake::storage store{fake::bytes_of(values)};
    std::vector<std::uint8_t> out(60);
    for (const bool mapped : {true, false}) {
        store.mapped = mapped;
        const fake::tensor rows{store, dtype::int32, {5, 12}, {12, 1}};
        CHECK(rows.get().copy_as(std::span{out}).error().detail == "element 43 does not fit into uint8");
        const fake::tensor columns{store, dtype::int32, {12, 5}, {1, 12}};
        CHECK(columns.get().copy_as(std::span{out}).error().detail == "element 38 does not fit into uint8");
    }
}

TEST_CASE("a failed read is the error of the copy") {
    fake::storage store{fake::bytes_of(counting<std::uint32_t>(100))};
    const fake::tensor t{store, dtype::uint32, {100}, {1}};
    store.failure = errc::zip_header_mismatch;
    std::vector<std::uint32_t> out(100);
    CHECK(t.get().copy_to(std::span{out}).error().code == errc::zip_header_mismatch);
    CHECK(t.get().crc32().error().code == errc::zip_header_mismatch);
}

TEST_CASE("a digest over more than 16 times the storage is refused") {
    const fake::storage store{fake::bytes_of(counting<std::uint32_t>(2))};
    const fake::tensor most{store, dtype::uint32, {32}, {0}};
    CHECK(most.get().crc32().has_value());
    const fake::tensor more{store, dtype::uint32, {33}, {0}};
    CHECK(more.get().crc32().error().code == errc::output_limit);
    const fake::tensor huge{store, dtype::uint32, {std::int64_t{1} << 58}, {0}};
    CHECK(huge.get().crc32().error().code == errc::output_limit);
}

TEST_CASE("a tensor that was never checked cannot reach outside its storage") {
    const fake::storage store{std::vector<std::byte>(16)};
    fake::tensor t{store, dtype::float32, {4}, {1}};
    t.data.storage_offset = 1;
    float out[4];
    CHECK(t.get().copy_to(std::span{out}).error().code == errc::internal);
    CHECK(t.get().view<float, 1>().error().code == errc::internal);
    CHECK(t.get().bytes().error().code == errc::internal);
    CHECK(t.get().crc32().error().code == errc::internal);
}

} // namespace

} // namespace tensor_test
