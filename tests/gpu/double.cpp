// tests/gpu/double.cpp: the double of the CUDA runtime finds what is wrong, and nothing in what is right.
//
// SPDX-License-Identifier: MIT
#include "cuda_double.hpp"
#include "kernels.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace double_test {

using cuda_double::kind;
using cuda_double::mode;

namespace {

constexpr std::size_t bytes = 4096;

/// How a program runs: all that the double may do with it.
const std::vector<cuda_double::options>& ways() {
    static const std::vector<cuda_double::options> all = [] {
        std::vector<cuda_double::options> out(2);
        out[1].how = mode::lazy;
        for (std::uint64_t seed = 1; seed <= 8; ++seed) {
            cuda_double::options random;
            random.how = mode::random;
            random.seed = seed;
            out.push_back(random);
        }
        return out;
    }();
    return all;
}

void wait(cudaStream_t stream) { cudaStreamSynchronize(stream); }

/// What most programs need, given back at the end as it should be.
struct rig {
    cudaStream_t a{};
    cudaStream_t b{};
    cudaEvent_t event{};
    std::byte* host{nullptr};
    std::byte* device{nullptr};

    rig() {
        cudaStreamCreateWithFlags(&a, cudaStreamNonBlocking);
        cudaStreamCreateWithFlags(&b, cudaStreamNonBlocking);
        cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
        void* p = nullptr;
        cudaHostAlloc(&p, bytes, cudaHostAllocDefault);
        host = static_cast<std::byte*>(p);
        if (host != nullptr) std::memset(host, 1, bytes);
        cudaMalloc(&p, bytes);
        device = static_cast<std::byte*>(p);
    }
    rig(const rig&) = delete;
    rig& operator=(const rig&) = delete;
    ~rig() {
        cudaDeviceSynchronize();
        if (device != nullptr) cudaFree(device);
        if (host != nullptr) cudaFreeHost(host);
        cudaEventDestroy(event);
        cudaStreamDestroy(b);
        cudaStreamDestroy(a);
    }

    cudaError_t up(cudaStream_t stream, std::size_t n = bytes) const {
        return cudaMemcpyAsync(device, host, n, cudaMemcpyHostToDevice, stream);
    }
    cudaError_t down(cudaStream_t stream, std::size_t n = bytes) const {
        return cudaMemcpyAsync(host, device, n, cudaMemcpyDeviceToHost, stream);
    }
};

// A kernel of the tests: functions whose addresses are launched, and what they do.
void fill(float* /*to*/, std::size_t /*n*/, float /*value*/) {}
void no_body(int /*unused*/) {}

void implement_fill() {
    cuda_double::implement(&fill, [](cuda_double::kernel& k, float* to, std::size_t n, float value) {
        for (float& f : k.write(to, n)) f = value;
    });
}

cudaError_t launch_fill(std::byte* to, std::size_t n, float value, cudaStream_t stream, dim3 grid = 1, dim3 block = 1) {
    auto* p = reinterpret_cast<float*>(to);
    void* arguments[] = {&p, &n, &value};
    return cudaLaunchKernel(reinterpret_cast<const void*>(&fill), grid, block, arguments, 0, stream);
}

enum class seen : std::uint8_t {
    always,
    when_late
}; ///< when late: not in the eager mode, and maybe not in the random one

/// Each way of running: the wrong program is caught as what it is, its right twin as nothing.
template <class Program> void caught(kind what, Program program, seen when = seen::always) {
    bool once = false;
    for (const cuda_double::options& way : ways()) {
        CAPTURE(static_cast<int>(way.how));
        CAPTURE(way.seed);
        cuda_double::reset(way);
        program(true);
        cuda_double::end();
        CHECK(cuda_double::report() == "");
        cuda_double::reset(way);
        program(false);
        cuda_double::end();
        const bool found = cuda_double::count(what) != 0;
        once = once || (found && way.how == mode::random);
        const std::string said = cuda_double::report();
        CAPTURE(said);
        if (when == seen::always || way.how == mode::lazy) CHECK(found);
        if (when == seen::when_late && way.how == mode::eager) CHECK(!found);
    }
    CHECK(once);
}

TEST_CASE("a race of copies in two streams") {
    caught(kind::race, [](bool right) {
        const rig r;
        r.up(r.a);
        if (right) {
            cudaEventRecord(r.event, r.a);
            cudaStreamWaitEvent(r.b, r.event, 0);
        }
        cudaMemsetAsync(r.device + 100, 0, 10, r.b);
    });
}

TEST_CASE("a race where the event is recorded too early") {
    caught(kind::race, [](bool right) {
        const rig r;
        if (!right) cudaEventRecord(r.event, r.a);
        r.up(r.a);
        if (right) cudaEventRecord(r.event, r.a);
        cudaStreamWaitEvent(r.b, r.event, 0);
        cudaMemsetAsync(r.device, 0, 10, r.b);
    });
}

TEST_CASE("a race of a kernel and a copy, either first") {
    implement_fill();
    for (const bool kernel_first : {false, true}) {
        caught(kind::race, [&](bool right) {
            const rig r;
            if (kernel_first) launch_fill(r.device, bytes / 4, 1, r.a);
            else r.up(r.a);
            if (right) wait(r.a);
            if (kernel_first) r.up(r.b);
            else launch_fill(r.device, bytes / 4, 1, r.b);
        });
    }
}

TEST_CASE("two reads are no race, a read and a write are one") {
    caught(kind::race, [](bool right) {
        const rig r;
        r.up(r.a);
        wait(r.a);
        void* other = nullptr;
        cudaHostAlloc(&other, bytes, 0);
        r.down(r.a);
        if (right) cudaMemcpyAsync(other, r.device, bytes, cudaMemcpyDeviceToHost, r.b);
        else cudaMemcpyAsync(r.device, other, bytes, cudaMemcpyHostToDevice, r.b);
        cudaDeviceSynchronize();
        cudaFreeHost(other);
    });
}

TEST_CASE("a race on host memory") {
    caught(kind::race, [](bool right) {
        const rig r;
        r.up(r.a);
        if (right) wait(r.a);
        cudaMemcpyAsync(r.host, r.device, bytes, cudaMemcpyDeviceToHost, right ? r.b : r.a);
        if (!right) r.up(r.b);
    });
}

TEST_CASE("an event carries what its stream had waited for") {
    caught(kind::race, [](bool right) {
        const rig r;
        cudaStream_t c = nullptr;
        cudaStreamCreateWithFlags(&c, cudaStreamNonBlocking);
        r.up(r.a);
        cudaEventRecord(r.event, r.a);
        if (right) cudaStreamWaitEvent(r.b, r.event, 0);
        cudaEventRecord(r.event, r.b);
        cudaStreamWaitEvent(c, r.event, 0);
        cudaMemsetAsync(r.device, 0, bytes, c);
        cudaDeviceSynchronize();
        cudaStreamDestroy(c);
    });
}

TEST_CASE("the NULL stream orders streams that do not say otherwise, before it and after it") {
    for (const bool null_first : {false, true}) {
        caught(kind::race, [&](bool right) {
            const rig r;
            cudaStream_t s = nullptr;
            if (right) cudaStreamCreate(&s);
            else cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking);
            r.up(null_first ? nullptr : s);
            cudaMemsetAsync(r.device, 0, bytes, null_first ? s : nullptr);
            cudaDeviceSynchronize();
            cudaStreamDestroy(s);
        });
    }
}

