// ckpt/write/impl/tensor_writer.ipp: the definitions of tensor_writer.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/io/source.hpp>
#include <ckpt/tensor/stored_bytes.hpp>
#include <ckpt/write/tensor_writer.hpp>

#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE result<void> write_progress::add(std::uint64_t bytes) {
    done_ += bytes;
    if (done_ - told_ < step && done_ != total_) return {};
    told_ = done_;
    if (call_({done_, total_})) return {};
    return error{.code = errc::cancelled,
                 .detail = "the progress callback said so after " + decimal(done_) + " of " + decimal(total_) +
                           " bytes; nothing was written"};
}

CKPT_DETAIL_RARE result<void> tensor_writer::named(result<void> done, const state_dict_entry& entry) const {
    if (!done && done.error().code != errc::write_failed && done.error().code != errc::cancelled)
        weights_.place(done.error(), entry.key);
    return done;
}

CKPT_DETAIL_RARE result<void> tensor_writer::append(const state_dict_entry& entry, output_file& out) {
    return named(append_bytes(*entry.data, out), entry);
}

CKPT_DETAIL_RARE result<void> tensor_writer::read(const state_dict_entry& entry, const taker& take) {
    return named(read_bytes(*entry.data, take), entry);
}

CKPT_DETAIL_RARE result<void> tensor_writer::read_bytes(const tensor_data& data, const taker& take) {
    return for_each_stored_bytes(&data, weights_.source, &readers_,
                                 [&](std::span<const std::byte> bytes) -> result<void> {
                                     constexpr std::size_t most = std::size_t{4} << 20;
                                     while (!bytes.empty()) {
                                         const auto part = bytes.first(bytes.size() < most ? bytes.size() : most);
                                         if (auto done = take(part); !done) return done;
                                         if (auto go_on = progress_.add(part.size()); !go_on) return go_on;
                                         bytes = bytes.subspan(part.size());
                                     }
                                     return {};
                                 });
}

CKPT_DETAIL_RARE result<void> tensor_writer::append_bytes(const tensor_data& data, output_file& out) {
    std::uint64_t offset = 0, length = 0;
    if (is_stored_range(data, *weights_.source, offset, length)) {
        const auto place = weights_.source->place_of(data.storage);
        if (!place) return place.error();
        if (const file* const from = place->from != nullptr ? place->from->whole_file() : nullptr; from != nullptr)
            return copy(*from, place->from->base() + place->offset + offset, length, out);
    }
    return read_bytes(data, [&out](std::span<const std::byte> bytes) { return out.write(bytes); });
}

CKPT_DETAIL_RARE result<void> tensor_writer::copy(const file& from, std::uint64_t offset, std::uint64_t length,
                                                  output_file& out) {
    constexpr std::uint64_t most = std::uint64_t{16} << 20;
    while (length > 0) {
        const std::uint64_t part = length < most ? length : most;
        if (auto done = out.copy(from, offset, part); !done) return done;
        if (auto go_on = progress_.add(part); !go_on) return go_on;
        offset += part;
        length -= part;
    }
    return {};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
