// tools/gpu_check/bench.cpp: how fast uploads are, beside the limits of the machine.
//
// SPDX-License-Identifier: MIT
#include "check.hpp"

#include <ckpt/cuda_async.hpp>
#include <ckpt/cuda_gds.hpp>
#include <ckpt/io/pages.hpp>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

namespace gpu_check {
namespace {

namespace fs = std::filesystem;
using ckpt::upload_layout;
using ckpt::upload_source;
using ckpt::cuda::upload_options;

double cpu_seconds() {
    rusage used{};
    (void)getrusage(RUSAGE_SELF, &used);
    const auto seconds = [](const timeval& t) {
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
    };
    return seconds(used.ru_utime) + seconds(used.ru_stime);
}

/// Forgets the pages of a file. The part of them that stayed.
double forget(const std::string& path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    (void)::fsync(file);
    (void)::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    const std::size_t bytes = fs::file_size(path);
    void* const map = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file, 0);
    std::vector<unsigned char> pages((bytes + 4'095) / 4'096);
    std::ptrdiff_t stayed = 0;
    if (map != MAP_FAILED && ::mincore(map, bytes, pages.data()) == 0)
        stayed = std::count_if(pages.begin(), pages.end(), [](unsigned char c) { return (c & 1) != 0; });
    if (map != MAP_FAILED) (void)::munmap(map, bytes);
    (void)::close(file);
    return static_cast<double>(stayed) / static_cast<double>(pages.size());
}

/// Runs something so many times; it gives seconds, and says what is to be noted. Prints the median and the best.
void row(const std::string& name, double bytes, int times, const std::function<double(std::string& note)>& once) {
    std::vector<double> all;
    std::string note;
    const double before = cpu_seconds();
    for (int i = 0; i < times; ++i) all.push_back(once(note));
    const double cpu = (cpu_seconds() - before) / times;
    std::sort(all.begin(), all.end());
    std::replace(note.begin(), note.end(), '"', '\'');
    const double median = all[all.size() / 2];
    std::printf(
        "{\"name\": \"%s\", \"gbs\": %.2f, \"best\": %.2f, \"seconds\": %.4f, \"cpu\": %.2f, \"note\": \"%s\"}\n",
        name.c_str(), bytes / median * 1e-9, bytes / all[0] * 1e-9, median, cpu, note.c_str());
    std::fflush(stdout);
}

/// Reads all of a file in pieces of 8 MiB by `n` threads, each into memory of its own, past the cache or through it.
double read_all(const std::string& path, unsigned n, bool direct) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | (direct ? O_DIRECT : 0));
    if (file < 0) return 1e9;
    std::atomic<std::uint64_t> next{0};
    const std::uint64_t bytes = fs::file_size(path);
    std::vector<ckpt::detail::pages> room;
    for (unsigned i = 0; i < n; ++i) {
        room.emplace_back(8 * mib);
        std::fill(room.back().bytes().begin(), room.back().bytes().end(), std::byte{1});
    }
    const double begin = now();
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < n; ++i)
        threads.emplace_back([&, i] {
            for (std::uint64_t at; (at = next.fetch_add(8 * mib)) < bytes;)
                if (::pread(file, room[i].bytes().data(), 8 * mib, static_cast<off_t>(at)) < 0) return;
        });
    for (auto& t : threads) t.join();
    (void)::close(file);
    return now() - begin;
}

class benchmark {
  public:
    benchmark(const std::string& f32, const std::string& bf16, const std::string& small)
        : f32_{f32},
          bf16_{bf16},
          small_{small},
          size_{static_cast<double>(fs::file_size(f32))},
          half_{static_cast<double>(fs::file_size(bf16))},
          little_{static_cast<double>(fs::file_size(small))} {
        must(cudaFree(nullptr), "a context");
    }

    void run() {
        copies();
        costs();
        reads();
        warm();
        built();
        cold();
    }

