// tests/gpu/double_kernels.hpp: the kernels of cuda_kernels.cuh on the double of the runtime.
//
// SPDX-License-Identifier: MIT
// In:      jobs, launched by nvcc's object (library_kernels.cu) or, in tests without one, by the table here.
// Out:     their bodies, which are the library's own (gpu/element_ops.hpp, gpu/scatter_ops.hpp), on the double's
// memory.
#pragma once

#include <ckpt/gpu/element_ops.hpp>
#include <ckpt/gpu/kernels.hpp>
#include <ckpt/gpu/scatter_ops.hpp>

#include "cuda_double.hpp"

#include <cstddef>
#include <cstdint>

namespace double_kernels {

inline void run_cast(cuda_double::kernel& k, ckpt::detail::cast_job job) {
    const auto in_bytes = static_cast<std::size_t>(job.n * job.in_bytes);
    if (job.in == job.out) {
        job.out = k.update(job.out, in_bytes).data();
        job.in = job.out;
    } else {
        job.in = k.read(job.in, in_bytes).data();
        job.out = k.write(job.out, static_cast<std::size_t>(job.n * job.out_bytes)).data();
    }
    for (std::uint64_t i = 0; i < job.items(); ++i) job(i);
}
inline void run_gather(cuda_double::kernel& k, ckpt::detail::gather_job job) {
    std::uint64_t reach = 1;
    for (std::uint32_t i = 0; i < job.rank; ++i) reach += (job.sizes[i] - 1) * job.strides[i];
    job.in = k.read(job.in, static_cast<std::size_t>(reach * job.bytes)).data();
    job.out = k.write(job.out, static_cast<std::size_t>(job.n * job.bytes)).data();
    for (std::uint64_t i = 0; i < job.items(); ++i) job(i);
}
inline void run_scatter(cuda_double::kernel& k, ckpt::detail::scatter_job job) {
    std::uint64_t elements = 1;
    for (std::uint32_t i = 0; i < job.view.rank; ++i) elements *= job.view.sizes[i];
    job.in = k.read(job.in, static_cast<std::size_t>(job.n * job.halves * job.in_bytes)).data();
    job.out = k.write(job.out, static_cast<std::size_t>(elements * job.halves * job.out_bytes)).data();
    for (std::uint64_t i = 0; i < job.items(); ++i) job(i);
}
inline void run_dequantize(cuda_double::kernel& k, ckpt::detail::dequantize_job job) {
    if (job.how.scales != nullptr) {
        const auto channels = static_cast<std::size_t>(job.how.channels);
        job.how.scales = k.read(job.how.scales, channels).data();
        job.how.zero_points = k.read(job.how.zero_points, channels).data();
    }
    job.in = k.read(job.in, static_cast<std::size_t>(job.n * job.in_bytes)).data();
    job.out = k.write(job.out, static_cast<std::size_t>(job.n * job.out_bytes)).data();
    for (std::uint64_t i = 0; i < job.items(); ++i) job(i);
}

// These stand for compiled kernels.
inline void cast(ckpt::detail::cast_job) {}
inline void scatter(ckpt::detail::scatter_job) {}
inline void dequantize(ckpt::detail::dequantize_job) {}

template <class Job> int launch(void (*function)(Job), Job job, void* stream) {
    if (job.items() == 0) return cudaSuccess;
    void* arguments[]{&job};
    return cudaLaunchKernel(reinterpret_cast<const void*>(function), {1, 1, 1}, {32, 1, 1}, arguments, 0,
                            static_cast<cudaStream_t>(stream));
}

inline int cast_elements(void* out, ckpt::dtype to, const void* in, ckpt::dtype from, bool swap_bytes, std::uint64_t n,
                         void* stream) {
    return launch(&cast, ckpt::detail::cast_job::make(out, to, in, from, swap_bytes, n), stream);
}
inline int scatter_elements(void* out, ckpt::dtype to, const void* in, ckpt::dtype from, bool swap_bytes,
                            std::uint32_t rank, const std::int64_t* shape, const std::int64_t* strides,
                            std::uint64_t first, std::uint64_t n, void* stream) {
    ckpt::detail::scatter_job job;
    if (!ckpt::detail::scatter_job::make(out, to, in, from, swap_bytes, {shape, rank}, {strides, rank}, first, n, job))
        return cudaErrorInvalidValue;
    return launch(&scatter, job, stream);
}
inline int dequantize_elements(void* out, ckpt::dtype to, const void* in, ckpt::dtype from, bool swap_bytes,
                               const ckpt::dequantization& how, std::uint64_t first, std::uint64_t n, void* stream) {
    ckpt::detail::dequantize_job job;
    if (!ckpt::detail::dequantize_job::make(out, to, in, from, swap_bytes, how, first, n, job))
        return cudaErrorInvalidValue;
    return launch(&dequantize, job, stream);
}

/// What an upload uses of `ckpt::cuda::kernels()`.
inline constexpr ckpt::device_kernels table{.can_cast = ckpt::detail::is_castable,
                                            .cast = cast_elements,
                                            .scatter = scatter_elements,
                                            .dequantize = dequantize_elements};

/// Gives the double the bodies of the table's kernels.
inline void give_bodies() {
    cuda_double::implement(&cast, run_cast);
    cuda_double::implement(&scatter, run_scatter);
    cuda_double::implement(&dequantize, run_dequantize);
}

} // namespace double_kernels
