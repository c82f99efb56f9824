// tests/support/typed_tensors.hpp: a checkpoint of small tensors of any dtype, laid out in its storages as asked.
//
// SPDX-License-Identifier: MIT
// In:      names, dtypes, shapes, values in row-major order; how they are to lie in the file.
// Out:     the state_dict of an archive as torch.save writes it; the object must live on, because the file is its
//          memory. `row_major`: the bytes of a tensor's values; `shown`: a state_dict as text.
#pragma once

#include <ckpt/ckpt.hpp>
#include <ckpt/core/reader.hpp>
#include <ckpt/tensor/convert.hpp>
#include <ckpt/tensor/shape_text.hpp>

#include "torch_writer.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace test_support {

/// How tensors lie in their storages.
enum class lying {
    plain,     ///< one after another, each in a storage of its own
    scattered, ///< the first dimension moves fastest, with a gap, behind an offset
    big_endian ///< scattered, and in the other byte order
};

struct typed_tensor {
    std::string name{};
    ckpt::dtype type{};
    std::vector<std::int64_t> shape{};
    std::vector<double> values{}; ///< row-major; of a complex tensor both halves of each element
    bool neg{false};              ///< stored with the opposite sign and the lazy bit
    bool conj{false};
};

/// The bytes of numbers as elements of `type`, or halves of such elements, in the order of this machine.
inline std::string encoded(const std::vector<double>& values, ckpt::dtype type) {
    const ckpt::dtype component = ckpt::detail::component_type(type);
    const std::size_t size = ckpt::itemsize(component);
    const auto carrier = ckpt::detail::carrier_of(component);
    std::string out(values.size() * size, '\0');
    for (std::size_t i = 0; i < values.size(); ++i) {
        auto* to = reinterpret_cast<std::byte*>(out.data() + i * size);
        if (carrier == ckpt::detail::carrier::signed_integer || carrier == ckpt::detail::carrier::unsigned_integer) {
            const auto n = static_cast<std::int64_t>(values[i]);
            std::memcpy(to, &n, size); // little-endian machines only, as all tests
        } else if (type == ckpt::dtype::float8_e8m0fnu) {
            *to = static_cast<std::byte>(127 + std::ilogb(values[i])); // nothing is converted to powers of two
        } else {
            (void)ckpt::detail::convert(ckpt::dtype::float64, reinterpret_cast<const std::byte*>(&values[i]), component,
                                        to, 1);
        }
    }
    return out;
}

/// The values of a tensor one after another, in the order of this machine.
inline std::string row_major(const ckpt::tensor& tensor) {
    std::string out(static_cast<std::size_t>(tensor.nbytes()), '\0');
    ckpt::detail::copy_tensor(ckpt::detail::tensor_access::data(tensor), ckpt::detail::tensor_access::source(tensor),
                              tensor.dtype(), true, reinterpret_cast<std::byte*>(out.data()), tensor.numel())
        .value();
    return out;
}

/// "key dtype [shape] v v v | key …"; float32 is not named.
inline std::string shown(const ckpt::state_dict& weights) {
    std::string out;
    for (const auto& [key, tensor] : weights) {
        if (!out.empty()) out += " | ";
        out += std::string(key) + ' ';
        if (tensor.dtype() != ckpt::dtype::float32) out += std::string(ckpt::name(tensor.dtype())) + ' ';
        out += ckpt::detail::list_of(tensor.shape());
        const std::string bytes = row_major(tensor);
        const ckpt::dtype component = ckpt::detail::component_type(tensor.dtype());
        const std::size_t size = ckpt::itemsize(component);
        char number[40];
        for (std::size_t at = 0; at < bytes.size(); at += size) {
            double value{};
            (void)ckpt::detail::convert(component, reinterpret_cast<const std::byte*>(bytes.data() + at),
                                        ckpt::dtype::float64, reinterpret_cast<std::byte*>(&value), 1);
            std::snprintf(number, sizeof number, " %.17g", value);
            out += number;
        }
    }
    return out;
}

class typed_tensors {
  public:
    explicit typed_tensors(const std::vector<typed_tensor>& tensors, lying how = lying::plain) {
        std::vector<std::pair<std::string, std::string>> entries;
        std::vector<std::pair<std::string, std::string>> storages;
        for (const typed_tensor& t : tensors) {
            const std::string key = std::to_string(storages.size());
            const std::size_t size = ckpt::itemsize(t.type);
            const std::size_t rank = t.shape.size();
            std::vector<std::int64_t> strides(rank, 1);
            std::int64_t numel = 1;
            for (const std::int64_t n : t.shape) numel *= n;
            std::int64_t offset = 0;
            std::int64_t step = 1;
            if (how == lying::plain) {
                for (std::size_t i = rank; i-- > 0;) {
                    strides[i] = step;
                    step *= std::max<std::int64_t>(t.shape[i], 1);
                }
            } else {
                offset = 3;
                for (std::size_t i = 0; i < rank; ++i) {
                    strides[i] = step;
                    step = step * std::max<std::int64_t>(t.shape[i], 1) + 1;
                }
            }
            std::int64_t end = offset + (numel != 0 ? 1 : 0);
            for (std::size_t i = 0; i < rank && numel != 0; ++i) end += strides[i] * (t.shape[i] - 1);
            std::vector<double> values = t.values;
            const bool is_complex = ckpt::info(t.type).kind == ckpt::dtype_kind::complex;
            for (std::size_t i = 0; i < values.size(); ++i)
                if (t.neg != (t.conj && is_complex && i % 2 == 1)) values[i] = -values[i];
            const std::string elements = encoded(values, t.type);
            std::string bytes(static_cast<std::size_t>(end) * size, '\x5A');
            std::vector<std::int64_t> index(rank, 0);
            for (std::int64_t i = 0; i < numel; ++i) {
                std::int64_t at = offset;
                for (std::size_t d = 0; d < rank; ++d) at += index[d] * strides[d];
                bytes.replace(static_cast<std::size_t>(at) * size, size, elements, static_cast<std::size_t>(i) * size,
                              size);
                for (std::size_t d = rank; d-- > 0;) {
                    if (++index[d] < t.shape[d]) break;
                    index[d] = 0;
                }
            }
            if (how == lying::big_endian) {
                const std::size_t component = ckpt::info(t.type).component_bytes;
                for (std::size_t at = 0; at < bytes.size(); at += component)
                    std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                                 bytes.begin() + static_cast<std::ptrdiff_t>(at + component));
            }
            std::vector<std::pair<std::string, std::string>> lazy;
            if (t.conj) lazy.emplace_back(pkl::str("conj"), pkl::yes);
            if (t.neg) lazy.emplace_back(pkl::str("neg"), pkl::yes);
            entries.emplace_back(
                pkl::str(t.name),
                pkl::call(pkl::global("torch._utils", "_rebuild_tensor_v3"),
                          {pkl::storage("UntypedStorage", key, static_cast<std::int64_t>(bytes.size())),
                           pkl::num(offset), pkl::ints(t.shape), pkl::ints(strides), pkl::no, pkl::ordered(),
                           pkl::global("torch", ckpt::name(t.type)), pkl::dict(lazy)}));
            storages.emplace_back(key, bytes);
        }
        bytes_ = torch_file(pkl::dict(entries), storages, {.byte_order = how == lying::big_endian ? "big" : "little"});
    }
    [[nodiscard]] ckpt::state_dict weights(const ckpt::open_options& options = {}) const {
        return ckpt::open_bytes(bytes_of(bytes_), options).value().state_dict("").value();
    }

  private:
    std::string bytes_{};
};

} // namespace test_support
