// tests/torch/storages.cpp: where the bytes of tensors come from: mapped, read, copied; big-endian, unaligned, damaged.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>

#include "../support/temporary_file.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace storages_test {

using ckpt::errc;
using ckpt::io_mode;
using ckpt::open_options;
using ckpt::storage_mode;
using namespace test_support;

namespace {

/// What one way of opening makes of each tensor: its error, or its digest.
struct answer {
    std::string key{};
    errc failure{errc::none};
    std::uint32_t crc{0};
    friend bool operator==(const answer&, const answer&) = default;
};

std::vector<answer> answers(const ckpt::result<ckpt::checkpoint>& opened) {
    std::vector<answer> out;
    if (!opened) return {{"open", opened.error().code, 0}};
    const auto weights = opened->state_dict();
    if (!weights) return {{"state_dict", weights.error().code, 0}};
    for (const auto& [key, tensor] : *weights) {
        const auto crc = tensor.crc32();
        out.push_back({std::string(key), crc ? errc::none : crc.error().code, crc ? *crc : 0});
    }
    return out;
}

/// The same by every way to open: from memory and from a file, mapped and read, in place and copied, alone and inside
/// a larger file.
std::vector<answer> judge(const std::string& file, open_options options = {}) {
    const auto first = answers(ckpt::open_bytes(bytes_of(file), options));
    const std::string padded = "PK\x03\x04 before" + std::string(4099, 'x') + file + "PK\x05\x06 behind";
    const temporary_file alone(file), within(padded);
    for (const io_mode io : {io_mode::map, io_mode::read})
        for (const storage_mode storages : {storage_mode::mapped, storage_mode::owned}) {
            options.io = io;
            options.storages = storages;
            options.offset = 0;
            options.length = ~std::uint64_t{0};
            const bool fine =
                std::all_of(first.begin(), first.end(), [](const answer& a) { return a.failure == errc::none; });
            const auto check = [&](const std::vector<answer>& now) {
                if (fine || storages == storage_mode::mapped) CHECK(now == first);
                else
                    CHECK(std::any_of(now.begin(), now.end(), [](const answer& a) { return a.failure != errc::none; }));
            };
            check(answers(ckpt::open_bytes(bytes_of(file), options)));
            check(answers(ckpt::open(alone.path(), options)));
            options.offset = padded.find(file);
            options.length = file.size();
            check(answers(ckpt::open_bytes(bytes_of(padded), options)));
            check(answers(ckpt::open(within.path(), options)));
        }
    return first;
}

struct type_row {
    const char* dtype;
    const char* storage; ///< of the class that torch writes it with; null: by an untyped storage and v3
    std::size_t component;
    std::size_t item;
};
constexpr type_row types[]{
    {"uint8", "ByteStorage", 1, 1},
    {"int8", "CharStorage", 1, 1},
    {"int16", "ShortStorage", 2, 2},
    {"int32", "IntStorage", 4, 4},
    {"int64", "LongStorage", 8, 8},
    {"float16", "HalfStorage", 2, 2},
    {"float32", "FloatStorage", 4, 4},
    {"float64", "DoubleStorage", 8, 8},
    {"complex64", "ComplexFloatStorage", 4, 8},
    {"complex128", "ComplexDoubleStorage", 8, 16},
    {"bool", "BoolStorage", 1, 1},
    {"bfloat16", "BFloat16Storage", 2, 2},
    {"uint16", nullptr, 2, 2},
    {"uint32", nullptr, 4, 4},
    {"uint64", nullptr, 8, 8},
    {"complex32", nullptr, 2, 4},
    {"bcomplex32", nullptr, 2, 4},
    {"float8_e4m3fn", nullptr, 1, 1},
    {"float8_e5m2", nullptr, 1, 1},
    {"float8_e4m3fnuz", nullptr, 1, 1},
    {"float8_e5m2fnuz", nullptr, 1, 1},
    {"float8_e8m0fnu", nullptr, 1, 1},
    {"float4_e2m1fn_x2", nullptr, 1, 1},
    {"bits8", nullptr, 1, 1},
    {"bits16", nullptr, 2, 2},
};

std::string swapped(std::string bytes, std::size_t unit) {
    for (std::size_t at = 0; at + unit <= bytes.size(); at += unit)
        std::reverse(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                     bytes.begin() + static_cast<std::ptrdiff_t>(at + unit));
    return bytes;
}

/// One tensor of three elements at offset 1 for every dtype, in storages of six elements.
std::string every_dtype(bool big, const std::string& byte_order) {
    std::vector<std::pair<std::string, std::string>> entries, storages;
    for (const type_row& t : types) {
        std::string bytes;
        // 0 and 1 only: defined for every dtype.
        for (std::size_t i = 0; i < 6 * t.item; ++i)
            bytes += std::string_view(t.dtype) == "bool" ? static_cast<char>(i % 2) : static_cast<char>(i * 37 + 5);
        const auto total = static_cast<std::int64_t>(bytes.size());
        const std::string key = std::to_string(storages.size());
        entries.emplace_back(pkl::str(t.dtype),
                             t.storage != nullptr
                                 ? pkl::tensor(pkl::storage(t.storage, key, 6), 1, {3}, {1})
                                 : pkl::tensor_v3(pkl::storage("UntypedStorage", key, total), 1, {3}, {1}, t.dtype));
        storages.emplace_back(key, big ? swapped(bytes, t.component) : bytes);
    }
    return torch_file(pkl::dict(entries), storages, {.byte_order = byte_order});
}

} // namespace

