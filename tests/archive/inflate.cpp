// tests/archive/inflate.cpp: compressed records: read through the caller's function, bounded, checked, or named.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/state/diff.hpp>
#include <ckpt/tensor/access.hpp>

#include "../support/inflate.hpp"
#include "../support/sanitized.hpp"
#include "../support/temporary_file.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace inflate_test {

using ckpt::errc;
using namespace test_support;
using namespace std::string_literals;

namespace {

/// {"a": float[4], "b": its elements 1 and 3, "c": float[2] of another storage}.
std::vector<zip_member> records() {
    using namespace pkl;
    return torch_records(pickle(dict({{str("a"), floats("0", 4)},
                                      {str("b"), tensor(storage("FloatStorage", "0", 4), 1, {2}, {2})},
                                      {str("c"), floats("1", 2)}})),
                         {{"0", raw<float>({1, 2, 3, 4})}, {"1", raw<float>({5, 6})}});
}
std::vector<zip_member> all_deflated(std::vector<zip_member> members) {
    for (zip_member& m : members) m = deflated(m);
    return members;
}
std::vector<float> values(const ckpt::tensor& t) {
    std::vector<float> out(static_cast<std::size_t>(t.numel()));
    const auto done = t.copy_to(std::span(out));
    INFO((done ? std::string() : done.error().message()));
    CHECK(done.has_value());
    return out;
}

} // namespace

