// tools/gpu_check/probe.cpp: suspicions that only a device settles.
//
// SPDX-License-Identifier: MIT
#include "check.hpp"

#include <algorithm>
#include <functional>
#include <thread>
#include <utility>

namespace gpu_check {
namespace {

using ckpt::upload_layout;
using ckpt::upload_source;

class prober {
  public:
    explicit prober(const std::string& file) : weights_{ckpt::open(file).value().state_dict().value()} {
        must(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "a stream");
    }
    prober(const prober&) = delete;
    prober& operator=(const prober&) = delete;
    ~prober() { (void)cudaStreamDestroy(stream_); }

    int run() {
        attributes();
        for (const cudaStream_t stream : {cudaStream_t{}, stream_}) used_at_once(stream);
        callers_memory();
        stale_errors();
        for (const auto layout : {upload_layout::file_image, upload_layout::packed}) alignment(layout);
#if !defined(GPU_CHECK_ON_DOUBLE)
        captures();
#endif
        std::printf("%zu found\n", found_);
        return found_ != 0;
    }

  private:
    void told(const std::string& what, bool found, const std::string& detail) {
        found_ += found ? 1U : 0U;
        std::printf("%-5s %s: %s\n", found ? "FOUND" : "fine", what.c_str(), detail.c_str());
    }

    static void attributes() {
        for (const auto& [name, which] : {std::pair{"HostRegisterSupported", cudaDevAttrHostRegisterSupported},
                                          {"HostRegisterReadOnlySupported", cudaDevAttrHostRegisterReadOnlySupported},
                                          {"MemoryPoolsSupported", cudaDevAttrMemoryPoolsSupported},
                                          {"PageableMemoryAccess", cudaDevAttrPageableMemoryAccess},
                                          {"AsyncEngineCount", cudaDevAttrAsyncEngineCount}}) {
            int value = -1;
            (void)cudaDeviceGetAttribute(&value, which, 0);
            std::printf("      %s = %d\n", name, value);
        }
        (void)cudaGetLastError();
    }

    /// The tensors are used in the order of the stream, before anybody waited.
    void used_at_once(cudaStream_t stream) {
        const auto there = ckpt::cuda::upload(weights_, {.stream = stream, .readers = 8, .slots = 16}).value();
        std::size_t wrong = 0;
        for (const auto key : there.keys()) {
            const auto t = there.at(key).value();
            const auto want = weights_.at(key).value().bytes();
            if (!want || t.data == nullptr || want->size() < mib) continue;
            std::vector<std::byte> got(want->size());
            must(cudaMemcpyAsync(got.data(), t.data, got.size(), cudaMemcpyDeviceToHost, stream), "a copy back");
            must(cudaStreamSynchronize(stream), "waiting");
            wrong += std::equal(got.begin(), got.end(), want->begin()) ? 0U : 1U;
        }
        told(stream != nullptr ? "a stream of the caller's, used at once" : "the default stream, used at once",
             wrong != 0, std::to_string(wrong) + " tensors are wrong");
    }

    /// The caller's memory is still written by what was queued before: the upload comes behind it.
    void callers_memory() {
        const auto plan = ckpt::plan_upload(weights_).value();
        const std::uint64_t bytes = plan.device_bytes(0);
        void* place{};
        must(cudaMalloc(&place, bytes), "memory");
        const ckpt::device_place places[]{{place, bytes}};
        // A fifth of a second or more at 3 TB/s, and a few times in any case.
        const std::uint64_t times = std::clamp<std::uint64_t>(600'000'000'000 / bytes, 4, 20'000);
        for (std::uint64_t i = 0; i < times; ++i) must(cudaMemsetAsync(place, 0xEE, bytes, stream_), "filling");
        {
            auto there =
                ckpt::cuda::upload(plan, {.stream = stream_, .readers = 8, .slots = 16, .places = places}).value();
            must(cudaStreamSynchronize(stream_), "waiting");
            (void)there.wait();
            tally so_far;
            compare(there, weights_, "probe", so_far);
            told("`places` are written before what the stream still has to do with them", so_far.failed != 0,
                 std::to_string(so_far.failed) + " tensors are wrong");
        }
        must(cudaFree(place), "freeing");
    }

    void stale_errors() {
        (void)cudaGetLastError();
        for (const auto source : {upload_source::buffered, upload_source::direct, upload_source::mapped})
            for (const unsigned readers : {0u, 4u}) {
                const auto there = ckpt::cuda::upload(
                    weights_, {.layout = upload_layout::packed, .source = source, .readers = readers});
                const cudaError_t left = cudaGetLastError();
                told("an error is left behind by an upload that succeeded", there && left != cudaSuccess,
                     std::string(cudaGetErrorName(left)) + ", source " + std::to_string(static_cast<int>(source)) +
                         ", fallback '" + (there ? there->report().fallback : there.error().message()) + '\'');
            }
    }

    void alignment(upload_layout layout) {
        std::uintptr_t all = 0;
        const auto there = ckpt::cuda::upload(weights_, {.layout = layout}).value();
        for (const auto key : there.keys()) all |= reinterpret_cast<std::uintptr_t>(there.at(key).value().data);
        const std::uintptr_t multiple = all & (~all + 1);
        told(layout == upload_layout::packed ? "packed: tensors not at multiples of 256"
                                             : "file_image: tensors not at multiples of 256",
             multiple < 256, "all are multiples of " + std::to_string(multiple));
    }

#if !defined(GPU_CHECK_ON_DOUBLE)
    /// A graph is captured by one thread while another does something.
    void captured(const std::string& what, const std::function<std::string()>& meanwhile) {
        must(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeGlobal), "capturing");
        std::string said;
        std::thread([&] { said = meanwhile(); }).join();
        cudaGraph_t graph{};
        const cudaError_t ended = cudaStreamEndCapture(stream_, &graph);
        told("while another thread captures a graph, " + what + " fails", !said.empty(), said);
        told("and the capture is spoilt", ended != cudaSuccess, cudaGetErrorName(ended));
        if (graph != nullptr) (void)cudaGraphDestroy(graph);
        (void)cudaGetLastError();
    }
    void captures() {
        captured("an upload", [&]() -> std::string {
            auto there = ckpt::cuda::upload(weights_, {.readers = 2});
            if (!there) return there.error().message();
            const auto done = there->wait();
            return done ? "" : done.error().message();
        });
        std::vector<ckpt::cuda::device_tensors> old;
        old.push_back(ckpt::cuda::upload(weights_).value());
        (void)old[0].wait();
        std::size_t before = 0, after = 0, all = 0;
        (void)cudaMemGetInfo(&before, &all);
        captured("giving tensors back", [&]() -> std::string {
            old.clear();
            return {};
        });
        (void)cudaMemGetInfo(&after, &all);
        const std::uint64_t bytes = ckpt::plan_upload(weights_).value().device_bytes(0);
        told("and their memory is lost", after < before + bytes / 2,
             std::to_string(after / mib) + " MiB are free, " + std::to_string(before / mib) + " were before");
    }
#endif

    ckpt::state_dict weights_;
    cudaStream_t stream_{};
    std::size_t found_{0};
};

} // namespace

int probe(const std::string& file) { return prober{file}.run(); }

} // namespace gpu_check
