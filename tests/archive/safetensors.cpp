// tests/archive/safetensors.cpp: safetensors files, as strictly as the reference reader takes them.
//
// SPDX-License-Identifier: MIT
#include <ckpt/archive/safetensors.hpp>
#include <ckpt/ckpt.hpp>

#include "../support/safetensors_writer.hpp"
#include "../support/temporary_file.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace safetensors_test {

using ckpt::errc;
using namespace test_support;
using namespace std::string_literals;

namespace {

std::string entry(std::string_view name, std::string_view dtype, std::string_view shape, std::uint64_t begin,
                  std::uint64_t end) {
    return safetensors_entry(name, dtype, shape, begin, end);
}

/// "" where the file opens, else the code and what was seen.
std::string outcome(const std::string& bytes) {
    const auto opened = ckpt::open_bytes(bytes_of(bytes));
    const auto read = ckpt::open_bytes(bytes_of(bytes), {.io = ckpt::io_mode::read});
    CHECK(opened.has_value() == read.has_value());
    if (opened) return {};
    const ckpt::error& e = opened.error();
    CHECK(e.message() == read.error().message());
    CHECK(e.offset <= bytes.size());
    CHECK(ckpt::info(e.code).exit_code == 2);
    CHECK_FALSE(e.detail.empty());
    return std::string(ckpt::info(e.code).name) + ": " + e.detail;
}
std::string of_header(const std::string& header, std::size_t data = 0) {
    return outcome(safetensors_file(header, std::string(data, 'd')));
}

constexpr const char* invalid = "safetensors_invalid";

} // namespace

TEST_CASE("tensors, their values and their metadata, in the header's order") {
    const std::string data = raw<std::int16_t>({1, -2}) + raw<float>({1, 2, 3, 4, 5, 6}) + raw<float>({7});
    const std::string header = '{' + entry("z", "F32", "[2,3]", 4, 28) +
                               ",\"__metadata__\":{\"format\":\"pt\",\"note\":\"\\u00e9\"}," +
                               entry("a.b", "I16", "[2]", 0, 4) + ',' + entry("s", "F32", "[]", 28, 32) + ',' +
                               entry("e", "BF16", "[0,5]", 32, 32) + '}';
    const std::string bytes = safetensors_file(header, data);
    for (const ckpt::open_options& options : {ckpt::open_options{}, ckpt::open_options{.io = ckpt::io_mode::read},
                                              ckpt::open_options{.storages = ckpt::storage_mode::owned}}) {
        const auto file = ckpt::open_bytes(bytes_of(bytes), options).value();
        CHECK(file.container() == "safetensors");
        CHECK(file.file_bytes() == bytes.size());
        CHECK(file.pickle_bytes() == header.size());
        CHECK(file.records().empty());
        const auto weights = file.state_dict().value();
        CHECK(weights.path().empty());
        std::string keys;
        for (const auto& [key, tensor] : weights) keys.append(key) += ' ';
        CHECK(keys == "z a.b s e ");
        const auto z = weights.at("z").value();
        CHECK(z.dtype() == ckpt::dtype::float32);
        CHECK(z.rank() == 2);
        CHECK(z.strides()[0] == 3);
        CHECK_FALSE(z.requires_grad());
        std::vector<float> values(6);
        REQUIRE(z.copy_to(std::span(values)).has_value());
        CHECK(values == std::vector<float>{1, 2, 3, 4, 5, 6});
        std::vector<std::int16_t> small(2);
        REQUIRE(weights.at("a.b").value().copy_to(std::span(small)).has_value());
        CHECK(small == std::vector<std::int16_t>{1, -2});
        CHECK(weights.at("e").value().numel() == 0);
        CHECK(weights.at("s").value().rank() == 0);
        CHECK(file.metadata().find("note").value().as_string().value() == "\xc3\xa9");
        CHECK(file.metadata().size() == 2);
        CHECK(file.root().size() == 4);
        CHECK(weights.others().empty());
        CHECK(file.verify().ok());
        CHECK(file.verify().unchecked_crc == 4);
    }
    const auto file = ckpt::open_bytes(bytes_of(bytes)).value();
    const auto weights = file.state_dict().value();
    CHECK(weights.at("z").value().file_offset().value() == 8 + header.size() + 4);
    CHECK(weights.at("z").value().storage_id() != weights.at("s").value().storage_id());
    const auto scan = ckpt::scan_globals_bytes(bytes_of(bytes)).value(); // no pickle, so no names
    CHECK(scan.empty());
    CHECK(scan.stopped() == nullptr);
}

