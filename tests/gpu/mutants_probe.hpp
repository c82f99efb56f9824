// tests/gpu/mutants_probe.hpp: whether an upload engine is wrong, over the double of the CUDA runtime.
//
// SPDX-License-Identifier: MIT
// In:      an engine: its options, `run(api, plan, options)`, and `start` for an upload in a thread of its own.
// Out:     what is wrong with it, where one of the scenarios finds fault. A crash and a wait without end count as
//          found.
#pragma once

#include <ckpt/ckpt.hpp>
#include <ckpt/gpu/cuda_api.hpp>
#include <ckpt/gpu/upload_plan.hpp>
#include <ckpt/io/pages.hpp>
#include <ckpt/state/shard.hpp>

#include "../support/quantised_files.hpp"
#include "../support/temporary_file.hpp"
#include "../support/upload_files.hpp"
#include "cuda_double.hpp"
#include "double_kernels.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

namespace probing {

using ckpt::errc;
using cuda_double::mode;
namespace fs = std::filesystem;

/// All but what converts float16, so that the host has something to convert.
inline constexpr ckpt::device_kernels some_kernels{
    .can_cast = [](ckpt::dtype from,
                   ckpt::dtype to) { return from != ckpt::dtype::float16 && ckpt::detail::is_castable(from, to); },
    .cast = double_kernels::cast_elements,
    .scatter = double_kernels::scatter_elements};

/// The file of all scenarios, for two devices, with tensors that the host and the device convert.
struct subject {
    std::string bytes{test_support::upload_file()};
    test_support::temporary_file path{bytes};
    ckpt::state_dict weights{ckpt::open(path.path(), {.io = ckpt::io_mode::map}).value().state_dict().value()};
    std::vector<ckpt::upload_target> targets{};

