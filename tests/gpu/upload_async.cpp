// tests/gpu/upload_async.cpp: ckpt/cuda_async.hpp, and orders of arrival, over the double of the CUDA runtime.
//
// SPDX-License-Identifier: MIT
#include <ckpt/cuda_async.hpp>
#include <ckpt/gpu/upload_run.hpp>
#include <ckpt/io/pages.hpp>
#include <ckpt/state/shard.hpp>

#include "../support/temporary_file.hpp"
#include "../support/upload_files.hpp"
#include "cuda_double.hpp"
#include "on_double.hpp"
#include "opened_gds.hpp"
#include "widening.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace upload_async_test {

using ckpt::errc;
using ckpt::upload_layout;
using ckpt::upload_source;
using ckpt::cuda::pending_upload;
using ckpt::cuda::start_upload;
using ckpt::cuda::upload;
using cuda_double::mode;
using namespace on_double;
using widening_kernel::give_kernel_a_body;
using widening_kernel::widening;

static_assert(std::is_nothrow_move_constructible_v<pending_upload> && !std::is_copy_constructible_v<pending_upload>);

namespace {

constexpr int layers = 6;

std::string key_of(int layer, const char* name) { return "layers." + std::to_string(layer) + name; }

/// Layers in the opposite order in the file, and something else before and behind them.
std::string layered_file() {
    std::vector<std::pair<std::string, std::string>> entries, storages;
    const auto add = [&](const std::string& key, std::int64_t n) {
        const std::string number = std::to_string(storages.size());
        entries.push_back({pkl::str(key), pkl::floats(number, n)});
        storages.push_back({number, some_floats(static_cast<std::size_t>(n), storages.size() + 1)});
    };
    add("head", 2'500);
    for (int layer = layers - 1; layer >= 0; --layer) {
        add(key_of(layer, ".weight"), 3'000);
        add(key_of(layer, ".bias"), 30);
    }
    add("embed", 5'000);
    return torch_file(pkl::ordered(entries), storages);
}

std::vector<ckpt::pattern> layer_by_layer() {
    std::vector<ckpt::pattern> out{"embed"};
    for (int layer = 0; layer < layers; ++layer) out.push_back(ckpt::pattern::parse(key_of(layer, ".**")).value());
    return out;
}

upload_options in_order(unsigned readers = 0) {
    upload_options out = busy(readers);
    out.order = layer_by_layer();
    return out;
}

/// A progress callback that lets an upload go on only so far, until it is opened.
class gate {
  public:
    explicit gate(std::uint64_t most) : most_{most} {}
    bool operator()(const ckpt::progress& p) {
        std::unique_lock lock{mutex_};
        reached_ = reached_ || p.done >= most_;
        changed_.notify_all();
        changed_.wait(lock, [&] { return open_ || p.done < most_; });
        return true;
    }
    void open() {
        const std::lock_guard lock{mutex_};
        open_ = true;
        changed_.notify_all();
    }
    void wait_until_reached() {
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [&] { return reached_; });
    }

  private:
    std::uint64_t most_;
    std::mutex mutex_{};
    std::condition_variable changed_{};
    bool reached_{false};
    bool open_{false};
};

/// A stream of a computation, and what it read of tensors.
class computation {
  public:
    explicit computation(int device = 0) : device_{device} {
        REQUIRE(cudaHostRegister(room_.bytes().data(), room_.bytes().size(), cudaHostRegisterDefault) == cudaSuccess);
        on_device([&] { REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess); });
    }
    computation(const computation&) = delete;
    computation& operator=(const computation&) = delete;
    ~computation() {
        on_device([&] {
            CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
            CHECK(cudaStreamDestroy(stream) == cudaSuccess);
        });
        CHECK(cudaHostUnregister(room_.bytes().data()) == cudaSuccess);
    }
    /// Issues a copy of a dense tensor to the host.
    void use(const ckpt::cuda::device_tensor& t, const ckpt::tensor& origin) {
        if (t.nbytes == 0) return;
        const auto bytes = room_.bytes().subspan(used_, static_cast<std::size_t>(t.nbytes));
        used_ += bytes.size();
        read_.push_back({bytes, values_of(origin, t.dtype)});
        on_device([&] {
            REQUIRE(cudaMemcpyAsync(bytes.data(), t.data, bytes.size(), cudaMemcpyDeviceToHost, stream) == cudaSuccess);
        });
    }
    /// Waits, and compares all that was read.
    void check() {
        on_device([&] { REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess); });
        for (const auto& [bytes, expected] : read_) CHECK(std::equal(bytes.begin(), bytes.end(), expected.begin()));
    }
    cudaStream_t stream{};

  private:
    template <class F> void on_device(F f) const {
        int before = 0;
        REQUIRE(cudaGetDevice(&before) == cudaSuccess);
        if (before != device_) REQUIRE(cudaSetDevice(device_) == cudaSuccess);
        f();
        if (before != device_) REQUIRE(cudaSetDevice(before) == cudaSuccess);
    }
    int device_;
    ckpt::detail::pages room_{std::size_t{8} << 20}; // that copies write to
    std::size_t used_{0};
    std::vector<std::pair<std::span<std::byte>, std::vector<std::byte>>> read_{}; // and what it should be
};

} // namespace