TEST_CASE("every type has the dtype of PyTorch's; those that it has not are errors at their keys") {
    struct row {
        const char* type;
        const char* dtype;
        std::size_t bytes;
    };
    constexpr row rows[]{{"BOOL", "bool", 1},
                         {"U8", "uint8", 1},
                         {"I8", "int8", 1},
                         {"F8_E5M2", "float8_e5m2", 1},
                         {"F8_E4M3", "float8_e4m3fn", 1},
                         {"F8_E8M0", "float8_e8m0fnu", 1},
                         {"F8_E4M3FNUZ", "float8_e4m3fnuz", 1},
                         {"F8_E5M2FNUZ", "float8_e5m2fnuz", 1},
                         {"I16", "int16", 2},
                         {"U16", "uint16", 2},
                         {"F16", "float16", 2},
                         {"BF16", "bfloat16", 2},
                         {"I32", "int32", 4},
                         {"U32", "uint32", 4},
                         {"F32", "float32", 4},
                         {"C64", "complex64", 8},
                         {"F64", "float64", 8},
                         {"I64", "int64", 8},
                         {"U64", "uint64", 8}};
    for (const row& r : rows) {
        CAPTURE(r.type);
        const std::string bytes =
            safetensors_file('{' + entry("t", r.type, "[3]", 0, 3 * r.bytes) + '}', std::string(3 * r.bytes, '\1'));
        const auto file = ckpt::open_bytes(bytes_of(bytes)).value();
        const auto weights = file.state_dict().value();
        const auto t = weights.at("t").value();
        CHECK(ckpt::name(t.dtype()) == r.dtype);
        CHECK(t.nbytes() == 3 * r.bytes);
        CHECK(t.crc32().has_value());
    }
    // Two values in a byte: PyTorch's shape counts bytes.
    const std::string packed = safetensors_file('{' + entry("t", "F4", "[2,6]", 0, 6) + '}', "abcdef");
    const auto four = ckpt::open_bytes(bytes_of(packed)).value();
    const auto t = four.state_dict().value();
    CHECK(ckpt::name(t.at("t").value().dtype()) == "float4_e2m1fn_x2");
    CHECK(t.at("t").value().shape()[1] == 3);
    CHECK(t.at("t").value().nbytes() == 6);
    for (const std::string& odd :
         {entry("t", "F6_E2M3", "[4]", 0, 3), entry("t", "F6_E3M2", "[4]", 0, 3), entry("t", "F4", "[2,3]", 0, 3)}) {
        CAPTURE(odd);
        const std::string bytes = safetensors_file('{' + odd + ',' + entry("u", "U8", "[1]", 3, 4) + '}', "abcd");
        const auto file = ckpt::open_bytes(bytes_of(bytes)).value();
        const auto weights = file.state_dict().value();
        CHECK(weights.refused() == 1);
        CHECK(weights.at("t").error().code == errc::unsupported_tensor);
        CHECK(weights.at("u").value().numel() == 1);
    }
    CHECK(of_header('{' + entry("t", "F7", "[1]", 0, 1) + '}', 1) ==
          "safetensors_invalid: tensor \"t\" has the dtype \"F7\", which the format does not know");
}

TEST_CASE("a header may be odd and valid: an empty one, blanks, members that nobody knows, no metadata") {
    CHECK(of_header("{}") == "");
    CHECK(of_header("{}        ") == "");
    CHECK(of_header(" \n{\"__metadata__\":{}}") == "");
    CHECK(of_header("{\"__metadata__\":null}") == "");
    CHECK(of_header("{ \"t\" : { \"more\" : [1, {\"x\": null}], \"data_offsets\" : [ 0 , 2 ] , \"shape\" : [ 2 ] , "
                    "\"dtype\" : \"U8\" } }",
                    2) == "");
    CHECK(of_header('{' + entry("\\u0061\\n", "U8", "[1]", 0, 1) + '}', 1) == "");
    // Names that differ only in an escape are one name.
    CHECK(of_header('{' + entry("a", "U8", "[1]", 0, 1) + ',' + entry("\\u0061", "U8", "[1]", 1, 2) + '}', 2) ==
          "safetensors_invalid: two tensors are named \"a\"");
    // Without elements, several tensors may stand at one place.
    CHECK(of_header('{' + entry("a", "F32", "[0]", 4, 4) + ',' + entry("b", "F32", "[1]", 0, 4) + ',' +
                        entry("c", "F32", "[0,9]", 4, 4) + ',' + entry("d", "F32", "[0]", 0, 0) + '}',
                    4) == "");
}

