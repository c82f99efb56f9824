// ckpt/gpu/pinned_ring.hpp: the staging memory of an upload.
//
// SPDX-License-Identifier: MIT
// In:      a `device_api`, how many slots of how many bytes.
// Out:     memory for the slots that a device reads: pinned in one piece, or else slot by slot, or allocated by the
//          device's runtime, or else not pinned; a sentence that says which, and why.
// Refuses: memory that the system does not have; a device that is lost.
//
// Registering memory is refused where a limit is reached, and wherever the device cannot read the host's pages (virtual
// machines with encrypted memory).
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/core/error.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/gpu/device_api.hpp>
#include <ckpt/gpu/staging.hpp>
#include <ckpt/io/pages.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Whoever makes one releases it.
template <device_api Api> class pinned_ring {
  public:
    /// Makes `slots` slots of `slot_bytes`, which are whole pages. They are not pinned yet.
    [[nodiscard]] result<void> make(std::size_t slots, std::uint64_t slot_bytes) {
        const std::uint64_t bytes = slots * slot_bytes;
        std::size_t wanted = 0;
        if (!checked_narrow(bytes, wanted))
            return error{.code = errc::limit,
                         .detail = str_cat("slots of ", bytes, " bytes are more than this program can address")};
        slot_bytes_ = static_cast<std::size_t>(slot_bytes);
        pages_ = pages{wanted};
        if (pages_.bytes().empty())
            return error{.code = errc::limit,
                         .detail = str_cat("the system has no ", bytes, " bytes of memory for staging"),
                         .hint = "ask for fewer slots or smaller pieces"};
        // A child's first write to a page, or the parent's, would give this process another page than the device reads.
        pages_.keep_from_children();
        data_ = pages_.bytes().data();
        return {};
    }
    /// Registers it, as one piece or slot by slot, while others may fill slots. False where the runtime refuses both.
    [[nodiscard]] result<bool> pin(const Api& api) {
        if (pinned_bytes() != 0) return true; // it was kept
        const std::size_t bytes = pages_.bytes().size();
        int code = api.pin(data_, bytes, false);
        if (code == 0) {
            pinned_ = step_ = bytes;
            return true;
        }
        error refused = api.failure(device_call::pin, code);
        if (refused.code == errc::device_lost) return refused;
        api.forget();
        reason_ = std::move(refused.detail);
        step_ = slot_bytes_;
        for (; step_ < bytes && pinned_ < bytes; pinned_ += step_)
            if (api.pin(data_ + pinned_, step_, false) != 0) break;
        if (pinned_ == bytes) {
            reason_ += "; each slot is pinned by itself";
            return true;
        }
        api.forget();
        while (pinned_ != 0) {
            pinned_ -= step_;
            if (code = api.unpin(data_ + pinned_); code == 0) continue;
            pages_.abandon();
            return api.failure(device_call::unpin, code);
        }
        return false;
    }
    /// Moves what it holds to memory that the runtime allocates, where that has any. Nobody may write to it meanwhile.
    void move_to_runtime(const Api& api) {
        const std::size_t bytes = pages_.bytes().size();
        void* memory = nullptr;
        if (const int code = api.allocate_pinned(memory, bytes); code != 0) {
            reason_ +=
                str_cat("; ", api.failure(device_call::allocate_pinned, code).detail, "; the memory is not pinned");
            api.forget();
            return;
        }
        std::memcpy(memory, data_, bytes);
        pages_ = pages{};
        data_ = static_cast<std::byte*>(memory);
        allocated_ = bytes;
        reason_ += "; the runtime allocated the memory";
    }
    /// Whether it has room for such slots, none of which lies in two registrations.
    [[nodiscard]] bool fits(std::size_t slots, std::uint64_t slot_bytes) const noexcept {
        if (in_parts()) return slot_bytes <= step_ && slots <= pinned_ / step_;
        return slot_bytes != 0 && slots <= pinned_bytes() / slot_bytes;
    }
    /// Makes such slots of it, which it fits.
    void cut(std::uint64_t slot_bytes) noexcept {
        slot_bytes_ = in_parts() ? step_ : static_cast<std::size_t>(slot_bytes);
    }
    [[nodiscard]] bool is_there() const noexcept { return data_ != nullptr; }
    [[nodiscard]] std::byte* slot(std::size_t i) const noexcept { return data_ + i * slot_bytes_; }
    [[nodiscard]] std::uint64_t pinned_bytes() const noexcept { return pinned_ + allocated_; }
    /// Why it is not pinned as one piece; empty where it is.
    [[nodiscard]] const std::string& reason() const noexcept { return reason_; }

    /// Gives everything back; nothing may be copied from it any more. Returns the first failure and which call it was.
    [[nodiscard]] std::pair<device_call, int> release(const Api& api) {
        std::pair<device_call, int> first{};
        if (allocated_ != 0) first = {device_call::release_pinned, api.release_pinned(data_)};
        for (std::size_t at = 0; at < pinned_; at += step_)
            if (const int code = api.unpin(data_ + at); code != 0 && first.second == 0)
                first = {device_call::unpin, code};
        // What may still be registered stays, or its addresses would be another's that the device has pinned.
        if (first.second != 0) pages_.abandon();
        *this = {};
        return first;
    }
    /// Leaves everything as it is, for good.
    void abandon() {
        pages_.abandon();
        *this = {};
    }

  private:
    [[nodiscard]] bool in_parts() const noexcept { return step_ < pinned_; }

    pages pages_{};
    std::byte* data_{};
    std::size_t slot_bytes_{};
    std::size_t step_{};      ///< bytes of one registration
    std::size_t pinned_{};    ///< bytes that are registered, from the beginning
    std::size_t allocated_{}; ///< bytes of the runtime
    std::string reason_{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
