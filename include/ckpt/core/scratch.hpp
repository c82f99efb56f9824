// ckpt/core/scratch.hpp: memory that goes from one open to the next.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/shared.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {
class block_pool; // core/arena.hpp
}

/// Memory that `open` reuses: the blocks of checkpoints that were destroyed. A cheap handle; copies share one pool.
/// Not thread-safe: checkpoints that use it are opened and destroyed on one thread.
class scratch {
  public:
    scratch() noexcept = default;
    /// A handle with a pool behind it; a default-constructed one has none and changes nothing.
    [[nodiscard]] static scratch make();
    /// For the library: null for a default-constructed handle.
    [[nodiscard]] const detail::shared<detail::block_pool>& pool() const noexcept { return pool_; }

  private:
    detail::shared<detail::block_pool> pool_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/scratch.ipp>
#endif
