// tests/write/gguf.cpp: the bytes of GGUF files, what the format cannot hold, blocks of quantised values, metadata.
//
// SPDX-License-Identifier: MIT
//
// What the reference package writes is compared with it in tests/torch/gguf_files.py.
#include <ckpt/ckpt.hpp>
#include <ckpt/config.hpp>
#include <ckpt/write.hpp>
#include <ckpt/write/gguf_blocks.hpp>

#include "../support/named_floats.hpp"
#include "../support/temporary_file.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gguf_test {

using ckpt::errc;
using ckpt::gguf_entry;
using ckpt::gguf_quant;
using namespace test_support;

namespace {

template <class T> std::string number(T x) { return raw(std::vector<T>{x}); }
std::string u32(std::uint32_t x) { return number(x); }
std::string u64(std::uint64_t x) { return number(x); }
std::string text(const std::string& s) { return u64(s.size()) + s; }
std::string padded(std::string bytes) { return bytes.append((32 - bytes.size() % 32) % 32, '\0'); }
std::string head(std::uint64_t tensors, std::uint64_t entries) { return "GGUF" + u32(3) + u64(tensors) + u64(entries); }
std::string described(const std::string& name, const std::vector<std::uint64_t>& dimensions, std::uint32_t type,
                      std::uint64_t at) {
    return text(name) + u32(static_cast<std::uint32_t>(dimensions.size())) + raw(dimensions) + u32(type) + u64(at);
}
std::string hex(std::string_view bytes) {
    std::string out;
    for (const char c : bytes)
        for (const unsigned shift : {4u, 0u}) out += "0123456789abcdef"[static_cast<unsigned char>(c) >> shift & 15u];
    return out;
}

/// The file that comes out, or the name of the error.
std::string written(const ckpt::state_dict& weights, const ckpt::gguf_options& options = {}) {
    const temporary_folder folder;
    const auto report = ckpt::write_gguf(weights, folder.path() / "x.gguf", options);
    if (!report) return "error " + std::string(ckpt::info(report.error().code).name);
    const std::string bytes = read_file(folder.path() / "x.gguf");
    CHECK(report->bytes() == bytes.size());
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
    return bytes;
}
ckpt::state_dict remapped(const ckpt::state_dict& weights, const std::string& rules) {
    return ckpt::remap(weights, ckpt::key_map::parse(rules).value()).value();
}

/// The metadata that a JSON text means, in hexadecimal digits: the type, then the value; or the error's path and text.
std::string metadata_of(const std::string& json) {
    const temporary_folder folder{{{"m.json", json}}};
    const ckpt::json_file file = ckpt::open_json(folder.path() / "m.json");
    const auto read = ckpt::read_gguf_metadata(file.root());
    if (!read) return "error at " + read.error().path + ": " + read.error().detail;
    std::string out;
    for (const gguf_entry& e : *read)
        out += (out.empty() ? "" : " ") + std::to_string(static_cast<unsigned>(e.type)) + ':' + hex(e.bytes);
    return out;
}
std::string value_of(const std::string& json) { return metadata_of("{\"k\": " + json + '}'); }

} // namespace

TEST_CASE("a head, metadata, a line for each tensor, and their bytes at multiples of 32") {
    using namespace pkl;
    const torch_weights in(dict({{str("z"), tensor(storage("FloatStorage", "0", 6), 0, {2, 3}, {1, 2})},
                                 {str("a"), tensor(storage("LongStorage", "1", 1), 0, {}, {})},
                                 {str("tied"), tensor(storage("LongStorage", "1", 1), 0, {}, {})}}),
                           {{"0", raw(std::vector<float>{1, 2, 3, 4, 5, 6})}, {"1", number(std::int64_t{7})}});
    const std::string want =
        padded(head(3, 2) + text("general.architecture") + u32(8) + text("llama") + text("n") + u32(4) + u32(32) +
               described("z", {3, 2}, 0, 0) + described("a", {1}, 27, 32) + described("tied", {1}, 27, 64)) +
        padded(raw(std::vector<float>{1, 3, 5, 2, 4, 6})) + padded(number(std::int64_t{7})) +
        padded(number(std::int64_t{7}));
    const ckpt::gguf_options options{
        .metadata = {gguf_entry::of("general.architecture", "llama"), gguf_entry::of("n", std::uint32_t{32})}};
    CHECK(hex(written(in.weights, options)) == hex(want));
    const named_floats nothing{};
    CHECK(hex(written(nothing.weights())) == hex(padded(head(0, 0))));
}

