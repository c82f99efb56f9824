// ckpt/state/digest.hpp: one digest for the content of a state_dict.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict.
// Out:     SHA-256 over its keys, dtypes, shapes and values: the same for equal content, however it was written.
// Refuses: what has no values to sum: a tensor that was refused, sparse, meta.
#pragma once

#include <ckpt/core/sha256.hpp>
#include <ckpt/state/state_dict.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// SHA-256, as 64 hexadecimal digits, of one line "KEY\tDTYPE\tSHAPE\tCRC32\n" for each tensor, the lines sorted by the
/// bytes of their keys. SHAPE is "[10, 784]", "[]" for a scalar; CRC32 is `tensor::crc32` in 8 hexadecimal digits; a
/// backslash, a tab and a line end in a key are written `\\`, `\t` and `\n`. Order, sharing, strides, byte order and
/// container do not count. It finds accidents, not adversaries: the sums of values are CRC-32.
/// Reads all values; fails with the error of the first tensor that has none.
[[nodiscard]] inline result<std::string> checkpoint_digest(const state_dict& weights) {
    detail::sha256 sum;
    std::string line;
    const detail::state_dict_data& data = *weights.data_;
    for (const std::uint32_t at : data.by_key) {
        const std::string_view key = data.entries[at].key;
        const tensor tensor = detail::tensor_access::make(data.entries[at].data, data.source);
        const auto crc = tensor.crc32();
        if (!crc) {
            error e = crc.error();
            if (e.path.empty()) e.path = key;
            return e;
        }
        line.clear();
        for (const char c : key) {
            if (c == '\\') line += "\\\\";
            else if (c == '\t') line += "\\t";
            else if (c == '\n') line += "\\n";
            else line += c;
        }
        (line += '\t').append(name(tensor.dtype())) += "\t[";
        for (std::size_t i = 0; i < tensor.rank(); ++i)
            (line += i > 0 ? ", " : "") += detail::decimal(tensor.shape()[i]);
        line += "]\t";
        detail::append_hex(line, *crc);
        line += '\n';
        sum.add(line);
    }
    return sum.digest();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
