// ckpt/gpu/upload_watch.hpp: how far an upload in another thread has come, and a way to stop it.
//
// SPDX-License-Identifier: MIT
// In:      what the thread that carries it out says; a wish to stop.
// Out:     a wait for a piece, whether the upload has ended.
// Refuses: nothing.
#pragma once

#include <ckpt/core/config.hpp>

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class upload_watch {
  public:
    /// By the thread that carries the upload out: streams and memory are there. False: it shall stop.
    [[nodiscard]] bool prepared() { return issued(0); }
    /// By that thread: so many pieces were issued. False: it shall stop.
    [[nodiscard]] bool issued(std::uint32_t pieces) {
        const std::lock_guard lock{mutex_};
        prepared_ = true;
        issued_ = pieces;
        changed_.notify_all();
        return !cancelled_;
    }
    /// By that thread: nothing more is issued. `failed`: no tensor is given out any more.
    void end(bool failed) {
        const std::lock_guard lock{mutex_};
        ended_ = true;
        failed_ = failed;
        changed_.notify_all();
    }

    void cancel() {
        const std::lock_guard lock{mutex_};
        cancelled_ = true;
    }
    [[nodiscard]] bool has_ended() {
        const std::lock_guard lock{mutex_};
        return ended_;
    }
    /// Blocks until streams are there and so many pieces were issued. False: the upload has failed.
    [[nodiscard]] bool wait_for(std::uint32_t pieces) {
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [&] { return ended_ || (prepared_ && issued_ >= pieces); });
        return !failed_;
    }

  private:
    std::mutex mutex_{};
    std::condition_variable changed_{};
    std::uint32_t issued_{0};
    bool prepared_{false};
    bool cancelled_{false};
    bool ended_{false};
    bool failed_{false};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