TEST_CASE("copies of one batch that overlap") {
    caught(kind::race, [](bool right) {
        const rig r;
        void* const dsts[] = {r.device, r.device + (right ? 100 : 99)};
        const void* const srcs[] = {r.host, r.host};
        const std::size_t sizes[] = {100, 100};
        cudaMemcpyAttributes attributes{};
        attributes.srcAccessOrder = cudaMemcpySrcAccessOrderStream;
        std::size_t first = 0;
        CHECK(cudaMemcpyBatchAsync(dsts, srcs, sizes, 2, &attributes, &first, 1, r.a) == cudaSuccess);
        wait(r.a);
        CHECK(cuda_double::totals().copies == 2);
        CHECK(cuda_double::totals().batches == 1);
        if (right) CHECK(cuda_double::read(r.device, 200) == std::vector<std::byte>(200, std::byte{1}));
    });
}

TEST_CASE("a copy of a batch that writes what another one reads") {
    caught(kind::race, [](bool right) {
        const rig r;
        r.up(r.a);
        void* const dsts[] = {r.device + 200, r.device + (right ? 400 : 0)};
        const void* const srcs[] = {r.device, r.device};
        const std::size_t sizes[] = {100, 100};
        cudaMemcpyAttributes attributes{};
        attributes.srcAccessOrder = cudaMemcpySrcAccessOrderStream;
        std::size_t first = 0;
        cudaMemcpyBatchAsync(dsts, srcs, sizes, 2, &attributes, &first, 1, r.a);
    });
}

TEST_CASE("a slot is filled again before its copy is done") {
    caught(
        kind::source_changed,
        [](bool right) {
            const rig r;
            r.up(r.a);
            cudaEventRecord(r.event, r.a);
            if (right) cudaEventSynchronize(r.event);
            r.host[17] = std::byte{2};
            cudaMemcpyAsync(r.device, r.host, bytes, cudaMemcpyHostToDevice, r.a);
        },
        seen::when_late);
}

TEST_CASE("a query that says no is not taken for yes") {
    caught(
        kind::source_changed,
        [](bool right) {
            const rig r;
            r.up(r.a);
            cudaEventRecord(r.event, r.a);
            while (cudaEventQuery(r.event) == cudaErrorNotReady)
                if (!right) break;
            r.host[17] = std::byte{2};
        },
        seen::when_late);
}

TEST_CASE("a query that says yes is a wait") {
    caught(
        kind::freed_in_use,
        [](bool right) {
            rig r;
            r.up(r.a);
            cudaEventRecord(r.event, r.a);
            while (cudaEventQuery(r.event) == cudaErrorNotReady)
                if (!right) break;
            cudaFree(r.device);
            r.device = nullptr;
        },
        seen::when_late);
}

TEST_CASE("pageable memory in an asynchronous copy") {
    caught(kind::pageable, [](bool right) {
        const rig r;
        std::vector<std::byte> pageable(bytes, std::byte{9});
        if (right) cudaHostRegister(pageable.data(), bytes, 0);
        cudaMemcpyAsync(r.device, pageable.data(), bytes, cudaMemcpyHostToDevice, r.a);
        wait(r.a);
        cudaMemcpyAsync(pageable.data(), r.device, bytes, cudaMemcpyDeviceToHost, r.a);
        if (right) wait(r.a);
        CHECK(pageable == std::vector<std::byte>(bytes, std::byte{9}));
        if (right) cudaHostUnregister(pageable.data());
        CHECK(cuda_double::count(kind::pageable) == (right ? 0 : 2));
    });
}

TEST_CASE("a copy past the end, of the device's memory or of the host's") {
    for (const bool of_device : {false, true}) {
        caught(kind::out_of_bounds, [&](bool right) {
            const rig r;
            void* longer = nullptr;
            if (of_device) cudaHostAlloc(&longer, 2 * bytes, 0);
            else cudaMalloc(&longer, 2 * bytes);
            const std::size_t n = bytes + !right;
            const cudaError_t got = of_device ? cudaMemcpyAsync(r.device, longer, n, cudaMemcpyHostToDevice, r.a)
                                              : cudaMemcpyAsync(longer, r.host, n, cudaMemcpyHostToDevice, r.a);
            CHECK(got == (right ? cudaSuccess : cudaErrorInvalidValue));
            wait(r.a);
            of_device ? cudaFreeHost(longer) : cudaFree(longer);
        });
    }
}

TEST_CASE("a kernel past the end breaks the device") {
    implement_fill();
    caught(kind::out_of_bounds, [](bool right) {
        const rig r;
        launch_fill(r.device, bytes / 4 + !right, 1, r.a);
        CHECK(cudaStreamSynchronize(r.a) == (right ? cudaSuccess : cudaErrorIllegalAddress));
        CHECK(cudaStreamSynchronize(r.b) == (right ? cudaSuccess : cudaErrorIllegalAddress));
        CHECK(r.up(r.a) == (right ? cudaSuccess : cudaErrorIllegalAddress));
        cudaSetDevice(1);
        CHECK(cudaDeviceSynchronize() == cudaSuccess);
        cudaSetDevice(0);
    });
}