TEST_CASE("each dtype that the format has") {
    const named_floats in{{"x", {2}, {1, 2}}};
    for (const auto& [type, code, bytes] : {std::tuple{"float16", 1u, std::string("\0\x3c\0\x40", 4)},
                                            std::tuple{"bfloat16", 30u, std::string("\x80\x3f\0\x40", 4)},
                                            std::tuple{"float64", 28u, raw(std::vector<double>{1, 2})},
                                            std::tuple{"float32", 0u, raw(std::vector<float>{1, 2})}}) {
        const std::string name = type;
        CAPTURE(name);
        const std::string want = padded(head(1, 0) + described("x", {2}, code, 0)) + padded(bytes);
        CHECK(hex(written(remapped(in.weights(), "cast " + name + " x"))) == hex(want));
    }
    using namespace pkl;
    const torch_weights odd(dict({{str("i8"), tensor(storage("CharStorage", "0", 8), 0, {8}, {1})},
                                  {str("i16"), tensor(storage("ShortStorage", "0", 4), 0, {4}, {1})},
                                  {str("i32"), tensor(storage("IntStorage", "0", 2), 0, {2}, {1})},
                                  {str("u8"), tensor(storage("ByteStorage", "0", 8), 0, {8}, {1})},
                                  {str("bool"), tensor(storage("BoolStorage", "0", 8), 0, {8}, {1})},
                                  {str("complex"), tensor(storage("ComplexFloatStorage", "0", 1), 0, {1}, {1})}}),
                            {{"0", std::string(8, '\1')}});
    const auto plan = ckpt::plan_gguf(odd.weights, "x.gguf").value();
    REQUIRE(plan.left_out.size() == 3);
    CHECK(plan.left_out[0].key == "u8");
    CHECK(plan.left_out[0].why.hint.find("cast int32 KEY") != std::string_view::npos);
    CHECK(shows_a_rule(plan.left_out[0].why.hint));
    CHECK(plan.left_out[1].why.detail == "GGUF has no type for bool");
    CHECK(plan.left_out[2].why.hint == "Leave it out");
    CHECK(written(odd.weights) == "error format_lacks");
    const std::string file = written(odd.weights, {.allow_loss = {"u8", "bool", "complex"}});
    const std::string eight = padded(std::string(8, '\1'));
    CHECK(hex(file) == hex(padded(head(3, 0) + described("i8", {8}, 24, 0) + described("i16", {4}, 25, 32) +
                                  described("i32", {2}, 26, 64)) +
                           eight + eight + eight));
    CHECK(written(remapped(odd.weights, "drop complex\ncast int32 bool\ncast int32 u8")).starts_with("GGUF"));
    const auto small_floats = remapped(in.weights(), "cast float8_e4m3fn x");
    CHECK(ckpt::plan_gguf(small_floats, "x").value().left_out.at(0).why.hint.find("float32") != std::string_view::npos);
}