TEST_CASE("async: layers are used in their order while later ones are not read yet") {
    const opened file{layered_file()};
    const std::uint64_t some = 4 * 5'000 + 4 * 3'030; // embed and a part of layer 0
    for (const mode how : {mode::eager, mode::lazy, mode::random})
        for (const auto source : {upload_source::buffered, upload_source::direct, upload_source::mapped})
            for (const auto layout : {upload_layout::file_image, upload_layout::packed})
                for (const unsigned readers : {0u, 2u}) {
                    cuda_double::reset({.how = how, .seed = readers + 1});
                    {
                        gate wait_here{2 * some};
                        upload_options options = in_order(readers);
                        options.layout = layout;
                        options.source = source;
                        options.progress = wait_here;
                        computation compute;
                        auto pending = start_upload(file.weights, options).value();
                        const auto layer = [&](int n) {
                            for (const char* name : {".weight", ".bias"}) {
                                const std::string key = key_of(n, name);
                                compute.use(pending.await(key, compute.stream).value(), file.weights.at(key).value());
                            }
                        };
                        compute.use(pending.await("embed", compute.stream).value(), file.weights.at("embed").value());
                        layer(0);
                        wait_here.wait_until_reached();
                        CHECK(!pending.is_done());
                        CHECK(cuda_double::totals().copied_bytes < 4 * some);
                        wait_here.open();
                        for (int n = 1; n < layers; ++n) layer(n);
                        compute.check();
                        auto there = pending.get().value();
                        CHECK(pending.is_done());
                        REQUIRE(there.wait().has_value());
                        compare(there, file.weights);
                        CHECK(there.report().fallback.empty());
                    }
                    clean_end();
                }
}

TEST_CASE("async: a stream that awaits a tensor of a finished upload waits for it, and nobody else does") {
    const opened file{layered_file()};
    for (const mode how : {mode::eager, mode::lazy, mode::random})
        for (const int device : {0, 1}) {
            cuda_double::reset({.how = how, .seed = 3});
            {
                upload_options options = in_order(1);
                options.device = device;
                computation compute{device};
                auto there = upload(file.weights, options).value();
                for (const std::string_view key : there.keys())
                    compute.use(there.await(key, compute.stream).value(), file.weights.at(key).value());
                CHECK(there.await("nothing", compute.stream).error().code == errc::key_missing);
                CHECK(there.await("embed", compute.stream, 1).error().code == errc::key_missing);
                int now = -1;
                CHECK(cudaGetDevice(&now) == cudaSuccess);
                CHECK(now == 0);
                compute.check();
            }
            clean_end();
        }
}

