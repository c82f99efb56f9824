// tests/support/safetensors_writer.hpp: safetensors files for tests, from the text of their header.
//
// SPDX-License-Identifier: MIT
#pragma once

#include "zip_writer.hpp"

#include <cstdint>
#include <string>
#include <string_view>

namespace test_support {

/// A file with this header and this data; `claimed` is the length that it says the header has.
inline std::string safetensors_file(std::string_view header, std::string_view data,
                                    std::uint64_t claimed = ~std::uint64_t{0}) {
    return le64(claimed == ~std::uint64_t{0} ? header.size() : claimed).append(header).append(data);
}

/// One entry of a header.
inline std::string safetensors_entry(std::string_view name, std::string_view dtype, std::string_view shape,
                                     std::uint64_t begin, std::uint64_t end) {
    return '"' + std::string(name) + "\":{\"dtype\":\"" + std::string(dtype) + "\",\"shape\":" + std::string(shape) +
           ",\"data_offsets\":[" + std::to_string(begin) + ',' + std::to_string(end) + "]}";
}

} // namespace test_support
