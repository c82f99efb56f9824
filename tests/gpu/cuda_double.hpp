// tests/gpu/cuda_double.hpp: a double of the CUDA runtime that a test links instead of the runtime.
//
// SPDX-License-Identifier: MIT
// In:      calls of the runtime, from plain C++ or from objects of nvcc; bodies for kernels, written for the host.
// Out:     what the calls do, on shadow memory; what was wrong with them, as a list.
// Refuses: nothing by itself: a wrong program gets the runtime's error code where the runtime would notice, and always
//          a violation.
//
// Device pointers are addresses that the host cannot touch; behind each allocation lies shadow memory that starts as
// garbage. Work may be done at any moment that its ordering allows, and the mode says which one is taken:
//   eager   at once;
//   lazy    at the last moment: when somebody waits for it, or has asked for it `polls` times;
//   random  at any moment, by the seed.
// Two pieces of work that nothing orders are a race in every mode. "Orders" means a stream, an event that another
// stream waits for, the NULL stream, or a wait by the host before the second was issued. The double cannot see how
// threads of the host wait for each other, so what one of them waited for counts as known to all of them.
//
// A call that `fail_call` makes fail has no effect, except that one that gives something back still does (freeing
// reports what went wrong earlier, so nobody can do more than call it).
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace cuda_double {

enum class mode : std::uint8_t { eager, lazy, random };

struct options {
    mode how{mode::eager};
    std::uint64_t seed{1};
    int devices{2};
    std::size_t memory{std::size_t{8} << 30}; ///< of each device
    int driver_version{CUDART_VERSION}; ///< below 12.8 there are no batches; of a lower major version nothing works
    int runtime_version{CUDART_VERSION};
    int polls{3}; ///< how often a query says "not ready" before the lazy mode does the work
    std::size_t most_registered{~std::size_t{0}};          ///< by one call of cudaHostRegister
    std::size_t most_registered_together{~std::size_t{0}}; ///< by all of them
    std::size_t most_allocated{~std::size_t{0}};           ///< by one call of cudaHostAlloc
    bool failed_wait_waits{false};                         ///< whether a wait that `fail_call` makes fail has waited
    std::function<void()> registering{};                   ///< called where cudaHostRegister begins
};

enum class kind : std::uint8_t {
    race,                 ///< work on the same bytes that nothing orders
    source_changed,       ///< the source of a copy changed between the call and the copy
    pageable,             ///< an asynchronous copy from or to host memory that is not registered
    out_of_bounds,        ///< past the end of an allocation or of registered memory
    bad_pointer,          ///< no such allocation or registration, or the other side's pointer
    use_after_free,       ///< work on memory after it was freed, or not ordered before its cudaFreeAsync
    unordered_allocation, ///< work on memory that is not ordered after its cudaMallocAsync
    freed_in_use,         ///< freed or unregistered while nobody knew its work to be done
    destroyed_in_use,     ///< a stream destroyed while nobody knew its work to be done
    bad_handle,           ///< a stream or event that does not exist, any more or yet
    wrong_device,         ///< a stream, event or memory of another device than the call needs
    read_only_memory,     ///< a write to memory that is registered for reading
    private_mapping,      ///< registers private pages of a file, which are copied then
    unfinished_read,      ///< `read` of bytes whose work nobody knew to be done
    unknown_kernel,       ///< a launch of what has no body
    bad_launch,           ///< a grid or block that no device takes
    capture_spoiled,      ///< a call that ends the capture of a stream, by another thread or this one
    storage,              ///< misuse of GPUDirect Storage, see cufile_double.cpp
    unfinished_work,      ///< at the end: work that nobody waited for
    leaked_memory,
    leaked_registration,
    leaked_stream,
    leaked_event,
    device_not_restored, ///< at the end: another device is current than at the start
};
[[nodiscard]] const char* name(kind what);

struct violation {
    kind what;
    std::string text;
};

struct counters {
    std::uint64_t copies{0}; ///< issued; those of batches each
    std::uint64_t copied_bytes{0};
    std::uint64_t batches{0};
    std::uint64_t kernels{0};
    std::uint64_t peer_bytes{0};   ///< copied between devices, over their link
    std::uint64_t staged_bytes{0}; ///< copied between devices by way of the host: neither can access the other
    std::size_t registered_bytes{0};
    std::size_t peak_registered_bytes{0};
    std::vector<std::size_t> device_bytes{};
    std::vector<std::size_t> peak_device_bytes{};
};

/// Starts anew: everything is gone but the bodies of kernels. No thread may be inside a call.
void reset(const options& with = {});
/// Adds what only the end can tell: leaks, work that nobody waited for, another device current than this one.
void end(int device = 0);
[[nodiscard]] std::vector<violation> violations();
[[nodiscard]] std::size_t count(kind what);
/// All violations as lines, for messages of tests.
[[nodiscard]] std::string report();

/// Makes the n-th call since `reset` fail, counting from 1. After a sticky error every later call on the device that is
/// current then fails with it, and its work is lost.
void fail_call(std::uint64_t n, cudaError_t error, bool sticky = false);
[[nodiscard]] std::uint64_t calls();
/// The names of the calls since `reset`.
[[nodiscard]] std::vector<const char*> log();
[[nodiscard]] counters totals();

/// The bytes of device memory, without waiting for anything.
[[nodiscard]] std::vector<std::byte> read(const void* device, std::size_t bytes);
void set_memory(int device, std::size_t bytes);
/// Whether a device can access the memory of another; at first all can. Programs must enable it all the same.
void set_peer_access(int device, int other, bool can);
/// Whether the device has a context: it was made current, or was so when a call needed one.
[[nodiscard]] bool has_context(int device);
void set_attribute(int device, cudaDeviceAttr attribute, int value);

/// What the body of a kernel works with. Each access says how much it touches; one that is wrong ends the kernel.
class kernel {
  public:
    dim3 grid;
    dim3 block;
    std::size_t shared_bytes{0};

    template <class T> [[nodiscard]] std::span<const T> read(const T* device, std::size_t elements) {
        return {static_cast<const T*>(access(device, elements * sizeof(T), true, false)), elements};
    }
    template <class T> [[nodiscard]] std::span<T> write(T* device, std::size_t elements) {
        return {static_cast<T*>(access(device, elements * sizeof(T), false, true)), elements};
    }
    template <class T> [[nodiscard]] std::span<T> update(T* device, std::size_t elements) {
        return {static_cast<T*>(access(device, elements * sizeof(T), true, true)), elements};
    }

  protected:
    kernel(dim3 g, dim3 b, std::size_t shared) : grid{g}, block{b}, shared_bytes{shared} {}
    ~kernel() = default;
    kernel(const kernel&) = default;
    kernel& operator=(const kernel&) = default;
    virtual void* access(const void* device, std::size_t bytes, bool reads, bool writes) = 0;
};

/// Copies the arguments of a launch and gives the work to do with them.
using launcher = std::function<std::function<void(kernel&)>(void** arguments)>;

template <class... Args, class Body> [[nodiscard]] launcher make_launcher(Body body) {
    return [body](void** arguments) -> std::function<void(kernel&)> {
        const auto values = [&]<std::size_t... I>(std::index_sequence<I...>) {
            return std::tuple<Args...>{*static_cast<const Args*>(arguments[I])...};
        }(std::index_sequence_for<Args...>{});
        return [body, values](kernel& k) { std::apply([&](const Args&... a) { body(k, a...); }, values); };
    };
}

void set_body(const void* function, launcher with);
void set_body(std::string_view name, launcher with);

/// What a kernel does, given the function that the host launches.
template <class... Args, class Body> void implement(void (*function)(Args...), Body body) {
    set_body(reinterpret_cast<const void*>(function), make_launcher<Args...>(body));
}
/// The same by name, mangled, or a part of the demangled one such as "widen<float>": for instances of templates.
template <class... Args, class Body> void implement(std::string_view name, Body body) {
    set_body(name, make_launcher<Args...>(body));
}

} // namespace cuda_double
