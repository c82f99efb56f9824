// tests/gpu/cuda_double.cpp: the symbols of the CUDA runtime, on the model of the double.
//
// SPDX-License-Identifier: MIT
// In:      the calls of a program that is linked with this instead of the runtime.
// Out:     their results; each call is counted, may be made to fail, and leaves its error for cudaGetLastError.
#include "cuda_model.hpp"

#include <algorithm>
#include <cstring>

using namespace cuda_double;
using detail::copy_part;
using detail::event_state;
using detail::host_memory;
using detail::model;
using detail::stream_state;

// What objects of nvcc refer to, which no header for plain C++ declares.
extern "C" {
void** __cudaRegisterFatBinary(void* binary);
void __cudaRegisterFatBinaryEnd(void** handle);
void __cudaUnregisterFatBinary(void** handle);
void __cudaRegisterFunction(void** handle, const char* host, char* device, const char* name, int limit, uint3*, uint3*,
                            dim3*, dim3*, int*);
void __cudaRegisterVar(void** handle, char* host, char* device, const char* name, int external, std::size_t bytes,
                       int constant, int global);
char __cudaInitModule(void** handle);
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared, struct CUstream_st* stream);
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared, void* stream);
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function);
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, std::size_t shared,
                               cudaStream_t stream);
// For cufile_double.cpp, which is another library.
void* cuda_double_shadow(void* device, std::size_t bytes);
void cuda_double_storage(const char* text);
bool cuda_double_is_allocated(const void* device, std::size_t bytes);
}

