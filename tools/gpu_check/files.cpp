// tools/gpu_check/files.cpp: the checkpoints of the checks.
//
// SPDX-License-Identifier: MIT
#include "check.hpp"

#include <ckpt/write.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <utility>

namespace gpu_check {
namespace {

struct planned {
    std::string key;
    std::vector<std::uint64_t> shape;
};

std::uint64_t elements(const planned& t) {
    std::uint64_t n = 1;
    for (const std::uint64_t size : t.shape) n *= size;
    return n;
}

/// The tensors of a llama of about so many elements.
std::vector<planned> llama(double wanted) {
    constexpr std::uint64_t hidden = 4096, inner = 11008;
    std::vector<planned> out{{"model.embed_tokens.weight", {8000, hidden}}};
    double left = wanted - static_cast<double>(elements(out[0]));
    for (int i = 0; left > 0; ++i) {
        const std::string layer = "model.layers." + std::to_string(i) + '.';
        const std::size_t before = out.size();
        for (const char* name : {"q", "k", "v", "o"})
            out.push_back({layer + "self_attn." + name + "_proj.weight", {hidden, hidden}});
        for (const char* name : {"gate", "up"})
            out.push_back({layer + "mlp." + name + "_proj.weight", {inner, hidden}});
        out.push_back({layer + "mlp.down_proj.weight", {hidden, inner}});
        out.push_back({layer + "input_layernorm.weight", {hidden}});
        for (std::size_t k = before; k < out.size(); ++k) left -= static_cast<double>(elements(out[k]));
    }
    return out;
}

/// Numbers between -1 and 1 that look like nothing in particular: float32, or their upper halves.
std::vector<std::byte> noise(std::size_t count, bool halves) {
    std::vector<std::byte> out(count * (halves ? 2 : 4));
    std::uint64_t x = 0x9E37'79B9'7F4A'7C15u;
    for (std::size_t i = 0; i < count; ++i) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        const float value = static_cast<float>(static_cast<std::int32_t>(x >> 32)) * 0x1p-31f;
        std::byte bytes[4];
        std::memcpy(bytes, &value, 4);
        std::memcpy(out.data() + i * (halves ? 2 : 4), bytes + (halves ? 2 : 0), halves ? 2 : 4);
    }
    return out;
}

/// A safetensors file of noise. Its data begins at `lead` modulo 16.
void write_tensors(const std::string& path, const std::vector<planned>& tensors, bool halves, std::size_t lead) {
    const std::uint64_t size = halves ? 2 : 4;
    std::string header = "{";
    std::uint64_t at = 0;
    for (const planned& t : tensors) {
        header += (header.size() > 1 ? ",\"" : "\"") + t.key + "\":{\"dtype\":\"" + (halves ? "BF16" : "F32") +
                  "\",\"shape\":[";
        for (std::size_t d = 0; d < t.shape.size(); ++d) header += (d > 0 ? "," : "") + std::to_string(t.shape[d]);
        header += "],\"data_offsets\":[" + std::to_string(at) + ',' + std::to_string(at + size * elements(t)) + "]}";
        at += size * elements(t);
    }
    header += '}';
    while ((8 + header.size()) % 16 != lead) header += ' ';
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    for (std::size_t i = 0; i < 8; ++i) file.put(static_cast<char>(header.size() >> (8 * i) & 0xFF));
    file << header;
    const std::vector<std::byte> all = noise(std::size_t{16} << 20, halves);
    std::size_t tensor = 0;
    for (const planned& t : tensors) {
        std::uint64_t left = size * elements(t);
        std::size_t from = ++tensor * 4096 % all.size(); // no two tensors begin alike
        while (left > 0) {
            const std::uint64_t part = std::min<std::uint64_t>(left, all.size() - from);
            file.write(reinterpret_cast<const char*>(all.data() + from), static_cast<std::streamsize>(part));
            left -= part;
            from = 0;
        }
    }
    if (!file.flush()) {
        std::printf("%s cannot be written\n", path.c_str());
        std::exit(3);
    }
}

/// The same as torch.save writes it.
void write_torch(const std::string& from, const std::string& to) {
    std::filesystem::remove(to);
    const auto weights = ckpt::open(from).value().state_dict().value();
    (void)ckpt::write_torch(weights, to).value();
}

} // namespace

int make_files(const std::string& folder, double gib) {
    std::filesystem::create_directories(folder);
    const std::string at = folder + '/';
    const std::vector<planned> all = llama(gib * 0x1p30 / 4);
    write_tensors(at + "f32.safetensors", all, false, 0);
    write_torch(at + "f32.safetensors", at + "f32.pt");
    write_tensors(at + "bf16.safetensors", all, true, 0);
    write_torch(at + "bf16.safetensors", at + "bf16.pt");
    std::filesystem::remove(at + "bf16.safetensors");

    const std::vector<planned> few(all.begin(),
                                   all.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(9, all.size())));
    write_tensors(at + "probe.safetensors", few, false, 8);
    write_torch(at + "probe.safetensors", at + "probe.pt");
    std::vector<planned> slim = few;
    for (planned& t : slim) t.shape[0] = 64;
    write_tensors(at + "few0.safetensors", slim, true, 0);
    write_tensors(at + "few8.safetensors", slim, true, 8);

    std::vector<planned> small;
    for (int i = 0; i < 20'000; ++i) small.push_back({"blocks." + std::to_string(i) + ".scale", {1024}});
    write_tensors(at + "small.safetensors", small, false, 0);
    write_torch(at + "small.safetensors", at + "small.pt");
    return 0;
}

} // namespace gpu_check