TEST_CASE("the header's length: within the file, within 100 MB, within the limits") {
    const std::string one = '{' + entry("t", "U8", "[1]", 0, 1) + '}';
    CHECK(outcome(safetensors_file(one, "d", one.size() + 2)).starts_with("safetensors_invalid: the header has"));
    CHECK(outcome(safetensors_file(one, "d", one.size() + 1)).starts_with(invalid)); // the data is read as a part of it
    CHECK(outcome(safetensors_file(one, "d", one.size() - 1)).starts_with(invalid));
    CHECK(outcome(safetensors_file(one, "d", 0)).starts_with(invalid));
    CHECK(outcome(safetensors_file(one, "d", 1)).starts_with(invalid));
    const std::string file = safetensors_file(one, "d");
    CHECK(ckpt::open_bytes(bytes_of(file), {.limits = {.pickle_bytes = one.size() - 1}}).error().code == errc::limit);
    CHECK(ckpt::open_bytes(bytes_of(file), {.limits = {.pickle_bytes = one.size()}}).has_value());
    temporary_file large;
    large.write_sparse({{0, le64(100'000'001) + one}, {100'000'100, "d"}});
    CHECK(ckpt::open(large.path()).error().code == errc::limit);
    temporary_file largest; // it is read, and is no JSON behind the first object
    largest.write_sparse({{0, le64(100'000'000) + one}, {100'000'100, "d"}});
    CHECK(ckpt::open(largest.path()).error().code == errc::safetensors_invalid);
}

TEST_CASE("a file begins as safetensors with a length below a terabyte and an object that has begun") {
    const auto begins = [](std::uint64_t length, const std::string& text) {
        return ckpt::detail::safetensors::begins(bytes_of(le64(length) + text));
    };
    constexpr std::uint64_t claim = std::uint64_t{1} << 40;
    CHECK(begins(claim - 1, "{\""));
    CHECK_FALSE(begins(claim, "{\""));
    CHECK(begins(2, "{}"));
    CHECK_FALSE(begins(2, "{"));
}

TEST_CASE("ranges overlap neither each other nor the end, and leave no hole (no polyglots)") {
    const std::string a = entry("a", "U8", "[4]", 0, 4);
    CHECK(of_header('{' + a + ',' + entry("b", "U8", "[4]", 4, 8) + '}', 8) == "");
    CHECK(of_header('{' + entry("b", "U8", "[4]", 4, 8) + ',' + a + '}', 8) == "");
    CHECK(of_header('{' + a + ',' + entry("b", "U8", "[4]", 3, 7) + '}', 7) ==
          "safetensors_invalid: tensor \"b\" has the bytes 3 to 7, which overlaps the one before it");
    CHECK(of_header('{' + a + ',' + entry("b", "U8", "[4]", 0, 4) + '}', 4).starts_with(invalid));
    CHECK(of_header('{' + a + ',' + entry("b", "U8", "[4]", 5, 9) + '}', 9) ==
          "safetensors_invalid: tensor \"b\" has the bytes 5 to 9, which leaves a hole behind the one before it");
    CHECK(of_header('{' + entry("b", "U8", "[4]", 1, 5) + '}', 5).starts_with(invalid));
    CHECK(of_header('{' + a + '}', 3) ==
          "safetensors_invalid: tensor \"a\" has the bytes 0 to 4, the file has 3 bytes of data");
    CHECK(of_header('{' + a + '}', 5) == "safetensors_invalid: the tensors have 4 bytes, the file has 5 of data");
    CHECK(of_header("{}", 1).starts_with(invalid));
    CHECK(of_header('{' + entry("a", "U8", "[4]", 4, 0) + '}', 4).starts_with(invalid));
    CHECK(of_header('{' + entry("a", "U8", "[0]", 9, 9) + '}', 4).starts_with(invalid));
}

