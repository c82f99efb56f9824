// ckpt/tensor/impl/casts.ipp: the definitions of casts.hpp.
//
// SPDX-License-Identifier: MIT
//
// One text for all vectors, which the compiler's vector types make into the instructions of each level. Vectors are
// passed by reference, because passing one by value needs its level on both sides.
#pragma once

#include <ckpt/tensor/casts.hpp>
#include <ckpt/tensor/convert.hpp>
#include <ckpt/tensor/lanes.hpp>

#include <cstring>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

#if CKPT_DETAIL_LANES

/// What is peculiar to a small float, for `widen_lanes` and `narrow_lanes`. All numbers are bits of one.
struct small_float {
    int mantissa{};
    std::int32_t bias{};
    std::int32_t sign{};          ///< the bit
    std::int32_t least_special{}; ///< from here on infinity and NaN, or NaN alone; more than all where there is none
    std::int32_t lone_nan{-1};    ///< the only NaN, where it is the sign alone
    std::int32_t over{};          ///< what larger numbers become
    std::int32_t nan{};           ///< what a NaN becomes, beside its sign
};

[[nodiscard]] constexpr small_float small_float_of(dtype type) noexcept {
    switch (type) {
    case dtype::float16: return {10, 15, 0x8000, 0x7C00, -1, 0x7C00, 0x7E00};
    case dtype::float8_e5m2: return {2, 15, 0x80, 0x7C, -1, 0x7C, 0x7F};
    case dtype::float8_e4m3fn: return {3, 7, 0x80, 0x7F, -1, 0x7E, 0x7F};
    case dtype::float8_e5m2fnuz: return {2, 16, 0x80, 0x100, 0x80, 0x80, 0x80};
    case dtype::float8_e4m3fnuz: return {3, 8, 0x80, 0x100, 0x80, 0x80, 0x80};
    default: return {};
    }
}

/// `a` where the mask has all ones, `b` where it has zeros; to `a`.
template <class V> CKPT_DETAIL_INLINE void select_lanes(const V& mask, const V& yes, V& no) noexcept {
    no = (yes & mask) | (no & ~mask);
}

