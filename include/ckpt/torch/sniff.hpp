// ckpt/torch/sniff.hpp: which container a file is, by its first bytes, and what it is if it is none.
//
// SPDX-License-Identifier: MIT
// In:      the first bytes of a file, and its size.
// Out:     the container; for what is none, an error that names what the bytes look like, and what to do.
// Refuses: nothing itself: what begins as a container may still be damaged.
#pragma once

#include <ckpt/archive/safetensors.hpp>
#include <ckpt/archive/tar.hpp>
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

using namespace std::string_view_literals; // for texts with zeros

struct signature {
    std::size_t at{};
    std::string_view bytes{};
    errc code{};
    std::string_view is{};
    std::string_view hint{};
};

inline constexpr std::string_view other_format =
    "convert it with the tools of its own format; only PyTorch checkpoints are read here";
inline constexpr std::string_view unpack_first = "unpack it first, then open the file inside";
inline constexpr std::string_view download_again =
    "the download brought a page or a pointer instead of the file; fetch the real one";
inline constexpr std::string_view decrypt_first = "decrypt it first, then open the file inside";
inline constexpr std::string_view lua_torch =
    "load it in Python with the package torchfile, and save its arrays with torch.save";
inline constexpr std::string_view save_again =
    "load it with the program that wrote it, and save it again with torch.save";

// First match wins. Each is of its format's specification or of files that its own program wrote.
inline constexpr signature signatures[]{
    {0, "version https://git-lfs", errc::not_a_checkpoint, "a Git LFS pointer, not the file itself",
     "fetch the object with: git lfs pull"},
    {0, "PK\x05\x06", errc::not_a_checkpoint, "an empty zip archive", "a save that never finished; get the file again"},
    {0, "PYTORCH1", errc::container_not_supported, "the PyTorch preview container of 2018, which no release read",
     save_again},
    // Models of other programs
    {0, "GGUF", errc::not_a_checkpoint, "a GGUF model of llama.cpp", other_format},
    {0, "ggml", errc::not_a_checkpoint, "a GGML model", other_format},
    {0, "lmgg", errc::not_a_checkpoint, "a GGML model", other_format},
    {0, "fmgg", errc::not_a_checkpoint, "a GGML model", other_format},
    {0, "tjgg", errc::not_a_checkpoint, "a GGML model", other_format},
    {0, "algg", errc::not_a_checkpoint, "a GGML adapter", other_format},
    {0, "\x89HDF\r\n\x1a\n", errc::not_a_checkpoint, "an HDF5 file, probably a Keras model",
     "load it with Keras or h5py, and save its arrays as safetensors or with torch.save"},
    {0, "\x93NUMPY", errc::not_a_checkpoint, "a NumPy .npy array",
     "load it with numpy.load, and save it as safetensors or with torch.save"},
    {4, "TFL3", errc::not_a_checkpoint, "a TensorFlow Lite model", other_format},
    {4, "ORTM", errc::not_a_checkpoint, "an ONNX Runtime model", other_format},
    {4, "ET12", errc::container_not_supported, "an ExecuTorch program (.pte)",
     "open the checkpoint that it was exported from"},
    {4, "PTMF", errc::container_not_supported, "a PyTorch mobile flatbuffer module", save_again},
    {0, "ptrt", errc::not_a_checkpoint, "a TensorRT engine",
     "it was compiled for one GPU; open the model that it was built from"},
    {0, "ftrt", errc::not_a_checkpoint, "a TensorRT engine",
     "it was compiled for one GPU; open the model that it was built from"},
    {0, "\4\0\0\0\1\0\0\0\3\0\0\0V 1"sv, errc::not_a_checkpoint, "a Lua Torch7 .t7 file", lua_torch},
    {0, "\3\0\0\0\1\0\0\0"sv, errc::not_a_checkpoint, "a Lua Torch7 .t7 file", lua_torch},
    {0, "4\n1\n3\nV 1\n", errc::not_a_checkpoint, "a Lua Torch7 .t7 file, as text", lua_torch},
    // Encrypted
    {0, "age-encryption.org/v1", errc::not_a_checkpoint, "a file that age encrypted", decrypt_first},
    {0, "-----BEGIN AGE ENCRYPTED FILE", errc::not_a_checkpoint, "a file that age encrypted", decrypt_first},
    {0, "-----BEGIN PGP MESSAGE", errc::not_a_checkpoint, "a file that GPG encrypted", decrypt_first},
    {0, "\x8c\x0d\x04", errc::not_a_checkpoint, "a file that GPG encrypted with a passphrase", decrypt_first},
    {0, "\x85\x01\x0c\x03", errc::not_a_checkpoint, "a file that GPG encrypted", decrypt_first},
    {0, "\x85\x02\x0c\x03", errc::not_a_checkpoint, "a file that GPG encrypted", decrypt_first},
    {0, "\x84\x5e\x03", errc::not_a_checkpoint, "a file that GPG encrypted", decrypt_first},
    {0, "Salted__", errc::not_a_checkpoint, "a file that openssl encrypted", decrypt_first},
    // Compressed
    {0, "\x1f\x8b", errc::not_a_checkpoint, "a gzip file: a compressed tar, or one compressed file", unpack_first},
    {0, "7z\xbc\xaf\x27\x1c", errc::not_a_checkpoint, "a 7z archive", unpack_first},
    {0, "BZh", errc::not_a_checkpoint, "a bzip2 file", unpack_first},
    {0,
     "\xfd"
     "7zXZ",
     errc::not_a_checkpoint, "an xz file", unpack_first},
    {0, "\x28\xb5\x2f\xfd", errc::not_a_checkpoint, "a zstd file", unpack_first},
    {0, "\x04\x22\x4d\x18", errc::not_a_checkpoint, "an lz4 file", unpack_first},
    {0, "\x5d\0\0"sv, errc::not_a_checkpoint, "an lzma stream: joblib compresses so, and lzma itself",
     "load it with joblib.load, and save its arrays as safetensors or with torch.save"},
    {0, "Rar!", errc::not_a_checkpoint, "a RAR archive", unpack_first},
    // Anything else
    {0, "PAR1", errc::not_a_checkpoint, "a Parquet table", ""},
    {0, "ARROW1", errc::not_a_checkpoint, "an Arrow table", ""},
    {0, "SQLite format 3", errc::not_a_checkpoint, "an SQLite database", ""},
    {0,
     "\x7f"
     "ELF",
     errc::not_a_checkpoint, "an ELF program or library", ""},
    {0, "MZ", errc::not_a_checkpoint, "a Windows program or library", ""},
    {0, "%PDF", errc::not_a_checkpoint, "a PDF document", ""},
    {0, "\x89PNG", errc::not_a_checkpoint, "a PNG picture", ""},
    {0, "\xff\xd8\xff", errc::not_a_checkpoint, "a JPEG picture", ""},
};