TEST_CASE("pointers of the other side, or of nobody") {
    caught(kind::bad_pointer, [](bool right) {
        const rig r;
        const auto direction = right ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost;
        CHECK(cudaMemcpyAsync(r.device, r.host, bytes, direction, r.a) ==
              (right ? cudaSuccess : cudaErrorInvalidValue));
    });
    caught(kind::bad_pointer, [](bool right) {
        const rig r;
        if (!right) CHECK(cudaFree(r.device + 256) == cudaErrorInvalidValue);
    });
    caught(kind::bad_pointer, [](bool right) {
        const rig r;
        CHECK(cudaHostRegister(r.host, bytes, 0) == cudaErrorHostMemoryAlreadyRegistered);
        CHECK(cudaHostRegister(r.device + 2 * bytes, bytes, cudaHostRegisterReadOnly) == cudaErrorInvalidValue);
        if (!right) CHECK(cudaHostUnregister(r.host) == cudaErrorHostMemoryNotRegistered);
    });
}

TEST_CASE("memory is used after it was freed") {
    caught(kind::use_after_free, [](bool right) {
        const rig r;
        void* other = nullptr;
        cudaMalloc(&other, bytes);
        if (!right) cudaFree(other);
        cudaMemcpyAsync(other, r.host, bytes, cudaMemcpyHostToDevice, r.a);
        wait(r.a);
        cudaFree(other);
    });
}

TEST_CASE("memory is used after cudaFreeAsync, or without being ordered before it") {
    caught(kind::use_after_free, [](bool right) {
        const rig r;
        void* p = nullptr;
        cudaMallocAsync(&p, bytes, r.a);
        if (right) cudaMemcpyAsync(p, r.host, bytes, cudaMemcpyHostToDevice, r.a);
        cudaFreeAsync(p, r.a);
        if (!right) cudaMemcpyAsync(p, r.host, bytes, cudaMemcpyHostToDevice, r.a);
    });
    caught(kind::use_after_free, [](bool right) {
        const rig r;
        void* p = nullptr;
        cudaMallocAsync(&p, bytes, r.a);
        wait(r.a);
        cudaMemcpyAsync(p, r.host, bytes, cudaMemcpyHostToDevice, r.b);
        cudaEventRecord(r.event, r.b);
        if (right) cudaStreamWaitEvent(r.a, r.event, 0);
        cudaFreeAsync(p, r.a);
    });
}

TEST_CASE("memory of a pool is used in another stream without being ordered after its allocation") {
    caught(kind::unordered_allocation, [](bool right) {
        const rig r;
        void* p = nullptr;
        cudaMallocAsync(&p, bytes, r.a);
        cudaEventRecord(r.event, r.a);
        if (right) cudaStreamWaitEvent(r.b, r.event, 0);
        cudaMemcpyAsync(p, r.host, bytes, cudaMemcpyHostToDevice, r.b);
        cudaEventRecord(r.event, r.b);
        cudaStreamWaitEvent(r.a, r.event, 0);
        cudaFreeAsync(p, r.a);
    });
}

TEST_CASE("memory is freed or unregistered while work on it goes on") {
    caught(kind::freed_in_use, [](bool right) {
        rig r;
        r.up(r.a);
        if (right) wait(r.a);
        cudaFree(r.device);
        r.device = nullptr;
    });
    caught(kind::freed_in_use, [](bool right) {
        const rig r;
        void* const p = std::aligned_alloc(bytes, bytes);
        std::memset(p, 3, bytes);
        cudaHostRegister(p, bytes, 0);
        cudaMemcpyAsync(r.device, p, bytes, cudaMemcpyHostToDevice, r.a);
        if (right) wait(r.a);
        cudaHostUnregister(p);
        std::memset(p, 4, bytes);
        wait(r.a);
        CHECK(cuda_double::count(kind::source_changed) == 0); // one violation is enough
        std::free(p);
    });
    implement_fill();
    caught(kind::freed_in_use, [](bool right) {
        rig r;
        launch_fill(r.device, 8, 1, r.a);
        if (right) wait(r.a);
        cudaFree(r.device);
        r.device = nullptr;
    });
}

TEST_CASE("a stream is destroyed while its work goes on") {
    caught(kind::destroyed_in_use, [](bool right) {
        const rig r;
        cudaStream_t s = nullptr;
        cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking);
        r.up(s);
        if (right) wait(s);
        cudaStreamDestroy(s);
    });
}

TEST_CASE("handles that do not exist any more") {
    caught(kind::bad_handle, [](bool right) {
        const rig r;
        cudaEvent_t e = nullptr;
        cudaEventCreateWithFlags(&e, 0);
        if (!right) cudaEventDestroy(e);
        CHECK(cudaEventRecord(e, r.a) == (right ? cudaSuccess : cudaErrorInvalidResourceHandle));
        if (right) cudaEventDestroy(e);
    });
    caught(kind::bad_handle, [](bool right) {
        cudaStream_t s = nullptr;
        cudaStreamCreate(&s);
        cudaStreamDestroy(s);
        if (!right) CHECK(cudaStreamSynchronize(s) == cudaErrorInvalidResourceHandle);
    });
}

