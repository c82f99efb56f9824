// tests/gpu/widening.hpp: a conversion "on the device" for tests over the double: bfloat16 to float32.
//
// SPDX-License-Identifier: MIT
// In:      nothing.
// Out:     a table of kernels whose one launch the double knows, once it was given a body.
#pragma once

#include <ckpt/gpu/kernels.hpp>

#include "cuda_double.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace widening_kernel {

inline bool widens(ckpt::dtype from, ckpt::dtype to) {
    return from == ckpt::dtype::bfloat16 && to == ckpt::dtype::float32;
}
/// Stands for a compiled kernel.
inline void widen(float*, const std::uint16_t*, std::uint64_t) {}
inline int launch(void* out, ckpt::dtype, const void* in, ckpt::dtype, bool, std::uint64_t n, void* stream) {
    auto* to = static_cast<float*>(out);
    auto* from = static_cast<const std::uint16_t*>(in);
    void* arguments[]{&to, &from, &n};
    return cudaLaunchKernel(reinterpret_cast<const void*>(widen), {1, 1, 1}, {32, 1, 1}, arguments, 0,
                            static_cast<cudaStream_t>(stream));
}
inline constexpr ckpt::device_kernels widening{.can_cast = widens, .cast = launch};

inline void give_kernel_a_body() {
    cuda_double::implement(&widen, [](cuda_double::kernel& k, float* out, const std::uint16_t* in, std::uint64_t n) {
        const auto from = k.read(in, static_cast<std::size_t>(n));
        const auto to = k.write(out, static_cast<std::size_t>(n));
        for (std::size_t i = 0; i < from.size(); ++i) {
            const std::uint32_t bits = std::uint32_t{from[i]} << 16;
            std::memcpy(&to[i], &bits, 4);
        }
    });
}

} // namespace widening_kernel