namespace {

/// What a call that is made to fail does all the same.
enum class failing : std::uint8_t { does_nothing, gives_back, waits };

/// A call that needs no device, such as one that asks for versions.
template <class Body> cudaError_t plain_call(const char* name, Body body) {
    model& m = model::get();
    const std::lock_guard lock{m.mutex};
    m.begin_call(name);
    cudaError_t out = cudaSuccess;
    if (const auto failure = m.failures.find(m.log.size()); failure != m.failures.end()) {
        out = failure->second.first;
        if (failure->second.second && m.with.devices > 0) m.break_device(m.thread().device, out);
    } else {
        out = body(m);
    }
    if (out != cudaSuccess) m.thread().last_error = out;
    return out;
}

/// A call that works with a device. `device_of` gives it, or nothing where a handle is none.
template <bool NeedsContext = true, class DeviceOf, class Body>
cudaError_t call(const char* name, failing how, DeviceOf device_of, Body body) {
    model& m = model::get();
    const std::lock_guard lock{m.mutex};
    m.begin_call(name);
    const auto run = [&]() -> cudaError_t {
        if (m.with.driver_version / 1000 < m.with.runtime_version / 1000) return cudaErrorInsufficientDriver;
        if (m.with.devices <= 0) return cudaErrorNoDevice;
        const int device = device_of(m);
        if (device < 0) {
            m.report(kind::bad_handle, m.here() + ": no such stream or event");
            return cudaErrorInvalidResourceHandle;
        }
        if (m.spoils_captures(name)) return cudaErrorStreamCaptureUnsupported;
        cudaError_t& broken = m.broken[static_cast<std::size_t>(device)];
        if (NeedsContext) m.contexts[static_cast<std::size_t>(m.thread().device)] = true;
        const auto failure = m.failures.find(m.log.size());
        const bool fails = failure != m.failures.end();
        if (fails && failure->second.second) m.break_device(device, failure->second.first);
        const bool works = (!fails && broken == cudaSuccess) || how == failing::gives_back ||
                           (how == failing::waits && fails && m.with.failed_wait_waits);
        cudaError_t out = works ? body(m) : cudaSuccess;
        if (broken != cudaSuccess) out = broken;
        return fails ? failure->second.first : out;
    };
    const cudaError_t out = run();
    if (out != cudaSuccess) m.thread().last_error = out;
    return out;
}

template <class Body> cudaError_t call(const char* name, Body body, failing how = failing::does_nothing) {
    return call(name, how, [](model& m) { return m.thread().device; }, body);
}

template <class Body>
cudaError_t stream_call(const char* name, cudaStream_t handle, Body body, failing how = failing::does_nothing) {
    return call(
        name, how,
        [&](model& m) {
            const stream_state* const s = m.find(handle);
            return s != nullptr ? s->device : -1;
        },
        [&](model& m) { return body(m, *m.find(handle)); });
}

template <class Body>
cudaError_t event_call(const char* name, cudaEvent_t handle, Body body, failing how = failing::does_nothing) {
    return call(
        name, how,
        [&](model& m) {
            const event_state* const e = m.find(handle);
            return e != nullptr ? e->device : -1;
        },
        [&](model& m) { return body(m, *m.find(handle)); });
}

cudaError_t done(bool yes) { return yes ? cudaSuccess : cudaErrorNotReady; }

bool needs_current(model& m, const stream_state& stream) {
    if (stream.device == m.thread().device) return true;
    m.report(kind::wrong_device, m.here() + ": device " + std::to_string(m.thread().device) +
                                     " is current and the stream is of device " + std::to_string(stream.device));
    return false;
}

/// Copies in the NULL stream; the host waits where it has a side.
cudaError_t copy_now(model& m, stream_state& stream, copy_part part) {
    const bool waits = !m.is_device_address(part.from) || !m.is_device_address(part.to);
    const cudaError_t out = m.copy(stream, {std::move(part)}, host_memory::may_be_pageable);
    if (waits && out == cudaSuccess) m.synchronise(stream);
    return out;
}

cudaError_t copy_batch(model& m, stream_state& stream, void* const* dsts, const void* const* srcs,
                       const std::size_t* sizes, std::size_t count, const cudaMemcpyAttributes* attributes,
                       const std::size_t* firsts, std::size_t kinds) {
    if (m.with.driver_version < 12080) return cudaErrorCallRequiresNewerDriver;
    if (stream.is_null || count == 0 || kinds == 0 || kinds > count || dsts == nullptr || srcs == nullptr ||
        sizes == nullptr || attributes == nullptr || firsts == nullptr || firsts[0] != 0)
        return cudaErrorInvalidValue;
    std::vector<copy_part> parts(count);
    for (std::size_t k = 0; k < kinds; ++k) {
        const std::size_t end = k + 1 < kinds ? firsts[k + 1] : count;
        const auto order = attributes[k].srcAccessOrder;
        if (end <= firsts[k] || end > count || order < cudaMemcpySrcAccessOrderStream ||
            order > cudaMemcpySrcAccessOrderAny)
            return cudaErrorInvalidValue;
        for (std::size_t i = firsts[k]; i < end; ++i) {
            parts[i].to = dsts[i];
            parts[i].from = srcs[i];
            parts[i].bytes = sizes[i];
            parts[i].reads_at_once = order == cudaMemcpySrcAccessOrderDuringApiCall;
        }
    }
    const cudaError_t out = m.copy(stream, std::move(parts), host_memory::must_be_registered);
    if (out == cudaSuccess) ++m.total.batches;
    return out;
}

cudaError_t launch(cudaStream_t handle, const void* function, dim3 grid, dim3 block, void** arguments,
                   std::size_t shared) {
    return stream_call("cudaLaunchKernel", handle, [&](model& m, stream_state& s) {
        return needs_current(m, s) ? m.launch(s, function, grid, block, arguments, shared)
                                   : cudaErrorInvalidResourceHandle;
    });
}

const std::map<int, int>& usual_attributes() {
    static const std::map<int, int> table{
        {cudaDevAttrMaxThreadsPerBlock, 1024},
        {cudaDevAttrMaxGridDimX, 2147483647},
        {cudaDevAttrMaxGridDimY, 65535},
        {cudaDevAttrMaxGridDimZ, 65535},
        {cudaDevAttrWarpSize, 32},
        {cudaDevAttrMultiProcessorCount, 64},
        {cudaDevAttrAsyncEngineCount, 2},
        {cudaDevAttrUnifiedAddressing, 1},
        {cudaDevAttrCanMapHostMemory, 1},
        {cudaDevAttrComputeCapabilityMajor, 8},
        {cudaDevAttrHostRegisterSupported, 1},
        {cudaDevAttrHostRegisterReadOnlySupported, 1},
        {cudaDevAttrMemoryPoolsSupported, 1},
    };
    return table;
}

int attribute(const model& m, int device, int which) {
    if (const auto at = m.attributes.find({device, which}); at != m.attributes.end()) return at->second;
    const auto at = usual_attributes().find(which);
    return at == usual_attributes().end() ? 0 : at->second;
}

struct error_text {
    cudaError_t error;
    const char* name;
    const char* text;
};
constexpr error_text error_texts[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorCallRequiresNewerDriver, "cudaErrorCallRequiresNewerDriver",
     "API call is not supported in the installed CUDA driver"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorPeerAccessUnsupported, "cudaErrorPeerAccessUnsupported",
     "peer access is not supported between these two devices"},
    {cudaErrorPeerAccessAlreadyEnabled, "cudaErrorPeerAccessAlreadyEnabled", "peer access is already enabled"},
    {cudaErrorPeerAccessNotEnabled, "cudaErrorPeerAccessNotEnabled", "peer access has not been enabled"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorHostMemoryAlreadyRegistered, "cudaErrorHostMemoryAlreadyRegistered",
     "part or all of the requested memory range is already mapped"},
    {cudaErrorHostMemoryNotRegistered, "cudaErrorHostMemoryNotRegistered",
     "pointer does not correspond to a registered memory region"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorECCUncorrectable, "cudaErrorECCUncorrectable", "uncorrectable ECC error encountered"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorUnknown, "cudaErrorUnknown", "unknown error"},
};

