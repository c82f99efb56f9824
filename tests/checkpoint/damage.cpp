// tests/checkpoint/damage.cpp: M1, C2: files cut anywhere, files with any byte changed.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>

#include "../support/sanitized.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace damage_test {

using ckpt::errc;
using namespace test_support;

namespace {

std::string contents(const char* name) {
    std::ifstream in(std::filesystem::path(CKPT_TEST_DATA) / name, std::ios::binary);
    std::string out{std::istreambuf_iterator<char>(in), {}};
    REQUIRE(out.size() > 100);
    return out;
}

/// What was read, as one number; 0 for a refused file. Fails the test where a view leaves the file.
struct reading {
    std::uint64_t sum{0};
    bool accepted{false};
    std::size_t refused{0};
};

struct reader {
    ckpt::scratch pool = ckpt::scratch::make();

    reading operator()(std::span<const std::byte> bytes, ckpt::io_mode io = ckpt::io_mode::map) const {
        reading out;
        const auto opened = ckpt::open_bytes(bytes, {.io = io, .scratch = pool});
        if (!opened) {
            const ckpt::error& e = opened.error();
            if (e.code == errc::internal || e.code == errc::none || e.message().size() > 1024 ||
                (e.offset != ckpt::no_offset && e.offset > bytes.size()))
                FAIL_CHECK(e.message());
            return out;
        }
        out.accepted = true;
        out.sum = 1;
        const auto rows = ckpt::find_tensors(opened->root(), 1000);
        if (!rows) return out;
        for (const ckpt::located_tensor& row : *rows) {
            const ckpt::tensor& t = row.tensor;
            if (t.refusal() != nullptr) {
                ++out.refused;
                if (t.refusal()->code == errc::internal) FAIL_CHECK(t.refusal()->message());
                continue;
            }
            const auto digest = t.crc32(); // touches every element
            if (!digest && digest.error().code == errc::internal) FAIL_CHECK(digest.error().message());
            out.sum = out.sum * 31 + (digest ? *digest : static_cast<std::uint64_t>(digest.error().code));
            for (const char c : row.key()) out.sum = out.sum * 31 + static_cast<unsigned char>(c);
            for (const std::int64_t n : t.shape()) out.sum = out.sum * 31 + static_cast<std::uint64_t>(n);
            const auto content = t.bytes();
            if (content && !content->empty() &&
                !t.storage_key().empty()) { // those without a key lie in the pickle, which is a copy
                if (content->data() < bytes.data() || content->data() + content->size() > bytes.data() + bytes.size())
                    FAIL_CHECK("a view outside the file: " << row.key());
                const auto at = t.file_offset();
                if (!at || bytes.data() + *at != content->data())
                    FAIL_CHECK("a tensor that is not where it says: " << row.key());
            }
        }
        const auto weights = opened->state_dict();
        if (weights) out.sum = out.sum * 31 + weights->size() + weights->others().size();
        else if (weights.error().code == errc::internal) FAIL_CHECK(weights.error().message());
        return out;
    }
};

/// In memory of exactly this size, so that a sanitizer sees the first byte outside.
struct exact {
    explicit exact(std::string_view text) : bytes(bytes_of(text).begin(), bytes_of(text).end()) {}
    operator std::span<const std::byte>() const { return bytes; }
    std::vector<std::byte> bytes;
};

/// An archive without padding: every byte of it means something.
std::string tiny_file() {
    using namespace pkl;
    std::vector<zip_member> members = torch_records(
        pickle(ordered(
            {{str("w"),
              call(global("torch._utils", "_rebuild_tensor_v2"),
                   {tuple({str("storage"), global("torch", "HalfStorage"), str("0"), str("cpu"), "K\x04"}) + "Q",
                    std::string("K\0", 2), tuple({"K\x02", "K\x02"}), tuple({"K\x02", "K\x01"}), no, none})}})),
        {{"0", "12345678"}}, {.folder = "a"});
    return write_zip(members, {.torch = false, .end64 = false}).bytes;
}

} // namespace

