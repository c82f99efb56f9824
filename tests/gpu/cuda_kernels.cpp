// tests/gpu/cuda_kernels.cpp: the launches of cuda_kernels.cuh, on the double of the runtime.
//
// SPDX-License-Identifier: MIT
#include <ckpt/tensor/layout.hpp>

#include "library_kernels.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <vector>

namespace cuda_kernels_test {

using ckpt::dtype;

namespace {

struct device {
    explicit device(cuda_double::mode how) {
        implement_library_kernels();
        cuda_double::reset({.how = how});
        REQUIRE(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess);
        REQUIRE(cudaMalloc(&memory, 4096) == cudaSuccess);
        REQUIRE(cudaHostAlloc(&pinned, 4096, cudaHostAllocDefault) == cudaSuccess);
    }
    device(const device&) = delete;
    device& operator=(const device&) = delete;
    ~device() {
        cudaFreeHost(pinned);
        cudaFree(memory);
        cudaStreamDestroy(stream);
        cuda_double::end();
        CHECK_MESSAGE(cuda_double::violations().empty(), cuda_double::report());
    }
    template <class T> void upload(const std::vector<T>& values, std::size_t offset = 0) const {
        std::byte* const from = static_cast<std::byte*>(pinned) + offset;
        std::memcpy(from, values.data(), values.size() * sizeof(T));
        REQUIRE(cudaMemcpyAsync(byte(offset), from, values.size() * sizeof(T), cudaMemcpyHostToDevice, stream) ==
                cudaSuccess);
    }
    template <class T> [[nodiscard]] std::vector<T> at(std::size_t offset, std::size_t n) const {
        REQUIRE(cudaStreamSynchronize(stream) == cudaSuccess);
        std::vector<T> out(n);
        std::memcpy(out.data(), cuda_double::read(byte(offset), n * sizeof(T)).data(), n * sizeof(T));
        return out;
    }
    [[nodiscard]] std::byte* byte(std::size_t offset) const { return static_cast<std::byte*>(memory) + offset; }

