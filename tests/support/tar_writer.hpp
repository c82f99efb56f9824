// tests/support/tar_writer.hpp: tar archives for tests, and checkpoints of torch 0.1 in them.
//
// SPDX-License-Identifier: MIT
// In:      members, with whatever a test wants to be wrong about them.
// Out:     an archive.
#pragma once

#include "torch_writer.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace test_support {

struct tar_member {
    std::string name{};
    std::string data{};
    char type{'0'};
    std::string size{}; ///< the field of 12 bytes; empty: the size in octal
    std::string magic{"ustar\0"
                      "00",
                      8};
    std::string prefix{};
    bool good_checksum{true};
};

inline std::string octal(std::uint64_t value, int digits) {
    char buffer[32];
    std::snprintf(buffer, sizeof buffer, "%0*llo", digits, static_cast<unsigned long long>(value));
    return buffer;
}

inline std::string tar_header(const tar_member& m) {
    std::string h(512, '\0');
    h.replace(0, m.name.size(), m.name);
    h.replace(100, 7, "0000644");
    h.replace(124, m.size.empty() ? 11 : m.size.size(), m.size.empty() ? octal(m.data.size(), 11) : m.size);
    h.replace(136, 11, "00000000000");
    h.replace(148, 8, "        ");
    h[156] = m.type;
    h.replace(257, m.magic.size(), m.magic);
    h.replace(345, m.prefix.size(), m.prefix);
    std::uint64_t sum = m.good_checksum ? 0 : 1;
    for (const char c : h) sum += static_cast<unsigned char>(c);
    h.replace(148, 7, octal(sum, 6) + '\0');
    return h;
}

inline std::string write_tar(const std::vector<tar_member>& members, std::size_t blocks_behind = 2) {
    std::string out;
    for (const tar_member& m : members) {
        out += tar_header(m) + m.data;
        out.resize((out.size() + 511) / 512 * 512);
    }
    return out + std::string(512 * blocks_behind, '\0');
}

/// One line of an extended header: "length key=value\n".
inline std::string pax_line(const std::string& key, const std::string& value) {
    std::size_t length = key.size() + value.size() + 3;
    while (std::to_string(length).size() + key.size() + value.size() + 3 != length)
        length = std::to_string(length).size() + key.size() + value.size() + 3;
    return std::to_string(length) + ' ' + key + '=' + value + '\n';
}

/// The members of a checkpoint of torch 0.1; a test may change each.
struct tar_parts {
    std::string info{pkl::pickle(pkl::dict({{pkl::str("protocol_version"), pkl::num(1000)}}))};
    std::string storages{};
    std::string tensors{};
    std::string object{};

    /// Two storages: floats 0 to 5 (key 10), int64 7 (key 11); a view of 4 floats from 1 (key 12); tensors 20 [2, 3] of
    /// 10, 21 [1] of 11, 22 [4] of 12, 23 without a storage.
    tar_parts() {
        using namespace pkl;
        storages = pickle(num(2)) + storage(10, "FloatStorage", 6, raw<float>({0, 1, 2, 3, 4, 5})) +
                   storage(11, "LongStorage", 1, raw<std::int64_t>({7})) + views({{12, 10, 1, 4}});
        tensors = pickle(num(4)) + tensor(20, num(10), "FloatTensor", {2, 3}, {3, 1}, 0) +
                  tensor(21, num(11), "LongTensor", {1}, {1}, 0) + tensor(22, num(12), "FloatTensor", {4}, {1}, 0) +
                  tensor(23, none, "FloatTensor", {}, {}, 0);
        object = pickle(ordered({{str("a"), str("20") + "Q"},
                                 {str("b"), str("21") + "Q"},
                                 {str("c"), str("22") + "Q"},
                                 {str("d"), str("23") + "Q"}}));
    }
    [[nodiscard]] static std::string storage(std::int64_t key, std::string_view type, std::int64_t numel,
                                             const std::string& bytes) {
        return pkl::pickle(pkl::tuple({pkl::num(key), pkl::str("cpu"), pkl::global("torch", type)})) +
               le64(static_cast<std::uint64_t>(numel)) + bytes;
    }
    [[nodiscard]] static std::string views(const std::vector<std::vector<std::int64_t>>& list) {
        std::string out = "](";
        for (const auto& view : list) out += pkl::ints(view);
        return pkl::pickle(out + "e");
    }
    [[nodiscard]] static std::string tensor(std::int64_t key, const std::string& storage, std::string_view type,
                                            const std::vector<std::int64_t>& size,
                                            const std::vector<std::int64_t>& stride, std::int64_t offset) {
        std::string out = pkl::pickle(pkl::tuple({pkl::num(key), storage, pkl::global("torch", type)})) +
                          le32(size.size()) + "\x7f\x01\x02\x80";
        for (const std::int64_t n : size) out += le64(static_cast<std::uint64_t>(n));
        for (const std::int64_t n : stride) out += le64(static_cast<std::uint64_t>(n));
        return out + le64(static_cast<std::uint64_t>(offset));
    }
    [[nodiscard]] std::vector<tar_member> members() const {
        return {{.name = "sys_info", .data = info},
                {.name = "pickle", .data = object},
                {.name = "tensors", .data = tensors},
                {.name = "storages", .data = storages}};
    }
    [[nodiscard]] std::string all() const { return write_tar(members()); }
};

} // namespace test_support
