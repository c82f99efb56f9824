// ckpt/gpu/element_ops.hpp: what one thread of a kernel does: convert or dequantise a few elements, or gather one.
//
// SPDX-License-Identifier: MIT
// In:      a job: where elements lie, what they are, how many; the number of one of its items.
// Out:     that item, done: up to 16 bytes of converted elements, or one gathered element.
// Refuses: conversions that may refuse a value (`is_castable`); geometry of more than 8 dimensions once it is
//          collapsed.
//
// Plain C++ that a host runs as well: tests compare every conversion with `convert`, bit by bit. Types are arguments
// and not template parameters, since all threads of a launch take the same branches, and 170 kernels would take minutes
// to compile.
#pragma once

#include <ckpt/core/config.hpp>
#include <ckpt/core/reader.hpp>
#include <ckpt/tensor/convert.hpp>
#include <ckpt/tensor/dequantize.hpp>
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/tensor/half.hpp>
#include <ckpt/tensor/strided.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

// ---- conversions

[[nodiscard]] CKPT_DETAIL_HOST_DEVICE constexpr bool is_integer(carrier c) noexcept {
    return c == carrier::signed_integer || c == carrier::unsigned_integer;
}

/// Whether `cast_bits` converts every value. Conversions of which `convert` may refuse a value are left to the host. A
/// type converts to itself where its elements are whole bytes, whatever they mean.
[[nodiscard]] constexpr bool is_castable(dtype from, dtype to) noexcept {
    if (from == to) return is_known(from) && bits(from) >= 8;
    if (!is_convertible(from, to)) return false;
    if (!is_integer(carrier_of(to))) return true;
    const integer_range holds = range_of(to);
    const integer_range asked = range_of(from);
    return holds.least <= asked.least && holds.most >= asked.most;
}

/// The number in the low bits, of a type that `carrier::signed_integer` carries.
[[nodiscard]] CKPT_DETAIL_HOST_DEVICE inline std::int64_t sign_extend(dtype type, std::uint64_t bits) noexcept {
    switch (type) {
    case dtype::int8: return static_cast<std::int8_t>(bits);
    case dtype::int16: return static_cast<std::int16_t>(bits);
    case dtype::int32: return static_cast<std::int32_t>(bits);
    default: return static_cast<std::int64_t>(bits);
    }
}

/// The value of a float of at most 32 bits.
[[nodiscard]] CKPT_DETAIL_HOST_DEVICE inline float widen_bits(dtype type, std::uint64_t bits) noexcept {
    switch (type) {
    case dtype::float16: return f16{static_cast<std::uint16_t>(bits)}.to_float();
    case dtype::bfloat16: return bf16{static_cast<std::uint16_t>(bits)}.to_float();
    case dtype::float8_e5m2: return f8_e5m2{static_cast<std::uint8_t>(bits)}.to_float();
    case dtype::float8_e4m3fn: return f8_e4m3fn{static_cast<std::uint8_t>(bits)}.to_float();
    case dtype::float8_e5m2fnuz: return f8_e5m2fnuz{static_cast<std::uint8_t>(bits)}.to_float();
    case dtype::float8_e4m3fnuz: return f8_e4m3fnuz{static_cast<std::uint8_t>(bits)}.to_float();
    case dtype::float8_e8m0fnu: return f8_e8m0fnu{static_cast<std::uint8_t>(bits)}.to_float();
    default: return bit_cast<float>(static_cast<std::uint32_t>(bits));
    }
}

/// The bits of the nearest float of at most 32 bits. `large`: the value was a float32 or float64, whose NaNs differ.
[[nodiscard]] CKPT_DETAIL_HOST_DEVICE inline std::uint64_t round_bits(dtype type, float value, bool large) noexcept {
    switch (type) {
    case dtype::float16: return f16::from_float(value).bits;
    case dtype::bfloat16:
        return large ? bf16_of_large_float::from_float(value).value.bits : bf16::from_float(value).bits;
    case dtype::float8_e5m2: return f8_e5m2::from_float(value).bits;
    case dtype::float8_e4m3fn: return f8_e4m3fn::from_float(value).bits;
    case dtype::float8_e5m2fnuz: return f8_e5m2fnuz::from_float(value).bits;
    case dtype::float8_e4m3fnuz: return f8_e4m3fnuz::from_float(value).bits;
    default: return bit_cast<std::uint32_t>(value);
    }
}

