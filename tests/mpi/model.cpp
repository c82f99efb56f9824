// tests/mpi/model.cpp: writes a small checkpoint with the names of a Llama, whose sizes four ranks divide.
//
// SPDX-License-Identifier: MIT
#include "../support/upload_files.hpp"

#include <cstdint>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace {

/// bfloat16 storages, each with one tensor.
struct model {
    std::vector<std::pair<std::string, std::string>> entries{}, storages{};

    void add(const std::string& key, const std::vector<std::int64_t>& shape) {
        const auto number = std::to_string(storages.size());
        const std::int64_t rows = shape.front(), columns = shape.size() == 2 ? shape.back() : 1;
        const std::vector<std::int64_t> strides =
            shape.size() == 2 ? std::vector<std::int64_t>{columns, 1} : std::vector<std::int64_t>{1};
        entries.emplace_back(
            test_support::pkl::str(key),
            test_support::pkl::tensor(test_support::pkl::storage("BFloat16Storage", number, rows * columns), 0, shape,
                                      strides));
        storages.emplace_back(number,
                              test_support::noise(static_cast<std::size_t>(2 * rows * columns), storages.size() + 1));
    }
};

} // namespace

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    constexpr std::int64_t hidden = 128, heads = 128, inner = 512, words = 1'000;
    model out;
    out.add("model.embed_tokens.weight", {words, hidden});
    for (int i = 0; i < 2; ++i) {
        const std::string layer = "model.layers." + std::to_string(i) + '.';
        for (const char* name : {"q_proj", "k_proj", "v_proj"}) {
            out.add(layer + "self_attn." + name + ".weight", {heads, hidden});
            out.add(layer + "self_attn." + name + ".bias", {heads});
        }
        out.add(layer + "self_attn.o_proj.weight", {hidden, heads});
        out.add(layer + "self_attn.o_proj.bias", {hidden});
        out.add(layer + "mlp.gate_proj.weight", {inner, hidden});
        out.add(layer + "mlp.up_proj.weight", {inner, hidden});
        out.add(layer + "mlp.down_proj.weight", {hidden, inner});
        out.add(layer + "input_layernorm.weight", {hidden});
    }
    out.add("model.norm.weight", {hidden});
    std::ofstream file(argv[1], std::ios::binary);
    file << test_support::torch_file(test_support::pkl::ordered(out.entries), out.storages);
    return file ? 0 : 1;
}
