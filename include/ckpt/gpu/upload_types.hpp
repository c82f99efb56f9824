// ckpt/gpu/upload_types.hpp: options and reports of uploads.
//
// SPDX-License-Identifier: MIT
// In:      which tensors, their types, device and layout; how files are read; memory of the caller's.
// Out:     plain data for and from `plan_upload` (gpu/upload_plan.hpp) and `upload` (cuda.hpp).
// Refuses: nothing.
#pragma once

#include <ckpt/core/config.hpp>
#include <ckpt/core/pattern.hpp>
#include <ckpt/core/progress.hpp>
#include <ckpt/gpu/kernels.hpp>
#include <ckpt/state/state_dict.hpp>
#include <ckpt/tensor/dtype.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// The layout of tensors in device memory.
enum class upload_layout : std::uint8_t {
    file_image, ///< ranges of the file as they are, so that one copy has many tensors; those that are not aligned
                ///< there are moved
    packed      ///< the used range of each storage by itself, without gaps beyond what alignment takes
};

/// Converts the tensors whose keys match `keys` to `to`, as Module.to(dtype) does: a floating `to` does not change
/// integers.
struct upload_cast {
    pattern keys;
    dtype to{};
};

/// How an upload is planned.
struct upload_plan_options {
    std::vector<pattern> select{}; ///< patterns of keys to upload; empty: all keys
    /// In which order tensors are read: a group for each pattern, of the tensors whose keys it matches and none before
    /// it does; then all others. Tensors that share bytes come with the first of them. Empty: the order of the files.
    std::vector<pattern> order{};
    std::vector<upload_cast> casts{}; ///< the first one that matches a key counts
    /// Patterns of keys whose quantised tensors arrive as the numbers that they stand for, those of `copy_dequantized`:
    /// as float32, or as what a cast for the key makes of float32. Their scales and zero points are not uploaded. Keys
    /// of other tensors may match, too, and change nothing. Empty: quantised tensors arrive as their integers.
    std::vector<pattern> dequantize{};
    upload_layout layout{upload_layout::file_image};
    std::uint64_t alignment{256};                      ///< of each tensor; a power of two, 16 to 4,096
    std::uint64_t piece_bytes{std::uint64_t{8} << 20}; ///< most bytes of a piece; a multiple of 4,096
    const device_kernels* kernels{};                   ///< for work on the device; null: the host does it
};

/// A state_dict and the number of the device for it.
struct upload_target {
    int device{0};
    state_dict weights;
};

/// How the elements of a tensor get to the device.
enum class upload_way : std::uint8_t {
    stored, ///< copied from the file without a change
    host,   ///< the host gathers, converts or dequantises them while they are staged
    device  ///< the device converts or dequantises them, or makes strided ones dense, from what was copied as it is
};

/// How files are read. Where a way does not work, `buffered` is used, and `upload_report::fallback` says why.
enum class upload_source : std::uint8_t {
    buffered,  ///< positioned reads through the system's cache
    direct,    ///< reads that bypass the system's cache: for files that are not in it, with less processor time
    mapped,    ///< pinned parts of the file's mapping, which the device reads
    gpu_direct ///< reads to device memory by a `direct_reader` (GPUDirect Storage)
};

/// Device memory of the caller.
struct device_place {
    void* data{};
    std::size_t bytes{};
};

/// The result of an upload.
struct upload_report {
    std::uint64_t bytes{};        ///< bytes that were read or built, each once
    std::uint64_t copies{};       ///< number of copies to devices, from the host and from other devices
    std::uint64_t peer_bytes{};   ///< bytes that were copied from one target to another, which has the same tensors
    std::string peers{};          ///< why the host filled a target that has what another one has; empty where none
    std::uint64_t pinned_bytes{}; ///< of staging memory; pinned parts of a mapping are not counted
    std::uint64_t reused_bytes{}; ///< of these, what a `staging_pool` had; the rest was pinned for this upload
    std::string pinning{};        ///< why staging memory is not pinned in one piece; empty where it is
    std::uint64_t verified{};     ///< number of records whose checksum was compared
    std::uint64_t unverified{};   ///< with `verify`: number of storages that were read in part, or have no checksum
    upload_source source{};       ///< how files were to be read
    unsigned readers{};           ///< threads that were to read; 0: the calling one did
    std::size_t slots{};          ///< of staging memory; none on the host
    /// Why `source` was not used for everything, or what was read past the host passed it all the same, inside the
    /// library that read; else empty.
    std::string fallback{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
