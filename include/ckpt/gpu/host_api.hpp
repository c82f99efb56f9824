// ckpt/gpu/host_api.hpp: the host as a device of the upload engine.
//
// SPDX-License-Identifier: MIT
// In:      calls of `device_api`.
// Out:     memory of whole pages; everything else is done at once, or there is nothing to do.
// Refuses: memory that the system does not have.
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/gpu/device_api.hpp>

#include <cstddef>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The host as a device. Nothing is asynchronous.
struct host_api {
    static constexpr bool is_host = true;
    static constexpr bool own_streams = false;
    static constexpr int relaxed = 0;
    struct stream {};
    struct event {};

    int current_device(int& device) const noexcept { return device = 0; }
    int use_device(int) const noexcept { return 0; }
    int capture(int&) const noexcept { return 0; }
    int allocate(void*& out, std::size_t bytes, stream) const noexcept;
    int release(void* memory, stream) const noexcept;
    int pin(void*, std::size_t, bool) const noexcept { return 0; }
    int unpin(void*) const noexcept { return 0; }
    int allocate_pinned(void*&, std::size_t) const noexcept { return 0; }
    int release_pinned(void*) const noexcept { return 0; }
    void forget() const noexcept {}
    int make_stream(stream&) const noexcept { return 0; }
    int drop_stream(stream) const noexcept { return 0; }
    int make_event(event&) const noexcept { return 0; }
    int drop_event(event) const noexcept { return 0; }
    int record(event, stream) const noexcept { return 0; }
    int wait_event(event) const noexcept { return 0; }
    int order(stream, event) const noexcept { return 0; }
    int synchronise(stream) const noexcept { return 0; }
    int copy(std::span<const device_copy>, stream) const noexcept { return 0; }
    int can_reach(bool& yes, int, int) const noexcept { return yes = false; }
    int reach(int) const noexcept { return 0; }
    int copy_peer(std::span<const device_copy>, int, int, stream) const noexcept { return 0; }
    void* native(stream) const noexcept { return nullptr; }
    [[nodiscard]] error failure(device_call, int) const {
        return {.code = errc::device_memory, .detail = "the system has not enough memory"};
    }
};
static_assert(device_api<host_api>);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/gpu/impl/host_api.ipp>
#endif
