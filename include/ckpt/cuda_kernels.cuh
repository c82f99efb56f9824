// ckpt/cuda_kernels.cuh: conversions, byte swaps, gathers and dequantisation that run on the device.
//
// SPDX-License-Identifier: MIT
// In:      elements in device memory, and a stream.
// Out:     the same values there, in another type, byte order or in row-major order.
// Refuses: what `kernels()->can_cast` refuses, and geometry that is none, as cudaErrorInvalidValue.
//
// Needs a CUDA compiler; everything else of ckpt does not, and gets the table of functions from one source file that
// includes this. What the kernels do is in gpu/element_ops.hpp and gpu/scatter_ops.hpp, which the host can run, too.
#pragma once

#include <ckpt/gpu/cuda_abi.hpp>
#include <ckpt/gpu/element_ops.hpp>
#include <ckpt/gpu/kernels.hpp>
#include <ckpt/gpu/scatter_ops.hpp>

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail::inline CKPT_DETAIL_CUDA_ABI {

inline constexpr unsigned threads_of_block = 256;
inline constexpr std::uint64_t most_blocks = 65'536;

template <class Job> __global__ void __launch_bounds__(threads_of_block) run_job(const __grid_constant__ Job job) {
    const std::uint64_t step = std::uint64_t{gridDim.x} * threads_of_block;
    const std::uint64_t items = job.items();
    for (std::uint64_t i = std::uint64_t{blockIdx.x} * threads_of_block + threadIdx.x; i < items; i += step) job(i);
}

template <class Job> int launch(Job job, void* stream) {
    const std::uint64_t blocks = (job.items() + threads_of_block - 1) / threads_of_block;
    if (blocks == 0) return cudaSuccess;
    void* arguments[]{&job};
    // Not <<<>>>, whose outcome can only be told from older errors by clearing them.
    return cudaLaunchKernel(reinterpret_cast<const void*>(&run_job<Job>),
                            dim3{static_cast<unsigned>(blocks < most_blocks ? blocks : most_blocks)},
                            dim3{threads_of_block}, arguments, 0, static_cast<cudaStream_t>(stream));
}

inline bool can_cast_on_device(dtype from, dtype to) { return is_castable(from, to); }

inline int cast_on_device(void* out, dtype to, const void* in, dtype from, bool swap_bytes, std::uint64_t n,
                          void* stream) {
    if (!is_castable(from, to)) return cudaErrorInvalidValue;
    return launch(cast_job::make(out, to, in, from, swap_bytes, n), stream);
}

inline int gather_on_device(void* out, const void* in, std::size_t itemsize, std::uint32_t rank,
                            const std::int64_t* shape, const std::int64_t* strides, std::uint64_t offset,
                            void* stream) {
    gather_job job;
    if (!gather_job::make(out, in, itemsize, {shape, rank}, {strides, rank}, offset, job)) return cudaErrorInvalidValue;
    return launch(job, stream);
}

inline int scatter_on_device(void* out, dtype to, const void* in, dtype from, bool swap_bytes, std::uint32_t rank,
                             const std::int64_t* shape, const std::int64_t* strides, std::uint64_t first,
                             std::uint64_t n, void* stream) {
    scatter_job job;
    if (!is_castable(from, to) ||
        !scatter_job::make(out, to, in, from, swap_bytes, {shape, rank}, {strides, rank}, first, n, job))
        return cudaErrorInvalidValue;
    return launch(job, stream);
}

inline int dequantize_on_device(void* out, dtype to, const void* in, dtype from, bool swap_bytes,
                                const dequantization& how, std::uint64_t first, std::uint64_t n, void* stream) {
    dequantize_job job;
    if (!dequantize_job::make(out, to, in, from, swap_bytes, how, first, n, job)) return cudaErrorInvalidValue;
    return launch(job, stream);
}

inline constexpr device_kernels cuda_kernels{&can_cast_on_device, &cast_on_device, &gather_on_device,
                                             &scatter_on_device, &dequantize_on_device};

} // namespace detail::inline CKPT_DETAIL_CUDA_ABI

namespace cuda::inline CKPT_DETAIL_CUDA_ABI {

/// The conversions that run on the device, for the option `kernels` of `ckpt::cuda::upload`.
[[nodiscard]] inline const device_kernels* kernels() noexcept { return &detail::cuda_kernels; }

} // namespace cuda::inline CKPT_DETAIL_CUDA_ABI
} // namespace ckpt::inline CKPT_DETAIL_ABI