const error_text* find_text(cudaError_t error) {
    const auto* const at = std::find_if(std::begin(error_texts), std::end(error_texts),
                                        [&](const error_text& t) { return t.error == error; });
    return at == std::end(error_texts) ? nullptr : at;
}

} // namespace

extern "C" {

// Devices.

cudaError_t cudaGetDeviceCount(int* count) {
    return plain_call("cudaGetDeviceCount", [&](model& m) {
        *count = 0;
        if (m.with.driver_version / 1000 < m.with.runtime_version / 1000) return cudaErrorInsufficientDriver;
        *count = std::max(m.with.devices, 0);
        return *count == 0 ? cudaErrorNoDevice : cudaSuccess;
    });
}
cudaError_t cudaGetDevice(int* device) {
    return plain_call("cudaGetDevice", [&](model& m) {
        if (m.with.driver_version / 1000 < m.with.runtime_version / 1000) return cudaErrorInsufficientDriver;
        if (m.with.devices <= 0) return cudaErrorNoDevice;
        *device = m.thread().device;
        return cudaSuccess;
    });
}
cudaError_t cudaSetDevice(int device) {
    const auto is_one = [&](const model& m) { return device >= 0 && device < m.with.devices; };
    return call<false>(
        "cudaSetDevice", failing::does_nothing,
        [&](model& m) {
            m.thread().wanted_device = device;
            return is_one(m) ? device : m.thread().device;
        },
        [&](model& m) {
            if (!is_one(m)) return cudaErrorInvalidDevice;
            m.thread().device = device;
            m.contexts[static_cast<std::size_t>(device)] = true;
            return cudaSuccess;
        });
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int device) {
    return plain_call("cudaDeviceGetAttribute", [&](model& m) {
        if (m.with.driver_version / 1000 < m.with.runtime_version / 1000) return cudaErrorInsufficientDriver;
        if (device < 0 || device >= m.with.devices) return cudaErrorInvalidDevice;
        *value = attribute(m, device, which);
        return cudaSuccess;
    });
}
cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int other) {
    return plain_call("cudaDeviceCanAccessPeer", [&](model& m) {
        if (device < 0 || device >= m.with.devices || other < 0 || other >= m.with.devices)
            return cudaErrorInvalidDevice;
        *can = device != other && m.unreachable.count({device, other}) == 0 ? 1 : 0;
        return cudaSuccess;
    });
}
cudaError_t cudaDeviceEnablePeerAccess(int other, unsigned flags) {
    return call("cudaDeviceEnablePeerAccess", [&](model& m) {
        const int device = m.thread().device;
        if (other < 0 || other >= m.with.devices || other == device) return cudaErrorInvalidDevice;
        if (flags != 0) return cudaErrorInvalidValue;
        if (m.unreachable.count({device, other}) != 0) return cudaErrorPeerAccessUnsupported;
        if (!m.peers_enabled.insert({device, other}).second) return cudaErrorPeerAccessAlreadyEnabled;
        m.contexts[static_cast<std::size_t>(other)] = true;
        return cudaSuccess;
    });
}
cudaError_t cudaDeviceDisablePeerAccess(int other) {
    return call("cudaDeviceDisablePeerAccess", [&](model& m) {
        return m.peers_enabled.erase({m.thread().device, other}) != 0 ? cudaSuccess : cudaErrorPeerAccessNotEnabled;
    });
}
cudaError_t cudaDeviceSynchronize() {
    return call(
        "cudaDeviceSynchronize",
        [](model& m) {
            m.synchronise_device(m.thread().device);
            return cudaSuccess;
        },
        failing::waits);
}
cudaError_t cudaDriverGetVersion(int* version) {
    return plain_call("cudaDriverGetVersion", [&](model& m) {
        *version = m.with.driver_version;
        return cudaSuccess;
    });
}
cudaError_t cudaRuntimeGetVersion(int* version) {
    return plain_call("cudaRuntimeGetVersion", [&](model& m) {
        *version = m.with.runtime_version;
        return cudaSuccess;
    });
}
cudaError_t cudaMemGetInfo(std::size_t* unused, std::size_t* all) {
    return call("cudaMemGetInfo", [&](model& m) {
        const auto d = static_cast<std::size_t>(m.thread().device);
        *all = m.capacity[d];
        *unused = *all - std::min(*all, m.total.device_bytes[d]);
        return cudaSuccess;
    });
}

