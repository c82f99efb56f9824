// ckpt/torch/sniff.hpp: which container a file is, by its first bytes, and what it is if it is none.
//
// SPDX-License-Identifier: MIT
// In:      the first bytes of a file, and its size.
// Out:     the container; for what is none, an error that names what the bytes look like, and what to do.
// Refuses: nothing itself: what begins as a container may still be damaged.
#pragma once

#include <ckpt/archive/safetensors.hpp>
#include <ckpt/archive/zip.hpp>
#include <ckpt/core/reader.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/pickle/opcode.hpp>
#include <ckpt/torch/legacy_layout.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

struct signature {
    std::size_t at{};
    std::string_view bytes{};
    errc code{};
    std::string_view is{};
    std::string_view hint{};
};

inline constexpr std::string_view other_format = "convert it with the tools of its own format; only PyTorch checkpoints are read here";
inline constexpr std::string_view unpack_first = "unpack it first, then open the file inside";
inline constexpr std::string_view download_again = "the download brought a page or a pointer instead of the file; fetch the real one";
inline constexpr std::string_view save_again = "load it with the program that wrote it, and save it again with torch.save";

// First match wins.
inline constexpr signature signatures[]{
    {0, "version https://git-lfs", errc::not_a_checkpoint, "a Git LFS pointer, not the file itself", "fetch the object with: git lfs pull"},
    {0, "PK\x05\x06", errc::not_a_checkpoint, "an empty zip archive", "a save that never finished; get the file again"},
    {0, "PYTORCH1", errc::container_not_supported, "the PyTorch preview container of 2018, which no release read", save_again},
    {257, "ustar", errc::container_not_supported, "a tar archive: a checkpoint of torch 0.1, a .nemo file, or an archive around a checkpoint", unpack_first},
    {0, "GGUF", errc::not_a_checkpoint, "a GGUF model of llama.cpp", other_format},
    {0, "ggml", errc::not_a_checkpoint, "a GGML model", other_format},
    {0, "lmgg", errc::not_a_checkpoint, "a GGML model", other_format},
    {0, "fmgg", errc::not_a_checkpoint, "a GGML model", other_format},
    {0, "tjgg", errc::not_a_checkpoint, "a GGML model", other_format},
    {0, "\x89HDF\r\n\x1a\n", errc::not_a_checkpoint, "an HDF5 file, probably a Keras model", other_format},
    {0, "\x93NUMPY", errc::not_a_checkpoint, "a NumPy .npy array", other_format},
    {4, "TFL3", errc::not_a_checkpoint, "a TensorFlow Lite model", other_format},
    {4, "PTMF", errc::container_not_supported, "a PyTorch mobile flatbuffer module", save_again},
    {0, "\x1f\x8b", errc::not_a_checkpoint, "a gzip file", unpack_first},
    {0, "7z\xbc\xaf\x27\x1c", errc::not_a_checkpoint, "a 7z archive", unpack_first},
    {0, "BZh", errc::not_a_checkpoint, "a bzip2 file", unpack_first},
    {0, "\xfd" "7zXZ", errc::not_a_checkpoint, "an xz file", unpack_first},
    {0, "\x28\xb5\x2f\xfd", errc::not_a_checkpoint, "a zstd file", unpack_first},
    {0, "Rar!", errc::not_a_checkpoint, "a RAR archive", unpack_first},
    {0, "\x7f" "ELF", errc::not_a_checkpoint, "an ELF program or library", ""},
    {0, "MZ", errc::not_a_checkpoint, "a Windows program or library", ""},
    {0, "%PDF", errc::not_a_checkpoint, "a PDF document", ""},
    {0, "\x89PNG", errc::not_a_checkpoint, "a PNG picture", ""},
    {0, "\xff\xd8\xff", errc::not_a_checkpoint, "a JPEG picture", ""},
};

namespace sniffing {

[[nodiscard]] inline bool looks_like_html(std::string_view text) noexcept {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\n' || text.front() == '\r' || text.front() == '\t')) text.remove_prefix(1);
    const auto begins = [&](std::string_view with) {
        return text.size() >= with.size() && std::equal(with.begin(), with.end(), text.begin(), [](char a, char b) {
                   return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b);
               });
    };
    return begins("<!doctype html") || begins("<html") || begins("<head") || begins("<?xml") || begins("<body");
}

/// A protobuf that begins as onnx.ModelProto does: ir_version, then the producer's name.
[[nodiscard]] inline bool looks_like_onnx(std::string_view text) noexcept {
    return text.size() > 4 && text[0] == '\x08' && static_cast<unsigned char>(text[1]) < 0x20 &&
           (text[2] == '\x12' || text[2] == '\x3a' || text.substr(0, 64).find("pytorch") != std::string_view::npos);
}

/// Plain text: no control characters but line ends and tabs.
[[nodiscard]] inline bool looks_like_text(std::string_view text) noexcept {
    for (const char c : text) {
        const auto b = static_cast<unsigned char>(c);
        if (b == 0x7F || (b < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != '\f')) return false;
    }
    return !text.empty();
}

