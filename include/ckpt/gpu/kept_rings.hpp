// ckpt/gpu/kept_rings.hpp: staging memory that stays pinned between uploads.
//
// SPDX-License-Identifier: MIT
// In:      rings that uploads do not need any more.
// Out:     the same rings for later uploads whose slots they fit. There are never more of them than there were uploads
//          at the same time.
// Refuses: whatever the device refuses when a ring is freed.
//
// All functions may be called from many threads. Whoever calls `take` has a device current that is in use.
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/shared.hpp>
#include <ckpt/gpu/device_api.hpp>
#include <ckpt/gpu/device_scope.hpp>
#include <ckpt/gpu/pinned_ring.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Rings that no upload uses at the moment. The last owner frees them.
template <device_api Api> class kept_rings final : public counted {
  public:
    explicit kept_rings(const Api& api) : api_{api} {}
    ~kept_rings() override { (void)free_idle(); }

    /// An upload begins to use it, and makes room for the ring that it will leave.
    void join() {
        const std::lock_guard lock{mutex_};
        idle_.reserve(idle_.size() + users_ + 1);
        ++users_;
    }
    /// That upload ends. Its ring stays here if it is there: nothing is copied from it any more. `device`: one that has
    /// a context, for freeing it.
    void leave(pinned_ring<Api> ring, int device) noexcept {
        const std::lock_guard lock{mutex_};
        --users_;
        if (ring.is_there()) idle_.push_back({std::move(ring), device});
    }

    /// The smallest ring that fits such slots, cut into them; an empty one where none does. Then another one is freed,
    /// in whose place will be that which the upload makes.
    [[nodiscard]] result<pinned_ring<Api>> take(std::size_t slots, std::uint64_t slot_bytes) {
        pinned_ring<Api> out;
        bool is_fit = false;
        {
            const std::lock_guard lock{mutex_};
            if (idle_.empty()) return out;
            const auto best = std::min_element(idle_.begin(), idle_.end(), [&](const kept& a, const kept& b) {
                const bool fits_a = a.ring.fits(slots, slot_bytes), fits_b = b.ring.fits(slots, slot_bytes);
                return fits_a != fits_b ? fits_a : a.ring.pinned_bytes() < b.ring.pinned_bytes();
            });
            is_fit = best->ring.fits(slots, slot_bytes);
            out = std::move(best->ring);
            idle_.erase(best);
        }
        if (is_fit) out.cut(slot_bytes);
        else if (const auto [call, code] = out.release(api_); code != 0) return api_.failure(call, code);
        return out;
    }

    /// Frees all that no upload uses. Gives the first failure, and goes on behind it.
    [[nodiscard]] result<void> free_idle() {
        std::vector<kept> all;
        {
            const std::lock_guard lock{mutex_};
            all.reserve(idle_.size());
            for (kept& k : idle_) all.push_back(std::move(k));
            idle_.clear(); // which keeps the room that uploads made
        }
        if (all.empty()) return {};
        std::optional<error> first;
        const auto free_all = [&](bool ends) {
            device_scope<Api> scope{api_, ends};
            for (kept& k : all) {
                (void)scope.insist_on(k.device);
                if (const auto [call, code] = k.ring.release(api_); code != 0 && !first)
                    first = api_.failure(call, code);
            }
        };
        beside_caller(api_, all, free_all, [] {});
        if (first) return *std::move(first);
        return {};
    }
    [[nodiscard]] std::uint64_t bytes() const {
        const std::lock_guard lock{mutex_};
        std::uint64_t out = 0;
        for (const kept& k : idle_) out += k.ring.pinned_bytes();
        return out;
    }

  private:
    struct kept {
        pinned_ring<Api> ring{};
        int device{};
    };

    const Api api_;
    mutable std::mutex mutex_{};
    std::vector<kept> idle_{};
    std::size_t users_{0};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