TEST_CASE("another device is current than a launch, an event or memory needs") {
    implement_fill();
    caught(kind::wrong_device, [](bool right) {
        const rig r;
        if (!right) cudaSetDevice(1);
        launch_fill(r.device, 8, 1, r.a);
        cudaSetDevice(0);
    });
    caught(kind::wrong_device, [](bool right) {
        const rig r;
        cudaEvent_t e = nullptr;
        if (!right) cudaSetDevice(1);
        cudaEventCreateWithFlags(&e, 0);
        cudaSetDevice(0);
        cudaEventRecord(e, r.a);
        cudaEventDestroy(e);
    });
    caught(kind::wrong_device, [](bool right) {
        const rig r;
        cudaSetDevice(1);
        void* p = nullptr;
        cudaMalloc(&p, bytes);
        cudaStream_t s = nullptr;
        cudaStreamCreate(&s);
        cudaSetDevice(0);
        cudaMemcpyAsync(p, r.host, bytes, cudaMemcpyHostToDevice, right ? s : r.a);
        wait(right ? s : r.a);
        std::byte back{};
        CHECK(cudaMemcpy(&back, p, 1, cudaMemcpyDeviceToHost) == cudaSuccess); // from whatever device
        cudaMemcpyPeerAsync(r.device, 0, p, right ? 1 : 0, bytes, r.a);
        wait(r.a);
        cudaFree(p);
        cudaStreamDestroy(s);
    });
}

TEST_CASE("a call that ends the capture of a stream, in another thread or the same") {
    for (const auto how : {cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal, cudaStreamCaptureModeRelaxed})
        for (const bool same_thread : {false, true}) {
            const bool forbids =
                how == cudaStreamCaptureModeGlobal || (how != cudaStreamCaptureModeRelaxed && same_thread);
            const auto program = [&](bool right) {
                const rig r;
                CHECK(cudaStreamBeginCapture(r.a, how) == cudaSuccess);
                const auto other = [&] {
                    cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
                    if (right) CHECK(cudaThreadExchangeStreamCaptureMode(&mode) == cudaSuccess);
                    void* p = nullptr;
                    const auto got = cudaMalloc(&p, bytes);
                    CHECK(got == (right || !forbids ? cudaSuccess : cudaErrorStreamCaptureUnsupported));
                    if (got == cudaSuccess) CHECK(cudaFree(p) == cudaSuccess);
                    if (right) CHECK(cudaThreadExchangeStreamCaptureMode(&mode) == cudaSuccess);
                    if (right) CHECK(mode == cudaStreamCaptureModeRelaxed);
                };
                if (same_thread) other();
                else std::thread{other}.join();
                cudaGraph_t graph{};
                CHECK(cudaStreamEndCapture(r.a, &graph) ==
                      (right || !forbids ? cudaSuccess : cudaErrorStreamCaptureInvalidated));
            };
            if (forbids) caught(kind::capture_spoiled, program);
            else program(false);
        }
}

/// A mapping of a file of two pages.
struct mapped_file {
    std::FILE* file{std::tmpfile()};
    void* at{nullptr};

    mapped_file(int rights, int sharing) {
        REQUIRE(ftruncate(fileno(file), 2 * bytes) == 0);
        at = mmap(nullptr, 2 * bytes, rights, sharing, fileno(file), 0);
        REQUIRE(at != MAP_FAILED);
    }
    mapped_file(const mapped_file&) = delete;
    mapped_file& operator=(const mapped_file&) = delete;
    ~mapped_file() {
        munmap(at, 2 * bytes);
        std::fclose(file);
    }
};

TEST_CASE("a mapping for reading is registered so, and never written to") {
    caught(kind::read_only_memory, [](bool right) {
        const rig r;
        const mapped_file map(PROT_READ, MAP_SHARED);
        CHECK(cudaHostRegister(map.at, 2 * bytes, cudaHostRegisterDefault) == cudaErrorInvalidValue);
        CHECK(cudaHostRegister(map.at, 2 * bytes, cudaHostRegisterReadOnly) == cudaSuccess);
        const cudaError_t got = right ? cudaMemcpyAsync(r.device, map.at, bytes, cudaMemcpyHostToDevice, r.a)
                                      : cudaMemcpyAsync(map.at, r.device, bytes, cudaMemcpyDeviceToHost, r.a);
        CHECK(got == (right ? cudaSuccess : cudaErrorInvalidValue));
        wait(r.a);
        cudaHostUnregister(map.at);
    });
    cuda_double::reset();
    cuda_double::set_attribute(0, cudaDevAttrHostRegisterReadOnlySupported, 0);
    const mapped_file map(PROT_READ, MAP_SHARED);
    CHECK(cudaHostRegister(map.at, 2 * bytes, cudaHostRegisterReadOnly) == cudaErrorNotSupported);
}

TEST_CASE("private pages of a file are registered") {
    caught(kind::private_mapping, [](bool right) {
        const mapped_file map(PROT_READ, right ? MAP_SHARED : MAP_PRIVATE);
        CHECK(cudaHostRegister(map.at, 2 * bytes, cudaHostRegisterReadOnly) == cudaSuccess);
        cudaHostUnregister(map.at);
    });
}

TEST_CASE("a result is read that nobody waited for") {
    caught(kind::unfinished_read, [](bool right) {
        const rig r;
        r.up(r.a);
        wait(right ? r.a : r.b);
        CHECK(cuda_double::read(r.device + 10, 20) == std::vector<std::byte>(20, std::byte{1}));
    });
    caught(
        kind::source_changed,
        [](bool right) { // and by the host: the destination of a copy is garbage until somebody waits
            const rig r;
            r.up(r.a);
            wait(r.a);
            r.down(r.a);
            if (right) wait(r.a);
            if (r.host[5] != std::byte{1}) r.up(r.b), wait(r.a), wait(r.b);
        },
        seen::when_late);
}

TEST_CASE("a kernel without a body, and grids that no device takes") {
    implement_fill();
    caught(kind::unknown_kernel, [](bool right) {
        const rig r;
        int argument = 0;
        void* arguments[] = {&argument};
        if (right) return;
        CHECK(cudaLaunchKernel(reinterpret_cast<const void*>(&no_body), 1, 1, arguments, 0, r.a) ==
              cudaErrorInvalidDeviceFunction);
    });
    for (const dim3 wrong : {dim3{0, 1, 1}, dim3{1, 65536, 1}}) {
        caught(kind::bad_launch, [&](bool right) {
            const rig r;
            CHECK(launch_fill(r.device, 8, 1, r.a, right ? dim3{1, 65535, 1} : wrong) ==
                  (right ? cudaSuccess : cudaErrorInvalidConfiguration));
        });
    }
    caught(kind::bad_launch, [](bool right) {
        const rig r;
        launch_fill(r.device, 8, 1, r.a, 1, dim3{32, right ? 32u : 33u, 1});
    });
}