/// Whether the bytes begin as a pickle: PROTO of 2 to 5 and an opcode, or opcodes that lead from one to the next, with one
/// that stores into the memo among them (protocols 0 and 1 store after every object but the smallest).
[[nodiscard]] inline bool looks_like_pickle(std::string_view text) noexcept {
    if (text.size() >= 3 && text[0] == '\x80' && text[1] >= 2 && text[1] <= 5) return !opcode_table[static_cast<unsigned char>(text[2])].name.empty();
    bool stores = false;
    for (std::size_t at = 0; at < text.size();) {
        const auto op = static_cast<opcode>(static_cast<unsigned char>(text[at]));
        const opcode_info& known = opcode_table[static_cast<unsigned char>(text[at])];
        if (known.name.empty()) return false;
        if (op == opcode::stop) return stores;
        std::string_view rest = text.substr(++at);
        const auto number = [&rest](std::size_t bytes) {
            std::uint64_t value = 0;
            for (std::size_t i = bytes; i-- > 0;) value = value << 8 | (i < rest.size() ? static_cast<unsigned char>(rest[i]) : 0u);
            return value;
        };
        std::uint64_t length = 0;
        switch (known.takes) {
        case argument::none: break;
        case argument::u8: length = 1; break;
        case argument::u16: length = 2; break;
        case argument::u32:
        case argument::i32: length = 4; break;
        case argument::u64:
        case argument::f64: length = 8; break;
        case argument::bytes1: length = 1 + number(1); break;
        case argument::bytes4: length = 4 + number(4); break;
        case argument::bytes8: length = number(8) < rest.size() ? 8 + number(8) : rest.size(); break;
        case argument::line:
        case argument::two_lines:
            for (int lines = known.takes == argument::line ? 1 : 2; lines > 0; --lines) {
                const std::size_t end = rest.find('\n', static_cast<std::size_t>(length));
                if (end == std::string_view::npos) return stores;
                if ((op == opcode::put || op == opcode::get) && rest.substr(0, end).find_first_not_of("0123456789") != std::string_view::npos) return false;
                length = end + 1;
            }
            break;
        }
        stores = stores || op == opcode::put || op == opcode::binput || op == opcode::long_binput;
        at = length < rest.size() ? at + static_cast<std::size_t>(length) : text.size();
    }
    return stores;
}

[[nodiscard]] inline bool all_zero(std::string_view text) noexcept {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c == '\0'; });
}

} // namespace sniffing

/// What a file is, by its first bytes.
enum class container_kind : std::uint8_t { zip, legacy, pickle, safetensors, none };

/// The one place that decides it. A plain pickle begins as many things could, so it comes last.
[[nodiscard]] inline result<container_kind> container_of(const source& from) {
    std::array<std::byte, 512> head{};
    const auto n = static_cast<std::size_t>((std::min<std::uint64_t>)(from.size(), head.size()));
    if (auto read = from.read(0, {head.data(), n}); !read) return std::move(read).error();
    const std::string_view text{reinterpret_cast<const char*>(head.data()), n};
    if (safetensors::begins({head.data(), (std::min<std::size_t>)(n, 64)})) return container_kind::safetensors;
    if (n >= 4 && load_le<std::uint32_t>(head.data()) == zip::local_signature) return container_kind::zip;
    if (legacy::begins(text)) return container_kind::legacy;
    for (const signature& s : signatures)
        if (text.size() > s.at && text.substr(s.at).starts_with(s.bytes)) return container_kind::none;
    if (!sniffing::looks_like_html(text) && !sniffing::looks_like_onnx(text) && sniffing::looks_like_pickle(text)) return container_kind::pickle;
    return container_kind::none;
}

/// The error for bytes that are no container.
[[nodiscard]] inline error name_the_file(const source& from) {
    error e{.code = errc::not_a_checkpoint, .offset = from.base()};
    if (from.size() == 0) {
        e.detail = "the file is empty";
        e.hint = "a download or a save that never finished; get the file again";
        return e;
    }
    std::array<std::byte, 512> head{};
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(from.size(), head.size()));
    if (auto read = from.read(0, {head.data(), n}); !read) return std::move(read).error();
    const std::string_view text{reinterpret_cast<const char*>(head.data()), n};
    const std::string bytes = decimal(from.size()) + " bytes";
    for (const signature& s : signatures)
        if (text.size() > s.at && text.substr(s.at).starts_with(s.bytes)) {
            e.code = s.code;
            e.detail = bytes + ": " + std::string(s.is);
            e.hint = s.hint;
            return e;
        }
    if (sniffing::looks_like_html(text)) {
        e.detail = bytes + ": an HTML or XML page";
        e.hint = download_again;
    } else if (sniffing::looks_like_onnx(text)) {
        e.detail = bytes + ": an ONNX model, or another protobuf";
        e.hint = other_format;
    } else if (sniffing::all_zero(text)) {
        e.detail = bytes + " that begin with " + decimal(std::uint64_t{n}) + " zeros: space that was reserved and never written";
        e.hint = "a download or a copy that never finished; get the file again";
    } else if (sniffing::looks_like_text(text)) {
        e.detail = bytes + " of plain text that begins " + quoted(text);
        e.hint = "an error message or a list was saved under this name; get the file again";
    } else {
        std::string first;
        constexpr char digits[] = "0123456789abcdef";
        for (std::size_t i = 0; i < std::min<std::size_t>(n, 8); ++i) {
            const auto b = static_cast<unsigned char>(text[i]);
            first += (i == 0 ? "" : " ");
            first += digits[b >> 4];
            first += digits[b & 15];
        }
        e.detail = bytes + " that begin with " + first + ": no format that is known here";
        e.hint = "if it should be a checkpoint, it is damaged or encrypted; get the file again";
    }
    return e;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