namespace sniffing {

[[nodiscard]] inline bool looks_like_html(std::string_view text) noexcept {
    while (!text.empty() &&
           (text.front() == ' ' || text.front() == '\n' || text.front() == '\r' || text.front() == '\t'))
        text.remove_prefix(1);
    const auto begins = [&](std::string_view with) {
        return text.size() >= with.size() && std::equal(with.begin(), with.end(), text.begin(), [](char a, char b) {
                   return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b - 'A' + 'a') : b);
               });
    };
    return begins("<!doctype html") || begins("<html") || begins("<head") || begins("<?xml") || begins("<body");
}

/// A cursor over the first bytes of a protobuf or of MessagePack.
class head_reader {
  public:
    explicit head_reader(std::string_view text) noexcept : rest_{text} {}
    [[nodiscard]] bool take(unsigned char byte) noexcept { return begins(byte) && (rest_.remove_prefix(1), true); }
    [[nodiscard]] bool begins(unsigned char byte) const noexcept {
        return !rest_.empty() && static_cast<unsigned char>(rest_.front()) == byte;
    }
    [[nodiscard]] bool varint(std::uint64_t& out) noexcept {
        out = 0;
        for (unsigned shift = 0; shift < 63 && !rest_.empty(); shift += 7) {
            const auto b = static_cast<unsigned char>(rest_.front());
            rest_.remove_prefix(1);
            out |= std::uint64_t{b & 0x7Fu} << shift;
            if (b < 0x80) return true;
        }
        return false;
    }
    /// A field of that tag that holds text, or another message: `length` bytes follow.
    [[nodiscard]] bool field(unsigned char tag, std::uint64_t& length) noexcept {
        return take(tag) && varint(length) && length > 0;
    }
    /// `length` printable bytes, or as many of them as there are.
    [[nodiscard]] bool text(std::uint64_t length) noexcept {
        const std::string_view part =
            rest_.substr(0, static_cast<std::size_t>((std::min<std::uint64_t>)(length, rest_.size())));
        rest_.remove_prefix(part.size());
        return !part.empty() && std::all_of(part.begin(), part.end(), [](char c) { return c >= ' ' && c < '\x7f'; });
    }

