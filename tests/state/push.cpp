// tests/state/push.cpp: values copied straight into memory that somebody else owns.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/state/push.hpp>

#include "../support/temporary_file.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace push_test {

using ckpt::destination;
using ckpt::dtype;
using ckpt::errc;
using namespace test_support;

namespace {

using keys = std::vector<std::string>;
constexpr std::int64_t square[]{2, 2};
constexpr std::int64_t pair[]{2};

std::string pushed_file() {
    using namespace pkl;
    return torch_file(
        dict({{str("model"), dict({{str("t"), tensor(storage("FloatStorage", "0", 4), 0, {2, 2}, {1, 2})},
                                   {str("big"), floats("1", 2)},
                                   {str("flags"), tensor(storage("BoolStorage", "2", 2), 0, {2}, {1})}})}}),
        {{"0", raw<float>({1, 2, 3, 4})}, {"1", raw<float>({5, 600})}, {"2", std::string("\0\7", 2)}});
}
ckpt::state_dict pushed() {
    static const std::string file = pushed_file();
    return ckpt::open_bytes(bytes_of(file)).value().state_dict("model").value();
}

template <class T> std::span<std::byte> place(std::vector<T>& memory) {
    return std::as_writable_bytes(std::span{memory});
}

} // namespace

TEST_CASE("load_into writes row-major values into the places, misaligned ones too") {
    const auto weights = pushed();
    std::vector<float> t(4), big(2);
    std::vector<std::byte> flags(3);
    const destination places[]{{"t", dtype::float32, square, place(t)},
                               {"big", dtype::float32, pair, place(big)},
                               {"flags", dtype::bool_, pair, std::span{flags}.subspan(1)}};
    const auto report = ckpt::load_into(weights, places, {.digests = true}).value();
    CHECK(report.complete());
    CHECK(report.used == keys{"t", "big", "flags"});
    CHECK(t == std::vector<float>{1, 3, 2, 4});
    CHECK(big == std::vector<float>{5, 600});
    CHECK(flags == std::vector{std::byte{0}, std::byte{0}, std::byte{1}});
    CHECK(report.loaded[2].key == "flags");
    CHECK(report.loaded[2].crc32 == weights.at("flags").value().crc32().value());
}

TEST_CASE("all places are checked before the first byte is written") {
    const auto weights = pushed();
    std::vector<float> t(4, 9), big(3, 9);
    std::vector<std::uint8_t> flags(2, 9);
    const auto detail = [&](const std::vector<destination>& places, const ckpt::load_options& options = {}) {
        const auto failure = ckpt::load_into(weights, places, options).error();
        CHECK(failure.code == errc::load_incomplete);
        CHECK(t == std::vector<float>(4, 9));
        return failure.detail;
    };
    const destination good{"t", dtype::float32, square, place(t)};
    const destination flag{"flags", dtype::uint8, pair, place(flags)};
    CHECK(detail({good, flag, {"big", dtype::float32, pair, place(big)}}) ==
          R"(1 mismatched: "big" (the place has 12 bytes, the elements need 2 times 4))");
    CHECK(
        detail({good, flag, {"big", dtype::float16, pair, place(big).first(4)}}) ==
        R"(1 mismatched: "big" (the tensor is float32, asked for was float16: it is converted where load_options::convert is set))");
    CHECK(detail({good, flag, {"big", dtype::int32, pair, place(big).first(8)}}, {.convert = true}) ==
          R"(1 mismatched: "big" (the tensor is float32, asked for was int32))");
    CHECK(detail({good, flag, {"big", dtype::float32, square, place(big).first(8)}}) ==
          R"(1 mismatched: "big" (the tensor's shape is [2], asked for was [2, 2]))");
    CHECK(detail({good, flag}) == R"(1 unexpected: "big")");
    CHECK(detail({good, flag, {"bigger", dtype::float32, pair, place(big).first(8)}}) ==
          R"(1 missing: "bigger" (nearest: "big"); 1 unexpected: "big")");
    CHECK(ckpt::load_into(weights, std::vector{good, flag, destination{"bigger", dtype::float32, pair, {}}},
                          {.allow_missing = {"big*"}, .allow_unexpected = {"big"}})
              .has_value());
    CHECK(t == std::vector<float>{1, 3, 2, 4});
    CHECK(flags == std::vector<std::uint8_t>{0, 1});
}

TEST_CASE("a size of a place may be any") {
    const auto weights = pushed();
    std::vector<float> t(4);
    const std::int64_t free[]{ckpt::any, 2};
    const destination places[]{{"t", dtype::float32, free, place(t)}};
    CHECK(ckpt::load_into(weights, places, {.allow_unexpected = {"**"}}).has_value());
}

