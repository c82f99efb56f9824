// tests/support/torch_writer.hpp: checkpoints for tests: pickles opcode by opcode, in archives as torch.save lays them
// out.
//
// SPDX-License-Identifier: MIT
// In:      pieces of pickle, the bytes of storages.
// Out:     a whole archive.
//
// Every function gives the opcodes that leave one value on the stack; `pickle` makes a complete one of them.
#pragma once

#include "zip_writer.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace test_support {

namespace pkl {

inline std::string join(std::initializer_list<std::string> parts) {
    std::string out;
    for (const std::string& p : parts) out += p;
    return out;
}
inline std::string str(std::string_view text) { return "X" + le32(text.size()) + std::string(text); }
/// LONG1 with eight bytes: every std::int64_t.
inline std::string num(std::int64_t value) { return "\x8a\x08" + le64(static_cast<std::uint64_t>(value)); }
inline std::string real(double value) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    std::string out = "G";
    for (int i = 7; i >= 0; --i) out += static_cast<char>((bits >> (8 * i)) & 0xFF);
    return out;
}
inline const std::string none = "N", yes = "\x88", no = "\x89";
inline std::string global(std::string_view module, std::string_view name) {
    return "c" + std::string(module) + "\n" + std::string(name) + "\n";
}
inline std::string tuple(std::initializer_list<std::string> parts) { return "(" + join(parts) + "t"; }
inline std::string list(std::initializer_list<std::string> parts) { return "](" + join(parts) + "e"; }
inline std::string ints(const std::vector<std::int64_t>& values) {
    std::string out = "(";
    for (const std::int64_t v : values) out += num(v);
    return out + "t";
}
inline std::string dict(const std::vector<std::pair<std::string, std::string>>& entries) {
    std::string out = "}(";
    for (const auto& [key, value] : entries) out += key + value;
    return out + "u";
}
inline std::string call(const std::string& callable, std::initializer_list<std::string> arguments) {
    return callable + tuple(arguments) + "R";
}
inline std::string ordered(const std::vector<std::pair<std::string, std::string>>& entries = {}) {
    std::string out = global("collections", "OrderedDict") + ")R(";
    for (const auto& [key, value] : entries) out += key + value;
    return out + "u";
}
inline std::string object(std::string_view module, std::string_view name, const std::string& state) {
    return global(module, name) + ")\x81" + state + "b";
}

// ---- what torch writes

inline std::string storage_id(const std::string& type, const std::string& key, std::int64_t numel) {
    return tuple({str("storage"), type, key, str("cpu"), num(numel)}) + "Q";
}
inline std::string storage(std::string_view type, std::string_view key, std::int64_t numel) {
    return storage_id(type == "UntypedStorage" ? global("torch.storage", type) : global("torch", type), str(key),
                      numel);
}
inline std::string tensor(const std::string& of, std::int64_t offset, const std::vector<std::int64_t>& size,
                          const std::vector<std::int64_t>& stride) {
    return call(global("torch._utils", "_rebuild_tensor_v2"),
                {of, num(offset), ints(size), ints(stride), no, ordered()});
}
inline std::string tensor_v3(const std::string& of, std::int64_t offset, const std::vector<std::int64_t>& size,
                             const std::vector<std::int64_t>& stride, std::string_view type) {
    return call(global("torch._utils", "_rebuild_tensor_v3"),
                {of, num(offset), ints(size), ints(stride), no, ordered(), global("torch", type)});
}
/// A one-dimensional float tensor over the whole storage `key`.
inline std::string floats(std::string_view key, std::int64_t numel) {
    return tensor(storage("FloatStorage", key, numel), 0, {numel}, {1});
}
inline std::string pickle(const std::string& value) { return "\x80\x02" + value + "."; }

} // namespace pkl

struct torch_style {
    std::string folder{"archive"};
    std::string byte_order{"little"}; ///< empty: no such record
    std::string version{"3\n"};       ///< empty: no such record
    zip_style zip{};
};

/// The members of an archive: a pickle, and storages by key.
inline std::vector<zip_member> torch_records(const std::string& pickled,
                                             const std::vector<std::pair<std::string, std::string>>& storages = {},
                                             const torch_style& style = {}) {
    std::vector<zip_member> out{{.name = style.folder + "/data.pkl", .data = pickled}};
    if (!style.byte_order.empty()) out.push_back({.name = style.folder + "/byteorder", .data = style.byte_order});
    for (const auto& [key, bytes] : storages) out.push_back({.name = style.folder + "/data/" + key, .data = bytes});
    if (!style.version.empty()) out.push_back({.name = style.folder + "/version", .data = style.version});
    return out;
}
/// The same, written; `value` is one value, not a whole pickle.
inline std::string torch_file(const std::string& value,
                              const std::vector<std::pair<std::string, std::string>>& storages = {},
                              const torch_style& style = {}) {
    return write_zip(torch_records(pkl::pickle(value), storages, style), style.zip).bytes;
}

inline std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span{text.data(), text.size()});
}

/// The bytes of numbers as this machine has them.
template <class T> std::string raw(const std::vector<T>& values) {
    return values.empty() ? std::string()
                          : std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

} // namespace test_support
