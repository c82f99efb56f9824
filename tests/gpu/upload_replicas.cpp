// tests/gpu/upload_replicas.cpp: uploads of one state_dict to several devices, which copy it from each other.
//
// SPDX-License-Identifier: MIT
#include <ckpt/cuda.hpp>
#include <ckpt/state/shard.hpp>

#include "../support/upload_files.hpp"
#include "cuda_double.hpp"
#include "cufile_double.hpp"
#include "on_double.hpp"
#include "opened_gds.hpp"
#include "widening.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <dlfcn.h>

namespace upload_replicas_test {

using ckpt::errc;
using ckpt::upload_layout;
using ckpt::upload_source;
using ckpt::cuda::upload;
using ckpt::cuda::upload_options;
using cuda_double::mode;
using namespace test_support;
using namespace on_double;
using widening_kernel::give_kernel_a_body;
using widening_kernel::widening;

namespace {

std::vector<ckpt::upload_target> on(const ckpt::state_dict& weights, const std::vector<int>& devices) {
    std::vector<ckpt::upload_target> out;
    for (const int device : devices) out.push_back({device, weights});
    return out;
}

/// Its bytes that come from the host, if each target gets them from there.
std::uint64_t copied_bytes(const ckpt::upload_plan& plan, std::size_t target) {
    std::uint64_t out = 0;
    for (const auto& c : ckpt::detail::upload_plan_access::data(plan)->copies) out += c.target == target ? c.bytes : 0;
    return out;
}

ckpt::upload_plan plan_for(const std::vector<ckpt::upload_target>& targets,
                           upload_layout layout = upload_layout::file_image) {
    give_kernel_a_body();
    return ckpt::plan_upload(targets, {.casts = {{"half", ckpt::dtype::float64}, {"br*", ckpt::dtype::float32}},
                                       .layout = layout,
                                       .piece_bytes = 4'096,
                                       .kernels = &widening})
        .value();
}

} // namespace

TEST_CASE("upload: one state_dict for several devices crosses the host's link once, then goes from device to device") {
    const opened file{upload_file()};
    const auto targets = on(file.weights, {0, 1, 2, 3});
    for (const mode how : {mode::eager, mode::lazy, mode::random})
        for (const auto layout : {upload_layout::file_image, upload_layout::packed})
            for (const unsigned readers : {0u, 2u}) {
                const auto plan = plan_for(targets, layout);
                cuda_double::reset({.how = how, .seed = readers + 1, .devices = 4});
                {
                    upload_options options = busy(readers);
                    options.verify = true;
                    auto there = upload(plan, options).value();
                    REQUIRE(there.wait().has_value());
                    for (std::size_t t = 0; t < 4; ++t) compare(there, file.weights, t);
                    const auto totals = cuda_double::totals();
                    CHECK(totals.copied_bytes - totals.peer_bytes == copied_bytes(plan, 0));
                    CHECK(totals.peer_bytes == there.report().peer_bytes);
                    CHECK(totals.peer_bytes % 3 == 0);
                    CHECK(totals.staged_bytes == 0);
                    CHECK(there.report().copies == totals.copies);
                    CHECK(there.report().peers.empty());
                    CHECK(totals.peak_device_bytes[0] == plan.device_bytes(0) + plan.scratch_bytes(0));
                    CHECK(totals.peak_device_bytes[1] == plan.device_bytes(1)); // no scratch
                    CHECK(cudaGetLastError() == cudaSuccess);
                }
                clean_end();
            }
}

TEST_CASE("upload: replicas get what kernels convert and make dense, behind the kernels of the first one") {
    const opened file{file_for_kernels()};
    double_kernels::give_bodies();
    for (const mode how : {mode::eager, mode::lazy, mode::random})
        for (const auto layout : {upload_layout::file_image, upload_layout::packed})
            for (const unsigned readers : {0u, 2u}) {
                const upload_options options = on_the_device(readers);
                const auto plan = ckpt::plan_upload(on(file.weights, {0, 1, 1, 2}), {.casts = options.casts,
                                                                                     .layout = layout,
                                                                                     .piece_bytes = options.piece_bytes,
                                                                                     .kernels = options.kernels})
                                      .value();
                cuda_double::reset({.how = how, .seed = readers + 1, .devices = 3});
                {
                    auto there = upload(plan, options).value();
                    REQUIRE(there.wait().has_value());
                    for (std::size_t t = 0; t < 4; ++t) compare(there, file.weights, t);
                    std::uint64_t bytes = 0; // each tensor once, whatever pieces it came in
                    for (const std::string_view key : there.keys()) bytes += there.at(key).value().nbytes;
                    CHECK(there.report().peer_bytes == 3 * bytes);
                }
                clean_end();
            }
}

TEST_CASE("upload: where devices do not reach each other the host fills the target, and the report says why") {
    const opened file{upload_file()};
    const auto targets = on(file.weights, {0, 1, 2});
    const auto plan = plan_for(targets);
    struct trial {
        std::vector<std::pair<int, int>> unreachable;
        std::uint64_t from_host; // how many targets
    };
    for (const trial& t : {trial{{}, 1}, trial{{{1, 0}}, 2}, trial{{{2, 1}}, 1}, trial{{{2, 1}, {2, 0}}, 2},
                           trial{{{1, 0}, {2, 1}, {2, 0}}, 3}})
        for (const mode how : {mode::lazy, mode::random}) {
            cuda_double::reset({.how = how, .devices = 3});
            for (const auto& [device, other] : t.unreachable) cuda_double::set_peer_access(device, other, false);
            {
                auto there = upload(plan, busy(1)).value();
                REQUIRE(there.wait().has_value());
                for (std::size_t i = 0; i < 3; ++i) compare(there, file.weights, i);
                const auto totals = cuda_double::totals();
                CHECK(totals.copied_bytes - totals.peer_bytes == t.from_host * copied_bytes(plan, 0));
                CHECK(totals.staged_bytes == 0);
                CHECK(there.report().peers.empty() == (t.from_host == 1));
                if (t.from_host == 2)
                    CHECK(there.report().peers == (t.unreachable.size() == 1
                                                       ? "device 1 cannot read the memory of device 0"
                                                       : "device 2 cannot read the memory of device 1"));
            }
            clean_end();
        }
    // Refused only when it is enabled; and enabled by somebody else before.
    cuda_double::reset({.how = mode::lazy, .devices = 2});
    REQUIRE(cudaDeviceEnablePeerAccess(1, 0) == cudaSuccess);
    REQUIRE(cudaSetDevice(1) == cudaSuccess);
    REQUIRE(cudaDeviceEnablePeerAccess(0, 0) == cudaSuccess);
    REQUIRE(cudaSetDevice(0) == cudaSuccess);
    {
        auto there = upload(plan_for(on(file.weights, {0, 1})), busy()).value();
        CHECK(there.report().peers.empty());
        CHECK(there.report().peer_bytes != 0);
        CHECK(cudaGetLastError() == cudaSuccess);
        REQUIRE(there.wait().has_value());
    }
    clean_end();
}

TEST_CASE("upload: only targets of one state_dict are replicas; others beside them are filled as ever") {
    const opened file{upload_file()};
    const std::vector<ckpt::shard_rule> rows{{"a.weight", 0}};
    std::vector<ckpt::upload_target> targets;
    for (const std::uint32_t rank : {0u, 1u}) {
        const auto part = ckpt::shard(file.weights, rows, rank, 2).value();
        targets.push_back({static_cast<int>(rank), part});
        targets.push_back({static_cast<int>(rank) + 2, part});
    }
    const auto plan = plan_for(targets); // of the ranks 0, 0, 1, 1 on the devices 0, 2, 1, 3
    CHECK(plan.text().find("device 2: ") != std::string::npos);
    CHECK(plan.text().find(", the same as target 0, from which it may be copied") != std::string::npos);
    CHECK(plan.text().find(", the same as target 2, from which it may be copied") != std::string::npos);
    CHECK(plan.text().find(", the same as target 1") == std::string::npos);
    for (const mode how : {mode::lazy, mode::random}) {
        cuda_double::reset({.how = how, .devices = 4});
        {
            auto there = upload(plan, busy(1)).value();
            REQUIRE(there.wait().has_value());
            for (std::size_t t = 0; t < 4; ++t) compare(there, targets[t].weights, t);
            const auto totals = cuda_double::totals();
            CHECK(totals.copied_bytes - totals.peer_bytes == copied_bytes(plan, 0) + copied_bytes(plan, 2));
        }
        clean_end();
    }
}

TEST_CASE("upload: the same device twice is copied on the device, without peers") {
    const opened file{upload_file()};
    for (const mode how : {mode::eager, mode::lazy, mode::random})
        for (const bool ordered : {false, true}) {
            cuda_double::reset({.how = how});
            {
                const auto plan = plan_for(on(file.weights, {1, 1}));
                upload_options options = busy(1);
                options.stream_ordered = ordered;
                auto there = upload(plan, options).value();
                REQUIRE(there.wait().has_value());
                compare(there, file.weights, 0);
                compare(there, file.weights, 1);
                CHECK(there.at("a.weight", 0).value().data != there.at("a.weight", 1).value().data);
                CHECK(there.report().peer_bytes != 0);
                CHECK(cuda_double::totals().peer_bytes == 0); // over no link
            }
            CHECK(!cuda_double::has_context(0));
            clean_end();
        }
}

TEST_CASE("upload: replicas are in memory of the caller's behind the caller's work, and may be used at once") {
    const opened file{upload_file()};
    const auto plan = plan_for(on(file.weights, {0, 1, 2}));
    for (const mode how : {mode::eager, mode::lazy, mode::random})
        for (const bool placed : {false, true}) {
            cuda_double::reset({.how = how, .devices = 3});
            std::vector<cudaStream_t> streams(3);
            std::vector<ckpt::device_place> places(3);
            std::vector<std::byte> back(512);
            REQUIRE(cudaHostRegister(back.data(), back.size(), cudaHostRegisterPortable) == cudaSuccess);
            const auto on_each = [&](auto f) {
                for (std::size_t t = 0; t < 3; ++t) {
                    REQUIRE(cudaSetDevice(static_cast<int>(t)) == cudaSuccess);
                    f(t);
                }
                REQUIRE(cudaSetDevice(0) == cudaSuccess);
            };
            on_each([&](std::size_t t) {
                REQUIRE(cudaStreamCreateWithFlags(&streams[t], cudaStreamNonBlocking) == cudaSuccess);
                places[t].bytes = static_cast<std::size_t>(plan.device_bytes(t));
                REQUIRE(cudaMallocAsync(&places[t].data, places[t].bytes, streams[t]) == cudaSuccess);
                REQUIRE(cudaMemsetAsync(places[t].data, 7, places[t].bytes, streams[t]) == cudaSuccess);
            });
            {
                upload_options options = busy(1);
                options.streams = streams;
                options.stream_ordered = !placed;
                if (placed) options.places = places;
                auto there = upload(plan, options).value();
                // Written at once, in the order of each target's stream: no other one has it from there any more.
                on_each([&](std::size_t t) {
                    const auto mine = there.memory(t);
                    REQUIRE(cudaMemsetAsync(mine.data, static_cast<int>(t) + 1, 256, streams[t]) == cudaSuccess);
                });
                REQUIRE(there.wait().has_value());
                on_each([&](std::size_t t) { REQUIRE(cudaStreamSynchronize(streams[t]) == cudaSuccess); });
                for (std::size_t t = 0; t < 3; ++t)
                    CHECK(cuda_double::read(there.memory(t).data, 256) ==
                          std::vector<std::byte>(256, static_cast<std::byte>(t + 1)));
                const auto at = [&](std::size_t t) { return there.at("steps", t).value(); };
                CHECK(cuda_double::read(at(2).data, static_cast<std::size_t>(at(2).nbytes)) ==
                      values_of(file.weights.at("steps").value(), ckpt::dtype::int64));
            }
            on_each([&](std::size_t t) {
                REQUIRE(cudaFreeAsync(places[t].data, streams[t]) == cudaSuccess);
                REQUIRE(cudaStreamSynchronize(streams[t]) == cudaSuccess);
                REQUIRE(cudaStreamDestroy(streams[t]) == cudaSuccess);
            });
            REQUIRE(cudaHostUnregister(back.data()) == cudaSuccess);
            clean_end();
        }
}

TEST_CASE("upload: what GPUDirect Storage reads to the first device the others copy from it") {
    const opened file{
        torch_file(pkl::ordered({{pkl::str("w"), pkl::floats("0", 1'500'000)}, {pkl::str("b"), pkl::floats("1", 5)}}),
                   {{"0", some_floats(1'500'000, 1)}, {"1", some_floats(5, 2)}})};
    void* const library = dlopen("libcufile.so.0", RTLD_NOW);
    REQUIRE(library != nullptr);
    const auto find = [&](const char* name) { return dlsym(library, name); };
    for (const mode how : {mode::eager, mode::lazy, mode::random})
        for (const unsigned readers : {0u, 2u})
            for (const bool failing : {false, true}) {
                cuda_double::reset({.how = how, .devices = 3});
                reinterpret_cast<void (*)(cufile_failure, unsigned long)>(find("cufile_double_reset"))(
                    failing ? cufile_failing_read : cufile_no_failure, 1);
                {
                    const auto driver = opened_gds();
                    const auto plan = ckpt::plan_upload(on(file.weights, {0, 1, 2}), {.piece_bytes = 1u << 20}).value();
                    upload_options options;
                    options.readers = readers;
                    options.source = upload_source::gpu_direct;
                    options.past_host = driver.reader();
                    auto there = upload(plan, options).value();
                    REQUIRE(there.wait().has_value());
                    for (std::size_t t = 0; t < 3; ++t) compare(there, file.weights, t);
                    CHECK(there.report().fallback.empty() == !failing);
                    if (!failing) CHECK(reinterpret_cast<unsigned long (*)()>(find("cufile_double_reads"))() >= 4);
                    CHECK(there.report().peer_bytes >= 2 * 6'000'000);
                }
                reinterpret_cast<void (*)()>(find("cufile_double_end"))();
                clean_end();
            }
    dlclose(library);
}

namespace {

/// Memory that an engine took before, and gives in parts.
struct bump_memory {
    static constexpr std::size_t bytes = 1 << 20;
    std::vector<void*> blocks{};
    std::vector<std::size_t> used{};
    std::size_t given{0};
    ckpt::device_allocator table{this, &allocate, &release};

