// tests/support/named_floats.hpp: checkpoints in the memory of the test, and what their state_dicts hold.
//
// SPDX-License-Identifier: MIT
// In:      names, shapes, values.
// Out:     the state_dict of a safetensors file; the object must live on, because the file is its memory.
#pragma once

#include <ckpt/ckpt.hpp>

#include "safetensors_writer.hpp"
#include "torch_writer.hpp"

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace test_support {

class named_floats {
  public:
    struct one {
        std::string name{};
        std::vector<std::int64_t> shape{};
        std::vector<float> values{};
    };
    named_floats(std::initializer_list<one> tensors) : named_floats(std::vector<one>(tensors)) {}
    explicit named_floats(const std::vector<one>& tensors) {
        std::string header = "{";
        std::string data;
        for (const one& t : tensors) {
            std::string shape = "[";
            for (const std::int64_t n : t.shape) shape += (shape.size() == 1 ? "" : ",") + std::to_string(n);
            const std::string bytes = raw(t.values);
            header += (header.size() == 1 ? "" : ",") +
                      safetensors_entry(t.name, "F32", shape + "]", data.size(), data.size() + bytes.size());
            data += bytes;
        }
        header += '}';
        header.resize((header.size() + 7) / 8 * 8, ' '); // as its own writer pads it, so that the data is aligned
        bytes_ = safetensors_file(header, data);
    }
    [[nodiscard]] ckpt::state_dict weights(const ckpt::open_options& options = {}) const {
        return ckpt::open_bytes(bytes_of(bytes_), options).value().state_dict("").value();
    }

  private:
    std::string bytes_{};
};

/// A checkpoint that is a pickled value and its storages, in the memory of the test.
struct torch_weights {
    std::string bytes{};
    ckpt::state_dict weights;

    explicit torch_weights(const std::string& value, const std::vector<std::pair<std::string, std::string>>& storages)
        : bytes{torch_file(value, storages)},
          weights{ckpt::open_bytes(bytes_of(bytes)).value().state_dict("").value()} {}
};

/// The keys of a state_dict, in its order.
inline std::vector<std::string> keys_of(const ckpt::state_dict& weights) {
    std::vector<std::string> out;
    for (const auto& [key, tensor] : weights) out.emplace_back(key);
    return out;
}

/// The values of a tensor as float32.
inline std::vector<float> values(const ckpt::state_dict& weights, std::string_view key) {
    const auto tensor = weights.at(key).value();
    std::vector<float> out(tensor.numel());
    tensor.copy_as(std::span{out}).value();
    return out;
}

/// Whether the rule that a hint shows between quotes is one.
inline bool shows_a_rule(std::string_view hint) {
    const std::size_t from = hint.find('"'), to = hint.rfind('"');
    return from < to && ckpt::key_map::parse(hint.substr(from + 1, to - from - 1)).has_value();
}

} // namespace test_support
