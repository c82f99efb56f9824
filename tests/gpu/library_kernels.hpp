// tests/gpu/library_kernels.hpp: the kernels of cuda_kernels.cuh on the double of the runtime.
//
// SPDX-License-Identifier: MIT
// In:      launches of library_kernels.cu.
// Out:     their bodies, which are the library's own (gpu/element_ops.hpp), on the double's memory.
#pragma once

#include <ckpt/gpu/element_ops.hpp>
#include <ckpt/gpu/kernels.hpp>

/// What `ckpt::cuda::kernels()` gives.
const ckpt::device_kernels* library_kernels();

#if !defined(__CUDACC__)
#include "cuda_double.hpp"

/// Gives the double the bodies; once for a program.
inline void implement_library_kernels() {
    cuda_double::implement<ckpt::detail::cast_job>("cast_job", [](cuda_double::kernel& k, ckpt::detail::cast_job job) {
        const auto in_bytes = static_cast<std::size_t>(job.n * job.in_bytes);
        if (job.in == job.out) {
            job.out = k.update(job.out, in_bytes).data();
            job.in = job.out;
        } else {
            job.in = k.read(job.in, in_bytes).data();
            job.out = k.write(job.out, static_cast<std::size_t>(job.n * job.out_bytes)).data();
        }
        for (std::uint64_t i = 0; i < job.items(); ++i) job(i);
    });
    cuda_double::implement<ckpt::detail::gather_job>(
        "gather_job", [](cuda_double::kernel& k, ckpt::detail::gather_job job) {
            std::uint64_t reach = 1;
            for (std::uint32_t i = 0; i < job.rank; ++i) reach += (job.sizes[i] - 1) * job.strides[i];
            job.in = k.read(job.in, static_cast<std::size_t>(reach * job.bytes)).data();
            job.out = k.write(job.out, static_cast<std::size_t>(job.n * job.bytes)).data();
            for (std::uint64_t i = 0; i < job.items(); ++i) job(i);
        });
}
#endif