    explicit bump_memory(int devices) : blocks(static_cast<std::size_t>(devices)), used(blocks.size()) {
        for (std::size_t d = 0; d < blocks.size(); ++d) {
            REQUIRE(cudaSetDevice(static_cast<int>(d)) == cudaSuccess);
            REQUIRE(cudaMalloc(&blocks[d], bytes) == cudaSuccess);
        }
        REQUIRE(cudaSetDevice(0) == cudaSuccess);
    }
    static void* allocate(void* context, std::size_t wanted, int device, void*) {
        auto& m = *static_cast<bump_memory*>(context);
        const auto d = static_cast<std::size_t>(device);
        std::byte* const out = static_cast<std::byte*>(m.blocks[d]) + m.used[d];
        m.used[d] += (wanted + 255) / 256 * 256;
        ++m.given;
        return out;
    }
    static void release(void* context, void*, std::size_t, int, void*) { --static_cast<bump_memory*>(context)->given; }
};

} // namespace

TEST_CASE("upload: every call fails once while there are an allocator, staging memory that is kept, and replicas") {
    const opened file{upload_file()};
    const auto plan = plan_for(on(file.weights, {0, 1, 1}));
    struct failure {
        cudaError_t code;
        bool sticky;
        errc expected;
    };
    std::size_t runs = 0;
    for (const bool allocator : {false, true})
        for (const failure& f : {failure{cudaErrorUnknown, false, errc::device_failed},
                                 failure{cudaErrorMemoryAllocation, false, errc::device_memory},
                                 failure{cudaErrorIllegalAddress, true, errc::device_lost}}) {
            const auto once = [&](std::uint64_t n) {
                CAPTURE(n);
                cuda_double::reset({.how = n % 2 == 0 ? mode::lazy : mode::random, .seed = n});
                bump_memory memory{2};
                const std::uint64_t before = cuda_double::calls();
                if (n != 0) cuda_double::fail_call(before + n, f.code, f.sticky);
                std::uint64_t calls = 0;
                {
                    ckpt::cuda::staging_pool pool;
                    for (int i = 0; i < 2; ++i) { // the second has the staging memory of the first
                        upload_options options = busy(0);
                        options.staging = &pool;
                        options.stream_ordered = true;
                        if (allocator) options.allocator = &memory.table;
                        auto there = upload(plan, options);
                        if (!there) {
                            CHECK(there.error().code == f.expected);
                            CHECK(there.error().os_code == f.code);
                        } else if (const auto waited = there->wait(); !waited) {
                            CHECK(waited.error().code == f.expected);
                        } else {
                            CHECK((cudaGetLastError() == cudaSuccess || f.sticky));
                            for (std::size_t t = 0; t < 3; ++t) compare(*there, file.weights, t);
                        }
                    }
                    CHECK(cuda_double::totals().staged_bytes == 0);
                    calls = cuda_double::calls() - before;
                }
                CHECK(memory.given == 0);
                for (void* const block : memory.blocks) (void)cudaFree(block);
                cuda_double::end();
                CHECK_MESSAGE(cuda_double::violations().empty(), cuda_double::report());
                ++runs;
                return calls;
            };
            const std::uint64_t calls = once(0);
            REQUIRE(calls > 100);
            for (std::uint64_t n = 1; n <= calls; ++n) (void)once(n);
        }
    MESSAGE(runs << " runs");
}

} // namespace upload_replicas_test