    cudaStream_t stream{};
    void* memory{};
    void* pinned{};
};

} // namespace

TEST_CASE("casts, swaps, gathers and scatters run on their stream, in its order") {
    const ckpt::device_kernels& kernels = *library_kernels();
    for (const auto how : {cuda_double::mode::eager, cuda_double::mode::lazy, cuda_double::mode::random}) {
        const device on{how};
        on.upload(std::vector<std::uint16_t>{0x3C00, 0x4000, 0xC200, 0x0001, 0x7C00});
        REQUIRE(kernels.cast(on.byte(512), dtype::float32, on.memory, dtype::float16, false, 5, on.stream) == 0);
        CHECK(on.at<float>(512, 4) == std::vector<float>{1, 2, -3, 0x1p-24f});
        REQUIRE(kernels.cast(on.memory, dtype::float16, on.memory, dtype::float16, true, 5, on.stream) == 0);
        CHECK(on.at<std::uint16_t>(0, 3) == std::vector<std::uint16_t>{0x003C, 0x0040, 0x00C2});
        REQUIRE(kernels.cast(on.byte(1024), dtype::float32, on.memory, dtype::float16, true, 5, on.stream) == 0);
        CHECK(on.at<float>(1024, 4) == std::vector<float>{1, 2, -3, 0x1p-24f});

        const std::int64_t shape[]{2, 2}, strides[]{1, 2};
        REQUIRE(kernels.gather(on.byte(2048), on.byte(512), 4, 2, shape, strides, 0, on.stream) == 0);
        CHECK(on.at<float>(2048, 4) == std::vector<float>{1, -3, 2, 0x1p-24f});
        // Of the same as stored elements in two parts, and as float64.
        REQUIRE(kernels.scatter(on.byte(3072), dtype::float64, on.byte(512), dtype::float32, false, 2, shape, strides,
                                0, 3, on.stream) == 0);
        REQUIRE(kernels.scatter(on.byte(3072), dtype::float64, on.byte(524), dtype::float32, false, 2, shape, strides,
                                3, 1, on.stream) == 0);
        CHECK(on.at<double>(3072, 4) == std::vector<double>{1, -3, 2, 0x1p-24});
        CHECK(cuda_double::totals().kernels == 6);
    }
}

TEST_CASE("integers become numbers by the scales of their channels, which are in device memory") {
    const ckpt::device_kernels& kernels = *library_kernels();
    for (const auto how : {cuda_double::mode::eager, cuda_double::mode::lazy, cuda_double::mode::random}) {
        const device on{how};
        on.upload(std::vector<double>{0.5, 3}, 1024);
        on.upload(std::vector<float>{1, -2}, 1280);
        on.upload(std::vector<std::uint8_t>{0, 1, 2, 127, 128, 255});
        {
            const ckpt::dequantization by_channel{.scales = reinterpret_cast<const double*>(on.byte(1024)),
                                                  .zero_points = reinterpret_cast<const float*>(on.byte(1280)),
                                                  .channels = 2,
                                                  .inner = 3};
            REQUIRE(kernels.dequantize(on.byte(2048), dtype::float32, on.memory, dtype::qint8, false, by_channel, 0, 6,
                                       on.stream) == 0);
            REQUIRE(kernels.dequantize(on.byte(3072), dtype::bfloat16, on.byte(2), dtype::quint8, false, by_channel, 2,
                                       4, on.stream) == 0);
        } // the table is the caller's, and not needed any more
        REQUIRE(kernels.dequantize(on.byte(2560), dtype::float64, on.memory, dtype::quint8, false,
                                   {.scale = 0.25, .zero_point = 2}, 0, 6, on.stream) == 0);
        CHECK(on.at<float>(2048, 6) == std::vector<float>{-0.5F, 0, 0.5F, 387, -378, 3});
        CHECK(on.at<std::uint16_t>(3072, 4) == std::vector<std::uint16_t>{0x3F00, 0x43C2, 0x43C3, 0x4441});
        CHECK(on.at<double>(2560, 6) == std::vector<double>{-0.5, -0.25, 0, 31.25, 31.5, 63.25});
        CHECK(cuda_double::totals().kernels == 3);
    }
}

TEST_CASE("what is refused or empty is not launched; a launch that fails says so") {
    const device on{cuda_double::mode::lazy};
    const ckpt::device_kernels& kernels = *library_kernels();
    const std::int64_t shape[]{2, 0}, strides[]{1, 2}, negative[]{1, -2};
    CHECK(kernels.cast(on.memory, dtype::int8, on.memory, dtype::int16, false, 2, on.stream) == cudaErrorInvalidValue);
    CHECK(kernels.cast(on.byte(64), dtype::float32, on.memory, dtype::float16, false, 0, on.stream) == cudaSuccess);
    CHECK(kernels.gather(on.byte(64), on.memory, 4, 2, shape, strides, 0, on.stream) == cudaSuccess);
    CHECK(kernels.gather(on.byte(64), on.memory, 4, 2, shape, negative, 0, on.stream) == cudaSuccess); // no elements
    CHECK(kernels.gather(on.byte(64), on.memory, 3, 2, shape, strides, 0, on.stream) == cudaErrorInvalidValue);
    const std::int64_t square[]{2, 2}, expanded[]{0, 1};
    CHECK(kernels.scatter(on.byte(64), dtype::int8, on.memory, dtype::int16, false, 2, square, strides, 0, 4,
                          on.stream) == cudaErrorInvalidValue);
    CHECK(kernels.scatter(on.byte(64), dtype::int16, on.memory, dtype::int16, false, 2, square, expanded, 0, 4,
                          on.stream) == cudaErrorInvalidValue);
    CHECK(kernels.scatter(on.byte(64), dtype::int16, on.memory, dtype::int16, false, 2, square, strides, 0, 0,
                          on.stream) == cudaSuccess);
    CHECK(kernels.dequantize(on.byte(64), dtype::int32, on.memory, dtype::qint8, false, {}, 0, 2, on.stream) ==
          cudaErrorInvalidValue);
    CHECK(kernels.dequantize(on.byte(64), dtype::float32, on.memory, dtype::qint8, false, {.channels = 0}, 0, 2,
                             on.stream) == cudaErrorInvalidValue);
    CHECK(kernels.dequantize(on.byte(64), dtype::float32, on.memory, dtype::qint8, false, {}, 0, 0, on.stream) ==
          cudaSuccess);
    CHECK(cuda_double::totals().kernels == 0);
    cuda_double::fail_call(cuda_double::calls() + 1, cudaErrorLaunchOutOfResources);
    CHECK(kernels.cast(on.memory, dtype::float16, on.memory, dtype::float16, true, 2, on.stream) ==
          cudaErrorLaunchOutOfResources);
}

} // namespace cuda_kernels_test