TEST_CASE("names of 64 bytes, four dimensions, and one more of each; no elements; keys that are no names") {
    using namespace pkl;
    const auto refused = [](const std::string& key, const std::vector<std::int64_t>& shape) {
        std::vector<std::int64_t> steps(shape.size(), 1);
        for (std::size_t i = shape.size(); i-- > 1;) steps[i - 1] = steps[i] * shape[i];
        const torch_weights in(dict({{str(key), tensor(storage("FloatStorage", "0", 4), 0, shape, steps)}}),
                               {{"0", std::string(16, '\0')}});
        const auto plan = ckpt::plan_gguf(in.weights, "x.gguf").value();
        CHECK((written(in.weights) == "error format_lacks") == !plan.left_out.empty());
        if (const std::string_view hint = plan.left_out.empty() ? "" : plan.left_out[0].why.hint;
            hint.find('"') != std::string_view::npos)
            CHECK(shows_a_rule(hint));
        return plan.left_out.empty() ? std::string() : plan.left_out[0].why.detail;
    };
    CHECK(refused(std::string(64, 'k'), {4}).empty());
    CHECK(refused(std::string(65, 'k'), {4}) == "the name has 65 bytes, and GGUF allows 64");
    CHECK(refused("k", {1, 2, 1, 2}).empty());
    CHECK(refused("k", {1, 2, 1, 2, 1}) == "GGUF has at most 4 dimensions, and it has 5");
    CHECK(refused("k", {0}) == "GGUF has no tensors without elements");
    CHECK(refused("\xed\xa0\x80", {4}).find("UTF-8") != std::string::npos);
    CHECK(refused(std::string("a\0b", 3), {4}).find("NUL") != std::string::npos);
}

TEST_CASE("blocks of 32 values, as gguf.quants makes them") {
    const float infinite = std::numeric_limits<float>::infinity();
    std::vector<float> ramp, tiny, subnormal, ties, halves, below(32, 1.4999999F), largest(32, 3.4e38F), odd(32, -1.0F);
    for (int i = 0; i < 32; ++i) {
        ramp.push_back(static_cast<float>(i) - 15.5F);
        subnormal.push_back(1e-45F * static_cast<float>(i));
        tiny.push_back(std::ldexp(1.0F, -133) * static_cast<float>(i - 20));
        ties.push_back(i == 0 ? 127.0F : static_cast<float>(i) - 0.5F);
        halves.push_back(i == 0 ? -8.0F : static_cast<float>(i - 16) / 2);
    }
    const float half = std::nextafter(0.5F, 0.0F);
    std::copy_n(std::vector<float>{-8, half, -half, 7.5F, std::nextafter(7.5F, 0.0F)}.begin(), 5, below.begin());
    std::fill(largest.begin() + 16, largest.end(), -std::numeric_limits<float>::max());
    std::vector<float> infinities = odd, nan(32, -2.0F), minus_zero(32, 0.0F);
    infinities[0] = infinite;
    std::fill(infinities.begin() + 1, infinities.begin() + 16, 1.0F);
    infinities[16] = -infinite;
    std::fill(nan.begin(), nan.begin() + 8, 1.0F);
    nan[8] = std::numeric_limits<float>::quiet_NaN();
    minus_zero[0] = -0.0F;
    const std::string none(64, '0'), eights(32, '8'), zeros(32, '0');
    const struct {
        const char* name{};
        std::vector<float> values{};
        std::string q8{}, q4{};
    } cases[]{
        {"ramp", ramp, "d02f8189919aa2aab2bac3cbd3dbe3ecf4fc040c141d252d353d464e565e666f777f",
         "c03f809191a2a2b3b3c4c4d5d5e6e6f7f7f8"},
        {"zeros", std::vector<float>(32, 0.0F), "0000" + none, "0080" + eights},
        {"minus zero first", minus_zero, "0000" + none, "0000" + eights},
        {"no inverse", subnormal, "0000" + none, "0080" + zeros},
        {"no inverse, negative", tiny, "0000" + none, "0000" + zeros},
        {"infinite", infinities, "007c" + none, "00fc00888888888888888888888888888888"},
        {"NaN", nan, "007e" + none, "007e" + zeros},
        {"largest", largest, "007c7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f81818181818181818181818181818181",
         "007c0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f"},
        {"halves of 8 bits", ties, "003c7f0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
         "f0cb70787878787878787867676767676767"},
        {"halves of 4 bits", halves, "082c81899199a1a9b1b9c0c8d0d8e0e8f0f8000810182028303840474f575f676f77",
         "003c809191a2a2b3b3c4c4d5d5e6e6f7f7f8"},
        {"sums that a float rounds up", below, "082c8108f87777181818181818181818181818181818181818181818181818181818",
         "003ca0a9a8afafaaaaaaaaaaaaaaaaaaaaaa"},
    };
    for (const auto& c : cases) {
        CAPTURE(c.name);
        std::string q8(34, '\0'), q4(18, '\0');
        const std::span<const float, 32> values{c.values.data(), 32};
        ckpt::detail::quantise_q8_0(values, reinterpret_cast<std::byte*>(q8.data()));
        ckpt::detail::quantise_q4_0(values, reinterpret_cast<std::byte*>(q4.data()));
        CHECK(hex(q8) == c.q8);
        CHECK(hex(q4) == c.q4);
    }
}