TEST_CASE("sizes fit their ranges, and no product wraps") {
    CHECK(of_header('{' + entry("a", "F32", "[4]", 0, 4) + '}', 4) ==
          "safetensors_invalid: tensor \"a\" has the bytes 0 to 4, its shape and dtype need 16");
    CHECK(of_header('{' + entry("a", "F32", "[]", 0, 3) + '}', 3).starts_with(invalid));
    CHECK(of_header('{' + entry("a", "F4", "[3]", 0, 1) + '}', 1) ==
          "safetensors_invalid: tensor \"a\" of F4 does not end at a whole byte");
    CHECK(of_header('{' + entry("a", "U8", "[4611686018427387904,4]", 0, 0) + '}') ==
          "safetensors_invalid: the shape of tensor \"a\" overflows 64 bits");
    CHECK(of_header('{' + entry("a", "F64", "[2305843009213693952]", 0, 0) + '}').starts_with(invalid));
    CHECK(of_header('{' + entry("a", "F64", "[288230376151711744]", 0, 0) + '}').starts_with(invalid));
    CHECK(of_header('{' + entry("a", "U8", "[0,9223372036854775807]", 0, 0) + '}') == "");
    CHECK(of_header('{' + entry("a", "U8", "[0,9223372036854775808]", 0, 0) + '}') ==
          "safetensors_invalid: tensor \"a\" has a dimension of 9223372036854775808");
    CHECK(of_header('{' + entry("a", "U8", "[18446744073709551616]", 0, 0) + '}').starts_with(invalid));
    CHECK(of_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,18446744073709551615]}}", 1)
              .starts_with(invalid));
    CHECK(of_header("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[18446744073709551615,0]}}", 1)
              .starts_with(invalid));
}

TEST_CASE("JSON of another form is refused, with the place") {
    for (const char* header : {"{\"t\":1}",
                               "{\"t\":null}",
                               "{\"t\":[]}",
                               "{\"t\":{}}",
                               "{\"t\":{\"dtype\":\"U8\",\"shape\":[1]}}",
                               "{\"t\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}",
                               "{\"t\":{\"shape\":[1],\"data_offsets\":[0,1]}}",
                               "{\"t\":{\"dtype\":1,\"shape\":[1],\"data_offsets\":[0,1]}}",
                               "{\"t\":{\"dtype\":\"U8\",\"shape\":1,\"data_offsets\":[0,1]}}",
                               "{\"t\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,1]}}",
                               "{\"t\":{\"dtype\":\"U8\",\"shape\":[1.0],\"data_offsets\":[0,1]}}",
                               "{\"t\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}",
                               "{\"t\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,2]}}",
                               "{\"t\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[]}}",
                               "{\"t\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
                               "{\"t\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},}",
                               "{\"t\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}x",
                               "{\"__metadata__\":{\"a\":1}}",
                               "{\"__metadata__\":[]}",
                               "{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}",
                               "{\"__metadata__\":{},\"__metadata__\":{}}",
                               "{\"\\ud800\":{}}"}) {
        CAPTURE(header);
        CHECK(of_header(header, 1).starts_with(invalid));
    }
    const std::string text = safetensors_file(
        "{\"first\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]},\"t\":{\"dtype\":\"U8\",\"shape\":[x]}}",
        "d");
    const ckpt::error e = ckpt::open_bytes(bytes_of(text)).error();
    CHECK(e.offset == text.find("x]"));
    CHECK(e.detail == "the header at byte " + std::to_string(text.find("x]") - 8) +
                          ": a whole number was expected; the last tensor that was read is \"first\"");
}

