// ckpt/state/impl/digest.ipp: the definitions of digest.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/core/sha256.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/state/digest.hpp>
#include <ckpt/state/state_dict_data.hpp>
#include <ckpt/tensor/access.hpp>

#include <string>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_DEF digester::digester() : readers_{detail::make_shared<detail::storage_readers>()} {}

CKPT_DETAIL_DEF result<std::uint32_t> digester::crc32(const tensor& of, const progress_callback& progress) {
    detail::progress_meter meter{progress};
    meter.expect(of.nbytes());
    meter.begin(of.nbytes());
    readers_->meter = &meter;
    auto out =
        detail::digest_tensor(detail::tensor_access::data(of), detail::tensor_access::source(of), readers_.get());
    readers_->meter = nullptr;
    if (out && !meter.finish()) return meter.stopped();
    return out;
}

namespace detail {

/// The sums of the tensors of a state_dict, in its order. They are read in the order of their storages.
inline result<std::vector<std::uint32_t>> sums_of(const state_dict_data& data, progress_meter& meter) {
    const auto by_key = data.by_key();
    const auto at = [&](std::uint32_t i) { return data.entries[by_key[i]]; };
    const std::vector<std::uint32_t> order = sorted_indices(by_key.size(), [&](std::uint32_t x, std::uint32_t y) {
        const tensor_data &a = *at(x).data, &b = *at(y).data;
        if (a.storage != b.storage) return a.storage < b.storage;
        return a.storage_offset != b.storage_offset ? a.storage_offset < b.storage_offset : x < y;
    });
    std::vector<std::uint32_t> out(order.size());
    for (const std::uint32_t i : order) meter.expect(bytes_of(*at(i).data));
    storage_readers readers;
    readers.meter = &meter;
    auto failed = static_cast<std::uint32_t>(order.size());
    error first;
    for (const std::uint32_t i : order) {
        meter.begin(bytes_of(*at(i).data));
        if (i > failed) continue;
        auto crc = digest_tensor(at(i).data, data.source, &readers);
        if (meter.is_stopped() || !meter.finish()) return meter.stopped();
        if (crc) {
            out[by_key[i]] = *crc;
            continue;
        }
        failed = i;
        first = std::move(crc).error();
        if (first.path.empty()) first.path = at(i).key;
    }
    if (failed < out.size()) return first;
    return out;
}

} // namespace detail

CKPT_DETAIL_DEF result<std::string> checkpoint_digest(const state_dict& weights, const progress_callback& progress) {
    detail::progress_meter meter{progress};
    const auto sums = detail::sums_of(*detail::state_dict_access::data(weights), meter);
    if (!sums) return sums.error();
    return checkpoint_digest(weights, *sums);
}

CKPT_DETAIL_DEF std::string checkpoint_digest(const state_dict& weights, std::span<const std::uint32_t> sums) {
    detail::sha256 sum;
    std::string line;
    const detail::state_dict_data& data = *detail::state_dict_access::data(weights);
    for (const std::uint32_t number : data.by_key()) {
        const detail::state_dict_entry& entry = data.entries[number];
        const std::string_view key = entry.key;
        const tensor tensor = detail::tensor_access::make(entry.data, data.source);
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
        detail::append_hex(line, sums[number]);
        line += '\n';
        sum.add(line);
    }
    return sum.digest();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