TEST_CASE("push offers every tensor, writes where it was given a sink, and converts where that is asked for") {
    const auto weights = pushed();
    std::vector<ckpt::f16> t(4), big(2);
    keys offered;
    const auto visitor = [&](const ckpt::offered_tensor& o) -> std::optional<ckpt::sink> {
        offered.emplace_back(o.key);
        CHECK(o.refusal == nullptr);
        if (o.key == "flags") {
            CHECK(o.dtype == dtype::bool_);
            CHECK(o.nbytes == 2);
            return std::nullopt;
        }
        CHECK(o.shape.size() == (o.key == "t" ? 2 : 1));
        return ckpt::sink{dtype::float16, place(o.key == "t" ? t : big)};
    };
    CHECK(ckpt::push(weights, visitor, {.convert = true}).error().detail == R"(1 unexpected: "flags")");
    CHECK(t[0].bits == 0);
    CHECK(ckpt::push(weights, visitor, {.allow_unexpected = {"flags"}}).error().code ==
          errc::load_incomplete); // it does not convert
    offered.clear();
    const auto report = ckpt::push(weights, visitor, {.allow_unexpected = {"flags"}, .convert = true}).value();
    CHECK(offered == keys{"t", "big", "flags"});
    CHECK(report.unexpected_keys == keys{"flags"});
    CHECK(report.loaded.at(0).cast);
    CHECK(report.loaded[0].chain == "cast float16");
    CHECK(t[1].bits == 0x4200); // 3
    CHECK(big[0].bits == 0x4500);
}

TEST_CASE("a tensor that was refused is offered as such, and no sink helps") {
    using namespace pkl;
    const std::string file =
        torch_file(dict({{str("model"), dict({{str("w"), tensor(storage("FloatStorage", "0", 4), 1, {4}, {1})}})}}),
                   {{"0", raw<float>({1, 2, 3, 4})}});
    const auto weights = ckpt::open_bytes(bytes_of(file)).value().state_dict("model").value();
    const auto skip = [](const ckpt::offered_tensor& o) -> std::optional<ckpt::sink> {
        CHECK(o.refusal->code == errc::out_of_bounds);
        return std::nullopt;
    };
    CHECK(ckpt::push(weights, skip, {.allow_unexpected = {"w"}}).value().unexpected_keys == keys{"w"});
    const auto take = [](const ckpt::offered_tensor&) -> std::optional<ckpt::sink> { return ckpt::sink{}; };
    CHECK(ckpt::push(weights, take).error().detail.find("out_of_bounds (403)") != std::string::npos);
}

TEST_CASE("a file that cannot be read fails with its own error, which names the key") {
    const temporary_file file(pushed_file());
    const auto weights = ckpt::open(file.path(), {.io = ckpt::io_mode::read}).value().state_dict("model").value();
    std::filesystem::resize_file(file.path(), weights.at("big").value().file_offset().value() + 4);
    std::vector<float> t(4), big(2);
    const destination places[]{{"t", dtype::float32, square, place(t)}, {"big", dtype::float32, pair, place(big)}};
    const auto failure = ckpt::load_into(weights, places, {.allow_unexpected = {"**"}}).error();
    CHECK(failure.code == errc::truncated);
    CHECK(failure.path == "model/big");
}

TEST_CASE("an absent shape is any, an empty one that of a scalar; both reach the report") {
    const auto weights = pushed();
    std::vector<float> t(4), big(2);
    const destination any_shape[]{{.key = "t", .dtype = dtype::float32, .bytes = place(t)}};
    CHECK(ckpt::load_into(weights, any_shape, {.allow_unexpected = {"**"}}).has_value());
    CHECK(t == std::vector<float>{1, 3, 2, 4});
    const destination scalar[]{
        {.key = "t", .dtype = dtype::float32, .shape = std::span<const std::int64_t>{}, .bytes = place(t)}};
    CHECK(ckpt::load_into(weights, scalar, {.allow_unexpected = {"**"}}).error().detail ==
          R"(1 mismatched: "t" (the tensor's shape is [2, 2], asked for was []))");
    const auto wanting = [&](std::vector<std::int64_t> sizes) {
        return ckpt::push(weights,
                          [&](const ckpt::offered_tensor& o) -> std::optional<ckpt::sink> {
                              if (o.key != "big") return std::nullopt;
                              return ckpt::sink{.dtype = dtype::float32, .bytes = place(big), .shape = sizes};
                          },
                          {.allow_unexpected = {"**"}});
    };
    CHECK(wanting({2}).has_value());
    CHECK(wanting({ckpt::any}).has_value());
    CHECK(wanting({3}).error().detail == R"(1 mismatched: "big" (the tensor's shape is [2], asked for was [3]))");
    CHECK(wanting({1, 2}).error().detail == R"(1 mismatched: "big" (the tensor's shape is [2], asked for was [1, 2]))");
}

