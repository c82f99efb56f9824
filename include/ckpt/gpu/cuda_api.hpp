// ckpt/gpu/cuda_api.hpp: the CUDA runtime as the upload engine sees it.
//
// SPDX-License-Identifier: MIT
// In:      calls of `device_api`.
// Out:     calls of the runtime; many small copies as one batch where driver and toolkit are 12.8 or newer.
// Refuses: nothing by itself; what the runtime refuses becomes an error with its words.
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/gpu/cuda_abi.hpp>
#include <ckpt/gpu/device_api.hpp>

#include <cuda_runtime_api.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail::inline CKPT_DETAIL_CUDA_ABI {

/// The CUDA runtime as the upload engine sees it.
struct cuda_api {
    static constexpr bool is_host = false;
#if defined(CUDA_API_PER_THREAD_DEFAULT_STREAM)
    static constexpr bool own_streams = true;
#else
    static constexpr bool own_streams = false;
#endif
    static constexpr int relaxed = cudaStreamCaptureModeRelaxed;
    using stream = cudaStream_t;
    using event = cudaEvent_t;

    bool stream_ordered{false}; ///< memory of the device's pool

    int current_device(int& device) const { return cudaGetDevice(&device); }
    int use_device(int device) const { return cudaSetDevice(device); }
    int capture(int& mode) const {
        auto as_known = static_cast<cudaStreamCaptureMode>(mode);
        const int code = cudaThreadExchangeStreamCaptureMode(&as_known);
        mode = as_known;
        if (code != 0) forget();
        return code;
    }
    int allocate(void*& out, std::size_t bytes, stream s) const {
        return stream_ordered ? cudaMallocAsync(&out, bytes, s) : cudaMalloc(&out, bytes);
    }
    int release(void* memory, stream s) const { return stream_ordered ? cudaFreeAsync(memory, s) : cudaFree(memory); }
    int pin(void* memory, std::size_t bytes, bool read_only) const {
        return cudaHostRegister(memory, bytes, read_only ? cudaHostRegisterReadOnly : cudaHostRegisterPortable);
    }
    int unpin(void* memory) const { return cudaHostUnregister(memory); }
    int allocate_pinned(void*& out, std::size_t bytes) const {
        return cudaHostAlloc(&out, bytes, cudaHostAllocPortable);
    }
    int release_pinned(void* memory) const { return cudaFreeHost(memory); }
    void forget() const { (void)cudaGetLastError(); }
    int make_stream(stream& s) const { return cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking); }
    int drop_stream(stream s) const { return cudaStreamDestroy(s); }
    int make_event(event& e) const {
        // A reader that waits for a slot sleeps: spinning, it would take a core from those that read.
        return cudaEventCreateWithFlags(&e, cudaEventDisableTiming | cudaEventBlockingSync);
    }
    int drop_event(event e) const { return cudaEventDestroy(e); }
    int record(event e, stream s) const { return cudaEventRecord(e, s); }
    int wait_event(event e) const { return cudaEventSynchronize(e); }
    int order(stream s, event e) const { return cudaStreamWaitEvent(s, e, 0); }
    int synchronise(stream s) const { return cudaStreamSynchronize(s); }
    void* native(stream s) const { return s; }

    int copy(std::span<const device_copy> copies, stream s) const {
#if CUDART_VERSION >= 12080
        // Thousands of small copies cost one call where the driver has it, too.
        constexpr std::size_t worthwhile = 8;
        int driver = 0;
        if (copies.size() >= worthwhile && cudaDriverGetVersion(&driver) == cudaSuccess && driver >= 12080)
            if (const int code = copy_batch(copies, s); code != cudaErrorNotSupported) return code;
        if (copies.size() >= worthwhile) forget(); // the refusal of either
#endif
        for (const device_copy& c : copies)
            if (const int code = cudaMemcpyAsync(c.to, c.from, c.bytes, cudaMemcpyHostToDevice, s); code != 0)
                return code;
        return 0;
    }

    int can_reach(bool& yes, int device, int other) const {
        int can = 0;
        const int code = cudaDeviceCanAccessPeer(&can, device, other);
        yes = can != 0;
        return code;
    }
    int reach(int other) const {
        const int code = cudaDeviceEnablePeerAccess(other, 0);
        if (code != cudaErrorPeerAccessAlreadyEnabled) return code;
        forget();
        return 0;
    }
    int copy_peer(std::span<const device_copy> copies, int to, int from, stream s) const {
        for (const device_copy& c : copies)
            if (const int code = cudaMemcpyPeerAsync(c.to, to, c.from, from, c.bytes, s); code != 0) return code;
        return 0;
    }

    [[nodiscard]] error failure(device_call call, int code) const {
        const auto status = static_cast<cudaError_t>(code);
        const known_failure known = meaning(code);
        return {.code = known.code,
                .os_code = code,
                .detail = str_cat(name_of(call), ": ", cudaGetErrorName(status), ", ", cudaGetErrorString(status)),
                .hint = known.hint};
    }

  private:
