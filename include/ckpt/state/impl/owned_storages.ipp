// ckpt/state/impl/owned_storages.ipp: the definitions of owned_storages.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/sorting.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/state/owned_storages.hpp>

#include <algorithm>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The bytes of a gathered storage that a thread takes at once: in smaller pieces a transposed tensor would be read in
/// many small parts.
inline constexpr std::uint64_t gathered_piece_bytes = std::uint64_t{64} << 20;

CKPT_DETAIL_RARE owned_storages::~owned_storages() = default;

CKPT_DETAIL_RARE shared<owned_storages>
owned_storages::read(const storage_source& from, std::span<const tensor_data*> tensors, const workers& lent) {
    auto out = detail::make_shared<owned_storages>();
    plain_list<source_storage> wanted;
    std::vector<std::uint32_t> numbers; // here, by the storage's number there
    const auto change = [&](tensor_data& t) {
        if (t.refusal != nullptr || t.kind != layout::strided) return;
        if (t.storage >= numbers.size()) numbers.resize(std::size_t{t.storage} + 1 + numbers.size() / 2, none);
        if (numbers[t.storage] == none) {
            numbers[t.storage] = static_cast<std::uint32_t>(wanted.size());
            wanted.push_back({t.storage, numbers[t.storage], unknown});
        }
        std::uint8_t& unit = wanted[numbers[t.storage]].unit;
        const std::uint8_t own = info(t.type).component_bytes;
        unit = unit == unknown || unit == own ? own : mixed;
        t.storage = numbers[t.storage];
    };
    part_copies copies{out->memory_};
    for (const tensor_data*& t : tensors) {
        tensor_data copy = *t;
        copies.adopt(copy, &from, change);
        out->tensors_.push_back(out->memory_, copy);
        t = &out->tensors_.back();
    }
    out->entries_.resize(wanted.size());
    sort_values(wanted, [](const source_storage& a, const source_storage& b) { return a.there < b.there; });
    plain_list<crew_piece> pieces = out->place(from, {wanted.begin(), wanted.size()});
    progress_meter unwatched;
    work_through({pieces.begin(), pieces.size()}, lent, unwatched, [&](crew_piece& piece, std::span<std::byte>) {
        piece.failed = !out->copy(from, wanted[piece.run], piece);
    });
    for (const crew_piece& piece : pieces) {
        entry& e = out->entries_[wanted[piece.run].here];
        if (!piece.failed || e.failure) continue;
        if (auto done = out->copy(from, wanted[piece.run], piece); !done) e.failure = std::move(done).error();
    }
    for (const source_storage& s : wanted)
        if (s.unit != mixed) out->entries_[s.here].order = native_order();
    return out;
}

CKPT_DETAIL_DEF result<std::span<const std::byte>> owned_storages::bytes(std::uint32_t storage) const {
    const entry& e = entries_[storage];
    if (e.failure) return *e.failure;
    return std::span<const std::byte>{e.bytes};
}

CKPT_DETAIL_RARE result<void> owned_storages::read(std::uint32_t storage, std::uint64_t offset,
                                                   std::span<std::byte> out) const {
    const entry& e = entries_[storage];
    if (e.failure) return *e.failure;
    if (!out.empty()) std::memcpy(out.data(), e.bytes.data() + offset, out.size());
    return {};
}

CKPT_DETAIL_RARE plain_list<crew_piece> owned_storages::place(const storage_source& from,
                                                              std::span<const source_storage> wanted) {
    constexpr std::size_t alignment = 64;
    plain_list<crew_piece> pieces;
    std::size_t total = 0;
    for (std::uint32_t run = 0; run < wanted.size(); ++run) {
        const std::uint32_t there = wanted[run].there;
        entry& e = entries_[wanted[run].here];
        e.key = from.key(there);
        e.file = from.file(there);
        e.order = from.order(there);
        e.nbytes = from.nbytes(there);
        std::size_t length = 0;
        if (!checked_narrow(e.nbytes, length) || length > ~std::size_t{0} / 2 - total) {
            e.failure = error{.code = errc::limit,
                              .detail = str_cat("a storage of ", e.nbytes, " bytes does not fit into memory")};
            continue;
        }
        // A size that the file only claims is not allocated: a compressed record may claim any.
        if (auto there_is = from.read(there, 0, {}); !there_is) {
            e.failure = std::move(there_is).error();
            continue;
        }
        if (from.is_compressed(there)) { // read in its order, by one thread
            e.bytes = {memory_.whole_block(length + 1).data, length};
            pieces.push_back({run, 0, 0, length, true});
            continue;
        }
        e.bytes = {static_cast<std::byte*>(nullptr), length};
        total += (length + alignment - 1) / alignment * alignment;
        if (!from.is_gathered(there)) add_pieces(pieces, run, length);
        else
            for (std::uint64_t at = 0; at < length; at += gathered_piece_bytes)
                pieces.push_back({run, 0, at, (std::min)(length - at, gathered_piece_bytes), true});
    }
    block_ = pages{total};
    std::byte* at = block_.bytes().data();
    if (at == nullptr) at = memory_.whole_block(total).data; // in the way of this build where there is none
    for (const source_storage& s : wanted) {
        entry& e = entries_[s.here];
        if (e.failure || e.bytes.data() != nullptr) continue;
        e.bytes = {at, e.bytes.size()};
        at += (e.bytes.size() + alignment - 1) / alignment * alignment;
    }
    return pieces;
}

CKPT_DETAIL_RARE result<void> owned_storages::copy(const storage_source& from, const source_storage& s,
                                                   const crew_piece& piece) {
    const entry& e = entries_[s.here];
    const auto out = e.bytes.subspan(static_cast<std::size_t>(piece.offset), static_cast<std::size_t>(piece.length));
    if (e.order == native_order()) return from.read(s.there, piece.offset, out);
    constexpr std::size_t step = std::size_t{1} << 17; // still in the cache when its bytes are swapped
    for (std::size_t at = 0; at < out.size(); at += step) {
        const auto some = out.subspan(at, (std::min)(step, out.size() - at));
        if (auto done = from.read(s.there, piece.offset + at, some); !done) return done;
        swap_units(s.unit, some.data(), some.data(), some.size(), false);
    }
    return {};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
