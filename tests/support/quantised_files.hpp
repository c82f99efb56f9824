// tests/support/quantised_files.hpp: quantised tensors as torch writes them, and the numbers that they stand for.
//
// SPDX-License-Identifier: MIT
// In:      storages, geometry, a quantizer; or nothing.
// Out:     values of a pickle; a file with tensors of each type and scheme, in several pieces of 4,096 bytes.
#pragma once

#include "torch_writer.hpp"
#include "upload_files.hpp"

#include <ckpt/tensor/convert.hpp>
#include <ckpt/tensor/quantized.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace test_support {

namespace pkl {

inline std::string qtensor(const std::string& of, std::int64_t offset, const std::vector<std::int64_t>& size,
                           const std::vector<std::int64_t>& stride, const std::string& quantizer) {
    return call(global("torch._utils", "_rebuild_qtensor"),
                {of, num(offset), ints(size), ints(stride), quantizer, no, ordered()});
}
inline std::string per_tensor(double scale, std::int64_t zero) {
    return tuple({global("torch", "per_tensor_affine"), real(scale), num(zero)});
}
inline std::string per_channel(const std::string& scales, const std::string& zeros, const std::string& axis) {
    return tuple({global("torch", "per_channel_affine"), scales, zeros, axis});
}

} // namespace pkl

/// The pickled tensors and the storages of a file in either byte order.
class quantised_records {
  public:
    explicit quantised_records(bool big_endian) : big_endian_{big_endian} {}

    /// A storage of `elements` whole bytes each of `size`, whose tensors begin at `offset`.
    void add(const std::string& key, const char* type, std::int64_t elements, std::size_t size, std::int64_t offset,
             const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides,
             const std::string& quantizer) {
        store(key, noise(static_cast<std::size_t>(elements) * size, key.size() + static_cast<unsigned char>(key[0])),
              size);
        view(key, key, type, elements, offset, shape, strides, quantizer);
    }
    /// Another tensor of a storage.
    void view(const std::string& name, const std::string& key, const char* type, std::int64_t elements,
              std::int64_t offset, const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides,
              const std::string& quantizer) {
        tensors_.emplace_back(pkl::str(name),
                              pkl::qtensor(pkl::storage(type, key, elements), offset, shape, strides, quantizer));
    }
    /// A quantizer whose scales no float32 holds, and one of which makes subnormal numbers.
    [[nodiscard]] std::string by_channel(const std::string& key, std::int64_t channels, std::int64_t axis) {
        std::vector<double> scales;
        std::vector<std::int64_t> zeros;
        for (std::int64_t i = 0; i < channels; ++i) {
            scales.push_back(i == 2 ? 3e-42 : 0.01 * static_cast<double>(i + 1) + 1e-9);
            zeros.push_back(i * 37 % 256 - 100);
        }
        store(key + "s", raw(scales), 8);
        store(key + "z", raw(zeros), 8);
        return pkl::per_channel(pkl::tensor(pkl::storage("DoubleStorage", key + "s", channels), 0, {channels}, {1}),
                                pkl::tensor(pkl::storage("LongStorage", key + "z", channels), 0, {channels}, {1}),
                                pkl::num(axis));
    }
    /// The same with floating zero points, where scales are rounded to float32 before they are used.
    [[nodiscard]] std::string by_float_channel(const std::string& key, std::int64_t channels, std::int64_t axis) {
        std::vector<double> scales;
        std::vector<float> zeros;
        for (std::int64_t i = 0; i < channels; ++i) {
            scales.push_back(0.1 * static_cast<double>(i + 1));
            zeros.push_back(i == 1 ? 2e-44F : 0.7F * static_cast<float>(i) - 3);
        }
        store(key + "s", raw(scales), 8);
        store(key + "z", raw(zeros), 4);
        return pkl::per_channel(pkl::tensor(pkl::storage("DoubleStorage", key + "s", channels), 0, {channels}, {1}),
                                pkl::floats(key + "z", channels), pkl::num(axis));
    }
    /// A tensor that is not quantised.
    void add_floats(const std::string& key, std::int64_t n) {
        store(key, some_floats(static_cast<std::size_t>(n), 5), 4);
        tensors_.emplace_back(pkl::str(key), pkl::floats(key, n));
    }
    [[nodiscard]] std::string file() const {
        return torch_file(pkl::ordered(tensors_), storages_, {.byte_order = big_endian_ ? "big" : "little"});
    }

