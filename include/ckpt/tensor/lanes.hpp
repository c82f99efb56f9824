// ckpt/tensor/lanes.hpp: vectors of elements, by the vector types of GCC and Clang.
//
// SPDX-License-Identifier: MIT
// In:      a type and a number of elements; bytes at any address.
// Out:     vectors, their loads and stores, and stores around the cache.
// Refuses: other compilers, and big-endian machines: CKPT_DETAIL_LANES is 0 there.
//
// There is no intrinsics header, which would be most of what a small program compiles.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__GNUC__) && !defined(__CUDACC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define CKPT_DETAIL_LANES 1
#else
#define CKPT_DETAIL_LANES 0
#endif
#if CKPT_DETAIL_LANES && defined(__x86_64__) && !defined(__SEH__) // with which GCC does not align AVX vectors
#define CKPT_DETAIL_LANES_X86 1
#else
#define CKPT_DETAIL_LANES_X86 0
#endif

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

#if CKPT_DETAIL_LANES
template <class T, std::size_t N> struct lanes_of {
    typedef T type __attribute__((vector_size(sizeof(T) * N)));
};
template <class T, std::size_t N> using lanes = typename lanes_of<T, N>::type;
/// At any address. GCC copies 32 bytes as twice 16 where memcpy does it, and then waits for both.
template <class V> struct loose_lanes {
    typedef V type __attribute__((aligned(1), may_alias));
};

template <class V> CKPT_DETAIL_INLINE void load_lanes(const std::byte* at, V& out) noexcept {
    out = *reinterpret_cast<const typename loose_lanes<V>::type*>(at);
}
template <class V> CKPT_DETAIL_INLINE void store_lanes(const V& v, std::byte* at) noexcept {
    *reinterpret_cast<typename loose_lanes<V>::type*>(at) = v;
}
#endif

/// Copies of so many bytes and more go around the cache, which they would only empty: a store through it reads the
/// memory first.
inline constexpr std::uint64_t streamed_bytes = std::uint64_t{2} << 20;

#if CKPT_DETAIL_LANES_X86
/// Stores a vector of 16 bytes around the cache, to a multiple of 16. Other threads see it after `end_streams`.
template <class V> CKPT_DETAIL_INLINE void stream_lanes(const V& v, std::byte* out) noexcept {
    using words = lanes<long long, 2>;
#if defined(__clang__)
    __builtin_nontemporal_store(reinterpret_cast<words>(v), reinterpret_cast<words*>(out));
#else
    __builtin_ia32_movntdq(reinterpret_cast<words*>(out), reinterpret_cast<words>(v));
#endif
}
#endif

/// How many bytes lie before the next multiple of 64.
[[nodiscard]] inline std::size_t bytes_to_line(const std::byte* at) noexcept {
    return (64 - reinterpret_cast<std::uintptr_t>(at) % 64) % 64;
}

/// Stores 64 bytes around the cache, to a multiple of 64. Other threads see them after `end_streams`.
CKPT_DETAIL_INLINE void stream_line(std::byte* out, const std::byte* in) noexcept {
#if CKPT_DETAIL_LANES_X86
    lanes<long long, 2> a, b, c, d;
    load_lanes(in, a);
    load_lanes(in + 16, b);
    load_lanes(in + 32, c);
    load_lanes(in + 48, d);
    stream_lanes(a, out);
    stream_lanes(b, out + 16);
    stream_lanes(c, out + 32);
    stream_lanes(d, out + 48);
#else
    std::memcpy(out, in, 64);
#endif
}
/// The same of any number of bytes, to any place. `ahead`: so many bytes behind the source is what is copied next,
/// which the processor does not know.
inline void stream_copy(std::byte* out, const std::byte* in, std::size_t n, std::uint64_t ahead) noexcept {
    const std::size_t to_line = bytes_to_line(out);
    const std::size_t lead = n < to_line ? n : to_line;
    std::memcpy(out, in, lead);
    for (out += lead, in += lead, n -= lead; n >= 64; n -= 64, in += 64, out += 64) {
#if CKPT_DETAIL_LANES
        __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(in) + ahead));
#endif
        stream_line(out, in);
    }
    std::memcpy(out, in, n);
}
CKPT_DETAIL_INLINE void end_streams() noexcept {
#if CKPT_DETAIL_LANES_X86
    __builtin_ia32_sfence();
#endif
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
