// ckpt/gpu/cuda_staging.hpp: staging memory that an engine keeps between uploads.
//
// SPDX-License-Identifier: MIT
// In:      nothing; uploads that are given it leave their pinned memory there.
// Out:     `staging_pool`, whose memory later uploads need not pin again.
// Refuses: what the runtime refuses when memory is freed.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/gpu/cuda_abi.hpp>
#include <ckpt/gpu/cuda_api.hpp>
#include <ckpt/gpu/kept_rings.hpp>

#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI::cuda::inline CKPT_DETAIL_CUDA_ABI {

/// Keeps pinned staging memory between uploads, for programs that upload many files, such as shards or adapters: to pin
/// 150 MiB takes tens of milliseconds. Each upload takes memory of its own from it, so that several may run at the same
/// time, and gives it back when its copies are done. It may be used from many threads, and may be destroyed while
/// uploads run: what they use is then freed when they are done. The memory was pinned with a target's device current:
/// after cudaDeviceReset of that device make another pool.
class staging_pool {
  public:
    staging_pool() : rings_{detail::make_shared<detail::kept_rings<detail::cuda_api>>(detail::cuda_api{})} {}
    staging_pool(const staging_pool&) = delete;
    staging_pool& operator=(const staging_pool&) = delete;
    ~staging_pool() = default;

    /// Bytes of pinned memory that it has and no upload uses at the moment.
    [[nodiscard]] std::uint64_t bytes() const { return rings_->bytes(); }
    /// Frees that memory. What the runtime refuses to free stays as it is, and the first such failure is the error. The
    /// pool can be used further.
    [[nodiscard]] result<void> release() { return rings_->free_idle(); }

  private:
    friend struct staging_access;
    detail::shared<detail::kept_rings<detail::cuda_api>> rings_;
};

/// For the library: what is behind a pool.
struct staging_access {
    [[nodiscard]] static const auto& rings(const staging_pool& pool) noexcept { return pool.rings_; }
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::cuda::inline CKPT_DETAIL_CUDA_ABI
