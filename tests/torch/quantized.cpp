// tests/torch/quantized.cpp: quantised tensors: what is refused (V3), integers, and the numbers that they stand for.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/tensor/quantized.hpp>
#include <ckpt/tensor/sparse.hpp>

#include "../support/inflate.hpp"
#include "../support/quantised_files.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace quantized_test {

using ckpt::errc;
using namespace test_support;
using pkl::per_channel, pkl::per_tensor, pkl::qtensor;

namespace {

std::string doubles(std::int64_t n) { return pkl::tensor(pkl::storage("DoubleStorage", "s", n), 0, {n}, {1}); }
std::string longs(std::int64_t n) { return pkl::tensor(pkl::storage("LongStorage", "z", n), 0, {n}, {1}); }
const std::string six = raw<std::uint8_t>({0, 1, 2, 127, 128, 255});

ckpt::checkpoint opened(const std::string& value, const std::string& data, std::string& keep,
                        ckpt::io_mode mode = ckpt::io_mode::map) {
    keep = torch_file(value, {{"0", data}, {"s", raw<double>({0.5, 3})}, {"z", raw<std::int64_t>({1, -2})}});
    return ckpt::open_bytes(bytes_of(keep), {.io = mode}).value();
}
errc code_of(const std::string& value) {
    std::string keep;
    const auto file = opened(value, six, keep);
    const ckpt::error* e = file.root().refusal();
    return e != nullptr ? e->code : errc::none;
}
std::vector<float> numbers_of(const std::string& value, const std::string& data) {
    std::vector<float> out[2];
    for (int i = 0; i < 2; ++i) {
        std::string keep;
        const auto file = opened(value, data, keep, i == 0 ? ckpt::io_mode::map : ckpt::io_mode::read);
        const ckpt::tensor t = file.root().as_tensor().value();
        out[i].resize(static_cast<std::size_t>(t.numel()));
        const auto copied = ckpt::copy_dequantized(t, out[i]);
        INFO((copied ? std::string() : copied.error().message()));
        CHECK(copied.has_value());
    }
    CHECK(out[0] == out[1]);
    auto members = torch_records(pkl::pickle(value),
                                 {{"0", data}, {"s", raw<double>({0.5, 3})}, {"z", raw<std::int64_t>({1, -2})}});
    members[2] = deflated(members[2]); // the integers
    const std::string bytes = write_zip(members).bytes;
    ckpt::open_options options;
    options.inflate = test_inflater();
    const auto file = ckpt::open_bytes(bytes_of(bytes), options).value();
    CHECK(ckpt::copy_dequantized(file.root().as_tensor().value(), out[1]).has_value());
    CHECK(out[0] == out[1]);
    return out[0];
}

} // namespace

TEST_CASE("integers, a quantizer, and torch's arithmetic") {
    const std::string bytes = pkl::storage("QUInt8Storage", "0", 6);
    std::string keep;
    const auto file = opened(qtensor(bytes, 0, {2, 3}, {3, 1}, per_tensor(0.1, 2)), six, keep);
    const ckpt::tensor t = file.root().as_tensor().value();
    CHECK(t.dtype() == ckpt::dtype::quint8);
    CHECK(t.layout() == ckpt::layout::strided);
    CHECK(t.parts().empty());
    CHECK(t.view<std::uint8_t, 2>().value()(1, 2) == 255);
    const auto q = t.quantizer().value();
    CHECK(q.scheme == ckpt::qscheme::per_tensor_affine);
    CHECK(q.scale == 0.1);
    CHECK(q.zero_point == 2);
    const float s = 0.1F;
    CHECK(numbers_of(qtensor(bytes, 0, {2, 3}, {3, 1}, per_tensor(0.1, 2)), six) ==
          std::vector<float>{-2 * s, -1 * s, 0, 125 * s, 126 * s, 253 * s});
    CHECK(numbers_of(qtensor(bytes, 1, {2, 2}, {1, 2}, per_tensor(0.1, 2)), six) ==
          std::vector<float>{-1 * s, 125 * s, 0, 126 * s});
    // Casts never guess: they are of the integers, which are no numbers by themselves.
    std::vector<float> wrong(6);
    CHECK(t.copy_as(std::span(wrong)).error().code == errc::conversion);
    CHECK(ckpt::copy_dequantized(t, std::span(wrong).first(5)).error().code == errc::size_mismatch);
    // Integers are subtracted before they become float32, and wrap.
    const std::string ints = raw<std::int32_t>({16777217, std::numeric_limits<std::int32_t>::min(), 7});
    CHECK(numbers_of(qtensor(pkl::storage("QInt32Storage", "0", 3), 0, {3}, {1}, per_tensor(1, 1)), ints) ==
          std::vector<float>{16777216.0F, 2147483648.0F, 6});
    CHECK(numbers_of(qtensor(pkl::storage("QInt8Storage", "0", 6), 0, {6}, {1}, per_tensor(2, 0)), six) ==
          std::vector<float>{0, 2, 4, 254, -256, -2});
}

