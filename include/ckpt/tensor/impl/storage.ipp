// ckpt/tensor/impl/storage.ipp: the definitions of storage.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/tensor/storage.hpp>

#include <algorithm>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF result<void> storage_cursor::read(std::uint64_t offset, std::span<std::byte> out) const {
    return meter == nullptr ? read_piece(offset, out) : read_in_steps(offset, out);
}

CKPT_DETAIL_RARE result<void> storage_cursor::read_in_steps(std::uint64_t offset, std::span<std::byte> out) const {
    // Pieces of a gather may read the same bytes again.
    const std::size_t most = source->is_gathered(storage) ? out.size() : std::size_t{progress_meter::step};
    while (!out.empty()) {
        const std::span<std::byte> piece = out.first((std::min)(out.size(), most));
        if (auto done = read_piece(offset, piece); !done) return done;
        if (auto going = count(piece.size()); !going) return going;
        offset += piece.size();
        out = out.subspan(piece.size());
    }
    return {};
}

CKPT_DETAIL_DEF result<void> storage_cursor::read_piece(std::uint64_t offset, std::span<std::byte> out) const {
    if (!reader && files == nullptr) return source->read(storage, offset, out);
    auto done = reader ? reader->read(offset, out) : files->read(place, offset, out);
    if (!done && done.error().file.empty()) done.error().file = source->file(storage);
    return done;
}

CKPT_DETAIL_RARE result<void> storage_cursor::finish() const {
    if (!reader) return {};
    auto done = reader->finish();
    if (!done && done.error().file.empty()) done.error().file = source->file(storage);
    return done;
}

CKPT_DETAIL_DEF error not_mapped_error(std::string_view record) {
    return {.code = errc::not_mapped,
            .record = std::string(record),
            .detail = "the file is read, not mapped, so the storage is not in memory",
            .hint = "use copy_to or copy_as, or open with io_mode::map or with storage_mode::owned"};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
