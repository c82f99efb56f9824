// tests/pickle/opcode.cpp: the table of opcodes, and the dictionary that the fuzzers make words from.
//
// SPDX-License-Identifier: MIT
#include <ckpt/pickle/opcode.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <set>
#include <string>

namespace opcode_test {

using namespace ckpt::detail;

namespace {

TEST_CASE("the table has the 68 opcodes of protocols 0 to 5, each with a name of its own") {
    std::array<int, 6> brought{};
    std::set<std::string_view> names;
    for (const opcode_info& row : opcode_table) {
        if (row.name.empty()) continue;
        REQUIRE(row.protocol <= 5);
        ++brought[row.protocol];
        CHECK(names.insert(row.name).second);
    }
    CHECK(names.size() == 68);
    CHECK(brought == std::array{22, 19, 12, 2, 10, 3}); // CPython's Lib/pickle.py
}

TEST_CASE("what follows an opcode is what pickletools says") {
    const auto takes = [](char op) { return opcode_table[static_cast<unsigned char>(op)].takes; };
    for (const char op : {'F', 'I', 'L', 'P', 'S', 'V', 'g', 'p'}) CHECK(takes(op) == argument::line);
    for (const char op : {'c', 'i'}) CHECK(takes(op) == argument::two_lines);
    for (const char op : {'K', 'h', 'q', '\x80', '\x82'}) CHECK(takes(op) == argument::u8);
    for (const char op : {'M', '\x83'}) CHECK(takes(op) == argument::u16);
    for (const char op : {'J', '\x84'}) CHECK(takes(op) == argument::i32);
    for (const char op : {'j', 'r'}) CHECK(takes(op) == argument::u32);
    for (const char op : {'U', 'C', '\x8a', '\x8c'}) CHECK(takes(op) == argument::bytes1);
    for (const char op : {'T', 'X', 'B', '\x8b'}) CHECK(takes(op) == argument::bytes4);
    for (const char op : {'\x8d', '\x8e', '\x96'}) CHECK(takes(op) == argument::bytes8);
    CHECK(takes('\x95') == argument::u64);
    CHECK(takes('G') == argument::f64);
    CHECK(std::count_if(opcode_table.begin(), opcode_table.end(), [](const opcode_info& row) {
              return !row.name.empty() && row.takes == argument::none;
          }) == 68 - 34);
}

TEST_CASE("the fuzzers' dictionary has a word for every opcode of the table") {
    std::ifstream file{CKPT_TEST_DATA "/../../fuzz/dict/pickle.dict"};
    std::set<std::string> words;
    for (std::string line; std::getline(file, line);) words.insert(line.substr(0, line.find('=')));
    REQUIRE(words.size() > 1);
    for (const opcode_info& row : opcode_table) {
        std::string name{row.name};
        std::transform(name.begin(), name.end(), name.begin(),
                       [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
        CAPTURE(name);
        CHECK((name.empty() || words.count(name) == 1));
    }
}

} // namespace

} // namespace opcode_test
