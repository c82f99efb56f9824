// ckpt/gpu/device_allocator.hpp: device memory from an allocator of the caller's.
//
// SPDX-License-Identifier: MIT
// In:      sizes, devices, streams.
// Out:     a table of functions, such as those of a framework's caching allocator or of an engine's arena.
// Refuses: nothing here.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// Where an upload gets device memory from, scratch too. The functions may be called from several threads, with the
/// device that they are told current. `stream` is the caller's for that target (a cudaStream_t), in whose order the
/// memory is used: it may come from cudaMallocAsync, or be what earlier work of that stream still reads.
struct device_allocator {
    /// What the functions are called with. Lives as long as the device_tensors and what was exported of them.
    void* context{nullptr};
    /// Returns `bytes` bytes at a multiple of 256, or null where there are none. May throw, where exceptions are on:
    /// that passes through, after what the upload had was given back.
    void* (*allocate)(void* context, std::size_t bytes, int device, void* stream){nullptr};
    /// Takes back what `allocate` gave, when nothing of the upload uses it any more. What the caller has put on
    /// `stream` may use it yet: it is free again in the order of that stream. Must not throw.
    void (*release)(void* context, void* memory, std::size_t bytes, int device, void* stream){nullptr};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