TEST_CASE("async: a null stream is the default one of the tensor's device, and no other device gets a context") {
    const opened file{upload_file()};
    const ckpt::upload_plan plan = ckpt::plan_upload(file.weights, {.piece_bytes = 4'096}, 1).value();
    for (const mode how : {mode::eager, mode::lazy, mode::random}) {
        cuda_double::reset({.how = how});
        std::vector<std::byte> back(4 * 64 * 96);
        {
            auto pending = start_upload(plan, busy(1)).value();
            const auto t = pending.await("a.weight", nullptr).value();
            CHECK(t.device == 1);
            CHECK(!cuda_double::has_context(0));
            REQUIRE(cudaSetDevice(1) == cudaSuccess);
            REQUIRE(cudaHostRegister(back.data(), back.size(), cudaHostRegisterDefault) == cudaSuccess);
            REQUIRE(cudaMemcpyAsync(back.data(), t.data, back.size(), cudaMemcpyDeviceToHost, nullptr) == cudaSuccess);
            REQUIRE(cudaStreamSynchronize(nullptr) == cudaSuccess);
            CHECK(back == values_of(file.weights.at("a.weight").value(), ckpt::dtype::float32));
            REQUIRE(cudaHostUnregister(back.data()) == cudaSuccess);
            auto there = pending.get().value();
            REQUIRE(there.wait().has_value());
            compare(there, file.weights);
        }
        REQUIRE(cudaSetDevice(0) == cudaSuccess);
        clean_end();
    }
}

TEST_CASE("async: two devices, conversions by both and by the host") {
    const opened file{upload_file()};
    give_kernel_a_body();
    const std::vector<ckpt::shard_rule> rows{{"a.weight", 0}, {"half", 1}};
    const ckpt::upload_target both[]{{0, ckpt::shard(file.weights, rows, 0, 2).value()},
                                     {1, ckpt::shard(file.weights, rows, 1, 2).value()}};
    const auto plan = ckpt::plan_upload(both, {.order = {"br*", "half", "mask"},
                                               .casts = {{"br*", ckpt::dtype::float32}},
                                               .piece_bytes = 4'096,
                                               .kernels = &widening})
                          .value();
    for (const mode how : {mode::eager, mode::lazy, mode::random})
        for (const unsigned readers : {0u, 2u}) {
            cuda_double::reset({.how = how, .seed = readers + 7});
            {
                computation first{0}, second{1};
                auto pending = start_upload(plan, busy(readers)).value();
                for (const char* key : {"brain", "half", "mask", "brief", "a.bias", "empty"})
                    for (const std::size_t t : {std::size_t{0}, std::size_t{1}}) {
                        auto& compute = t == 0 ? first : second;
                        const auto there = pending.await(key, compute.stream, t).value();
                        CHECK(there.device == static_cast<int>(t));
                        compute.use(there, both[t].weights.at(key).value());
                    }
                first.check();
                second.check();
                auto there = pending.get().value();
                REQUIRE(there.wait().has_value());
                for (const std::size_t t : {std::size_t{0}, std::size_t{1}}) compare(there, both[t].weights, t);
            }
            clean_end();
        }
}

TEST_CASE("async: what was got and what is pending own the memory, and errors of use are clear") {
    const opened file{layered_file()};
    cuda_double::reset({.how = mode::lazy});
    {
        computation compute;
        gate wait_here{1};
        upload_options options = in_order(1);
        options.progress = wait_here;
        std::optional<ckpt::cuda::device_tensors> there;
        {
            auto started = start_upload(file.weights, options).value();
            pending_upload pending = std::move(started);
            CHECK(pending.await("nothing", compute.stream).error().code == errc::key_missing); // at once
            CHECK(pending.await("embed", compute.stream, 1).error().code == errc::key_missing);
            wait_here.open();
            compute.use(pending.await("embed", compute.stream).value(), file.weights.at("embed").value());
            there = pending.get().value();
            CHECK(pending.get().error().code == errc::no_data);
            CHECK(pending.await("embed", compute.stream).error().code == errc::no_data);
            pending.cancel(); // has nothing to stop
            pending = start_upload(file.weights, in_order()).value();
            compute.use(pending.await("head", compute.stream).value(), file.weights.at("head").value());
            compute.check();
        }
        REQUIRE(there->wait());
        compare(*there, file.weights);
    }
    clean_end();

    CHECK(start_upload(file.weights, {.select = {"nothing"}}).error().code == errc::key_missing);
    CHECK(start_upload(file.weights, {.order = {"nothing"}}).error().code == errc::key_missing);
    const cudaStream_t streams[2]{};
    upload_options two = busy();
    two.streams = streams;
    CHECK(start_upload(file.weights, two).error().hint.find("one for each target") != std::string_view::npos);
}

namespace {

struct per_thread : ckpt::detail::cuda_api {
    static constexpr bool own_streams = true;
};

} // namespace

TEST_CASE("async: a null stream of each thread's own cannot be reached, and is refused") {
    const opened file{layered_file()};
    const auto plan = ckpt::plan_upload(file.weights).value();
    cuda_double::reset();
    {
        const cudaStream_t none[]{nullptr};
        const auto refused = ckpt::detail::upload_run<per_thread>::start({}, plan, {}, none);
        CHECK(refused.error().code == errc::device_failed);
        CHECK(refused.error().hint.find("give a stream") != std::string_view::npos);
        computation compute;
        const cudaStream_t one[]{compute.stream};
        const auto run = ckpt::detail::upload_run<per_thread>::start({}, plan, {}, one).value();
        CHECK(run->get().has_value());
    }
    clean_end();
}

TEST_CASE("async: cancel, from any thread and at any moment, and a destructor that nobody waited for") {
    const opened file{layered_file()};
    const std::uint64_t total = ckpt::plan_upload(file.weights, {.order = layer_by_layer()}).value().read_bytes();
    for (const mode how : {mode::lazy, mode::random})
        for (const unsigned readers : {0u, 2u})
            for (std::uint64_t eighth = 0; eighth < 8; ++eighth) {
                CAPTURE(eighth);
                for (const bool got : {true, false}) {
                    cuda_double::reset({.how = how, .seed = eighth});
                    {
                        computation compute;
                        gate wait_here{eighth * total / 8 + 1};
                        upload_options options = in_order(readers);
                        options.progress = wait_here;
                        auto pending = start_upload(file.weights, options).value();
                        if (eighth != 0) wait_here.wait_until_reached();
                        std::thread{[&] { pending.cancel(); }}.join();
                        wait_here.open();
                        if (got) {
                            CHECK(pending.await("head", compute.stream).error().code == errc::cancelled); // the last
                            CHECK(pending.get().error().code == errc::cancelled);
                            CHECK(pending.get().error().code == errc::no_data);
                        }
                    }
                    clean_end();
                }
            }
    for (int microseconds = 0; microseconds < 2'000; microseconds += 100) {
        cuda_double::reset({.how = mode::random, .seed = static_cast<std::uint64_t>(microseconds)});
        {
            const auto pending = start_upload(file.weights, in_order(2)).value();
            std::this_thread::sleep_for(std::chrono::microseconds{microseconds});
        }
        clean_end();
    }
}

TEST_CASE("async: the upload's failure comes out of await and get, and what had arrived stays") {
    std::string bytes = layered_file();
    const opened file{bytes};
    for (const mode how : {mode::lazy, mode::random})
        for (const unsigned readers : {0u, 2u}) {
            cuda_double::reset({.how = how});
            cuda_double::set_memory(0, 10'000);
            {
                computation compute;
                auto pending = start_upload(file.weights, in_order(readers)).value();
                CHECK(pending.await("embed", compute.stream).error().code == errc::device_memory);
                CHECK(pending.get().error().code == errc::device_memory);
            }
            clean_end();

            std::string damaged = bytes;
            damaged[damaged.find(some_floats(2'500, 1)) + 400] ^= 1; // of "head", which comes last
            const opened bad{damaged};
            cuda_double::reset({.how = how});
            {
                upload_options options = in_order(readers);
                options.verify = true;
                auto pending = start_upload(bad.weights, options).value();
                std::optional<computation> compute{std::in_place};
                const auto embed = pending.await("embed", compute->stream);
                if (embed) compute->use(*embed, file.weights.at("embed").value());
                const auto failed = pending.get();
                CHECK(failed.error().code == errc::checksum_mismatch);
                CHECK(failed.error().record == "0");
                // The pointer is good as long as the pending_upload.
                if (embed) compute->use(*embed, file.weights.at("embed").value());
                compute->check();
                CHECK(pending.await("embed", compute->stream).error().code == errc::checksum_mismatch);
                CHECK(cuda_double::totals().registered_bytes == std::size_t{8} << 20); // the ring is gone
                compute.reset();
            }
            clean_end();
        }
}

TEST_CASE("async: what a progress callback throws comes out of get, once") {
    const opened file{layered_file()};
    struct thrown {};
    for (const unsigned readers : {0u, 2u}) {
        cuda_double::reset({.how = mode::lazy});
        {
            computation compute;
            upload_options options = in_order(readers);
            const auto throws = [&](const ckpt::progress& p) -> bool {
                if (p.done > 50'000) throw thrown{};
                return true;
            };
            options.progress = throws;
            auto pending = start_upload(file.weights, options).value();
            CHECK(pending.await("head", compute.stream).error().code == errc::cancelled);
            CHECK_THROWS_AS((void)pending.get(), thrown);
            CHECK(pending.get().error().code == errc::no_data);
            const auto also = start_upload(file.weights, options).value(); // and nobody asks
        }
        clean_end();
    }
}

TEST_CASE("async: every call of the runtime fails once: a typed error or the tensors, no leak, nothing pending") {
    const opened file{upload_file()};
    const std::vector<ckpt::shard_rule> rows{{"a.weight", 0}};
    const ckpt::upload_target both[]{{0, ckpt::shard(file.weights, rows, 0, 2).value()},
                                     {1, ckpt::shard(file.weights, rows, 1, 2).value()}};
    const auto plan = ckpt::plan_upload(both, {.order = {"steps", "a.*"}, .piece_bytes = 8'192}).value();
    struct failure {
        cudaError_t code;
        bool sticky;
        errc expected;
    };
    std::size_t runs = 0;
    for (const mode how : {mode::lazy, mode::random})
        for (const failure& f : {failure{cudaErrorUnknown, false, errc::device_failed},
                                 failure{cudaErrorMemoryAllocation, false, errc::device_memory},
                                 failure{cudaErrorIllegalAddress, true, errc::device_lost}}) {
            const auto once = [&](std::uint64_t n) {
                cuda_double::reset({.how = how, .seed = n});
                cudaStream_t streams[2]{};
                for (const int device : {1, 0}) {
                    REQUIRE(cudaSetDevice(device) == cudaSuccess);
                    REQUIRE(cudaStreamCreateWithFlags(&streams[device], cudaStreamNonBlocking) == cudaSuccess);
                }
                const std::uint64_t before = cuda_double::calls();
                if (n != 0) cuda_double::fail_call(before + n, f.code, f.sticky);
                {
                    auto pending = start_upload(plan, busy(0)).value();
                    for (const std::size_t t : {std::size_t{0}, std::size_t{1}})
                        for (const char* key : {"steps", "a.bias", "half"}) {
                            const auto there = pending.await(key, streams[t], t);
                            if (there) CHECK(there->nbytes != 0);
                            else CHECK(there.error().code == f.expected);
                        }
                    auto there = pending.get();
                    if (!there) {
                        CHECK(there.error().code == f.expected);
                        CHECK(there.error().os_code == f.code);
                    } else if (const auto waited = there->wait(); !waited) {
                        CHECK(waited.error().code == f.expected);
                    } else if (!f.sticky) {
                        compare(*there, both[0].weights, 0);
                        compare(*there, both[1].weights, 1);
                    }
                    for (const int device : {1, 0}) {
                        (void)cudaSetDevice(device);
                        if (cudaStreamSynchronize(streams[device]) != cudaSuccess)
                            (void)cudaStreamSynchronize(streams[device]);
                    }
                }
                for (const cudaStream_t s : streams) (void)cudaStreamDestroy(s);
                const std::uint64_t calls = cuda_double::calls() - before;
                cuda_double::end();
                CAPTURE(n);
                CHECK_MESSAGE(cuda_double::violations().empty(), cuda_double::report());
                ++runs;
                return calls;
            };
            const std::uint64_t calls = once(0);
            REQUIRE(calls > 60);
            for (std::uint64_t n = 1; n <= calls; ++n) (void)once(n);
        }
    MESSAGE(runs << " runs");
}

TEST_CASE("async: places of the caller's, whose span is gone, are written behind the work that the stream has") {
    const opened file{layered_file()};
    const auto plan = ckpt::plan_upload(file.weights, {.order = layer_by_layer(), .piece_bytes = 4'096}).value();
    for (const mode how : {mode::eager, mode::lazy, mode::random}) {
        cuda_double::reset({.how = how});
        cudaStream_t stream{};
        void* memory{};
        const auto bytes = static_cast<std::size_t>(plan.device_bytes(0));
        REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
        REQUIRE(cudaMallocAsync(&memory, bytes, stream) == cudaSuccess);
        REQUIRE(cudaMemsetAsync(memory, 0x11, bytes, stream) == cudaSuccess);
        {
            std::optional<std::vector<ckpt::device_place>> places{{{memory, bytes}}};
            std::optional<std::vector<cudaStream_t>> streams{{stream}};
            upload_options options = busy(1);
            options.places = *places;
            options.streams = *streams;
            auto pending = start_upload(plan, options).value();
            std::fill(places->begin(), places->end(), ckpt::device_place{});
            std::fill(streams->begin(), streams->end(), cudaStream_t{});
            places.reset();
            streams.reset();
            computation compute;
            compute.use(pending.await("embed", compute.stream).value(), file.weights.at("embed").value());
            compute.check();
            auto there = pending.get().value();
            std::vector<std::byte> back(4 * 2'500); // in the order of the stream, which nobody made wait
            REQUIRE(cudaHostRegister(back.data(), back.size(), cudaHostRegisterDefault) == cudaSuccess);
            REQUIRE(cudaMemcpyAsync(back.data(), there.at("head").value().data, back.size(), cudaMemcpyDeviceToHost,
                                    stream) == cudaSuccess);
            REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
            REQUIRE(cudaHostUnregister(back.data()) == cudaSuccess);
            CHECK(back == values_of(file.weights.at("head").value(), ckpt::dtype::float32));
        }
        REQUIRE(cudaFreeAsync(memory, stream) == cudaSuccess);
        REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
        REQUIRE(cudaStreamDestroy(stream) == cudaSuccess);
        clean_end();
    }
}

TEST_CASE("async: a stream that another thread captures into a graph stays so while tensors are awaited") {
    const opened file{layered_file()};
    cuda_double::reset({.how = mode::lazy});
    cudaStream_t captured{};
    REQUIRE(cudaStreamCreateWithFlags(&captured, cudaStreamNonBlocking) == cudaSuccess);
    {
        std::optional<computation> compute{std::in_place};
        REQUIRE(cudaStreamBeginCapture(captured, cudaStreamCaptureModeGlobal) == cudaSuccess);
        {
            auto pending = start_upload(file.weights, in_order(1)).value();
            CHECK(pending.await("embed", compute->stream).has_value());
            const auto there = pending.get().value();
            CHECK(there.await("head", compute->stream).has_value());
            cudaStreamCaptureMode now = cudaStreamCaptureModeGlobal;
            CHECK(cudaThreadExchangeStreamCaptureMode(&now) == cudaSuccess);
            CHECK(now == cudaStreamCaptureModeGlobal);
        }
        cudaGraph_t graph{};
        CHECK(cudaStreamEndCapture(captured, &graph) == cudaSuccess);
    }
    REQUIRE(cudaStreamDestroy(captured) == cudaSuccess);
    clean_end();
}

TEST_CASE("async: GPUDirect Storage in an order of the caller's") {
    std::vector<std::pair<std::string, std::string>> entries, storages;
    for (int i = 0; i < 3; ++i) {
        entries.push_back({pkl::str("t" + std::to_string(i)), pkl::floats(std::to_string(i), 600'000)});
        storages.push_back({std::to_string(i), some_floats(600'000, static_cast<std::uint64_t>(i) + 1)});
    }
    const opened file{torch_file(pkl::ordered(entries), storages)};
    const storage_double storage;
    for (const mode how : {mode::lazy, mode::random})
        for (const unsigned readers : {0u, 2u}) {
            cuda_double::reset({.how = how});
            storage.reset(cufile_no_failure);
            {
                const auto driver = opened_gds();
                computation compute;
                upload_options options;
                options.order = {"t2", "t0"};
                options.readers = readers;
                options.piece_bytes = 1u << 20;
                options.source = upload_source::gpu_direct;
                options.past_host = driver.reader();
                auto pending = start_upload(file.weights, options).value();
                for (const char* key : {"t2", "t0", "t1"})
                    compute.use(pending.await(key, compute.stream).value(), file.weights.at(key).value());
                compute.check();
                auto there = pending.get().value();
                REQUIRE(there.wait().has_value());
                compare(there, file.weights);
                CHECK(there.report().fallback.empty());
                CHECK(storage.reads() >= 3);
            }
            storage.end();
            clean_end();
        }
}

TEST_CASE("upload: windows of a mapping in any order: no page is pinned twice, and that is no reason to fall back") {
    // Tensors of two groups take turns, with their ends in one page.
    std::vector<std::size_t> sizes;
    for (int i = 0; i < 40; ++i) sizes.push_back(70'000 + 256 * static_cast<std::size_t>(i % 7));
    const opened file{safetensors_of(sizes, 0)};
    for (const mode how : {mode::eager, mode::lazy})
        for (const unsigned readers : {0u, 2u}) {
            cuda_double::reset({.how = how});
            {
                upload_options options = busy(readers);
                options.piece_bytes = 16'384;
                options.slots = 64;
                options.source = upload_source::mapped;
                options.order = {"t*2", "t*4", "t*0"};
                options.verify = true;
                auto there = upload(file.weights, options).value();
                REQUIRE(there.wait().has_value());
                compare(there, file.weights);
                CHECK(there.report().fallback == "");
            }
            clean_end();
        }
}

#if defined(__GLIBC__)
TEST_CASE("async: where the system starts no thread, that is the error") {
    const opened file{layered_file()};
    cuda_double::reset();
    const auto refused = [&] {
        const no_threads meanwhile;
        return start_upload(file.weights, in_order());
    }();
    CHECK(refused.error().code == errc::limit);
    CHECK(refused.error().hint.find("upload()") != std::string_view::npos);
    clean_end();
}
#endif

} // namespace upload_async_test
