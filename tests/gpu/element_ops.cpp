// SPDX-License-Identifier: MIT
// The bodies of kernels, run here, against the conversions and gathers of the host.
#include <ckpt/gpu/element_ops.hpp>
#include <ckpt/gpu/scatter_ops.hpp>
#include <ckpt/tensor/pieces.hpp>

#include "../support/quantised_files.hpp"
#include "../support/sanitized.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace element_ops_test {

namespace {

using ckpt::dtype;
using ckpt::itemsize;
namespace detail = ckpt::detail;

/// Memory that begins at a multiple of 16 bytes, or `off` bytes behind one.
class buffer {
  public:
    explicit buffer(std::size_t bytes, std::size_t off = 0) : memory_(bytes + 32), size_{bytes} {
        const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
        start_ = static_cast<std::size_t>((16 - address % 16) % 16) + off;
    }
    [[nodiscard]] std::byte* data() { return memory_.data() + start_; }
    [[nodiscard]] std::vector<std::byte> bytes() { return {data(), data() + size_}; }

  private:
    std::vector<std::byte> memory_;
    std::size_t size_;
    std::size_t start_{};
};

void run(const detail::cast_job& job) {
    for (std::uint64_t i = job.items(); i-- > 0;) job(i); // in another order than memory's: items are independent
}

void put(std::vector<std::byte>& out, std::uint64_t bits, std::size_t size) {
    for (std::size_t k = 0; k < size; ++k)
        out.push_back(
            static_cast<std::byte>(bits >> 8 * (std::endian::native == std::endian::little ? k : size - 1 - k)));
}

/// Bits of floats at which roundings turn: every float16 and bfloat16, half way to the next float16, bfloat16 and
/// float8 of each kind, and their neighbours.
std::vector<std::uint32_t> interesting_floats() {
    std::vector<std::uint32_t> out;
    const auto around = [&out](std::uint32_t bits) { out.insert(out.end(), {bits - 1, bits, bits + 1}); };
    for (std::uint32_t i = 0; i < 65'536; ++i) {
        const auto half = std::bit_cast<std::uint32_t>(ckpt::f16{static_cast<std::uint16_t>(i)}.to_float());
        around(half);
        around(half + 0x1000); // half way, where float16 is normal
        around(i << 16);
        around((i << 16) + 0x8000);
    }
    // Half way between subnormal halves: odd multiples of 2^-25.
    for (std::uint32_t i = 1; i < 2048; i += 2) around(std::bit_cast<std::uint32_t>(static_cast<float>(i) * 0x1p-25f));
    for (std::uint32_t i = 0; i < 256; ++i) {
        const auto byte = static_cast<std::uint8_t>(i);
        for (const float value :
             {ckpt::f8_e4m3fn{byte}.to_float(), ckpt::f8_e5m2{byte}.to_float(), ckpt::f8_e4m3fnuz{byte}.to_float(),
              ckpt::f8_e5m2fnuz{byte}.to_float(), ckpt::f8_e8m0fnu{byte}.to_float()}) {
            const auto bits = std::bit_cast<std::uint32_t>(value);
            for (const std::uint32_t up : {0u, 0x8'0000u, 0x10'0000u, 0x18'0000u}) around(bits + up);
        }
        out.push_back(0x7F80'0000u + i * 0x7FFF); // payloads of NaNs
        out.push_back(0xFF80'0000u + i * 0x7FFF);
    }
    std::mt19937 random{1}; // NOLINT: the same numbers each time
    for (int i = 0; i < 100'000 / test_support::one_of_many; ++i) out.push_back(static_cast<std::uint32_t>(random()));
    return out;
}

/// Elements of `type`, in native order: all of them, or those that matter.
std::vector<std::byte> elements_of(dtype type) {
    std::vector<std::byte> out;
    const dtype part = detail::component_type(type);
    const std::size_t size = itemsize(part);
    if (size <= 2)
        for (std::uint64_t i = 0; i < (std::uint64_t{1} << 8 * size); ++i) put(out, i, size);
    else if (part == dtype::float32)
        for (const std::uint32_t bits : interesting_floats()) put(out, bits, size);
    else if (part == dtype::float64) {
        for (const std::uint32_t bits : interesting_floats()) {
            const auto wide = std::bit_cast<std::uint64_t>(detail::to_double(std::bit_cast<float>(bits)));
            for (const std::uint64_t at : {wide, wide + 1, wide + (std::uint64_t{1} << 28)}) put(out, at, size);
        }
        std::mt19937_64 random{2}; // NOLINT
        for (int i = 0; i < 100'000 / test_support::one_of_many; ++i) put(out, random(), size);
        for (std::uint64_t i = 1022 - 151; i < 1024 - 125; ++i) // where float32 is subnormal
            for (int k = 0; k < 100; ++k) put(out, (i << 52) | (random() >> 12), size);
    } else {
        std::mt19937_64 random{3}; // NOLINT
        for (std::uint64_t i = 0; i < 8 * size; ++i)
            for (const std::uint64_t up : {~std::uint64_t{0}, std::uint64_t{0}, std::uint64_t{1}}) {
                put(out, (std::uint64_t{1} << i) + up, size);
                put(out, ~((std::uint64_t{1} << i) + up), size);
            }
        for (int i = 0; i < 100'000 / test_support::one_of_many; ++i) put(out, random() >> random() % 64, size);
    }
    out.resize(out.size() / itemsize(type) * itemsize(type)); // complex: whole pairs
    return out;
}

/// What the host makes of the same elements.
std::vector<std::byte> converted(dtype from, std::vector<std::byte> in, dtype to, std::uint64_t n) {
    std::vector<std::byte> out(n * itemsize(to));
    if (from == dtype::bool_) detail::normalise_bools(in.data(), n);
    REQUIRE(detail::convert(from, in.data(), to, out.data(), n) == n);
    return out;
}

TEST_CASE("every conversion gives the bits that the host's gives, from either byte order" *
          doctest::test_suite("slow")) {
    std::size_t pairs = 0;
    for (const auto& from : ckpt::dtype_table) {
        if (from.bits < 8) continue;
        const std::vector<std::byte> in = elements_of(from.type);
        const std::uint64_t n = in.size() / itemsize(from.type);
        buffer source{in.size()};
        buffer swapped{in.size()};
        std::memcpy(source.data(), in.data(), in.size());
        std::memcpy(swapped.data(), in.data(), in.size());
        detail::swap_components(from.type, swapped.data(), n);
        for (const auto& to : ckpt::dtype_table) {
            if (!detail::is_castable(from.type, to.type)) continue;
            ++pairs;
            CAPTURE(std::string(from.name));
            CAPTURE(std::string(to.name));
            const auto expected = converted(from.type, in, to.type, n);
            buffer out{expected.size()};
            run(detail::cast_job::make(out.data(), to.type, source.data(), from.type, false, n));
            CHECK(out.bytes() == expected);
            std::memset(out.data(), 0x5A, expected.size());
            run(detail::cast_job::make(out.data(), to.type, swapped.data(), from.type, true, n));
            CHECK(out.bytes() == expected);
        }
    }
    CHECK(pairs > 200);
}

TEST_CASE("a conversion that may refuse a value stays on the host") {
    const auto can = [](std::string_view from, std::string_view to) {
        return detail::is_castable(*ckpt::parse_dtype(from), *ckpt::parse_dtype(to));
    };
    CHECK(can("uint8", "int16"));
    CHECK(can("uint32", "int64"));
    CHECK(can("bool", "int8"));
    CHECK(can("int64", "float16"));
    CHECK(can("float8_e8m0fnu", "float32"));
    CHECK(can("complex64", "bcomplex32"));
    CHECK(can("qint32", "qint32"));
    CHECK(can("float4_e2m1fn_x2", "float4_e2m1fn_x2"));
    CHECK_FALSE(can("uint8", "int8"));
    CHECK_FALSE(can("int8", "uint64"));
    CHECK_FALSE(can("uint64", "int64"));
    CHECK_FALSE(can("int64", "int32"));
    CHECK_FALSE(can("uint8", "bool"));
    CHECK_FALSE(can("float32", "int64"));
    CHECK_FALSE(can("float32", "float8_e8m0fnu"));
    CHECK_FALSE(can("complex64", "float32"));
    CHECK_FALSE(can("quint4x2", "quint4x2"));
    CHECK_FALSE(detail::is_castable(dtype{200}, dtype{200}));
}

TEST_CASE("packets are taken where both ends are aligned for them; the rest one by one, and nothing beyond") {
    for (const auto& from : {dtype::uint8, dtype::float16, dtype::float32, dtype::float64, dtype::complex64})
        for (const auto& to :
             {dtype::float8_e5m2, dtype::bfloat16, dtype::float32, dtype::float64, dtype::complex128}) {
            if (!detail::is_castable(from, to)) continue;
            const std::size_t in_part = ckpt::info(from).component_bytes;
            const std::size_t out_part = ckpt::info(to).component_bytes;
            const std::size_t many = 16 / (in_part > out_part ? in_part : out_part);
            for (const std::size_t in_off : {std::size_t{0}, in_part})
                for (const std::size_t out_off : {std::size_t{0}, out_part})
                    for (std::uint64_t n = 0; n < 40; ++n) {
                        buffer in{static_cast<std::size_t>(n * itemsize(from)), in_off};
                        for (std::size_t i = 0; i < n * itemsize(from); ++i)
                            in.data()[i] = static_cast<std::byte>(i * 37 + 1);
                        const std::size_t size = static_cast<std::size_t>(n * itemsize(to));
                        buffer out{size + out_part, out_off};
                        const auto job = detail::cast_job::make(out.data(), to, in.data(), from, false, n);
                        const bool aligned = in_off == 0 && out_off == 0 && std::endian::native == std::endian::little;
                        CHECK(job.per_item == (aligned ? many : 1));
                        run(job);
                        auto expected = converted(from, in.bytes(), to, n);
                        expected.resize(expected.size() + out_part); // zeros, as they were
                        CHECK(out.bytes() == expected);
                    }
        }
}

TEST_CASE("a byte swap may be in place") {
    for (const dtype type : {dtype::uint8, dtype::float16, dtype::int32, dtype::float64, dtype::complex64,
                             dtype::complex128, dtype::bits16})
        for (const std::uint64_t n : {std::uint64_t{1}, std::uint64_t{7}, std::uint64_t{64}}) {
            const std::size_t size = static_cast<std::size_t>(n * itemsize(type));
            buffer both{size};
            for (std::size_t i = 0; i < size; ++i) both.data()[i] = static_cast<std::byte>(i * 7 + 3);
            auto expected = both.bytes();
            detail::swap_components(type, expected.data(), n);
            run(detail::cast_job::make(both.data(), type, both.data(), type, true, n));
            CHECK(both.bytes() == expected);
        }
}

// ---- dequantisation

/// A tensor of 512 integers, all of a byte twice, and what `copy_dequantized` makes of it.
struct quantised_case {
    quantised_case(const char* storage, std::size_t size, const std::vector<std::int64_t>& shape,
                   const std::string& quantizer, const std::vector<std::pair<std::string, std::string>>& parameters) {
        std::string integers = test_support::noise(512 * size, 3);
        if (size == 1)
            for (std::size_t i = 0; i < 512; ++i) integers[i] = static_cast<char>(i * 7 % 256);
        std::vector<std::int64_t> strides(shape.size(), 1);
        for (std::size_t d = shape.size() - 1; d-- > 0;) strides[d] = strides[d + 1] * shape[d + 1];
        auto records = parameters;
        records.emplace_back("0", integers);
        namespace pkl = test_support::pkl;
        bytes = test_support::torch_file(pkl::qtensor(pkl::storage(storage, "0", 512), 0, shape, strides, quantizer),
                                         records);
        const auto file = ckpt::open_bytes(test_support::bytes_of(bytes)).value();
        const auto t = file.root().as_tensor().value();
        numbers.resize(512);
        REQUIRE(ckpt::copy_dequantized(t, numbers).has_value());
        type = t.dtype();
        const auto q = t.quantizer().value();
        const auto& data = *detail::tensor_access::data(t);
        how = detail::dequantization_of(*data.extra, data.sizes());
        if (detail::is_per_channel(q.scheme)) {
            scales.resize(static_cast<std::size_t>(q.scales.numel()));
            zero_points.resize(scales.size());
            REQUIRE(q.scales.copy_as(std::span(scales)).has_value());
            if (detail::has_rounded_scales(q.scheme))
                for (double& scale : scales) scale = static_cast<double>(static_cast<float>(scale));
            REQUIRE(q.zero_points.copy_as(std::span(zero_points)).has_value());
            how.scales = scales.data();
            how.zero_points = zero_points.data();
        }
        elements.assign(reinterpret_cast<const std::byte*>(integers.data()),
                        reinterpret_cast<const std::byte*>(integers.data()) + integers.size());
    }
    quantised_case(const quantised_case&) = delete;
    quantised_case& operator=(const quantised_case&) = delete;
    ~quantised_case() = default;

    std::string bytes{};
    dtype type{};
    std::vector<std::byte> elements{};
    std::vector<float> numbers{};
    ckpt::dequantization how{};
    std::vector<double> scales{};
    std::vector<float> zero_points{};
};

/// Every type that float32 converts to, from either byte order, whole and from the middle of a channel.
void check_dequantised(quantised_case& c) {
    const std::size_t size = itemsize(c.type);
    std::vector<std::byte> swapped = c.elements;
    detail::swap_components(c.type, swapped.data(), 512);
    for (const auto& to : ckpt::dtype_table) {
        if (!detail::is_dequantisable(c.type, to.type)) continue;
        CAPTURE(std::string(to.name));
        for (const bool swap : {false, true})
            for (const std::uint64_t first : {0u, 1u, 16u, 77u, 511u})
                for (const std::size_t off : {std::size_t{0}, size}) {
                    const std::uint64_t n = 512 - first;
                    buffer in{512 * size, off};
                    std::memcpy(in.data(), (swap ? swapped : c.elements).data() + first * size,
                                static_cast<std::size_t>(n) * size);
                    buffer out{static_cast<std::size_t>(n) * itemsize(to.type)};
                    detail::dequantize_job job;
                    REQUIRE(detail::dequantize_job::make(out.data(), to.type, in.data(), c.type, swap, c.how, first, n,
                                                         job));
                    for (std::uint64_t i = job.items(); i-- > 0;) job(i);
                    const auto* numbers = reinterpret_cast<const std::byte*>(c.numbers.data() + first);
                    CHECK(out.bytes() == converted(dtype::float32,
                                                   {numbers, numbers + static_cast<std::size_t>(n) * sizeof(float)},
                                                   to.type, n));
                }
    }
}

TEST_CASE("quantised integers become the numbers that copy_dequantized gives, for all of a byte, in every type") {
    namespace pkl = test_support::pkl;
    for (const char* storage : {"QInt8Storage", "QUInt8Storage", "QInt32Storage"}) {
        CAPTURE(storage);
        const std::size_t size = std::string_view{storage} == "QInt32Storage" ? 4 : 1;
        for (const double scale : {0.1, 1.0, 3e-41, 2.5e36, -0.007})
            for (const std::int64_t zero : {std::int64_t{0}, std::int64_t{3}, std::int64_t{-2'147'483'648}}) {
                quantised_case c{storage, size, {512}, pkl::per_tensor(scale, zero), {}};
                check_dequantised(c);
            }
        for (const std::int64_t axis : {0, 1, 2}) {
            const std::vector<std::int64_t> shape{4, 8, 16};
            const std::int64_t channels = shape[static_cast<std::size_t>(axis)];
            for (const bool floating : {false, true}) {
                std::vector<double> scales;
                std::vector<std::int64_t> zeros;
                std::vector<float> floats;
                for (std::int64_t i = 0; i < channels; ++i) {
                    scales.push_back(i == 1 ? 2e-44 : 0.013 * static_cast<double>(i + 1) + 1e-10);
                    zeros.push_back(i * 31 - 50);
                    floats.push_back(i == 2 ? 1e-42F : 0.3F * static_cast<float>(i) - 1);
                }
                const auto all = [&](const char* type, const char* key) {
                    return pkl::tensor(pkl::storage(type, key, channels), 0, {channels}, {1});
                };
                using test_support::raw;
                quantised_case c{storage,
                                 size,
                                 shape,
                                 pkl::per_channel(all("DoubleStorage", "s"),
                                                  all(floating ? "FloatStorage" : "LongStorage", "z"), pkl::num(axis)),
                                 {{"s", raw(scales)}, {"z", floating ? raw(floats) : raw(zeros)}}};
                check_dequantised(c);
            }
        }
    }
}

TEST_CASE("products by way of float64, and differences that cannot be flushed, are what float32 gives") {
    std::mt19937 random{6}; // NOLINT
    const auto bits_of = [](float x) { return std::bit_cast<std::uint32_t>(x); };
    const auto same = [&](float x, float y) { return bits_of(x) == bits_of(y) || (x != x && y != y); };
    for (int i = 0; i < 1'000'000 / test_support::one_of_many; ++i) {
        const auto a = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
        const auto b = std::bit_cast<float>(static_cast<std::uint32_t>(random()) >> (i % 4 == 0 ? 9 : 0));
        REQUIRE(same(detail::to_float(detail::to_double(a) * detail::to_double(b)), a * b));
        for (const std::int32_t q : {0, 1, -1, static_cast<std::int32_t>(random())})
            REQUIRE(same(detail::unflushed_difference(q, b), static_cast<float>(q) - b));
    }
    for (const float zero : {0.0F, -0.0F, 1e-45F, -1e-42F})
        CHECK(bits_of(detail::unflushed_difference(0, zero)) == bits_of(0.0F - zero));
}

TEST_CASE("dequantisation that is none is refused: other types, no channels, conversions that may lose a value") {
    std::byte at[64]{};
    detail::dequantize_job job;
    const auto make = [&](dtype to, dtype from, const ckpt::dequantization& how) {
        return detail::dequantize_job::make(at, to, at + 32, from, false, how, 0, 4, job);
    };
    CHECK(make(dtype::float32, dtype::qint8, {}));
    CHECK(make(dtype::float64, dtype::qint32, {}));
    CHECK_FALSE(make(dtype::float32, dtype::int8, {}));
    CHECK_FALSE(make(dtype::float32, dtype::quint4x2, {}));
    CHECK_FALSE(make(dtype::int32, dtype::qint8, {}));
    CHECK_FALSE(make(dtype::qint8, dtype::qint8, {}));
    CHECK_FALSE(make(dtype::float32, dtype::qint8, {.channels = 0}));
    CHECK_FALSE(make(dtype::float32, dtype::qint8, {.inner = 0}));
}

// ---- gathers

struct strided_case {
    std::vector<std::int64_t> shape;
    std::vector<std::int64_t> strides;
    std::uint64_t offset{};
};

std::vector<std::byte> gathered(std::span<const std::byte> in, std::size_t size, const strided_case& c,
                                std::size_t out_off = 0) {
    detail::gather_job job;
    std::uint64_t n = 1;
    for (const std::int64_t s : c.shape) n *= static_cast<std::uint64_t>(s);
    buffer source{in.size()};
    std::memcpy(source.data(), in.data(), in.size());
    buffer out{static_cast<std::size_t>(n * size), out_off};
    REQUIRE(detail::gather_job::make(out.data(), source.data(), size, c.shape, c.strides, c.offset, job));
    for (std::uint64_t i = job.items(); i-- > 0;) job(i);
    return out.bytes();
}

std::vector<std::byte> by_the_host(std::span<const std::byte> in, std::size_t size, const strided_case& c) {
    detail::box b;
    REQUIRE(detail::make_box(c.shape, c.strides, c.offset, b));
    std::vector<std::byte> out(static_cast<std::size_t>(detail::count(b)) * size);
    detail::gather(in.data(), b, size, out.data());
    return out;
}

TEST_CASE("gathers give what the host's give") {
    std::mt19937 random{4}; // NOLINT
    const auto below = [&random](std::uint32_t n) { return static_cast<std::int64_t>(random() % n); };
    for (int round = 0; round < 3000; ++round) {
        strided_case c;
        const std::size_t size = std::size_t{1} << below(5);
        const std::int64_t rank = below(9);
        std::uint64_t needed = 1 + (c.offset = static_cast<std::uint64_t>(below(3) * below(9)));
        for (std::int64_t i = 0; i < rank; ++i) {
            c.shape.push_back(1 + below(rank > 5 ? 3 : 6));
            c.strides.push_back(below(4) == 0 ? below(3) : below(40));
            if (i == rank - 1 && below(2) == 0) { // rows of neighbours, which are taken together
                c.strides.back() = 1;
                c.shape.back() = 1 << below(5);
                for (std::size_t k = 0; k + 1 < c.strides.size(); ++k) c.strides[k] &= ~15;
            }
        }
        for (std::size_t i = 0; i < c.shape.size(); ++i)
            needed += static_cast<std::uint64_t>((c.shape[i] - 1) * c.strides[i]);
        std::vector<std::byte> in(static_cast<std::size_t>(needed) * size);
        for (std::byte& b : in) b = static_cast<std::byte>(random());
        CAPTURE(round);
        CHECK(gathered(in, size, c) == by_the_host(in, size, c));
        CHECK(gathered(in, size, c, size) == by_the_host(in, size, c));
    }
}

TEST_CASE("neighbours that always come in pairs are gathered as wider elements") {
    std::array<std::uint64_t, 64> memory{};
    detail::gather_job job;
    const auto bytes = [&](std::size_t size, const strided_case& c) {
        REQUIRE(detail::gather_job::make(memory.data(), memory.data(), size, c.shape, c.strides, c.offset, job));
        return job.bytes;
    };
    const bool to_16 = reinterpret_cast<std::uintptr_t>(memory.data()) % 16 == 0;
    CHECK(bytes(1, {{3, 32}, {64, 1}, 0}) == (to_16 ? 16 : 8));
    CHECK(bytes(1, {{3, 24}, {64, 1}, 8}) == 8);
    CHECK(job.n == 9);
    CHECK(bytes(2, {{3, 6}, {64, 1}, 0}) == 4);
    CHECK(bytes(2, {{3, 6}, {63, 1}, 0}) == 2);
    CHECK(bytes(2, {{3, 6}, {64, 1}, 1}) == 2);
    CHECK(bytes(2, {{4, 6}, {1, 64}, 0}) == 2);
}

TEST_CASE("a gather takes elements beyond 32 bits, and refuses what is no geometry") {
    detail::gather_job job;
    std::byte at{};
    const auto make = [&](std::size_t size, std::vector<std::int64_t> shape, std::vector<std::int64_t> strides) {
        return detail::gather_job::make(&at, &at, size, shape, strides, 0, job);
    };
    // Not touched: these would be 2^40 elements.
    REQUIRE(make(1, {1 << 20, 1 << 20}, {1, std::int64_t{1} << 33}));
    CHECK(job.n == std::uint64_t{1} << 40);
    CHECK(detail::divide(std::uint64_t{5} << 40, std::uint64_t{1} << 35) == 160);
    CHECK(detail::divide(std::uint64_t{5} << 32, 5) == std::uint64_t{1} << 32);
    CHECK(detail::divide(17, std::uint64_t{1} << 32) == 0);
    CHECK(detail::divide(17, 5) == 3);
    REQUIRE(make(4, {3, 0, 5}, {1, 1, 1}));
    CHECK(job.items() == 0);
    CHECK_FALSE(make(3, {3}, {1}));
    CHECK_FALSE(make(32, {3}, {1}));
    CHECK_FALSE(make(0, {3}, {1}));
    CHECK_FALSE(make(4, {-3}, {1}));
    CHECK_FALSE(make(4, {3}, {-1}));
    CHECK(make(4, {2, 2, 2, 2, 2, 2, 2, 2}, {1, 3, 1, 3, 1, 3, 1, 3}));
    CHECK_FALSE(make(4, {2, 2, 2, 2, 2, 2, 2, 2, 2}, {1, 3, 1, 3, 1, 3, 1, 3, 1}));
    CHECK(make(4, {2, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2}, {1024, 512, 256, 128, 64, 32, 16, 9, 4, 2, 1})); // merge to two
}

// ---- scatters

bool nests(std::vector<std::int64_t> shape, std::vector<std::int64_t> strides) {
    detail::nested_view view;
    return detail::nested_view::make(shape, strides, view);
}

TEST_CASE("views whose dimensions lie inside each other can be scattered") {
    CHECK(nests({}, {}));
    CHECK(nests({5}, {3}));
    CHECK(nests({4, 6}, {6, 1}));
    CHECK(nests({4, 6}, {1, 4}));
    CHECK(nests({4, 6}, {1, 9}));
    CHECK(nests({3, 4, 5}, {1, 15, 3}));
    CHECK(nests({3, 1, 5}, {1, 0, 3}));
    CHECK_FALSE(nests({4, 6}, {5, 1}));  // rows overlap
    CHECK_FALSE(nests({4, 6}, {1, 3}));  // so do these
    CHECK_FALSE(nests({4, 6}, {1, 1}));  // a diagonal
    CHECK_FALSE(nests({4, 6}, {0, 1}));  // expanded
    CHECK_FALSE(nests({4, 6}, {-6, 1})); // no geometry
    CHECK_FALSE(nests({4, 0}, {1, 1}));
    std::vector<std::int64_t> sizes, strides;
    for (std::int64_t stride = 1; sizes.size() < 8; stride *= 3) sizes.push_back(2), strides.push_back(stride);
    CHECK(nests(sizes, strides));
    sizes.push_back(2), strides.push_back(6'561);
    CHECK_FALSE(nests(sizes, strides)); // nine dimensions
    // Numbers that 64 bits cannot hold.
    CHECK(nests({3, 2}, {std::int64_t{1} << 61, 1}));
    CHECK_FALSE(nests({9, 2}, {std::int64_t{1} << 61, 1}));
}

/// A random view that nests, with gaps between its elements or without.
strided_case nested_case(std::mt19937& random) {
    const auto below = [&random](std::uint32_t n) { return static_cast<std::int64_t>(random() % n); };
    strided_case c;
    const std::size_t rank = random() % 5;
    c.shape.assign(rank, 1);
    c.strides.assign(rank, 1);
    std::vector<std::size_t> order(rank);
    for (std::size_t i = 0; i < rank; ++i) order[i] = i;
    for (std::size_t i = rank; i > 1; --i) std::swap(order[i - 1], order[random() % i]);
    std::int64_t reached = 1;
    for (const std::size_t i : order) {
        c.shape[i] = 1 + below(6);
        c.strides[i] = reached + (below(2) == 0 ? below(3) : 0);
        reached = c.strides[i] * c.shape[i];
    }
    return c;
}

TEST_CASE("scatters of any parts of what is stored give what gathers and conversions of the host give") {
    std::mt19937 random{5}; // NOLINT
    const std::pair<dtype, dtype> types[]{{dtype::float32, dtype::bfloat16},    {dtype::float16, dtype::float64},
                                          {dtype::uint8, dtype::uint8},         {dtype::float64, dtype::float32},
                                          {dtype::bool_, dtype::int32},         {dtype::int64, dtype::int64},
                                          {dtype::complex64, dtype::complex32}, {dtype::complex128, dtype::complex128}};
    for (int round = 0; round < 1'500; ++round) {
        CAPTURE(round);
        const auto& [from, to] = types[random() % std::size(types)];
        REQUIRE(detail::is_castable(from, to));
        const bool swap = random() % 2 == 0;
        const strided_case c = nested_case(random);
        detail::box all;
        REQUIRE(detail::make_box(c.shape, c.strides, 0, all));
        std::uint64_t stored = 0;
        REQUIRE(detail::reach(all, stored));
        const std::uint64_t n = detail::count(all);
        std::vector<std::byte> in(static_cast<std::size_t>(stored) * itemsize(from));
        for (std::byte& b : in) b = static_cast<std::byte>(random());
        auto native = in;
        if (swap) detail::swap_components(from, native.data(), stored);
        const auto expected = converted(from, by_the_host(native, itemsize(from), c), to, n);
        buffer out{expected.size()};
        std::memset(out.data(), 0x5A, expected.size());
        for (std::uint64_t first = 0; first < stored;) {
            const std::uint64_t many = (std::min)(stored - first, std::uint64_t{1} + random() % stored);
            buffer part{static_cast<std::size_t>(many) * itemsize(from)};
            std::memcpy(part.data(), in.data() + first * itemsize(from),
                        static_cast<std::size_t>(many) * itemsize(from));
            detail::scatter_job job;
            REQUIRE(detail::scatter_job::make(out.data(), to, part.data(), from, swap, c.shape, c.strides, first, many,
                                              job));
            for (std::uint64_t i = job.items(); i-- > 0;) job(i);
            first += many;
        }
        CHECK(out.bytes() == expected);
    }
}

TEST_CASE("a scatter leaves alone what it has no element for") {
    const std::array<std::uint16_t, 4> in{1, 2, 3, 4}; // stored elements 5 to 8 of [3, 2] with strides [4, 1]
    const std::int64_t shape[]{3, 2}, strides[]{4, 1};
    std::array<std::uint16_t, 6> out{};
    detail::scatter_job job;
    REQUIRE(detail::scatter_job::make(out.data(), dtype::uint16, in.data(), dtype::uint16, false, shape, strides, 5, 4,
                                      job));
    for (std::uint64_t i = 0; i < job.items(); ++i) job(i);
    CHECK(out == std::array<std::uint16_t, 6>{0, 0, 0, 1, 4, 0});
}

} // namespace

} // namespace element_ops_test
