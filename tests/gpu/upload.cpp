// tests/gpu/upload.cpp: ckpt/cuda.hpp over the double of the CUDA runtime.
//
// SPDX-License-Identifier: MIT
#include <ckpt/cuda.hpp>
#include <ckpt/folder.hpp>
#include <ckpt/state/shard.hpp>

#include "../support/temporary_file.hpp"
#include "../support/upload_files.hpp"
#include "cuda_double.hpp"
#include "double_kernels.hpp"
#include "on_double.hpp"
#include "opened_gds.hpp"
#include "widening.hpp"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace upload_test {

using ckpt::errc;
using ckpt::upload_layout;
using ckpt::upload_source;
using ckpt::cuda::upload;
using ckpt::cuda::upload_options;
using cuda_double::mode;
using namespace on_double;
using namespace test_support;
using widening_kernel::give_kernel_a_body;
using widening_kernel::widening;
namespace fs = std::filesystem;

namespace {

/// One tensor of several megabytes.
std::string large_file() {
    return torch_file(
        pkl::ordered({{pkl::str("w"), pkl::floats("0", 1'500'000)}, {pkl::str("b"), pkl::floats("1", 5)}}),
        {{"0", some_floats(1'500'000, 1)}, {"1", some_floats(5, 2)}});
}

} // namespace

