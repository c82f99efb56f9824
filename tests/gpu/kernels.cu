// tests/gpu/kernels.cu: kernels compiled by nvcc, whose object is linked with the double instead of the runtime.
//
// SPDX-License-Identifier: MIT
#include "kernels.hpp"

#include <cuda_runtime.h>

namespace {

__constant__ float offsets[4];

template <class T> __global__ void add(T* to, const T* from, std::size_t n) {
    const std::size_t i = blockIdx.x * std::size_t{blockDim.x} + threadIdx.x;
    if (i < n) to[i] = static_cast<T>(to[i] + from[i] + static_cast<T>(offsets[0]));
}

__global__ void nothing() {}

template <class T> cudaError_t launch(T* to, const T* from, std::size_t n, cudaStream_t stream) {
    nothing<<<1, 1, 0, stream>>>();
    add<T><<<static_cast<unsigned>((n + 127) / 128), 128, 0, stream>>>(to, from, n);
    return cudaGetLastError();
}

} // namespace

cudaError_t add_floats(float* to, const float* from, std::size_t n, cudaStream_t stream) {
    return launch(to, from, n, stream);
}
cudaError_t add_ints(int* to, const int* from, std::size_t n, cudaStream_t stream) {
    return launch(to, from, n, stream);
}
