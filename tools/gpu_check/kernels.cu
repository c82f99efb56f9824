// tools/gpu_check/kernels.cu: the library's kernels, compiled by nvcc.
//
// SPDX-License-Identifier: MIT
#include <ckpt/cuda_kernels.cuh>

namespace gpu_check {

const ckpt::device_kernels* device_kernels();
const ckpt::device_kernels* device_kernels() { return ckpt::cuda::kernels(); }

} // namespace gpu_check