TEST_CASE("what is left at the end") {
    caught(kind::unfinished_work, [](bool right) {
        void *host = nullptr, *device = nullptr;
        cudaHostAlloc(&host, bytes, 0);
        cudaMalloc(&device, bytes);
        cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, nullptr);
        if (!right) return;
        wait(nullptr);
        cudaFree(device);
        cudaFreeHost(host);
    });
    caught(kind::leaked_memory, [](bool right) {
        void* p = nullptr;
        cudaMalloc(&p, bytes);
        if (right) cudaFree(p);
    });
    caught(kind::leaked_memory, [](bool right) {
        void* p = nullptr;
        cudaMallocAsync(&p, bytes, nullptr);
        if (right) cudaFreeAsync(p, nullptr);
    });
    caught(kind::leaked_registration, [](bool right) {
        alignas(bytes) static std::byte memory[bytes];
        cudaHostRegister(memory, bytes, 0);
        if (right) cudaHostUnregister(memory);
    });
    caught(kind::leaked_stream, [](bool right) {
        cudaStream_t s = nullptr;
        cudaStreamCreate(&s);
        if (right) cudaStreamDestroy(s);
    });
    caught(kind::leaked_event, [](bool right) {
        cudaEvent_t e = nullptr;
        cudaEventCreate(&e);
        if (right) cudaEventDestroy(e);
    });
    caught(kind::device_not_restored, [](bool right) {
        cudaSetDevice(1);
        if (right) cudaSetDevice(0);
    });
}

TEST_CASE("the host cannot touch what a device pointer points to") {
    cuda_double::reset();
    void* p = nullptr;
    REQUIRE(cudaMalloc(&p, bytes) == cudaSuccess);
    const pid_t child = fork();
    if (child == 0) {
        std::signal(SIGSEGV, SIG_DFL);
        _exit(*static_cast<volatile char*>(p));
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(!(WIFEXITED(status) && WEXITSTATUS(status) == 0));
    CHECK(cuda_double::read(p, 3) == std::vector<std::byte>(3, std::byte{0xA5}));
    cudaFree(p);
}

TEST_CASE("an event means its last record, and nothing before the first") {
    for (const cuda_double::options& way : ways()) {
        cuda_double::reset(way);
        {
            const rig r;
            CHECK(cudaEventQuery(r.event) == cudaSuccess);
            CHECK(cudaEventSynchronize(r.event) == cudaSuccess);
            CHECK(cudaStreamWaitEvent(r.b, r.event, 0) == cudaSuccess);
            cudaEventRecord(r.event, r.a);
            cudaStreamWaitEvent(r.b, r.event, 0); // waits for the record before, which the next does not change
            r.up(r.a);
            cudaEventRecord(r.event, r.a);
            CHECK(cudaStreamSynchronize(r.b) == cudaSuccess);
            if (way.how == mode::lazy) CHECK(cudaEventQuery(r.event) == cudaErrorNotReady);
            cudaEventSynchronize(r.event);
            CHECK(cudaEventQuery(r.event) == cudaSuccess);
            CHECK(cudaStreamQuery(r.a) == cudaSuccess);
            CHECK(cuda_double::read(r.device, bytes) == std::vector<std::byte>(bytes, std::byte{1}));
        }
        cuda_double::end();
        CHECK(cuda_double::report() == "");
    }
}

TEST_CASE("the lazy mode does nothing that nobody waits for, and gives in to those who keep asking") {
    cuda_double::options way;
    way.how = mode::lazy;
    way.polls = 2;
    cuda_double::reset(way);
    const rig r;
    r.up(r.a);
    cudaEventRecord(r.event, r.a);
    CHECK(cudaEventQuery(r.event) == cudaErrorNotReady);
    CHECK(cudaGetLastError() == cudaErrorNotReady);
    CHECK(cudaEventQuery(r.event) == cudaErrorNotReady);
    CHECK(cudaEventQuery(r.event) == cudaSuccess);
}

TEST_CASE("the eager mode does everything at once") {
    cuda_double::reset();
    const rig r;
    r.up(r.a);
    CHECK(cudaStreamQuery(r.a) == cudaSuccess);
}

TEST_CASE("through the same host memory there and back, in one stream") {
    for (const cuda_double::options& way : ways()) {
        cuda_double::reset(way);
        {
            const rig r;
            r.up(r.a);
            r.down(r.a);
            wait(r.a);
            CHECK(r.host[7] == std::byte{1});
        }
        cuda_double::end();
        CHECK(cuda_double::report() == "");
    }
}

TEST_CASE("events order work across streams and devices, as deep as it goes") {
    for (const cuda_double::options& way : ways()) {
        cuda_double::reset(way);
        {
            const rig r;
            cudaSetDevice(1);
            cudaStream_t other = nullptr;
            cudaEvent_t back = nullptr;
            void* there = nullptr;
            cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
            cudaEventCreateWithFlags(&back, cudaEventDisableTiming);
            cudaMalloc(&there, bytes);
            cudaSetDevice(0);
            r.up(r.a);
            for (int i = 0; i < 2000; ++i) {
                cudaEventRecord(r.event, r.a);
                cudaStreamWaitEvent(other, r.event, 0);
                cudaMemcpyPeerAsync(there, 1, r.device, 0, bytes, other);
                cudaSetDevice(1);
                cudaEventRecord(back, other);
                cudaSetDevice(0);
                cudaStreamWaitEvent(r.a, back, 0);
                cudaMemsetAsync(r.device, i & 0x7F, bytes, r.a);
            }
            wait(r.a);
            CHECK(cuda_double::read(there, 2) == std::vector<std::byte>(2, std::byte{1998 & 0x7F}));
            CHECK(cuda_double::read(r.device, 2) == std::vector<std::byte>(2, std::byte{1999 & 0x7F}));
            cudaFree(there);
            cudaEventDestroy(back);
            cudaStreamDestroy(other);
        }
        cuda_double::end();
        CHECK(cuda_double::report() == "");
    }
}

TEST_CASE("a copy between devices that does not wait for what it copies, or is not waited for") {
    for (const bool second : {false, true})
        caught(kind::race, [&](bool right) {
            const rig r;
            void* there = nullptr;
            cudaStream_t other{};
            cudaEvent_t behind{};
            cudaSetDevice(1);
            cudaMalloc(&there, bytes);
            cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
            cudaEventCreateWithFlags(&behind, cudaEventDisableTiming);
            r.up(r.a);
            cudaEventRecord(r.event, r.a);
            if (right || second) cudaStreamWaitEvent(other, r.event, 0);
            cudaMemcpyPeerAsync(there, 1, r.device, 0, bytes, other);
            cudaEventRecord(behind, other);
            if (right || !second) cudaStreamWaitEvent(r.a, behind, 0);
            cudaMemsetAsync(r.device, 0, bytes, r.a); // writes what is being copied
            wait(other);
            cudaEventDestroy(behind);
            cudaStreamDestroy(other);
            cudaFree(there);
            cudaSetDevice(0);
        });
}

TEST_CASE("memory is freed that is being copied to another device") {
    caught(kind::freed_in_use, [](bool right) {
        const rig r;
        void *here = nullptr, *there = nullptr;
        cudaStream_t other{};
        cudaMalloc(&here, bytes);
        cudaSetDevice(1);
        cudaMalloc(&there, bytes);
        cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking);
        cudaMemcpyPeerAsync(there, 1, here, 0, bytes, other);
        if (right) wait(other);
        cudaSetDevice(0);
        cudaFree(here);
        cudaSetDevice(1);
        wait(other);
        cudaStreamDestroy(other);
        cudaFree(there);
        cudaSetDevice(0);
    });
}

