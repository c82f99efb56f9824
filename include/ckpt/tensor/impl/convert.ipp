// ckpt/tensor/impl/convert.ipp: the definitions of convert.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/tensor/casts.hpp>
#include <ckpt/tensor/convert.hpp>

#include <cstring>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

#if CKPT_DETAIL_LANES
/// Copies whole vectors, each unit reversed. Returns how many bytes those were.
template <int Unit, int... At>
#if CKPT_DETAIL_LANES_X86
[[gnu::target("avx2")]] // the least that has one instruction for it
#endif
inline std::uint64_t
swap_vectors(const std::byte* in, std::byte* out, std::uint64_t bytes, std::integer_sequence<int, At...>) noexcept {
    std::uint64_t i = 0;
    for (; i + sizeof...(At) <= bytes; i += sizeof...(At)) {
        lanes<std::uint8_t, sizeof...(At)> v;
        load_lanes(in + i, v);
        store_lanes(__builtin_shufflevector(v, v, (At / Unit * Unit + Unit - 1 - At % Unit)...), out + i);
    }
    return i;
}
#endif
#if CKPT_DETAIL_LANES_X86
/// The same of lines of 64 bytes, around the cache: `out` is a multiple of 64. (One loop for both was a fifth slower.)
template <int Unit, int... At>
[[gnu::target("avx2")]] inline std::uint64_t swap_lines(const std::byte* in, std::byte* out, std::uint64_t bytes,
                                                        std::integer_sequence<int, At...>) noexcept {
    const std::uint64_t whole = bytes / 64 * 64;
    for (std::uint64_t i = 0; i < whole; i += sizeof...(At)) {
        lanes<std::uint8_t, sizeof...(At)> v;
        load_lanes(in + i, v);
        v = __builtin_shufflevector(v, v, (At / Unit * Unit + Unit - 1 - At % Unit)...);
        stream_lanes(v, out + i);
    }
    end_streams();
    return whole;
}
#endif
template <class Number> inline void swap_each(const std::byte* in, std::byte* out, std::uint64_t bytes) noexcept {
    for (std::uint64_t i = 0; i < bytes; i += sizeof(Number)) {
        Number value{};
        std::memcpy(&value, in + i, sizeof(Number));
        value = byte_swap(value);
        std::memcpy(out + i, &value, sizeof(Number));
    }
}
/// `in` and `out` are one place, or apart and `streams` is allowed.
template <class Number>
inline void swap_all(const std::byte* in, std::byte* out, std::uint64_t bytes, [[maybe_unused]] bool streams) noexcept {
    std::uint64_t i = 0;
#if CKPT_DETAIL_LANES_X86
    if (__builtin_cpu_supports("avx2")) {
        const std::size_t to_line = bytes_to_line(out);
        if (streams && bytes >= streamed_bytes && to_line % sizeof(Number) == 0) {
            swap_each<Number>(in, out, to_line);
            i = to_line + swap_lines<int{sizeof(Number)}>(in + to_line, out + to_line, bytes - to_line,
                                                          std::make_integer_sequence<int, 16>{});
        }
        i += swap_vectors<int{sizeof(Number)}>(in + i, out + i, bytes - i, std::make_integer_sequence<int, 32>{});
    }
#elif CKPT_DETAIL_LANES
    i = swap_vectors<int{sizeof(Number)}>(in, out, bytes, std::make_integer_sequence<int, 16>{});
#endif
    swap_each<Number>(in + i, out + i, bytes - i);
}
CKPT_DETAIL_RARE void swap_units(std::size_t unit, const std::byte* in, std::byte* out, std::uint64_t bytes,
                                 bool streams) noexcept {
    if (unit == 2) swap_all<std::uint16_t>(in, out, bytes, streams);
    else if (unit == 4) swap_all<std::uint32_t>(in, out, bytes, streams);
    else if (unit == 8) swap_all<std::uint64_t>(in, out, bytes, streams);
}

CKPT_DETAIL_DEF void swap_components(dtype type, std::byte* data, std::uint64_t n) noexcept {
    swap_units(info(type).component_bytes, data, data, n * itemsize(type), false);
}

