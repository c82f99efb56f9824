// SPDX-License-Identifier: MIT
// cuda_kernels.cuh as a program uses it. Where there is no device, every launch reports that. Where there is one, it
// converts and gathers there, and the results are those of the host.
#include <ckpt/cuda_kernels.cuh>

#include <ckpt/gpu/element_ops.hpp>
#include <ckpt/tensor/convert.hpp>

#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

namespace {

int failed = 0;

void check(bool ok, const char* what, std::string_view from = {}, std::string_view to = {}) {
    if (ok) return;
    ++failed;
    std::printf("FAILED: %s %s %s\n", what, from.data() != nullptr ? from.data() : "",
                to.data() != nullptr ? to.data() : "");
}

void casts(const ckpt::device_kernels& kernels, std::byte* in, std::byte* out, cudaStream_t stream) {
    constexpr std::uint64_t n = 65'536 + 5;
    std::vector<std::byte> bytes(n * 16);
    std::uint64_t state = 1;
    for (std::byte& b : bytes)
        b = static_cast<std::byte>((state = state * 6364136223846793005u + 1442695040888963407u) >> 56);
    for (std::uint64_t i = 0; i < 65'536; ++i) { // all of 16 bits, behind every other number
        const auto all = static_cast<std::uint16_t>(i);
        std::memcpy(bytes.data() + 2 * i, &all, 2);
    }
    std::vector<std::byte> result(n * 16), expected(n * 16);
    for (const auto& from : ckpt::dtype_table)
        for (const auto& to : ckpt::dtype_table)
            for (const bool swap : {false, true})
                for (const std::size_t off : {0, 1}) { // in elements: with packets and without
                    if (!kernels.can_cast(from.type, to.type)) continue;
                    const std::size_t size = ckpt::itemsize(from.type), to_size = ckpt::itemsize(to.type);
                    auto values = bytes;
                    cudaMemcpyAsync(in + off * size, values.data(), n * size, cudaMemcpyHostToDevice, stream);
                    check(kernels.cast(out + off * to_size, to.type, in + off * size, from.type, swap, n, stream) == 0,
                          "launch");
                    cudaMemcpyAsync(result.data(), out + off * to_size, n * to_size, cudaMemcpyDeviceToHost, stream);
                    cudaStreamSynchronize(stream);
                    if (swap) ckpt::detail::swap_components(from.type, values.data(), n);
                    if (from.type == ckpt::dtype::bool_) ckpt::detail::normalise_bools(values.data(), n);
                    ckpt::detail::convert(from.type, values.data(), to.type, expected.data(), n);
                    check(std::memcmp(result.data(), expected.data(), n * to_size) == 0, "cast", from.name, to.name);
                }
}

void gathers(const ckpt::device_kernels& kernels, std::byte* in, std::byte* out, cudaStream_t stream) {
    std::vector<std::byte> bytes(std::size_t{1} << 20), result(bytes.size()), expected(bytes.size());
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 2654435761u >> 24);
    cudaMemcpyAsync(in, bytes.data(), bytes.size(), cudaMemcpyHostToDevice, stream);
    struct geometry {
        std::vector<std::int64_t> shape, strides;
        std::uint64_t offset;
    };
    for (const geometry& g : {geometry{{100, 64}, {128, 1}, 32}, geometry{{64, 100}, {1, 128}, 3},
                              geometry{{5, 1, 7, 3}, {0, 9, 21, 5}, 1}, geometry{{}, {}, 9}})
        for (const std::size_t size : {1, 2, 4, 8, 16}) {
            ckpt::detail::box b;
            if (!ckpt::detail::make_box(g.shape, g.strides, g.offset, b)) std::abort();
            ckpt::detail::gather(bytes.data(), b, size, expected.data());
            check(kernels.gather(out, in, size, static_cast<std::uint32_t>(g.shape.size()), g.shape.data(),
                                 g.strides.data(), g.offset, stream) == 0,
                  "launch");
            cudaMemcpyAsync(result.data(), out, bytes.size(), cudaMemcpyDeviceToHost, stream);
            cudaStreamSynchronize(stream);
            check(std::memcmp(result.data(), expected.data(), ckpt::detail::count(b) * size) == 0, "gather");
        }
}