TEST_CASE("upload: the tensors are there in every mode of the device, layout, number of threads and slots") {
    const opened file{upload_file()};
    for (const mode how : {mode::eager, mode::lazy, mode::random})
        for (const auto layout : {upload_layout::file_image, upload_layout::packed})
            for (const unsigned readers : {0u, 1u, 3u})
                for (const unsigned slots : {1u, 2u, 8u})
                    for (const bool ordered : {false, true}) {
                        CAPTURE(static_cast<int>(how));
                        CAPTURE(readers);
                        CAPTURE(slots);
                        cuda_double::reset({.how = how, .seed = slots + 10 * readers});
                        {
                            upload_options options;
                            options.layout = layout;
                            options.readers = readers;
                            options.slots = slots;
                            options.piece_bytes = 4'096;
                            options.stream_ordered = ordered;
                            options.verify = true;
                            auto there = upload(file.weights, options).value();
                            REQUIRE(there.wait().has_value());
                            compare(there, file.weights);
                            CHECK(there.data<float>("tied").value() == there.data<float>("a.weight").value());
                            CHECK(there.report().pinned_bytes <= slots * 4'096u);
                            CHECK(cuda_double::totals().peak_registered_bytes <= slots * 4'096u);
                            CHECK(there.report().verified >= 7);
                        }
                        clean_end();
                    }
}

TEST_CASE("upload: the caller's stream may use the tensors at once, and nothing waits for the host") {
    const opened file{upload_file()};
    for (const mode how : {mode::lazy, mode::random}) {
        cuda_double::reset({.how = how});
        cudaStream_t stream{};
        REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
        {
            upload_options options = busy(1);
            options.stream = stream;
            auto there = upload(file.weights, options).value();
            // A copy back on that stream, before anybody waited: ordered behind the last copy, or the double sees a
            // race.
            std::vector<std::byte> back(4 * 64 * 96);
            REQUIRE(cudaHostRegister(back.data(), back.size(), cudaHostRegisterDefault) == cudaSuccess);
            REQUIRE(cudaMemcpyAsync(back.data(), there.data<float>("a.weight").value(), back.size(),
                                    cudaMemcpyDeviceToHost, stream) == cudaSuccess);
            REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
            REQUIRE(cudaHostUnregister(back.data()) == cudaSuccess);
            CHECK(back == values_of(file.weights.at("a.weight").value(), ckpt::dtype::float32));
        }
        REQUIRE(cudaStreamDestroy(stream) == cudaSuccess);
        clean_end();
    }
}

TEST_CASE("upload: pointers by type and key") {
    cuda_double::reset();
    const opened file{upload_file()};
    auto there = upload(file.weights, busy()).value();
    REQUIRE(there.wait().has_value());
    CHECK(there.data<double>("a.weight").error().code == errc::dtype_mismatch);
    CHECK(there.data<float>("turned").error().code == errc::needs_copy);
    CHECK(there.data<float>("a.weigth").error().code == errc::key_missing);
    CHECK(there.data<float>("empty").value() == nullptr);
    const auto& constant = there;
    CHECK(constant.data<ckpt::bf16>("brain").has_value());
    CHECK(there.at("turned").value().strides[1] == 33);
    CHECK(there.size() == 12);
    auto moved = std::move(there);
    CHECK(moved.data<float>("a.bias").has_value());
}

TEST_CASE("upload: the host narrows, the device widens, in every mode") {
    const opened file{upload_file()};
    give_kernel_a_body();
    for (const mode how : {mode::eager, mode::lazy, mode::random})
        for (const unsigned readers : {0u, 2u}) {
            cuda_double::reset({.how = how, .seed = 5});
            {
                upload_options options = busy(readers);
                options.casts = {
                    {"a.**", ckpt::dtype::float16}, {"tied", ckpt::dtype::float16}, {"br*", ckpt::dtype::float32}};
                options.kernels = &widening;
                auto there = upload(file.weights, options).value();
                REQUIRE(there.wait().has_value());
                compare(there, file.weights);
                CHECK(there.data<ckpt::f16>("tied").value() == there.data<ckpt::f16>("a.weight").value());
                CHECK(cuda_double::totals().kernels > 0);
            }
            clean_end();
        }
}

namespace {

std::size_t calls_of(std::string_view name) {
    const auto log = cuda_double::log();
    return static_cast<std::size_t>(std::count(log.begin(), log.end(), name));
}

} // namespace

TEST_CASE("upload: kernels narrow, widen and make dense, in every mode, into any memory, as values of copy_as") {
    const opened file{file_for_kernels()};
    double_kernels::give_bodies();
    for (const mode how : {mode::eager, mode::lazy, mode::random})
        for (const auto layout : {upload_layout::file_image, upload_layout::packed})
            for (const unsigned readers : {0u, 2u})
                for (const unsigned slots : {1u, 2u, 5u})
                    for (const bool ordered : {false, true}) {
                        cuda_double::reset({.how = how, .seed = slots});
                        {
                            upload_options options = on_the_device(readers);
                            options.layout = layout;
                            options.slots = slots;
                            options.stream_ordered = ordered;
                            options.verify = true;
                            auto there = upload(file.weights, options).value();
                            REQUIRE(there.wait().has_value());
                            compare(there, file.weights);
                            CHECK(there.at("turned").value().dtype == ckpt::dtype::bfloat16);
                            CHECK(there.data<ckpt::bf16>("turned").has_value());
                            CHECK(there.data<double>("few").has_value());
                            CHECK(there.report().verified == 4); // slices are read in part
                            CHECK(cuda_double::totals().kernels > 20);
                        }
                        clean_end();
                    }
}

TEST_CASE("upload: the device's scratch memory is what the plan says, and is there only where something is converted") {
    const opened file{file_for_kernels()};
    double_kernels::give_bodies();
    for (const bool converts : {false, true}) {
        cuda_double::reset({.how = mode::lazy});
        {
            const auto plan = converts ? ckpt::plan_upload(file.weights, {.casts = on_the_device(0).casts,
                                                                          .piece_bytes = 4'096,
                                                                          .kernels = &double_kernels::table})
                                             .value()
                                       : ckpt::plan_upload(file.weights, {.piece_bytes = 4'096}).value();
            CHECK((plan.scratch_bytes(0) != 0) == converts);
            auto there = upload(plan, busy(0)).value();
            REQUIRE(there.wait().has_value());
            CHECK(cuda_double::totals().peak_device_bytes[0] == plan.device_bytes(0) + plan.scratch_bytes(0));
            CHECK(cuda_double::totals().device_bytes[0] == plan.device_bytes(0));
            CHECK(calls_of("cudaStreamCreateWithFlags") == (converts ? 2 : 1));
            CHECK(calls_of("cudaEventCreateWithFlags") == (converts ? 5 : 3)); // two slots, the end, two blocks
        }
        clean_end();
    }
}

TEST_CASE("upload: copies of a piece run beside the kernels of the one before, and free their slot before these") {
    const opened file{file_for_kernels()};
    double_kernels::give_bodies();
    std::uint64_t converted = 0; // pieces; the double does nothing before somebody waits for it
    cuda_double::implement(&double_kernels::cast, [&](cuda_double::kernel& k, ckpt::detail::cast_job job) {
        ++converted;
        double_kernels::run_cast(k, job);
    });
    cuda_double::reset({.how = mode::lazy});
    {
        upload_options options = on_the_device(0);
        options.select = {"rows"};
        options.slots = 1;
        std::uint64_t issued = 0;
        const auto progress = [&](const ckpt::progress&) {
            // Piece n was copied once its slot is taken again; it waited for the kernel of n - 2, no later one.
            ++issued;
            CHECK(converted == (issued < 3 ? 0 : issued - 3));
            return true;
        };
        options.progress = progress;
        auto there = upload(file.weights, options).value();
        CHECK(issued >= 9);
        REQUIRE(there.wait().has_value());
        CHECK(converted == issued);
        compare(there, file.weights);
    }
    clean_end();
    double_kernels::give_bodies();
}

TEST_CASE("upload: two devices from one plan, each byte read once, the caller's device restored") {
    const opened file{upload_file()};
    for (const mode how : {mode::eager, mode::lazy, mode::random})
        for (const int current : {0, 1}) {
            cuda_double::reset({.how = how, .seed = 3});
            REQUIRE(cudaSetDevice(current) == cudaSuccess);
            {
                const std::vector<ckpt::shard_rule> rows{{"a.weight", 0}, {"half", 1}};
                const ckpt::upload_target both[]{{0, ckpt::shard(file.weights, rows, 0, 2).value()},
                                                 {1, ckpt::shard(file.weights, rows, 1, 2).value()}};
                const auto plan = ckpt::plan_upload(both, {.piece_bytes = 4'096}).value();
                auto there = upload(plan, busy(1)).value();
                REQUIRE(there.wait().has_value());
                compare(there, both[0].weights, 0);
                compare(there, both[1].weights, 1);
                CHECK(there.at("a.bias", 1).value().device == 1);
                int now = -1;
                CHECK(cudaGetDevice(&now) == cudaSuccess);
                CHECK(now == current);
                REQUIRE(cudaSetDevice(1 - current) == cudaSuccess); // whatever is current when it is freed
            }
            int now = -1;
            CHECK(cudaGetDevice(&now) == cudaSuccess);
            CHECK(now == 1 - current);
            cuda_double::end(1 - current);
            CHECK_MESSAGE(cuda_double::violations().empty(), cuda_double::report());
        }
}

TEST_CASE("upload: a device that is no target gets no context, and the callback is called by the caller's thread") {
    const opened file{upload_file()};
    for (const bool used : {false, true})
        for (const unsigned readers : {0u, 2u}) {
            cuda_double::reset({.how = mode::lazy});
            if (used) REQUIRE(cudaSetDevice(0) == cudaSuccess);
            {
                upload_options options = busy(readers);
                options.device = 1;
                const auto caller = std::this_thread::get_id();
                std::uint64_t last = 0;
                const auto progress = [&](const ckpt::progress& p) {
                    CHECK(std::this_thread::get_id() == caller);
                    last = p.done;
                    return true;
                };
                options.progress = progress;
                auto there = upload(file.weights, options).value();
                CHECK(last == there.report().bytes);
                REQUIRE(there.wait().has_value());
                compare(there, file.weights);
                int now = -1;
                CHECK(cudaGetDevice(&now) == cudaSuccess);
                CHECK(now == 0);

                const auto stops = [&](const ckpt::progress& p) { return p.done < 10'000; };
                options.progress = stops;
                CHECK(upload(file.weights, options).error().code == errc::cancelled);
                struct thrown {};
                const auto throws = [&](const ckpt::progress&) -> bool { throw thrown{}; };
                options.progress = throws;
                CHECK_THROWS_AS((void)upload(file.weights, options), thrown);
            }
            CHECK(cuda_double::has_context(0) == used);
            CHECK(cuda_double::has_context(1));
            clean_end();
        }
    cuda_double::reset();
    { auto there = upload(file.weights, busy(1)).value(); }
    CHECK(!cuda_double::has_context(1));
    clean_end();
}

TEST_CASE("upload: slots and scratch go when the copies are done, though nobody waits") {
    const opened file{upload_file()};
    give_kernel_a_body();
    for (const mode how : {mode::lazy, mode::random})
        for (const int device : {0, 1}) {
            cuda_double::reset({.how = how});
            {
                upload_options options = busy(1);
                options.device = device;
                options.casts = {{"br*", ckpt::dtype::float32}};
                options.kernels = &widening;
                const auto there = upload(file.weights, options).value();
                const auto bytes = [&] { return cuda_double::totals().device_bytes[static_cast<std::size_t>(device)]; };
                for (int i = 0;
                     i < 2'000 && (cuda_double::totals().registered_bytes != 0 || bytes() > there.memory().bytes); ++i)
                    std::this_thread::sleep_for(std::chrono::milliseconds{5});
                CHECK(cuda_double::totals().registered_bytes == 0);
                CHECK(bytes() == there.memory().bytes);
                CHECK(there.report().pinned_bytes != 0);
                compare(there, file.weights);
            }
            clean_end();
        }
}

TEST_CASE("upload: windows of a mapping are pinned where the device can read them, and copied where not") {
    std::vector<std::pair<std::string, std::string>> entries, storages;
    entries.push_back({pkl::str("w"), pkl::floats("0", 50'000)});
    storages.push_back({"0", some_floats(50'000, 9)});
    const opened file{torch_file(pkl::ordered(entries), storages)};
    for (const bool able : {true, false}) {
        cuda_double::reset({.how = mode::lazy});
        for (int d = 0; d < 2; ++d)
            cuda_double::set_attribute(d, cudaDevAttrHostRegisterReadOnlySupported, able ? 1 : 0);
        {
            upload_options options = busy(2);
            options.piece_bytes = 8'192;
            options.source = upload_source::mapped;
            options.verify = true;
            auto there = upload(file.weights, options).value();
            REQUIRE(there.wait().has_value());
            compare(there, file.weights);
            CHECK(there.report().fallback.empty() == able);
            CHECK((there.report().pinned_bytes == 0) == able);
            CHECK(there.report().verified == 1);
        }
        clean_end();
    }
    // A file that is read has no mapping, which the report says.
    const opened read{upload_file(), ckpt::io_mode::read};
    cuda_double::reset();
    {
        upload_options options = busy();
        options.source = upload_source::mapped;
        auto there = upload(read.weights, options).value();
        REQUIRE(there.wait().has_value());
        compare(there, read.weights);
        CHECK(there.report().fallback == "the file is not mapped");
    }
    clean_end();
}

TEST_CASE("upload: staging memory that cannot be registered is so in parts, or the runtime's, or not pinned") {
    const opened file{upload_file()};
    struct trial {
        std::size_t registered, allocated;
        bool pinned;
        const char* reason;
    };
    for (const trial& t : {trial{~std::size_t{0}, 0, true, ""}, trial{4'096, 0, true, "each slot is pinned by itself"},
                           trial{4'095, 8'192, true, "the runtime allocated the memory"},
                           trial{0, 8'191, false, "the memory is not pinned"}})
        for (const mode how : {mode::lazy, mode::random})
            for (const unsigned readers : {0u, 2u}) {
                CAPTURE(std::string(t.reason));
                cuda_double::reset({.how = how, .most_registered = t.registered, .most_allocated = t.allocated});
                {
                    upload_options options = busy(readers);
                    auto there = upload(file.weights, options).value();
                    REQUIRE(there.wait().has_value());
                    CHECK(cudaGetLastError() == cudaSuccess);
                    compare(there, file.weights);
                    CHECK(there.report().pinned_bytes == (t.pinned ? 8'192 : 0));
                    CHECK(there.report().pinning.ends_with(t.reason));
                    CHECK((there.report().pinning.find("cudaHostRegister: cudaErrorMemoryAllocation") == 0) ==
                          (*t.reason != 0));
                }
                cuda_double::end();
                const auto said = cuda_double::violations().size();
                CHECK_MESSAGE(said == cuda_double::count(cuda_double::kind::pageable), cuda_double::report());
                CHECK((said == 0) == t.pinned);
            }
}

#if defined(__linux__)
namespace {

/// Kilobytes of this process that a child does not get.
std::size_t kept_from_children() {
    std::ifstream maps{"/proc/self/smaps"};
    std::size_t out = 0, size = 0;
    for (std::string line; std::getline(maps, line);) {
        if (line.starts_with("Size:")) size = std::stoul(line.substr(5));
        if (line.starts_with("VmFlags:") && line.find(" dc") != std::string::npos) out += size;
    }
    return out;
}

} // namespace

TEST_CASE("upload: a child process gets no copy of the pages that the device reads") {
    const opened file{upload_file()};
    cuda_double::reset();
    {
        upload_options options = busy();
        options.piece_bytes = 65'536;
        const std::size_t before = kept_from_children();
        std::size_t meanwhile = 0;
        const auto progress = [&](const ckpt::progress&) {
            meanwhile = kept_from_children();
            return true;
        };
        options.progress = progress;
        const auto there = upload(file.weights, options).value();
        CHECK(meanwhile >= before + there.report().pinned_bytes / 1'024);
    }
    clean_end();
}
#endif

TEST_CASE("upload: direct reads give the same, from any place of a file") {
    const opened file{upload_file()};
    for (const unsigned readers : {0u, 2u}) {
        cuda_double::reset({.how = mode::lazy});
        {
            upload_options options = busy(readers);
            options.source = upload_source::direct;
            options.select = {"a.rows", "half", "mask"};
            auto there = upload(file.weights, options).value();
            REQUIRE(there.wait().has_value());
            compare(there, file.weights);
        }
        clean_end();
    }
}

TEST_CASE("upload: what is left open is chosen, and the report says what") {
    cuda_double::reset();
    const opened file{upload_file()};
    auto chosen = upload(file.weights, {.piece_bytes = 4'096});
    REQUIRE(chosen.has_value());
    CHECK(chosen->report().source == upload_source::buffered); // a small file
    const unsigned cores = std::thread::hardware_concurrency();
    CHECK(chosen->report().readers == (cores > 2 ? std::min(cores - 1, 8u) : 1));
    CHECK(chosen->report().slots > 0);
    CHECK(chosen->report().slots <= 2 * chosen->report().readers + 2);
    compare(*chosen, file.weights);

    auto told = upload(file.weights, {.source = upload_source::direct, .readers = 2, .slots = 3, .piece_bytes = 4'096});
    REQUIRE(told.has_value());
    CHECK(told->report().source == upload_source::direct);
    CHECK(told->report().readers == 2);
    CHECK(told->report().slots == 3);
    compare(*told, file.weights);
}

TEST_CASE("upload: memory of the caller's is used, and checked") {
    const opened file{upload_file()};
    cuda_double::reset({.how = mode::lazy});
    const auto plan = ckpt::plan_upload(file.weights, {.piece_bytes = 4'096}).value();
    void* memory{};
    REQUIRE(cudaMalloc(&memory, plan.device_bytes(0) + 256) == cudaSuccess);
    {
        const ckpt::device_place place[]{{memory, plan.device_bytes(0)}};
        upload_options options = busy(1);
        options.places = place;
        auto there = upload(plan, options).value();
        REQUIRE(there.wait().has_value());
        compare(there, file.weights);
        CHECK(there.at("a.weight").value().data >= memory);

        const ckpt::device_place small_place[]{{memory, plan.device_bytes(0) - 1}};
        options.places = small_place;
        CHECK(upload(plan, options).error().code == errc::device_memory);
        const ckpt::device_place odd[]{{static_cast<std::byte*>(memory) + 4, plan.device_bytes(0)}};
        options.places = odd;
        CHECK(upload(plan, options).error().code == errc::misaligned);
    }
    CHECK(cudaFree(memory) == cudaSuccess);
    clean_end();
}

namespace {

/// A stream of the caller's on a device that need not be the current one, and memory for a plan, which work of
/// that stream still reads when the upload begins.
struct busy_memory {
    int device;
    bool ordered; // by cudaMallocAsync: the memory is not even there before the stream gets to it
    cudaStream_t stream{};
    void* memory{};
    std::vector<std::byte> host;

    busy_memory(const ckpt::upload_plan& plan, std::size_t target, bool from_pool, bool null_stream)
        : device{plan.device(target)}, ordered{from_pool}, host(static_cast<std::size_t>(plan.device_bytes(target))) {
        on_device([&] {
            if (!null_stream) REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
            const auto made =
                ordered ? cudaMallocAsync(&memory, host.size(), stream) : cudaMalloc(&memory, host.size());
            REQUIRE(made == cudaSuccess);
            REQUIRE(cudaHostRegister(host.data(), host.size(), cudaHostRegisterDefault) == cudaSuccess);
            REQUIRE(cudaMemsetAsync(memory, 0x11, host.size(), stream) == cudaSuccess);
            copy_back();
        });
    }
    busy_memory(const busy_memory&) = delete;
    busy_memory& operator=(const busy_memory&) = delete;
    ~busy_memory() {
        on_device([&] {
            CHECK(cudaStreamSynchronize(stream) == cudaSuccess);
            CHECK(cudaHostUnregister(host.data()) == cudaSuccess);
            CHECK(cudaFree(memory) == cudaSuccess);
            if (stream != nullptr) CHECK(cudaStreamDestroy(stream) == cudaSuccess);
        });
    }
    template <class F> void on_device(F f) const {
        int before = 0;
        REQUIRE(cudaGetDevice(&before) == cudaSuccess);
        REQUIRE(cudaSetDevice(device) == cudaSuccess);
        f();
        REQUIRE(cudaSetDevice(before) == cudaSuccess);
    }
    /// Reads all of it in the order of the stream.
    void copy_back() {
        REQUIRE(cudaMemcpyAsync(host.data(), memory, host.size(), cudaMemcpyDeviceToHost, stream) == cudaSuccess);
    }
    [[nodiscard]] ckpt::device_place place() const { return {memory, host.size()}; }
};

} // namespace

TEST_CASE(
    "upload: memory of the caller's is written behind the work that the caller's stream has, and used by it at once") {
    const opened file{upload_file()};
    const auto plan = ckpt::plan_upload(file.weights, {.piece_bytes = 4'096}, 1).value();
    for (const mode how : {mode::eager, mode::lazy, mode::random})
        for (const bool from_pool : {false, true})
            for (const bool null_stream : {false, true})
                for (const auto source : {upload_source::buffered, upload_source::mapped}) {
                    cuda_double::reset({.how = how});
                    {
                        busy_memory mine{plan, 0, from_pool, null_stream};
                        const ckpt::device_place places[]{mine.place()};
                        upload_options options = busy(1);
                        options.stream = mine.stream;
                        options.source = source;
                        options.places = places;
                        auto there = upload(plan, options).value();
                        mine.on_device([&] { mine.copy_back(); }); // nobody waited
                        REQUIRE(there.wait().has_value());
                        compare(there, file.weights);
                    }
                    clean_end();
                }
}

TEST_CASE("upload: kernels write to memory of the caller's behind the caller's work, and in front of what follows") {
    const opened file{file_for_kernels()};
    double_kernels::give_bodies();
    const auto plan =
        ckpt::plan_upload(file.weights,
                          {.casts = on_the_device(0).casts, .piece_bytes = 4'096, .kernels = &double_kernels::table}, 1)
            .value();
    for (const mode how : {mode::eager, mode::lazy, mode::random})
        for (const bool from_pool : {false, true})
            for (const bool null_stream : {false, true}) {
                cuda_double::reset({.how = how});
                {
                    busy_memory mine{plan, 0, from_pool, null_stream};
                    const ckpt::device_place places[]{mine.place()};
                    upload_options options = busy(1);
                    options.stream = mine.stream;
                    options.places = places;
                    auto there = upload(plan, options).value();
                    mine.on_device([&] { mine.copy_back(); }); // nobody waited
                    REQUIRE(there.wait().has_value());
                    compare(there, file.weights);
                }
                clean_end();
            }
}

TEST_CASE("upload: memory of the upload's own does not wait for the caller's work") {
    const opened file{upload_file()};
    const auto plan = ckpt::plan_upload(file.weights, {.piece_bytes = 4'096}).value();
    cuda_double::reset({.how = mode::lazy});
    {
        busy_memory work{plan, 0, false, false};
        cudaEvent_t behind{};
        REQUIRE(cudaEventCreateWithFlags(&behind, cudaEventDisableTiming) == cudaSuccess);
        REQUIRE(cudaEventRecord(behind, work.stream) == cudaSuccess);
        upload_options options = busy(1);
        options.stream = work.stream;
        auto there = upload(plan, options).value();
        REQUIRE(there.wait().has_value());
        CHECK(cudaEventQuery(behind) == cudaErrorNotReady);
        REQUIRE(cudaEventDestroy(behind) == cudaSuccess);
    }
    clean_end();
}

TEST_CASE("upload: memory of the pool is freed behind what the caller's stream still does with it") {
    const opened file{upload_file()};
    for (const mode how : {mode::eager, mode::lazy, mode::random})
        for (const int device : {0, 1}) {
            cuda_double::reset({.how = how});
            std::vector<std::byte> back(4 * 64 * 96);
            REQUIRE(cudaHostRegister(back.data(), back.size(), cudaHostRegisterDefault) == cudaSuccess);
            REQUIRE(cudaSetDevice(device) == cudaSuccess);
            cudaStream_t stream{};
            REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
            REQUIRE(cudaSetDevice(0) == cudaSuccess);
            {
                upload_options options = busy(1);
                options.device = device;
                options.stream = stream;
                options.stream_ordered = true;
                auto there = upload(file.weights, options).value();
                REQUIRE(cudaMemcpyAsync(back.data(), there.data<float>("a.weight").value(), back.size(),
                                        cudaMemcpyDeviceToHost, stream) == cudaSuccess);
                if (device == 0) REQUIRE(there.wait().has_value());
            }
            REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
            CHECK(back == values_of(file.weights.at("a.weight").value(), ckpt::dtype::float32));
            REQUIRE(cudaStreamDestroy(stream) == cudaSuccess);
            REQUIRE(cudaHostUnregister(back.data()) == cudaSuccess);
            clean_end();
        }
}

TEST_CASE("upload: the stream of a target is of its device: a null one, one for all, one for each") {
    const opened file{upload_file()};
    const ckpt::upload_target targets[]{{0, file.weights}, {1, file.weights}};
    const auto plan = ckpt::plan_upload(targets, {.piece_bytes = 4'096}).value();
    for (const mode how : {mode::eager, mode::lazy, mode::random})
        for (const bool null_stream : {false, true}) {
            cuda_double::reset({.how = how});
            {
                busy_memory first{plan, 0, false, null_stream}, second{plan, 1, true, null_stream};
                const ckpt::device_place places[]{first.place(), second.place()};
                const cudaStream_t streams[]{first.stream, second.stream};
                upload_options options = busy(1);
                options.places = places;
                if (!null_stream) options.streams = streams;
                auto there = upload(plan, options).value();
                for (busy_memory* const one : {&first, &second}) one->on_device([&] { one->copy_back(); });
                REQUIRE(there.wait().has_value());
                compare(there, file.weights, 0);
                compare(there, file.weights, 1);
                if (null_stream) continue;
                options.streams = std::span{streams}.first(1);
                CHECK(upload(plan, options).error().code == errc::device_failed);
                options.streams = {};
                options.stream = first.stream; // of device 0 only
                CHECK(upload(plan, options).error().hint.find("one for each target") != std::string_view::npos);
            }
            clean_end();
        }
    // Two targets of one device may share a stream.
    const ckpt::upload_target twice[]{{1, file.weights}, {1, file.weights}};
    cuda_double::reset({.how = mode::lazy});
    cudaStream_t stream{};
    REQUIRE(cudaSetDevice(1) == cudaSuccess);
    REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
    REQUIRE(cudaSetDevice(0) == cudaSuccess);
    {
        upload_options options = busy(1);
        options.stream = stream;
        auto there = upload(ckpt::plan_upload(twice).value(), options).value();
        REQUIRE(there.wait().has_value());
        compare(there, file.weights, 1);
    }
    REQUIRE(cudaStreamDestroy(stream) == cudaSuccess);
    clean_end();
}

TEST_CASE("upload: a stream that another thread captures into a graph stays so, whatever the upload allocates") {
    const opened file{large_file()};
    for (const auto source : {upload_source::buffered, upload_source::mapped})
        for (const auto thread_mode : {cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal}) {
            cuda_double::reset({.how = mode::lazy});
            cudaStream_t captured{};
            REQUIRE(cudaStreamCreateWithFlags(&captured, cudaStreamNonBlocking) == cudaSuccess);
            REQUIRE(cudaStreamBeginCapture(captured, cudaStreamCaptureModeGlobal) == cudaSuccess);
            std::thread{[&] {
                cudaStreamCaptureMode before = thread_mode;
                REQUIRE(cudaThreadExchangeStreamCaptureMode(&before) == cudaSuccess);
                {
                    upload_options options;
                    options.piece_bytes = 65'536;
                    options.slots = 2;
                    options.source = source;
                    auto there = upload(file.weights, options).value();
                    REQUIRE(there.wait().has_value());
                    compare(there, file.weights);
                    CHECK(there.report().fallback.empty());
                    CHECK(cudaThreadExchangeStreamCaptureMode(&before) == cudaSuccess);
                    CHECK(before == thread_mode); // as it was before
                    CHECK(cudaThreadExchangeStreamCaptureMode(&before) == cudaSuccess);
                }
            }}.join();
            cudaGraph_t graph{};
            CHECK(cudaStreamEndCapture(captured, &graph) == cudaSuccess);
            REQUIRE(cudaStreamDestroy(captured) == cudaSuccess);
            clean_end();
        }
}

TEST_CASE("upload: what cannot be waited for is not freed, and the wait says so") {
    const opened file{upload_file()};
    for (const bool lost : {false, true}) {
        cuda_double::reset({.how = mode::lazy});
        {
            ckpt::detail::engine_options how;
            how.slots = 2;
            how.readers = 0;
            const auto plan = ckpt::plan_upload(file.weights, {.piece_bytes = 4'096}).value();
            const auto there = ckpt::detail::run_upload(ckpt::detail::cuda_api{}, plan, how).value();
            const std::uint64_t calls = cuda_double::calls();
            for (std::uint64_t n = 1; n <= 20; ++n)
                cuda_double::fail_call(calls + n, lost ? cudaErrorIllegalAddress : cudaErrorUnknown, lost);
            const auto waited = there->wait();
            CHECK(waited.error().code == (lost ? errc::device_lost : errc::device_failed));
            CHECK(there->failure().has_value());
        }
        cuda_double::end();
        CHECK(cuda_double::count(cuda_double::kind::freed_in_use) == 0);
        CHECK(cuda_double::count(cuda_double::kind::source_changed) == 0);
        CHECK((cuda_double::count(cuda_double::kind::leaked_memory) == 0) == lost);
    }
}

TEST_CASE("upload: thousands of small tensors in a packed layout are batches") {
    std::vector<std::pair<std::string, std::string>> entries, storages;
    for (int i = 0; i < 2'000; ++i) {
        entries.push_back({pkl::str("k" + std::to_string(i)), pkl::floats(std::to_string(i), 4)});
        storages.push_back({std::to_string(i), some_floats(4, static_cast<std::uint64_t>(i))});
    }
    const opened file{torch_file(pkl::ordered(entries), storages)};
    for (const int driver : {CUDART_VERSION, 12'070}) {
        cuda_double::reset({.how = mode::random, .driver_version = driver, .runtime_version = driver});
        upload_options options = busy(1);
        options.piece_bytes = 65'536;
        {
            options.layout = upload_layout::packed;
            auto there = upload(file.weights, options).value();
            REQUIRE(there.wait().has_value());
            compare(there, file.weights);
            CHECK(cuda_double::totals().copies == 2'000);
            CHECK((cuda_double::totals().batches != 0) == (driver >= 12'080));
            CHECK(cuda_double::totals().batches <= fs::file_size(file.path.path()) / 65'536 + 1);
        }
        clean_end();
        cuda_double::reset({.how = mode::random});
        {
            options.layout = upload_layout::file_image;
            auto there = upload(file.weights, options).value();
            REQUIRE(there.wait().has_value());
            compare(there, file.weights);
            CHECK(cuda_double::totals().copies <= fs::file_size(file.path.path()) / 65'536 + 1);
        }
        clean_end();
    }
}

TEST_CASE("upload: every call of the runtime fails once: a typed error or the tensors, no leak, nothing pending, the "
          "device restored") {
    const opened file{upload_file()};
    give_kernel_a_body();
    const std::vector<ckpt::shard_rule> rows{{"a.weight", 0}};
    const ckpt::upload_target both[]{{0, ckpt::shard(file.weights, rows, 0, 2).value()},
                                     {1, ckpt::shard(file.weights, rows, 1, 2).value()}};
    const auto plan = ckpt::plan_upload(both, {.casts = {{"half", ckpt::dtype::float64}, {"br*", ckpt::dtype::float32}},
                                               .piece_bytes = 4'096,
                                               .kernels = &widening})
                          .value();
    const opened other{file_for_kernels()};
    double_kernels::give_bodies();
    const ckpt::upload_target one[]{{1, other.weights}};
    const auto converting = ckpt::plan_upload(one, {.select = {"rows", "turned", "few", "steps"},
                                                    .casts = on_the_device(0).casts,
                                                    .piece_bytes = 8'192,
                                                    .kernels = &double_kernels::table})
                                .value();
    // Scales and zero points for kernels, in a piece of their own.
    const opened integers{quantised_file()};
    const ckpt::upload_target third[]{{0, integers.weights}};
    const auto numbers = ckpt::plan_upload(third, {.select = {"rows", "floats", "plain", "nibbles"},
                                                   .casts = {{"floats", ckpt::dtype::bfloat16}},
                                                   .dequantize = {"**"},
                                                   .piece_bytes = 8'192,
                                                   .kernels = &double_kernels::table})
                             .value();
    struct failure {
        cudaError_t code;
        bool sticky;
        errc expected;
    };
    std::size_t runs = 0;
    for (const mode how : {mode::lazy, mode::random})
        for (const bool ordered : {false, true})
            for (const failure& f : {failure{cudaErrorUnknown, false, errc::device_failed},
                                     failure{cudaErrorMemoryAllocation, false, errc::device_memory},
                                     failure{cudaErrorIllegalAddress, true, errc::device_lost}}) {
                const auto once = [&](const ckpt::upload_plan& what, std::span<const ckpt::upload_target> from,
                                      std::uint64_t n) {
                    cuda_double::reset({.how = how, .seed = n});
                    if (n != 0) cuda_double::fail_call(n, f.code, f.sticky);
                    {
                        upload_options options = busy(0);
                        options.stream_ordered = ordered;
                        auto there = upload(what, options);
                        if (!there) {
                            CHECK(there.error().code == f.expected);
                            CHECK(there.error().os_code == f.code);
                            CHECK(there.error().message().find("cuda") != std::string::npos);
                        } else if (const auto waited = there->wait(); !waited) {
                            CHECK(waited.error().code == f.expected);
                            CHECK(there->at(what[0].key).error().code == f.expected); // nothing is given out any more
                        } else {
                            CHECK((cudaGetLastError() == cudaSuccess ||
                                   f.sticky)); // what was overcome is not left to the caller
                            for (std::size_t t = 0; t < what.targets(); ++t) compare(*there, from[t].weights, t);
                        }
                    }
                    const std::uint64_t calls = cuda_double::calls();
                    cuda_double::end();
                    CAPTURE(n);
                    CHECK_MESSAGE(cuda_double::violations().empty(), cuda_double::report());
                    ++runs;
                    return calls;
                };
                const auto each_call = [&](const ckpt::upload_plan& what, std::span<const ckpt::upload_target> from) {
                    const std::uint64_t calls = once(what, from, 0);
                    REQUIRE(calls > 50);
                    for (std::uint64_t n = 1; n <= calls; ++n) (void)once(what, from, n);
                };
                each_call(plan, both);
                each_call(converting, one);
                each_call(numbers, third);
            }
    MESSAGE(runs << " runs");
}

TEST_CASE("upload: what the numbers of the runtime mean, and what to do") {
    const ckpt::detail::cuda_api api;
    const auto code = [&](int number) { return api.failure(ckpt::device_call::copy, number).code; };
    for (const int number : {214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719}) {
        CAPTURE(number);
        CHECK(code(number) == errc::device_lost);
    }
    for (const int number : {3, 35, 46, 100, 101, 802, 803}) {
        CAPTURE(number);
        CHECK(code(number) == errc::no_device);
    }
    CHECK(code(2) == errc::device_memory);
    for (const int number : {1, 209, 213, 215, 221, 225, 227, 400, 701, 708, 711, 713, 720, 801, 999}) {
        CAPTURE(number);
        CHECK(code(number) == errc::device_failed);
    }
    for (const auto& [number, word] : {std::pair{46, "compute mode"}, std::pair{803, "reboot"},
                                       std::pair{802, "fabricmanager"}, std::pair{209, "-arch"}})
        CHECK(api.failure(ckpt::device_call::convert, number).hint.find(word) != std::string_view::npos);
}

TEST_CASE("upload: CUDA's own types of elements, and what an engine asks of tensors and their memory") {
    static_assert(ckpt::dtype_of<__nv_fp8_e4m3>::value == ckpt::dtype::float8_e4m3fn && ckpt::element<__nv_fp8_e4m3>);
    static_assert(ckpt::dtype_of<__nv_fp8_e5m2>::value == ckpt::dtype::float8_e5m2 && ckpt::element<__nv_fp8_e5m2>);
    static_assert(ckpt::dtype_of<__nv_fp8_e8m0>::value == ckpt::dtype::float8_e8m0fnu && ckpt::element<__nv_fp8_e8m0>);
    const opened file{upload_file()};
    cuda_double::reset();
    const auto plan = ckpt::plan_upload(file.weights).value();
    auto there = upload(plan).value();
    REQUIRE(there.wait().has_value());
    const __half* const halves = there.data<__half>("half").value();
    const __nv_bfloat16* const brain = there.data<__nv_bfloat16>("brain").value();
    CHECK(halves == there.at("half").value().data);
    CHECK(brain == there.at("brain").value().data);
    CHECK(there.data<__half>("brain").error().code == errc::dtype_mismatch);
    for (const std::string_view key : there.keys())
        CHECK(there.at(key).value().nbytes == file.weights.at(key).value().nbytes());
    CHECK(there.at("repeated").value().nbytes == 4 * 7 * 2);
    const ckpt::device_place arena = there.memory();
    CHECK(arena.bytes == plan.device_bytes(0));
    CHECK(cuda_double::read(arena.data, arena.bytes).size() == arena.bytes);
    CHECK(static_cast<const void*>(halves) >= arena.data);
}

#if defined(__GLIBC__)
TEST_CASE("upload: where the system starts no threads, the calling one reads") {
    const opened file{upload_file()};
    cuda_double::reset({.how = mode::lazy});
    {
        auto there = [&] {
            const no_threads meanwhile;
            return upload(file.weights, busy(3));
        }();
        REQUIRE(there.value().wait().has_value());
        compare(*there, file.weights);
    }
    clean_end();
}
#endif

TEST_CASE("upload: a driver that is too old for the runtime is told from a device that fails") {
    const opened file{upload_file()};
    cuda_double::reset({.driver_version = 11'000});
    const auto none = upload(file.weights);
    CHECK(none.error().code == errc::no_device);
    CHECK(none.error().hint.find("nvidia-smi") != std::string_view::npos);
    CHECK(cuda_double::violations().empty());
}

TEST_CASE(
    "upload: a device without memory, a file that was cut, a damaged record, a caller that stops: all or nothing") {
    std::string bytes = upload_file();
    for (const mode how : {mode::lazy, mode::random})
        for (const unsigned readers : {0u, 2u}) {
            const opened file{bytes};
            cuda_double::reset({.how = how});
            cuda_double::set_memory(0, 10'000);
            const auto none = upload(file.weights, busy(readers));
            CHECK(none.error().code == errc::device_memory);
            CHECK(none.error().detail.find("cudaMalloc") != std::string::npos);
            CHECK(none.error().detail.find("bytes were asked for on device 0") != std::string::npos);
            clean_end();

            for (int stop = 1; stop < 12; stop += 5) {
                cuda_double::reset({.how = how});
                int calls = 0;
                upload_options options = busy(readers);
                auto progress = [&](const ckpt::progress&) { return ++calls < stop; };
                options.progress = progress;
                CHECK(upload(file.weights, options).error().code == errc::cancelled);
                CHECK(calls == stop);
                clean_end();
            }

            std::string damaged = bytes;
            const auto at = damaged.find(some_floats(2'310, 3));
            damaged[at + 5'000] = static_cast<char>(damaged[at + 5'000] ^ 4);
            const opened bad{damaged};
            cuda_double::reset({.how = how});
            upload_options options = busy(readers);
            options.verify = true;
            const auto refused = upload(bad.weights, options);
            CHECK(refused.error().code == errc::checksum_mismatch);
            CHECK(refused.error().record == "2");
            clean_end();

            const opened cut{bytes, ckpt::io_mode::read};
            fs::resize_file(cut.path.path(), bytes.size() / 2);
            cuda_double::reset({.how = how});
            const auto truncated = upload(cut.weights, busy(readers));
            CHECK(truncated.error().code == errc::truncated);
            CHECK(truncated.error().offset >= bytes.size() / 2);
            clean_end();

            // What the host builds of a file that is mapped.
            const opened built{bytes};
            const std::uint64_t end = built.weights.at("half").value().file_offset().value() + 1'000;
            fs::resize_file(built.path.path(), end); // behind the header
            cuda_double::reset({.how = how});
            upload_options narrowing = busy(readers);
            narrowing.select = {"half"};
            narrowing.casts = {{"**", ckpt::dtype::bfloat16}};
            const auto shorter = upload(built.weights, narrowing);
            CHECK(shorter.error().code == errc::truncated);
            CHECK(shorter.error().offset >= end);
            clean_end();
        }
}

TEST_CASE("upload: tensors that key rules make, and those of a folder of shards, are built while they are staged") {
    const opened file{upload_file()};
    const ckpt::key_map rules =
        ckpt::key_map::parse("split 0 a.weight -> top, bottom\nmerge 1 top, bottom -> wide\ntranspose 0 1 half\ncast "
                             "float16 a.bias\ncopy brain -> again")
            .value();
    const auto ours = ckpt::remap(file.weights, rules);
    if (!ours) FAIL(ours.error().message());
    for (const auto layout : {upload_layout::file_image, upload_layout::packed})
        for (const mode how : {mode::lazy, mode::random}) {
            cuda_double::reset({.how = how});
            {
                upload_options options = busy(2);
                options.layout = layout;
                auto there = upload(*ours, options).value();
                REQUIRE(there.wait().has_value());
                compare(there, *ours);
                CHECK(there.at("wide").value().shape[1] == 192);
                CHECK(there.at("again").value().data == there.at("brain").value().data);
            }
            clean_end();
        }
    for (const char* name : {"/frameworks/transformers-4.57/shards_bin", "/frameworks/dcp/mesh_2d"}) {
        CAPTURE(name);
        const auto folder = ckpt::open_folder(std::string(CKPT_TEST_DATA) + name).value();
        for (const auto& candidate : folder.state_dicts()) {
            const auto weights = folder.state_dict(candidate.path).value();
            cuda_double::reset({.how = mode::random});
            {
                auto there = upload(weights, busy(2)).value();
                REQUIRE(there.wait().has_value());
                compare(there, weights);
            }
            clean_end();
        }
    }
}

TEST_CASE("upload: files of the folder tests/data, for what small hand-made ones do not have") {
    std::size_t tensors = 0;
    for (const char* name :
         {"/torch-2.13/legacy_views.pt", "/torch-2.13/legacy_dtypes.pt", "/torch-2.13/alignment_4096.pt",
          "/torch-2.13/many_tensors.pt", "/torch-2.13/conj_neg.pt", "/torch-2.13/mixed_views.pt"}) {
        CAPTURE(name);
        const auto file = ckpt::open(std::string(CKPT_TEST_DATA) + name).value();
        const auto weights = file.state_dict().value();
        cuda_double::reset({.how = mode::random});
        {
            auto there = upload(weights, busy(1)).value();
            REQUIRE(there.wait().has_value());
            compare(there, weights);
            tensors += there.size();
        }
        clean_end();
    }
    CHECK(tensors > 100);
}

namespace {

/// How many tensors do not begin at a multiple of 256, of those that begin in no other one.
std::size_t unaligned(const ckpt::cuda::device_tensors& there) {
    std::vector<std::pair<std::uintptr_t, std::uintptr_t>> ranges;
    for (const std::string_view key : there.keys()) {
        const auto t = there.at(key).value();
        if (t.data == nullptr) continue;
        std::uint64_t last = 0;
        for (std::size_t d = 0; d < t.shape.size(); ++d)
            last += static_cast<std::uint64_t>((t.shape[d] - 1) * t.strides[d]);
        const auto first = reinterpret_cast<std::uintptr_t>(t.data);
        ranges.emplace_back(first, first + (last + 1) * (ckpt::bits(t.dtype) < 8 ? 1 : ckpt::itemsize(t.dtype)));
    }
    std::sort(ranges.begin(), ranges.end());
    std::uintptr_t end = 0;
    std::size_t n = 0;
    for (const auto& [first, last] : ranges) {
        n += first >= end && first % 256 != 0 ? 1 : 0;
        end = (std::max)(end, last);
    }
    return n;
}

} // namespace

TEST_CASE("upload: pointers are multiples of 256, wherever the tensors lie in their file, and few copies bring them") {
    const opened file{unaligned_file()};
    for (const mode how : {mode::eager, mode::lazy, mode::random})
        for (const unsigned readers : {0u, 2u})
            for (const auto source : {upload_source::buffered, upload_source::direct, upload_source::mapped})
                for (const auto layout : {upload_layout::file_image, upload_layout::packed}) {
                    cuda_double::reset({.how = how, .seed = readers});
                    {
                        upload_options options = busy(readers);
                        options.piece_bytes = 65'536;
                        options.source = source;
                        options.layout = layout;
                        auto there = upload(file.weights, options).value();
                        REQUIRE(there.wait().has_value());
                        compare(there, file.weights);
                        CHECK(unaligned(there) == 0);
                        if (layout == upload_layout::file_image) CHECK(there.report().copies < 30);
                    }
                    clean_end();
                }
}

TEST_CASE("upload: every tensor of tests/data is at a multiple of 256, unless it is a view into another one") {
    std::size_t files = 0;
    for (const auto& found : fs::recursive_directory_iterator(CKPT_TEST_DATA)) {
        if (!found.is_regular_file()) continue;
        const auto file = ckpt::open(found.path());
        const auto weights = file ? file->state_dict() : file.error();
        if (!weights) continue;
        cuda_double::reset();
        {
            auto there = upload(*weights);
            if (!there) continue;
            CHECK_MESSAGE(unaligned(*there) == 0, found.path().string());
            ++files;
        }
        clean_end();
    }
    CHECK(files > 100);
}

TEST_CASE("upload: GPUDirect Storage reads large pieces past the host, and whatever it cannot do is staged, with the "
          "reason") {
    const opened file{large_file()};
    const storage_double storage;
    struct trial {
        cufile_failure failure;
        unsigned long good_reads;
        const char* reason;
    };
    for (const trial& t : {trial{cufile_no_failure, 0, ""}, trial{cufile_no_driver, 0, "cuFileDriverOpen failed"},
                           trial{cufile_no_file_system, 0, "cuFileHandleRegister failed"},
                           trial{cufile_failing_read, 1, "a read past the host gave"},
                           trial{cufile_failing_file_read, 0, "a read past the host gave"},
                           trial{cufile_no_buffer, 0, ""}, trial{cufile_no_properties, 0, ""},
                           trial{cufile_no_direct_way, 0, "libcufile reads through the host's memory"}})
        for (const mode how : {mode::eager, mode::lazy, mode::random})
            for (const unsigned readers : {0u, 2u})
                for (const bool ordered : {false, true}) {
                    CAPTURE(std::string(t.reason));
                    cuda_double::reset({.how = how});
                    storage.reset(t.failure, t.good_reads);
                    {
                        const auto driver = opened_gds();
                        upload_options options;
                        options.readers = readers;
                        options.piece_bytes = 1u << 20;
                        options.source = upload_source::gpu_direct;
                        options.past_host = driver.reader();
                        options.stream_ordered = ordered;
                        auto there = upload(file.weights, options).value();
                        REQUIRE(there.wait().has_value());
                        compare(there, file.weights);
                        CHECK(there.report().fallback.starts_with(t.reason));
                        CHECK(there.report().fallback.empty() == std::string_view{t.reason}.empty());
                        if (there.report().fallback.empty() || t.failure == cufile_no_direct_way)
                            CHECK(storage.reads() >= 4);
                        const bool opened = t.failure != cufile_no_driver && t.failure != cufile_no_file_system;
                        CHECK(storage.registered() == (opened && t.failure != cufile_no_buffer ? 1 : 0));
                    }
                    storage.end();
                    clean_end();
                }
    const auto plan = ckpt::plan_upload(file.weights, {.piece_bytes = 1u << 20}).value();
    for (const mode how : {mode::lazy, mode::random})
        for (const bool from_pool : {false, true}) {
            cuda_double::reset({.how = how});
            storage.reset(cufile_no_failure);
            {
                const auto driver = opened_gds();
                busy_memory mine{plan, 0, from_pool, false};
                const ckpt::device_place places[]{mine.place()};
                upload_options options;
                options.stream = mine.stream;
                options.source = upload_source::gpu_direct;
                options.past_host = driver.reader();
                options.places = places;
                auto there = upload(plan, options).value();
                mine.copy_back();
                REQUIRE(there.wait().has_value());
                compare(there, file.weights);
                CHECK(there.report().fallback.empty());
                CHECK(storage.registered() == 1);
            }
            storage.end();
            clean_end();
        }
    cuda_double::reset();
    storage.reset(cufile_no_failure);
    {
        const auto driver = opened_gds();
        upload_options options;
        options.source = upload_source::gpu_direct;
        CHECK(upload(file.weights, options).value().report().fallback == "no direct_reader was given");
        options.past_host = driver.reader();
        options.verify = true;
        const auto there = upload(file.weights, options).value();
        CHECK(there.report().fallback == "checksums can only be compared of what the host reads");
        CHECK(there.report().verified == 2);
    }
    storage.end();
    clean_end();
}

TEST_CASE("upload: several parts of a piece are read past the host, several pieces at the same time, to two devices") {
    // Their sizes fit no alignment, so that each is a part of its own.
    const std::size_t sizes[]{1'200'000, 900'004, 1'500'000, 700'004, 2'000'000, 1'100'004};
    const opened file{safetensors_of(sizes, 8)};
    const opened other{large_file()};
    const ckpt::upload_target both[]{{0, file.weights}, {1, other.weights}};
    const auto plan = ckpt::plan_upload(both, {.piece_bytes = 4u << 20}).value();
    CHECK(plan.copies() > plan.pieces() + 2);
    const storage_double storage;
    for (const mode how : {mode::lazy, mode::random})
        for (const unsigned readers : {0u, 2u}) {
            cuda_double::reset({.how = how});
            storage.reset(cufile_no_failure);
            storage.together(readers);
            {
                const auto driver = opened_gds();
                upload_options options;
                options.readers = readers;
                options.slots = 4;
                options.source = upload_source::gpu_direct;
                options.past_host = driver.reader();
                auto there = upload(plan, options).value();
                CHECK(storage.most_in_flight() == (readers == 0 ? 1 : readers));
                CHECK(storage.registered() == 2);
                CHECK(storage.reads() > plan.pieces());
                CHECK(there.report().fallback.empty());
                REQUIRE(there.wait().has_value());
                compare(there, file.weights, 0);
                compare(there, other.weights, 1);

                // However it ends, nothing stays registered.
                const auto stops = [](const ckpt::progress&) { return false; };
                options.progress = stops;
                CHECK(upload(plan, options).error().code == errc::cancelled);
            }
            storage.end();
            clean_end();
        }
    // Memory is registered, and a detour told of, only where something is read: not for pieces of less than 1 MiB.
    cuda_double::reset();
    storage.reset(cufile_no_direct_way);
    {
        const auto driver = opened_gds();
        upload_options options = busy(0);
        options.source = upload_source::gpu_direct;
        options.past_host = driver.reader();
        const auto there = upload(file.weights, options).value();
        CHECK(storage.registered() == 0);
        CHECK(storage.reads() == 0);
        CHECK(there.report().fallback.empty());
    }
    storage.end();
    clean_end();
}

TEST_CASE("upload: other frameworks take a tensor as DLPack has it, and keep its memory") {
    const opened file{upload_file()};
    cuda_double::reset({.how = mode::lazy});
    ckpt::dlpack_managed_tensor* taken = nullptr;
    const void* data = nullptr;
    {
        auto there = upload(file.weights, busy()).value();
        taken = there.to_dlpack("turned").value();
        data = there.at("turned").value().data;
        CHECK(there.to_dlpack("missing").error().code == errc::key_missing);
        ckpt::dlpack_managed_tensor* const empty = there.to_dlpack("empty").value();
        CHECK(empty->dl_tensor.data == nullptr);
        empty->deleter(empty);
    }
    CHECK(taken->dl_tensor.data == data);
    CHECK(taken->dl_tensor.device.device_type == 2);
    CHECK(taken->dl_tensor.device.device_id == 0);
    CHECK(taken->dl_tensor.strides[1] == 33);
    CHECK(cuda_double::totals().device_bytes.at(0) != 0);
    taken->deleter(taken);
    CHECK(cuda_double::totals().device_bytes.at(0) == 0);
    clean_end();
}

TEST_CASE("upload: a strided tensor becomes dense by a kernel, on its own device") {
    const opened file{upload_file()};
    cuda_double::reset({.how = mode::lazy});
    {
        const ckpt::upload_target one[]{{1, file.weights}};
        auto there = upload(ckpt::plan_upload(one).value(), busy()).value();
        const auto turned = there.at("turned").value();
        static int device_of_call = -1;
        const ckpt::device_kernels kernels{.gather = [](void* out, const void* in, std::size_t itemsize,
                                                        std::uint32_t rank, const std::int64_t* shape,
                                                        const std::int64_t* strides, std::uint64_t offset, void*) {
            CHECK(out == reinterpret_cast<void*>(std::uintptr_t{4'096}));
            CHECK(in != nullptr);
            CHECK(itemsize == 4);
            CHECK(rank == 2);
            CHECK(shape[0] == 33);
            CHECK(strides[1] == 33);
            CHECK(offset == 0);
            return static_cast<int>(cudaGetDevice(&device_of_call));
        }};
        CHECK(ckpt::cuda::contiguous(reinterpret_cast<void*>(std::uintptr_t{4'096}), turned, &kernels).has_value());
        CHECK(device_of_call == 1);
        const ckpt::device_kernels failing{.gather = [](void*, const void*, std::size_t, std::uint32_t,
                                                        const std::int64_t*, const std::int64_t*, std::uint64_t,
                                                        void*) { return static_cast<int>(cudaErrorInvalidValue); }};
        CHECK(ckpt::cuda::contiguous(nullptr, turned, &failing).error().code == errc::device_failed);
    }
    clean_end();
}

} // namespace upload_test