/// One element, or half a complex one, as another type; `is_castable(from, to)` holds. Elements are in the low bits; in
/// the result, the bits above an element of `to` are arbitrary. A bool becomes 0 or 1, since a file may hold any byte
/// for one.
[[nodiscard]] CKPT_DETAIL_HOST_DEVICE inline std::uint64_t cast_bits(dtype from, dtype to,
                                                                     std::uint64_t bits) noexcept {
    if (from == dtype::bool_) bits = bits != 0 ? 1 : 0;
    if (from == to) return bits;
    const carrier source = carrier_of(from);
    if (is_integer(source)) {
        const bool is_signed = source == carrier::signed_integer;
        const std::int64_t number = is_signed ? sign_extend(from, bits) : static_cast<std::int64_t>(bits);
        if (is_integer(carrier_of(to))) return static_cast<std::uint64_t>(number);
        if (to == dtype::float64)
            return bit_cast<std::uint64_t>(is_signed ? static_cast<double>(number) : static_cast<double>(bits));
        return round_bits(to, is_signed ? static_cast<float>(number) : static_cast<float>(bits), false);
    }
    const float value = source == carrier::real ? to_float(bit_cast<double>(bits)) : widen_bits(from, bits);
    if (to == dtype::float64) return bit_cast<std::uint64_t>(to_double(value));
    return round_bits(to, value, source == carrier::real || from == dtype::float32);
}

/// What lies in `bytes` bytes of memory, in the other byte order where `swapped` is set, in this machine's.
[[nodiscard]] CKPT_DETAIL_HOST_DEVICE inline std::uint64_t in_native_order(bool swapped, std::uint32_t bytes,
                                                                           std::uint64_t bits) noexcept {
    return swapped ? byte_swap(bits) >> (64 - 8 * bytes) : bits;
}

/// `cast_bits` of such bytes.
[[nodiscard]] CKPT_DETAIL_HOST_DEVICE inline std::uint64_t
cast_stored(dtype from, dtype to, bool swapped, std::uint32_t bytes, std::uint64_t bits) noexcept {
    return cast_bits(from, to, in_native_order(swapped, bytes, bits));
}

// ---- memory

struct alignas(16) two_words {
    std::uint64_t low{};
    std::uint64_t high{};
};

/// One load and one store of the size of `Word`; on a device `at` is aligned for it.
template <class Word> [[nodiscard]] CKPT_DETAIL_HOST_DEVICE inline Word load_word(const std::byte* at) noexcept {
#if defined(__CUDA_ARCH__)
    return *reinterpret_cast<const Word*>(at);
#else
    Word out{};
    std::memcpy(&out, at, sizeof out);
    return out;
#endif
}
template <class Word> CKPT_DETAIL_HOST_DEVICE inline void store_word(std::byte* at, Word word) noexcept {
#if defined(__CUDA_ARCH__)
    *reinterpret_cast<Word*>(at) = word;
#else
    std::memcpy(at, &word, sizeof word);
#endif
}

/// The same for 1, 2, 4, 8 or 16 bytes.
[[nodiscard]] CKPT_DETAIL_HOST_DEVICE inline two_words load_words(const std::byte* at, std::uint32_t bytes) noexcept {
    switch (bytes) {
    case 1: return {load_word<std::uint8_t>(at), 0};
    case 2: return {load_word<std::uint16_t>(at), 0};
    case 4: return {load_word<std::uint32_t>(at), 0};
    case 8: return {load_word<std::uint64_t>(at), 0};
    default: return load_word<two_words>(at);
    }
}
CKPT_DETAIL_HOST_DEVICE inline void store_words(std::byte* at, std::uint32_t bytes, two_words words) noexcept {
    switch (bytes) {
    case 1: return store_word(at, static_cast<std::uint8_t>(words.low));
    case 2: return store_word(at, static_cast<std::uint16_t>(words.low));
    case 4: return store_word(at, static_cast<std::uint32_t>(words.low));
    case 8: return store_word(at, words.low);
    default: return store_word(at, words);
    }
}

[[nodiscard]] inline bool is_aligned(const void* at, std::size_t to) noexcept {
    return reinterpret_cast<std::uintptr_t>(at) % to == 0;
}

// ---- jobs

