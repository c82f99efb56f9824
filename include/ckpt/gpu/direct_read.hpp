// ckpt/gpu/direct_read.hpp: reading a file straight into device memory, where something can.
//
// SPDX-License-Identifier: MIT
// In:      a descriptor, ranges of its file, device memory.
// Out:     a table of functions; <ckpt/cuda_gds.hpp> has one over GPUDirect Storage.
// Refuses: nothing here.
#pragma once

#include <ckpt/core/config.hpp>

#include <cstdint>
#include <string>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// How an upload reads past the host. All may be called from many threads.
struct direct_reader {
    /// What `open` is called with. The owner of the table keeps it; files that are open do not need it.
    void* context{nullptr};
    /// Returns a handle for the file of a descriptor. Where the file cannot be read past the host, returns null and
    /// sets `reason`.
    void* (*open)(void* context, int descriptor, std::string& reason){nullptr};
    /// Reads `bytes` bytes at `file_offset` to `device_offset` of the memory that begins at `device_base`, and returns
    /// when they are there. Returns the number of bytes, which is less only at the end of the file; or a negative
    /// number, which is an errno, or beyond 5000 a code of the library.
    std::int64_t (*read)(void* handle, void* device_base, std::uint64_t bytes, std::uint64_t file_offset,
                         std::uint64_t device_offset){nullptr};
    void (*close)(void* handle){nullptr};
    /// Prepares device memory for reads to it, so that large ones need no copy within the device. Undone by
    /// `drop_memory`, before the memory is freed and while the owner lives. False: reads do without. Null: nothing to
    /// prepare.
    bool (*add_memory)(void* context, void* device_base, std::uint64_t bytes){nullptr};
    void (*drop_memory)(void* context, void* device_base){nullptr};
    /// A sentence if what is read passes the host all the same, inside the library; else empty. Null: nobody knows.
    std::string (*detour)(void* context){nullptr};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