TEST_CASE("the last pattern that matches counts, and wildcards pass over what cannot be quantised") {
    const std::vector<float> sixty_four(64, 1.0F);
    const named_floats in{{"a.weight", {2, 32}, sixty_four},
                          {"b.weight", {1, 64}, sixty_four},
                          {"a.bias", {64}, sixty_four},
                          {"odd", {4, 16}, sixty_four},
                          {"one", {}, {1}},
                          {"half", {1, 32}, std::vector<float>(32, 2.0F)}};
    const auto weights = remapped(in.weights(), "cast float16 half");
    const auto plan = ckpt::plan_gguf(weights, "x",
                                      {.quantise = {{"**", gguf_quant::q8_0},
                                                    {"b.*", gguf_quant::q4_0},
                                                    {"a.bias", gguf_quant::q4_0},
                                                    {"half", gguf_quant::none}}})
                          .value();
    REQUIRE(plan.quantised.size() == 3);
    CHECK(plan.quantised[0].key == "a.weight");
    CHECK(plan.quantised[0].how == gguf_quant::q8_0);
    CHECK(plan.quantised[1].how == gguf_quant::q4_0);
    CHECK(plan.quantised[2].key == "a.bias"); // by its whole name
    REQUIRE(plan.kept.size() == 2);
    CHECK(plan.kept[0].key == "odd");
    CHECK(plan.kept[0].why == "its last dimension, 16, is no multiple of 32");
    CHECK(plan.kept[1].why == "it is a scalar");
    const ckpt::gguf_options all{.quantise = {{"**", gguf_quant::q4_0}}};
    CHECK(ckpt::plan_gguf(weights, "x", all).value().kept.at(0).why == "it has one dimension");
    const auto only = remapped(weights, "keep half");
    CHECK(hex(written(only, all)) == hex(padded(head(1, 0) + described("half", {32, 1}, 2, 0)) +
                                         padded(std::string("\0\xb4", 2) + std::string(16, '\0'))));
    const auto failed = ckpt::plan_gguf(weights, "x", {.quantise = {{"odd", gguf_quant::q8_0}}});
    CHECK(failed.error().code == errc::format_lacks);
    CHECK(failed.error().path == "odd");
    CHECK(failed.error().detail == "it cannot be quantised to Q8_0: its last dimension, 16, is no multiple of 32");
}

