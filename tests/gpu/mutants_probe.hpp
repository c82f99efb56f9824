// tests/gpu/mutants_probe.hpp: whether an upload engine is wrong, over the double of the CUDA runtime.
//
// SPDX-License-Identifier: MIT
// In:      an engine: `run(api, plan, options)` and its options.
// Out:     what is wrong with it, where one of the scenarios finds fault. A crash and a wait without end count as
//          found.
#pragma once

#include <ckpt/ckpt.hpp>
#include <ckpt/gpu/cuda_api.hpp>
#include <ckpt/gpu/upload_plan.hpp>
#include <ckpt/state/shard.hpp>

#include "../support/temporary_file.hpp"
#include "../support/upload_files.hpp"
#include "cuda_double.hpp"
#include "double_kernels.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <span>
#include <string>
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
    [[nodiscard]] ckpt::upload_plan plan(ckpt::upload_layout layout = ckpt::upload_layout::file_image) const {
        return ckpt::plan_upload(targets, {.casts = {{"half", ckpt::dtype::float64},
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
            test_support::values_of(from[t.target].weights.at(t.key).value(), t.type))
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
                            .most_allocated = l.allocated});
        {
            auto memory = Engine::run(ckpt::detail::cuda_api{}, plan, how);
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
    std::vector<std::vector<std::byte>> back(plan.targets());
    const auto on_each = [&](auto f) {
        for (std::size_t t = 0; t < plan.targets(); ++t) {
            must(cudaSetDevice(plan.device(t)));
            f(t);
        }
        must(cudaSetDevice(0));
    };
    const auto use = [&](std::size_t t) {
        must(cudaMemcpyAsync(back[t].data(), places[t].data, places[t].bytes, cudaMemcpyDeviceToHost, streams[t]));
    };
    on_each([&](std::size_t t) {
        if (named) must(cudaStreamCreateWithFlags(&streams[t], cudaStreamNonBlocking));
        places[t].bytes = static_cast<std::size_t>(plan.device_bytes(t));
        must(cudaMallocAsync(&places[t].data, places[t].bytes, streams[t]));
        back[t].resize(places[t].bytes);
        must(cudaHostRegister(back[t].data(), back[t].size(), cudaHostRegisterDefault));
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
        must(cudaHostUnregister(back[t].data()));
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

/// Judges each engine in a process of its own; the last line counts.
inline int judge(const std::vector<std::pair<const char*, fault (*)()>>& engines) {
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
