// tools/gpu_check/probe.cpp: suspicions that only a device settles.
//
// SPDX-License-Identifier: MIT
#include "check.hpp"

#include <ckpt/cuda_async.hpp>

#include <algorithm>
#include <functional>
#include <string_view>
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
        as_they_arrive();
        callers_memory();
        callers_allocator();
        staging_pool();
        replicas();
        made_dense();
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

    /// Whether a tensor that lies on the device as in the file, copied back in the order of a stream, is another one.
    bool is_wrong(std::string_view key, const ckpt::cuda::device_tensor& t, cudaStream_t stream) const {
        const auto want = weights_.at(key).value().bytes();
        if (!want || t.data == nullptr || want->size() < 64 * 1024) return false;
        std::vector<std::byte> got(want->size());
        must(cudaMemcpyAsync(got.data(), t.data, got.size(), cudaMemcpyDeviceToHost, stream), "a copy back");
        must(cudaStreamSynchronize(stream), "waiting");
        return !std::equal(got.begin(), got.end(), want->begin());
    }

    /// The tensors are used in the order of the stream, before anybody waited.
    void used_at_once(cudaStream_t stream) {
        const auto there = ckpt::cuda::upload(weights_, {.stream = stream, .readers = 8, .slots = 16}).value();
        std::size_t wrong = 0;
        for (const auto key : there.keys()) wrong += is_wrong(key, there.at(key).value(), stream) ? 1U : 0U;
        told(stream != nullptr ? "a stream of the caller's, used at once" : "the default stream, used at once",
             wrong != 0, std::to_string(wrong) + " tensors are wrong");
    }

    /// Each tensor is used as soon as it is there, the last one of the file first, while others are still read.
    void as_they_arrive() {
        std::vector<std::string> keys;
        for (const auto& entry : weights_) keys.insert(keys.begin(), std::string(entry.key));
        ckpt::cuda::upload_options how{.stream = stream_, .readers = 8, .slots = 16};
        for (const std::string& key : keys) how.order.push_back(ckpt::pattern::parse(key).value());
        auto pending = ckpt::cuda::start_upload(weights_, how).value();
        std::size_t wrong = 0;
        for (const std::string& key : keys)
            wrong += is_wrong(key, pending.await(key, stream_).value(), stream_) ? 1U : 0U;
        const bool ended = pending.get().value().wait().has_value();
        told("tensors are not there when `await` gives them", wrong != 0 || !ended,
             std::to_string(wrong) + " tensors are wrong");
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

    /// Memory of the caller's allocator, here that of the device's pool in the order of the caller's stream.
    void callers_allocator() {
        std::ptrdiff_t held = 0;
        const ckpt::device_allocator pool{
            &held,
            [](void* count, std::size_t bytes, int, void* stream) -> void* {
                void* memory{};
                if (cudaMallocAsync(&memory, bytes, static_cast<cudaStream_t>(stream)) != cudaSuccess) return nullptr;
                ++*static_cast<std::ptrdiff_t*>(count);
                return memory;
            },
            [](void* count, void* memory, std::size_t, int, void* stream) {
                must(cudaFreeAsync(memory, static_cast<cudaStream_t>(stream)), "giving back");
                --*static_cast<std::ptrdiff_t*>(count);
            }};
        tally so_far;
        {
            auto there = ckpt::cuda::upload(weights_, {.stream = stream_,
                                                       .casts = {{"**", ckpt::dtype::bfloat16}},
                                                       .kernels = device_kernels(),
                                                       .readers = 4,
                                                       .allocator = &pool})
                             .value();
            there.wait().value();
            compare(there, weights_, "the caller's allocator", so_far);
        }
        must(cudaStreamSynchronize(stream_), "waiting");
        told("memory of the caller's allocator is wrong or kept", so_far.failed != 0 || so_far.passed == 0 || held != 0,
             std::to_string(so_far.failed) + " tensors are wrong, " + std::to_string(held) + " blocks are kept");
    }

    /// A second upload uses what the first one pinned.
    void staging_pool() {
        ckpt::cuda::staging_pool kept;
        tally so_far;
        std::uint64_t pinned = 0, reused = 0;
        for (int i = 0; i < 2; ++i) {
            auto there = ckpt::cuda::upload(weights_, {.readers = 4, .staging = &kept}).value();
            there.wait().value();
            compare(there, weights_, "a staging_pool", so_far);
            pinned = there.report().pinned_bytes;
            reused = there.report().reused_bytes;
        }
        told("a staging_pool is wrong or pins again", so_far.failed != 0 || reused != pinned,
             std::to_string(so_far.failed) + " tensors are wrong, " + std::to_string(reused / mib) + " of " +
                 std::to_string(pinned / mib) + " MiB were there");
    }

    /// Two targets with the same tensors: on the first two devices, or both on the only one.
    void replicas() {
        int devices = 0;
        must(cudaGetDeviceCount(&devices), "counting");
        const ckpt::upload_target targets[]{{0, weights_}, {devices > 1 ? 1 : 0, weights_}};
        auto there = ckpt::cuda::upload(ckpt::plan_upload(targets).value(), {.readers = 4}).value();
        there.wait().value();
        tally so_far;
        for (std::size_t t = 0; t < 2; ++t) compare(there, weights_, "replica " + std::to_string(t), so_far, t);
        told("replicas differ", so_far.failed != 0 || so_far.passed == 0,
             std::to_string(so_far.failed) + " tensors are wrong, " + std::to_string(there.report().peer_bytes / mib) +
                 " MiB went from device to device" +
                 (there.report().peers.empty() ? "" : ", because " + there.report().peers));
    }

    /// Transposed tensors, which a kernel makes dense and converts, piece by piece.
    void made_dense() {
        const auto rules = ckpt::key_map::parse("transpose 0 1 ** where ndim == 2").value();
        const auto transposed = ckpt::remap(weights_, rules).value();
        auto there = ckpt::cuda::upload(transposed, {.casts = {{"**", ckpt::dtype::float16}},
                                                     .kernels = device_kernels(),
                                                     .readers = 4,
                                                     .piece_bytes = mib})
                         .value();
        there.wait().value();
        tally so_far;
        compare(there, transposed, "made dense", so_far);
        told("tensors that a kernel makes dense are wrong", so_far.failed != 0 || so_far.passed == 0,
             std::to_string(so_far.failed) + " tensors are wrong");
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