  private:
    std::string_view rest_;
};

/// What a protobuf is that begins with a version, as models do; empty for others.
[[nodiscard]] inline std::string_view versioned_protobuf(std::string_view text) noexcept {
    head_reader at{text};
    std::uint64_t version = 0, outer = 0, inner = 0, name = 0;
    if (!at.take(0x08) || !at.varint(version) || version == 0 || version > 1000) return {};
    if (at.begins(0x3A)) return "an ONNX model"; // without a producer: the graph
    head_reader below = at;
    if (!below.field(0x12, outer)) return {};
    head_reader producer = below;
    if (below.field(0x0A, inner)) {
        // CoreML: description, input, name. SavedModel: meta_graphs, meta_info_def, which begins with the operations'
        // list.
        if (below.field(0x0A, name) && below.text(name)) return "a CoreML model (.mlmodel)";
        if (version == 1) return "a TensorFlow SavedModel (saved_model.pb)";
    }
    return producer.text(outer) ? "an ONNX model" : std::string_view{};
}

/// MindSpore's Checkpoint: value, tag, tensor with its dimensions and the name of its type.
[[nodiscard]] inline bool looks_like_mindspore(std::string_view text) noexcept {
    head_reader at{text};
    std::uint64_t length = 0, dimension = 0;
    if (!at.field(0x0A, length) || !at.field(0x0A, length) || !at.text(length) || !at.field(0x12, length)) return false;
    while (at.begins(0x08))
        if (!at.take(0x08) || !at.varint(dimension)) return false;
    return at.field(0x12, length) && length < 16 && at.text(length);
}

/// A map from text in MessagePack, as flax.serialization writes it. No pickle: the smallest map is not empty.
[[nodiscard]] inline bool looks_like_flax(std::string_view text) noexcept {
    if (text.size() < 3) return false;
    const auto first = static_cast<unsigned char>(text[0]);
    std::size_t at = first > 0x80 && first < 0x90 ? 1u : first == 0xDE ? 3u : first == 0xDF ? 5u : 0u;
    if (at == 0 || at >= text.size()) return false;
    auto length = static_cast<unsigned char>(text[at++]);
    if (length == 0xD9 && at < text.size()) length = static_cast<unsigned char>(text[at++]);
    else if (length > 0xA0 && length < 0xC0) length = length & 0x1F;
    else return false;
    return head_reader{text.substr(at)}.text(length);
}

/// zlib's header: the method, the window and a check of both.
[[nodiscard]] constexpr bool looks_like_zlib(std::string_view text) noexcept {
    return text.size() > 2 && text[0] == '\x78' && (0x7800u + static_cast<unsigned char>(text[1])) % 31 == 0 &&
           (static_cast<unsigned char>(text[1]) & 0x20) == 0;
}

/// A pickle with arrays of raw bytes between its opcodes.
[[nodiscard]] inline bool looks_like_joblib(std::string_view text) noexcept {
    return !text.empty() && text[0] == '\x80' && text.find("joblib.numpy_pickle") != std::string_view::npos;
}

/// Plain text: no control characters but line ends and tabs.
[[nodiscard]] inline bool looks_like_text(std::string_view text) noexcept {
    for (const char c : text) {
        const auto b = static_cast<unsigned char>(c);
        if (b == 0x7F || (b < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != '\f')) return false;
    }
    return !text.empty();
}

