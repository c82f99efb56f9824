// tests/gpu/kernels.hpp: what kernels.cu launches.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

/// to += from, each by its own instance of a template.
cudaError_t add_floats(float* to, const float* from, std::size_t n, cudaStream_t stream);
cudaError_t add_ints(int* to, const int* from, std::size_t n, cudaStream_t stream);