TEST_CASE("the inflater of these tests is one") {
    const auto inflate = [](const std::string& data, std::size_t size) {
        const ckpt::inflater with = test_inflater();
        std::string out(size, 'x');
        std::span<const std::byte> in = bytes_of(data);
        std::span<std::byte> room = std::as_writable_bytes(std::span(out));
        void* const state = with.begin(with.context);
        const auto how = with.next(state, in, room);
        with.end(state);
        return how == ckpt::inflater::outcome::finished && room.empty() ? out : "failed"s;
    };
    CHECK(inflate(deflate_stored("hello"), 5) == "hello");
    CHECK(inflate(deflate_stored(std::string(200'000, 'z')), 200'000) == std::string(200'000, 'z'));
    CHECK(inflate(deflate_zeros(100'000), 100'000) == std::string(100'000, '\0'));
    CHECK(inflate(deflate_stored("hello"), 4) == "failed");
    CHECK(inflate("\x4b\x04\0"s, 1) == "a");
    CHECK(inflate("\x0b\xc9\xc8\x2c\x56\x00\xa2\x44\x85\xe2\xcc\xdc\x82\x9c\x54\x85"
                  "\x92\xd4\x8a\x12\x85\xcc\xf4\x8c\x92\xd4\xa2\x5c\x85\xcc\x3c\x00"s,
                  35)
              .size() > 0);
}

TEST_CASE("indices of a sparse tensor are checked in compressed records too") {
    using namespace pkl;
    const auto sparse = [](std::int64_t last) {
        const std::string data = tuple({tensor(storage("LongStorage", "0", 2), 0, {1, 2}, {2, 1}), floats("1", 2),
                                        call(global("torch", "Size"), {ints({4})})});
        const std::string layout = call(global("torch.serialization", "_get_layout"), {str("torch.sparse_coo")});
        return write_zip(all_deflated(torch_records(
                             pickle(dict(
                                 {{str("s"), call(global("torch._utils", "_rebuild_sparse_tensor"), {layout, data})}})),
                             {{"0", raw<std::int64_t>({1, last})}, {"1", raw<float>({5, 6})}})))
            .bytes;
    };
    const std::string good = sparse(3);
    const std::string bad = sparse(4);
    CHECK(ckpt::open_bytes(bytes_of(good), {.inflate = test_inflater()}).value().verify().ok());
    const auto report = ckpt::open_bytes(bytes_of(bad), {.inflate = test_inflater()}).value().verify();
    REQUIRE(report.findings.size() == 1);
    CHECK(report.findings.front().code == errc::indices_invalid);
}

TEST_CASE("every record may be deflated, the pickle too, in every mode of reading") {
    const std::string plain = write_zip(records()).bytes;
    const auto reference = ckpt::open_bytes(bytes_of(plain)).value().state_dict().value();
    for (const zip_style& style : {zip_style{}, zip_style{.torch = false, .end64 = false}}) {
        const std::string file = write_zip(all_deflated(records()), style).bytes;
        const temporary_file on_disk(file);
        for (const ckpt::io_mode io : {ckpt::io_mode::map, ckpt::io_mode::read}) {
            const auto opened = ckpt::open(on_disk.path(), {.io = io, .inflate = test_inflater()}).value();
            const auto weights = opened.state_dict().value();
            CHECK(values(weights.at("a").value()) == std::vector<float>{1, 2, 3, 4});
            CHECK(values(weights.at("b").value()) == std::vector<float>{2, 4});
            for (const char* key : {"a", "b", "c"})
                CHECK(weights.at(key).value().crc32().value() == reference.at(key).value().crc32().value());
            // Views cannot be had; what can is said.
            const auto view = weights.view<float, 1>("a");
            CHECK(view.error().code == errc::compressed);
            CHECK(view.error().hint.find("copy_to") != std::string_view::npos);
            CHECK(weights.at("a").value().bytes().error().code == errc::compressed);
            CHECK(weights.at("a").value().file_offset().error().code == errc::no_data);
            CHECK(opened.verify().ok());
            CHECK(opened.verify().unchecked_crc == 0);
        }
        const auto owned =
            ckpt::open_bytes(bytes_of(file), {.storages = ckpt::storage_mode::owned, .inflate = test_inflater()})
                .value()
                .state_dict()
                .value();
        CHECK(owned.view<float, 1>("a").value()(3) == 4);
        CHECK(owned.view<float, 1>("b").value()(1) == 4);
        CHECK(ckpt::open_bytes(bytes_of(file)).error().code == errc::compressed);
        CHECK(ckpt::open_bytes(bytes_of(file)).error().hint.find("open_options.inflate") != std::string_view::npos);
        CHECK(ckpt::scan_globals_bytes(bytes_of(file), {.inflate = test_inflater()}).value().size() == 3);
    }
}

TEST_CASE("a copy, a digest and an owned storage inflate once each") {
    int calls = 0;
    auto members = records();
    for (zip_member& m : members)
        if (m.name.find("/data/") != std::string::npos) m = deflated(m);
    const std::string file = write_zip(members).bytes;
    const auto opened = ckpt::open_bytes(bytes_of(file), {.inflate = test_inflater(&calls)}).value();
    CHECK(calls == 0);
    const auto weights = opened.state_dict().value();
    CHECK(calls == 0);
    (void)values(weights.at("b").value());
    CHECK(calls == 1);
    CHECK(weights.at("b").value().crc32().has_value());
    CHECK(calls == 2);
    const auto owned = weights.owned(); // two storages, three tensors
    CHECK(calls == 4);
    CHECK(owned.view<float, 1>("c").value()(0) == 5);
    CHECK(calls == 4);
}

TEST_CASE("Z8: what does not inflate to exactly what the directory says is damage") {
    const auto judge = [](void (*spoil)(zip_member&), std::size_t which) {
        auto members = all_deflated(records());
        spoil(members[which]);
        const std::string file = write_zip(members).bytes;
        const auto opened = ckpt::open_bytes(bytes_of(file), {.inflate = test_inflater()});
        if (!opened) return opened.error().code;
        const auto weights = opened->state_dict().value();
        const auto crc = weights.at("a").value().crc32();
        std::vector<float> out(4);
        const auto copied = weights.at("a").value().copy_to(std::span(out));
        CHECK(copied.has_value() == crc.has_value());
        const auto owned = weights.owned();
        CHECK(owned.view<float, 1>("a").has_value() == crc.has_value());
        CHECK(owned.view<float, 1>("c").has_value()); // the others are not concerned
        CHECK(opened->verify().ok() ==
              (crc.has_value() || crc.error().code == errc::compressed)); // what no one can inflate is unchecked
        return crc ? errc::none : crc.error().code;
    };
    struct row {
        const char* what;
        void (*spoil)(zip_member&);
        errc pickle;
        errc storage;
    };
    const row rows[]{
        {"another content", [](zip_member& m) { m.data[7] = static_cast<char>(m.data[7] ^ 1); },
         errc::checksum_mismatch, errc::checksum_mismatch},
        {"cut", [](zip_member& m) { m.data.resize(m.data.size() - 1); }, errc::checksum_mismatch,
         errc::checksum_mismatch},
        {"no deflate data", [](zip_member& m) { m.data.assign(m.data.size(), '\xFF'); }, errc::checksum_mismatch,
         errc::checksum_mismatch},
        {"another method", [](zip_member& m) { m.method = 14; }, errc::compressed, errc::compressed},
        {"an impossible size", [](zip_member& m) { m.inflated = 1033 * m.data.size() + 65; }, errc::limit,
         errc::storage_size_mismatch},
    };
    for (const row& r : rows) {
        CAPTURE(r.what);
        CHECK(judge(r.spoil, 0) == r.pickle);
        if (r.storage != errc::storage_size_mismatch) CHECK(judge(r.spoil, 2) == r.storage);
    }
    // A CRC of zero means that its writer computed none.
    auto members = all_deflated(records());
    members[2].inflated_crc = 0;
    const std::string file = write_zip(members).bytes;
    const auto opened = ckpt::open_bytes(bytes_of(file), {.inflate = test_inflater()}).value();
    const auto weights = opened.state_dict().value();
    CHECK(values(weights.at("a").value()) == std::vector<float>{1, 2, 3, 4});
    CHECK(opened.verify().unchecked_crc == 1);
}

TEST_CASE("Z8, R1: a size that no deflate data can have is refused before memory is taken, and a pickle's growth is "
          "bounded") {
    using namespace pkl;
    constexpr std::int64_t huge = std::int64_t{1} << 40;
    auto members = torch_records(pickle(dict({{str("a"), tensor(storage("ByteStorage", "0", huge), 0, {huge}, {1})},
                                              {str("b"), tensor(storage("ByteStorage", "0", huge), 0, {1}, {1})}})),
                                 {{"0", deflate_zeros(100)}});
    members[2].method = 8;
    members[2].inflated = static_cast<std::uint64_t>(huge);
    const std::string file = write_zip(members, {.torch = false}).bytes;
    const auto opened = ckpt::open_bytes(bytes_of(file), {.inflate = test_inflater()}).value();
    const auto weights = opened.state_dict().value();
    CHECK(weights.at("a").value().crc32().error().code == errc::limit);
    CHECK(weights.at("b").value().crc32().error().code == errc::limit);
    std::vector<std::uint8_t> one(1);
    CHECK(weights.at("b").value().copy_to(std::span(one)).error().code == errc::limit);
    const auto owned = weights.owned();
    CHECK(owned.view<std::uint8_t, 1>("b").error().code == errc::limit);
    // Two mebibytes of zeros in two kilobytes: deflate can, a pickle does not need to.
    auto bomb = records();
    const std::string grown = "\x80\x02" + std::string(2'000'000, 'N');
    bomb[0] = {.name = bomb[0].name, .data = deflate_zeros(grown.size()), .method = 8, .inflated = grown.size()};
    const std::string small = write_zip(bomb).bytes;
    CHECK(ckpt::open_bytes(bytes_of(small), {.inflate = test_inflater()}).error().code == errc::limit);
    ckpt::open_options wide;
    wide.limits.inflated_per_byte = 1032;
    wide.inflate = test_inflater();
    CHECK(ckpt::open_bytes(bytes_of(small), wide).error().code != errc::limit);
}

TEST_CASE("Z8: deflate makes at most 1,032 bytes of one, and 64 more") {
    const auto code_of = [](std::uint64_t size) {
        auto members = all_deflated(records());
        members[0].inflated = size;
        ckpt::open_options options{.inflate = test_inflater()};
        options.limits.inflated_per_byte = 10'000;
        const std::string file = write_zip(members).bytes;
        return ckpt::open_bytes(bytes_of(file), options).error().code;
    };
    const std::uint64_t most = 1032 * std::uint64_t{all_deflated(records())[0].data.size()} + 64;
    CHECK(code_of(most) == errc::checksum_mismatch); // it was tried
    CHECK(code_of(most + 1) == errc::limit);
}

TEST_CASE("R1: a pickle inflates to inflated_per_byte for each byte and a mebibyte, and to pickle_bytes") {
    const auto code_of = [](std::uint64_t claimed, const ckpt::limits& limits) {
        auto members = records();
        members[0] = {.name = members[0].name, .data = std::string(2000, '\xFF'), .method = 8, .inflated = claimed};
        const std::string file = write_zip(members).bytes;
        return ckpt::open_bytes(bytes_of(file), {.limits = limits, .inflate = test_inflater()}).error().code;
    };
    constexpr auto tried = errc::checksum_mismatch; // these bytes are no deflate data
    constexpr std::uint64_t most = 2 * 2000 + (1 << 20);
    CHECK(code_of(most, {.inflated_per_byte = 2}) == tried);
    CHECK(code_of(most + 1, {.inflated_per_byte = 2}) == errc::limit);
    CHECK(code_of(1000, {.pickle_bytes = 1000}) == tried);
    CHECK(code_of(1001, {.pickle_bytes = 1000}) == errc::limit);
}

namespace {

/// A file with one deflated storage, `data`, and this tensor over it.
std::string file_over(const std::string& tensor, const std::string& data) {
    auto members = torch_records(pkl::pickle(pkl::dict({{pkl::str("t"), tensor}})), {{"0", data}});
    members[2] = deflated(members[2]);
    return write_zip(members).bytes;
}

std::string counted_floats(std::size_t n) {
    std::vector<float> numbers(n);
    for (std::size_t i = 0; i < n; ++i) numbers[i] = static_cast<float>(i);
    return {reinterpret_cast<const char*>(numbers.data()), 4 * n};
}

} // namespace

TEST_CASE("what is renamed of a compressed file is copied as it was, and what is gathered of it is gathered") {
    const std::string file = write_zip(all_deflated(records())).bytes;
    const auto weights = ckpt::open_bytes(bytes_of(file), {.inflate = test_inflater()}).value().state_dict().value();
    const auto map = ckpt::key_map::parse("rename a -> x").value();
    const auto renamed = ckpt::remap(weights, map).value();
    CHECK(values(renamed.at("x").value()) == std::vector<float>{1, 2, 3, 4});
    const auto gather = ckpt::key_map::parse("merge 0 a, b -> x").value();
    const auto owned = weights.owned();
    for (const auto* const from : {&weights, &owned}) {
        const auto joined = ckpt::remap(*from, gather).value();
        CHECK(values(joined.at("x").value()) == std::vector<float>{1, 2, 3, 4, 2, 4});
    }
    const auto gathered = ckpt::remap(weights, gather).value();
    const auto want = ckpt::remap(owned, gather).value();
    CHECK(gathered.at("x").value().crc32().value() == want.at("x").value().crc32().value());
    const auto copied = gathered.owned();
    CHECK(values(copied.at("x").value()) == std::vector<float>{1, 2, 3, 4, 2, 4});
}

TEST_CASE("a gather of large compressed storages inflates each once, also for a digest in pieces" *
          doctest::test_suite("slow")) {
    using namespace pkl;
    constexpr std::int64_t side = 300; // 360,000 bytes each
    const std::string first = counted_floats(side * side),
                      second = counted_floats(2 * side * side).substr(first.size());
    const auto t = [](const char* key) {
        return tensor(storage("FloatStorage", key, side * side), 0, {side, side}, {side, 1});
    };
    auto members = torch_records(pickle(dict({{str("a"), t("0")}, {str("b"), t("1")}})), {{"0", first}, {"1", second}});
    members[2] = deflated(members[2]);
    members[3] = deflated(members[3]);
    const std::string packed = write_zip(members).bytes;
    const std::string plain = torch_file(dict({{str("a"), t("0")}, {str("b"), t("1")}}), {{"0", first}, {"1", second}});
    int streams = 0;
    const auto got =
        ckpt::open_bytes(bytes_of(packed), {.inflate = test_inflater(&streams)}).value().state_dict().value();
    const auto want = ckpt::open_bytes(bytes_of(plain)).value().state_dict().value();
    for (const char* rules : {"merge 0 a, b -> x", "merge 1 a, b -> x", "merge 0 a, b -> x\ncast float64 x",
                              "transpose 0 1 a\nmerge 0 a, b -> x\ncast float64 x"}) {
        CAPTURE(rules);
        const auto map = ckpt::key_map::parse(rules).value();
        const auto joined = ckpt::remap(got, map).value(), expected = ckpt::remap(want, map).value();
        streams = 0;
        CHECK(joined.at("x").value().crc32().value() == expected.at("x").value().crc32().value());
        CHECK(streams <= 3); // the transposed one does not lie in the order of its storage
        CHECK((streams == 2 || std::string(rules).find("transpose") != std::string::npos));
    }
    // A checksum that is wrong is an error of what was gathered.
    members[3].inflated_crc ^= 1u;
    const std::string damaged = write_zip(members).bytes;
    const auto weights = ckpt::open_bytes(bytes_of(damaged), {.inflate = test_inflater()}).value().state_dict().value();
    const auto joined = ckpt::remap(weights, ckpt::key_map::parse("merge 0 a, b -> x").value()).value();
    CHECK(joined.at("x").value().crc32().error().code == errc::checksum_mismatch);
}

namespace {

/// A file of `count` slices of `length` elements each, spread over one deflated storage of `bytes` bytes, the last ones
/// first and in steps that jump; and the same file with the storage as it is.
struct sliced {
    std::string packed{}, plain{};
    sliced(std::size_t bytes, std::int64_t count, std::int64_t length) {
        using namespace pkl;
        std::string data(bytes, '\0');
        for (std::size_t i = 0; i < bytes; ++i) data[i] = static_cast<char>(i * i >> 7);
        const auto n = static_cast<std::int64_t>(bytes);
        std::vector<std::pair<std::string, std::string>> items;
        for (std::int64_t i = 0; i < count; ++i) {
            const std::int64_t at = (n - length) * ((i * 7 + 5) % count) / count;
            items.emplace_back(str("t" + std::to_string(i)), tensor(storage("ByteStorage", "0", n), at, {length}, {1}));
        }
        auto members = torch_records(pickle(dict(items)), {{"0", data}});
        plain = write_zip(members).bytes;
        members[2] = deflated(members[2]);
        packed = write_zip(members).bytes;
    }
};

} // namespace

TEST_CASE("digests of a few values of a large compressed storage begin near them, in any order") {
    constexpr std::size_t bytes = 5 << 19; // two and a half mebibytes
    constexpr std::int64_t count = 30, length = 10;
    const sliced file(bytes, count, length);
    inflate_counts done;
    const auto got =
        ckpt::open_bytes(bytes_of(file.packed), {.inflate = copying_inflater(done)}).value().state_dict().value();
    const auto want = ckpt::open_bytes(bytes_of(file.plain)).value().state_dict().value();
    ckpt::digester sums;
    for (const auto [key, tensor] : want) {
        const std::string shown_key(key); // a structured binding cannot be captured
        CAPTURE(shown_key);
        CHECK(sums.crc32(got.at(key).value()).value() == tensor.crc32().value());
    }
    // Once to the end, then from the place before: they are a mebibyte apart.
    constexpr std::uint64_t apart = (1 << 20) + (1 << 17);
    CHECK(done.copies > 2);
    CHECK(done.bytes <= bytes + count * apart);
    CHECK(done.bytes < count * bytes / 3);
    // A single digest reads the storage once, as a copy does.
    done = {};
    CHECK(got.at("t0").value().crc32().value() == want.at("t0").value().crc32().value());
    CHECK(done.bytes <= bytes + apart);
    // A digest of them all goes in the order of the storage, and so do differences where the keys do.
    for (const bool copies : {true, false}) {
        done = {};
        auto inflate = copying_inflater(done);
        if (!copies) inflate.copy = nullptr;
        const auto all = ckpt::open_bytes(bytes_of(file.packed), {.inflate = inflate}).value().state_dict().value();
        CHECK(ckpt::checkpoint_digest(all).value() == ckpt::checkpoint_digest(want).value());
        CHECK(done.bytes <= 2 * bytes + apart);
    }
}

TEST_CASE("a checksum that is wrong is an error of each digest of the storage, not of the first one only") {
    using namespace pkl;
    auto members = all_deflated(records());
    members[2].inflated_crc ^= 1u;
    const std::string file = write_zip(members).bytes;
    for (const bool copies : {true, false}) {
        inflate_counts done;
        auto inflate = copying_inflater(done);
        if (!copies) inflate.copy = nullptr;
        const auto weights = ckpt::open_bytes(bytes_of(file), {.inflate = inflate}).value().state_dict().value();
        ckpt::digester sums;
        for (const char* key : {"a", "b", "a"})
            CHECK(sums.crc32(weights.at(key).value()).error().code == errc::checksum_mismatch);
        CHECK(sums.crc32(weights.at("c").value()).has_value());
    }
}

TEST_CASE("what differs of slices of two compressed storages inflates each about once") {
    constexpr std::size_t bytes = 3 << 19;
    const sliced file(bytes, 20, 10);
    inflate_counts done;
    const auto open = [&] {
        return ckpt::open_bytes(bytes_of(file.packed), {.inflate = copying_inflater(done)})
            .value()
            .state_dict()
            .value();
    };
    CHECK(ckpt::diff(open(), open()).same());
    CHECK(done.bytes <= 2 * (bytes + 20 * ((1 << 20) + (1 << 17))));
    CHECK(done.streams < 2 * 20);
}

TEST_CASE("R1: many storages that are read in turns go on where they were, or count as inflated again") {
    using namespace pkl;
    // Each storage has 1,000 bytes, and each round reads 10 of each.
    const auto rounds_of = [](std::size_t count, int rounds, inflate_counts& done) {
        std::vector<std::pair<std::string, std::string>> items, data;
        for (std::size_t i = 0; i < count; ++i) {
            const std::string key = std::to_string(i);
            items.emplace_back(str(key), tensor(storage("ByteStorage", key.c_str(), 1000), 0, {1000}, {1}));
            data.emplace_back(key, std::string(1000, static_cast<char>(i)));
        }
        auto members = torch_records(pickle(dict(items)), data);
        for (std::size_t i = 2; i < 2 + count; ++i) members[i] = deflated(members[i]);
        const std::string file = write_zip(members).bytes;
        const auto weights =
            ckpt::open_bytes(bytes_of(file), {.inflate = copying_inflater(done)}).value().state_dict().value();
        ckpt::detail::storage_readers readers;
        for (int round = 0; round < rounds; ++round)
            for (std::size_t i = 0; i < count; ++i) {
                const ckpt::tensor t = weights.at(std::to_string(i)).value();
                auto reader = readers.open(*ckpt::detail::tensor_access::source(t), t.storage_id());
                REQUIRE(reader.has_value());
                std::array<std::byte, 10> ten{};
                const auto at = static_cast<std::uint64_t>(round) * 10;
                if (auto read = (*reader)->read(at, ten); !read) return read.error().code;
                CHECK(ten[9] == static_cast<std::byte>(i));
            }
        return readers.finish() ? errc::none : errc::checksum_mismatch;
    };
    inflate_counts done;
    CHECK(rounds_of(8, 100, done) == errc::none);
    CHECK(done.streams == 8);
    CHECK(rounds_of(128, 100, done = {}) == errc::none); // the state of each is kept
    CHECK(done.streams == 128);
    CHECK(done.bytes == 128'000);
    CHECK(rounds_of(129, 64, done = {}) == errc::none); // none is there when its turn comes
    CHECK(rounds_of(129, 67, done = {}) == errc::output_limit);
}

TEST_CASE("indices that are a small part of a large compressed storage are verified") {
    using namespace pkl;
    constexpr std::int64_t bytes = 70 << 20;
    const std::string layout = call(global("torch.serialization", "_get_layout"), {str("torch.sparse_coo")});
    const std::string parts = tuple({tensor(storage("LongStorage", "0", bytes / 8), 0, {1, 2}, {2, 1}), floats("1", 2),
                                     call(global("torch", "Size"), {ints({4})})});
    auto members = torch_records(
        pickle(dict({{str("s"), call(global("torch._utils", "_rebuild_sparse_tensor"), {layout, parts})}})),
        {{"0", std::string(bytes / 1000, '\1')}, {"1", raw<float>({5, 6})}});
    members[2].method = 8;
    members[2].inflated = static_cast<std::uint64_t>(bytes);
    const std::string file = write_zip(members, {.torch = false}).bytes;
    auto left = static_cast<std::uint64_t>(bytes);
    const auto opened = ckpt::open_bytes(bytes_of(file), {.inflate = zeros_inflater(left)}).value();
    const auto report = opened.verify({.checksums = false});
    CHECK(report.findings.size() == 0);
}

TEST_CASE("a compressed storage larger than any buffer reads as a stored one, in any order of its elements" *
          doctest::test_suite("slow")) {
    using namespace pkl;
    constexpr std::int64_t side = 400; // 640,000 bytes
    const std::string data = counted_floats(side * side);
    struct row {
        std::int64_t offset;
        std::vector<std::int64_t> shape, strides;
    };
    const row rows[]{
        {0, {side, side}, {side, 1}},      {0, {side, side}, {1, side}}, {1, {3, side, 100}, {1, side, 4}},
        {5, {150'000, 4}, {1, 1}}, // windows
        {side * side - 8, {2, 4}, {4, 1}}, {100, {16, 40'000}, {0, 1}},  {0, {50, 8, side}, {8 * side, 1, 8}},
    };
    for (const row& r : rows) {
        if (sanitized && r.shape.size() == 3) continue; // seconds each
        CAPTURE(r.offset);
        CAPTURE(r.strides[0]);
        const std::string t = tensor(storage("FloatStorage", "0", side * side), r.offset, r.shape, r.strides);
        const std::string packed = file_over(t, data), plain = torch_file(dict({{str("t"), t}}), {{"0", data}});
        const auto file = ckpt::open_bytes(bytes_of(packed), {.inflate = test_inflater()}).value();
        const ckpt::tensor got = file.root().at("t").value().as_tensor().value();
        const auto stored = ckpt::open_bytes(bytes_of(plain), {.io = ckpt::io_mode::read}).value();
        const ckpt::tensor want = stored.root().at("t").value().as_tensor().value();
        const auto crc = got.crc32();
        CHECK(crc.value() == want.crc32().value());
        CHECK(values(got) == values(want));
        std::vector<double> wide(static_cast<std::size_t>(got.numel())), expected(wide.size());
        CHECK(got.copy_as(std::span(wide)).has_value());
        CHECK(want.copy_as(std::span(expected)).has_value());
        CHECK(wide == expected);
    }
}

TEST_CASE("a checksum is checked where only the first bytes of a compressed storage are copied") {
    using namespace pkl;
    std::string data = counted_floats(100'000);
    auto members = torch_records(pickle(dict({{str("t"), tensor(storage("FloatStorage", "0", 100'000), 0, {2}, {1})}})),
                                 {{"0", data}});
    members[2] = deflated(members[2]);
    members[2].inflated_crc ^= 1u;
    const std::string file = write_zip(members).bytes;
    const auto opened = ckpt::open_bytes(bytes_of(file), {.inflate = test_inflater()}).value();
    std::vector<float> two(2);
    const auto copied = opened.root().at("t").value().as_tensor().value().copy_to(std::span(two));
    REQUIRE(!copied.has_value());
    CHECK(copied.error().code == errc::checksum_mismatch);
    CHECK(copied.error().record == "archive/data/0");
}

TEST_CASE("R1: going back in a compressed storage inflates it 64 times more at most" * doctest::test_suite("slow")) {
    using namespace pkl;
    // One line of indices for each batch, all lines through the whole storage.
    const auto judge = [](std::int64_t batches) {
        constexpr std::int64_t rows = 600;
        const std::int64_t n = batches * (rows + 1);
        const std::string layout = call(global("torch.serialization", "_get_layout"), {str("torch.sparse_csr")});
        const std::string parts = tuple({tensor(storage("LongStorage", "0", n), 0, {batches, rows + 1}, {1, batches}),
                                         tensor(storage("LongStorage", "1", 0), 0, {batches, 0}, {1, 1}),
                                         tensor(storage("FloatStorage", "1", 0), 0, {batches, 0}, {1, 1}),
                                         call(global("torch", "Size"), {ints({batches, rows, 4})})});
        const std::string root = call(global("torch._utils", "_rebuild_sparse_csr_tensor"), {layout, parts});
        auto members = torch_records(pickle(dict({{str("t"), root}})), {{"0", {}}, {"1", {}}});
        const auto bytes = static_cast<std::size_t>(8 * n);
        members[2] = {.name = members[2].name,
                      .data = deflate_zeros(bytes),
                      .method = 8,
                      .inflated = bytes,
                      .inflated_crc = slow_crc32(std::string(bytes, '\0'))};
        int streams = 0;
        const std::string file = write_zip(members, {.torch = false}).bytes;
        const auto opened = ckpt::open_bytes(bytes_of(file), {.inflate = test_inflater(&streams)}).value();
        const ckpt::tensor t = opened.root().at("t").value().as_tensor().value();
        REQUIRE(t.refusal() == nullptr);
        const auto checked = ckpt::check_values(t);
        CHECK(streams == (batches < 66 ? batches : 65));
        return checked ? errc::none : checked.error().code;
    };
    CHECK(judge(65) == errc::none);
    CHECK(judge(66) == errc::output_limit);
}

TEST_CASE("rows of indices in one compressed storage are read side by side, each in one stream") {
    using namespace pkl;
    constexpr std::int64_t n = 40'000;
    std::vector<std::int64_t> indices(2 * n);
    for (std::int64_t i = 0; i < n; ++i)
        indices[static_cast<std::size_t>(i)] = i, indices[static_cast<std::size_t>(n + i)] = 1;
    const std::string layout = call(global("torch.serialization", "_get_layout"), {str("torch.sparse_coo")});
    const std::string parts = tuple({tensor(storage("LongStorage", "0", 2 * n), 0, {2, n}, {n, 1}), floats("1", n),
                                     call(global("torch", "Size"), {ints({n, 2})})});
    auto members = torch_records(
        pickle(dict({{str("t"), call(global("torch._utils", "_rebuild_sparse_tensor"), {layout, parts})}})),
        {{"0", {reinterpret_cast<const char*>(indices.data()), 16 * n}}, {"1", std::string(4 * n, '\0')}});
    members[2] = deflated(members[2]);
    int streams = 0;
    const std::string file = write_zip(members).bytes;
    const auto opened = ckpt::open_bytes(bytes_of(file), {.inflate = test_inflater(&streams)}).value();
    CHECK(ckpt::check_values(opened.root().at("t").value().as_tensor().value()).has_value());
    CHECK(streams == 2);
}

TEST_CASE("an inflater that gives nothing is an error, never a wait") {
    const std::string file = write_zip(all_deflated(records())).bytes;
    ckpt::inflater none{
        [](void*) -> void* { return nullptr; },
        [](void*, std::span<const std::byte>&, std::span<std::byte>&) { return ckpt::inflater::outcome::going; },
        [](void*) {}, nullptr};
    CHECK(ckpt::open_bytes(bytes_of(file), {.inflate = none}).error().code == errc::limit);
    static int state = 0;
    none.begin = [](void*) -> void* { return &state; };
    CHECK(ckpt::open_bytes(bytes_of(file), {.inflate = none}).error().code == errc::checksum_mismatch);
}

} // namespace inflate_test