CKPT_DETAIL_RARE void resolve_lazy_bits(dtype type, bool neg, bool conj, std::byte* data, std::uint64_t n) noexcept {
    const dtype_info& row = info(type);
    const std::size_t component = row.component_bytes;
    std::uint64_t step = component;
    if (row.kind == dtype_kind::complex) {
        if (!neg && !conj) return;
        step = conj ? 2 * component : component; // both bits together leave the imaginary part unchanged
        if (!conj) n *= 2;
        else if (!neg) data += component;
    } else if (!neg) {
        return;
    }
    const negation how = row.kind == dtype_kind::integer ? negation::two_s_complement
                         : type == dtype::float8_e4m3fnuz || type == dtype::float8_e5m2fnuz
                             ? negation::sign_bit_unless_zero // zero has no sign, and the sign alone is NaN
                             : negation::sign_bit;
    switch (component) {
    case 1: return negate_all<std::uint8_t>(data, step, n, how);
    case 2: return negate_all<std::uint16_t>(data, step, n, how);
    case 4: return negate_all<std::uint32_t>(data, step, n, how);
    default: return negate_all<std::uint64_t>(data, step, n, how);
    }
}

CKPT_DETAIL_RARE void finish_elements(dtype type, byte_order from, byte_order to, bool neg, bool conj, std::byte* data,
                                      std::uint64_t n) noexcept {
    if (type == dtype::bool_) return normalise_bools(data, n);
    if (neg || conj) {
        if (from != native_order()) swap_components(type, data, n);
        resolve_lazy_bits(type, neg, conj, data, n);
        from = native_order();
    }
    if (from != to) swap_components(type, data, n);
}

CKPT_DETAIL_DEF void unpack(std::size_t bits, const std::byte* in, std::uint64_t first, std::uint64_t n,
                            std::byte* out) noexcept {
    const std::uint64_t per_byte = 8 / bits;
    const auto mask = static_cast<std::byte>((1u << bits) - 1);
    for (std::uint64_t i = 0; i < n; ++i)
        out[i] = (in[(first + i) / per_byte] >> static_cast<unsigned>((first + i) % per_byte * bits)) & mask;
}

CKPT_DETAIL_RARE void load_values(dtype type, const std::byte* in, std::size_t n, batch_values& out) noexcept {
    switch (type) {
    case dtype::int8: return load_batch<std::int8_t>(in, n, out.signed_integer);
    case dtype::int16: return load_batch<std::int16_t>(in, n, out.signed_integer);
    case dtype::int32: return load_batch<std::int32_t>(in, n, out.signed_integer);
    case dtype::int64: return load_batch<std::int64_t>(in, n, out.signed_integer);
    case dtype::bool_:
    case dtype::uint8: return load_batch<std::uint8_t>(in, n, out.unsigned_integer);
    case dtype::uint16: return load_batch<std::uint16_t>(in, n, out.unsigned_integer);
    case dtype::uint32: return load_batch<std::uint32_t>(in, n, out.unsigned_integer);
    case dtype::uint64: return load_batch<std::uint64_t>(in, n, out.unsigned_integer);
    case dtype::float16: return load_batch<f16>(in, n, out.single);
    case dtype::bfloat16: return load_batch<bf16>(in, n, out.single);
    case dtype::float8_e5m2: return load_batch<f8_e5m2>(in, n, out.single);
    case dtype::float8_e4m3fn: return load_batch<f8_e4m3fn>(in, n, out.single);
    case dtype::float8_e5m2fnuz: return load_batch<f8_e5m2fnuz>(in, n, out.single);
    case dtype::float8_e4m3fnuz: return load_batch<f8_e4m3fnuz>(in, n, out.single);
    case dtype::float8_e8m0fnu: return load_batch<f8_e8m0fnu>(in, n, out.single);
    case dtype::float32: std::memcpy(out.single, in, n * sizeof(float)); return;
    default: std::memcpy(out.real, in, n * sizeof(double)); return;
    }
}

