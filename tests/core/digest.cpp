// SPDX-License-Identifier: MIT
#include <ckpt/core/digest.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace digest_test {

namespace {

std::uint32_t crc(std::string_view text) {
    return ckpt::detail::crc32(std::as_bytes(std::span{text.data(), text.size()}));
}

TEST_CASE("the checksum is zlib's") {
    CHECK(crc("") == 0);
    CHECK(crc("a") == 0xE8B7BE43u);
    CHECK(crc("123456789") == 0xCBF43926u);
    CHECK(crc("The quick brown fox jumps over the lazy dog") == 0x414FA339u);
    CHECK(ckpt::detail::crc32(std::vector<std::byte>(32)) == 0x190A55ADu);
    CHECK(ckpt::detail::crc32(std::vector<std::byte>(32, std::byte{0xFF})) == 0xFF6CAB0Bu);
}

TEST_CASE("every length and every alignment agrees with one bit at a time") {
    std::vector<std::byte> data(1'100);
    std::uint32_t state = 1;
    for (std::byte& b : data) b = static_cast<std::byte>((state = state * 1664525u + 1013904223u) >> 24);
    for (std::size_t start = 0; start < 17; ++start) {
        std::uint32_t slow = ~0u;
        std::size_t wrong = 0;
        for (std::size_t length = 0; start + length < data.size(); ++length) {
            wrong += ckpt::detail::crc32(std::span{data}.subspan(start, length)) != ~slow;
            slow ^= static_cast<std::uint32_t>(data[start + length]);
            for (int bit = 0; bit < 8; ++bit) slow = (slow >> 1) ^ ((slow & 1u) != 0 ? 0xEDB88320u : 0u);
        }
        CHECK(wrong == 0);
    }
}

TEST_CASE("a checksum goes on where it stopped") {
    std::vector<std::byte> data(300);
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i * 7);
    const std::uint32_t whole = ckpt::detail::crc32(data);
    for (std::size_t cut = 0; cut <= data.size(); ++cut) {
        const std::uint32_t first = ckpt::detail::crc32(std::span{data}.first(cut));
        REQUIRE(ckpt::detail::crc32(std::span{data}.subspan(cut), first) == whole);
    }
}

} // namespace

} // namespace digest_test