  private:
    void store(const std::string& key, std::string bytes, std::size_t size) {
        for (std::size_t at = 0; big_endian_ && at < bytes.size(); at += size)
            std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                         bytes.begin() + static_cast<std::ptrdiff_t>(at + size));
        storages_.emplace_back(key, std::move(bytes));
    }

    bool big_endian_;
    std::vector<std::pair<std::string, std::string>> tensors_{};
    std::vector<std::pair<std::string, std::string>> storages_{};
};

/// Tensors of each quantised type and scheme: dense ones first, then what no kernel dequantises, then others.
inline std::string quantised_file(bool big_endian = false) {
    quantised_records r{big_endian};
    r.add("bytes", "QInt8Storage", 5'001, 1, 1, {50, 100}, {100, 1}, pkl::per_tensor(0.1, 3));
    r.add("rows", "QInt8Storage", 9'000, 1, 0, {6, 1'500}, {1'500, 1}, r.by_channel("rows", 6, 0));
    r.view("again", "rows", "QInt8Storage", 9'000, 0, {6, 1'500}, {1'500, 1}, pkl::per_tensor(2, -7));
    r.view("tied", "rows", "QInt8Storage", 9'000, 0, {6, 1'500}, {1'500, 1},
           pkl::per_channel(pkl::tensor(pkl::storage("DoubleStorage", "rowss", 6), 0, {6}, {1}),
                            pkl::tensor(pkl::storage("LongStorage", "rowsz", 6), 0, {6}, {1}), pkl::num(0)));
    r.add("middle", "QUInt8Storage", 7'000, 1, 0, {4, 7, 250}, {1'750, 250, 1}, r.by_channel("middle", 7, 1));
    r.add("wide", "QInt32Storage", 6'000, 4, 0, {3, 5, 400}, {2'000, 400, 1}, r.by_channel("wide", 400, 2));
    r.add("plain", "QInt32Storage", 1'000, 4, 0, {1'000}, {1}, pkl::per_tensor(0.3, -2'000'000'000));
    r.add("floats", "QUInt8Storage", 6'000, 1, 0, {10, 600}, {600, 1}, r.by_float_channel("floats", 10, 0));
    r.add("turned", "QInt8Storage", 6'000, 1, 0, {60, 100}, {1, 60}, r.by_channel("turned", 60, 0));
    r.add("slice", "QUInt8Storage", 6'000, 1, 7, {50, 30}, {100, 1}, r.by_channel("slice", 30, 1));
    r.add("nibbles", "QUInt4x2Storage", 1'401, 1, 3, {9, 311}, {311, 1}, r.by_float_channel("nibbles", 9, 0));
    r.add("crumbs", "QUInt2x4Storage", 100, 1, 0, {397}, {1}, pkl::per_tensor(0.25, 1));
    r.add("empty", "QInt8Storage", 0, 1, 0, {0, 4}, {4, 1}, r.by_channel("empty", 4, 1));
    r.add_floats("scaled", 700);
    return r.file();
}

/// What an upload makes of a tensor where it arrives as `to`: the numbers of a quantised one, else the values.
inline std::vector<std::byte> numbers_of(const ckpt::tensor& t, ckpt::dtype to) {
    if (!t.quantizer() || to == t.dtype()) return values_of(t, to);
    std::vector<float> numbers(static_cast<std::size_t>(t.numel()));
    ckpt::copy_dequantized(t, numbers).value();
    std::vector<std::byte> out(numbers.size() * ckpt::itemsize(to));
    (void)ckpt::detail::convert(ckpt::dtype::float32, reinterpret_cast<const std::byte*>(numbers.data()), to,
                                out.data(), numbers.size());
    return out;
}

} // namespace test_support
