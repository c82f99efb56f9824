// ckpt/write/impl/tensor_writer.ipp: the definitions of tensor_writer.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/io/source.hpp>
#include <ckpt/tensor/stored_bytes.hpp>
#include <ckpt/write/tensor_writer.hpp>

#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE result<void> tensor_writer::end(result<void> done, const state_dict_entry& entry) {
    if (done && !meter_.finish()) return meter_.stopped();
    if (!done && done.error().code != errc::write_failed && done.error().code != errc::cancelled)
        weights_.place(done.error(), entry.key);
    return done;
}

CKPT_DETAIL_RARE result<void> tensor_writer::append(const state_dict_entry& entry, output_file& out) {
    meter_.begin(bytes_of(entry.data->type, entry.data->numel));
    return end(append_bytes(*entry.data, out), entry);
}

CKPT_DETAIL_RARE result<void> tensor_writer::read(const state_dict_entry& entry, const taker& take) {
    meter_.begin(bytes_of(entry.data->type, entry.data->numel));
    return end(for_each_stored_bytes(entry.data, weights_.source, &readers_, take), entry);
}

CKPT_DETAIL_RARE result<void> tensor_writer::append_bytes(const tensor_data& data, output_file& out) {
    std::uint64_t offset = 0, length = 0;
    if (is_stored_range(data, *weights_.source, offset, length)) {
        const auto place = weights_.source->place_of(data.storage);
        if (!place) return place.error();
        if (const file* const from = place->from != nullptr ? place->from->whole_file() : nullptr; from != nullptr)
            return copy(*from, place->from->base() + place->offset + offset, length, out);
    }
    return for_each_stored_bytes(&data, weights_.source, &readers_,
                                 [&out](std::span<const std::byte> bytes) { return out.write(bytes); });
}

CKPT_DETAIL_RARE result<void> tensor_writer::copy(const file& from, std::uint64_t offset, std::uint64_t length,
                                                  output_file& out) {
    constexpr std::uint64_t most = progress_meter::step;
    while (length > 0) {
        const std::uint64_t part = length < most ? length : most;
        if (auto done = out.copy(from, offset, part); !done) return done;
        if (!meter_.add(part)) return meter_.stopped();
        offset += part;
        length -= part;
    }
    return {};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