TEST_CASE("mapped, read and copied storages give the same values, alone and inside a larger file") {
    const auto out = judge(every_dtype(false, "little"));
    REQUIRE(out.size() == std::size(types));
    for (const answer& a : out) CHECK_MESSAGE(a.failure == errc::none, a.key);
}

TEST_CASE("a big-endian archive gives the values of its little-endian twin, for every dtype") {
    const auto little = judge(every_dtype(false, "little"));
    REQUIRE(little.size() == std::size(types));
    CHECK(judge(every_dtype(true, "big")) == little);
    CHECK(judge(every_dtype(false, "")) == little); // before torch 2.1: no record means little
    // Written by a big-endian machine before torch 2.1: only the caller can know.
    CHECK(judge(every_dtype(true, ""), {.byte_order = ckpt::byte_order::big}) == little);
    CHECK(judge(every_dtype(true, "little"), {.byte_order = ckpt::byte_order::big}) == little);
    CHECK(judge(every_dtype(false, "big"), {.byte_order = ckpt::byte_order::little}) == little);
    CHECK(judge(every_dtype(true, "")) != little);

    const std::string file = every_dtype(true, "big");
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    CHECK(opened.byte_order() == ckpt::byte_order::big);
    CHECK(opened.byte_order_recorded());
    const std::string unmarked = every_dtype(true, "");
    CHECK_FALSE(ckpt::open_bytes(bytes_of(unmarked)).value().byte_order_recorded());
}