/// Dense elements that become as many others, each by itself.
struct element_packets {
    std::byte* out{};
    const std::byte* in{};
    std::uint64_t n{};         ///< elements; halves of complex ones
    std::uint8_t out_bytes{1}; ///< of an element
    std::uint8_t in_bytes{1};
    std::uint8_t per_item{
        1}; ///< elements that one item takes: as many as the wider side has in 16 bytes, if both are aligned

    /// Both ends are aligned for their elements.
    void set(void* to, std::uint8_t to_bytes, const void* from, std::uint8_t from_bytes, std::uint64_t count) noexcept {
        out = static_cast<std::byte*>(to);
        in = static_cast<const std::byte*>(from);
        n = count;
        out_bytes = to_bytes;
        in_bytes = from_bytes;
        const std::size_t many = 16u / (out_bytes > in_bytes ? out_bytes : in_bytes);
        if (native_order() == byte_order::little && is_aligned(out, many * out_bytes) &&
            is_aligned(in, many * in_bytes))
            per_item = static_cast<std::uint8_t>(many);
    }

    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE std::uint64_t items() const noexcept {
        return n / per_item + (n % per_item != 0 ? 1 : 0);
    }

    /// Does one item. `converted(bits)`: an element in the low bits as another one, above which bits are arbitrary; for
    /// one element after another, from one place of the code, since each compiler puts it there whole.
    template <class F> CKPT_DETAIL_HOST_DEVICE void convert_item(std::uint64_t item, F converted) const noexcept {
        const std::uint64_t first = item * per_item;
        const bool whole = n - first >= per_item; // all but the last one
        const std::uint32_t count = whole ? per_item : static_cast<std::uint32_t>(n - first);
        // Registers cannot be indexed, and an array of elements would lie in memory. So elements are shifted out of two
        // words and into two others.
        const std::uint32_t in_bits = 8u * in_bytes;
        const std::uint32_t out_bits = 8u * out_bytes;
        const std::uint64_t in_mask = ~std::uint64_t{0} >> (64 - in_bits);
        const std::uint64_t out_mask = ~std::uint64_t{0} >> (64 - out_bits);
        const two_words from_words =
            whole ? load_words(in + first * in_bytes, std::uint32_t{per_item} * in_bytes) : two_words{};
        two_words to_words{};
        for (std::uint32_t i = 0; i < count; ++i) {
            const std::uint32_t in_at = i * in_bits;
            const std::uint32_t out_at = i * out_bits;
            const std::uint64_t word = in_at < 64 ? from_words.low : from_words.high;
            const std::uint64_t bits =
                whole ? (word >> (in_at % 64)) & in_mask : load_words(in + (first + i) * in_bytes, in_bytes).low;
            const std::uint64_t value = converted(bits) & out_mask;
            if (!whole) store_words(out + (first + i) * out_bytes, out_bytes, {value, 0});
            else if (out_at < 64) to_words.low |= value << out_at;
            else to_words.high |= value << (out_at - 64);
        }
        if (whole) store_words(out + first * out_bytes, std::uint32_t{per_item} * out_bytes, to_words);
    }
};

/// Converts dense elements. `out` may be `in` where the types are one.
struct cast_job : element_packets {
    dtype to{};
    dtype from{};
    bool swap_bytes{}; ///< `in` is in the other byte order

    /// `is_castable(from, to)` holds, and both ends are aligned for their elements.
    [[nodiscard]] static cast_job make(void* out, dtype to, const void* in, dtype from, bool swap_bytes,
                                       std::uint64_t n) noexcept {
        cast_job job;
        job.set(out, info(to).component_bytes, in, info(from).component_bytes,
                n * (itemsize(from) / info(from).component_bytes));
        job.to = component_type(to);
        job.from = component_type(from);
        job.swap_bytes = swap_bytes;
        return job;
    }

    CKPT_DETAIL_HOST_DEVICE void operator()(std::uint64_t item) const noexcept {
        convert_item(item, [this](std::uint64_t bits) { return cast_stored(from, to, swap_bytes, in_bytes, bits); });
    }
};

/// Whether numbers of these integers can be made, as `to`.
[[nodiscard]] constexpr bool is_dequantisable(dtype from, dtype to) noexcept {
    return (from == dtype::qint8 || from == dtype::quint8 || from == dtype::qint32) && is_castable(dtype::float32, to);
}

/// Makes numbers of dense quantised integers, and converts them.
struct dequantize_job : element_packets {
    dequantization how{};
    std::uint64_t first{}; ///< which element of the tensor the first one is
    dtype to{};
    dtype from{};
    bool swap_bytes{}; ///< `in` is in the other byte order

