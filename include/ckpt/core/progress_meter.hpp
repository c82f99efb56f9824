// ckpt/core/progress_meter.hpp: counts what is through, and tells the program now and then.
//
// SPDX-License-Identifier: MIT
// In:      the program's callback; items, with the bytes of each, and how much of one is through.
// Out:     a call for about every 4 MiB and one at the end; whether the program wants to go on.
// Refuses: everything after the callback has returned false.
#pragma once

#include <ckpt/core/config.hpp>
#include <ckpt/core/error.hpp>
#include <ckpt/core/progress.hpp>

#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The progress of one call. The bytes of its items make up the total.
class progress_meter {
  public:
    /// The callback is called at most once for so many bytes, but for the last call.
    static constexpr std::uint64_t step = std::uint64_t{4} << 20;

    explicit progress_meter(const progress_callback& tell = {}) noexcept : tell_{tell} {}

    /// Adds to the total, before the first item begins.
    void expect(std::uint64_t bytes) noexcept {
        total_ = bytes < ~std::uint64_t{0} - total_ ? total_ + bytes : ~std::uint64_t{0};
    }
    /// Begins an item of `bytes`.
    void begin(std::uint64_t bytes) noexcept { end_ = bytes < total_ - done_ ? done_ + bytes : total_; }
    /// `bytes` more of the item are through. What is read twice does not count beyond its end. False where the call
    /// shall end.
    [[nodiscard]] bool add(std::uint64_t bytes);
    /// The item is through, however much of it was added.
    [[nodiscard]] bool finish();

    /// Whether the program has stopped the call.
    [[nodiscard]] bool is_stopped() const noexcept { return stopped_; }
    /// The error of a call that the program has stopped.
    [[nodiscard]] error stopped() const;

  private:
    progress_callback tell_{};
    std::uint64_t total_{0};
    std::uint64_t done_{0};
    std::uint64_t end_{0}; // of the item
    std::uint64_t told_{0};
    bool stopped_{false};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/core/impl/progress_meter.ipp>
#endif
