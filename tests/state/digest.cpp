// tests/state/digest.cpp: equal content has one digest, however it was written.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>

#include "../support/safetensors_writer.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace digest_test {

using namespace test_support;

namespace {

std::string digest_of(const std::string& bytes) {
    const auto file = ckpt::open_bytes(bytes_of(bytes)).value();
    const auto weights = file.state_dict().value();
    const auto sum = ckpt::checkpoint_digest(weights);
    return sum ? *sum : "!" + std::string(ckpt::info(sum.error().code).name) + ' ' + sum.error().path;
}

} // namespace

TEST_CASE("the digest is SHA-256 over the documented lines") {
    // sha256(b'a\tfloat32\t[2]\t%08x\nb.c\tfloat32\t[]\t%08x\n') with zlib.crc32 of the little-endian values, by
    // Python.
    const std::string file =
        torch_file(pkl::dict({{pkl::str("b.c"), pkl::tensor(pkl::storage("FloatStorage", "0", 3), 2, {}, {})},
                              {pkl::str("a"), pkl::tensor(pkl::storage("FloatStorage", "0", 3), 0, {2}, {1})}}),
                   {{"0", raw<float>({1, 2, 3})}});
    CHECK(digest_of(file) == "7b71553aff1b52062c91a911eac6c0138802c3180d2a56988de86487c014de9f");
    CHECK(digest_of(torch_file(pkl::dict({{pkl::str("x"), pkl::floats("0", 0)}}), {{"0", ""}})).size() == 64);
}

TEST_CASE("order, views, sharing and container do not count") {
    const std::vector<float> values{1, 2, 3, 4, 5, 6};
    const std::vector<float> transposed{1, 4, 2, 5, 3, 6};
    using namespace pkl;
    const auto matrix = [](const char* key, std::int64_t offset, const std::vector<std::int64_t>& strides) {
        return tensor(storage("FloatStorage", key, 6), offset, {2, 3}, strides);
    };
    const std::string plain =
        digest_of(torch_file(dict({{str("a"), matrix("0", 0, {3, 1})}, {str("b"), matrix("1", 0, {3, 1})}}),
                             {{"0", raw(values)}, {"1", raw(values)}}));
    CHECK(plain == digest_of(torch_file(dict({{str("b"), matrix("0", 0, {3, 1})}, {str("a"), matrix("0", 0, {3, 1})}}),
                                        {{"0", raw(values)}})));
    CHECK(plain ==
          digest_of(torch_file(ordered({{str("a"), matrix("0", 0, {1, 2})}, {str("b"), matrix("1", 0, {3, 1})}}),
                               {{"0", raw(transposed)}, {"1", raw(values)}})));
    CHECK(plain ==
          digest_of(torch_file(
              dict({{str("model"), dict({{str("a"), matrix("0", 0, {3, 1})}, {str("b"), matrix("0", 0, {3, 1})}})},
                    {str("epoch"), num(3)}}),
              {{"0", raw(values)}})));
    CHECK(plain == digest_of(safetensors_file('{' + safetensors_entry("b", "F32", "[2,3]", 0, 24) + ',' +
                                                  safetensors_entry("a", "F32", "[2,3]", 24, 48) + '}',
                                              raw(values) + raw(values))));
    // And what does count.
    CHECK(plain != digest_of(safetensors_file('{' + safetensors_entry("b", "F32", "[3,2]", 0, 24) + ',' +
                                                  safetensors_entry("a", "F32", "[2,3]", 24, 48) + '}',
                                              raw(values) + raw(values))));
    CHECK(plain != digest_of(safetensors_file('{' + safetensors_entry("b", "I32", "[2,3]", 0, 24) + ',' +
                                                  safetensors_entry("a", "F32", "[2,3]", 24, 48) + '}',
                                              raw(values) + raw(values))));
    CHECK(plain != digest_of(safetensors_file('{' + safetensors_entry("b", "F32", "[2,3]", 0, 24) + ',' +
                                                  safetensors_entry("c", "F32", "[2,3]", 24, 48) + '}',
                                              raw(values) + raw(values))));
    CHECK(plain != digest_of(safetensors_file('{' + safetensors_entry("b", "F32", "[2,3]", 0, 24) + ',' +
                                                  safetensors_entry("a", "F32", "[2,3]", 24, 48) + '}',
                                              raw(values) + raw(transposed))));
}

TEST_CASE("keys with tabs and line ends cannot be taken for other keys") {
    const std::string one = safetensors_file('{' + safetensors_entry("a\\tb", "U8", "[1]", 0, 1) + '}', "x");
    const std::string two = safetensors_file('{' + safetensors_entry("a\\\\tb", "U8", "[1]", 0, 1) + '}', "x");
    CHECK(digest_of(one) != digest_of(two));
}

TEST_CASE("a tensor without values has no digest") {
    CHECK(digest_of(torch_file(pkl::dict({{pkl::str("ok"), pkl::floats("0", 1)}, {pkl::str("w"), pkl::floats("1", 1)}}),
                               {{"0", raw<float>({1})}, {"1", "too long"}})) == "!storage_size_mismatch w");
}

} // namespace digest_test