TEST_CASE("peers: who can access whom is asked, enabled once, and decides how a copy goes") {
    cuda_double::reset({.devices = 3});
    cuda_double::set_peer_access(2, 0, false);
    int can = -1;
    CHECK(cudaDeviceCanAccessPeer(&can, 1, 0) == cudaSuccess);
    CHECK(can == 1);
    CHECK(cudaDeviceCanAccessPeer(&can, 2, 0) == cudaSuccess);
    CHECK(can == 0);
    CHECK(cudaDeviceCanAccessPeer(&can, 1, 1) == cudaSuccess);
    CHECK(can == 0);
    CHECK(cudaDeviceCanAccessPeer(&can, 1, 3) == cudaErrorInvalidDevice);
    CHECK(cudaGetLastError() == cudaErrorInvalidDevice);

    void *here = nullptr, *there = nullptr;
    CHECK(cudaMalloc(&here, bytes) == cudaSuccess);
    CHECK(cudaSetDevice(1) == cudaSuccess);
    CHECK(cudaMalloc(&there, bytes) == cudaSuccess);
    cudaStream_t stream{};
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
    CHECK(cudaMemcpyPeerAsync(there, 1, here, 0, bytes, stream) == cudaSuccess);
    CHECK(cuda_double::totals().staged_bytes == bytes);
    CHECK(cudaDeviceEnablePeerAccess(0, 1) == cudaErrorInvalidValue);
    CHECK(cudaDeviceEnablePeerAccess(1, 0) == cudaErrorInvalidDevice);
    CHECK(cudaDeviceEnablePeerAccess(0, 0) == cudaSuccess);
    CHECK(cudaDeviceEnablePeerAccess(0, 0) == cudaErrorPeerAccessAlreadyEnabled);
    CHECK(cudaGetLastError() == cudaErrorPeerAccessAlreadyEnabled);
    CHECK(cudaMemcpyPeerAsync(there, 1, here, 0, bytes, stream) == cudaSuccess);
    CHECK(cuda_double::totals().peer_bytes == bytes);
    CHECK(cuda_double::totals().staged_bytes == bytes);
    CHECK(cudaDeviceDisablePeerAccess(0) == cudaSuccess);
    CHECK(cudaDeviceDisablePeerAccess(0) == cudaErrorPeerAccessNotEnabled);
    CHECK(cudaSetDevice(2) == cudaSuccess);
    CHECK(cudaDeviceEnablePeerAccess(0, 0) == cudaErrorPeerAccessUnsupported);
    CHECK(cudaSetDevice(1) == cudaSuccess);
    wait(stream);
    CHECK(cudaStreamDestroy(stream) == cudaSuccess);
    CHECK(cudaFree(there) == cudaSuccess);
    CHECK(cudaSetDevice(0) == cudaSuccess);
    CHECK(cudaFree(here) == cudaSuccess);
    cuda_double::end();
    CHECK(cuda_double::report() == "");
}

TEST_CASE("several threads wait while one issues") {
    for (const cuda_double::options& way : ways()) {
        cuda_double::reset(way);
        {
            const rig r;
            r.up(r.a);
            cudaEventRecord(r.event, r.a);
            std::vector<std::thread> threads;
            for (int t = 0; t < 3; ++t)
                threads.emplace_back([&] {
                    for (int i = 0; i < 200; ++i) cudaEventSynchronize(r.event);
                });
            for (int i = 0; i < 200; ++i) {
                r.up(r.a);
                cudaEventRecord(r.event, r.a);
            }
            for (std::thread& t : threads) t.join();
            wait(r.a);
        }
        cuda_double::end();
        CHECK(cuda_double::report() == "");
    }
}