/// bfloat16 from float32, transposed and by columns, from stored elements in two parts.
void scatters(const ckpt::device_kernels& kernels, std::byte* in, std::byte* out, cudaStream_t stream) {
    constexpr std::uint64_t stored = 100'000;
    std::vector<float> values(stored);
    for (std::size_t i = 0; i < stored; ++i) values[i] = static_cast<float>(i) * 0.3f;
    cudaMemcpyAsync(in, values.data(), stored * 4, cudaMemcpyHostToDevice, stream);
    struct geometry {
        std::vector<std::int64_t> shape, strides;
    };
    for (const geometry& g :
         {geometry{{250, 400}, {1, 250}}, geometry{{250, 300}, {400, 1}}, geometry{{10, 50, 200}, {50, 1, 500}}}) {
        ckpt::detail::box b;
        if (!ckpt::detail::make_box(g.shape, g.strides, 0, b)) std::abort();
        const std::uint64_t n = ckpt::detail::count(b);
        std::vector<std::byte> dense(n * 4), expected(n * 2), result(n * 2);
        ckpt::detail::gather(reinterpret_cast<const std::byte*>(values.data()), b, 4, dense.data());
        ckpt::detail::convert(ckpt::dtype::float32, dense.data(), ckpt::dtype::bfloat16, expected.data(), n);
        for (const auto& [first, many] : {std::pair<std::uint64_t, std::uint64_t>{0, 33'333}, {33'333, 66'667}})
            check(kernels.scatter(out, ckpt::dtype::bfloat16, in + first * 4, ckpt::dtype::float32, false,
                                  static_cast<std::uint32_t>(g.shape.size()), g.shape.data(), g.strides.data(), first,
                                  many, stream) == 0,
                  "launch");
        cudaMemcpyAsync(result.data(), out, n * 2, cudaMemcpyDeviceToHost, stream);
        cudaStreamSynchronize(stream);
        check(result == expected, "scatter");
    }
}

/// All integers of a byte and many of 32 bits, per tensor and by channel, in each type that float32 converts to.
void numbers(const ckpt::device_kernels& kernels, std::byte* in, std::byte* out, cudaStream_t stream) {
    constexpr std::uint64_t channels = 77, inner = 19, n = channels * inner * 5;
    constexpr std::size_t scales_at = 1u << 20, zeros_at = scales_at + 1024;
    std::vector<double> scales(channels);
    std::vector<float> zeros(channels);
    for (std::size_t i = 0; i < channels; ++i) {
        scales[i] = i == 3 ? 3e-42 : 0.013 * static_cast<double>(i) + 1e-10;
        zeros[i] = i == 4 ? 1e-42F : 0.7F * static_cast<float>(i) - 30;
    }
    cudaMemcpyAsync(in + scales_at, scales.data(), channels * sizeof(double), cudaMemcpyHostToDevice, stream);
    cudaMemcpyAsync(in + zeros_at, zeros.data(), channels * sizeof(float), cudaMemcpyHostToDevice, stream);
    std::vector<std::byte> bytes(n * 4);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 2654435761u >> 24);
    cudaMemcpyAsync(in, bytes.data(), bytes.size(), cudaMemcpyHostToDevice, stream);
    std::vector<std::int32_t> integers(n);
    std::vector<float> values(n);
    std::vector<std::byte> result(n * 8), expected(n * 8);
    for (const auto from : {ckpt::dtype::qint8, ckpt::dtype::quint8, ckpt::dtype::qint32})
        for (const bool by_channel : {false, true})
            for (const auto& to : ckpt::dtype_table) {
                if (!kernels.can_cast(ckpt::dtype::float32, to.type)) continue;
                ckpt::dequantization how{.scale = double{0.1F}, .zero_point = 3};
                if (by_channel) {
                    how.channels = channels;
                    how.inner = inner;
                    how.scales = scales.data();
                    how.zero_points = zeros.data();
                }
                ckpt::detail::load_integers(from, bytes.data(), n, integers.data());
                ckpt::detail::dequantize(how, 0, integers.data(), n, values.data());
                ckpt::detail::convert(ckpt::dtype::float32, reinterpret_cast<const std::byte*>(values.data()), to.type,
                                      expected.data(), n);
                if (by_channel) {
                    how.scales = reinterpret_cast<const double*>(in + scales_at);
                    how.zero_points = reinterpret_cast<const float*>(in + zeros_at);
                }
                const std::size_t size = ckpt::itemsize(to.type), from_size = ckpt::itemsize(from);
                for (const auto& [first, many] :
                     {std::pair<std::uint64_t, std::uint64_t>{0, 1'234}, {1'234, n - 1'234}})
                    check(kernels.dequantize(out + first * size, to.type, in + first * from_size, from, false, how,
                                             first, many, stream) == 0,
                          "launch");
                cudaMemcpyAsync(result.data(), out, n * size, cudaMemcpyDeviceToHost, stream);
                cudaStreamSynchronize(stream);
                check(std::memcmp(result.data(), expected.data(), n * size) == 0, "numbers", ckpt::info(from).name,
                      to.name);
            }
}

} // namespace

int main() {
    const ckpt::device_kernels& kernels = *ckpt::cuda::kernels();
    std::byte host[64]{};
    const std::int64_t shape[]{2, 3}, strides[]{1, 2}, negative[]{-1, 2};
    using ckpt::dtype;

    // What is refused or empty launches nothing, with a device or without.
    check(kernels.can_cast(dtype::float32, dtype::bfloat16) && !kernels.can_cast(dtype::float32, dtype::int32),
          "can_cast");
    check(kernels.cast(host, dtype::int32, host, dtype::float32, false, 1, nullptr) == cudaErrorInvalidValue,
          "a refused conversion");
    check(kernels.cast(host, dtype::float32, host, dtype::float16, false, 0, nullptr) == 0, "an empty cast");
    check(kernels.gather(host, host, 4, 2, shape, negative, 0, nullptr) == cudaErrorInvalidValue, "a refused gather");
    check(kernels.scatter(host, dtype::float32, host, dtype::float32, false, 2, shape, negative, 0, 6, nullptr) ==
              cudaErrorInvalidValue,
          "a refused scatter");
    check(kernels.dequantize(host, dtype::int32, host + 32, dtype::qint8, false, {}, 0, 4, nullptr) ==
              cudaErrorInvalidValue,
          "a refused dequantisation");

    int devices = 0;
    const cudaError_t none = cudaGetDeviceCount(&devices);
    if (none != cudaSuccess) {
        check(kernels.cast(host, dtype::float32, host + 32, dtype::float16, false, 8, nullptr) == none,
              "a cast without a device");
        check(kernels.gather(host, host + 32, 4, 2, shape, strides, 0, nullptr) == none, "a gather without a device");
        check(kernels.scatter(host, dtype::float32, host + 32, dtype::float32, false, 2, shape, strides, 0, 6,
                              nullptr) == none,
              "a scatter without a device");
        check(kernels.dequantize(host, dtype::float32, host + 32, dtype::qint8, false, {}, 0, 4, nullptr) == none,
              "a dequantisation without a device");
        std::printf("no device: %s\n", cudaGetErrorString(none));
        return failed != 0;
    }
    std::byte *in = nullptr, *out = nullptr;
    cudaStream_t stream{};
    check(cudaMalloc(&in, 1u << 22) == 0 && cudaMalloc(&out, 1u << 22) == 0 && cudaStreamCreate(&stream) == 0,
          "device memory");
    casts(kernels, in, out, stream);
    gathers(kernels, in, out, stream);
    scatters(kernels, in, out, stream);
    numbers(kernels, in, out, stream);
    check(cudaStreamSynchronize(stream) == 0, "a kernel failed");
    std::printf("on a device: %d failed\n", failed);
    return failed != 0;
}
