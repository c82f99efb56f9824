// ckpt/gpu/cuda_abi.hpp: the inline namespace of what calls the CUDA runtime.
//
// SPDX-License-Identifier: MIT
// In:      CUDA_API_PER_THREAD_DEFAULT_STREAM, which `nvcc --default-stream per-thread` defines.
// Out:     CKPT_DETAIL_CUDA_ABI, which differs with it: such code calls other functions of the runtime, so that two
//          translation units that differ cannot pass each other objects by accident; they do not link.
// Refuses: nothing.
#pragma once

#if defined(CUDA_API_PER_THREAD_DEFAULT_STREAM)
#define CKPT_DETAIL_CUDA_ABI stream_per_thread
#else
#define CKPT_DETAIL_CUDA_ABI stream_of_process
#endif