TEST_CASE("views of big-endian numbers fail where they are mapped and succeed where they are copied") {
    const std::string file = every_dtype(true, "big");
    const auto mapped = ckpt::open_bytes(bytes_of(file)).value();
    const auto weights = mapped.state_dict().value();
    CHECK(weights.view<float, 1>("float32").error().code == errc::byte_order);
    CHECK(weights.view<std::uint16_t, 1>("uint16").error().code == errc::byte_order);
    CHECK(weights.view<ckpt::c64, 1>("complex64").error().code == errc::byte_order);
    CHECK(weights.view<std::int8_t, 1>("int8").has_value());
    std::vector<float> copied(3);
    REQUIRE(weights.at("float32").value().copy_to(std::span(copied)).has_value());

    const auto owner = ckpt::open_bytes(bytes_of(file), {.storages = storage_mode::owned}).value();
    const auto owned = owner.state_dict().value();
    const auto view = owned.view<float, 1>("float32").value();
    for (int i = 0; i < 3; ++i)
        CHECK(std::bit_cast<std::uint32_t>(view(i)) ==
              std::bit_cast<std::uint32_t>(copied[static_cast<std::size_t>(i)]));
    CHECK(owned.view<std::uint16_t, 1>("uint16").has_value());
    CHECK(owned.view<ckpt::c64, 1>("complex64").has_value());
    CHECK(owned.view<ckpt::c128, 1>("complex128").has_value());
    CHECK(owned.view<ckpt::bf16, 1>("bfloat16").has_value());
    // Values below root() are always as mapped.
    CHECK_FALSE(owner.root().at("float32").value().as_tensor().value().view<float, 1>().has_value());
}

TEST_CASE("a big-endian storage that tensors of two sizes share is left as it is: copies work, views say why not") {
    using namespace pkl;
    const std::string bytes = raw<std::uint32_t>({0x01020304u, 0x05060708u});
    const std::string of = storage("UntypedStorage", "0", 8);
    const std::string file = torch_file(dict({{str("wide"), tensor_v3(of, 0, {2}, {1}, "uint32")},
                                              {str("narrow"), tensor_v3(of, 0, {4}, {1}, "uint16")}}),
                                        {{"0", swapped(bytes, 4)}}, {.byte_order = "big"});
    for (const storage_mode mode : {storage_mode::mapped, storage_mode::owned}) {
        const auto opened = ckpt::open_bytes(bytes_of(file), {.storages = mode}).value();
        const auto weights = opened.state_dict().value();
        CHECK(weights.view<std::uint32_t, 1>("wide").error().code == errc::byte_order);
        std::vector<std::uint32_t> wide(2);
        std::vector<std::uint16_t> narrow(4);
        REQUIRE(weights.at("wide").value().copy_to(std::span(wide)).has_value());
        REQUIRE(weights.at("narrow").value().copy_to(std::span(narrow)).has_value());
        CHECK(wide == std::vector<std::uint32_t>{0x01020304u, 0x05060708u});
        CHECK(narrow == std::vector<std::uint16_t>{0x0102u, 0x0304u, 0x0506u, 0x0708u});
    }
}

TEST_CASE("at an unaligned offset a view fails with misaligned, copies work, and owned storages are aligned") {
    using namespace pkl;
    const std::string values = raw<float>({1, 2, 3, 4});
    std::size_t odd = 0;
    for (std::uint64_t shift = 0; shift < 4; ++shift) {
        auto members = torch_records(pickle(dict({{str("w"), floats("0", 4)}})), {{"0", values}});
        members[0].gap = std::string(shift, 'x');
        const zip_file zip = write_zip(members, {.torch = false, .end64 = false});
        // In memory of our own at an alignment that is known.
        std::vector<std::byte> room(zip.bytes.size() + 128);
        std::byte* base = room.data() + (64 - reinterpret_cast<std::uintptr_t>(room.data()) % 64);
        std::memcpy(base, zip.bytes.data(), zip.bytes.size());
        const std::span<const std::byte> bytes{base, zip.bytes.size()};
        const bool aligned = zip.payload[2] % 4 == 0;
        odd += !aligned;
        const auto opened = ckpt::open_bytes(bytes).value();
        const auto weights = opened.state_dict().value();
        const auto view = weights.view<float, 1>("w");
        CHECK(view.has_value() == aligned);
        if (!view) CHECK(view.error().code == errc::misaligned);
        std::vector<float> copied(4);
        REQUIRE(weights.at("w").value().copy_to(std::span(copied)).has_value());
        CHECK(copied == std::vector<float>{1, 2, 3, 4});
        CHECK(weights.at("w").value().bytes().value().size() == 16);
        const auto owner = ckpt::open_bytes(bytes, {.storages = storage_mode::owned}).value();
        const auto owned = owner.state_dict().value();
        const auto copy = owned.view<float, 1>("w").value();
        CHECK(copy(2) == 3);
        CHECK(reinterpret_cast<std::uintptr_t>(copy.data) % 64 == 0);
        CHECK(owned.at("w").value().file_offset().error().code == errc::no_data);
        CHECK(weights.at("w").value().file_offset().value() == zip.payload[2]);
    }
    CHECK(odd == 3);
}