    subject() {
        const std::vector<ckpt::shard_rule> rows{{"a.weight", 0}};
        for (std::uint32_t rank = 0; rank < 2; ++rank)
            targets.push_back({static_cast<int>(rank), ckpt::shard(weights, rows, rank, 2).value()});
        double_kernels::give_bodies();
    }
    [[nodiscard]] ckpt::upload_plan plan(ckpt::upload_layout layout = ckpt::upload_layout::file_image,
                                         const std::vector<ckpt::pattern>& order = {}) const {
        return ckpt::plan_upload(targets, {.order = order,
                                           .casts = {{"half", ckpt::dtype::float64},
                                                     {"br*", ckpt::dtype::float32},
                                                     {"a.weight", ckpt::dtype::bfloat16},
                                                     {"turned", ckpt::dtype::bfloat16}},
                                           .layout = layout,
                                           .piece_bytes = 4'096,
                                           .kernels = &some_kernels})
            .value();
    }
};

/// Whether the tensors of all targets are what they should be.
template <class Memory> bool is_right(Memory& memory, const std::vector<ckpt::upload_target>& from) {
    for (const auto& t : memory.plan().tensors) {
        if (t.nbytes == 0) continue;
        const auto bytes = cuda_double::read(memory.address(t), static_cast<std::size_t>(t.nbytes));
        if (test_support::dense_of(bytes, {t.shape, t.rank}, {t.strides, t.rank}, t.type) !=
            test_support::numbers_of(from[t.target].weights.at(t.key).value(), t.type))
            return false;
    }
    return true;
}

/// What was wrong, in a few words; empty: nothing.
using fault = std::string;

/// Ends a scenario: anything that the double has to say counts.
inline fault at_the_end() {
    cuda_double::end();
    return cuda_double::report();
}

/// An upload that should succeed, used by another stream at once, then waited for.
template <class Engine>
fault fails_to_upload(const subject& s, const ckpt::upload_plan& plan, typename Engine::options how) {
    {
        const ckpt::detail::cuda_api api{};
        auto memory = Engine::run(api, plan, how);
        if (!memory) return "no upload: " + memory.error().message();
        // Streams of the caller's read at once what the last copies and kernels may have to write yet.
        const auto& targets = (*memory)->plan().targets;
        std::vector<std::byte> back(
            static_cast<std::size_t>(std::max_element(targets.begin(), targets.end(), [](const auto& a, const auto& b) {
                                         return a.bytes < b.bytes;
                                     })->bytes));
        bool works = cudaHostRegister(back.data(), back.size(), cudaHostRegisterDefault) == cudaSuccess;
        for (std::uint32_t i = 0; i < targets.size(); ++i) {
            auto& target = (*memory)->targets()[i];
            cudaStream_t user{};
            works = works && cudaSetDevice(target.device) == cudaSuccess &&
                    cudaStreamCreateWithFlags(&user, cudaStreamNonBlocking) == cudaSuccess &&
                    api.order(user, target.done) == 0 &&
                    cudaMemcpyAsync(back.data(), target.memory, static_cast<std::size_t>(targets[i].bytes),
                                    cudaMemcpyDeviceToHost, user) == cudaSuccess &&
                    cudaStreamSynchronize(user) == cudaSuccess && cudaStreamDestroy(user) == cudaSuccess;
        }
        works = works && cudaSetDevice(0) == cudaSuccess && cudaHostUnregister(back.data()) == cudaSuccess;
        if (!works) return "the double refused the test itself";
        if (!(*memory)->wait()) return "a wait that failed";
        if (!is_right(**memory, s.targets)) return "wrong values";
    }
    return at_the_end();
}

// The memory behind a device pointer, for what is written to it by no stream; of cuda_double.cpp.
extern "C" void* cuda_double_shadow(void* device, std::size_t bytes);

/// Device memory that is registered for reads past the host.
inline std::set<void*>& registered_memory() {
    static std::set<void*> all;
    return all;
}

/// Reads files into device memory, as GPUDirect Storage does.
inline constexpr ckpt::direct_reader past_the_host{
    .open = [](void*, int descriptor, std::string&) -> void* { return new int{::dup(descriptor)}; },
    .read = [](void* handle, void* base, std::uint64_t bytes, std::uint64_t from, std::uint64_t to) -> std::int64_t {
        void* const memory = cuda_double_shadow(static_cast<std::byte*>(base) + to, static_cast<std::size_t>(bytes));
        if (memory == nullptr) return -1;
        return ::pread(*static_cast<int*>(handle), memory, static_cast<std::size_t>(bytes), static_cast<off_t>(from));
    },
    .close =
        [](void* handle) {
            ::close(*static_cast<int*>(handle));
            delete static_cast<int*>(handle);
        },
    .add_memory = [](void*, void* base, std::uint64_t) { return registered_memory().insert(base).second; },
    .drop_memory = [](void*, void* base) { registered_memory().erase(base); }};

/// Memory of the pool that a stream of the caller's still reads when it is freed.
template <class Engine> fault frees_too_early(const ckpt::upload_plan& plan, const typename Engine::options& how) {
    bool works = true;
    const auto must = [&](cudaError_t code) { works = works && code == cudaSuccess; };
    std::vector<std::byte> back(256);
    must(cudaHostRegister(back.data(), back.size(), cudaHostRegisterDefault));
    {
        auto memory = Engine::run(ckpt::detail::cuda_api{true}, plan, how);
        if (!memory) return "no upload: " + memory.error().message();
        must(cudaMemcpyAsync(back.data(), (*memory)->at(0).memory, back.size(), cudaMemcpyDeviceToHost, nullptr));
    }
    must(cudaDeviceSynchronize());
    must(cudaSetDevice(1));
    must(cudaDeviceSynchronize());
    must(cudaSetDevice(0));
    must(cudaHostUnregister(back.data()));
    return works ? at_the_end() : "the double refused the test itself";
}

/// An upload while another thread captures a stream: the capture and the mode of this thread stay as they were.
template <class Engine>
fault spoils_a_capture(const subject& s, const ckpt::upload_plan& plan, typename Engine::options how) {
    cudaStream_t captured{};
    cudaGraph_t graph{};
    bool works = cudaStreamCreateWithFlags(&captured, cudaStreamNonBlocking) == cudaSuccess &&
                 cudaStreamBeginCapture(captured, cudaStreamCaptureModeGlobal) == cudaSuccess;
    {
        auto memory = Engine::run(ckpt::detail::cuda_api{}, plan, how);
        if (!memory) return "no upload: " + memory.error().message();
        cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
        works = works && cudaThreadExchangeStreamCaptureMode(&mode) == cudaSuccess;
        if (mode != cudaStreamCaptureModeGlobal) return "another capture mode afterwards";
        if (!(*memory)->wait()) return "a wait that failed";
        if (!is_right(**memory, s.targets)) return "wrong values";
    }
    works =
        works && cudaStreamEndCapture(captured, &graph) == cudaSuccess && cudaStreamDestroy(captured) == cudaSuccess;
    return works ? at_the_end() : "the capture was spoiled";
}

/// A device that cannot be waited for, for a reason that does not end its work.
template <class Engine> fault frees_what_is_in_use(const ckpt::upload_plan& plan, const typename Engine::options& how) {
    {
        auto memory = Engine::run(ckpt::detail::cuda_api{}, plan, how);
        if (!memory) return "no upload: " + memory.error().message();
        for (std::uint64_t n = 1, calls = cuda_double::calls(); n <= 12; ++n)
            cuda_double::fail_call(calls + n, cudaErrorNotPermitted);
        if ((*memory)->wait()) return "a wait that should have failed";
    }
    cuda_double::end();
    for (const auto& v : cuda_double::violations())
        if (v.what == cuda_double::kind::freed_in_use || v.what == cuda_double::kind::source_changed) return v.text;
    return {};
}

/// An upload to device 1 by a thread that has used no device.
template <class Engine> fault makes_a_context(const ckpt::state_dict& weights, const typename Engine::options& how) {
    {
        auto memory = Engine::beside(ckpt::detail::cuda_api{},
                                     ckpt::plan_upload(weights, {.piece_bytes = 4'096}, 1).value(), how);
        if (!memory) return "no upload: " + memory.error().message();
        for (int i = 0; i < 1'000 && cuda_double::totals().registered_bytes != 0; ++i) usleep(1'000);
        if (cuda_double::totals().registered_bytes != 0) return "memory that stays pinned";
        if (how.source == ckpt::upload_source::mapped && !(*memory)->wait()) return "a wait that failed";
    }
    int now = -1;
    if (cudaGetDevice(&now) != cudaSuccess || now != 0) return "another device is current";
    return cuda_double::has_context(0) ? "a context on a device that is no target" : at_the_end();
}

/// A progress callback that lets an upload go on only for two pieces, until it is opened.
class gate {
  public:
    bool operator()(const ckpt::progress&) {
        std::unique_lock lock{mutex_};
        ++pieces_;
        changed_.notify_all();
        changed_.wait(lock, [&] { return open_ || pieces_ < 2; });
        return true;
    }
    void open() {
        const std::lock_guard lock{mutex_};
        open_ = true;
        changed_.notify_all();
    }
    void wait_until_reached() {
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [&] { return pieces_ == 2; });
    }

  private:
    std::mutex mutex_{};
    std::condition_variable changed_{};
    int pieces_{0};
    bool open_{false};
};

/// Copies a tensor to registered memory, in the order of a stream.
template <class Memory, class Tensor>
bool use(const Memory& memory, const Tensor& t, std::span<std::byte> back, cudaStream_t stream) {
    const bool works = cudaSetDevice(memory->at(t.target).device) == cudaSuccess &&
                       cudaMemcpyAsync(back.data(), memory->address(t), static_cast<std::size_t>(t.nbytes),
                                       cudaMemcpyDeviceToHost, stream) == cudaSuccess;
    return cudaSetDevice(0) == cudaSuccess && works;
}

/// An upload in a thread of its own, whose tensors are used as they arrive, by a stream of each device.
template <class Engine>
fault arrives_wrongly(const subject& s, const ckpt::upload_plan& plan, typename Engine::options how) {
    const ckpt::detail::pages room{std::size_t{1} << 20};
    const std::span<std::byte> back = room.bytes();
    cudaStream_t users[2]{};
    const cudaStream_t callers[2]{};
    bool works = cudaHostRegister(back.data(), back.size(), cudaHostRegisterDefault) == cudaSuccess;
    for (const int device : {1, 0})
        works = works && cudaSetDevice(device) == cudaSuccess &&
                cudaStreamCreateWithFlags(&users[device], cudaStreamNonBlocking) == cudaSuccess;
    gate wait_here;
    how.progress = wait_here;
    {
        const auto started = Engine::start(ckpt::detail::cuda_api{}, plan, how, callers);
        if (!started) return "no upload: " + started.error().message();
        auto& run = **started;
        auto tensors = run.plan().tensors;
        std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) { return a.pieces < b.pieces; });
        // What two pieces bring is in use before a stream waits for anything that the third needs.
        std::promise<void> first_used;
        std::thread opens{[&] {
            wait_here.wait_until_reached();
            first_used.get_future().wait();
            usleep(20'000); // whoever does not wait for the next piece goes on
            wait_here.open();
        }};
        fault found;
        std::size_t used = 0;
        bool is_said = false;
        for (const auto& t : tensors) {
            if (t.pieces > 2 && !std::exchange(is_said, true)) first_used.set_value();
            const auto memory = run.await(t, users[t.target]);
            if (!memory) found = "no tensor: " + memory.error().message();
            if (!memory || t.nbytes == 0) continue;
            works = works && use(*memory, t, back.subspan(used), users[t.target]);
            used += static_cast<std::size_t>(t.nbytes);
        }
        if (!is_said) first_used.set_value();
        opens.join();
        if (!found.empty()) return found;
        const auto memory = run.get();
        if (!memory) return "no result: " + memory.error().message();
        if (run.get()) return "a second result";
        for (const cudaStream_t user : users) works = works && cudaStreamSynchronize(user) == cudaSuccess;
        for (int i = 0; i < 1'000 && cuda_double::totals().registered_bytes != back.size(); ++i) usleep(1'000);
        if (cuda_double::totals().registered_bytes != back.size()) return "memory that stays pinned";
        if (!(*memory)->wait()) return "a wait that failed";
        if (!is_right(**memory, s.targets)) return "wrong values";
    }
    for (const cudaStream_t user : users) works = works && cudaStreamDestroy(user) == cudaSuccess;
    works = works && cudaHostUnregister(back.data()) == cudaSuccess;
    return works ? at_the_end() : "the double refused the test itself";
}

/// An upload in a thread of its own that is stopped, while what had arrived is in use.
template <class Engine> fault stops_wrongly(const ckpt::upload_plan& plan, typename Engine::options how) {
    const ckpt::detail::pages room{std::size_t{1} << 20};
    cudaStream_t user{};
    const cudaStream_t callers[2]{};
    bool works = cudaStreamCreateWithFlags(&user, cudaStreamNonBlocking) == cudaSuccess;
    gate wait_here;
    how.progress = wait_here;
    {
        const auto started = Engine::start(ckpt::detail::cuda_api{}, plan, how, callers);
        if (!started) return "no upload: " + started.error().message();
        auto& run = **started;
        const auto& tensors = run.plan().tensors;
        const auto first = std::min_element(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
            return std::pair{a.nbytes == 0, a.pieces} < std::pair{b.nbytes == 0, b.pieces};
        });
        const std::byte* data = nullptr; // nothing but `run` keeps it
        int device = 0;
        {
            const auto memory = run.await(*first, user);
            if (!memory) return "no tensor: " + memory.error().message();
            data = (*memory)->address(*first);
            device = (*memory)->at(first->target).device;
        }
        run.cancel();
        wait_here.open();
        const auto stopped = run.get();
        if (stopped || stopped.error().code != errc::cancelled) return "an upload that was not stopped";
        if (run.await(*first, user)) return "a tensor of an upload that was stopped";
        if (cuda_double::totals().registered_bytes != 0) return "memory that stays pinned";
        works = works && cudaHostRegister(room.bytes().data(), room.bytes().size(), 0) == cudaSuccess &&
                cudaSetDevice(device) == cudaSuccess &&
                cudaMemcpyAsync(room.bytes().data(), data, static_cast<std::size_t>(first->nbytes),
                                cudaMemcpyDeviceToHost, user) == cudaSuccess &&
                cudaSetDevice(0) == cudaSuccess && cudaStreamSynchronize(user) == cudaSuccess &&
                cudaHostUnregister(room.bytes().data()) == cudaSuccess;
    }
    works = works && cudaStreamDestroy(user) == cudaSuccess;
    return works ? at_the_end() : "the double refused the test itself";
}

/// What is awaited of an upload to device 1 by a thread that has used no device.
template <class Engine>
fault arrives_with_a_context(const ckpt::state_dict& weights, const typename Engine::options& how) {
    {
        const cudaStream_t callers[1]{};
        const auto started = Engine::start(ckpt::detail::cuda_api{},
                                           ckpt::plan_upload(weights, {.piece_bytes = 4'096}, 1).value(), how, callers);
        if (!started) return "no upload: " + started.error().message();
        for (const auto& t : (*started)->plan().tensors)
            if (!(*started)->await(t, nullptr)) return "no tensor";
        if (!(*started)->get()) return "no result";
    }
    return cuda_double::has_context(0) ? "a context on a device that is no target" : at_the_end();
}

/// Windows of a mapping that is read in another order than the file's.
template <class Engine> fault pins_twice(typename Engine::options how) {
    std::vector<std::size_t> sizes;
    for (std::size_t i = 0; i < 40; ++i) sizes.push_back(70'000 + 256 * (i % 7));
    const test_support::temporary_file file{test_support::safetensors_of(sizes, 0)};
    subject turns;
    turns.targets = {{0, ckpt::open(file.path()).value().state_dict().value()}};
    const auto plan = ckpt::plan_upload(turns.targets, {.order = {"t*2", "t*4", "t*0"}, .piece_bytes = 16'384}).value();
    how.source = ckpt::upload_source::mapped;
    how.slots = 64;
    auto memory = Engine::run(ckpt::detail::cuda_api{}, plan, how);
    if (!memory) return "no upload: " + memory.error().message();
    if (!(*memory)->wait()) return "a wait that failed";
    if (!is_right(**memory, turns.targets)) return "wrong values";
    return (*memory)->report.fallback;
}

/// Staging memory that is registered in parts of at most so many bytes, or allocated, or pageable.
template <class Engine>
fault stages_wrongly(const subject& s, const ckpt::upload_plan& plan, const typename Engine::options& how) {
    struct limit {
        std::size_t registered, together, allocated;
    };
    constexpr std::size_t any = ~std::size_t{0};
    for (const limit& l : {limit{4'096, any, 0}, limit{4'096, 4'096, any}, limit{0, 0, any}, limit{0, 0, 0}}) {
        cuda_double::reset({.how = mode::lazy,
                            .most_registered = l.registered,
                            .most_registered_together = l.together,
                            .most_allocated = l.allocated,
                            // So that the first pieces are read before.
                            .registering = [] { std::this_thread::sleep_for(std::chrono::milliseconds{20}); }});
        {
            auto reading = how;
            reading.readers = 2;
            auto memory = Engine::run(ckpt::detail::cuda_api{}, plan, reading);
            if (!memory) return "no upload: " + memory.error().message();
            if (!(*memory)->wait()) return "a wait that failed";
            if (!is_right(**memory, s.targets)) return "wrong values";
            if (cudaGetLastError() != cudaSuccess) return "an error that the caller sees";
        }
        cuda_double::end();
        for (const auto& v : cuda_double::violations())
            if (v.what != cuda_double::kind::pageable || l.registered + l.allocated != 0) return v.text;
    }
    return {};
}

/// An upload into memory on which streams of the caller still work, and which they use again at once: those given, or
/// the default ones.
template <class Engine>
fault disturbs_the_caller(const subject& s, const ckpt::upload_plan& plan, typename Engine::options how, bool named) {
    bool works = true;
    const auto must = [&](cudaError_t code) { works = works && code == cudaSuccess; };
    std::vector<ckpt::device_place> places(plan.targets());
    std::vector<cudaStream_t> streams(plan.targets());
    std::vector<ckpt::detail::pages> back(plan.targets()); // no two of them share a page, which would be pinned twice
    const auto on_each = [&](auto f) {
        for (std::size_t t = 0; t < plan.targets(); ++t) {
            must(cudaSetDevice(plan.device(t)));
            f(t);
        }
        must(cudaSetDevice(0));
    };
    const auto use = [&](std::size_t t) {
        must(cudaMemcpyAsync(back[t].bytes().data(), places[t].data, places[t].bytes, cudaMemcpyDeviceToHost,
                             streams[t]));
    };
    on_each([&](std::size_t t) {
        if (named) must(cudaStreamCreateWithFlags(&streams[t], cudaStreamNonBlocking));
        places[t].bytes = static_cast<std::size_t>(plan.device_bytes(t));
        must(cudaMallocAsync(&places[t].data, places[t].bytes, streams[t]));
        back[t] = ckpt::detail::pages{places[t].bytes};
        must(cudaHostRegister(back[t].bytes().data(), places[t].bytes, cudaHostRegisterDefault));
        must(cudaMemsetAsync(places[t].data, 7, places[t].bytes, streams[t]));
        use(t);
    });
    {
        how.places = places;
        auto memory = Engine::run(ckpt::detail::cuda_api{}, plan, how,
                                  named ? std::span<const cudaStream_t>{streams} : std::span<const cudaStream_t>{});
        if (!memory) return "no upload: " + memory.error().message();
        on_each(use);
        if (!registered_memory().empty()) return "memory that stays registered";
        if (!(*memory)->wait()) return "a wait that failed";
        if (!is_right(**memory, s.targets)) return "wrong values";
    }
    on_each([&](std::size_t t) {
        must(cudaFreeAsync(places[t].data, streams[t]));
        must(cudaStreamSynchronize(streams[t]));
        must(cudaHostUnregister(back[t].bytes().data()));
        if (named) must(cudaStreamDestroy(streams[t]));
    });
    return works ? at_the_end() : "the double refused the test itself";
}

template <class Engine>
fault fails_with_an_error(const ckpt::upload_plan& plan, const typename Engine::options& how, errc expected) {
    {
        auto memory = Engine::run(ckpt::detail::cuda_api{}, plan, how);
        if (memory) return "an upload that should have failed";
        if (memory.error().code != expected) return "the wrong error: " + memory.error().message();
    }
    return at_the_end();
}

/// An allocator of the caller's over the pool of the device, which knows what it gave.
struct arena {
    std::vector<std::pair<void*, std::size_t>> given{};
    std::size_t shift{0}; ///< what it gives begins so many bytes behind a multiple of 256
    bool works{true};
    ckpt::device_allocator table{this, &allocate, &release};

    static void* allocate(void* context, std::size_t bytes, int, void* stream) {
        auto& a = *static_cast<arena*>(context);
        void* out = nullptr;
        if (cudaMallocAsync(&out, bytes + a.shift, static_cast<cudaStream_t>(stream)) != cudaSuccess) return nullptr;
        a.given.emplace_back(static_cast<std::byte*>(out) + a.shift, bytes);
        return a.given.back().first;
    }
    static void release(void* context, void* memory, std::size_t bytes, int, void* stream) {
        auto& a = *static_cast<arena*>(context);
        a.works =
            a.works && std::erase(a.given, std::pair{memory, bytes}) == 1 &&
            cudaFreeAsync(static_cast<std::byte*>(memory) - a.shift, static_cast<cudaStream_t>(stream)) == cudaSuccess;
    }
};

/// An upload into memory of the caller's allocator, which is there, and free again, in the order of the caller's
/// streams, while these have much to do.
template <class Engine>
fault disturbs_the_allocator(const subject& s, const ckpt::upload_plan& plan, typename Engine::options how,
                             std::size_t shift) {
    bool works = true;
    const auto must = [&](cudaError_t code) { works = works && code == cudaSuccess; };
    std::vector<cudaStream_t> streams(plan.targets());
    std::vector<std::byte> back(256);
    must(cudaHostRegister(back.data(), back.size(), cudaHostRegisterDefault));
    arena a;
    a.shift = shift;
    how.allocator = &a.table;
    const auto on_each = [&](auto f) {
        for (std::size_t t = 0; t < plan.targets(); ++t) {
            must(cudaSetDevice(plan.device(t)));
            f(t);
        }
        must(cudaSetDevice(0));
    };
    on_each([&](std::size_t t) { must(cudaStreamCreateWithFlags(&streams[t], cudaStreamNonBlocking)); });
    {
        auto memory = Engine::run(ckpt::detail::cuda_api{}, plan, how, streams);
        if (memory.has_value() != (shift == 0)) return "the wrong outcome";
        if (!memory && memory.error().code != errc::misaligned) return "the wrong error: " + memory.error().message();
        if (memory) {
            if (!(*memory)->wait()) return "a wait that failed";
            if (!is_right(**memory, s.targets)) return "wrong values";
            on_each([&](std::size_t t) { // still reads when the memory is given back
                must(cudaMemcpyAsync(back.data() + 128 * t, (*memory)->at(static_cast<std::uint32_t>(t)).memory, 128,
                                     cudaMemcpyDeviceToHost, streams[t]));
            });
        }
    }
    if (!a.given.empty() || !a.works) return "memory that the allocator did not get back";
    on_each([&](std::size_t t) {
        must(cudaStreamSynchronize(streams[t]));
        must(cudaStreamDestroy(streams[t]));
    });
    must(cudaHostUnregister(back.data()));
    return works ? at_the_end() : "the double refused the test itself";
}

/// Uploads that share kept rings: of different shapes, registered in parts, two at the same time.
template <class Engine> fault shares_rings_wrongly(const subject& s, typename Engine::options how) {
    const auto plan_of = [&](std::uint64_t piece) {
        return ckpt::plan_upload(s.targets, {.piece_bytes = piece}).value();
    };
    const auto small = plan_of(4'096), middle = plan_of(8'192), large = plan_of(12'288);
    for (const std::size_t registered : {~std::size_t{0}, std::size_t{16'384}})
        for (const mode m : {mode::lazy, mode::random}) {
            cuda_double::reset({.how = m, .most_registered = registered});
            auto rings = Engine::keep();
            const auto uploads = [&](const ckpt::upload_plan& plan, unsigned slots) -> fault {
                how.slots = slots;
                auto memory = Engine::run(ckpt::detail::cuda_api{}, plan, how, {}, rings);
                if (!memory) return "no upload: " + memory.error().message();
                auto beside =
                    Engine::run(ckpt::detail::cuda_api{}, plan, how, {}, rings); // nobody waited for the first
                if (!beside) return "no second upload: " + beside.error().message();
                if (!(*memory)->wait() || !(*beside)->wait()) return "a wait that failed";
                return is_right(**memory, s.targets) && is_right(**beside, s.targets) ? "" : "wrong values";
            };
            if (auto f = uploads(large, 2); !f.empty()) return f;
            if (auto f = uploads(middle, 2); !f.empty()) return f;
            if (auto f = uploads(small, 4); !f.empty()) return f;
            if (auto f = uploads(large, 4); !f.empty()) return f;
            if (rings->bytes() == 0) return "no ring was kept";
            rings = {};
            if (auto f = at_the_end(); !f.empty()) return f;
        }
    return {};
}

/// A ring whose copies cannot be waited for is not used again, and one of a device that is lost is not kept.
template <class Engine> fault keeps_what_is_in_use(const ckpt::upload_plan& plan, const typename Engine::options& how) {
    for (const bool lost : {false, true}) {
        cuda_double::reset({.how = mode::lazy});
        {
            const auto rings = Engine::keep();
            auto memory = Engine::run(ckpt::detail::cuda_api{}, plan, how, {}, rings);
            if (!memory) return "no upload: " + memory.error().message();
            for (std::uint64_t n = 1, calls = cuda_double::calls(); n <= (lost ? 1u : 8u); ++n)
                cuda_double::fail_call(calls + n, lost ? cudaErrorIllegalAddress : cudaErrorNotPermitted, lost);
            if ((*memory)->wait()) return "a wait that should have failed";
            if (lost && rings->bytes() != 0) return "a ring of a lost device is kept";
            if (!lost && !Engine::run(ckpt::detail::cuda_api{}, plan, how, {}, rings)) return "no second upload";
        }
        cuda_double::end();
        for (const auto& v : cuda_double::violations())
            if (v.what == cuda_double::kind::freed_in_use || v.what == cuda_double::kind::source_changed) return v.text;
    }
    return {};
}

/// Several targets with the same tensors: each but the first is copied from the one before it.
template <class Engine>
fault replicates_wrongly(const subject& s, const ckpt::upload_plan& plan, const typename Engine::options& how,
                         cuda_double::options with) {
    with.devices = 3;
    cuda_double::reset(with);
    if (auto f = fails_to_upload<Engine>(s, plan, how); !f.empty()) return f;
    if (cuda_double::totals().peer_bytes == 0) return "nothing was copied between devices";
    if (cuda_double::totals().staged_bytes != 0) return "copies between devices by way of the host";

    // The caller writes to the first one at once.
    cuda_double::reset(with);
    {
        auto memory = Engine::run(ckpt::detail::cuda_api{}, plan, how);
        if (!memory) return "no upload: " + memory.error().message();
        if (cudaMemsetAsync((*memory)->at(0).memory, 7, 4'096, nullptr) != cudaSuccess ||
            cudaDeviceSynchronize() != cudaSuccess)
            return "the double refused the test itself";
        if (!(*memory)->wait()) return "a wait that failed";
        for (std::uint32_t t = 1; t < s.targets.size(); ++t)
            if (cuda_double::read((*memory)->at(t).memory, 4'096) == cuda_double::read((*memory)->at(0).memory, 4'096))
                return "what the caller wrote was copied";
    }
    if (auto f = at_the_end(); !f.empty()) return f;

    // A refusal leaves no error, and the host fills that target.
    cuda_double::reset(with);
    { (void)Engine::run(ckpt::detail::cuda_api{}, plan, how); }
    const auto log = cuda_double::log();
    for (std::size_t n = 0; n < log.size(); ++n) {
        if (log[n] != std::string("cudaDeviceEnablePeerAccess")) continue;
        cuda_double::reset(with);
        cuda_double::fail_call(n + 1, cudaErrorNotPermitted);
        if (auto f = fails_to_upload<Engine>(s, plan, how); !f.empty()) return f;
        if (cudaGetLastError() != cudaSuccess) return "an error that the caller sees";
    }
    return {};
}

template <class Engine> fault judge_memory(const subject& s, const typename Engine::options& how) {
    const auto plan = s.plan();
    for (const mode m : {mode::eager, mode::lazy, mode::random})
        for (const std::size_t shift : {0, 16}) {
            cuda_double::reset({.how = m});
            if (auto f = disturbs_the_allocator<Engine>(s, plan, how, shift); !f.empty()) return f;
        }
    if (auto f = shares_rings_wrongly<Engine>(s, how); !f.empty()) return f;
    if (auto f = keeps_what_is_in_use<Engine>(plan, how); !f.empty()) return f;
    // By a thread that has used no device, to device 1 alone.
    cuda_double::reset({.how = mode::lazy});
    {
        const auto rings = Engine::keep();
        auto memory = Engine::beside(ckpt::detail::cuda_api{},
                                     ckpt::plan_upload(s.weights, {.piece_bytes = 4'096}, 1).value(), how, rings);
        if (!memory) return "no upload: " + memory.error().message();
        if (!(*memory)->wait()) return "a wait that failed";
        if (rings->bytes() == 0) return "no ring was kept";
    }
    if (cuda_double::has_context(0)) return "a context on a device that is no target";
    if (auto f = at_the_end(); !f.empty()) return f;

    subject same;
    same.targets = {{0, same.weights}, {1, same.weights}, {2, same.weights}};
    const auto replicas = same.plan();
    for (const mode m : {mode::eager, mode::lazy, mode::random})
        for (const unsigned readers : {0u, 2u}) {
            auto reading = how;
            reading.readers = readers;
            if (auto f = replicates_wrongly<Engine>(same, replicas, reading, {.how = m, .seed = readers + 1});
                !f.empty())
                return f;
        }
    const test_support::temporary_file larger{test_support::torch_file(
        test_support::pkl::ordered({{test_support::pkl::str("w"), test_support::pkl::floats("0", 600'000)}}),
        {{"0", test_support::some_floats(600'000, 9)}})};
    const auto weights = ckpt::open(larger.path()).value().state_dict().value();
    same.targets = {{0, weights}, {1, weights}, {2, weights}};
    auto direct = how;
    direct.source = ckpt::upload_source::gpu_direct;
    direct.past_host = &past_the_host;
    direct.verify = false;
    for (const mode m : {mode::lazy, mode::random})
        if (auto f = replicates_wrongly<Engine>(
                same, ckpt::plan_upload(same.targets, {.piece_bytes = 1u << 20}).value(), direct, {.how = m});
            !f.empty())
            return f;
    same.targets.pop_back();
    for (const mode m : {mode::eager, mode::lazy}) {
        cuda_double::reset({.how = m});
        if (auto f = disturbs_the_caller<Engine>(
                same, ckpt::plan_upload(same.targets, {.piece_bytes = 1u << 20}).value(), direct, true);
            !f.empty())
            return f;
    }
    return {};
}

template <class Engine> fault probe() {
    const subject s;
    const auto plan = s.plan();
    typename Engine::options how;
    how.slots = 2;
    how.verify = true;
    for (const mode m : {mode::eager, mode::lazy, mode::random})
        for (const auto layout : {ckpt::upload_layout::file_image, ckpt::upload_layout::packed})
            for (const auto source :
                 {ckpt::upload_source::buffered, ckpt::upload_source::direct, ckpt::upload_source::mapped})
                for (const unsigned readers : {0u, 1u, 3u}) {
                    cuda_double::reset({.how = m, .seed = readers + 1});
                    how.source = source;
                    how.readers = readers;
                    if (auto f = fails_to_upload<Engine>(
                            s, layout == ckpt::upload_layout::packed ? s.plan(layout) : plan, how);
                        !f.empty())
                        return f;
                }
    how.source = ckpt::upload_source::buffered;
    how.readers = 0;

    // Pieces of a mapping that share no page, which are pinned.
    const test_support::temporary_file large{test_support::torch_file(
        test_support::pkl::ordered({{test_support::pkl::str("w"), test_support::pkl::floats("0", 50'000)}}),
        {{"0", test_support::some_floats(50'000, 9)}})};
    subject other;
    other.targets = {{0, ckpt::open(large.path()).value().state_dict().value()}};
    for (const mode m : {mode::lazy, mode::random}) {
        cuda_double::reset({.how = m});
        auto mapped = how;
        mapped.source = ckpt::upload_source::mapped;
        if (auto f = fails_to_upload<Engine>(other, ckpt::plan_upload(other.targets, {.piece_bytes = 4'096}).value(),
                                             mapped);
            !f.empty())
            return f;
    }

    cuda_double::reset({.how = mode::lazy});
    if (auto f = frees_too_early<Engine>(plan, how); !f.empty()) return f;

#if defined(__GLIBC__)
    {
        pthread_attr_t without_room; // for a stack: more than there are addresses
        if (pthread_getattr_default_np(&without_room) != 0 ||
            pthread_attr_setstacksize(&without_room, std::size_t{1} << 47) != 0 ||
            pthread_setattr_default_np(&without_room) != 0)
            return "the system refused the test itself";
        cuda_double::reset({.how = mode::lazy});
        auto threads = how;
        threads.readers = 2;
        if (auto f = fails_to_upload<Engine>(s, plan, threads); !f.empty()) return f;
        pthread_attr_setstacksize(&without_room, std::size_t{8} << 20);
        pthread_setattr_default_np(&without_room);
    }
#endif
    for (const auto source : {ckpt::upload_source::buffered, ckpt::upload_source::mapped}) {
        cuda_double::reset({.how = mode::lazy});
        auto second = how;
        second.source = source;
        if (auto f = makes_a_context<Engine>(other.targets.front().weights, second); !f.empty()) return f;
    }
    if (auto f = stages_wrongly<Engine>(s, plan, how); !f.empty()) return f;
    cuda_double::reset({.how = mode::lazy});
    if (auto f = frees_what_is_in_use<Engine>(plan, how); !f.empty()) return f;
    for (const unsigned readers : {0u, 2u}) {
        auto captured = how;
        captured.readers = readers;
        cuda_double::reset({.how = mode::lazy});
        if (auto f = spoils_a_capture<Engine>(s, plan, captured); !f.empty()) return f;
    }

    // Memory of the caller's, by all ways to it.
    const test_support::temporary_file larger{test_support::torch_file(
        test_support::pkl::ordered({{test_support::pkl::str("w"), test_support::pkl::floats("0", 600'000)}}),
        {{"0", test_support::some_floats(600'000, 9)}})};
    subject both;
    both.targets = {{0, ckpt::open(larger.path()).value().state_dict().value()}, {1, s.weights}};
    const auto both_plan = ckpt::plan_upload(both.targets, {.piece_bytes = 1u << 20}).value();
    for (const mode m : {mode::eager, mode::lazy})
        for (const bool named : {false, true})
            for (const auto source : {ckpt::upload_source::buffered, ckpt::upload_source::gpu_direct}) {
                cuda_double::reset({.how = m});
                auto direct = how;
                direct.source = source;
                direct.past_host = &past_the_host;
                direct.verify = false;
                if (auto f = disturbs_the_caller<Engine>(both, both_plan, direct, named); !f.empty()) return f;
            }

    // Slices by columns, which are gathered from few of the pages that are read.
    subject columns;
    const std::vector<ckpt::shard_rule> sliced{{"a.weight", 1}, {"half", 1}};
    for (std::uint32_t rank = 0; rank < 2; ++rank)
        columns.targets[rank].weights = ckpt::shard(columns.weights, sliced, rank, 2).value();
    for (const auto source : {ckpt::upload_source::buffered, ckpt::upload_source::direct}) {
        cuda_double::reset({.how = mode::lazy});
        auto gathered = how;
        gathered.source = source;
        if (auto f = fails_to_upload<Engine>(columns, ckpt::plan_upload(columns.targets).value(), gathered); !f.empty())
            return f;
    }

    // Tensors that are moved: all of a piece, and some beside large ones, from any place of a page.
    const test_support::temporary_file odd{test_support::unaligned_file()};
    const test_support::temporary_file tiny{test_support::safetensors_of(std::vector<std::size_t>(500, 24), 8)};
    other.targets = {{0, ckpt::open(odd.path()).value().state_dict().value()},
                     {1, ckpt::open(tiny.path()).value().state_dict().value()}};
    for (const mode m : {mode::lazy, mode::random}) {
        cuda_double::reset({.how = m});
        if (auto f =
                fails_to_upload<Engine>(other, ckpt::plan_upload(other.targets, {.piece_bytes = 65'536}).value(), how);
            !f.empty())
            return f;
    }

    // Quantised tensors, as numbers, of which the other target gets the first one's.
    const test_support::temporary_file integers{test_support::quantised_file()};
    const auto quantised = ckpt::open(integers.path()).value().state_dict().value();
    other.targets = {{0, quantised}, {1, quantised}};
    const auto numbers = ckpt::plan_upload(other.targets, {.order = {"wide", "rows"},
                                                           .casts = {{"middle", ckpt::dtype::bfloat16}},
                                                           .dequantize = {"**"},
                                                           .piece_bytes = 4'096,
                                                           .kernels = &double_kernels::table})
                             .value();
    for (const mode m : {mode::eager, mode::lazy, mode::random}) {
        cuda_double::reset({.how = m});
        if (auto f = fails_to_upload<Engine>(other, numbers, how); !f.empty()) return f;
    }

    // As they arrive; the first of them with the first piece, and what kernels convert with the second.
    const auto in_order = s.plan(ckpt::upload_layout::file_image, {"a.bias", "mask", "br*"});
    for (const mode m : {mode::eager, mode::lazy, mode::random})
        for (const unsigned readers : {0u, 2u}) {
            auto arriving = how;
            arriving.readers = readers;
            cuda_double::reset({.how = m, .seed = readers + 1});
            if (auto f = arrives_wrongly<Engine>(s, in_order, arriving); !f.empty()) return f;
            cuda_double::reset({.how = m, .seed = readers + 1});
            if (auto f = stops_wrongly<Engine>(in_order, arriving); !f.empty()) return f;
        }
    cuda_double::reset({.how = mode::lazy});
    const cudaStream_t callers[2]{};
    if (!Engine::start(ckpt::detail::cuda_api{}, in_order, how, callers)) return "no upload"; // that nobody waits for
    if (auto f = at_the_end(); !f.empty()) return f;
    cuda_double::reset({.how = mode::lazy});
    if (auto f = arrives_with_a_context<Engine>(s.weights, how); !f.empty()) return f;
    cuda_double::reset({.how = mode::lazy});
    if (auto f = pins_twice<Engine>(how); !f.empty()) return f;
    for (std::uint64_t n = 1, calls = 1; n <= calls; ++n) {
        cuda_double::reset({.how = mode::lazy});
        cuda_double::fail_call(n, cudaErrorUnknown);
        {
            const cudaStream_t callers[2]{};
            const auto started = Engine::start(ckpt::detail::cuda_api{}, plan, how, callers);
            if (!started) return "no upload: " + started.error().message();
            bool failed = false;
            for (const auto& t : (*started)->plan().tensors) failed = !(*started)->await(t, nullptr) || failed;
            const auto memory = (*started)->get();
            if (!memory || !(*memory)->wait()) failed = true;
            if (memory && !(*memory)->failure() && !is_right(**memory, s.targets))
                return "wrong values after a failure";
            bool was_order = false; // of one of the tensors' streams, which nobody else would miss
            for (const char* call : {"cudaEventRecord", "cudaStreamWaitEvent"})
                was_order = was_order ||
                            (n <= cuda_double::log().size() && cuda_double::log()[n - 1] == std::string_view{call});
            if (was_order && !failed) return "a failed call that is forgotten";
        }
        calls = cuda_double::calls();
        if (auto f = at_the_end(); !f.empty()) return f;
    }
    if (auto f = judge_memory<Engine>(s, how); !f.empty()) return f;

    // Each call fails once.
    for (const bool sticky : {false, true})
        for (std::uint64_t n = 1, calls = 1; n <= calls; ++n) {
            cuda_double::reset({.how = mode::lazy});
            cuda_double::fail_call(n, sticky ? cudaErrorIllegalAddress : cudaErrorUnknown, sticky);
            {
                auto memory = Engine::run(ckpt::detail::cuda_api{}, plan, how);
                if (memory) {
                    const bool waited = (*memory)->wait().has_value();
                    if (waited == (*memory)->failure().has_value()) return "a failed wait that is forgotten";
                    if (waited && !is_right(**memory, s.targets)) return "wrong values after a failure";
                } else if (memory.error().code != (sticky ? errc::device_lost : errc::device_failed)) {
                    return "the wrong error: " + memory.error().message();
                }
            }
            calls = cuda_double::calls();
            if (auto f = at_the_end(); !f.empty()) return f;
        }

    // What cannot succeed.
    for (const unsigned readers : {0u, 2u}) {
        how.readers = readers;
        cuda_double::reset({.how = mode::lazy});
        cuda_double::set_memory(1, 10'000);
        if (auto f = fails_with_an_error<Engine>(plan, how, errc::device_memory); !f.empty()) return f;

        cuda_double::reset({.how = mode::lazy});
        const std::vector<ckpt::device_place> places(2, {reinterpret_cast<void*>(std::uintptr_t{4'096}), 512});
        auto given = how;
        given.places = places;
        if (auto f = fails_with_an_error<Engine>(plan, given, errc::device_memory); !f.empty()) return f;

        cuda_double::reset({.how = mode::lazy});
        int calls = 0;
        auto stop = [&](const auto&) { return ++calls < 3; };
        auto stopped = how;
        stopped.progress = stop;
        if (auto f = fails_with_an_error<Engine>(plan, stopped, errc::cancelled); !f.empty()) return f;

        subject damaged;
        damaged.bytes[damaged.bytes.find(test_support::some_floats(2'310, 3)) + 5'000] ^= 4;
        damaged.path.write(damaged.bytes);
        cuda_double::reset({.how = mode::lazy});
        if (auto f = fails_with_an_error<Engine>(damaged.plan(), how, errc::checksum_mismatch); !f.empty()) return f;

        const subject cut;
        const std::vector<ckpt::upload_target> stored{{0, cut.weights}};
        const auto cut_plan = ckpt::plan_upload(stored, {.piece_bytes = 4'096}).value();
        const auto narrow =
            ckpt::plan_upload(stored, {.select = {"half"}, .casts = {{"**", ckpt::dtype::bfloat16}}}).value();
        fs::resize_file(cut.path.path(), cut.weights.at("half").value().file_offset().value() + 1'000);
        cuda_double::reset({.how = mode::lazy});
        auto unverified = how;
        unverified.verify = false;
        if (auto f = fails_with_an_error<Engine>(cut_plan, unverified, errc::truncated); !f.empty()) return f;
        cuda_double::reset({.how = mode::lazy});
        if (auto f = fails_with_an_error<Engine>(narrow, unverified, errc::truncated); !f.empty()) return f;
    }
    return {};
}

using engine_list = std::vector<std::pair<const char*, fault (*)()>>; ///< names, and what probes them

/// Judges each engine in a process of its own; the last line counts.
inline int judge(const engine_list& engines) {
    int passed = 0, failed = 0;
    for (const auto& [name, run] : engines) {
        const bool is_engine = std::string(name) == "none";
        std::fflush(stdout);
        const pid_t child = fork();
        if (child == 0) {
            alarm(20);
            const fault found = run();
            if (is_engine && !found.empty()) std::fprintf(stderr, "%s\n", found.c_str());
            std::_Exit(found.empty() ? 0 : 1);
        }
        int status = 0;
        waitpid(child, &status, 0);
        const bool found = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
        const bool good = found != is_engine;
        (good ? passed : failed) += 1;
        std::printf("%s: %s\n", name,
                    is_engine ? (found ? "FOUND GUILTY, and is the engine itself" : "no fault found")
                    : found   ? (WIFEXITED(status) ? "caught" : "caught: it crashed or hung")
                              : "NOT CAUGHT");
    }
    std::printf("%d passed, %d failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}

} // namespace probing

using probing::judge;
using probing::probe;
