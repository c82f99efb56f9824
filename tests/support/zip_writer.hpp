// tests/support/zip_writer.hpp: zip archives for tests, exactly as PyTorch or as Python writes them, or broken.
//
// SPDX-License-Identifier: MIT
// In:      members, and how they are to be written.
// Out:     the bytes with the places of all headers, to be patched; or a sparse file of many gigabytes.
//
// Written from the format and from dumps of real files, and shares nothing with the reader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace test_support {

inline std::string le(std::uint64_t value, int bytes) {
    std::string out;
    for (int i = 0; i < bytes; ++i) out += static_cast<char>((value >> (8 * i)) & 0xFF);
    return out;
}
inline std::string le16(std::uint64_t value) { return le(value, 2); }
inline std::string le32(std::uint64_t value) { return le(value, 4); }
inline std::string le64(std::uint64_t value) { return le(value, 8); }

/// An extra field.
inline std::string extra_field(std::uint16_t id, const std::string& data) {
    return le16(id) + le16(data.size()) + data;
}

inline std::uint32_t slow_crc32(std::string_view bytes) {
    std::uint32_t crc = 0xFFFF'FFFFu;
    for (const char c : bytes) {
        crc ^= static_cast<unsigned char>(c);
        for (int i = 0; i < 8; ++i) crc = (crc >> 1) ^ ((crc & 1u) != 0 ? 0xEDB8'8320u : 0u);
    }
    return ~crc;
}

struct zip_member {
    std::string name{};
    std::string data{};
    std::uint64_t hole{0};     ///< zero bytes instead of data, not written to a sparse file
    std::uint16_t method{0};   ///< with others than 0, `data` is already compressed
    std::uint64_t inflated{0}; ///< size before that
    std::uint32_t inflated_crc{0};
    std::string local_extra{};   ///< before the padding
    std::string central_extra{}; ///< behind the ZIP64 field
    std::string comment{};
    bool descriptor{false}; ///< Python's style only: bit 3, and zeros in the local header
    bool descriptor_signature{true};
    std::string gap{}; ///< bytes between this record and the next header
};

struct zip_style {
    bool torch{true};
    std::uint64_t alignment{64};
    bool crc{true};   ///< false: zero everywhere, as after set_crc32_options(False)
    bool end64{true}; ///< Python's style writes it only where needed
    std::string comment{};
    std::string junk{}; ///< behind the end record
    bool reversed_directory{false};
};

struct zip_file {
    std::vector<std::pair<std::uint64_t, std::string>> pieces{};
    std::vector<std::uint64_t> local{}, payload{}, central{};
    std::uint64_t directory{}, directory_size{}, end64{}, locator{}, end{}, size{};
    std::string bytes{}; ///< everything, where it is small

    void put16(std::uint64_t at, std::uint64_t value) { put(at, le16(value)); }
    void put32(std::uint64_t at, std::uint64_t value) { put(at, le32(value)); }
    void put64(std::uint64_t at, std::uint64_t value) { put(at, le64(value)); }
    /// Writes over bytes that are there. (Clang 14 with libstdc++ and c++2b copies all of a string to replace a part.)
    void put(std::uint64_t at, std::string_view text) { text.copy(bytes.data() + at, text.size()); }
};

inline zip_file write_zip(const std::vector<zip_member>& members, const zip_style& style = {}) {
    constexpr std::uint64_t full = 0xFFFF'FFFFu;
    zip_file out;
    std::uint64_t at = 0;
    const auto emit = [&](const std::string& text) {
        if (!text.empty()) out.pieces.emplace_back(at, text);
        at += text.size();
    };
    std::vector<std::string> entries;
    for (const zip_member& m : members) {
        const bool holes = m.hole != 0;
        const std::uint64_t stored = holes ? m.hole : m.data.size();
        const std::uint64_t size = m.method != 0 ? m.inflated : stored;
        const std::uint32_t crc = !style.crc || holes ? 0 : m.method != 0 ? m.inflated_crc : slow_crc32(m.data);
        const std::uint64_t header = at;
        const bool large = size >= full || stored >= full, far_off = header >= full;
        std::uint16_t flags = 0;
        std::string extra = m.local_extra;
        out.local.push_back(header);
        if (style.torch) {
            flags = stored == 0 ? 0x0800 : 0x0808;
            if (large || far_off) // csize is left at zero, the 32-bit fields too
                extra += extra_field(1, (large ? le64(size) + le64(0) : "") + (far_off ? le64(header) : ""));
            const std::uint64_t before = header + 30 + m.name.size() + extra.size() + 4;
            extra +=
                extra_field(0x4246, std::string((style.alignment - before % style.alignment) % style.alignment, 'Z'));
            emit("PK\x03\x04" + le16(0) + le16(flags) + le16(m.method) + le32(0) + le32(0) + le32(0) + le32(0) +
                 le16(m.name.size()) + le16(extra.size()) + m.name + extra);
        } else {
            flags = m.descriptor ? 0x0008 : 0;
            if (large && !m.descriptor) extra = extra_field(1, le64(size) + le64(stored)) + extra;
            emit("PK\x03\x04" + le16(large ? 45 : 20) + le16(flags) + le16(m.method) + le16(0x6000) + le16(0x5A21) +
                 le32(m.descriptor ? 0 : crc) +
                 le32(m.descriptor ? 0
                      : large      ? full
                                   : stored) +
                 le32(m.descriptor ? 0
                      : large      ? full
                                   : size) +
                 le16(m.name.size()) + le16(extra.size()) + m.name + extra);
        }
        out.payload.push_back(at);
        if (holes) at += m.hole;
        else emit(m.data);
        if ((flags & 8) != 0) {
            const bool wide = style.torch ? large || far_off : large;
            emit((m.descriptor_signature ? "PK\x07\x08" : "") + le32(crc) + le(stored, wide ? 8 : 4) +
                 le(size, wide ? 8 : 4));
        }
        emit(m.gap);
        std::string wide;
        if (size >= full) wide += le64(size);
        if (stored >= full) wide += le64(stored);
        if (far_off) wide += le64(header);
        if (!wide.empty()) wide = extra_field(1, wide);
        wide += m.central_extra;
        entries.push_back("PK\x01\x02" + le16(style.torch ? 0 : 0x0314) + le16(style.torch ? 0 : 20) + le16(flags) +
                          le16(m.method) + le32(style.torch ? 0 : 0x5A216000) + le32(crc) +
                          le32(stored >= full ? full : stored) + le32(size >= full ? full : size) +
                          le16(m.name.size()) + le16(wide.size()) + le16(m.comment.size()) + le16(0) + le16(0) +
                          le32(style.torch ? 0 : 0x81A40000u) + le32(far_off ? full : header) + m.name + wide +
                          m.comment);
    }
    out.directory = at;
    for (std::size_t i = 0; i < entries.size(); ++i) {
        out.central.push_back(at);
        emit(entries[style.reversed_directory ? entries.size() - 1 - i : i]);
    }
    out.directory_size = at - out.directory;
    const std::uint64_t count = entries.size();
    out.end64 = out.locator = at;
    if (style.end64) {
        emit("PK\x06\x06" + le64(44) + le16(0x031E) + le16(0x2D) + le32(0) + le32(0) + le64(count) + le64(count) +
             le64(out.directory_size) + le64(out.directory));
        out.locator = at;
        emit("PK\x06\x07" + le32(0) + le64(out.end64) + le32(1));
    }
    out.end = at;
    emit("PK\x05\x06" + le16(0) + le16(0) + le16(count > 0xFFFF ? 0xFFFF : count) +
         le16(count > 0xFFFF ? 0xFFFF : count) + le32(out.directory_size >= full ? full : out.directory_size) +
         le32(out.directory >= full ? full : out.directory) + le16(style.comment.size()) + style.comment);
    emit(style.junk);
    out.size = at;
    if (at < (std::uint64_t{1} << 28)) {
        out.bytes.resize(static_cast<std::size_t>(at), '\0');
        for (const auto& [offset, text] : out.pieces) out.put(offset, text);
    }
    return out;
}

/// The records of a small file of torch.save 2.14, with this many storages.
inline std::vector<zip_member> torch_members(int storages = 2, const std::string& prefix = "archive") {
    std::vector<zip_member> out{{.name = prefix + "/data.pkl", .data = "\x80\x02}q\x01."},
                                {.name = prefix + "/.format_version", .data = "1"},
                                {.name = prefix + "/.storage_alignment", .data = "64"},
                                {.name = prefix + "/byteorder", .data = "little"}};
    for (int i = 0; i < storages; ++i) {
        std::string data;
        for (int k = 0; k < 8 + 4 * i; ++k) data += static_cast<char>(k * 7 + i);
        out.push_back({.name = prefix + "/data/" + std::to_string(i), .data = data});
    }
    out.push_back({.name = prefix + "/version", .data = "3\n"});
    out.push_back({.name = prefix + "/.data/serialization_id", .data = "0636067187682029520510461203110111501163"});
    return out;
}

} // namespace test_support
