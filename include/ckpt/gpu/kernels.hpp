// ckpt/gpu/kernels.hpp: functions that convert and move elements in device memory.
//
// SPDX-License-Identifier: MIT
// In:      pointers of a device, types and counts.
// Out:     a table of functions; <ckpt/cuda_kernels.cuh> has one, for programs that nvcc compiles.
// Refuses: nothing here.
#pragma once

#include <ckpt/core/config.hpp>
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/tensor/layout.hpp>

#include <cstddef>
#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// Functions that launch kernels on a stream of the current device, and do not wait for them. They return the code of
/// the runtime, 0 for success.
struct device_kernels {
    /// Whether `cast` and `scatter` convert between these types, and `dequantize` from float32. There is no conversion
    /// that could lose a value silently.
    bool (*can_cast)(dtype from, dtype to){nullptr};
    /// Converts `n` dense elements. `swap_bytes`: the input is in the other byte order. With equal types it only swaps
    /// bytes, and `out` may be `in`.
    int (*cast)(void* out, dtype to, const void* in, dtype from, bool swap_bytes, std::uint64_t n,
                void* stream){nullptr};
    /// Copies a strided tensor of `itemsize` 1, 2, 4, 8 or 16 bytes to dense elements in row-major order. Strides and
    /// offset count elements.
    int (*gather)(void* out, const void* in, std::size_t itemsize, std::uint32_t rank, const std::int64_t* shape,
                  const std::int64_t* strides, std::uint64_t offset, void* stream){nullptr};
    /// Converts stored elements of a strided tensor, in any parts, each to its place in row-major order; `out` is that
    /// of element 0. `in` is the stored element `first`, counted from the tensor's first one, of `n`: what lies between
    /// two elements of the tensor is counted, and left out. Strides count elements; a step in one dimension passes
    /// everything that those with smaller strides reach. Null: the host makes tensors dense.
    int (*scatter)(void* out, dtype to, const void* in, dtype from, bool swap_bytes, std::uint32_t rank,
                   const std::int64_t* shape, const std::int64_t* strides, std::uint64_t first, std::uint64_t n,
                   void* stream){nullptr};
    /// Makes numbers of `n` dense integers of qint8, quint8 or qint32, the first of which is element `first` of its
    /// tensor: float32 bit for bit as `copy_dequantized`, converted to `to`, which is float32 or what `can_cast` makes
    /// of it. `out` is the place of element `first`. `how`, which is the caller's, is read before this returns; its
    /// arrays, which are device memory, are read by the kernel. Null: the host dequantises.
    int (*dequantize)(void* out, dtype to, const void* in, dtype from, bool swap_bytes, const dequantization& how,
                      std::uint64_t first, std::uint64_t n, void* stream){nullptr};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
