// tests/gpu/cuda_model.hpp: the state of the double: devices, streams, events, memory.
//
// SPDX-License-Identifier: MIT
// In:      what calls of the runtime ask for, one at a time (`mutex` is held around each).
// Out:     streams whose work is done as the mode says, shadow memory, violations.
#pragma once

#include "cuda_double.hpp"
#include "cuda_history.hpp"

#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>

namespace cuda_double::detail {

/// One piece of work in a stream. `before`: what must be done first, and so is known to be.
struct work {
    moment at{};
    shared_clock before{};
    std::function<void(const work&)> run{}; ///< nothing for records and waits
};

struct stream_state {
    stream_id id{0};
    int device{0};
    bool is_null{false};
    bool blocking{true}; ///< waits for the NULL stream and it for this one
    bool destroyed{false};
    std::uint64_t issued{0};
    std::uint64_t done{0};
    std::uint64_t last_work{0}; ///< the last that somebody must wait for
    int asked{0};               ///< queries since the last answer "ready"
    std::uint64_t created{0};   ///< by which call
    std::uint64_t seen{0};      ///< which version of what the host knows is in `now`
    shared_clock now{};         ///< what the next piece of work is ordered after, apart from its own stream
    std::deque<work> pending{};
};

struct event_state {
    int device{0};
    stream_id stream{0};
    std::uint64_t number{0}; ///< 0: never recorded
    shared_clock at{};
    int asked{0};
    std::uint64_t created{0}; ///< by which call
};

struct free_delete {
    void operator()(void* p) const { std::free(p); }
};
using aligned_memory = std::unique_ptr<std::byte, free_delete>;

/// An allocation of a device, or host memory that is registered.
struct region {
    region(std::uintptr_t b, std::size_t n, int d) : begin{b}, bytes{n}, device{d}, past{n} {}

    std::uintptr_t begin;
    std::size_t bytes;
    int device; ///< that was current
    bool is_host{false};
    bool read_only{false};   ///< registered so
    bool from_pool{false};   ///< cudaMallocAsync
    bool freed{false};       ///< kept, so that later use is told from other wrong pointers
    bool giving_back{false}; ///< cudaFreeAsync was called
    aligned_memory memory{}; ///< shadow, or what cudaHostAlloc gave
    moment allocated{};      ///< by which call, and if from a pool where in its stream
    clock touched{};         ///< all work on it
    history past;
};

/// The capture of a stream into a graph, in which nothing is put here.
struct stream_capture {
    cudaStream_t stream{};
    std::thread::id thread{};
    cudaStreamCaptureMode mode{};
    bool is_spoiled{false};
};

/// One copy as asked for, and as it will be done.
struct copy_part {
    void* to{nullptr};
    const void* from{nullptr};
    std::size_t bytes{0};
    cudaMemcpyKind direction{cudaMemcpyDefault};
    bool reads_at_once{false}; ///< the source is read during the call
    std::uint64_t hash{0};     ///< of the source during the call
    bool is_hashed{false};
    bool ends_at_once{false};      ///< the call returns when it is done
    std::vector<std::byte> kept{}; ///< the source, where it is read during the call
};

enum class host_memory : std::uint8_t { must_be_registered, may_be_pageable };

class model {
  public:
    static model& get();

    std::mutex mutex{};

    // What cuda_double.hpp offers.
    void reset(const options& with);
    void end(int device);
    std::vector<violation> violations{};
    std::map<std::uint64_t, std::pair<cudaError_t, bool>> failures{};
    std::vector<const char*> log{};
    counters total{};
    std::vector<std::size_t> capacity{};
    std::map<std::pair<int, int>, int> attributes{};
    std::set<std::pair<int, int>> unreachable{};   ///< a device, and another one whose memory it cannot access
    std::set<std::pair<int, int>> peers_enabled{}; ///< a device, and another one whose memory it accesses
    [[nodiscard]] std::vector<std::byte> read(const void* device, std::size_t bytes);
    void* write_directly(void* device, std::size_t bytes); ///< by GPUDirect Storage; nothing where it may not

    // Calls.
    options with{};
    std::vector<bool> contexts{};      ///< of each device: whether there is one
    std::vector<cudaError_t> broken{}; ///< of each device: its sticky error
    void begin_call(const char* name);
    void break_device(int device, cudaError_t error);
    std::vector<stream_capture> captures{};
    /// Whether the call may not be made while a stream is captured; if one is, its capture is lost.
    bool spoils_captures(std::string_view call);
    void report(kind what, std::string text);
    [[nodiscard]] std::string here() const; ///< the call that runs, for messages