// Errors.

cudaError_t cudaGetLastError() {
    model& m = model::get();
    const std::lock_guard lock{m.mutex};
    const cudaError_t out = std::exchange(m.thread().last_error, cudaSuccess);
    const bool is_broken = m.with.devices > 0 && m.broken[static_cast<std::size_t>(m.thread().device)] != cudaSuccess;
    return is_broken ? m.broken[static_cast<std::size_t>(m.thread().device)] : out;
}
cudaError_t cudaPeekAtLastError() {
    model& m = model::get();
    const std::lock_guard lock{m.mutex};
    const bool is_broken = m.with.devices > 0 && m.broken[static_cast<std::size_t>(m.thread().device)] != cudaSuccess;
    return is_broken ? m.broken[static_cast<std::size_t>(m.thread().device)] : m.thread().last_error;
}
const char* cudaGetErrorName(cudaError_t error) {
    const error_text* const at = find_text(error);
    return at != nullptr ? at->name : "unrecognized error code";
}
const char* cudaGetErrorString(cudaError_t error) {
    const error_text* const at = find_text(error);
    return at != nullptr ? at->text : "unrecognized error code";
}

// Memory.

cudaError_t cudaMalloc(void** out, std::size_t bytes) {
    return call("cudaMalloc", [&](model& m) { return m.allocate(out, bytes, m.thread().device, nullptr); });
}
cudaError_t cudaFree(void* device) {
    return call("cudaFree", [&](model& m) { return m.release(device); }, failing::gives_back);
}
cudaError_t cudaMallocAsync(void** out, std::size_t bytes, cudaStream_t stream) {
    return stream_call("cudaMallocAsync", stream, [&](model& m, stream_state& s) {
        return attribute(m, s.device, cudaDevAttrMemoryPoolsSupported) != 0 ? m.allocate(out, bytes, s.device, &s)
                                                                            : cudaErrorNotSupported;
    });
}
cudaError_t cudaFreeAsync(void* device, cudaStream_t stream) {
    return stream_call(
        "cudaFreeAsync", stream, [&](model& m, stream_state& s) { return m.release(device, s); }, failing::gives_back);
}
cudaError_t cudaHostRegister(void* begin, std::size_t bytes, unsigned flags) {
    // Without the lock: other threads may call the runtime meanwhile.
    if (const auto& registering = model::get().with.registering) registering();
    return call("cudaHostRegister", [&](model& m) {
        const bool read_only = (flags & cudaHostRegisterReadOnly) != 0;
        if (attribute(m, m.thread().device, cudaDevAttrHostRegisterSupported) == 0) return cudaErrorNotSupported;
        if (read_only && attribute(m, m.thread().device, cudaDevAttrHostRegisterReadOnlySupported) == 0)
            return cudaErrorNotSupported;
        if (bytes > m.with.most_registered || m.total.registered_bytes + bytes > m.with.most_registered_together)
            return cudaErrorMemoryAllocation;
        return m.register_host(begin, bytes, read_only);
    });
}
cudaError_t cudaHostUnregister(void* begin) {
    return call("cudaHostUnregister", [&](model& m) { return m.release_host(begin, false); }, failing::gives_back);
}
cudaError_t cudaHostAlloc(void** out, std::size_t bytes, unsigned) {
    return call("cudaHostAlloc", [&](model& m) {
        return bytes > m.with.most_allocated ? cudaErrorMemoryAllocation : m.allocate_host(out, bytes);
    });
}
cudaError_t cudaMallocHost(void** out, std::size_t bytes) {
    return call("cudaMallocHost", [&](model& m) { return m.allocate_host(out, bytes); });
}
cudaError_t cudaFreeHost(void* begin) {
    return call("cudaFreeHost", [&](model& m) { return m.release_host(begin, true); }, failing::gives_back);
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* out, const void* p) {
    return call("cudaPointerGetAttributes", [&](model& m) {
        std::memset(out, 0, sizeof *out);
        const detail::region* const r = m.find(p);
        out->type = r == nullptr || r->freed ? cudaMemoryTypeUnregistered
                    : r->is_host             ? cudaMemoryTypeHost
                                             : cudaMemoryTypeDevice;
        out->device = out->type != cudaMemoryTypeUnregistered ? r->device : cudaInvalidDeviceId;
        auto* const pointer = reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(p));
        if (out->type != cudaMemoryTypeUnregistered) out->devicePointer = pointer;
        if (out->type != cudaMemoryTypeDevice) out->hostPointer = pointer;
        return cudaSuccess;
    });
}

