// ckpt/gpu/device_api.hpp: what an upload asks of a device.
//
// SPDX-License-Identifier: MIT
// In:      nothing.
// Out:     the concept `device_api`, which the CUDA runtime and the host implement, and devices of tests.
// Refuses: at compile time, a type that lacks one of its functions.
#pragma once

#include <ckpt/core/error.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// What was asked of a device when it failed.
enum class device_call : std::uint8_t {
    current_device,
    use_device,
    allocate,
    release,
    pin,
    unpin,
    allocate_pinned,
    release_pinned,
    make_stream,
    drop_stream,
    make_event,
    drop_event,
    record,
    wait_event,
    order,
    synchronise,
    copy,
    convert,
    ask_peer,
    reach_peer,
    copy_peer
};

/// One range of memory and where it goes.
struct device_copy {
    void* to{};
    const void* from{};
    std::size_t bytes{};
};

/// A device's runtime. Functions return its code, 0 for success; all of them may be called from several threads.
/// - `own_streams`: the null stream is another one for each thread.
/// - `is_host`: device memory is the host's own, so that what is read may be read straight into it.
/// - `current_device`, `use_device`: the calling thread's. Events and streams belong to the device that is current when
///   they are made.
/// - `capture(mode)`: exchanges what the calling thread's calls may do to a stream that another thread captures into a
///   graph; at first `mode` is `relaxed`, nothing. Without that a capture ends at any allocation, registration or wait.
/// - `allocate(out, bytes, stream)`, `release(memory, stream)`: memory that the caller's stream may use afterwards.
/// - `pin(memory, bytes, read_only)`: host memory that copies may read at any time until `unpin`.
///   `allocate_pinned(out, bytes)`: such memory, until `release_pinned`.
/// - `forget()`: the error of a call that may fail is not the calling thread's last one any more.
/// - `record(event, stream)`: the event is behind what the stream has. `order(stream, event)`: the stream waits for it;
///   `wait_event(event)`: the calling thread does.
/// - `copy(copies, stream)`: host to device, in any order among each other, behind what the stream has.
/// - `can_reach(yes, device, other)`: whether a device can read the memory of another.
/// - `reach(other)`: the current device may do so from now on. Nobody ends that.
/// - `copy_peer(copies, to, from, stream)`: from memory of device `from` to that of device `to`, which may be the same
///   device; as `copy` does.
/// - `native(stream)`: the stream as `device_kernels` know it.
/// - `failure(call, code)`: an error with the runtime's words.
template <class A>
concept device_api = requires(const A& api, typename A::stream stream, typename A::event event,
                              typename A::stream& new_stream, typename A::event& new_event, void* memory,
                              void*& allocated, int& device, bool& yes, std::span<const device_copy> copies) {
    { A::is_host } -> std::convertible_to<bool>;
    { A::own_streams } -> std::convertible_to<bool>;
    { api.current_device(device) } -> std::same_as<int>;
    { api.use_device(0) } -> std::same_as<int>;
    { api.capture(device) } -> std::same_as<int>;
    { A::relaxed } -> std::convertible_to<int>;
    { api.allocate(allocated, std::size_t{}, stream) } -> std::same_as<int>;
    { api.release(memory, stream) } -> std::same_as<int>;
    { api.pin(memory, std::size_t{}, true) } -> std::same_as<int>;
    { api.unpin(memory) } -> std::same_as<int>;
    { api.allocate_pinned(allocated, std::size_t{}) } -> std::same_as<int>;
    { api.release_pinned(memory) } -> std::same_as<int>;
    { api.forget() } -> std::same_as<void>;
    { api.make_stream(new_stream) } -> std::same_as<int>;
    { api.drop_stream(stream) } -> std::same_as<int>;
    { api.make_event(new_event) } -> std::same_as<int>;
    { api.drop_event(event) } -> std::same_as<int>;
    { api.record(event, stream) } -> std::same_as<int>;
    { api.wait_event(event) } -> std::same_as<int>;
    { api.order(stream, event) } -> std::same_as<int>;
    { api.synchronise(stream) } -> std::same_as<int>;
    { api.copy(copies, stream) } -> std::same_as<int>;
    { api.can_reach(yes, 0, 0) } -> std::same_as<int>;
    { api.reach(0) } -> std::same_as<int>;
    { api.copy_peer(copies, 0, 0, stream) } -> std::same_as<int>;
    { api.native(stream) } -> std::same_as<void*>;
    { api.failure(device_call::copy, 1) } -> std::same_as<error>;
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
