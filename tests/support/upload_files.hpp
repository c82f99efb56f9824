// tests/support/upload_files.hpp: checkpoints for tests of uploads, and what their tensors hold.
//
// SPDX-License-Identifier: MIT
// In:      nothing, or a state_dict.
// Out:     a file as torch.save writes it, of several pages: tied tensors, views, strides, small and large types; the
//          values of any strided tensor, dense and in this machine's order.
#pragma once

#include "safetensors_writer.hpp"
#include "torch_writer.hpp"

#include <ckpt/ckpt.hpp>
#include <ckpt/tensor/strided.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace test_support {

/// Bytes that look like nothing in particular and are the same every time.
inline std::string noise(std::size_t bytes, std::uint64_t seed) {
    std::string out(bytes, '\0');
    std::uint64_t x = seed * 0x9E37'79B9'7F4A'7C15u + 1;
    for (char& c : out) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        c = static_cast<char>(x >> 32);
    }
    return out;
}
/// float32 values without NaN, so that conversions can be compared bit by bit.
inline std::string some_floats(std::size_t n, std::uint64_t seed) {
    const std::string bytes = noise(4 * n, seed);
    std::vector<float> out(n);
    for (std::size_t i = 0; i < n; ++i) {
        std::int32_t x{};
        std::memcpy(&x, bytes.data() + 4 * i, 4);
        out[i] = static_cast<float>(x) / 65'536.0f;
    }
    return raw(out);
}

/// Members of an archive with the tensors that uploads have to tell apart.
inline std::vector<zip_member> upload_members() {
    using namespace pkl;
    const std::string weight = storage("FloatStorage", "0", 64 * 96);
    const std::string value =
        ordered({{str("a.weight"), tensor(weight, 0, {64, 96}, {96, 1})},
                 {str("a.bias"), floats("1", 96)},
                 {str("tied"), tensor(weight, 0, {64, 96}, {96, 1})},
                 {str("a.rows"), tensor(weight, 960, {5, 96}, {96, 1})},
                 {str("turned"), tensor(storage("FloatStorage", "2", 2'310), 0, {33, 70}, {1, 33})},
                 {str("half"), tensor(storage("HalfStorage", "3", 5'000), 0, {50, 100}, {100, 1})},
                 {str("brain"), tensor(storage("BFloat16Storage", "4", 3'000), 0, {3'000}, {1})},
                 {str("brief"), tensor(storage("BFloat16Storage", "8", 30), 0, {30}, {1})},
                 {str("steps"), tensor(storage("LongStorage", "5", 777), 0, {777}, {1})},
                 {str("mask"), tensor(storage("ByteStorage", "6", 1'001), 1, {1'000}, {1})},
                 {str("empty"), tensor(storage("FloatStorage", "7", 0), 0, {0, 4}, {4, 1})},
                 {str("repeated"), tensor(storage("FloatStorage", "1", 96), 3, {7, 2}, {0, 1})}});
    return torch_records(pickle(value), {{"0", some_floats(64 * 96, 1)},
                                         {"1", some_floats(96, 2)},
                                         {"2", some_floats(2'310, 3)},
                                         {"3", noise(10'000, 4)},
                                         {"4", noise(6'000, 5)},
                                         {"5", noise(6'216, 6)},
                                         {"6", noise(1'001, 7)},
                                         {"7", {}},
                                         {"8", noise(60, 8)}});
}
inline std::string upload_file() { return write_zip(upload_members()).bytes; }

/// A safetensors file whose data begins `odd` bytes behind a multiple of 256, of uint8 tensors of these sizes.
inline std::string safetensors_of(std::span<const std::size_t> sizes, std::size_t odd) {
    std::string header = "{";
    std::size_t end = 0;
    for (const std::size_t n : sizes) {
        if (end != 0) header += ',';
        header += safetensors_entry("t" + std::to_string(end), "U8", '[' + std::to_string(n) + ']', end, end + n);
        end += n;
    }
    header += '}';
    header += std::string((256 + odd - (header.size() + 8) % 256) % 256, ' ');
    return safetensors_file(header, noise(end, odd));
}
/// Small and large ones, as many models have them, of sizes that fit no alignment.
inline std::string unaligned_file() {
    std::vector<std::size_t> sizes{100, 24, 70'000};
    sizes.insert(sizes.end(), 500, 24);
    sizes.insert(sizes.end(), {100'000, 65'537, 1'000, 70'000, 65'536, 65'535, 5});
    return safetensors_of(sizes, 8);
}

/// float32 rows of several pieces, a transposed and a sliced tensor, what a kernel widens, and what none converts.
inline std::string file_for_kernels() {
    using pkl::ordered, pkl::storage, pkl::str, pkl::tensor;
    return torch_file(ordered({{str("rows"), pkl::floats("0", 9'000)},
                               {str("turned"), tensor(storage("FloatStorage", "1", 6'000), 0, {60, 100}, {1, 60})},
                               {str("columns"), tensor(storage("FloatStorage", "2", 6'000), 10, {60, 70}, {100, 1})},
                               {str("few"), tensor(storage("FloatStorage", "3", 6'000), 10, {60, 20}, {100, 1})},
                               {str("brain"), tensor(storage("BFloat16Storage", "4", 3'000), 0, {3'000}, {1})},
                               {str("steps"), tensor(storage("LongStorage", "5", 777), 0, {777}, {1})}}),
                      {{"0", some_floats(9'000, 1)},
                       {"1", some_floats(6'000, 2)},
                       {"2", some_floats(6'000, 3)},
                       {"3", some_floats(6'000, 4)},
                       {"4", noise(6'000, 5)},
                       {"5", noise(6'216, 6)}});
}

/// The values of a tensor, row-major, in this machine's order.
inline std::vector<std::byte> values_of(const ckpt::tensor& t, ckpt::dtype to) {
    std::vector<std::byte> out(static_cast<std::size_t>(t.numel()) * ckpt::itemsize(to));
    (void)ckpt::detail::copy_tensor(ckpt::detail::tensor_access::data(t), ckpt::detail::tensor_access::source(t), to,
                                    t.dtype() == to, out.data(), static_cast<std::uint64_t>(t.numel()))
        .value();
    return out;
}
/// The elements of a strided tensor whose element 0 is the first of `bytes`.
inline std::vector<std::byte> dense_of(std::span<const std::byte> bytes, std::span<const std::int64_t> shape,
                                       std::span<const std::int64_t> strides, ckpt::dtype type) {
    ckpt::detail::box all;
    if (!ckpt::detail::make_box(shape, strides, 0, all)) return {};
    std::vector<std::byte> out(static_cast<std::size_t>(ckpt::detail::count(all)) * ckpt::itemsize(type));
    if (!out.empty()) ckpt::detail::gather(bytes.data(), all, ckpt::itemsize(type), out.data());
    return out;
}

} // namespace test_support