namespace {

std::string rows_file() {
    using namespace pkl;
    return torch_file(
        dict({{str("m"), dict({{str("turned"), tensor(storage("FloatStorage", "0", 6), 0, {3, 2}, {1, 3})},
                               {str("scalar"), tensor(storage("FloatStorage", "0", 6), 5, {}, {})},
                               {str("empty"), tensor(storage("FloatStorage", "0", 6), 0, {2, 0}, {1, 1})},
                               {str("line"), tensor(storage("FloatStorage", "0", 6), 1, {4}, {1})},
                               {str("wide"), tensor(storage("FloatStorage", "1", 1), 0, {2, 1 << 24}, {0, 0})}})}}),
        {{"0", raw<float>({1, 2, 3, 4, 5, 6})}, {"1", raw<float>({7})}});
}

} // namespace

TEST_CASE("rows are handed out one block after the other, converted, in memory that is used again") {
    const std::string file = rows_file();
    const auto weights = ckpt::open_bytes(bytes_of(file)).value().state_dict("m").value();
    const auto rows_of = [](std::uint64_t rows) {
        return [rows](const ckpt::offered_tensor& o) -> std::optional<ckpt::sink> {
            if (o.key == "wide") return std::nullopt;
            return ckpt::sink{.dtype = dtype::float64, .rows = o.key == "line" ? ckpt::all_rows : rows};
        };
    };
    std::string seen;
    const std::byte* block = nullptr;
    const auto take = [&](const ckpt::pushed_rows& r) {
        std::vector<double> values(r.bytes.size() / 8);
        std::memcpy(values.data(), r.bytes.data(), r.bytes.size());
        seen += std::string(r.key) + ' ' + std::to_string(r.first) + '+' + std::to_string(r.count) + ':';
        for (const double v : values) seen += ' ' + std::to_string(static_cast<int>(v));
        seen += '\n';
        CHECK(r.dtype == dtype::float64);
        CHECK(reinterpret_cast<std::uintptr_t>(r.bytes.data()) % 64 == 0);
        if (block == nullptr || r.key == "line") block = r.bytes.data(); // four values at once: it may have grown
        CHECK(r.bytes.data() == block);
    };
    const ckpt::load_options options{.allow_unexpected = {"wide"}, .convert = true};
    const auto report = ckpt::push(weights, rows_of(2), take, options).value();
    CHECK(seen == "turned 0+2: 1 4 2 5\nturned 2+1: 3 6\nscalar 0+1: 6\nline 0+4: 2 3 4 5\n");
    CHECK(report.loaded.size() == 4);
    CHECK(report.loaded[0].cast);
    seen.clear();
    block = nullptr;
    CHECK(ckpt::push(weights, rows_of(3), take, options).has_value()); // as many as there are
    CHECK(seen.starts_with("turned 0+3: 1 4 2 5 3 6\nscalar"));
    CHECK(ckpt::push(weights, rows_of(2), take, {.allow_unexpected = {"wide"}}).error().code ==
          errc::load_incomplete); // it does not convert
    CHECK(ckpt::push(weights, rows_of(2), options).error().detail.find("no function that takes them") !=
          std::string::npos);
}

TEST_CASE(
    "the function for rows may end it; rows and places go together; what is far larger than its file is refused") {
    const std::string file = rows_file();
    const auto weights = ckpt::open_bytes(bytes_of(file)).value().state_dict("m").value();
    std::vector<float> turned(6);
    int calls = 0;
    const auto visitor = [&](const ckpt::offered_tensor& o) -> std::optional<ckpt::sink> {
        if (o.key == "turned") return ckpt::sink{.dtype = dtype::float32, .bytes = place(turned)};
        if (o.key == "line") return ckpt::sink{.dtype = dtype::float32, .rows = 1};
        return std::nullopt;
    };
    const auto fail = [&](const ckpt::pushed_rows& r) -> ckpt::result<void> {
        ++calls;
        if (r.first == 1) return ckpt::error{.code = errc::device_memory, .detail = "full"};
        return {};
    };
    const auto failure = ckpt::push(weights, visitor, fail, {.allow_unexpected = {"**"}}).error();
    CHECK(failure.code == errc::device_memory);
    CHECK(failure.path == "m/line");
    CHECK(calls == 2);
    CHECK(turned == std::vector<float>{1, 4, 2, 5, 3, 6});
    const auto wide = [](const ckpt::offered_tensor& o) -> std::optional<ckpt::sink> {
        if (o.key != "wide") return std::nullopt;
        return ckpt::sink{.dtype = dtype::float32, .rows = 1};
    };
    calls = 0;
    CHECK(ckpt::push(weights, wide, fail, {.allow_unexpected = {"**"}}).error().code == errc::load_incomplete);
    CHECK(calls == 0); // 128 MiB of 4 bytes
}

} // namespace push_test
