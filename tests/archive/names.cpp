// tests/archive/names.cpp: the word-wise checks of names against plain ones, byte by byte.
//
// SPDX-License-Identifier: MIT
#include <ckpt/archive/names.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <string>

namespace names_test {

using namespace ckpt::detail;

namespace {

std::string lower(std::string text) {
    for (char& c : text)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
    return text;
}

} // namespace

TEST_CASE("case is folded for ASCII capitals and for nothing else, at every place of a word") {
    for (unsigned byte = 0; byte < 256; ++byte)
        for (unsigned place = 0; place < 8; ++place) {
            const std::uint64_t folded = byte >= 'A' && byte <= 'Z' ? byte + 32 : byte;
            const std::uint64_t around = 0xFF5B'4080'007F'6101u & ~(std::uint64_t{0xFF} << (8 * place));
            REQUIRE(fold_case(around | (std::uint64_t{byte} << (8 * place))) ==
                    (fold_case(around) | (folded << (8 * place))));
        }
}

TEST_CASE("a byte is found in a word where it is, and only there") {
    for (const auto wanted :
         {static_cast<unsigned char>(0x00), static_cast<unsigned char>(0x5C), static_cast<unsigned char>(0x2E)})
        for (unsigned byte = 0; byte < 256; ++byte)
            for (unsigned place = 0; place < 8; ++place) {
                const std::uint64_t word = (0x0101'0101'0101'0101u & ~(std::uint64_t{0xFF} << (8 * place))) |
                                           (std::uint64_t{byte} << (8 * place));
                REQUIRE((has_byte(word, wanted) != 0) == (byte == wanted));
            }
}

TEST_CASE("Z9: a bad byte is found at every place of a name of every length") {
    for (std::size_t length = 1; length < 40; ++length) {
        const std::string good(length, 'a');
        REQUIRE(look_at_name(good).fault == name_fault::none);
        for (std::size_t at = 0; at < length; ++at) {
            std::string name = good;
            name[at] = '\0';
            REQUIRE(look_at_name(name).fault == name_fault::nul);
            name[at] = '\\';
            REQUIRE(look_at_name(name).fault == name_fault::backslash);
            name[at] = '/';
            REQUIRE(look_at_name(name).fault == (at == 0 ? name_fault::absolute : name_fault::none));
        }
    }
    CHECK(look_at_name("").fault == name_fault::empty);
    CHECK(look_at_name("..").fault == name_fault::parent);
    CHECK(look_at_name("a/..").fault == name_fault::parent);
    CHECK(look_at_name("../a").fault == name_fault::parent);
    CHECK(look_at_name("a/../b").fault == name_fault::parent);
    CHECK(look_at_name("a..b/c../..d/...").fault == name_fault::none);
}

TEST_CASE("Z3: names are compared without case, and hashed likewise, at every length and place") {
    for (std::size_t length = 1; length < 40; ++length) {
        const std::string name(length, 'k');
        for (std::size_t at = 0; at < length; ++at)
            for (const char c : {'K', 'j', 'l', '\x01', '\xEB'}) {
                std::string other = name;
                other[at] = c;
                const bool same = lower(other) == name;
                REQUIRE(same_name(name, other) == same);
                REQUIRE((look_at_name(name).hash == look_at_name(other).hash) == same);
                REQUIRE((name_before(name, other) || name_before(other, name)) == !same);
                REQUIRE_FALSE((name_before(name, other) && name_before(other, name)));
            }
        REQUIRE_FALSE(same_name(name, name + 'k'));
        REQUIRE_FALSE(same_name(name, name + '\x01'));
        REQUIRE(look_at_name(name).hash != look_at_name(name + '\x01').hash);
    }
}

} // namespace names_test