// Streams and events.

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* out, unsigned flags) {
    return call("cudaStreamCreateWithFlags", [&](model& m) {
        *out = m.add_stream((flags & cudaStreamNonBlocking) == 0);
        return cudaSuccess;
    });
}
cudaError_t cudaStreamCreate(cudaStream_t* out) {
    return call("cudaStreamCreate", [&](model& m) {
        *out = m.add_stream(true);
        return cudaSuccess;
    });
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    return stream_call(
        "cudaStreamDestroy", stream,
        [&](model& m, stream_state& s) {
            if (s.is_null) return cudaErrorInvalidResourceHandle;
            m.destroy(s, stream);
            return cudaSuccess;
        },
        failing::gives_back);
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    return stream_call(
        "cudaStreamSynchronize", stream,
        [](model& m, stream_state& s) {
            m.synchronise(s);
            return cudaSuccess;
        },
        failing::waits);
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
    return stream_call("cudaStreamQuery", stream, [](model& m, stream_state& s) { return done(m.is_done(s)); });
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    return stream_call("cudaStreamWaitEvent", stream, [&](model& m, stream_state& s) {
        const event_state* const e = m.find(event);
        if (e == nullptr) {
            m.report(kind::bad_handle, m.here() + ": no such event");
            return cudaErrorInvalidResourceHandle;
        }
        m.wait(s, *e);
        return cudaSuccess;
    });
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* out, unsigned) {
    return call("cudaEventCreateWithFlags", [&](model& m) {
        *out = m.add_event();
        return cudaSuccess;
    });
}
cudaError_t cudaEventCreate(cudaEvent_t* out) {
    return call("cudaEventCreate", [&](model& m) {
        *out = m.add_event();
        return cudaSuccess;
    });
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    return event_call(
        "cudaEventDestroy", event,
        [&](model& m, event_state&) {
            m.destroy(event);
            return cudaSuccess;
        },
        failing::gives_back);
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    return event_call("cudaEventRecord", event, [&](model& m, event_state& e) {
        stream_state* const s = m.find(stream);
        if (s == nullptr) {
            m.report(kind::bad_handle, m.here() + ": no such stream");
            return cudaErrorInvalidResourceHandle;
        }
        if (s->device != e.device) {
            m.report(kind::wrong_device, m.here() + ": the event is of another device than the stream");
            return cudaErrorInvalidResourceHandle;
        }
        m.record(e, *s);
        return cudaSuccess;
    });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    return event_call(
        "cudaEventSynchronize", event,
        [](model& m, event_state& e) {
            m.synchronise(e);
            return cudaSuccess;
        },
        failing::waits);
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
    return event_call("cudaEventQuery", event, [](model& m, event_state& e) { return done(m.is_done(e)); });
}