TEST_CASE("per channel: scales and zero points are parts; along either axis, as lists, with floating ones") {
    const std::string bytes = pkl::storage("QInt8Storage", "0", 6);
    const std::string by_row = qtensor(bytes, 0, {2, 3}, {3, 1}, per_channel(doubles(2), longs(2), pkl::num(0)));
    std::string keep;
    const auto file = opened(by_row, six, keep);
    const ckpt::tensor t = file.root().as_tensor().value();
    CHECK(t.parts().size() == 2);
    CHECK(t.part("scales").value().view<double, 1>().value()(1) == 3.0);
    CHECK(t.quantizer()->axis == 0);
    CHECK(t.quantizer()->zero_points.view<std::int64_t, 1>().value()(1) == -2);
    CHECK(numbers_of(by_row, six) == std::vector<float>{-0.5F, 0, 0.5F, 387, -378, 3});
    CHECK(numbers_of(qtensor(bytes, 0, {3, 2}, {2, 1}, per_channel(doubles(2), longs(2), pkl::num(1))), six) ==
          std::vector<float>{-0.5F, 9, 0.5F, 387, -64.5F, 3});
    CHECK(numbers_of(qtensor(bytes, 0, {2, 3}, {3, 1},
                             per_channel(pkl::list({pkl::real(0.5), pkl::num(3)}),
                                         pkl::list({pkl::num(1), pkl::num(-2)}), pkl::num(0))),
                     six) == std::vector<float>{-0.5F, 0, 0.5F, 387, -378, 3});
    // torch writes float32 parameters under the name of the other scheme.
    const std::string floats = qtensor(bytes, 0, {2, 3}, {3, 1}, per_channel(doubles(2), doubles(2), pkl::num(0)));
    const auto other = opened(floats, six, keep);
    CHECK(other.root().as_tensor().value().quantizer()->scheme == ckpt::qscheme::per_channel_affine_float_qparams);
    CHECK(numbers_of(floats, six) == std::vector<float>{-0.25F, 0.25F, 0.75F, 372, -393, -12});
}

TEST_CASE("packed: two or four values in a byte, the first in the low bits") {
    const std::string two = raw<std::uint8_t>({0x10, 0x32, 0xF4});
    const std::string nibbles = qtensor(pkl::storage("QUInt4x2Storage", "0", 3), 0, {5}, {1}, per_tensor(1, 1));
    CHECK(numbers_of(nibbles, two) == std::vector<float>{-1, 0, 1, 2, 3});
    std::string keep;
    const auto file = opened(nibbles, two, keep);
    const ckpt::tensor t = file.root().as_tensor().value();
    std::vector<std::uint8_t> values(5);
    CHECK(t.copy_as(std::span(values)).has_value());
    CHECK(values == std::vector<std::uint8_t>{0, 1, 2, 3, 4});
    CHECK(t.bytes().value().size() == 3);
    CHECK(numbers_of(qtensor(pkl::storage("QUInt2x4Storage", "0", 3), 1, {2, 2}, {2, 1}, per_tensor(1, 0)), two) ==
          std::vector<float>{0, 1, 0, 2});
    const auto transposed =
        opened(qtensor(pkl::storage("QUInt4x2Storage", "0", 3), 0, {2, 2}, {1, 2}, per_tensor(1, 0)), two, keep);
    std::vector<float> four(4);
    CHECK(ckpt::copy_dequantized(transposed.root().as_tensor().value(), four).error().code == errc::packed);
}

