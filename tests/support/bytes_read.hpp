// tests/support/bytes_read.hpp: how many bytes this process has read from files.
//
// SPDX-License-Identifier: MIT
// In:      /proc/self/io, which only Linux has.
// Out:     a count; what a slice of a tensor cost.
#pragma once

#include <ckpt/ckpt.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <fstream>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace test_support {

inline std::uint64_t bytes_read() {
    std::ifstream io("/proc/self/io");
    std::string word;
    std::uint64_t n = 0;
    io >> word >> n; // rchar
    return n;
}

/// The bytes read for a copy of "w" after the rule, and its values.
inline std::pair<std::uint64_t, std::vector<float>> cost_of_slice(const ckpt::state_dict& weights, const char* rule) {
    const auto slice = ckpt::remap(weights, ckpt::key_map::parse(rule).value()).value();
    std::vector<float> values(slice.at("w").value().numel());
    const std::uint64_t before = bytes_read();
    REQUIRE(slice.at("w").value().copy_to(std::span(values)).has_value());
    return {bytes_read() - before, values};
}

} // namespace test_support
