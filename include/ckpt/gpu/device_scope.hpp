// ckpt/gpu/device_scope.hpp: the device that a thread has current, while work needs others.
//
// SPDX-License-Identifier: MIT
// In:      a `device_api`, the devices that work makes current.
// Out:     the same device current afterwards, and no context on a device that the work does not use.
// Refuses: nothing by itself; what the device refuses is told by its code.
#pragma once

#include <ckpt/gpu/device_api.hpp>
#include <ckpt/gpu/own_thread.hpp>

#include <algorithm>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// For cleaning up: what fails is done once more, because a call may only report what failed before it. The first
/// failure counts. `last`: that of the last call.
template <class F> [[nodiscard]] int insist(F&& call, int* last = nullptr) {
    const int code = call();
    const int again = code != 0 ? call() : 0;
    if (last != nullptr) *last = again;
    return code;
}

/// Makes the device that was current at the beginning current again at the end, and what the thread's calls may do to
/// captures of streams.
template <device_api Api> class device_scope {
  public:
    /// `ends`: the thread ends with it, so that nothing is made current again.
    explicit device_scope(const Api& api, bool ends = false)
        : api_{api}, ends_{ends}, failure_{insist([&] { return api.current_device(before_); })}, now_{before_} {}
    device_scope(const device_scope&) = delete;
    device_scope& operator=(const device_scope&) = delete;
    ~device_scope() {
        if (relaxed_) (void)insist([&] { return api_.capture(capture_); });
        if (ends_) return;
        if (now_ != before_ && insist([&] { return api_.use_device(before_); }) != 0) api_.forget();
    }
    [[nodiscard]] int failure() const noexcept { return failure_; }
    [[nodiscard]] int use(int device) {
        if (device != now_)
            if (const int code = api_.use_device(device); code != 0) return code;
        now_ = device;
        if (!relaxed_) relaxed_ = api_.capture(capture_) == 0;
        return 0;
    }
    [[nodiscard]] int insist_on(int device) {
        return insist([&] { return use(device); });
    }

  private:
    const Api& api_;
    bool ends_;
    int before_{0};
    int failure_;
    int now_;
    int capture_{Api::relaxed};
    bool relaxed_{false};
};

/// Runs `work(ends)`, which makes the devices of `users` current, so that the calling thread's device stays as it is:
/// in a thread of its own, unless all of them are that device. `meanwhile` is then run by the calling thread.
template <device_api Api, class Users, class Work, class Meanwhile>
void beside_caller(const Api& api, const Users& users, Work work, Meanwhile meanwhile) {
    if constexpr (Api::is_host) return work(false);
    int current = 0;
    const bool known = api.current_device(current) == 0;
    if (!known) api.forget();
    const bool here = Api::own_streams || !known ||
                      std::all_of(users.begin(), users.end(), [&](const auto& user) { return user.device == current; });
    if (here) return work(false);
    in_own_thread(work, meanwhile);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