// Captures, of which only their rules are modelled: nothing may be issued to a stream meanwhile.

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
    return call("cudaThreadExchangeStreamCaptureMode", [&](model& m) {
        std::swap(*mode, m.thread().capture_mode);
        return cudaSuccess;
    });
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
    return stream_call("cudaStreamBeginCapture", stream, [&](model& m, stream_state&) {
        m.captures.push_back({stream, std::this_thread::get_id(), mode});
        return cudaSuccess;
    });
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
    return stream_call("cudaStreamEndCapture", stream, [&](model& m, stream_state&) {
        *graph = nullptr;
        const auto at = std::find_if(m.captures.begin(), m.captures.end(),
                                     [&](const detail::stream_capture& c) { return c.stream == stream; });
        if (at == m.captures.end()) return cudaErrorIllegalState;
        const bool is_spoiled = at->is_spoiled;
        m.captures.erase(at);
        return is_spoiled ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
    });
}

// Copies.

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind direction,
                            cudaStream_t stream) {
    return stream_call("cudaMemcpyAsync", stream, [&](model& m, stream_state& s) {
        return m.copy(s, {{to, from, bytes, direction}}, host_memory::must_be_registered);
    });
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind direction) {
    return stream_call("cudaMemcpy", nullptr,
                       [&](model& m, stream_state& s) { return copy_now(m, s, {to, from, bytes, direction}); });
}
cudaError_t cudaMemcpyPeerAsync(void* to, int to_device, const void* from, int from_device, std::size_t bytes,
                                cudaStream_t stream) {
    return stream_call("cudaMemcpyPeerAsync", stream, [&](model& m, stream_state& s) {
        const cudaError_t out =
            m.copy(s, {{to, from, bytes, cudaMemcpyDeviceToDevice}}, host_memory::must_be_registered);
        if (out == cudaSuccess && bytes != 0 &&
            (m.find(to)->device != to_device || m.find(from)->device != from_device))
            m.report(kind::wrong_device, m.here() + ": the memory is not of the devices that the call names");
        if (out == cudaSuccess && to_device != from_device) {
            const bool direct = m.peers_enabled.count({to_device, from_device}) != 0 ||
                                m.peers_enabled.count({from_device, to_device}) != 0;
            (direct ? m.total.peer_bytes : m.total.staged_bytes) += bytes;
        }
        return out;
    });
}
#if CUDART_VERSION >= 13000
cudaError_t cudaMemcpyBatchAsync(void* const* dsts, const void* const* srcs, const std::size_t* sizes,
                                 std::size_t count, cudaMemcpyAttributes* attributes, std::size_t* firsts,
                                 std::size_t kinds, cudaStream_t stream) {
    return stream_call("cudaMemcpyBatchAsync", stream, [&](model& m, stream_state& s) {
        return copy_batch(m, s, dsts, srcs, sizes, count, attributes, firsts, kinds);
    });
}
#elif CUDART_VERSION >= 12080
cudaError_t cudaMemcpyBatchAsync(void** dsts, void** srcs, std::size_t* sizes, std::size_t count,
                                 cudaMemcpyAttributes* attributes, std::size_t* firsts, std::size_t kinds,
                                 std::size_t* failed, cudaStream_t stream) {
    if (failed != nullptr) *failed = ~std::size_t{0};
    return stream_call("cudaMemcpyBatchAsync", stream, [&](model& m, stream_state& s) {
        return copy_batch(m, s, dsts, srcs, sizes, count, attributes, firsts, kinds);
    });
}
#endif
cudaError_t cudaMemsetAsync(void* device, int value, std::size_t bytes, cudaStream_t stream) {
    return stream_call("cudaMemsetAsync", stream,
                       [&](model& m, stream_state& s) { return m.set(s, device, value, bytes); });
}
cudaError_t cudaMemset(void* device, int value, std::size_t bytes) {
    return stream_call("cudaMemset", nullptr,
                       [&](model& m, stream_state& s) { return m.set(s, device, value, bytes); });
}

