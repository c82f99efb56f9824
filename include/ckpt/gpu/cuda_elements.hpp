// ckpt/gpu/cuda_elements.hpp: CUDA's own types of elements.
//
// SPDX-License-Identifier: MIT
// In:      nothing; the types are declared here, so that <cuda_fp16.h> and its like may be included before or after.
// Out:     `dtype_of` of `__half`, `__nv_bfloat16`, `__nv_fp8_e4m3`, `__nv_fp8_e5m2` and `__nv_fp8_e8m0`.
// Refuses: nothing.
#pragma once

#include <ckpt/tensor/half.hpp>

struct __half;
struct __nv_bfloat16;
struct __nv_fp8_e4m3;
struct __nv_fp8_e5m2;
struct __nv_fp8_e8m0;

namespace ckpt::inline CKPT_DETAIL_ABI {

template <> struct dtype_of<::__half> {
    static constexpr dtype value = dtype::float16;
};
template <> struct dtype_of<::__nv_bfloat16> {
    static constexpr dtype value = dtype::bfloat16;
};
template <> struct dtype_of<::__nv_fp8_e4m3> {
    static constexpr dtype value = dtype::float8_e4m3fn;
};
template <> struct dtype_of<::__nv_fp8_e5m2> {
    static constexpr dtype value = dtype::float8_e5m2;
};
template <> struct dtype_of<::__nv_fp8_e8m0> {
    static constexpr dtype value = dtype::float8_e8m0fnu;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
