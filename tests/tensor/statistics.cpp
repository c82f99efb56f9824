// tests/tensor/statistics.cpp: sums over the values of tensors, and the edges that are printed.
//
// SPDX-License-Identifier: MIT
#include "fake_storage.hpp"

#include <ckpt/tensor/pieces.hpp>
#include <ckpt/tensor/statistics.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

namespace statistics_test {

using ckpt::dtype;
using ckpt::errc;
using ckpt::statistics;
using ckpt::value_statistics;

namespace {

template <class T> [[nodiscard]] value_statistics of(dtype type, std::vector<T> values) {
    const auto n = static_cast<std::int64_t>(values.size());
    const fake::storage storage(fake::bytes_of<T>(std::move(values)));
    const fake::tensor t(storage, type, {n}, {1});
    return statistics(t.get()).value();
}

[[nodiscard]] std::uint64_t binned(const value_statistics& s) {
    return std::accumulate(s.histogram.counts.begin(), s.histogram.counts.end(), std::uint64_t{0});
}

} // namespace

TEST_CASE("sums, extremes and zeros; NaN and infinities are counted apart") {
    const auto s =
        of<float>(dtype::float32, {1, 2, std::bit_cast<float>(0x7FC0'0000u), 3, 0, std::bit_cast<float>(0x8000'0000u),
                                   6, std::bit_cast<float>(0x7F80'0000u), std::bit_cast<float>(0xFF80'0000u)});
    CHECK(s.count == 9);
    CHECK(s.finite() == 6);
    CHECK(s.nans == 1);
    CHECK(s.infinities == 2);
    CHECK(s.zeros == 2);
    CHECK(s.min == 0);
    CHECK(s.max == 6);
    CHECK(s.mean == 2);
    CHECK(s.deviation() == doctest::Approx(std::sqrt(26.0 / 6)));
    CHECK(binned(s) == 6);
    const auto none = of<float>(dtype::float32, {std::bit_cast<float>(0x7FC0'0000u)});
    CHECK(none.finite() == 0);
    CHECK(none.max == 0);
    CHECK(none.deviation() == 0);
    CHECK(none.histogram.counts.empty());
    CHECK(of<float>(dtype::float32, {}).count == 0);
}

TEST_CASE("a large mean costs no digits of the deviation, over many pieces") {
    std::vector<double> values;
    for (int i = 0; i < 100'000; ++i) values.push_back(1e9 + (i % 2 == 0 ? 0.5 : -0.5));
    const auto s = of<double>(dtype::float64, values);
    CHECK(s.mean == 1e9);
    CHECK(s.deviation() == doctest::Approx(0.5).epsilon(1e-12));
    value_statistics joined;
    joined.add(of<double>(dtype::float64, {values.begin(), values.begin() + 5'001}));
    joined.add(of<double>(dtype::float64, {values.begin() + 5'001, values.end()}));
    CHECK(joined.count == 100'000);
    CHECK(joined.mean == doctest::Approx(1e9).epsilon(1e-15));
    CHECK(joined.deviation() == doctest::Approx(0.5).epsilon(1e-9));
    CHECK(joined.histogram.first == s.histogram.first);
    CHECK(joined.histogram.counts == s.histogram.counts);
    const auto largest = of<double>(dtype::float64, {1.5e308, 1.5e308, 1.5e308});
    CHECK(largest.mean == 1.5e308);
    CHECK(largest.deviation() == 0);
}

TEST_CASE("bins are a power of two wide, at most 128, and hold every finite value") {
    const auto s = of<float>(dtype::float32, {-1, 1e-30f, 1e-30f, 3e38f, 0});
    CHECK(s.histogram.counts.size() <= 128);
    CHECK(binned(s) == 5);
    int exponent = 0;
    CHECK(std::frexp(s.histogram.width, &exponent) == 0.5);
    const double first = static_cast<double>(s.histogram.first) * s.histogram.width;
    CHECK(first <= -1);
    CHECK(first + s.histogram.width * static_cast<double>(s.histogram.counts.size()) > 3e38);
    CHECK(s.histogram.counts.back() == 1);
    std::vector<float> even;
    for (int i = 0; i < 1024; ++i) even.push_back(static_cast<float>(i));
    const auto flat = of<float>(dtype::float32, even);
    CHECK(flat.histogram.width == 8);
    CHECK(flat.histogram.counts == std::vector<std::uint64_t>(128, 8));
    value_statistics both = of<float>(dtype::float32, {1e-20f});
    both.add(flat);
    both.add(of<float>(dtype::float32, {-1024}));
    CHECK(binned(both) == 1026);
    CHECK(both.histogram.counts.size() <= 128);
    const auto same = of<float>(dtype::float32, {0, 0, 0});
    CHECK(binned(same) == 3);
}

TEST_CASE("64-bit integers keep their extremes exactly") {
    const auto s = of<std::int64_t>(
        dtype::int64, {std::numeric_limits<std::int64_t>::max(), -3, std::numeric_limits<std::int64_t>::max() - 1});
    CHECK(static_cast<std::int64_t>(s.min_bits) == -3);
    CHECK(static_cast<std::int64_t>(s.max_bits) == std::numeric_limits<std::int64_t>::max());
    const auto u = of<std::uint64_t>(dtype::uint64, {~std::uint64_t{0} - 1, ~std::uint64_t{0}});
    CHECK(u.min_bits == ~std::uint64_t{0} - 1);
    CHECK(u.max_bits == ~std::uint64_t{0});
}

TEST_CASE("complex numbers count by their absolute values, bools as 0 and 1, bits not at all") {
    const fake::storage pairs(fake::bytes_of<float>({3, 4, 0, 0}));
    const auto c = statistics(fake::tensor(pairs, dtype::complex64, {2}, {1}).get()).value();
    CHECK(c.count == 2);
    CHECK(c.max == 5);
    CHECK(c.zeros == 1);
    const auto b = of<std::uint8_t>(dtype::bool_, {0, 255, 1, 1});
    CHECK(b.mean == 0.75);
    CHECK(b.max == 1);
    const fake::storage bytes(fake::bytes_of<std::uint8_t>({1, 2}));
    for (const dtype type : {dtype::bits8, dtype::float4_e2m1fn_x2}) {
        CAPTURE(ckpt::name(type));
        CHECK(statistics(fake::tensor(bytes, type, {2}, {1}).get()).error().code == errc::conversion);
    }
}

TEST_CASE("an expanded tensor is read up to 16 times its storage, and not one element further") {
    const fake::storage one(fake::bytes_of<float>({2.5f}));
    CHECK(statistics(fake::tensor(one, dtype::float32, {16}, {0}).get()).value().mean == 2.5);
    CHECK(statistics(fake::tensor(one, dtype::float32, {17}, {0}).get()).error().code == errc::output_limit);
}

TEST_CASE("the edges of a tensor are one strided tensor") {
    std::vector<float> numbers(7 * 5);
    std::iota(numbers.begin(), numbers.end(), 0.0f);
    const fake::storage storage(fake::bytes_of<float>(numbers));
    const fake::tensor whole(storage, dtype::float32, {7, 5}, {1, 7}); // transposed
    const ckpt::detail::edges_of edges(*ckpt::detail::tensor_access::data(whole.get()), 1);
    CHECK(edges.data().numel == 4);
    std::vector<float> got;
    const auto read = ckpt::detail::for_each_piece(
        &edges.data(), ckpt::detail::tensor_access::source(whole.get()), [&](const ckpt::detail::value_piece& piece) {
            got.resize(got.size() + piece.count);
            std::memcpy(got.data() + piece.first, piece.values, piece.count * sizeof(float));
        });
    CHECK(read);
    CHECK(got == std::vector<float>{0, 28, 6, 34});
    const ckpt::detail::edges_of all(*ckpt::detail::tensor_access::data(whole.get()), 4);
    CHECK(all.data().numel == 35);
    CHECK(all.data().rank == 2);
}

TEST_CASE("the edges of a packed tensor are unpacked where they lie, and need a contiguous one") {
    for (const dtype type : {dtype::quint4x2, dtype::quint2x4}) {
        CAPTURE(ckpt::name(type));
        const std::size_t width = ckpt::bits(type), per_byte = 8 / width;
        std::vector<std::uint8_t> stored(64), values;
        for (std::size_t i = 0; i < stored.size(); ++i) stored[i] = static_cast<std::uint8_t>(i * 37 + 11);
        for (std::size_t i = 0; i < stored.size() * per_byte; ++i)
            values.push_back(
                static_cast<std::uint8_t>(stored[i / per_byte] >> i % per_byte * width & ((1u << width) - 1)));
        const fake::storage storage(fake::bytes_of<std::uint8_t>(stored));
        const auto edges = [&](const fake::tensor& whole, std::size_t edge) {
            std::vector<std::uint8_t> out;
            const ckpt::detail::edges_of of(*ckpt::detail::tensor_access::data(whole.get()), edge);
            const auto read = ckpt::detail::for_each_piece(
                of, ckpt::detail::tensor_access::source(whole.get()), [&](const ckpt::detail::value_piece& piece) {
                    out.resize(out.size() + piece.count);
                    std::memcpy(out.data() + piece.first, piece.values, piece.count);
                });
            if (!read) CHECK(read.error().code == errc::packed);
            return out;
        };
        std::vector<std::uint8_t> wanted;
        for (const std::size_t row : {0u, 1u, 7u, 8u})
            for (const std::size_t column : {0u, 1u, 9u, 10u}) wanted.push_back(values[3 + row * 11 + column]);
        CHECK(edges(fake::tensor(storage, type, {9, 11}, {11, 1}, 3), 2) == wanted);
        CHECK(edges(fake::tensor(storage, type, {11, 9}, {1, 11}, 3), 2).empty());
    }
}

} // namespace statistics_test
