// ckpt/torch/sniff.hpp: tells the container of a file by its first bytes, and names files of other formats.
//
// SPDX-License-Identifier: MIT
// In:      the first bytes of a file, and its size.
// Out:     the container; for other files an error that names their format, and what to do.
// Refuses: nothing itself: a file that begins like a container may still be damaged.
#pragma once

#include <ckpt/archive/safetensors.hpp>
#include <ckpt/archive/tar.hpp>
#include <ckpt/archive/zip_format.hpp>
#include <ckpt/core/reader.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/pickle/opcode.hpp>
#include <ckpt/torch/legacy_layout.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
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

// The first match counts. Each is from the specification of its format, or from files that its program wrote.
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

[[nodiscard]] bool looks_like_html(std::string_view text) noexcept;

/// A cursor over the first bytes of a protobuf or of MessagePack.
class head_reader {
  public:
    explicit head_reader(std::string_view text) noexcept : rest_{text} {}
    [[nodiscard]] bool take(unsigned char byte) noexcept { return begins(byte) && (rest_.remove_prefix(1), true); }
    [[nodiscard]] bool begins(unsigned char byte) const noexcept {
        return !rest_.empty() && static_cast<unsigned char>(rest_.front()) == byte;
    }
    [[nodiscard]] bool varint(std::uint64_t& out) noexcept;
    /// Reads the tag and the length of a field that is text or another message: `length` bytes follow.
    [[nodiscard]] bool field(unsigned char tag, std::uint64_t& length) noexcept {
        return take(tag) && varint(length) && length > 0;
    }
    /// Reads `length` printable bytes, or as many as are left.
    [[nodiscard]] bool text(std::uint64_t length) noexcept;

  private:
    std::string_view rest_;
};

/// The format of a protobuf that begins with a version number, as those of models do; empty for other bytes.
[[nodiscard]] std::string_view versioned_protobuf(std::string_view text) noexcept;

/// Whether this is MindSpore's protobuf Checkpoint: value, tag, tensor with its dimensions and the name of its type.
[[nodiscard]] bool looks_like_mindspore(std::string_view text) noexcept;

/// Whether this is a MessagePack map with text as keys, as flax.serialization writes it. Not for the empty map, whose
/// byte may begin a pickle.
[[nodiscard]] bool looks_like_flax(std::string_view text) noexcept;

/// Whether this begins with zlib's header: the method, the window and a check of both (RFC 1950).
[[nodiscard]] constexpr bool looks_like_zlib(std::string_view text) noexcept {
    return text.size() > 2 && text[0] == '\x78' && (0x7800u + static_cast<unsigned char>(text[1])) % 31 == 0 &&
           (static_cast<unsigned char>(text[1]) & 0x20) == 0;
}

/// Whether this is a file of joblib: a pickle with raw arrays between its opcodes.
[[nodiscard]] inline bool looks_like_joblib(std::string_view text) noexcept {
    return !text.empty() && text[0] == '\x80' && text.find("joblib.numpy_pickle") != std::string_view::npos;
}

/// Whether this is plain text: no control characters but line ends and tabs.
[[nodiscard]] bool looks_like_text(std::string_view text) noexcept;

/// Whether the bytes begin with PROTO of 2 to 5 and an opcode.
[[nodiscard]] inline bool begins_as_binary_pickle(std::string_view text) noexcept {
    return text.size() >= 3 && text[0] == '\x80' && text[1] >= 2 && text[1] <= 5 &&
           !opcode_table[static_cast<unsigned char>(text[2])].name.empty();
}

/// Whether the bytes begin like a pickle: with PROTO of 2 to 5 and an opcode, or with a sequence of opcodes, one of
/// which stores into the memo (pickle.dump of protocols 0 and 1 stores every object except the smallest) or names a
/// global.
[[nodiscard]] bool looks_like_pickle(std::string_view text) noexcept;

[[nodiscard]] inline bool all_zero(std::string_view text) noexcept {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c == '\0'; });
}

/// Whether this is a zip archive, to its end record, whose first two bytes are not "PK" any more: SoVITS and others
/// write the version of a model there.
[[nodiscard]] bool is_marked_zip(const source& from);

/// Whether the last bytes are those of LevelDB's table format.
[[nodiscard]] bool ends_as_sstable(const source& from);

} // namespace sniffing

/// The container of a file; `none`: no known one.
enum class container_kind : std::uint8_t { zip, legacy, tar, pickle, safetensors, none };

/// Tells the container by the first bytes. Tries a plain pickle last, because many files may begin like one.
[[nodiscard]] result<container_kind> container_of(const source& from);

/// The error for bytes, told by the first of them, that are compressed, encrypted, or an archive: what they hold cannot
/// be looked into. Nothing for other bytes.
[[nodiscard]] std::optional<error> sealed_content(std::string_view head);

/// The error for bytes that are no container.
[[nodiscard]] error name_the_file(const source& from);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/sniff.ipp>
#endif