TEST_CASE("each call can be made to fail once") {
    cuda_double::reset();
    { const rig r; }
    const std::uint64_t all = cuda_double::calls();
    CHECK(cuda_double::log().front() == std::string("cudaStreamCreateWithFlags"));
    for (std::uint64_t n = 1; n <= all; ++n) {
        cuda_double::reset();
        cuda_double::fail_call(n, cudaErrorNotPermitted);
        { const rig r; }
        CAPTURE(n);
        CHECK(cudaGetLastError() != cudaSuccess);
        CHECK(cudaGetLastError() == cudaSuccess);
    }
    // What gives back works all the same; what waits does not, unless it is said to.
    for (const bool waits : {false, true}) {
        cuda_double::options way;
        way.how = mode::lazy;
        way.failed_wait_waits = waits;
        cuda_double::reset(way);
        {
            const rig r;
            r.up(r.a);
            cuda_double::fail_call(cuda_double::calls() + 1, cudaErrorUnknown);
            CHECK(cudaStreamSynchronize(r.a) == cudaErrorUnknown);
            CHECK((cudaStreamQuery(r.a) == cudaSuccess) == waits);
        }
        cuda_double::end();
        CHECK(cuda_double::report() == "");
        cuda_double::reset(way);
        void* p = nullptr;
        cudaMalloc(&p, bytes);
        cuda_double::fail_call(2, cudaErrorUnknown);
        CHECK(cudaFree(p) == cudaErrorUnknown);
        cuda_double::end();
        CHECK(cuda_double::report() == "");
    }
}

TEST_CASE("a device that is refused cannot be restored by anybody") {
    cuda_double::reset();
    cuda_double::fail_call(2, cudaErrorUnknown);
    CHECK(cudaSetDevice(1) == cudaSuccess);
    CHECK(cudaSetDevice(0) == cudaErrorUnknown);
    cuda_double::end();
    CHECK(cuda_double::report() == "");
    cuda_double::reset();
    CHECK(cudaSetDevice(2) == cudaErrorInvalidDevice);
}

TEST_CASE("a sticky error stays, for its device") {
    for (const cuda_double::options& way : ways()) {
        cuda_double::reset(way);
        {
            rig r;
            cudaSetDevice(1);
            void* there = nullptr;
            cudaMalloc(&there, bytes);
            cudaMemsetAsync(there, 4, bytes, nullptr);
            cudaSetDevice(0);
            r.up(r.a);
            cuda_double::fail_call(cuda_double::calls() + 1, cudaErrorIllegalAddress, true);
            CHECK(cudaStreamSynchronize(r.a) == cudaErrorIllegalAddress);
            r.host[0] = std::byte{9}; // its copy is lost, or done
            CHECK(r.up(r.a) == cudaErrorIllegalAddress);
            CHECK(cudaGetLastError() == cudaErrorIllegalAddress);
            CHECK(cudaPeekAtLastError() == cudaErrorIllegalAddress);
            CHECK(cudaEventQuery(r.event) == cudaErrorIllegalAddress);
            void* p = nullptr;
            CHECK(cudaMalloc(&p, 1) == cudaErrorIllegalAddress);
            CHECK(cudaFree(r.device) == cudaErrorIllegalAddress);
            r.device = nullptr;
            CHECK(cudaSetDevice(1) == cudaSuccess);
            CHECK(cudaMalloc(&p, 1) == cudaSuccess);
            CHECK(cudaFree(p) == cudaSuccess);
            CHECK(cudaDeviceSynchronize() == cudaSuccess);
            CHECK(cuda_double::read(there, 2) == std::vector<std::byte>(2, std::byte{4}));
            CHECK(cudaFree(there) == cudaSuccess);
            CHECK(cudaSetDevice(0) == cudaErrorIllegalAddress);
        }
        cuda_double::end();
        CHECK(cuda_double::report() == "");
    }
}

