// tests/torch/sniff.cpp: files that are something else are refused by name, with what to do.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/io/source.hpp>
#include <ckpt/torch/sniff.hpp>

#include "../support/temporary_file.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

namespace sniff_test {

using ckpt::errc;
using namespace test_support;
using namespace std::string_literals;

namespace {

ckpt::error refusal(const std::string& bytes) {
    const auto opened = ckpt::open_bytes(bytes_of(bytes));
    REQUIRE_FALSE(opened.has_value());
    const ckpt::error& out = opened.error();
    CHECK(out.message().size() <= 1024);
    for (const char c : out.message()) CHECK(static_cast<unsigned char>(c) >= 0x20);
    // The same by a file, mapped and read, and as a part of a larger one.
    const temporary_file file(bytes), within("xyz" + bytes + "PK\x05\x06");
    for (const ckpt::io_mode io : {ckpt::io_mode::map, ckpt::io_mode::read}) {
        ckpt::error named = ckpt::open(file.path(), {.io = io}).error();
        CHECK(named.file == file.path().string());
        named.file.clear();
        CHECK(named.message() == out.message());
        CHECK(ckpt::open(within.path(), {.io = io, .offset = 3, .length = bytes.size()}).error().detail == out.detail);
    }
    const auto scan = ckpt::scan_globals_bytes(bytes_of(bytes));
    if (scan) REQUIRE(scan->stopped() != nullptr); // names that were seen before the damage are kept
    CHECK((scan ? *scan->stopped() : scan.error()).code == out.code);
    return out;
}

} // namespace

TEST_CASE("C1: other formats are named, each with its code") {
    struct row {
        std::string bytes;
        errc code;
        const char* says;
    };
    const row rows[]{
        {"", errc::not_a_checkpoint, "the file is empty"},
        {"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", errc::not_a_checkpoint,
         "Git LFS pointer"},
        {"<!DOCTYPE html><html>", errc::not_a_checkpoint, "HTML"},
        {"\r\n  <HTML lang=en>", errc::not_a_checkpoint, "HTML"},
        {"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", errc::not_a_checkpoint, "HTML or XML"},
        {"GGUF\x03\0\0\0"s, errc::not_a_checkpoint, "GGUF"},
        {"ggml\1\0\0\0"s, errc::not_a_checkpoint, "GGML"},
        {"lmgg\1\0\0\0"s, errc::not_a_checkpoint, "GGML"},
        {"algg\1\0\0\0"s, errc::not_a_checkpoint, "GGML adapter"},
        {"\x89HDF\r\n\x1a\n\0\0"s, errc::not_a_checkpoint, "HDF5"},
        {"\x93NUMPY\x01\0v\0{'descr'"s, errc::not_a_checkpoint, "NumPy .npy"},
        {"\x1c\0\0\0TFL3"s, errc::not_a_checkpoint, "TensorFlow Lite"},
        {"\x18\0\0\0PTMF"s, errc::container_not_supported, "flatbuffer"},
        {"\x1f\x8b\x08\0"s, errc::not_a_checkpoint, "gzip"},
        {"7z\xbc\xaf\x27\x1c\0\4"s, errc::not_a_checkpoint, "7z"},
        {"BZh91AY&SY", errc::not_a_checkpoint, "bzip2"},
        {"\xfd"
         "7zXZ\0"s,
         errc::not_a_checkpoint, "xz file"},
        {"\x28\xb5\x2f\xfd\x24", errc::not_a_checkpoint, "zstd"},
        {"Rar!\x1a\x07\1\0"s, errc::not_a_checkpoint, "RAR"},
        {"\x7f"
         "ELF\2\1\1",
         errc::not_a_checkpoint, "ELF"},
        {"MZ\x90\0\3"s, errc::not_a_checkpoint, "Windows"},
        {"%PDF-1.7\n", errc::not_a_checkpoint, "PDF"},
        {"\x89PNG\r\n\x1a\n", errc::not_a_checkpoint, "PNG"},
        {"\xff\xd8\xff\xe0", errc::not_a_checkpoint, "JPEG"},
        {"\x08\x07\x12\x07pytorch\x1a\x05"
         "2.0.0",
         errc::not_a_checkpoint, "ONNX"},
        {"PYTORCH1\0\0"s, errc::container_not_supported, "preview"},
        {"storages" + std::string(249, '\0') + "ustar  \0"s + std::string(300, '\0'), errc::tar_invalid,
         "a header whose checksum"},
        {"hello", errc::not_a_checkpoint, "plain text"},
        {"I am a list of names\nLouis\n", errc::not_a_checkpoint, "plain text"},
        {std::string(600, '\0'), errc::not_a_checkpoint, "zeros"},
        {std::string(1, '\0'), errc::not_a_checkpoint, "zeros"},
        {"Invalid username or password.", errc::not_a_checkpoint,
         "plain text that begins \"Invalid username or password.\""},
        {"{\"error\": \"not found\"}", errc::not_a_checkpoint, "plain text"},
        {"PK", errc::not_a_checkpoint, "plain text"},
        {"\x08\x0e\x12\x04test:\x33", errc::not_a_checkpoint, "ONNX"},
        {"\x08\x0e:\x33\x0a\x0c", errc::not_a_checkpoint, "ONNX"},
        {"\x08\1\x12\x23\x0a\x0f\x0a\2in\x1a\x09", errc::not_a_checkpoint, "CoreML"},
        {"\x08\1\x12\xd2\2\x0a\x40\x12\x3e\x0a\x05"
         "Const",
         errc::not_a_checkpoint, "SavedModel"},
        {"\x0a\xd2\x5d\x0a\x0c"
         "conv1.weight\x12\xbf\x5d\x08\x0a\x08\xac\2\x12\7Float32\x1a\xe0\x5d",
         errc::not_a_checkpoint, "MindSpore"},
        {"\x81\xa6params\x81\xa5"
         "dense",
         errc::not_a_checkpoint, "Flax"},
        {"\xde\0\x14\xa1"
         "0\x81"s,
         errc::not_a_checkpoint, "Flax"},
        {"\x80\4\x95\xd9\0\0\0\0\0\0\0}\x94(\x8c\1w\x94\x8c\x13joblib.numpy_pickle\x94"s, errc::not_a_checkpoint,
         "joblib.dump"},
        {"\x78\x5e\x35\xda\x09\xb4\x77\x6b\x3d\x07\xf0\x5f", errc::not_a_checkpoint, "zlib data"},
        {"\x5d\0\0\x40\0\xff\xff"s, errc::not_a_checkpoint, "lzma"},
        {"\x04\x22\x4d\x18\x64", errc::not_a_checkpoint, "lz4"},
        {std::string(60, '\1') + "\x57\xfb\x80\x8b\x24\x75\x47\xdb", errc::not_a_checkpoint, "TensorFlow checkpoint"},
        {"ptrt\xe8\0\0\0"s, errc::not_a_checkpoint, "TensorRT"},
        {"ftrt\xe8\0\0\0"s, errc::not_a_checkpoint, "TensorRT"},
        {"\4\0\0\0\1\0\0\0\3\0\0\0V 1\x11\0\0\0torch.FloatTensor"s, errc::not_a_checkpoint, "Lua Torch7"},
        {"\3\0\0\0\1\0\0\0\2\0\0\0"s, errc::not_a_checkpoint, "Lua Torch7"},
        {"4\n1\n3\nV 1\n17\ntorch.FloatTensor\n", errc::not_a_checkpoint, "Lua Torch7"},
        {"\x18\0\0\0ET12"s, errc::container_not_supported, "ExecuTorch"},
        {"\x18\0\0\0ORTM"s, errc::not_a_checkpoint, "ONNX Runtime"},
        {"age-encryption.org/v1\n-> X25519 ", errc::not_a_checkpoint, "age encrypted"},
        {"-----BEGIN AGE ENCRYPTED FILE-----\n", errc::not_a_checkpoint, "age encrypted"},
        {"-----BEGIN PGP MESSAGE-----\n", errc::not_a_checkpoint, "GPG encrypted"},
        {"\x8c\x0d\4\x09\3", errc::not_a_checkpoint, "GPG encrypted"},
        {"\x85\1\x0c\3\1\2", errc::not_a_checkpoint, "GPG encrypted"},
        {"Salted__\1\2\3", errc::not_a_checkpoint, "openssl encrypted"},
        {"\xde\xad\xbe\xef\0\1"s, errc::not_a_checkpoint, "begin with de ad be ef 00 01"},
        {"PK\x03\x04" + std::string(100, '\0'), errc::zip_truncated, "no end record"},
        {"PK\x05\x06" + std::string(18, '\0'), errc::not_a_checkpoint, "empty zip archive"},
    };
    for (const row& r : rows) {
        const ckpt::error e = refusal(r.bytes);
        CAPTURE(e.message());
        CHECK(e.code == r.code);
        CHECK(e.detail.find(r.says) != std::string::npos);
    }
}

TEST_CASE("legacy streams and plain pickles are told by their first bytes, in every protocol") {
    using ckpt::detail::container_kind;
    const std::string magic = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    const struct {
        std::string bytes;
        container_kind is;
    } rows[]{
        {"\x80\x02" + magic + "\x80\x02M\xe9\x03.", container_kind::legacy},
        {"\x80\x03" + magic, container_kind::legacy},
        {"\x80\x04\x95\x0d\0\0\0\0\0\0\0"s + magic, container_kind::legacy},
        {"\x80\x05\x95\x0d\0\0\0\0\0\0\0"s + magic, container_kind::legacy},
        {"L119547037146038801333356L\n.", container_kind::legacy},
        {"\x80\x04\x95\x0a\0\0\0\0\0\0\0}\x94."s, container_kind::pickle},
        {"\x80\x02}q\0."s, container_kind::pickle},
        {"(dp0\nS'a'\n", container_kind::pickle},
        {"(lp0\nI1\naI2\na.", container_kind::pickle},
        {"]q\0(K\1K\2e."s, container_kind::pickle},
        {"cnumpy.core.multiarray\n_reconstruct\np0\n(cnumpy\nndarray\np1\n", container_kind::pickle},
        {"ctorch._utils\n_rebuild_tensor_v2\np0\n", container_kind::pickle},
    };
    for (const auto& r : rows) {
        CAPTURE(r.bytes);
        CHECK(ckpt::detail::container_of(*ckpt::detail::source::memory(bytes_of(r.bytes)).value()).value() == r.is);
    }
}

TEST_CASE("every signature of the table is one that a file with it gets") {
    for (const auto& s : ckpt::detail::signatures) {
        const std::string bytes = std::string(s.at, '\1') + std::string(s.bytes) + std::string(20, '\0');
        CAPTURE(s.is);
        const ckpt::error e = refusal(bytes);
        CHECK(e.code == s.code);
        CHECK(e.detail.find(s.is) != std::string::npos);
        // Cut off before its end it is something else, or nothing, and no crash.
        for (std::size_t n = 0; n < bytes.size() - 20; n += 1 + n / 16)
            (void)ckpt::open_bytes(bytes_of(bytes).first(n)).error();
    }
}

TEST_CASE("C2: a truncated archive is refused as truncated wherever it is cut") {
    const std::string file =
        torch_file(pkl::dict({{pkl::str("a"), pkl::floats("0", 4)}}), {{"0", std::string(16, 'x')}});
    for (std::size_t n = 4; n < file.size(); n += 7) {
        const auto opened = ckpt::open_bytes(bytes_of(file).first(n));
        REQUIRE_FALSE(opened.has_value());
        CHECK(opened.error().code == errc::zip_truncated);
        CHECK_FALSE(opened.error().hint.empty());
    }
}

TEST_CASE("Z11: an archive that something precedes is named as such") {
    const std::string file =
        torch_file(pkl::dict({{pkl::str("a"), pkl::floats("0", 4)}}), {{"0", std::string(16, 'x')}});
    for (const std::string& before : {"x"s, "#!/bin/sh\n"s, std::string(70'000, '\0'), "\x80\x02}."s}) {
        const ckpt::error e = refusal(before + file);
        CAPTURE(e.message());
        CHECK(ckpt::info(e.code).exit_code != 0);
    }
    // Offsets that were corrected, as self-extracting archives have them.
    auto members = torch_records(pkl::pickle(pkl::none));
    zip_file zip = write_zip(members, {.torch = false, .end64 = false});
    const std::string before(10, 'x');
    for (std::size_t i = 0; i < members.size(); ++i) zip.put32(zip.central[i] + 42, zip.local[i] + before.size());
    zip.put32(zip.end + 16, zip.directory + before.size());
    CHECK(refusal(before + zip.bytes).code == errc::zip_prefix);
}

TEST_CASE("a safetensors file that was cut is named as one; other bytes with a brace in them are not") {
    CHECK(refusal(le64(1000) + "{\"a\":1}").code == errc::safetensors_invalid);
    CHECK(refusal(le64(~std::uint64_t{0}) + "{\"a\":1}").code == errc::not_a_checkpoint);
    CHECK(refusal(le64(7) + "{a:1}  ").code == errc::not_a_checkpoint);
}

TEST_CASE("what a file is, is told by its first 512 bytes") {
    const std::string name = "joblib.numpy_pickle", begin = "\x80\x04\x95\0\0\0\0\0\0\0\0"s;
    const auto joblib_at = [&](std::size_t end) { // where the name ends
        return begin + std::string(end - begin.size() - name.size(), 'N') + name + "N.";
    };
    CHECK(refusal(joblib_at(512)).detail.find("joblib.dump") != std::string::npos);
    CHECK(refusal(joblib_at(513)).detail.find("joblib.dump") == std::string::npos);
    CHECK(refusal(std::string(512, '\0') + "x").detail.find("begin with 512 zeros") != std::string::npos);
    CHECK(refusal(std::string(511, '\0') + "x").detail.find("zeros") == std::string::npos);
    CHECK(refusal(std::string(512, 'a') + "\1").detail.find("plain text") != std::string::npos);
    CHECK(refusal(std::string(511, 'a') + "\1").detail.find("plain text") == std::string::npos);
}

TEST_CASE("numbers of other formats are believed up to a limit") {
    const auto detail = [](const std::string& bytes) { return refusal(bytes).detail; };
    const std::string producer = "\x12\x04test";
    CHECK(detail("\x08\xe8\x07" + producer).find("ONNX") != std::string::npos); // of version 1000
    CHECK(detail("\x08\xe9\x07" + producer).find("ONNX") == std::string::npos);
    const auto mindspore = [](char length) {
        return "\x0a\x40\x0a\x04name\x12\x20\x12" + (length + std::string(static_cast<std::size_t>(length), 'F'));
    };
    CHECK(detail(mindspore(15)).find("MindSpore") != std::string::npos);
    CHECK(detail(mindspore(16)).find("MindSpore") == std::string::npos);
    const std::string sstable = "\x57\xfb\x80\x8b\x24\x75\x47\xdb";
    CHECK(detail(std::string(40, '\1') + sstable).find("TensorFlow") != std::string::npos);
    CHECK(detail(std::string(39, '\1') + sstable).find("TensorFlow") == std::string::npos);
    // The brace of a safetensors header stands within the first 64 bytes.
    const auto blanks = [](std::size_t n) {
        return ckpt::open_bytes(bytes_of(le64(n + 2) + std::string(n, ' ') + "{}")).has_value();
    };
    CHECK(blanks(55));
    CHECK_FALSE(blanks(56));
}

TEST_CASE("a zip archive whose first two bytes were overwritten is named, with what brings it back") {
    const std::string whole = torch_file(pkl::dict({}));
    std::string marked = whole;
    marked[0] = '0';
    marked[1] = '5';
    const ckpt::error e = ckpt::open_bytes(bytes_of(marked)).error();
    CHECK(e.code == errc::not_a_checkpoint);
    CHECK(e.detail.find("changed from \"PK\" to \"05\"") != std::string::npos);
    CHECK(e.hint.find("printf PK | dd") != std::string::npos);
    // Without the archive's end it is no zip.
    marked.pop_back();
    CHECK(ckpt::open_bytes(bytes_of(marked)).error().detail.find("changed from") == std::string::npos);
}

} // namespace sniff_test
