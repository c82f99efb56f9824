// SPDX-License-Identifier: MIT
#include <ckpt/tensor/casts.hpp>
#include <ckpt/tensor/convert.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

namespace casts_test {

namespace {

using ckpt::dtype;
namespace detail = ckpt::detail;

#if defined(CKPT_COMPILED)
constexpr bool whole_library = true;
#else
constexpr bool whole_library = false;
#endif

/// Empty where a level does not have the conversion: header-only, the lowest one has few.
template <class T> std::vector<T> cast(detail::cast_level level, dtype from, const void* in, dtype to, std::size_t n) {
    std::vector<T> out(n);
    const std::uint64_t done = detail::cast_many(level, from, static_cast<const std::byte*>(in), to,
                                                 reinterpret_cast<std::byte*>(out.data()), n);
    if (done == 0 && !whole_library && level == detail::cast_level::lanes) return {};
    REQUIRE(done == n);
    return out;
}

/// Calls `f` for each level that this processor has.
template <class F> void each_level(F&& f) {
    for (auto i = 1; i <= static_cast<int>(detail::best_cast_level()); ++i) {
        CAPTURE(i);
        f(static_cast<detail::cast_level>(i));
    }
}

/// Bits of floats: all exponents, ties and their neighbours at every place, NaNs with any payload, and others.
std::vector<std::uint32_t> float_bits() {
    std::vector<std::uint32_t> out;
    for (std::uint32_t upper = 0; upper < 0x200; ++upper) // sign and exponent
        for (std::uint32_t place = 0; place < 23; ++place)
            for (const std::uint32_t even : {0u, 1u}) {
                const std::uint32_t tie = (upper << 23) | ((even << place << 1 | 1u << place) & 0x007F'FFFFu);
                for (const std::uint32_t near_it : {tie - 1, tie, tie + 1, tie | 0x0060'0000u}) out.push_back(near_it);
            }
    std::uint64_t x = 88'172'645'463'325'252u;
    while (out.size() % 64 != 0 || out.size() < 200'000) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        out.push_back(static_cast<std::uint32_t>(x >> 32));
    }
    return out;
}

template <class Small, class Bits> void check_small(dtype type) {
    CAPTURE(ckpt::name(type));
    std::vector<Bits> all(std::size_t{1} << (8 * sizeof(Bits)));
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<Bits>(i);
    const std::vector<std::uint32_t> floats = float_bits();
    each_level([&](detail::cast_level level) {
        const auto wide = cast<std::uint32_t>(level, type, all.data(), dtype::float32, all.size());
        if (wide.empty()) return;
        std::size_t wrong = 0;
        for (std::size_t i = 0; i < all.size(); ++i)
            wrong += wide[i] != std::bit_cast<std::uint32_t>(Small{all[i]}.to_float());
        CHECK(wrong == 0);
        const auto narrow = cast<Bits>(level, dtype::float32, floats.data(), type, floats.size());
        for (std::size_t i = 0; i < floats.size(); ++i) {
            const auto value = std::bit_cast<float>(floats[i]);
            if constexpr (std::is_same_v<Small, ckpt::bf16>)
                wrong += narrow[i] != detail::bf16_of_large_float::from_float(value).value.bits;
            else wrong += narrow[i] != Small::from_float(value).bits;
        }
        CHECK(wrong == 0);
    });
}

TEST_CASE("every level of instructions gives the bits of the code for one element") {
    check_small<ckpt::bf16, std::uint16_t>(dtype::bfloat16);
    check_small<ckpt::f16, std::uint16_t>(dtype::float16);
    check_small<ckpt::f8_e5m2, std::uint8_t>(dtype::float8_e5m2);
    check_small<ckpt::f8_e4m3fn, std::uint8_t>(dtype::float8_e4m3fn);
    check_small<ckpt::f8_e5m2fnuz, std::uint8_t>(dtype::float8_e5m2fnuz);
    check_small<ckpt::f8_e4m3fnuz, std::uint8_t>(dtype::float8_e4m3fnuz);
}

TEST_CASE("float64 is rounded to float32 as one at a time: normal ones, zeros, subnormals, ties, NaNs") {
    std::vector<std::uint64_t> bits;
    for (const std::uint32_t f : float_bits()) { // exponents around those of float32, and all fractions of it
        const std::uint64_t sign = static_cast<std::uint64_t>(f >> 31) << 63;
        const std::uint64_t exponent = 1023 - 153 + static_cast<std::uint64_t>((f >> 23) & 0xFF) * 308 / 256;
        const std::uint64_t fraction = static_cast<std::uint64_t>(f & 0x007F'FFFFu) << 29;
        for (const std::uint64_t rest : {0u, 0x1000'0000u, 0x1000'0001u})
            bits.push_back(sign | (exponent << 52) | fraction | rest);
        bits.push_back(f % 3 == 0 ? sign : sign | (std::uint64_t{0x7FF} << 52) | fraction);
    }
    each_level([&](detail::cast_level level) {
        const auto made = cast<std::uint32_t>(level, dtype::float64, bits.data(), dtype::float32, bits.size());
        std::size_t wrong = 0;
        for (std::size_t i = 0; i < bits.size(); ++i)
            wrong += made[i] != std::bit_cast<std::uint32_t>(detail::to_float(std::bit_cast<double>(bits[i])));
        CHECK(wrong == 0);
    });
}

TEST_CASE("only whole vectors are converted, and nothing is written behind them") {
    each_level([](detail::cast_level level) {
        const std::vector<std::uint16_t> in(200, 0x3F80);
        for (const std::size_t n : {0u, 63u, 64u, 65u, 199u}) {
            std::vector<std::uint32_t> out(200, 7);
            const auto done = detail::cast_many(level, dtype::bfloat16, reinterpret_cast<const std::byte*>(in.data()),
                                                dtype::float32, reinterpret_cast<std::byte*>(out.data()), n);
            CHECK(done == n / 64 * 64);
            for (std::size_t i = 0; i < out.size(); ++i) REQUIRE(out[i] == (i < done ? 0x3F80'0000u : 7u));
        }
        CHECK(detail::cast_many(level, dtype::int16, nullptr, dtype::float32, nullptr, 64) == 0);
        CHECK(detail::cast_many(level, dtype::float32, nullptr, dtype::float8_e8m0fnu, nullptr, 64) == 0);
    });
}

} // namespace

} // namespace casts_test