TEST_CASE("V3: what a quantised tensor must fulfil") {
    const std::string bytes = pkl::storage("QUInt8Storage", "0", 6);
    const auto with = [&](const std::string& quantizer) {
        return code_of(qtensor(bytes, 0, {2, 3}, {3, 1}, quantizer));
    };
    CHECK(with(per_tensor(1, 0)) == errc::none);
    CHECK(with(per_tensor(1, std::int64_t{1} << 31)) == errc::bad_arguments);
    CHECK(with(pkl::tuple({pkl::global("torch", "per_tensor_affine"), pkl::str("1"), pkl::num(0)})) ==
          errc::bad_arguments);
    CHECK(with(pkl::tuple({pkl::global("torch", "per_tensor_affine"), pkl::real(1), pkl::real(0)})) ==
          errc::bad_arguments);
    CHECK(with(pkl::tuple({pkl::global("torch", "per_tensor_affine"), pkl::real(1)})) == errc::bad_arguments);
    CHECK(with(pkl::tuple({pkl::global("torch", "float32"), pkl::real(1), pkl::num(0)})) == errc::bad_arguments);
    CHECK(with(pkl::none) == errc::bad_arguments);
    CHECK(with(per_channel(doubles(2), longs(2), pkl::num(0))) == errc::none);
    for (const std::int64_t axis : {-1, 1, 2, 1 << 20})
        CHECK(with(per_channel(doubles(2), longs(2), pkl::num(axis))) == errc::bad_arguments);
    CHECK(with(per_channel(doubles(2), longs(2), pkl::none)) == errc::bad_arguments);
    CHECK(with(per_channel(doubles(2), pkl::tensor(pkl::storage("LongStorage", "z", 2), 0, {1}, {1}), pkl::num(0))) ==
          errc::bad_arguments);
    CHECK(with(per_channel(pkl::tensor(pkl::storage("DoubleStorage", "s", 2), 0, {2, 1}, {1, 1}), longs(2),
                           pkl::num(0))) == errc::bad_arguments);
    CHECK(with(per_channel(longs(2), longs(2), pkl::num(0))) == errc::bad_arguments);
    CHECK(with(per_channel(pkl::none, longs(2), pkl::num(0))) == errc::bad_arguments);
    CHECK(with(pkl::tuple({pkl::global("torch", "per_channel_affine_float_qparams"), doubles(2), longs(2),
                           pkl::num(0)})) == errc::bad_arguments);
    // Strides are held against the storage, in packed values too (pytorch/pytorch#184652).
    CHECK(code_of(qtensor(bytes, 0, {2, 3}, {4, 1}, per_tensor(1, 0))) == errc::out_of_bounds);
    CHECK(code_of(qtensor(pkl::storage("QUInt4x2Storage", "0", 6), 0, {13}, {1}, per_tensor(1, 0))) ==
          errc::out_of_bounds);
    CHECK(code_of(qtensor(pkl::storage("ByteStorage", "0", 6), 0, {6}, {1}, per_tensor(1, 0))) == errc::bad_arguments);
}

TEST_CASE("real files: the numbers are torch's, bit for bit") {
    std::size_t compared = 0;
    for (const char* version : {"torch-1.13", "torch-2.13"}) {
        const std::string folder = std::string(CKPT_TEST_DATA "/") + version;
        const auto quantised = ckpt::open(folder + "/quantized_kinds.pt").value().state_dict("").value();
        for (const auto entry : quantised) {
            const std::string key(entry.key);
            CAPTURE(key);
            if (!quantised.contains(key + ".dequantized")) continue;
            std::vector<float> mine(static_cast<std::size_t>(entry.tensor.numel()));
            std::vector<float> theirs(mine.size());
            REQUIRE(ckpt::copy_dequantized(entry.tensor, mine).has_value());
            REQUIRE(quantised.at(key + ".dequantized").value().copy_to(std::span(theirs)).has_value());
            for (std::size_t i = 0; i < mine.size(); ++i)
                CHECK(std::bit_cast<std::uint32_t>(mine[i]) == std::bit_cast<std::uint32_t>(theirs[i]));
            // The same from memory of the state_dict, parts included.
            std::vector<float> owned(mine.size());
            const auto copy = quantised.owned();
            REQUIRE(ckpt::copy_dequantized(copy.at(key).value(), owned).has_value());
            CHECK(owned == mine);
            ++compared;
        }
        const auto sparse = ckpt::open(folder + "/sparse_kinds.pt").value().state_dict("").value();
        for (const auto entry : sparse) {
            const std::string key(entry.key);
            CAPTURE(key);
            CHECK(ckpt::check_values(entry.tensor).has_value());
            if (!sparse.contains(key + ".dense") || entry.tensor.dtype() != ckpt::dtype::float32) continue;
            std::vector<float> mine(static_cast<std::size_t>(entry.tensor.numel()));
            std::vector<float> theirs(mine.size());
            REQUIRE(ckpt::copy_dense(entry.tensor, std::span(mine)).has_value());
            REQUIRE(sparse.at(key + ".dense").value().copy_to(std::span(theirs)).has_value());
            CHECK(mine == theirs);
            ++compared;
        }
    }
    CHECK(compared > 25);
}

} // namespace quantized_test
