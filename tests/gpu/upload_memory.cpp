// tests/gpu/upload_memory.cpp: uploads into memory of an engine's own allocator, and staging memory that it keeps.
//
// SPDX-License-Identifier: MIT
#include <ckpt/cuda_async.hpp>

#include "../support/bytes_read.hpp"
#include "../support/upload_files.hpp"
#include "cuda_double.hpp"
#include "on_double.hpp"
#include "widening.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace upload_memory_test {

using ckpt::errc;
using ckpt::upload_source;
using ckpt::cuda::staging_pool;
using ckpt::cuda::upload;
using ckpt::cuda::upload_options;
using cuda_double::mode;
using namespace test_support;
using namespace on_double;
using widening_kernel::give_kernel_a_body;
using widening_kernel::widening;

namespace {

/// An allocator of an engine, over the device's pool or over cudaMalloc, which knows what it gave.
struct engine_memory {
    struct block {
        void* memory;
        std::size_t bytes;
        int device;
    };
    bool from_pool{true};
    std::size_t shift{0}; ///< what it gives begins so many bytes behind a multiple of 256
    std::size_t left{~std::size_t{0}};
    std::size_t asked{0};
    std::vector<block> given{};
    std::vector<void*> streams{};
    ckpt::device_allocator table{this, &allocate, &release};