  private:
    /// The rate of copies of pinned memory, which no upload can pass.
    static void copies() {
        constexpr std::uint64_t block = 256 * mib;
        constexpr int times = 32;
        void *device{}, *pinned{};
        cudaStream_t stream{};
        must(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "a stream");
        must(cudaMalloc(&device, block), "memory");
        must(cudaMallocHost(&pinned, block), "pinned memory");
        std::memset(pinned, 1, block);
        for (const std::uint64_t piece : {block, 8 * mib}) {
            const auto once = [&](std::string&) {
                const double begin = now();
                for (int k = 0; k < times; ++k)
                    for (std::uint64_t at = 0; at < block; at += piece)
                        (void)cudaMemcpyAsync(static_cast<char*>(device) + at, static_cast<char*>(pinned) + at, piece,
                                              cudaMemcpyHostToDevice, stream);
                (void)cudaStreamSynchronize(stream);
                return now() - begin;
            };
            std::string ignored;
            (void)once(ignored);
            row("limit: pinned copies of " + std::to_string(piece / mib) + " MiB", times * static_cast<double>(block),
                5, once);
        }
        must(cudaFreeHost(pinned), "freeing");
        must(cudaFree(device), "freeing");
        must(cudaStreamDestroy(stream), "a stream");
    }
    /// What each upload pays once.
    void costs() {
        row("cost: a ring of 64 MiB, touched, pinned, given back", 64.0 * mib, 5, [](std::string&) {
            const double begin = now();
            const ckpt::detail::pages ring{64 * mib};
            for (std::size_t at = 0; at < ring.bytes().size(); at += 4'096) ring.bytes()[at] = std::byte{0};
            must(cudaHostRegister(ring.bytes().data(), ring.bytes().size(), cudaHostRegisterPortable), "pinning");
            must(cudaHostUnregister(ring.bytes().data()), "unpinning");
            return now() - begin;
        });
        row("cost: cudaMalloc and cudaFree of the file's size", size_, 5, [&](std::string&) {
            void* memory{};
            const double begin = now();
            must(cudaMalloc(&memory, static_cast<std::size_t>(size_)), "memory");
            must(cudaFree(memory), "freeing");
            return now() - begin;
        });
    }
    void reads() {
        for (const unsigned n : {1u, 2u, 4u, 8u, 12u})
            row("limit: page cache to memory, threads " + std::to_string(n), size_, 3,
                [&](std::string&) { return read_all(f32_, n, false); });
        for (const unsigned n : {1u, 4u, 16u})
            row("limit: disk past the cache, threads " + std::to_string(n), size_, 1, [&](std::string& note) {
                note = "resident before " + std::to_string(forget(f32_));
                return read_all(f32_, n, true);
            });
    }

    enum class pages { warm, cold };
    void uploads(const std::string& name, const std::string& path, double bytes, pages are, upload_options how) {
        how.past_host = driver_.reader();
        if (are == pages::warm) (void)read_all(path, 8, false);
        const auto number = [](const std::optional<unsigned>& n) { return n ? std::to_string(*n) : "as chosen"; };
        const std::string title = "ckpt: " + name + ", readers " + number(how.readers) + ", slots " + number(how.slots);
        row(title, bytes, are == pages::warm ? 3 : 1, [&](std::string& note) {
            if (are == pages::cold) note = "resident before " + std::to_string(forget(path)) + "; ";
            const double begin = now();
            const auto weights = ckpt::open(path).value().state_dict().value();
            auto there = ckpt::cuda::upload(weights, how);
            const auto done = there ? there->wait() : ckpt::result<void>{there.error()};
            const double took = now() - begin;
            if (!done) {
                note = done.error().message();
                return 1e9;
            }
            note = (are == pages::cold ? note : std::string()) + there->report().fallback;
            return took;
        });
    }

    void warm() {
        uploads("warm, as it comes", f32_, size_, pages::warm, {});
        for (const unsigned n : {1u, 4u, 6u, 8u, 12u})
            uploads("warm", f32_, size_, pages::warm, {.readers = n, .slots = 2 * n + 2});
        for (const std::uint64_t piece : {2u, 4u, 16u, 32u})
            uploads("warm, pieces of " + std::to_string(piece) + " MiB", f32_, size_, pages::warm,
                    {.readers = 8, .slots = 18, .piece_bytes = piece * mib});
        uploads("warm, packed", f32_, size_, pages::warm, {.layout = upload_layout::packed, .readers = 8, .slots = 18});
        uploads("warm, pool", f32_, size_, pages::warm, {.readers = 8, .slots = 18, .stream_ordered = true});
        callers_memory();
        first_layer();
        {
            ckpt::cuda::staging_pool kept;
            uploads("warm, staging kept", f32_, size_, pages::warm, {.readers = 8, .slots = 18, .staging = &kept});
        }
        uploads("warm, verified", f32_, size_, pages::warm, {.readers = 8, .slots = 18, .verify = true});
        uploads("warm, mapped", f32_, size_, pages::warm, {.source = upload_source::mapped, .readers = 8, .slots = 18});
        uploads("warm, mapped, windows of 64 MiB", f32_, size_, pages::warm,
                {.source = upload_source::mapped, .readers = 8, .slots = 18, .piece_bytes = 64 * mib});
        for (const auto layout : {upload_layout::packed, upload_layout::file_image})
            uploads(layout == upload_layout::packed ? "small tensors, packed" : "small tensors, file image", small_,
                    little_, pages::warm, {.layout = layout, .readers = 8, .slots = 18});
    }
    void callers_memory() {
        row("ckpt: warm, into memory of the caller's, readers 8, slots 18", size_, 3, [&](std::string& note) {
            const auto weights = ckpt::open(f32_).value().state_dict().value();
            const auto plan = ckpt::plan_upload(weights).value();
            void* memory{};
            must(cudaMalloc(&memory, plan.device_bytes(0)), "memory");
            const ckpt::device_place places[]{{memory, plan.device_bytes(0)}};
            const double begin = now();
            double took = 1e9;
            auto there = ckpt::cuda::upload(plan, {.readers = 8, .slots = 18, .places = places});
            if (there && there->wait()) took = now() - begin;
            else note = "failed";
            must(cudaFree(memory), "freeing");
            return took;
        });
    }
    /// How soon an engine can begin with the layer that it asks for first.
    void first_layer() {
        constexpr const char* layer = "model.layers.0.**";
        const auto weights = ckpt::open(f32_).value().state_dict().value();
        const auto planned = ckpt::plan_upload(weights, {.select = {layer}});
        if (!planned) return; // files of less than 0.13 GiB have no layer
        const auto& plan = *planned;
        row("ckpt: a layer of a started upload, of these bytes alone", static_cast<double>(plan.device_bytes(0)), 3,
            [&](std::string& note) {
                cudaStream_t stream{};
                must(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "a stream");
                const double begin = now();
                auto pending = ckpt::cuda::start_upload(weights, {.stream = stream, .order = {layer}}).value();
                for (std::size_t i = 0; i < plan.size(); ++i) (void)pending.await(plan[i].key, stream).value();
                must(cudaStreamSynchronize(stream), "waiting");
                const double took = now() - begin;
                const bool ended = pending.get().value().wait().has_value();
                note = ended ? "all of it after " + std::to_string(now() - begin) + " s" : "failed";
                must(cudaStreamDestroy(stream), "a stream");
                return took;
            });
    }
    /// Conversions, on the host and on the device.
    void built() {
        const auto to_f32 = [](const ckpt::device_kernels* kernels) {
            return upload_options{
                .casts = {{"**", ckpt::dtype::float32}}, .kernels = kernels, .readers = 8, .slots = 18};
        };
        for (const unsigned n : {8u, 14u})
            uploads("f32 to bf16 on the host", f32_, size_, pages::warm,
                    {.casts = {{"**", ckpt::dtype::bfloat16}}, .readers = n, .slots = 2 * n + 2});
        uploads("f32 to bf16 with kernels", f32_, size_, pages::warm,
                {.casts = {{"**", ckpt::dtype::bfloat16}}, .kernels = device_kernels(), .readers = 8, .slots = 18});
        uploads("bf16 as it is", bf16_, half_, pages::warm, {.readers = 8, .slots = 18});
        uploads("bf16 to f32 on the device", bf16_, half_, pages::warm, to_f32(device_kernels()));
        uploads("bf16 to f32 on the host", bf16_, half_, pages::warm, to_f32(nullptr));
    }
    void cold() {
        for (const unsigned n : {2u, 8u})
            uploads("cold, buffered", f32_, size_, pages::cold, {.readers = n, .slots = 2 * n + 2});
        for (const unsigned n : {2u, 4u, 8u})
            uploads("cold, direct", f32_, size_, pages::cold,
                    {.source = upload_source::direct, .readers = n, .slots = 2 * n + 2});
        uploads("cold, f32 to bf16 on the host, direct", f32_, size_, pages::cold,
                {.casts = {{"**", ckpt::dtype::bfloat16}}, .source = upload_source::direct, .readers = 8, .slots = 18});
        const std::string driver = driver_.reason().empty() ? "driver open" : driver_.reason().substr(0, 60);
        uploads("cold, gpu_direct (" + driver + ")", f32_, size_, pages::cold,
                {.source = upload_source::gpu_direct, .readers = 8, .slots = 18});
    }

    decltype(ckpt::cuda::gds()) driver_{ckpt::cuda::gds()};
    std::string f32_, bf16_, small_;
    double size_, half_, little_;
};

} // namespace

int bench(const std::string& f32, const std::string& bf16, const std::string& small) {
    benchmark{f32, bf16, small}.run();
    return 0;
}

} // namespace gpu_check