TEST_CASE("every prefix of a file is refused, and every changed byte is refused or stays inside the file") {
    const std::string bytes =
        safetensors_file("{\"__metadata__\":{\"format\":\"pt\"}," + entry("a", "F32", "[2]", 0, 8) + ',' +
                             entry("b", "U8", "[3]", 8, 11) + '}',
                         "0123456789a");
    REQUIRE(outcome(bytes) == "");
    for (std::size_t n = 0; n < bytes.size(); ++n)
        CHECK_FALSE(ckpt::open_bytes(bytes_of(std::string_view(bytes).substr(0, n))).has_value());
    std::size_t accepted = 0;
    for (std::size_t at = 0; at < bytes.size(); ++at)
        for (int value = 0; value < 256; ++value) {
            std::string changed = bytes;
            changed[at] = static_cast<char>(static_cast<unsigned char>(value));
            const auto opened = ckpt::open_bytes(bytes_of(changed));
            if (!opened) continue;
            ++accepted;
            const auto weights = opened->state_dict();
            if (!weights) continue;
            for (const auto& [key, tensor] : *weights) {
                const auto content = tensor.bytes();
                if (!content || content->empty()) continue;
                const auto first = static_cast<std::size_t>(content->data() - bytes_of(changed).data());
                if (first < 8 || first + content->size() > changed.size()) FAIL_CHECK("a view outside the file");
            }
        }
    CHECK(accepted > 0);
}

TEST_CASE("opening does not depend on size: tensors behind 5 GiB are read where they are") {
    constexpr std::uint64_t large = std::uint64_t{5} << 30;
    const std::string header = '{' + entry("large", "U8", "[5368709120]", 0, large) + ',' +
                               entry("last", "F32", "[2]", large, large + 8) + '}';
    const temporary_file file;
    file.write_sparse({{0, le64(header.size()) + header}, {8 + header.size() + large, raw<float>({1.5F, -2})}});
    for (const ckpt::io_mode io : {ckpt::io_mode::map, ckpt::io_mode::read}) {
        const auto opened = ckpt::open(file.path(), {.io = io}).value();
        const auto weights = opened.state_dict().value();
        CHECK(weights.at("large").value().nbytes() == large);
        const auto last = weights.at("last").value();
        CHECK(last.file_offset().value() == 8 + header.size() + large);
        std::vector<float> values(2);
        REQUIRE(last.copy_to(std::span(values)).has_value());
        CHECK(values == std::vector<float>{1.5F, -2});
    }
}

TEST_CASE("unaligned data: a view says so, copies work") {
    const std::string bytes = safetensors_file("{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}," +
                                                   entry("f", "F32", "[1]", 1, 5) + '}',
                                               "x" + raw<float>({1.5F}));
    std::vector<std::uint64_t> aligned(bytes.size() / 8 + 1);
    std::memcpy(aligned.data(), bytes.data(), bytes.size());
    const auto file = ckpt::open_bytes(std::as_bytes(std::span(aligned)).first(bytes.size())).value();
    const auto weights = file.state_dict().value();
    const auto f = weights.at("f").value();
    const bool odd = f.file_offset().value() % 4 != 0;
    CHECK((f.view<float, 1>().has_value() ? !odd : odd));
    float value = 0;
    REQUIRE(f.copy_to(std::span(&value, 1)).has_value());
    CHECK(value == 1.5F);
    const auto owned = weights.owned();
    CHECK(owned.view<float, 1>("f").value()(0) == 1.5F);
}

TEST_CASE("V1: a tensor has at most limits.tensor_rank dimensions") {
    const auto refusal_of = [](std::size_t rank, const ckpt::limits& limits) {
        std::string shape = "[1";
        for (std::size_t i = 1; i < rank; ++i) shape += ",1";
        const std::string bytes = safetensors_file('{' + entry("t", "U8", shape + ']', 0, 1) + '}', "d");
        const auto file = ckpt::open_bytes(bytes_of(bytes), {.limits = limits}).value();
        const auto weights = file.state_dict().value();
        CHECK(weights.refused() == (rank > limits.tensor_rank ? 1 : 0)); // an error of the tensor, not of the file
        const auto t = weights.at("t");
        return t ? std::string() : t.error().detail;
    };
    CHECK(refusal_of(64, {}) == "");
    CHECK(refusal_of(65, {}) == "the tensor has 65 dimensions, the limit is 64");
    CHECK(refusal_of(2, {.tensor_rank = 2}) == "");
    CHECK(refusal_of(3, {.tensor_rank = 2}) == "the tensor has 3 dimensions, the limit is 2");
}

} // namespace safetensors_test