    static void check_current(int device) {
        int now = -1;
        CHECK(cudaGetDevice(&now) == cudaSuccess);
        CHECK(now == device);
    }
    static void* allocate(void* context, std::size_t bytes, int device, void* stream) {
        auto& m = *static_cast<engine_memory*>(context);
        check_current(device);
        ++m.asked;
        m.streams.push_back(stream);
        if (m.given.size() >= m.left) return nullptr;
        void* out = nullptr;
        const auto s = static_cast<cudaStream_t>(stream);
        const std::size_t all = bytes + m.shift;
        if ((m.from_pool ? cudaMallocAsync(&out, all, s) : cudaMalloc(&out, all)) != cudaSuccess) return nullptr;
        m.given.push_back({static_cast<std::byte*>(out) + m.shift, bytes, device});
        return m.given.back().memory;
    }
    static void release(void* context, void* memory, std::size_t bytes, int device, void* stream) {
        auto& m = *static_cast<engine_memory*>(context);
        check_current(device);
        m.streams.push_back(stream);
        const auto at =
            std::find_if(m.given.begin(), m.given.end(), [&](const block& b) { return b.memory == memory; });
        REQUIRE(at != m.given.end());
        CHECK(at->bytes == bytes);
        CHECK(at->device == device);
        m.given.erase(at);
        void* const begin = static_cast<std::byte*>(memory) - m.shift;
        const auto s = static_cast<cudaStream_t>(stream);
        CHECK((m.from_pool ? cudaFreeAsync(begin, s) : cudaFree(begin)) == cudaSuccess);
    }
};

/// What the device widens, so that scratch memory is needed.
upload_options widened(unsigned readers = 1) {
    give_kernel_a_body();
    upload_options out = busy(readers);
    out.casts = {{"br*", ckpt::dtype::float32}};
    out.kernels = &widening;
    return out;
}

std::size_t count_calls(const std::string& name) {
    const auto log = cuda_double::log();
    return static_cast<std::size_t>(std::count_if(log.begin(), log.end(), [&](const char* n) { return n == name; }));
}

cudaStream_t new_stream(int device) {
    cudaStream_t out{};
    REQUIRE(cudaSetDevice(device) == cudaSuccess);
    REQUIRE(cudaStreamCreateWithFlags(&out, cudaStreamNonBlocking) == cudaSuccess);
    REQUIRE(cudaSetDevice(0) == cudaSuccess);
    return out;
}

/// Until nothing is pinned by an upload any more.
void wait_for(const staging_pool& pool, std::uint64_t bytes) {
    for (int i = 0; i < 2'000 && pool.bytes() != bytes; ++i) std::this_thread::sleep_for(std::chrono::milliseconds{5});
}

} // namespace

TEST_CASE("upload: an allocator of the caller's gives all device memory, in the order of the caller's stream") {
    const opened file{upload_file()};
    for (const mode how : {mode::eager, mode::lazy, mode::random})
        for (const int device : {0, 1})
            for (const bool named : {false, true}) {
                cuda_double::reset({.how = how});
                std::vector<std::byte> back(4 * 64 * 96);
                REQUIRE(cudaHostRegister(back.data(), back.size(), cudaHostRegisterDefault) == cudaSuccess);
                const cudaStream_t stream = named ? new_stream(device) : nullptr;
                engine_memory mine;
                {
                    upload_options options = widened();
                    options.device = device;
                    options.stream = stream;
                    options.allocator = &mine.table;
                    auto there = upload(file.weights, options).value();
                    CHECK(mine.asked == 2); // scratch, too
                    REQUIRE(cudaSetDevice(device) == cudaSuccess);
                    REQUIRE(cudaMemcpyAsync(back.data(), there.data<float>("a.weight").value(), back.size(),
                                            cudaMemcpyDeviceToHost, stream) == cudaSuccess);
                    REQUIRE(cudaSetDevice(0) == cudaSuccess);
                    REQUIRE(there.wait().has_value());
                    compare(there, file.weights);
                    CHECK(mine.given.size() == 1); // scratch is back
                    CHECK(there.memory().data == mine.given.front().memory);
                }
                CHECK(mine.given.empty());
                CHECK(std::all_of(mine.streams.begin(), mine.streams.end(), [&](void* s) { return s == stream; }));
                CHECK(count_calls("cudaMalloc") + count_calls("cudaFree") == 0);
                REQUIRE(cudaSetDevice(device) == cudaSuccess);
                REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
                if (named) REQUIRE(cudaStreamDestroy(stream) == cudaSuccess);
                REQUIRE(cudaSetDevice(0) == cudaSuccess);
                REQUIRE(cudaHostUnregister(back.data()) == cudaSuccess);
                clean_end();
            }
}

TEST_CASE(
    "upload: with an allocator nothing comes from the device's pool, and memory of the caller's stays its place") {
    const opened file{upload_file()};
    for (const bool placed : {false, true}) {
        cuda_double::reset({.how = mode::lazy});
        engine_memory mine;
        mine.from_pool = false;
        void* memory = nullptr;
        {
            upload_options options = widened();
            options.allocator = &mine.table;
            options.stream_ordered = true;
            const auto plan =
                ckpt::plan_upload(file.weights,
                                  {.casts = options.casts, .piece_bytes = options.piece_bytes, .kernels = &widening})
                    .value();
            REQUIRE(cudaMalloc(&memory, static_cast<std::size_t>(plan.device_bytes(0))) == cudaSuccess);
            const ckpt::device_place places[]{{memory, static_cast<std::size_t>(plan.device_bytes(0))}};
            if (placed) options.places = places;
            auto there = upload(plan, options).value();
            REQUIRE(there.wait().has_value());
            compare(there, file.weights);
            CHECK(mine.asked == (placed ? 1 : 2));
            CHECK((there.memory().data == memory) == placed);
            CHECK(count_calls("cudaMallocAsync") == 0);
        }
        CHECK(mine.given.empty());
        REQUIRE(cudaFree(memory) == cudaSuccess);
        clean_end();
    }
}

TEST_CASE("upload: an allocator that has no memory, gives it at other places than multiples of 256, or throws") {
    const opened file{upload_file()};
    for (const mode how : {mode::eager, mode::lazy}) {
        for (const std::size_t left : {0u, 1u, 2u}) { // none, none for scratch, all
            cuda_double::reset({.how = how});
            engine_memory mine;
            mine.left = left;
            upload_options options = widened();
            options.allocator = &mine.table;
            {
                const auto there = upload(file.weights, options);
                CHECK(there.has_value() == (left == 2));
                if (!there) {
                    CHECK(there.error().code == errc::device_memory);
                    CHECK(there.error().detail.find("the caller's allocator refused ") == 0);
                    CHECK(there.error().detail.find(" bytes on device 0") != std::string::npos);
                }
            }
            CHECK(mine.given.empty());
            clean_end();
        }
        for (const std::size_t shift : {128u, 256u}) {
            cuda_double::reset({.how = how});
            engine_memory mine;
            mine.shift = shift;
            upload_options options = widened();
            options.allocator = &mine.table;
            {
                const auto there = upload(file.weights, options);
                CHECK(there.has_value() == (shift == 256));
                if (!there) CHECK(there.error().code == errc::misaligned);
            }
            CHECK(mine.given.empty());
            clean_end();
        }
        for (const int device : {0, 1}) { // by the calling thread, and beside it
            cuda_double::reset({.how = how});
            struct thrown {};
            const ckpt::device_allocator throwing{
                .allocate = [](void*, std::size_t, int, void*) -> void* { throw thrown{}; },
                .release = [](void*, void*, std::size_t, int, void*) {}};
            upload_options options = widened();
            options.device = device;
            options.allocator = &throwing;
            CHECK_THROWS_AS((void)upload(file.weights, options), thrown);
            clean_end();
        }
    }
}

TEST_CASE("upload: memory of an allocator stays for an export, and where its copies cannot be waited for, for good") {
    const opened file{upload_file()};
    cuda_double::reset({.how = mode::lazy});
    engine_memory mine;
    upload_options options = busy();
    options.allocator = &mine.table;
    ckpt::dlpack_managed_tensor* taken = nullptr;
    {
        auto there = upload(file.weights, options).value();
        taken = there.to_dlpack("turned").value();
    }
    CHECK(mine.given.size() == 1);
    taken->deleter(taken);
    CHECK(mine.given.empty());
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
    clean_end();

    cuda_double::reset({.how = mode::lazy});
    {
        ckpt::detail::engine_options how;
        how.slots = 2;
        how.readers = 0;
        how.allocator = &mine.table;
        const auto plan = ckpt::plan_upload(file.weights, {.piece_bytes = 4'096}).value();
        const auto there = ckpt::detail::run_upload(ckpt::detail::cuda_api{}, plan, how).value();
        for (std::uint64_t n = 1, calls = cuda_double::calls(); n <= 20; ++n)
            cuda_double::fail_call(calls + n, cudaErrorUnknown);
        CHECK(!there->wait());
    }
    CHECK(mine.given.size() == 1);
}

TEST_CASE("upload: staging memory is pinned once for several uploads, and freed with the pool") {
    const opened file{upload_file()};
    for (const mode how : {mode::eager, mode::lazy, mode::random})
        for (const unsigned readers : {0u, 2u}) {
            cuda_double::reset({.how = how, .seed = readers});
            {
                staging_pool pool;
                CHECK(pool.bytes() == 0);
                upload_options options = busy(readers);
                options.staging = &pool;
                for (int i = 0; i < 3; ++i) {
                    auto there = upload(file.weights, options).value();
                    REQUIRE(there.wait().has_value());
                    compare(there, file.weights);
                    CHECK(there.report().pinned_bytes == 8'192);
                    CHECK(there.report().reused_bytes == (i == 0 ? 0 : 8'192));
                    CHECK(there.report().pinning.empty());
                    CHECK(pool.bytes() == 8'192); // though the tensors are there still
                }
                CHECK(count_calls("cudaHostRegister") == 1);
                REQUIRE(pool.release().has_value());
                CHECK(pool.bytes() == 0);
                CHECK(cuda_double::totals().registered_bytes == 0);
                auto there = upload(file.weights, options).value();
                REQUIRE(there.wait().has_value());
                CHECK(there.report().reused_bytes == 0);
            }
            CHECK(cuda_double::totals().registered_bytes == 0);
            clean_end();
        }
}

TEST_CASE("upload: uploads at the same time have staging memory of their own, which the pool keeps for as many") {
    const opened file{upload_file()};
    cuda_double::reset({.how = mode::random});
    {
        staging_pool pool;
        upload_options options = busy(1);
        options.staging = &pool;
        for (int round = 0; round < 2; ++round) {
            std::vector<std::thread> threads;
            for (int t = 0; t < 3; ++t)
                threads.emplace_back([&] {
                    for (int i = 0; i < 4; ++i) {
                        auto there = upload(file.weights, options).value();
                        if (i % 2 == 0) REQUIRE(there.wait().has_value());
                    }
                });
            for (std::thread& t : threads) t.join();
        }
        CHECK(pool.bytes() >= 8'192);
        CHECK(pool.bytes() <= 3 * 8'192);
        CHECK(pool.bytes() == cuda_double::totals().registered_bytes);
    }
    clean_end();
}

TEST_CASE(
    "upload: a ring that was kept is used where it is large enough; one that is too small makes room for another") {
    const opened file{upload_file()};
    cuda_double::reset({.how = mode::lazy});
    {
        staging_pool pool;
        const auto reused = [&](std::uint64_t piece, unsigned slots) {
            upload_options options = busy();
            options.piece_bytes = piece;
            options.slots = slots;
            options.staging = &pool;
            auto there = upload(file.weights, options).value();
            REQUIRE(there.wait().has_value());
            compare(there, file.weights);
            CHECK(pool.bytes() == there.report().pinned_bytes);
            return there.report().reused_bytes;
        };
        CHECK(reused(8'192, 2) == 0);
        CHECK(reused(4'096, 4) == 16'384); // just fits
        CHECK(reused(4'096, 2) == 16'384);
        CHECK(reused(4'096, 5) == 0); // one more than fits
        CHECK(pool.bytes() == 20'480);
        CHECK(reused(8'192, 2) == 20'480);
        CHECK(reused(12'288, 2) == 0);
        CHECK(reused(8'192, 3) == 24'576);
    }
    clean_end();
}

TEST_CASE("upload: a ring that is registered in parts is used again for slots that lie in one part each") {
    const opened file{upload_file()};
    for (const bool by_runtime : {false, true}) {
        cuda_double::reset({.how = mode::lazy,
                            .most_registered = by_runtime ? 0u : 8'192u,
                            .most_allocated = by_runtime ? ~std::size_t{0} : 0});
        {
            staging_pool pool;
            const auto reused = [&](std::uint64_t piece, unsigned slots) {
                upload_options options = busy();
                options.piece_bytes = piece;
                options.slots = slots;
                options.staging = &pool;
                auto there = upload(file.weights, options).value();
                REQUIRE(there.wait().has_value());
                compare(there, file.weights);
                CHECK(there.report().pinning.ends_with(by_runtime ? "the runtime allocated the memory"
                                                                  : "each slot is pinned by itself"));
                return there.report().reused_bytes;
            };
            CHECK(reused(8'192, 3) == 0);
            CHECK(reused(8'192, 3) == 24'576);
            CHECK(reused(4'096, 3) == 24'576);
            CHECK(reused(4'096, 4) == (by_runtime ? 24'576 : 0)); // there are three parts
        }
        clean_end();
    }
    // What is not pinned is not kept: the next upload may have more luck.
    cuda_double::reset({.how = mode::lazy, .most_registered = 0, .most_allocated = 0});
    staging_pool pool;
    upload_options options = busy();
    options.staging = &pool;
    CHECK(upload(file.weights, options).value().wait().has_value());
    CHECK(pool.bytes() == 0);
}

TEST_CASE("upload: a pool that goes first, or whose upload fails, frees what it had when the copies are done") {
    const opened file{upload_file()};
    for (const mode how : {mode::lazy, mode::random})
        for (const int device : {0, 1}) {
            cuda_double::reset({.how = how});
            {
                std::optional<staging_pool> pool{std::in_place};
                upload_options options = busy(1);
                options.device = device;
                options.staging = &*pool;
                const auto stops = [](const ckpt::progress& p) { return p.done < 10'000; };
                options.progress = stops;
                CHECK(upload(file.weights, options).error().code == errc::cancelled);
                CHECK(pool->bytes() == 8'192);
                options.progress = {};
                auto there = upload(file.weights, options).value();
                CHECK(there.report().reused_bytes == 8'192);
                pool.reset();
                for (int i = 0; i < 2'000 && cuda_double::totals().registered_bytes != 0; ++i)
                    std::this_thread::sleep_for(std::chrono::milliseconds{5});
                CHECK(cuda_double::totals().registered_bytes == 0);
                compare(there, file.weights);
            }
            CHECK(cuda_double::has_context(0) == (device == 0));
            clean_end();
        }
}

TEST_CASE("upload: staging memory goes back when the copies are done, though nobody waits, and needs no new context") {
    const opened file{upload_file()};
    cuda_double::reset({.how = mode::lazy});
    {
        staging_pool pool;
        upload_options options = busy(2);
        options.device = 1;
        options.staging = &pool;
        const auto there = upload(file.weights, options).value();
        wait_for(pool, 8'192);
        CHECK(pool.bytes() == 8'192);
        REQUIRE(pool.release().has_value());
        CHECK(!cuda_double::has_context(0));
        const auto again = upload(file.weights, options).value();
        wait_for(pool, 8'192);
    }
    CHECK(!cuda_double::has_context(0));
    clean_end();
}

TEST_CASE("upload: a mapping needs no ring of a pool") {
    const opened file{
        torch_file(pkl::ordered({{pkl::str("w"), pkl::floats("0", 50'000)}}), {{"0", some_floats(50'000, 9)}})};
    cuda_double::reset({.how = mode::lazy});
    {
        staging_pool pool;
        upload_options options = busy(1);
        options.piece_bytes = 8'192;
        options.source = upload_source::mapped;
        options.staging = &pool;
        auto there = upload(file.weights, options).value();
        REQUIRE(there.wait().has_value());
        compare(there, file.weights);
        CHECK(pool.bytes() == 0);
    }
    clean_end();
}

TEST_CASE("upload: a failure to free what a pool keeps is told, and the pages stay") {
    const opened file{upload_file()};
    cuda_double::reset({.how = mode::lazy});
    {
        staging_pool pool;
        upload_options options = busy();
        options.staging = &pool;
        CHECK(upload(file.weights, options).value().wait().has_value());
        cuda_double::fail_call(cuda_double::calls() + 4, cudaErrorUnknown);
        const auto released = pool.release();
        CHECK(cuda_double::log().at(static_cast<std::size_t>(cuda_double::calls()) - 2) ==
              std::string("cudaHostUnregister"));
        CHECK(released.error().code == errc::device_failed);
        CHECK(pool.bytes() == 0);
    }
    clean_end();
}

#if defined(__linux__)
/// What is read since then, of a file of pieces of 1 MiB.
struct first_reads {
    std::uint64_t before{bytes_read()}; // which itself reads some hundred bytes
    std::uint64_t read{0};

    static upload_options pieces() {
        upload_options out;
        out.piece_bytes = std::uint64_t{1} << 20;
        out.slots = 3;
        out.readers = 2;
        return out;
    }
    void wait() {
        for (int i = 0; i < 2'000 && (read = bytes_read() - before) < (std::uint64_t{2} << 20); ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
};

TEST_CASE("upload: the first pieces are read while device memory is allocated") {
    const std::size_t sizes[]{std::size_t{4} << 20};
    const opened file{safetensors_of(sizes, 0)};
    for (const bool refused : {false, true}) {
        cuda_double::reset({.how = mode::lazy});
        {
            struct slow_memory : engine_memory {
                first_reads reads{};
                static void* allocate_late(void* context, std::size_t bytes, int device, void* stream) {
                    static_cast<slow_memory*>(static_cast<engine_memory*>(context))->reads.wait();
                    return engine_memory::allocate(context, bytes, device, stream);
                }
            } memory;
            if (refused) memory.left = 0;
            const ckpt::device_allocator slow{static_cast<engine_memory*>(&memory), &slow_memory::allocate_late,
                                              &engine_memory::release};
            upload_options options = first_reads::pieces();
            options.allocator = &slow;
            auto there = upload(file.weights, options);
            CHECK(memory.reads.read >= std::uint64_t{2} << 20);
            if (refused) {
                CHECK(there.error().code == errc::device_memory);
            } else {
                REQUIRE(there->wait());
                compare(*there, file.weights);
            }
        }
        clean_end();
    }
}

TEST_CASE("upload: the first pieces are read while the ring is pinned, and move with it where the runtime allocates") {
    const std::size_t sizes[]{std::size_t{4} << 20};
    const opened file{safetensors_of(sizes, 0)};
    for (const bool refused : {false, true}) {
        first_reads reads;
        cuda_double::reset({.how = mode::lazy, .most_registered = refused ? 0 : ~std::size_t{0}, .registering = [&] {
                                reads.wait();
                            }});
        {
            auto there = upload(file.weights, first_reads::pieces()).value();
            CHECK(reads.read >= std::uint64_t{2} << 20);
            CHECK(there.report().pinning.empty() == !refused);
            REQUIRE(there.wait());
            compare(there, file.weights);
        }
        clean_end();
    }
}
#endif

TEST_CASE("upload: windows of a mapping stay where they are when the ring beside them is the runtime's") {
    const std::size_t sizes[]{std::size_t{1} << 16};
    const opened file{safetensors_of(sizes, 0)};
    for (const unsigned readers : {0u, 2u}) {
        // Room for two windows, and then for none, nor for a slot.
        cuda_double::reset({.how = mode::lazy, .most_registered_together = 16'384});
        {
            upload_options options = busy(readers);
            options.source = upload_source::mapped;
            options.piece_bytes = 8'192;
            options.slots = 4;
            auto there = upload(file.weights, options).value();
            CHECK(there.report().pinning.ends_with("the runtime allocated the memory"));
            REQUIRE(there.wait());
            compare(there, file.weights);
        }
        clean_end();
    }
}

TEST_CASE("upload: one that is started keeps the allocator's table and takes staging memory from a pool") {
    const opened file{upload_file()};
    cuda_double::reset({.how = mode::lazy});
    {
        engine_memory memory;
        staging_pool pool;
        for (int round = 0; round < 3; ++round) {
            ckpt::device_allocator table = memory.table;
            upload_options options = widened();
            options.allocator = &table;
            options.staging = &pool;
            auto pending = ckpt::cuda::start_upload(file.weights, options).value();
            table = {}; // the upload has its own
            auto there = pending.get().value();
            REQUIRE(there.wait());
            CHECK((there.report().reused_bytes != 0) == (round != 0));
            CHECK_FALSE(memory.given.empty());
        }
        CHECK(memory.given.empty());
        CHECK(memory.asked == 6); // tensors and scratch of each
    }
    clean_end();
}

} // namespace upload_memory_test