TEST_CASE("C2: every prefix of every bundled file is refused, or read as the whole") {
    // Every prefix of files up to 4 KiB, every 7th up to 32 KiB, every 61st of longer ones: each kind of file has short
    // ones. Sanitizers see every 251st; the case below gives them every prefix of some short files.
    constexpr std::size_t small_file = 4'096, long_file = 32'768;
    const reader read;
    std::size_t files = 0;
    for (const auto& found : std::filesystem::recursive_directory_iterator(CKPT_TEST_DATA)) {
        const std::string kind = found.path().extension().string();
        if (kind != ".pt" && kind != ".ckpt" && kind != ".pkl" && kind != ".pth" && kind != ".bin" &&
            kind != ".safetensors")
            continue;
        const std::string file = contents(std::filesystem::relative(found.path(), CKPT_TEST_DATA).string().c_str());
        CAPTURE(found.path().filename().string());
        const exact bytes{file};
        const reading whole = read(bytes);
        ++files;
        const std::size_t step = sanitized ? 251 : file.size() > long_file ? 61 : file.size() > small_file ? 7 : 1;
        for (std::size_t n = 0; n < file.size(); n += step) {
            const reading now = read(std::span<const std::byte>{bytes}.first(n));
            if (now.accepted && (!whole.accepted || now.sum != whole.sum)) FAIL_CHECK("another meaning at " << n);
        }
    }
    CHECK(files > 230);
}

TEST_CASE("C2: every prefix of some short files, in memory of just that size, is refused or read as the whole") {
    const reader read;
    for (const char* name :
         {"rezipped/protocol_4_other_folder.pt", "rezipped/training_comment.pt", "torch-2.13/protocol_2.pt",
          "torch-1.13/protocol_0.pt", "torch-2.13/legacy_views.pt", "torch-1.13/legacy_protocol_0.pt",
          "torch-2.13/plain_pickle_2.pkl", "torch-2.13/plain_pickle_4.pkl", "torch-old/legacy_1.4_py2.pt"}) {
        CAPTURE(name);
        const std::string file = contents(name);
        const reading whole = read(exact(file));
        REQUIRE(whole.accepted);
        std::size_t accepted = 0;
        for (std::size_t n = 0; n < file.size(); ++n) {
            const reading now = read(exact(std::string_view(file).substr(0, n)));
            accepted += now.accepted;
            if (now.accepted && now.sum != whole.sum) FAIL_CHECK("another meaning at " << n);
        }
        CHECK(accepted <= 100); // a comment may be cut without harm
    }
}

TEST_CASE("M1: every value of every byte of a tiny file is refused or read in bounds") {
    const reader read;
    const std::string file = tiny_file();
    exact changed(file);
    const reading whole = read(changed);
    REQUIRE(whole.accepted);
    REQUIRE(whole.refused == 0);
    std::size_t accepted = 0;
    for (std::size_t at = 0; at < file.size(); ++at) {
        const std::byte original = changed.bytes[at];
        for (int value = 1; value < 256; value += one_of) {
            changed.bytes[at] = original ^ static_cast<std::byte>(value);
            accepted += read(changed).accepted;
        }
        changed.bytes[at] = original;
    }
    CHECK(read(changed).sum == whole.sum);
    CHECK(accepted > 0);
    CHECK(accepted < 255 * file.size() / 2 / one_of);
}

TEST_CASE("M1: a few values of every byte of real files are refused or read in bounds") {
    const reader read;
    for (const char* name :
         {"rezipped/protocol_4_streamed.pt", "torch-2.13/protocol_2.pt", "torch-1.13/protocol_0.pt"}) {
        CAPTURE(name);
        exact changed(contents(name));
        for (std::size_t at = 0; at < changed.bytes.size(); ++at) {
            const std::byte original = changed.bytes[at];
            for (const int value : {0x01, 0x80, 0xFF, 0x20}) {
                changed.bytes[at] = original ^ static_cast<std::byte>(value);
                (void)read(changed, at % 2 == 0 ? ckpt::io_mode::map : ckpt::io_mode::read);
            }
            changed.bytes[at] = original;
        }
    }
}

