// tests/core/sha256.cpp: SHA-256 against the digests of FIPS 180-4's examples and of other lengths.
//
// SPDX-License-Identifier: MIT
#include <ckpt/core/sha256.hpp>

#include <doctest/doctest.h>

#include <string>
#include <string_view>

namespace sha256_test {

namespace {

std::string digest(std::string_view text) {
    ckpt::detail::sha256 sum;
    sum.add(text);
    return sum.digest();
}

} // namespace

TEST_CASE("the digests of known texts") {
    CHECK(digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    CHECK(digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    CHECK(digest(std::string(1'000'000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("around the end of a block, in one piece and byte by byte") {
    // hashlib.sha256(b'a' * n)
    CHECK(digest(std::string(55, 'a')) == "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318");
    CHECK(digest(std::string(56, 'a')) == "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a");
    CHECK(digest(std::string(63, 'a')) == "7d3e74a05d7db15bce4ad9ec0658ea98e3f06eeecf16b4c6fff2da457ddc2f34");
    CHECK(digest(std::string(64, 'a')) == "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
    CHECK(digest(std::string(119, 'a')) == "31eba51c313a5c08226adf18d4a359cfdfd8d2e816b13f4af952f7ea6584dcfb");
    for (const std::size_t n : {55u, 56u, 64u, 119u, 128u}) {
        ckpt::detail::sha256 sum;
        for (std::size_t i = 0; i < n; ++i) sum.add("a");
        CHECK(sum.digest() == digest(std::string(n, 'a')));
    }
}

} // namespace sha256_test
