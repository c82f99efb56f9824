// tests/checkpoint/memory.cpp: R1: what a file says cannot make opening it take more memory than its size pays for.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>

#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <vector>

namespace memory_test {

using namespace test_support;

// Every allocation of this program is counted. The size and the block stand before what is handed out.
namespace {

std::atomic<std::uint64_t> in_use{0};
std::atomic<std::uint64_t> most_in_use{0};
std::atomic<bool> is_exhausted{false}; // nothing is handed out

void* take(std::size_t bytes, std::size_t alignment) noexcept {
    if (is_exhausted) return nullptr;
    if (alignment < 16) alignment = 16;
    auto* const block = static_cast<std::byte*>(std::malloc(bytes + alignment + 32));
    if (block == nullptr) return nullptr;
    auto address = reinterpret_cast<std::uintptr_t>(block) + 32;
    address += (alignment - address % alignment) % alignment;
    std::byte* const out = block + (address - reinterpret_cast<std::uintptr_t>(block));
    std::memcpy(out - 16, &block, sizeof block);
    std::memcpy(out - 8, &bytes, sizeof bytes);
    const std::uint64_t now = in_use.fetch_add(bytes) + bytes;
    std::uint64_t before = most_in_use.load();
    while (before < now && !most_in_use.compare_exchange_weak(before, now)) {}
    return out;
}
void give_back(void* at) noexcept {
    if (at == nullptr) return;
    std::byte* block = nullptr;
    std::size_t bytes = 0;
    std::memcpy(&block, static_cast<std::byte*>(at) - 16, sizeof block);
    std::memcpy(&bytes, static_cast<std::byte*>(at) - 8, sizeof bytes);
    in_use -= bytes;
    std::free(block);
}
void* take_or_throw(std::size_t bytes, std::size_t alignment) {
    void* const out = take(bytes, alignment);
    if (out == nullptr) throw std::bad_alloc{};
    return out;
}

} // namespace

} // namespace memory_test