TEST_CASE("with io_mode::read a view fails with not_mapped, copies and owned storages work") {
    const std::string file =
        torch_file(pkl::dict({{pkl::str("w"), pkl::floats("0", 4)}}), {{"0", raw<float>({1, 2, 3, 4})}});
    const temporary_file on_disk(file);
    const auto opened = ckpt::open(on_disk.path(), {.io = io_mode::read}).value();
    const auto weights = opened.state_dict().value();
    const auto refused = weights.view<float, 1>("w");
    CHECK(refused.error().code == errc::not_mapped);
    CHECK(refused.error().path == "w");
    CHECK(weights.at("w").value().bytes().error().code == errc::not_mapped);
    std::vector<float> copied(4);
    CHECK(weights.at("w").value().copy_to(std::span(copied)).has_value());
    CHECK(copied[3] == 4);
    const auto owner = ckpt::open(on_disk.path(), {.io = io_mode::read, .storages = storage_mode::owned}).value();
    const auto owned = owner.state_dict().value();
    CHECK(owned.view<float, 1>("w").value()(3) == 4);
}

TEST_CASE("owned storages keep sharing, keys, requires_grad, errors and meta tensors") {
    using namespace pkl;
    const std::string file = torch_file(
        dict({{str("a"), floats("0", 4)},
              {str("bad"), floats("9", 4)},
              {str("b"), tensor(storage("FloatStorage", "0", 4), 2, {2}, {1})},
              {str("meta"), call(global("torch._utils", "_rebuild_meta_tensor_no_storage"),
                                 {global("torch", "float32"), ints({2}), ints({1}), no})},
              {str("p"), call(global("torch._utils", "_rebuild_parameter"), {floats("1", 1), yes, ordered()})},
              {str("text"), str("hello")}}),
        {{"0", raw<float>({1, 2, 3, 4})}, {"1", raw<float>({9})}});
    const auto opened = ckpt::open_bytes(bytes_of(file), {.storages = storage_mode::owned}).value();
    const auto weights = opened.state_dict("").value();
    REQUIRE(weights.size() == 5);
    CHECK(weights.refused() == 1);
    CHECK(weights.at("bad").error().code == errc::record_missing);
    CHECK(weights.at("a").value().storage_id() == weights.at("b").value().storage_id());
    CHECK(weights.at("a").value().storage_id() != weights.at("p").value().storage_id());
    CHECK(weights.at("b").value().storage_key() == "0");
    CHECK(weights.view<float, 1>("b").value()(1) == 4);
    CHECK(weights.at("p").value().requires_grad());
    CHECK(weights.at("meta").value().bytes().error().code == errc::no_data);
    CHECK(weights.others().size() == 1);
}