TEST_CASE("blocks of strided, sliced and wide tensors are those of their values") {
    std::vector<float> values(40'000);
    for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = std::sin(static_cast<float>(i)) * static_cast<float>(i % 7);
    const temporary_folder folder;
    folder.add("in.pt", torch_file(pkl::dict({{pkl::str("t"), pkl::tensor(pkl::storage("FloatStorage", "0", 40'000), 0,
                                                                          {125, 320}, {1, 125})}}),
                                   {{"0", raw(values)}}));
    const auto file = ckpt::open(folder.path() / "in.pt", {.io = ckpt::io_mode::read}).value();
    const auto weights = file.state_dict().value();
    for (const auto how : {gguf_quant::q8_0, gguf_quant::q4_0}) {
        std::string blocks, block(how == gguf_quant::q8_0 ? 34 : 18, '\0');
        std::vector<float> row(32);
        for (std::size_t i = 0; i < values.size(); i += 32) {
            for (std::size_t j = 0; j < 32; ++j) row[j] = values[(i + j) % 320 * 125 + i / 320];
            const std::span<const float, 32> of{row.data(), 32};
            (how == gguf_quant::q8_0 ? ckpt::detail::quantise_q8_0
                                     : ckpt::detail::quantise_q4_0)(of, reinterpret_cast<std::byte*>(block.data()));
            blocks += block;
        }
        const ckpt::gguf_options options{.quantise = {{"t", how}}};
        const std::string got = written(weights, options);
        CHECK(got.substr(96, blocks.size()) == blocks);
        CHECK(written(remapped(weights, "cast float64 t"), options) == got);
    }
}

TEST_CASE("types of JSON as types of GGUF") {
    CHECK(value_of("\"llama\"") == "8:05000000000000006c6c616d61");
    CHECK(value_of("true") == "7:01");
    CHECK(value_of("0") == "4:00000000");
    CHECK(value_of("4294967295") == "4:ffffffff");
    CHECK(value_of("4294967296") == "10:0000000001000000");
    CHECK(value_of("18446744073709551615") == "10:ffffffffffffffff");
    CHECK(value_of("-1") == "5:ffffffff");
    CHECK(value_of("-2147483648") == "5:00000080");
    CHECK(value_of("-2147483649") == "11:ffffff7fffffffff");
    CHECK(value_of("1e-5") == "6:acc52737");
    CHECK(value_of("[1, -2]") == "9:05000000"
                                 "0200000000000000"
                                 "01000000"
                                 "feffffff");
    CHECK(value_of("[4294967295]").starts_with("9:04000000"));
    CHECK(value_of("[4294967296, -1]").starts_with("9:0b000000"));
    CHECK(value_of("[18446744073709551615]").starts_with("9:0a000000"));
    CHECK(value_of("[1, 0.5]") == "9:06000000"
                                  "0200000000000000"
                                  "0000803f"
                                  "0000003f");
    CHECK(value_of("[\"a\", \"\"]") == "9:08000000"
                                       "0200000000000000"
                                       "0100000000000000"
                                       "61"
                                       "0000000000000000");
    CHECK(value_of("[false]") == "9:07000000"
                                 "0100000000000000"
                                 "00");
    CHECK(value_of(R"({"type": "uint8", "value": 255})") == "0:ff");
    CHECK(value_of(R"({"type": "float64", "value": 1})") == "12:000000000000f03f");
    CHECK(value_of(R"({"type": "float32", "value": Infinity})") == "6:0000807f");
    CHECK(value_of(R"({"value": [], "type": "string"})") == "9:08000000"
                                                            "0000000000000000");
    CHECK(metadata_of(R"({"b": 1, "a": 2})") == "4:01000000 4:02000000"); // in their order
}

TEST_CASE("JSON that has no type in GGUF is refused by its place") {
    CHECK(value_of("null") == "error at k: GGUF has no type for null");
    CHECK(value_of("[]") == "error at k: an empty list has no type");
    CHECK(value_of("[1, [2]]") == "error at k/1: GGUF has no type for a list in an array");
    CHECK(value_of("[1, \"a\"]") == "error at k/1: the list begins with an int, and this is a str");
    CHECK(value_of("[1, true]") == "error at k/1: the list begins with an int, and this is a bool");
    CHECK(value_of("18446744073709551616").find("does not fit in the type uint64") != std::string::npos);
    CHECK(value_of("[-1, 18446744073709551615]") == "error at k/0: the integer does not fit in the type uint64");
    CHECK(value_of("1e39") == "error at k: no float32 holds 1e+39");
    CHECK(value_of(R"({"type": "uint8", "value": 256})") == "error at k: the integer does not fit in the type uint8");
    CHECK(value_of(R"({"type": "int8", "value": -129})") == "error at k: the integer does not fit in the type int8");
    CHECK(value_of(R"({"type": "int8", "value": [1, "a"]})") ==
          "error at k/1: the value is a str, and the type is int8");
    CHECK(value_of(R"({"type": "bool", "value": 1})") == "error at k: the value is an int, and the type is bool");
    CHECK(value_of(R"({"type": "half", "value": 1})").find("no type \"half\"") != std::string::npos);
    CHECK(value_of(R"({"type": "array", "value": [1]})").find("no type \"array\"") != std::string::npos);
    CHECK(value_of(R"({"type": "uint8"})").find("the members \"type\" and \"value\"") != std::string::npos);
    CHECK(value_of(R"({"type": "uint8", "value": 1, "x": 2})").find("the members") != std::string::npos);
    CHECK(metadata_of("[1]").find("an object of keys and values, and this is a list") != std::string::npos);
    CHECK(metadata_of("{").starts_with("error at : "));
    const ckpt::json_file missing = ckpt::open_json("no/such/file.json");
    CHECK(ckpt::read_gguf_metadata(missing.root()).error().code == errc::cannot_open);
}

TEST_CASE("entries of the metadata that no file can have") {
    const named_floats in{{"x", {1}, {1}}};
    const auto with = [&](const std::vector<gguf_entry>& metadata) {
        return written(in.weights(), {.metadata = metadata}).substr(0, 5);
    };
    CHECK(with({gguf_entry::of("a", "b"), gguf_entry::of("c", 1)}).starts_with("GGUF"));
    CHECK(with({gguf_entry::of("a", "b"), gguf_entry::of("a", 1)}) == "error");
    CHECK(with({gguf_entry::of("", "b")}) == "error");
    CHECK(with({gguf_entry::of("\xff", "b")}) == "error");
    CHECK(with({gguf_entry::of(std::string(65'535, 'k'), true)}).starts_with("GGUF"));
    CHECK(with({gguf_entry::of(std::string(65'536, 'k'), true)}) == "error");
    CHECK(with({gguf_entry::of("general.alignment", std::uint32_t{32})}).starts_with("GGUF"));
    CHECK(with({gguf_entry::of("general.alignment", std::uint64_t{32})}) == "error");
    CHECK(with({gguf_entry::of("general.alignment", std::uint32_t{64})}) == "error");
    CHECK(hex(gguf_entry::of("k", std::int8_t{-1}).bytes) == "ff");
    CHECK(gguf_entry::of("k", std::int16_t{1}).type == ckpt::gguf_type::int16);
    CHECK(gguf_entry::of("k", std::uint8_t{1}).type == ckpt::gguf_type::uint8);
    CHECK(gguf_entry::of("k", std::uint16_t{1}).type == ckpt::gguf_type::uint16);
    CHECK(gguf_entry::of("k", std::int64_t{1}).type == ckpt::gguf_type::int64);
    CHECK(hex(gguf_entry::of("k", 1.0F).bytes) == "0000803f");
    CHECK(hex(gguf_entry::of("k", 1.0).bytes) == "000000000000f03f");
}

TEST_CASE("progress counts what is read, and stops the call with nothing left behind") {
    const named_floats in{{"a", {2, 32}, std::vector<float>(64, 1.0F)}, {"b", {1}, {3}}};
    const temporary_folder folder;
    const auto path = folder.path() / "x.gguf";
    std::vector<ckpt::progress> seen;
    auto watch = [&seen](const ckpt::progress& p) {
        seen.push_back(p);
        return true;
    };
    REQUIRE(
        ckpt::write_gguf(in.weights(), path, {.quantise = {{"a", gguf_quant::q4_0}}, .progress = watch}).has_value());
    REQUIRE(!seen.empty());
    CHECK(seen.back().done == 260);
    CHECK(seen.back().total == 260);
    CHECK(ckpt::write_gguf(in.weights(), path).error().code == errc::output_exists);
    auto stop = [](const ckpt::progress&) { return false; };
    CHECK(ckpt::write_gguf(in.weights(), path, {.overwrite = true, .progress = stop}).error().code == errc::cancelled);
    CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

} // namespace gguf_test