void* operator new(std::size_t bytes) { return memory_test::take_or_throw(bytes, 16); }
void* operator new[](std::size_t bytes) { return memory_test::take_or_throw(bytes, 16); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
    return memory_test::take_or_throw(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
    return memory_test::take_or_throw(bytes, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return memory_test::take(bytes, 16); }
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept { return memory_test::take(bytes, 16); }
void operator delete(void* at) noexcept { memory_test::give_back(at); }
void operator delete[](void* at) noexcept { memory_test::give_back(at); }
void operator delete(void* at, std::size_t) noexcept { memory_test::give_back(at); }
void operator delete[](void* at, std::size_t) noexcept { memory_test::give_back(at); }
void operator delete(void* at, std::align_val_t) noexcept { memory_test::give_back(at); }
void operator delete[](void* at, std::align_val_t) noexcept { memory_test::give_back(at); }
void operator delete(void* at, std::size_t, std::align_val_t) noexcept { memory_test::give_back(at); }
void operator delete[](void* at, std::size_t, std::align_val_t) noexcept { memory_test::give_back(at); }
void operator delete(void* at, const std::nothrow_t&) noexcept { memory_test::give_back(at); }
void operator delete[](void* at, const std::nothrow_t&) noexcept { memory_test::give_back(at); }

namespace memory_test {

namespace {

/// The most that `f` had in use at once, beyond what was there before.
template <class F> std::uint64_t peak_of(F&& f) {
    const std::uint64_t before = in_use.load();
    most_in_use.store(before);
    f();
    return most_in_use.load() - before;
}

std::uint64_t peak_of_open(const std::string& bytes) {
    return peak_of([&] { (void)ckpt::open_bytes(bytes_of(bytes)).has_value(); });
}

constexpr std::uint64_t mebibyte = 1u << 20;

std::string times(const std::string& text, std::size_t n) {
    std::string out;
    out.reserve(text.size() * n);
    for (std::size_t i = 0; i < n; ++i) out += text;
    return out;
}

} // namespace

TEST_CASE("R1: opening takes at most 64 times the metadata and a mebibyte, whatever the pickle repeats" *
          doctest::test_suite("slow")) {
    using namespace pkl;
    struct row {
        const char* what;
        std::string before; ///< once
        std::string piece;  ///< over and over; everything ends in one tuple
    };
    const std::string memo_1 = "q\x01"
                               "0",
                      bad = global("torch._utils", "_rebuild_tensor_v2") + memo_1;
    const std::string pieces_of_id = str("storage") +
                                     "q\x02"
                                     "0" +
                                     global("torch", "FloatStorage") +
                                     "q\x03"
                                     "0" +
                                     str("0") +
                                     "q\x04"
                                     "0" +
                                     str("cpu") +
                                     "q\x05"
                                     "0";
    const row rows[]{
        {"None", "", "N"},
        {"small integers", "", "K\x01"},
        {"integers", "", "M\x01\x01"},
        {"large integers", "",
         "\x8a\x09"
         "123456789"},
        {"decimal integers", "", "I7\n"},
        {"floats", "", "G12345678"},
        {"empty tuples", "", ")"},
        {"tuples", "", "N\x85"},
        {"tuples of marks", "", "(t"},
        {"lists", "", "]"},
        {"lists with an element", "", "]Na"},
        {"dictionaries", "", "}"},
        {"dictionaries with an entry", "", "}NNs"},
        {"sets", "", "\x8f"},
        {"sets with an element", "", "\x8f(N\x90"},
        {"frozen sets", "", "(\x91"},
        {"open marks", "", "("},
        {"duplicates", "N", "2"},
        {"empty text", "", std::string("X\0\0\0\0", 5)},
        {"short text", "", std::string("\x8c\0", 2)},
        {"text of protocol 0", "", "V\n"},
        {"quoted text", "", "S''\n"},
        {"escaped text", "", "S'\\n\\n\\n'\n"},
        {"empty bytes", "", std::string("C\0", 2)},
        {"memoized", "", "N\x94"},
        {"put", "", "Nq\x01"},
        {"put high", "", std::string("r\xFF\x20\0\0N", 6)},
        {"globals", "", "ctorch\nSize\n"},
        {"persistent ids of no form", "", "NQ"},
        {"persistent ids of text", "", "P\n"},
        {"persistent ids of a missing record", "",
         tuple({str("storage"), global("torch", "FloatStorage"), str("9"), str("cpu"), num(4)}) + "Q"},
        {"storages", pieces_of_id, "(h\x02h\x03h\x04h\x05K\x04tQ"},
        {"storages of another size", pieces_of_id, "(h\x02h\x03h\x04h\x05K\x05tQ"},
        {"tensors without arguments", bad, "h\x01)R"},
        {"tensors",
         pieces_of_id + bad +
             "h\x02h\x03h\x04h\x05(h\x02h\x03h\x04h\x05K\x04tQq\x06"
             "0000"
             "0",
         "h\x01(h\x06K\0K\x04\x85K\x01\x85\x89NtR"},
        {"ordered dictionaries", global("collections", "OrderedDict") + memo_1, "h\x01)R"},
        {"ordered dictionaries from pairs",
         global("collections", "OrderedDict") + memo_1 +
             "](NN\x86"
             "e\x85q\x02"
             "0",
         "h\x01h\x02R"},
        {"ordered dictionaries from an integer", global("collections", "OrderedDict") + memo_1, "h\x01N\x85R"},
        {"builtin sets", global("builtins", "set") + memo_1, "h\x01)R"},
        {"sizes",
         global("torch", "Size") + memo_1 +
             "](NNNNe\x85q\x02"
             "0",
         "h\x01h\x02R"},
        {"inert objects", global("argparse", "Namespace") + memo_1, "h\x01)R"},
        {"inert new objects with a state", global("argparse", "Namespace") + memo_1, "h\x01)\x81}b"},
        {"encoded bytes",
         global("_codecs", "encode") + memo_1 + str(std::string(100, 'x')) + str("latin1") +
             "\x86q\x02"
             "0",
         "h\x01h\x02R"},
        {"byte arrays", global("builtins", "bytearray") + memo_1, "h\x01)R"},
        {"complex numbers",
         global("builtins", "complex") + memo_1 +
             "K\x01K\x02\x86q\x02"
             "0",
         "h\x01h\x02R"},
        {"scalars",
         global("numpy.core.multiarray", "scalar") + memo_1 + call(global("numpy", "dtype"), {str("f8"), no, yes}) +
             "C\x08"
             "12345678\x86q\x02"
             "0",
         "h\x01h\x02R"},
        {"arrays of bytes",
         global("numpy.core.numeric", "_frombuffer") + memo_1 + "(C\x02xx" +
             call(global("numpy", "dtype"), {str("u1"), no, yes}) + "K\x02\x85" + str("C") +
             "tq\x02"
             "0",
         "h\x01h\x02R"},
    };
    std::uint64_t worst = 0;
    for (const row& r : rows)
        for (const std::size_t bytes : {std::size_t{100}, std::size_t{20'000}, std::size_t{200'000}}) {
            CAPTURE(r.what);
            CAPTURE(bytes);
            const std::string pickled = "\x80\x04(" + r.before + times(r.piece, bytes / r.piece.size() + 1) + "t.";
            const auto members = torch_records(pickled, {{"0", std::string(16, 'x')}});
            const std::string file = write_zip(members).bytes;
            const std::uint64_t peak = peak_of_open(file);
            const std::uint64_t metadata = file.size() - 16;
            CHECK(peak <= 64 * metadata + mebibyte);
            if (peak > mebibyte) worst = std::max(worst, (peak - mebibyte) / metadata);
        }
    MESSAGE("at most a mebibyte and " << worst << " times the metadata");
}

TEST_CASE("R1: a directory of many records takes memory in proportion") {
    for (const std::size_t n : {std::size_t{10}, std::size_t{3000}}) {
        auto members = torch_records(pkl::pickle(pkl::none));
        for (std::size_t i = 0; i < n; ++i) members.push_back({.name = "archive/data/" + std::to_string(i)});
        for (const bool torch : {true, false}) {
            const zip_file zip = write_zip(members, {.torch = torch});
            CHECK(peak_of_open(zip.bytes) <= 64 * zip.directory_size + mebibyte);
        }
    }
}

TEST_CASE("R1: sizes that a file only claims allocate nothing") {
    using namespace pkl;
    const std::vector<std::string> claims{
        "X\xFF\xFF\xFF\x7F",
        std::string("\x8d\0\0\0\0\1\0\0\0", 9),
        "B\xFF\xFF\xFF\x7F",
        std::string("\x96\0\0\0\0\1\0\0\0", 9),
        "\x8b\xFF\xFF\xFF\x7F",
        "r\xFF\xFF\xFF\xFF",
        std::string("\x95\0\0\0\0\1\0\0\0", 9),
        "T\xFF\xFF\xFF\x7F",
        "p4294967295\n",
        call(global("builtins", "bytearray"), {num(std::int64_t{1} << 40)}),
        call(global("torch", "Tensor"), {num(std::int64_t{1} << 40)}),
        call(global("builtins", "bytes"), {num(std::int64_t{1} << 40)}),
        tensor(storage("FloatStorage", "0", 4), 0, {std::int64_t{1} << 40}, {0}),
        tensor_v3(storage("UntypedStorage", "0", 16), 0, {std::int64_t{1} << 40, 0}, {0, 0}, "float32")};
    for (const std::string& claim : claims) {
        const std::string file = torch_file("N" + claim, {{"0", std::string(16, 'x')}});
        CHECK(peak_of_open(file) <= 64 * file.size() + mebibyte);
    }
    // A record that says it inflates to a terabyte.
    auto members = torch_records(pickle(dict({{str("w"), floats("0", std::int64_t{1} << 30)}})), {{"0", "x"}});
    members[2].method = 8;
    members[2].inflated = std::uint64_t{4} << 30;
    const std::string bomb = write_zip(members, {.torch = false}).bytes;
    const std::uint64_t peak = peak_of([&] {
        const auto opened = ckpt::open_bytes(bytes_of(bomb), {.storages = ckpt::storage_mode::owned});
        if (opened) (void)opened->state_dict().has_value();
    });
    CHECK(peak <= 2 * mebibyte);
}

TEST_CASE("R1: state_dicts and rows of a bomb stay below 256 MiB") {
    using namespace pkl;
    std::string bomb = floats("0", 4);
    for (int i = 0; i < 60; ++i) {
        const char memo = static_cast<char>(10 + i);
        bomb += std::string("q") + memo + "0}(" + str("a key of some length that is not short") + "h" + memo +
                str("b") + "h" + memo + "u";
    }
    const std::string file = torch_file(bomb, {{"0", std::string(16, 'x')}});
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    CHECK(peak_of([&] { CHECK_FALSE(opened.state_dict("").has_value()); }) < 256 * mebibyte);
    CHECK(peak_of([&] { CHECK_FALSE(ckpt::find_tensors(opened.root()).has_value()); }) < 256 * mebibyte);
    CHECK(peak_of([&] { (void)opened.state_dicts(); }) < mebibyte);
    CHECK(peak_of([&] { CHECK(opened.verify().ok()); }) < mebibyte);
}

TEST_CASE("keys are sorted for the first lookup; without memory for that all of them are looked at") {
    std::vector<std::pair<std::string, std::string>> entries;
    const std::string tensor = pkl::floats("0", 1);
    for (int i = 0; i < 1'000; ++i) entries.emplace_back(pkl::str("k" + std::to_string(i)), tensor);
    const std::string file = torch_file(pkl::dict(entries), {{"0", std::string(4, 'x')}});
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    const ckpt::state_dict weights = opened.state_dict().value();
    const std::uint64_t unsorted = in_use.load();
    is_exhausted = CKPT_EXCEPTIONS != 0;
    const bool found = weights.contains("k77"), other = weights.contains("k1000");
    is_exhausted = false;
    CHECK(found);
    CHECK_FALSE(other);
    if (CKPT_EXCEPTIONS) CHECK(in_use.load() == unsorted);
    CHECK(weights.contains("k999"));
    CHECK_FALSE(weights.contains("k99 "));
    CHECK(in_use.load() >= unsorted + 4'000);
}

TEST_CASE("what is refused gives everything back") {
    std::vector<std::string> files{torch_file("NQ"), torch_file("}]Ns"), torch_file(pkl::global("os", "system")),
                                   "PK\x03\x04", torch_file(pkl::floats("0", 4))};
    for (const std::string& file : files) {
        const std::uint64_t before = in_use.load();
        for (int i = 0; i < 3; ++i) (void)ckpt::open_bytes(bytes_of(file)).has_value();
        CHECK(in_use.load() == before);
    }
}

} // namespace memory_test