#if CUDART_VERSION >= 12080
    static int copy_batch(std::span<const device_copy> copies, stream s) {
        std::vector<void*> to, from;
        std::vector<std::size_t> sizes;
        for (const device_copy& c : copies) {
            to.push_back(c.to);
            from.push_back(const_cast<void*>(c.from));
            sizes.push_back(c.bytes);
        }
        cudaMemcpyAttributes attributes{};
        attributes.srcAccessOrder = cudaMemcpySrcAccessOrderStream;
        std::size_t first = 0;
#if CUDART_VERSION >= 13000
        return cudaMemcpyBatchAsync(to.data(), from.data(), sizes.data(), sizes.size(), &attributes, &first, 1, s);
#else
        std::size_t failed = 0;
        return cudaMemcpyBatchAsync(to.data(), from.data(), sizes.data(), sizes.size(), &attributes, &first, 1, &failed,
                                    s);
#endif
    }
#endif
    struct known_failure {
        errc code{errc::device_failed};
        std::string_view hint{};
    };
    /// What a number of the runtime means. Some are newer than its oldest header, so they stand here as numbers.
    [[nodiscard]] static constexpr known_failure meaning(int code) noexcept {
        switch (code) {
        case 2: return {errc::device_memory, "upload fewer tensors, or convert them to a smaller type"};
        case 3:   // cudaErrorInitializationError
        case 35:  // cudaErrorInsufficientDriver
        case 100: // cudaErrorNoDevice
        case 101: // cudaErrorInvalidDevice
            return {errc::no_device, "check the driver with nvidia-smi, and CUDA_VISIBLE_DEVICES"};
        case 46: // cudaErrorDevicesUnavailable
            return {errc::no_device, "another process has the device for itself: see its compute mode in nvidia-smi"};
        case 802: // cudaErrorSystemNotReady
            return {errc::no_device, "the system is not ready: is nvidia-fabricmanager running?"};
        case 803: // cudaErrorSystemDriverMismatch
            return {errc::no_device,
                    "the driver's library and its kernel module differ: load the module anew, or reboot"};
        case 209: // cudaErrorNoKernelImageForDevice
            return {errc::device_failed, "compile the kernels for this device: nvcc -arch"};
        case 214: // cudaErrorECCUncorrectable
        case 220: // cudaErrorNvlinkUncorrectable
        case 226: // cudaErrorContained
        case 700: // cudaErrorIllegalAddress
        case 702: // cudaErrorLaunchTimeout
        case 709: // cudaErrorContextIsDestroyed
        case 710: // cudaErrorAssert
        case 714: // cudaErrorHardwareStackError
        case 715: // cudaErrorIllegalInstruction
        case 716: // cudaErrorMisalignedAddress
        case 717: // cudaErrorInvalidAddressSpace
        case 718: // cudaErrorInvalidPc
        case 719: // cudaErrorLaunchFailure
            return {errc::device_lost,
                    "an earlier failure of the device or of another kernel; the process must be started again"};
        default: return {};
        }
    }
    [[nodiscard]] std::string_view name_of(device_call call) const noexcept {
        switch (call) {
        case device_call::current_device: return "cudaGetDevice";
        case device_call::use_device: return "cudaSetDevice";
        case device_call::allocate: return stream_ordered ? "cudaMallocAsync" : "cudaMalloc";
        case device_call::release: return stream_ordered ? "cudaFreeAsync" : "cudaFree";
        case device_call::pin: return "cudaHostRegister";
        case device_call::unpin: return "cudaHostUnregister";
        case device_call::allocate_pinned: return "cudaHostAlloc";
        case device_call::release_pinned: return "cudaFreeHost";
        case device_call::make_stream: return "cudaStreamCreateWithFlags";
        case device_call::drop_stream: return "cudaStreamDestroy";
        case device_call::make_event: return "cudaEventCreateWithFlags";
        case device_call::drop_event: return "cudaEventDestroy";
        case device_call::record: return "cudaEventRecord";
        case device_call::wait_event: return "cudaEventSynchronize";
        case device_call::order: return "cudaStreamWaitEvent";
        case device_call::synchronise: return "cudaStreamSynchronize";
        case device_call::copy: return "cudaMemcpyAsync";
        case device_call::convert: return "a kernel";
        case device_call::ask_peer: return "cudaDeviceCanAccessPeer";
        case device_call::reach_peer: return "cudaDeviceEnablePeerAccess";
        case device_call::copy_peer: return "cudaMemcpyPeerAsync";
        }
        return "the runtime";
    }
};
static_assert(device_api<cuda_api>);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail::inline CKPT_DETAIL_CUDA_ABI