// Kernels.

cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments, std::size_t shared,
                             cudaStream_t stream) {
    return launch(stream, function, grid, block, arguments, shared);
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
    *kernel = reinterpret_cast<cudaKernel_t>(reinterpret_cast<std::uintptr_t>(function));
    return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, std::size_t shared,
                               cudaStream_t stream) {
    return launch(stream, kernel, grid, block, arguments, shared);
}
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared, struct CUstream_st* stream) {
    model& m = model::get();
    const std::lock_guard lock{m.mutex};
    m.thread().launches.emplace_back(grid, block, shared, stream);
    return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared, void* stream) {
    model& m = model::get();
    const std::lock_guard lock{m.mutex};
    auto& launches = m.thread().launches;
    if (launches.empty()) return cudaErrorUnknown;
    cudaStream_t handle = nullptr;
    std::tie(*grid, *block, *shared, handle) = launches.back();
    std::memcpy(stream, &handle, sizeof handle);
    launches.pop_back();
    return cudaSuccess;
}
void** __cudaRegisterFatBinary(void*) {
    static void* handle = nullptr;
    return &handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void**, const char* host, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*,
                            int*) {
    detail::kernel_table::get().names[host] = name;
}
void __cudaRegisterVar(void**, char*, char*, const char*, int, std::size_t, int, int) {}
char __cudaInitModule(void**) { return 1; }

// For cufile_double.cpp.

void* cuda_double_shadow(void* device, std::size_t bytes) {
    model& m = model::get();
    const std::lock_guard lock{m.mutex};
    return m.write_directly(device, bytes);
}
void cuda_double_storage(const char* text) {
    model& m = model::get();
    const std::lock_guard lock{m.mutex};
    m.report(kind::storage, text);
}
bool cuda_double_is_allocated(const void* device, std::size_t bytes) {
    model& m = model::get();
    const std::lock_guard lock{m.mutex};
    if (!m.is_device_address(device)) return false;
    const detail::region* const r = m.find(device);
    const auto address = reinterpret_cast<std::uintptr_t>(device);
    return r != nullptr && !r->freed && !r->giving_back && bytes <= r->bytes - (address - r->begin);
}

} // extern "C"
