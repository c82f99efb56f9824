// tests/gpu/library_kernels.hpp: the kernels of cuda_kernels.cuh, compiled by nvcc, on the double of the runtime.
//
// SPDX-License-Identifier: MIT
// In:      launches of library_kernels.cu.
// Out:     their bodies on the double's memory.
#pragma once

#include <ckpt/gpu/kernels.hpp>

/// What `ckpt::cuda::kernels()` gives.
const ckpt::device_kernels* library_kernels();

#if !defined(__CUDACC__)
#include "double_kernels.hpp"

/// Gives the double the bodies; once for a program.
inline void implement_library_kernels() {
    cuda_double::implement<ckpt::detail::cast_job>("cast_job", double_kernels::run_cast);
    cuda_double::implement<ckpt::detail::gather_job>("gather_job", double_kernels::run_gather);
    cuda_double::implement<ckpt::detail::scatter_job>("scatter_job", double_kernels::run_scatter);
    cuda_double::implement<ckpt::detail::dequantize_job>("dequantize_job", double_kernels::run_dequantize);
}
#endif