TEST_CASE("memory ends, and what a pool gives back counts") {
    for (const cuda_double::options& way : ways()) {
        cuda_double::reset(way);
        cuda_double::set_memory(0, 10'000);
        void *p = nullptr, *q = nullptr;
        CHECK(cudaMalloc(&p, 10'001) == cudaErrorMemoryAllocation);
        CHECK(p == nullptr);
        CHECK(cudaMallocAsync(&p, 6'000, nullptr) == cudaSuccess);
        CHECK(cudaMalloc(&q, 4'001) == cudaErrorMemoryAllocation);
        CHECK(cudaFreeAsync(p, nullptr) == cudaSuccess);
        CHECK(cudaMalloc(&q, 10'000) == cudaSuccess);
        CHECK(cuda_double::totals().device_bytes[0] == 10'000);
        CHECK(cuda_double::totals().peak_device_bytes[0] == 10'000);
        std::size_t unused = 1, all = 0;
        CHECK(cudaMemGetInfo(&unused, &all) == cudaSuccess);
        CHECK(unused == 0);
        CHECK(all == 10'000);
        cudaFree(q);
        cuda_double::end();
        CHECK(cuda_double::report() == "");
    }
}

TEST_CASE("counters") {
    cuda_double::reset();
    {
        const rig r;
        r.up(r.a, 100);
        r.up(r.a, 0);
        r.down(r.a, 50);
    }
    CHECK(cuda_double::totals().copies == 2);
    CHECK(cuda_double::totals().copied_bytes == 150);
    CHECK(cuda_double::totals().peak_registered_bytes == bytes);
    CHECK(cuda_double::totals().registered_bytes == 0);
    CHECK(cuda_double::totals().peak_device_bytes == std::vector<std::size_t>{bytes, 0});
    CHECK(cuda_double::totals().device_bytes == std::vector<std::size_t>{0, 0});
}

TEST_CASE("a batch wants a stream, attributes and a driver that knows it") {
    cuda_double::reset();
    const rig r;
    std::vector<std::byte> pageable(100, std::byte{7});
    void* const dsts[] = {r.device, r.device + 100};
    const void* const srcs[] = {r.host, pageable.data()};
    const std::size_t sizes[] = {100, 100};
    cudaMemcpyAttributes attributes[2]{};
    std::size_t firsts[] = {0, 1};
    const auto batch = [&](cudaStream_t stream) {
        return cudaMemcpyBatchAsync(dsts, srcs, sizes, 2, attributes, firsts, 2, stream);
    };
    CHECK(batch(r.a) == cudaErrorInvalidValue);
    attributes[0].srcAccessOrder = cudaMemcpySrcAccessOrderStream;
    attributes[1].srcAccessOrder = cudaMemcpySrcAccessOrderDuringApiCall;
    CHECK(batch(nullptr) == cudaErrorInvalidValue);
    CHECK(batch(r.a) == cudaSuccess);
    pageable[3] = std::byte{8}; // it was read during the call
    wait(r.a);
    CHECK(cuda_double::read(r.device + 100, 100) == std::vector<std::byte>(100, std::byte{7}));
    void* const there[] = {r.device + 200, r.device + 300};
    const void* const here[] = {r.host, r.device + 100};
    attributes[0].srcAccessOrder = attributes[1].srcAccessOrder = cudaMemcpySrcAccessOrderDuringApiCall;
    void* brief = nullptr;
    cudaHostAlloc(&brief, bytes, 0);
    const void* const once[] = {brief, brief};
    CHECK(cudaMemcpyBatchAsync(there, once, sizes, 2, attributes, firsts, 2, r.a) == cudaSuccess);
    CHECK(cudaFreeHost(brief) == cudaSuccess); // read during the call, too
    CHECK(cudaMemcpyBatchAsync(there, here, sizes, 2, attributes, firsts, 2, r.a) == cudaSuccess);
    wait(r.a);
    CHECK(cuda_double::read(r.device + 200, 100) == std::vector<std::byte>(100, std::byte{1}));
    CHECK(cuda_double::read(r.device + 300, 100) == std::vector<std::byte>(100, std::byte{7}));
    CHECK(cuda_double::report() == "");
    cuda_double::options old;
    old.runtime_version = old.driver_version = 12040;
    cuda_double::reset(old);
    cudaStream_t s = nullptr;
    cudaStreamCreate(&s);
    CHECK(batch(s) == cudaErrorCallRequiresNewerDriver);
}

TEST_CASE("no device, no driver") {
    cuda_double::options none;
    none.devices = 0;
    cuda_double::reset(none);
    int n = 7;
    CHECK(cudaGetDeviceCount(&n) == cudaErrorNoDevice);
    CHECK(n == 0);
    void* p = nullptr;
    CHECK(cudaMalloc(&p, 1) == cudaErrorNoDevice);
    CHECK(cudaMemcpyAsync(p, p, 1, cudaMemcpyDefault, nullptr) == cudaErrorNoDevice);
    none.devices = 2;
    none.driver_version = 0;
    cuda_double::reset(none);
    CHECK(cudaGetDeviceCount(&n) == cudaErrorInsufficientDriver);
    CHECK(cudaGetDevice(&n) == cudaErrorInsufficientDriver);
    CHECK(cudaMalloc(&p, 1) == cudaErrorInsufficientDriver);
    CHECK(cudaDriverGetVersion(&n) == cudaSuccess);
    CHECK(n == 0);
    CHECK(cudaGetErrorName(cudaErrorInsufficientDriver) == std::string("cudaErrorInsufficientDriver"));
}

TEST_CASE("what a pointer is") {
    cuda_double::reset();
    const rig r;
    cudaPointerAttributes what{};
    CHECK(cudaPointerGetAttributes(&what, r.device + 1) == cudaSuccess);
    CHECK(what.type == cudaMemoryTypeDevice);
    CHECK(what.device == 0);
    CHECK(what.devicePointer == r.device + 1);
    CHECK(cudaPointerGetAttributes(&what, r.host) == cudaSuccess);
    CHECK(what.type == cudaMemoryTypeHost);
    CHECK(cudaPointerGetAttributes(&what, &what) == cudaSuccess);
    CHECK(what.type == cudaMemoryTypeUnregistered);
}

TEST_CASE("copies that wait: cudaMemcpy takes any memory") {
    for (const cuda_double::options& way : ways()) {
        cuda_double::reset(way);
        {
            const rig r;
            std::vector<std::byte> there(bytes, std::byte{5}), back(bytes);
            CHECK(cudaMemcpy(r.device, there.data(), bytes, cudaMemcpyHostToDevice) == cudaSuccess);
            CHECK(cudaMemcpy(back.data(), r.device, bytes, cudaMemcpyDefault) == cudaSuccess);
            CHECK(back == there);
            CHECK(cudaMemset(r.device, 6, bytes) == cudaSuccess);
            CHECK(cudaMemcpy(back.data(), r.device, bytes, cudaMemcpyDefault) == cudaSuccess);
            CHECK(back == std::vector<std::byte>(bytes, std::byte{6}));
        }
        cuda_double::end();
        CHECK(cuda_double::report() == "");
    }
}

TEST_CASE("kernels that nvcc compiled are launched and found by their names") {
    const auto add = [](cuda_double::kernel& k, auto* to, const auto* from, std::size_t n) {
        CHECK(k.grid.x * k.block.x >= n);
        const auto source = k.read(from, n);
        const auto sum = k.update(to, n);
        for (std::size_t i = 0; i < n; ++i) sum[i] += source[i];
    };
    cuda_double::implement<>("nothing", [](cuda_double::kernel&) {});
    cuda_double::implement<float*, const float*, std::size_t>("add<float>", add);
    cuda_double::implement<int*, const int*, std::size_t>("add<int>", add);
    for (const cuda_double::options& way : ways()) {
        cuda_double::reset(way);
        {
            const rig r;
            const float floats[] = {1, 2, 3};
            const int ints[] = {10, 20, 30};
            cudaMemcpy(r.device, floats, sizeof floats, cudaMemcpyHostToDevice);
            CHECK(add_floats(reinterpret_cast<float*>(r.device), reinterpret_cast<const float*>(r.device), 3, r.a) ==
                  cudaSuccess);
            cudaMemcpy(r.device + 256, ints, sizeof ints, cudaMemcpyHostToDevice);
            CHECK(add_ints(reinterpret_cast<int*>(r.device + 256), reinterpret_cast<const int*>(r.device + 256), 3,
                           r.b) == cudaSuccess);
            cudaDeviceSynchronize();
            float got_floats[3]{};
            int got_ints[3]{};
            cudaMemcpy(got_floats, r.device, sizeof floats, cudaMemcpyDeviceToHost);
            cudaMemcpy(got_ints, r.device + 256, sizeof ints, cudaMemcpyDeviceToHost);
            CHECK(got_floats[2] == 6);
            CHECK(got_ints[2] == 60);
            CHECK(cuda_double::totals().kernels == 4);
        }
        cuda_double::end();
        CHECK(cuda_double::report() == "");
    }
}

} // namespace

} // namespace double_test