/// Whether the bytes begin as a pickle: PROTO of 2 to 5 and an opcode, or opcodes that lead from one to the next, with
/// one that stores into the memo among them (protocols 0 and 1 store after every object but the smallest).
[[nodiscard]] inline bool looks_like_pickle(std::string_view text) noexcept {
    if (text.size() >= 3 && text[0] == '\x80' && text[1] >= 2 && text[1] <= 5)
        return !opcode_table[static_cast<unsigned char>(text[2])].name.empty();
    bool stores = false;
    for (std::size_t at = 0; at < text.size();) {
        const auto op = static_cast<opcode>(static_cast<unsigned char>(text[at]));
        const opcode_info& known = opcode_table[static_cast<unsigned char>(text[at])];
        if (known.name.empty()) return false;
        if (op == opcode::stop) return stores;
        std::string_view rest = text.substr(++at);
        const auto number = [&rest](std::size_t bytes) {
            std::uint64_t value = 0;
            for (std::size_t i = bytes; i-- > 0;)
                value = value << 8 | (i < rest.size() ? static_cast<unsigned char>(rest[i]) : 0u);
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
                if ((op == opcode::put || op == opcode::get) &&
                    rest.substr(0, end).find_first_not_of("0123456789") != std::string_view::npos)
                    return false;
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

/// Whether the last bytes are those of LevelDB's table format.
[[nodiscard]] inline bool ends_as_sstable(const source& from) {
    std::array<std::byte, 8> last{};
    return from.size() >= 48 && from.read(from.size() - last.size(), last).has_value() &&
           load_le<std::uint64_t>(last.data()) == 0xDB47'7524'8B80'FB57u;
}

} // namespace sniffing

/// What a file is, by its first bytes.
enum class container_kind : std::uint8_t { zip, legacy, tar, pickle, safetensors, none };

/// The one place that decides it. A plain pickle begins as many things could, so it comes last.
[[nodiscard]] inline result<container_kind> container_of(const source& from) {
    std::array<std::byte, 512> head{};
    const auto n = static_cast<std::size_t>((std::min<std::uint64_t>)(from.size(), head.size()));
    if (auto read = from.read(0, {head.data(), n}); !read) return std::move(read).error();
    const std::string_view text{reinterpret_cast<const char*>(head.data()), n};
    if (safetensors::begins({head.data(), (std::min<std::size_t>)(n, 64)})) return container_kind::safetensors;
    if (n >= 4 && load_le<std::uint32_t>(head.data()) == zip::local_signature) return container_kind::zip;
    if (legacy::begins(text)) return container_kind::legacy;
    if (tar::begins(text)) return container_kind::tar;
    for (const signature& s : signatures)
        if (text.size() > s.at && text.substr(s.at).starts_with(s.bytes)) return container_kind::none;
    if (sniffing::looks_like_html(text) || sniffing::looks_like_joblib(text)) return container_kind::none;
    if (sniffing::versioned_protobuf(text).empty() && !sniffing::looks_like_mindspore(text) &&
        sniffing::looks_like_pickle(text))
        return container_kind::pickle;
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
    if (tar::begins(text)) {
        e.code = errc::container_not_supported;
        e.detail = bytes + ": a tar archive inside another";
        e.hint = unpack_first;
        return e;
    }
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
    } else if (const std::string_view is = sniffing::versioned_protobuf(text); !is.empty()) {
        e.detail = bytes + ": " + std::string(is) + ", or another protobuf";
        e.hint = other_format;
    } else if (sniffing::looks_like_mindspore(text)) {
        e.detail = bytes + ": a MindSpore checkpoint";
        e.hint = "load it with mindspore.load_checkpoint, and save its arrays as safetensors or with torch.save";
    } else if (sniffing::looks_like_joblib(text)) {
        e.detail = bytes + ": a file of joblib.dump, a pickle with raw arrays inside";
        e.hint = "load it with joblib.load, and save its arrays as safetensors or with torch.save";
    } else if (sniffing::looks_like_flax(text)) {
        e.detail = bytes + ": MessagePack, probably the parameters of a Flax model";
        e.hint = "load it with flax.serialization, and save its arrays as safetensors";
    } else if (sniffing::ends_as_sstable(from)) {
        e.detail = bytes + ": the .index of a TensorFlow checkpoint, or another table of LevelDB's";
        e.hint = "load it with TensorFlow (its numbers are in the .data files), and save its arrays as safetensors";
    } else if (sniffing::looks_like_zlib(text) && !sniffing::looks_like_text(text)) {
        e.detail = bytes + ": zlib data: joblib compresses so";
        e.hint = "load it with joblib.load, and save its arrays as safetensors or with torch.save";
    } else if (sniffing::all_zero(text)) {
        e.detail = bytes + " that begin with " + decimal(std::uint64_t{n}) +
                   " zeros: space that was reserved and never written";
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
