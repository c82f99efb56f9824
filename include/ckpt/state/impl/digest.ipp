// ckpt/state/impl/digest.ipp: the definitions of digest.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sha256.hpp>
#include <ckpt/state/digest.hpp>
#include <ckpt/state/state_dict_data.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF result<std::string> checkpoint_digest(const state_dict& weights) {
    detail::sha256 sum;
    std::string line;
    const detail::state_dict_data& data = *detail::state_dict_access::data(weights);
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