    /// Both ends are aligned for their elements. False where there is no such conversion, or `how` has no channel.
    [[nodiscard]] static bool make(void* out, dtype to, const void* in, dtype from, bool swap_bytes,
                                   const dequantization& how, std::uint64_t first, std::uint64_t n,
                                   dequantize_job& job) noexcept {
        if (!is_dequantisable(from, to) || how.channels == 0 || how.inner == 0) return false;
        job = {};
        job.set(out, info(to).component_bytes, in, info(from).component_bytes, n);
        job.how = how;
        job.first = first;
        job.to = to;
        job.from = from;
        job.swap_bytes = swap_bytes;
        return true;
    }

    CKPT_DETAIL_HOST_DEVICE void operator()(std::uint64_t item) const noexcept {
        channel_place place = channel_place::of(how, first + item * per_item);
        convert_item(item, [this, &place](std::uint64_t bits) {
            const std::int32_t q = quantised_integer(from, in_native_order(swap_bytes, in_bytes, bits));
            const float number = dequantized(how, place.channel, q);
            place.next(how);
            return cast_bits(dtype::float32, to, bit_cast<std::uint32_t>(number));
        });
    }
};

/// Copies strided elements to where they lie one after another, in row-major order.
struct gather_job {
    static constexpr std::uint32_t rank_limit = 8;

    std::byte* out{};
    const std::byte* in{}; ///< the element with all indices 0
    std::uint64_t n{};     ///< elements
    std::uint32_t rank{};
    std::uint32_t bytes{1}; ///< of an element: 1, 2, 4, 8 or 16
    std::uint64_t sizes[rank_limit]{};
    std::uint64_t strides[rank_limit]{}; ///< in elements

    /// Strides and offset are in elements. False where the geometry is invalid, or too many dimensions are left after
    /// merging.
    [[nodiscard]] static bool make(void* out, const void* in, std::size_t itemsize, std::span<const std::int64_t> shape,
                                   std::span<const std::int64_t> steps, std::uint64_t offset,
                                   gather_job& job) noexcept {
        if (itemsize == 0 || itemsize > 16 || (itemsize & (itemsize - 1)) != 0) return false;
        job = {};
        for (const std::int64_t size : shape)
            if (size == 0) return true;
        box b;
        if (!make_box(shape, steps, offset, b) || b.rank > rank_limit) return false;
        widen(out, in, itemsize, b);
        job.out = static_cast<std::byte*>(out);
        job.in = static_cast<const std::byte*>(in) + b.offset * itemsize;
        job.n = count(b);
        job.rank = b.rank;
        job.bytes = static_cast<std::uint32_t>(itemsize);
        for (std::uint32_t i = 0; i < b.rank; ++i) {
            job.sizes[i] = b.sizes[i];
            job.strides[i] = b.strides[i];
        }
        return true;
    }

    [[nodiscard]] CKPT_DETAIL_HOST_DEVICE std::uint64_t items() const noexcept { return n; }

    CKPT_DETAIL_HOST_DEVICE void operator()(std::uint64_t item) const noexcept {
        std::uint64_t rest = item;
        std::uint64_t at = 0;
        for (std::uint32_t i = rank; i-- > 0;) {
            const std::uint64_t above = i == 0 ? 0 : divide(rest, sizes[i]);
            at += (rest - above * sizes[i]) * strides[i];
            rest = above;
        }
        store_words(out + item * bytes, bytes, load_words(in + at * bytes, bytes));
    }

  private:
    /// Takes neighbours for one element of twice the size, as long as they always come in pairs.
    static void widen(const void* out, const void* in, std::size_t& itemsize, box& b) noexcept {
        while (itemsize < 16 && b.rank != 0 && is_aligned(out, 2 * itemsize) && is_aligned(in, 2 * itemsize)) {
            std::uint64_t odd = b.offset | b.sizes[b.rank - 1];
            for (std::uint32_t i = 0; i + 1 < b.rank; ++i) odd |= b.strides[i];
            if (b.strides[b.rank - 1] != 1 || odd % 2 != 0) return;
            b.offset /= 2;
            b.sizes[b.rank - 1] /= 2;
            for (std::uint32_t i = 0; i + 1 < b.rank; ++i) b.strides[i] /= 2;
            itemsize *= 2;
        }
    }
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