TEST_CASE("storages are copied by several threads, and one that cannot be read concerns its tensors only") {
    std::vector<float> large(1'500'000); // three pieces
    for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<float>(i);
    using namespace pkl;
    std::string file = torch_file(dict({{str("a"), floats("0", static_cast<std::int64_t>(large.size()))},
                                        {str("b"), floats("1", 4)},
                                        {str("c"), floats("2", 0)}}),
                                  {{"0", raw(large)}, {"1", raw<float>({1, 2, 3, 4})}, {"2", ""}});
    // One after another, in another order than that of their numbers.
    const ckpt::workers three{3,
                              [](void*, unsigned n, void (*work)(void*, unsigned), void* argument) {
                                  while (n-- > 0) work(argument, n);
                              },
                              nullptr};
    for (const ckpt::workers& lent : {ckpt::workers{}, three}) {
        const auto owned = ckpt::open_bytes(bytes_of(file)).value().state_dict().value().owned(lent);
        const auto a = owned.view<float, 1>("a").value();
        std::size_t wrong = 0;
        for (std::size_t i = 0; i < large.size(); ++i) wrong += a(i) != large[i];
        CHECK(wrong == 0);
        CHECK(owned.view<float, 1>("b").value()(3) == 4);
        CHECK(owned.view<float, 1>("c").value().numel() == 0);
        const auto bytes = owned.at("b").value().bytes().value();
        CHECK(reinterpret_cast<std::uintptr_t>(bytes.data()) % 64 == 0);
    }
    file[file.rfind("PK\x03\x04", file.find(raw(large).substr(0, 64)))] = 'X'; // the local header of "0"
    const auto owned = ckpt::open_bytes(bytes_of(file)).value().state_dict().value().owned(three);
    CHECK_FALSE(owned.view<float, 1>("a").has_value());
    CHECK(owned.view<float, 1>("b").value()(3) == 4);
}

TEST_CASE("a state_dict that was handed out does not change when a copy of it is made its own") {
    const std::string file =
        torch_file(pkl::dict({{pkl::str("w"), pkl::floats("0", 4)}}), {{"0", raw<float>({1, 2, 3, 4})}});
    const auto opened = ckpt::open_bytes(bytes_of(file)).value();
    const auto weights = opened.state_dict().value();
    const auto before = weights.at("w").value();
    const auto again = weights;
    const auto owned = again.owned();
    CHECK(weights.at("w").value().file_offset().has_value());
    CHECK(before.file_offset().value() == weights.at("w").value().file_offset().value());
    CHECK_FALSE(owned.at("w").value().file_offset().has_value());
    const auto third = owned;
    const auto twice = third.owned();
    CHECK(twice.view<float, 1>("w").value()(1) == 2);
    CHECK(owned.view<float, 1>("w").value()(1) == 2);
}

TEST_CASE("Z8: a deflated storage is an error of its tensors only; a deflated pickle refuses the file") {
    using namespace pkl;
    // A stored block is valid deflate: its length, its complement, the bytes.
    const auto deflated = [](zip_member m) {
        m.inflated = m.data.size();
        m.inflated_crc = slow_crc32(m.data);
        m.data = std::string(1, '\1') + le16(m.data.size()) + le16(~m.data.size() & 0xFFFF) + m.data;
        m.method = 8;
        return m;
    };
    const auto members = torch_records(pickle(dict({{str("a"), floats("0", 4)}, {str("b"), floats("1", 4)}})),
                                       {{"0", raw<float>({1, 2, 3, 4})}, {"1", raw<float>({5, 6, 7, 8})}});
    for (const bool torch : {true, false}) {
        const zip_style style{.torch = torch};
        auto storage = members;
        storage[2] = deflated(storage[2]);
        const std::string file = write_zip(storage, style).bytes;
        const auto out = judge(file);
        REQUIRE(out.size() == 2);
        CHECK(out[0].failure == errc::compressed);
        CHECK(out[1].failure == errc::none);
        for (const storage_mode mode : {storage_mode::mapped, storage_mode::owned}) {
            const auto opened = ckpt::open_bytes(bytes_of(file), {.storages = mode}).value();
            const auto weights = opened.state_dict().value();
            CHECK(weights.at("a").value().shape()[0] == 4);
            CHECK(weights.view<float, 1>("a").error().code == errc::compressed);
            CHECK(weights.view<float, 1>("a").error().record == "archive/data/0");
            CHECK(weights.view<float, 1>("b").value()(3) == 8);
        }
        auto whole = members;
        whole[0] = deflated(whole[0]);
        CHECK(judge(write_zip(whole, style).bytes) == std::vector<answer>{{"open", errc::compressed, 0}});
    }
}