/// As `widen` of half.hpp.
template <std::size_t N> CKPT_DETAIL_INLINE void widen_lanes(const small_float& f, lanes<std::int32_t, N>& x) noexcept {
    using words = lanes<std::int32_t, N>;
    using floats = lanes<float, N>;
    const words magnitude = x & (f.sign - 1);
    const words subnormal =
        (__builtin_bit_cast(words, __builtin_convertvector(magnitude, floats)) - ((f.bias - 1 + f.mantissa) << 23)) &
        (magnitude != 0);
    words out = (magnitude << (23 - f.mantissa)) + ((127 - f.bias) << 23);
    const std::int32_t normal = 1 << f.mantissa;
    select_lanes<words>(magnitude < normal, subnormal, out);
    out |= (magnitude >= f.least_special) & 0x7F80'0000;
    out |= (magnitude > f.least_special) & 0x0040'0000;
    out |= (x ^ magnitude) << (f.sign == 0x80 ? 24 : 16);
    select_lanes<words>(x == f.lone_nan, words{} + 0x7F80'0001, out);
    x = out;
}

/// As `narrow` of half.hpp. `Payload`: float16 keeps bits of a NaN.
///
/// The sum of a number and a power of two is rounded as wanted where the last bit of the sum is worth the last digit
/// that is kept. The bits of the sum less those of the power are the digits. With three of them the smallest normal
/// number gives 8, the code behind that of the largest subnormal, 7; each exponent more adds 8.
template <std::size_t N, bool Payload>
CKPT_DETAIL_INLINE void narrow_lanes(const small_float& f, lanes<std::int32_t, N>& x) noexcept {
    using words = lanes<std::int32_t, N>;
    using floats = lanes<float, N>;
    const words magnitude = x & 0x7FFF'FFFF;
    const int shift = 23 - f.mantissa;
    const std::int32_t least = 128 - f.bias; // exponent of the smallest normal number, in a float
    const words over = words{} + (f.over << shift) + ((127 - f.bias) << 23);
    const words kept = magnitude < over ? magnitude : over;
    const words exponent = kept & 0x7F80'0000;
    const words lowest = words{} + (least << 23);
    const words power = (exponent > lowest ? exponent : lowest) + (shift << 23);
    const words sum = __builtin_bit_cast(words, __builtin_bit_cast(floats, kept) + __builtin_bit_cast(floats, power));
    words out = sum - power + ((power >> shift) - ((least + shift) << f.mantissa));
    words nan = words{} + f.nan; // it was larger than `over`, which has no bit that NaN has not
    if constexpr (Payload) nan |= (magnitude >> 13) & 0x3FF;
    if (f.nan != f.over) out |= (magnitude > 0x7F80'0000) & nan;
    words sign = (x < 0) & f.sign;
    if (f.lone_nan >= 0) sign &= out != 0; // zero has no sign, and NaN is the sign
    x = out | sign;
}

/// Sixteen elements, in vectors of N.
template <std::size_t N> struct sixteen {
    lanes<std::int32_t, N> part[16 / N];
};
template <class Small, std::size_t N>
CKPT_DETAIL_INLINE void load_small(const std::byte* at, sixteen<N>& out) noexcept {
    lanes<Small, 16> in;
    load_lanes(at, in);
    // By one size at a time: compilers take the elements apart one by one otherwise.
    const auto all =
        __builtin_convertvector(__builtin_convertvector(in, lanes<std::uint16_t, 16>), lanes<std::int32_t, 16>);
    std::memcpy(&out, &all, sizeof out);
}
/// The lower halves of the elements of two vectors.
template <class Half, std::size_t N, class V, int... Place>
CKPT_DETAIL_INLINE void pack_lanes(const V& a, const V& b, lanes<Half, N>& out,
                                   std::integer_sequence<int, Place...>) noexcept {
    out = __builtin_shufflevector(__builtin_bit_cast(lanes<Half, N>, a), __builtin_bit_cast(lanes<Half, N>, b),
                                  2 * Place...);
}
template <std::size_t N> CKPT_DETAIL_INLINE void store_16(const lanes<std::int32_t, N>* x, std::byte* at) noexcept {
    if constexpr (N == 16) { // AVX-512 has an instruction for it
        store_lanes(__builtin_convertvector(x[0], lanes<std::int16_t, N>), at);
        store_lanes(__builtin_convertvector(x[1], lanes<std::int16_t, N>), at + 2 * N);
    } else {
        lanes<std::uint16_t, 2 * N> half;
        pack_lanes<std::uint16_t, 2 * N>(x[0], x[1], half, std::make_integer_sequence<int, int{2 * N}>{});
        store_lanes(half, at);
    }
}
#if CKPT_DETAIL_LANES_X86
/// The bytes of sixteen, or 32, numbers up to 255.
inline void store_8(const lanes<std::int32_t, 4>* x, std::byte* at) noexcept {
    store_lanes(
        __builtin_ia32_packuswb128(__builtin_ia32_packssdw128(x[0], x[1]), __builtin_ia32_packssdw128(x[2], x[3])), at);
}
[[gnu::target("avx2")]] inline void store_8(const lanes<std::int32_t, 8>* x, std::byte* at) noexcept {
    const auto bytes =
        __builtin_ia32_packuswb256(__builtin_ia32_packssdw256(x[0], x[1]), __builtin_ia32_packssdw256(x[2], x[3]));
    lanes<std::int32_t, 8> mixed; // four of x[0], of x[1], x[2], x[3], and then the other four of each
    std::memcpy(&mixed, &bytes, sizeof mixed);
    store_lanes(__builtin_shufflevector(mixed, mixed, 0, 4, 1, 5, 2, 6, 3, 7), at);
}
#else
inline void store_8(const lanes<std::int32_t, 4>* x, std::byte* at) noexcept {
    lanes<std::uint16_t, 8> a, b;
    pack_lanes<std::uint16_t, 8>(x[0], x[1], a, std::make_integer_sequence<int, 8>{});
    pack_lanes<std::uint16_t, 8>(x[2], x[3], b, std::make_integer_sequence<int, 8>{});
    lanes<std::uint8_t, 16> out;
    pack_lanes<std::uint8_t, 16>(a, b, out, std::make_integer_sequence<int, 16>{});
    store_lanes(out, at);
}
#endif
CKPT_DETAIL_INLINE void store_8(const lanes<std::int32_t, 16>* x, std::byte* at) noexcept {
    for (std::size_t i = 0; i < 4; ++i)
        store_lanes(
            __builtin_convertvector(__builtin_convertvector(x[i], lanes<std::int16_t, 16>), lanes<std::int8_t, 16>),
            at + i * 16);
}

template <class Small, std::size_t N>
CKPT_DETAIL_INLINE void widen_all(dtype type, const std::byte* in, std::byte* out, std::uint64_t n) noexcept {
    const small_float f = small_float_of(type);
    for (std::uint64_t i = 0; i < n; i += 16) {
        sixteen<N> x;
        load_small<Small, N>(in + i * sizeof(Small), x);
        for (auto& part : x.part) widen_lanes<N>(f, part);
        for (std::size_t k = 0; k < 16 / N; ++k) store_lanes(x.part[k], out + (i + k * N) * 4);
    }
}
template <class Small, std::size_t N>
CKPT_DETAIL_INLINE void narrow_all(dtype type, const std::byte* in, std::byte* out, std::uint64_t n) noexcept {
    constexpr std::size_t vectors = 4 / sizeof(Small);
    const small_float f = small_float_of(type);
    for (std::uint64_t i = 0; i < n; i += vectors * N) {
        lanes<std::int32_t, N> x[vectors];
        for (std::size_t k = 0; k < vectors; ++k) {
            load_lanes(in + (i + k * N) * 4, x[k]);
            narrow_lanes<N, vectors == 2>(f, x[k]);
        }
        if constexpr (vectors == 2) store_16<N>(x, out + i * 2);
        else store_8(x, out + i);
    }
}

template <std::size_t N>
CKPT_DETAIL_INLINE void widen_bf16(const std::byte* in, std::byte* out, std::uint64_t n) noexcept {
    for (std::uint64_t i = 0; i < n; i += 16) {
        sixteen<N> x;
        load_small<std::uint16_t, N>(in + i * 2, x);
        for (auto& part : x.part) part <<= 16;
        for (std::size_t k = 0; k < 16 / N; ++k) store_lanes(x.part[k], out + (i + k * N) * 4);
    }
}
/// As `bf16_of_large_float`.
template <std::size_t N>
CKPT_DETAIL_INLINE void narrow_bf16(const std::byte* in, std::byte* out, std::uint64_t n) noexcept {
    using words = lanes<std::int32_t, N>;
    for (std::uint64_t i = 0; i < n; i += 2 * N) {
        lanes<std::int32_t, N> x[2];
        for (std::size_t k = 0; k < 2; ++k) {
            lanes<std::uint32_t, N> from;
            load_lanes(in + (i + k * N) * 4, from);
            const auto nan = __builtin_bit_cast(words, from & 0x7FFF'FFFF) > 0x7F80'0000;
            x[k] = __builtin_bit_cast(words, (from + 0x7FFF + ((from >> 16) & 1)) >> 16) | nan;
        }
        store_16<N>(x, out + i * 2);
    }
}

/// As `to_float`: the processor's conversion where it gives normal numbers only.
template <std::size_t N>
CKPT_DETAIL_INLINE void narrow_f64(const std::byte* in, std::byte* out, std::uint64_t n) noexcept {
    using words = lanes<std::int32_t, N>;
    using floats = lanes<float, N>;
    for (std::uint64_t i = 0; i < n; i += N) {
        lanes<double, N> x;
        load_lanes(in + i * 8, x);
        const words made = __builtin_bit_cast(words, __builtin_convertvector(x, floats));
        // Exponents from 2 to 253. One more at both ends may be rounded from elsewhere.
        const words odd = ((made & 0x7FFF'FFFF) < 0x0100'0000) | ((made & 0x7FFF'FFFF) >= 0x7F00'0000);
        std::uint64_t any[N / 2];
        std::memcpy(any, &odd, sizeof odd);
        std::uint64_t is_odd = 0;
        for (const std::uint64_t a : any) is_odd |= a;
        store_lanes(made, out + i * 4);
        if (is_odd == 0) continue;
        for (std::uint64_t k = i; k < i + N; ++k) {
            double from{};
            std::memcpy(&from, in + k * 8, sizeof from);
            const float to = to_float(from);
            std::memcpy(out + k * 4, &to, sizeof to);
        }
    }
}

/// Programs that compile these in each source have bfloat16 and float64 only, where the processor has no AVX2.
#if defined(CKPT_COMPILED) || !CKPT_DETAIL_LANES_X86
inline constexpr bool all_in_lanes = true;
#else
inline constexpr bool all_in_lanes = false;
#endif

/// Converts `n` elements, a multiple of N, between types of `cast_many`.
template <std::size_t N>
CKPT_DETAIL_INLINE void cast_lanes(dtype from, const std::byte* in, dtype to, std::byte* out,
                                   std::uint64_t n) noexcept {
    if (from == dtype::float64) return narrow_f64 < N == 16 ? 8 : N > (in, out, n);
    if (from == dtype::bfloat16) return widen_bf16<N>(in, out, n);
    if (to == dtype::bfloat16) return narrow_bf16<N>(in, out, n);
    if constexpr (N != 4 || all_in_lanes) {
        if (from == dtype::float16) return widen_all<std::uint16_t, N>(from, in, out, n);
        if (to == dtype::float16) return narrow_all<std::uint16_t, N>(to, in, out, n);
        if (to == dtype::float32) return widen_all<std::uint8_t, N>(from, in, out, n);
        narrow_all<std::uint8_t, N>(to, in, out, n);
    }
}

#if CKPT_DETAIL_LANES_X86
/// Float16 by the instructions of F16C, which give the same bits.
[[gnu::target("avx2,f16c")]] inline void cast_f16c(dtype from, const std::byte* in, std::byte* out,
                                                   std::uint64_t n) noexcept {
    for (std::uint64_t i = 0; i < n; i += 8) {
        if (from == dtype::float16) {
            lanes<short, 8> x;
            load_lanes(in + i * 2, x);
            store_lanes(__builtin_ia32_vcvtph2ps256(x), out + i * 4);
        } else {
            lanes<float, 8> x;
            load_lanes(in + i * 4, x);
            store_lanes(__builtin_ia32_vcvtps2ph256(x, 0), out + i * 2);
        }
    }
}
/// Float8 by the same: e5m2 is the upper half of a float16, and e4m3 has the digits of a float16 that is 2^8 or 2^7
/// times smaller. That product of a NaN is one that no number has.
[[gnu::target("avx2,f16c")]] inline void widen_f16c(dtype from, const std::byte* in, std::byte* out,
                                                    std::uint64_t n) noexcept {
    using words = lanes<std::int32_t, 8>;
    for (std::uint64_t i = 0; i < n; i += 16) {
        lanes<std::uint8_t, 16> bytes;
        load_lanes(in + i, bytes);
        lanes<std::int16_t, 16> half = __builtin_convertvector(bytes, lanes<std::int16_t, 16>) << 8;
        if (from != dtype::float8_e5m2) half = (half >> 1) & static_cast<std::int16_t>(0xBF80);
        for (std::uint64_t k = 0; k < 16; k += 8) {
            lanes<std::int16_t, 8> part;
            load_lanes(reinterpret_cast<const std::byte*>(&half) + 2 * k, part);
            lanes<float, 8> x = __builtin_ia32_vcvtph2ps256(part);
            if (from != dtype::float8_e5m2) x *= from == dtype::float8_e4m3fn ? 256.0f : 128.0f;
            auto word = __builtin_bit_cast(words, x);
            if (from == dtype::float8_e4m3fn) word |= ((word & 0x7FFF'FFFF) == 0x43F0'0000) & 0x7F80'0000;
            if (from == dtype::float8_e4m3fnuz) select_lanes<words>(word == INT32_MIN, words{} + 0x7F80'0001, word);
            store_lanes(word, out + (i + k) * 4);
        }
    }
}
[[gnu::target("avx2,f16c")]] inline void cast_avx2(dtype from, const std::byte* in, dtype to, std::byte* out,
                                                   std::uint64_t n) noexcept {
    if (from == dtype::float16 || to == dtype::float16) return cast_f16c(from, in, out, n);
    if (from == dtype::float8_e5m2 || from == dtype::float8_e4m3fn || from == dtype::float8_e4m3fnuz)
        return widen_f16c(from, in, out, n);
    cast_lanes<8>(from, in, to, out, n);
}
#if defined(CKPT_COMPILED) // a third of the code, for what is little faster: programs of one source go without
[[gnu::target("avx512f,avx512bw,avx512vl,avx2,f16c")]] inline void
cast_avx512(dtype from, const std::byte* in, dtype to, std::byte* out, std::uint64_t n) noexcept {
    if (from == dtype::float16 || to == dtype::float16) return cast_f16c(from, in, out, n);
    if (from == dtype::float8_e5m2 || from == dtype::float8_e4m3fn || from == dtype::float8_e4m3fnuz)
        return widen_f16c(from, in, out, n);
    cast_lanes<16>(from, in, to, out, n);
}
#endif
#endif
#endif

CKPT_DETAIL_DEF cast_level best_cast_level() noexcept {
#if CKPT_DETAIL_LANES_X86
    if (!__builtin_cpu_supports("avx2")) return cast_level::lanes; // those that have it have F16C
#if defined(CKPT_COMPILED)
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) return cast_level::avx512;
#endif
    return cast_level::avx2;
#else
    return CKPT_DETAIL_LANES != 0 ? cast_level::lanes : cast_level::none;
#endif
}

CKPT_DETAIL_DEF std::uint64_t cast_many(cast_level level, dtype from, const std::byte* in, dtype to, std::byte* out,
                                        std::uint64_t n) noexcept {
#if CKPT_DETAIL_LANES
    const auto is_small = [](dtype t) { return t == dtype::bfloat16 || small_float_of(t).bias != 0; };
    const bool known = (from == dtype::float32 && is_small(to)) ||
                       (to == dtype::float32 && (is_small(from) || from == dtype::float64));
    const bool frequent = from == dtype::float64 || from == dtype::bfloat16 || to == dtype::bfloat16;
    if (!known || level == cast_level::none || (level == cast_level::lanes && !all_in_lanes && !frequent)) return 0;
    n -= n % 64;
#if CKPT_DETAIL_LANES_X86
#if defined(CKPT_COMPILED)
    if (level == cast_level::avx512) return cast_avx512(from, in, to, out, n), n;
#endif
    if (level == cast_level::avx2) return cast_avx2(from, in, to, out, n), n;
#endif
    cast_lanes<4>(from, in, to, out, n);
    return n;
#else
    (void)level, (void)from, (void)in, (void)to, (void)out, (void)n;
    return 0;
#endif
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
