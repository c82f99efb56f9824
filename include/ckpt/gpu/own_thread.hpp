// ckpt/gpu/own_thread.hpp: work with devices that the calling thread does not have current.
//
// SPDX-License-Identifier: MIT
// In:      a function that makes other devices current; a progress callback.
// Out:     its end, as if the calling thread had run it; the callback is called by the calling thread.
// Refuses: nothing: where the system starts no thread, the calling one does the work.
//
// To make a device current again is to make it current: since CUDA 12 that creates a context there, of hundreds of
// megabytes, also where the device was never used and is only the number that a new thread begins with. So a thread
// that has another device current stays as it is, and one of its own does the work and ends.
#pragma once

#include <ckpt/core/config.hpp>
#include <ckpt/core/progress.hpp>

#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Runs `work(true)` in a thread of its own and `meanwhile()` in this one, which returns when the work is about to end;
/// or `work(false)` in this one.
template <class Work, class Meanwhile> void in_own_thread(Work work, Meanwhile meanwhile) {
#if CKPT_EXCEPTIONS
    std::exception_ptr thrown;
    const auto caught = [&] {
        try {
            work(true);
        } catch (...) {
            thrown = std::current_exception();
        }
    };
    std::thread worker;
    try {
        worker = std::thread{caught};
    } catch (const std::system_error&) {
        return work(false);
    }
#else
    std::thread worker{[&] { work(true); }};
#endif
    struct joined {
        std::thread& of;
        ~joined() { of.join(); }
    };
    {
        const joined at_the_end{worker};
        meanwhile();
    }
#if CKPT_EXCEPTIONS
    if (thrown) std::rethrow_exception(thrown);
#endif
}

/// A thread for work that may outlast the call that started it. Whoever has it joins it.
class later {
  public:
    /// Runs `work`. False where the system starts no thread.
    template <class Work> bool start(Work work) {
#if CKPT_EXCEPTIONS
        try {
            thread_ = std::thread{[this, work] {
                try {
                    work();
                } catch (...) {
                    thrown_ = std::current_exception();
                }
            }};
        } catch (const std::system_error&) {}
#else
        thread_ = std::thread{work};
#endif
        return thread_.joinable();
    }
    /// Waits for its end; false where there was none to wait for.
    bool join() {
        if (!thread_.joinable()) return false;
        thread_.join();
        return true;
    }
    /// What the work threw, after its end.
    void rethrow() {
#if CKPT_EXCEPTIONS
        if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
#endif
    }

  private:
    std::thread thread_{};
#if CKPT_EXCEPTIONS
    std::exception_ptr thrown_{};
#endif
};

/// Hands the calls of a progress callback from the thread that works to the one that called.
class progress_relay {
  public:
    explicit progress_relay(progress_callback to) : to_{to} {}

    /// By the thread that works.
    bool operator()(const progress& p) {
        std::unique_lock lock{mutex_};
        asked_ = p;
        changed_.notify_all();
        changed_.wait(lock, [&] { return !asked_ || left_; });
        return go_on_ && !left_;
    }
    /// By the thread that works: there are no more calls.
    void end() {
        const std::lock_guard lock{mutex_};
        ended_ = true;
        changed_.notify_all();
    }
    /// By the thread that called: makes the calls, until the end. Where one throws, the others are told to stop.
    void serve() {
        const leaving at_the_end{*this};
        std::unique_lock lock{mutex_};
        for (;;) {
            changed_.wait(lock, [&] { return asked_ || ended_; });
            if (!asked_) return;
            const progress p = *asked_;
            lock.unlock();
            const bool go_on = to_(p);
            lock.lock();
            go_on_ = go_on;
            asked_.reset();
            changed_.notify_all();
        }
    }

  private:
    struct leaving {
        progress_relay& of;
        ~leaving() {
            const std::lock_guard lock{of.mutex_};
            of.left_ = true;
            of.changed_.notify_all();
        }
    };

    progress_callback to_;
    std::mutex mutex_{};
    std::condition_variable changed_{};
    std::optional<progress> asked_{};
    bool go_on_{true};
    bool ended_{false};
    bool left_{false};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
