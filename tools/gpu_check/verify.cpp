// tools/gpu_check/verify.cpp: whether what is on the device is what the file says.
//
// SPDX-License-Identifier: MIT
#include "check.hpp"

#include <ckpt/cuda_gds.hpp>
#include <ckpt/folder.hpp>
#include <ckpt/tensor/quantized.hpp>

#include <cstring>
#include <filesystem>

namespace gpu_check {
namespace {

namespace fs = std::filesystem;

/// The elements of a tensor on the device, dense, in row-major order.
std::vector<std::byte> fetched(const ckpt::cuda::device_tensor& t) {
    const std::size_t size = ckpt::itemsize(t.dtype);
    std::uint64_t last = 0, count = 1;
    for (std::size_t d = 0; d < t.shape.size(); ++d) {
        last += static_cast<std::uint64_t>(t.shape[d] - 1) * static_cast<std::uint64_t>(t.strides[d]);
        count *= static_cast<std::uint64_t>(t.shape[d]);
    }
    std::vector<std::byte> stored((last + 1) * size), out(count * size);
    must(cudaMemcpy(stored.data(), t.data, stored.size(), cudaMemcpyDeviceToHost), "reading back");
    std::vector<std::int64_t> index(t.shape.size(), 0);
    std::uint64_t at = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
        std::memcpy(out.data() + i * size, stored.data() + at * size, size);
        for (std::size_t d = t.shape.size(); d-- > 0;) {
            at += static_cast<std::uint64_t>(t.strides[d]);
            if (++index[d] < t.shape[d]) break;
            at -= static_cast<std::uint64_t>(t.strides[d]) * static_cast<std::uint64_t>(t.shape[d]);
            index[d] = 0;
        }
    }
    return out;
}

struct way {
    const char* name;
    ckpt::cuda::upload_options how;
};

std::vector<way> all_ways(const ckpt::direct_reader* storage) {
    using ckpt::upload_layout;
    using ckpt::upload_source;
    std::vector<way> out{
        {"as it comes", {.readers = 2, .verify = true}},
        {"packed, tiny pieces, pool",
         {.layout = upload_layout::packed, .readers = 0, .slots = 2, .piece_bytes = 4'096, .stream_ordered = true}},
        {"direct", {.source = upload_source::direct, .readers = 3, .slots = 2, .piece_bytes = 8'192}},
        {"mapped", {.source = upload_source::mapped, .readers = 2, .slots = 2, .piece_bytes = 65'536}},
        {"gpu_direct", {.source = upload_source::gpu_direct, .past_host = storage, .readers = 2, .piece_bytes = mib}},
    };
    for (const auto to : {ckpt::dtype::float32, ckpt::dtype::bfloat16, ckpt::dtype::float64})
        for (const ckpt::device_kernels* kernels :
             {device_kernels(), static_cast<const ckpt::device_kernels*>(nullptr)})
            out.push_back(
                {kernels != nullptr ? "cast on the device" : "cast on the host",
                 {.casts = {{"**", to}}, .kernels = kernels, .readers = 2, .slots = 4, .piece_bytes = 4'096}});
    for (const ckpt::device_kernels* kernels : {device_kernels(), static_cast<const ckpt::device_kernels*>(nullptr)})
        out.push_back({kernels != nullptr ? "dequantised on the device" : "dequantised on the host",
                       {.dequantize = {"**"}, .kernels = kernels, .readers = 2, .slots = 4, .piece_bytes = 4'096}});
    return out;
}

void verify(const ckpt::state_dict& weights, const std::string& name, const ckpt::direct_reader* storage,
            tally& so_far) {
    for (const way& w : all_ways(storage)) {
        auto there = ckpt::cuda::upload(weights, w.how);
        const auto done = there ? there->wait() : ckpt::result<void>{there.error()};
        if (done) {
            compare(*there, weights, name + ", " + w.name, so_far);
            continue;
        }
        const auto code = static_cast<unsigned>(done.error().code);
        if (code < 600 || code > 699) {
            ++so_far.refused; // what has no values
            continue;
        }
        ++so_far.failed;
        std::printf("WRONG: %s, %s: %s\n", name.c_str(), w.name, done.error().message().c_str());
    }
}

} // namespace

void compare(const ckpt::cuda::device_tensors& there, const ckpt::state_dict& from, const std::string& what,
             tally& so_far, std::size_t target) {
    for (const auto key : there.keys(target)) {
        const auto origin = from.at(key);
        const auto t = there.at(key, target).value();
        if (!origin || ckpt::bits(t.dtype) < 8) {
            ++so_far.parts;
            continue;
        }
        bool good = t.data == nullptr && origin->numel() == 0;
        if (t.data != nullptr) {
            std::vector<std::byte> want(origin->numel() * ckpt::itemsize(t.dtype));
            const bool numbers = origin->quantizer() && t.dtype == ckpt::dtype::float32;
            const auto copied =
                numbers ? ckpt::copy_dequantized(*origin, {reinterpret_cast<float*>(want.data()), origin->numel()})
                        : origin->copy_as(t.dtype, std::span(want));
            good = copied.has_value() && want == fetched(t);
        }
        ++(good ? so_far.passed : so_far.failed);
        if (!good) std::printf("WRONG: %s, %s\n", what.c_str(), std::string(key).c_str());
    }
}

int verify(std::span<const std::string> paths) {
    const auto driver = ckpt::cuda::gds();
    std::printf("GPUDirect Storage: %s\n", driver.reason().empty()
                                               ? "the driver is open (it may be in its compatibility mode)"
                                               : driver.reason().c_str());
    tally so_far;
    const auto every = [&](const fs::path& path) {
        const auto file = fs::is_directory(path) ? ckpt::open_folder(path) : ckpt::open(path);
        if (!file) return;
        for (const auto& candidate : file->state_dicts())
            if (const auto weights = file->state_dict(candidate.path))
                verify(*weights, path.string() + ':' + candidate.path, driver.reader(), so_far);
    };
    for (const std::string& path : paths) {
        every(path);
        if (!fs::is_directory(path)) continue;
        for (const auto& found : fs::recursive_directory_iterator(path)) every(found.path());
    }
    std::printf("%zu refused state_dicts, %zu parts not compared\n%zu passed, %zu failed\n", so_far.refused,
                so_far.parts, so_far.passed, so_far.failed);
    return so_far.failed != 0 || so_far.passed == 0;
}

} // namespace gpu_check