TEST_CASE("M1: a pickle with any byte changed and its checksum left out is refused or read in bounds") {
    // Without a checksum nothing but the reader itself stands between the damage and the tensors.
    const reader read;
    for (const char* name : {"torch-2.13/protocol_2.pt", "torch-1.13/numpy_arrays_p2.pt", "torch-2.13/objects_p4.pt",
                             "torch-2.13/conj_neg.pt"}) {
        CAPTURE(name);
        const std::string original = contents(name);
        const auto opened = ckpt::open_bytes<ckpt::inspect_policy>(bytes_of(original)).value();
        std::vector<zip_member> copy;
        std::size_t pickle = 0;
        for (const ckpt::record& r : opened.records()) {
            const std::string_view whole(original);
            const auto local = static_cast<std::size_t>(r.header_offset);
            const auto number = [&](std::size_t at) {
                return static_cast<std::size_t>(static_cast<unsigned char>(whole[at]) |
                                                static_cast<unsigned>(static_cast<unsigned char>(whole[at + 1])) << 8);
            };
            const std::size_t payload = local + 30 + number(local + 26) + number(local + 28);
            if (r.name.ends_with("data.pkl")) pickle = copy.size();
            copy.push_back({.name = std::string(r.name),
                            .data = std::string(whole.substr(payload, static_cast<std::size_t>(r.size)))});
        }
        const zip_file zip = write_zip(copy, {.torch = false, .crc = false, .end64 = false});
        exact changed(zip.bytes);
        REQUIRE(read(changed).accepted == ckpt::open_bytes(changed).has_value());
        const auto first = static_cast<std::size_t>(zip.payload[pickle]);
        for (std::size_t at = first; at < first + copy[pickle].data.size(); at += one_of) {
            const std::byte before = changed.bytes[at];
            for (const int value : {0x01, 0x02, 0x7F, 0x80, 0xFF}) {
                changed.bytes[at] = before ^ static_cast<std::byte>(value);
                (void)read(changed);
            }
            changed.bytes[at] = before;
        }
    }
}

TEST_CASE("M1: random opcodes are refused or read in bounds") {
    const reader read;
    std::uint64_t state = 0x9E37'79B9'7F4A'7C15u;
    const auto next = [&state](std::size_t below) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return static_cast<std::size_t>(state % below);
    };
    // Pieces that lead deep into the resolver, in any order.
    using namespace pkl;
    const std::vector<std::string> pieces{
        "(",
        ")",
        "]",
        "}",
        "t",
        "R",
        "\x81",
        "b",
        "u",
        "e",
        "s",
        "a",
        "0",
        "2",
        "1",
        "N",
        no,
        yes,
        "K\x02",
        "K\x04",
        "J\xFF\xFF\xFF\xFF",
        num(1),
        num(std::int64_t{1} << 62),
        real(1.5),
        str("0"),
        str("w"),
        "q\x01",
        "h\x01",
        "q\x02",
        "h\x02",
        "Q",
        "\x85",
        "\x86",
        "\x87",
        "\x8f",
        "\x90",
        "\x91",
        "\x92",
        "\x93",
        "\x94",
        "o",
        "l",
        "d",
        storage("FloatStorage", "0", 4),
        floats("0", 4),
        ordered(),
        global("collections", "OrderedDict"),
        global("collections", "Counter"),
        global("collections", "defaultdict"),
        global("torch._utils", "_rebuild_tensor_v2"),
        global("torch._utils", "_rebuild_tensor_v3"),
        global("torch._utils", "_rebuild_parameter"),
        global("torch._tensor", "_rebuild_from_type_v2"),
        global("torch", "float64"),
        global("torch", "Size"),
        global("torch.nn.parameter", "Parameter"),
        global("builtins", "set"),
        global("builtins", "frozenset"),
        global("builtins", "bytearray"),
        global("builtins", "complex"),
        global("_codecs", "encode"),
        global("numpy", "dtype"),
        global("numpy", "ndarray"),
        global("numpy.core.multiarray", "scalar"),
        global("numpy.core.multiarray", "_reconstruct"),
        global("numpy.core.numeric", "_frombuffer"),
        global("argparse", "Namespace"),
        ints({2, 2}),
        ints({2, 1}),
        tuple({str("latin1")}),
        call(global("numpy", "dtype"), {str("f4"), no, yes}),
        "C\x04"
        "abcd",
    };
    std::size_t accepted = 0;
    for (int round = 0; round < 60'000 / one_of; ++round) {
        std::string value;
        for (std::size_t n = 2 + next(24); n > 0; --n) value += pieces[next(pieces.size())];
        // Everything that is left becomes one tuple, so that most of them end well.
        accepted += read(exact(torch_file("(" + value + "t", {{"0", std::string(16, '\x3F')}},
                                          {.byte_order = "", .version = "", .zip = {.torch = false, .end64 = false}})))
                        .accepted;
    }
    CHECK(accepted > 1500 / one_of);
}

} // namespace damage_test
