// tests/gpu/library_kernels.cu: the kernels of cuda_kernels.cuh, compiled by nvcc for tests that are not.
//
// SPDX-License-Identifier: MIT
#include "library_kernels.hpp"

#include <ckpt/cuda_kernels.cuh>

const ckpt::device_kernels* library_kernels() { return ckpt::cuda::kernels(); }