CKPT_DETAIL_RARE void store_values(dtype type, const batch_values& in, std::size_t n, std::byte* out) noexcept {
    switch (type) {
    case dtype::int8: return store_batch<std::int8_t>(in.signed_integer, n, out);
    case dtype::int16: return store_batch<std::int16_t>(in.signed_integer, n, out);
    case dtype::int32: return store_batch<std::int32_t>(in.signed_integer, n, out);
    case dtype::int64: return store_batch<std::int64_t>(in.signed_integer, n, out);
    case dtype::bool_:
    case dtype::uint8: return store_batch<std::uint8_t>(in.unsigned_integer, n, out);
    case dtype::uint16: return store_batch<std::uint16_t>(in.unsigned_integer, n, out);
    case dtype::uint32: return store_batch<std::uint32_t>(in.unsigned_integer, n, out);
    case dtype::uint64: return store_batch<std::uint64_t>(in.unsigned_integer, n, out);
    case dtype::float16: return round_batch<f16>(in.single, n, out);
    case dtype::bfloat16: return round_batch<bf16>(in.single, n, out);
    case dtype::float8_e5m2: return round_batch<f8_e5m2>(in.single, n, out);
    case dtype::float8_e4m3fn: return round_batch<f8_e4m3fn>(in.single, n, out);
    case dtype::float8_e5m2fnuz: return round_batch<f8_e5m2fnuz>(in.single, n, out);
    case dtype::float8_e4m3fnuz: return round_batch<f8_e4m3fnuz>(in.single, n, out);
    case dtype::float32: std::memcpy(out, in.single, n * sizeof(float)); return;
    default: std::memcpy(out, in.real, n * sizeof(double)); return;
    }
}

CKPT_DETAIL_RARE std::size_t change_carrier(carrier a, carrier b, dtype to, std::size_t n, batch_values& v) noexcept {
    const bool to_integer = b == carrier::signed_integer || b == carrier::unsigned_integer;
    if (to_integer) { // from an integer: values that fit keep their bits
        const integer_range range = range_of(to);
        std::size_t i = 0;
        if (a == carrier::signed_integer) {
            while (i < n && v.signed_integer[i] >= range.least &&
                   (v.signed_integer[i] < 0 || static_cast<std::uint64_t>(v.signed_integer[i]) <= range.most))
                ++i;
        } else {
            while (i < n && v.unsigned_integer[i] <= range.most) ++i;
        }
        if (a != b) {
            batch_values moved;
            std::memcpy(&moved, &v, sizeof v);
            if (b == carrier::signed_integer)
                for (std::size_t k = 0; k < i; ++k)
                    v.signed_integer[k] = static_cast<std::int64_t>(moved.unsigned_integer[k]);
            else
                for (std::size_t k = 0; k < i; ++k)
                    v.unsigned_integer[k] = static_cast<std::uint64_t>(moved.signed_integer[k]);
        }
        return i;
    }
    if (a == b) return n;
    const batch_values from = v;
    for (std::size_t i = 0; i < n; ++i) {
        if (b == carrier::single)
            v.single[i] = a == carrier::real             ? to_float(from.real[i])
                          : a == carrier::signed_integer ? static_cast<float>(from.signed_integer[i])
                                                         : static_cast<float>(from.unsigned_integer[i]);
        else
            v.real[i] = a == carrier::single           ? to_double(from.single[i])
                        : a == carrier::signed_integer ? static_cast<double>(from.signed_integer[i])
                                                       : static_cast<double>(from.unsigned_integer[i]);
    }
    return n;
}

CKPT_DETAIL_RARE std::uint64_t convert(dtype from, const std::byte* in, dtype to, std::byte* out,
                                       std::uint64_t n) noexcept {
    if (from == to) {
        if (n != 0) std::memcpy(out, in, static_cast<std::size_t>(n * itemsize(from)));
        return n;
    }
    const std::uint64_t parts = info(from).kind == dtype_kind::complex ? 2 * n : n;
    from = component_type(from);
    to = component_type(to);
    const cast_level level = best_cast_level();
    const bool by_single = carrier_of(to) == carrier::single || carrier_of(from) == carrier::single;
    const bool large = from == dtype::float32 || from == dtype::float64; // see bf16_of_large_float
    batch_values values;
    for (std::uint64_t done = cast_many(level, from, in, to, out, parts); done < parts;) {
        const std::size_t now = parts - done < batch_size ? static_cast<std::size_t>(parts - done) : batch_size;
        const std::byte* const at_in = in + done * itemsize(from);
        std::byte* const at = out + done * itemsize(to);
        auto* const single = reinterpret_cast<std::byte*>(values.single);
        carrier have = carrier::single;
        if (!by_single || cast_many(level, from, at_in, dtype::float32, single, now) != now) {
            load_values(from, at_in, now, values);
            have = carrier_of(from);
        }
        const std::size_t fit = change_carrier(have, carrier_of(to), to, now, values);
        if (fit < now) return done + fit; // never with complex types: they hold no integers
        if (to == dtype::bfloat16 && large) round_batch<bf16_of_large_float>(values.single, now, at);
        else if (to == dtype::bfloat16 || cast_many(level, dtype::float32, single, to, at, now) != now)
            store_values(to, values, now, at);
        done += now;
    }
    return n;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