TEST_CASE("Z2: a lying local header is found when its storage is used, and by verify") {
    using namespace pkl;
    const auto members = torch_records(pickle(dict({{str("a"), floats("0", 4)}, {str("b"), floats("1", 4)}})),
                                       {{"0", raw<float>({1, 2, 3, 4})}, {"1", raw<float>({5, 6, 7, 8})}});
    struct lie {
        const char* what;
        void (*tell)(zip_file&, std::uint64_t);
        errc code;
    };
    const lie lies[]{
        {"the name", [](zip_file& z, std::uint64_t at) { z.put(at + 30 + 13, "9"); }, errc::zip_header_mismatch},
        {"the flags", [](zip_file& z, std::uint64_t at) { z.put16(at + 6, 0x0800); }, errc::zip_header_mismatch},
        {"encryption", [](zip_file& z, std::uint64_t at) { z.put16(at + 6, 0x0809); }, errc::zip_header_mismatch},
        {"the method", [](zip_file& z, std::uint64_t at) { z.put16(at + 8, 8); }, errc::zip_header_mismatch},
        {"the signature", [](zip_file& z, std::uint64_t at) { z.put(at, "PKxx"); }, errc::zip_header_mismatch},
        {"the size", [](zip_file& z, std::uint64_t at) { z.put32(at + 22, 17); }, errc::zip_header_mismatch},
        {"the length of the name", [](zip_file& z, std::uint64_t at) { z.put16(at + 26, 13); },
         errc::zip_header_mismatch},
        {"the length of the extra fields", [](zip_file& z, std::uint64_t at) { z.put16(at + 28, 60'000); },
         errc::zip_overlap},
    };
    for (const lie& l : lies) {
        CAPTURE(l.what);
        zip_file zip = write_zip(members);
        CHECK(ckpt::open_bytes(bytes_of(zip.bytes)).value().verify().ok());
        l.tell(zip, zip.local[2]);
        const auto out = judge(zip.bytes);
        REQUIRE(out.size() == 2);
        CHECK(out[0].failure == l.code);
        CHECK(out[1].failure == errc::none);
        const auto opened = ckpt::open_bytes(bytes_of(zip.bytes)).value();
        for (const bool checksums : {true, false}) {
            const auto report = opened.verify({.checksums = checksums});
            REQUIRE_FALSE(report.ok());
            CHECK(report.findings[0].code == l.code);
            CHECK(report.findings[0].record == "archive/data/0");
            CHECK(report.records == members.size());
        }
        const auto weights = opened.state_dict().value();
        CHECK(weights.at("a").value().file_offset().error().code == l.code);
        CHECK(weights.view<float, 1>("a").error().code == l.code);
    }
}

TEST_CASE("Z10: damage in a storage is found by verify, damage in the pickle refuses the file") {
    const auto members = torch_records(pkl::pickle(pkl::dict({{pkl::str("a"), pkl::floats("0", 4)}})),
                                       {{"0", raw<float>({1, 2, 3, 4})}});
    zip_file zip = write_zip(members);
    zip.put(zip.payload[2], "x");
    const auto opened = ckpt::open_bytes(bytes_of(zip.bytes)).value();
    CHECK(opened.verify({.checksums = false}).ok());
    const auto report = opened.verify();
    REQUIRE(report.findings.size() == 1);
    CHECK(report.findings[0].code == errc::checksum_mismatch);
    zip_file bad = write_zip(members);
    bad.put(bad.payload[0] + 4, "q");
    CHECK(ckpt::open_bytes(bytes_of(bad.bytes)).error().code == errc::checksum_mismatch);
    // A checksum of zero means that none was computed.
    const zip_file unchecked = write_zip(members, {.crc = false});
    const auto plain = ckpt::open_bytes(bytes_of(unchecked.bytes)).value();
    CHECK(plain.verify().ok());
    CHECK(plain.verify().unchecked_crc == members.size());
}

TEST_CASE("verify tells refused tensors, but not those that are merely not supported") {
    using namespace pkl;
    const std::string file = torch_file(
        dict({{str("a"), floats("0", 5)},
              {str("q"), call(global("torch._tensor", "_rebuild_from_type_v2"),
                              {global("collections", "OrderedDict"), global("torch", "Tensor"), tuple({}), none})},
              {str("b"), floats("0", 4)}}),
        {{"0", raw<float>({1, 2, 3, 4})}});
    const auto report = ckpt::open_bytes(bytes_of(file)).value().verify();
    CHECK_FALSE(report.ok());
    for (const ckpt::error& e : report.findings) CHECK(e.code == errc::storage_size_mismatch);
}

TEST_CASE("a part of a file outside it is refused, and offsets in errors count from the whole file") {
    const std::string file =
        torch_file(pkl::dict({{pkl::str("a"), pkl::floats("0", 4)}}), {{"0", raw<float>({1, 2, 3, 4})}});
    const std::string padded = std::string(1000, 'x') + file;
    CHECK(ckpt::open_bytes(bytes_of(padded), {.offset = padded.size() + 1}).error().code == errc::range_outside_file);
    CHECK(ckpt::open_bytes(bytes_of(padded), {.offset = 1000, .length = file.size() + 1}).error().code ==
          errc::range_outside_file);
    CHECK(ckpt::open_bytes(bytes_of(padded), {.offset = ~std::uint64_t{0}, .length = 2}).error().code ==
          errc::range_outside_file);
    const auto shorter = ckpt::open_bytes(bytes_of(padded), {.offset = 1000, .length = file.size() - 1});
    CHECK(shorter.error().code == errc::zip_truncated);
    CHECK(shorter.error().offset >= 1000);
    const auto rest = ckpt::open_bytes(bytes_of(padded), {.offset = 1000}).value();
    CHECK(rest.file_bytes() == file.size());
    const auto alone = ckpt::open_bytes(bytes_of(file)).value();
    CHECK(rest.root().at("a").value().as_tensor().value().file_offset().value() ==
          1000 + alone.root().at("a").value().as_tensor().value().file_offset().value());
    CHECK(ckpt::open_bytes({}).error().code == errc::not_a_checkpoint);
}

TEST_CASE("numpy arrays lie in the pickle and come out in both byte orders, mapped and owned") {
    using namespace pkl;
    const auto dtype = [](std::string_view order) {
        return call(global("numpy", "dtype"), {str("f4"), no, yes}) +
               tuple({num(3), str(order), none, none, none, num(-1), num(-1), num(0)}) + "b";
    };
    const auto array = [&](std::string_view order, const std::string& bytes) {
        return call(global("numpy.core.multiarray", "_reconstruct"), {global("numpy", "ndarray"), ints({0}),
                                                                      "C\x01"
                                                                      "b"}) +
               tuple({num(1), ints({2}), dtype(order), no,
                      "C" + std::string(1, static_cast<char>(bytes.size())) + bytes}) +
               "b";
    };
    const std::string plain = raw<float>({1, 2});
    const std::string file = torch_file(dict({{str("little"), array("<", plain)},
                                              {str("big"), array(">", swapped(plain, 4))},
                                              {str("t"), floats("0", 2)}}),
                                        {{"0", plain}});
    const auto out = judge(file);
    REQUIRE(out.size() == 3);
    CHECK(out[0].failure == errc::none);
    CHECK(out[0].crc == out[1].crc);
    CHECK(out[0].crc == out[2].crc);
}

} // namespace storages_test