    // The thread that calls.
    struct thread_state {
        std::uint64_t generation{0};
        int device{0};
        int wanted_device{0}; ///< by the last cudaSetDevice, also one that failed
        cudaError_t last_error{cudaSuccess};
        cudaStreamCaptureMode capture_mode{cudaStreamCaptureModeGlobal};
        std::vector<std::tuple<dim3, dim3, std::size_t, cudaStream_t>> launches{};
    };
    thread_state& thread();

    // Streams and events. Handles are never used twice.
    [[nodiscard]] stream_state* find(cudaStream_t handle);
    cudaStream_t add_stream(bool blocking);
    void destroy(stream_state& stream, cudaStream_t handle);
    [[nodiscard]] event_state* find(cudaEvent_t handle);
    cudaEvent_t add_event();
    void destroy(cudaEvent_t handle) { events_.erase(handle); }
    void record(event_state& event, stream_state& stream);
    void wait(stream_state& stream, const event_state& event);
    void synchronise(stream_state& stream);
    void synchronise(event_state& event);
    [[nodiscard]] bool is_done(stream_state& stream);
    [[nodiscard]] bool is_done(event_state& event);
    void synchronise_device(int device);

    // Memory.
    [[nodiscard]] cudaError_t allocate(void** out, std::size_t bytes, int device, stream_state* stream);
    [[nodiscard]] cudaError_t release(void* device);
    [[nodiscard]] cudaError_t release(void* device, stream_state& stream);
    [[nodiscard]] cudaError_t register_host(void* begin, std::size_t bytes, bool read_only);
    [[nodiscard]] cudaError_t allocate_host(void** out, std::size_t bytes);
    [[nodiscard]] cudaError_t release_host(void* begin, bool allocated);
    [[nodiscard]] bool is_device_address(const void* p) const;
    [[nodiscard]] region* find(const void* p); ///< the region that holds the address

    // Work.
    [[nodiscard]] cudaError_t copy(stream_state& stream, std::vector<copy_part> parts, host_memory host);
    [[nodiscard]] cudaError_t set(stream_state& stream, void* device, int value, std::size_t bytes);
    [[nodiscard]] cudaError_t launch(stream_state& stream, const void* function, dim3 grid, dim3 block,
                                     void** arguments, std::size_t shared);

  private:
    friend class running_kernel;

    stream_state& new_stream(int device, bool blocking, bool is_null);
    void issue(stream_state& stream, bool is_awaited, std::function<void(const work&)> run);
    void run_front(stream_state& stream);
    void run_to(stream_state& stream, std::uint64_t number);
    void run_any();
    void drain(int device);
    void drain();
    /// A stream that the first work of this one waits for, and up to which number; nothing if that may run.
    [[nodiscard]] std::optional<std::pair<stream_id, std::uint64_t>> blocker(const stream_state& stream) const;
    [[nodiscard]] bool is_done(int& asked, stream_state& stream, std::uint64_t number);
    void know(const stream_state& stream, std::uint64_t number, const clock& before);
    [[nodiscard]] std::uint64_t random();

    [[nodiscard]] std::string tell(const moment& at) const;
    [[nodiscard]] static std::string tell(const stream_state& stream);
    [[nodiscard]] bool check(const void* p, std::size_t bytes, bool writes, bool is_host, copy_part& part,
                             host_memory host);
    [[nodiscard]] bool check_device(const void* p, std::size_t bytes);
    void report_address(const void* p, const std::string& by);
    void prepare(copy_part& part, const stream_state& stream);
    void run_copy(const work& w, copy_part& part, std::uint32_t number);
    void* touch(const work& w, std::uint32_t part, const void* p, std::size_t bytes, bool reads, bool writes);
    void reset_addresses();
    void give_back(region& r);
    void add_registered(std::size_t bytes);

    std::deque<stream_state> streams_{}; ///< by id: 0 is GPUDirect Storage, then the NULL stream of each device
    std::unordered_map<cudaStream_t, stream_id> handles_{};
    std::unordered_map<cudaEvent_t, event_state> events_{};
    std::map<std::uintptr_t, region> memory_{};
    clock known_{}; ///< to the host
    std::uint64_t known_version_{1};
    std::uint64_t generation_{0};
    std::uint64_t random_state_{0};
    std::uint64_t pace_{0};
    std::byte* addresses_{nullptr};
    std::size_t addresses_size_{0};
    std::size_t next_address_{0};
    std::uintptr_t next_handle_{0x1000};
};

/// The bodies of kernels and the names of functions; they outlive `reset` and may be filled before main.
struct kernel_table {
    static kernel_table& get();
    [[nodiscard]] const launcher* find(const void* function) const;

    std::map<const void*, launcher> by_function{};
    std::vector<std::pair<std::string, launcher>> by_name{};
    std::map<const void*, std::string> names{}; ///< mangled, of functions of nvcc
};

} // namespace cuda_double::detail
