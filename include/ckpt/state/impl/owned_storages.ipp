// ckpt/state/impl/owned_storages.ipp: the definitions of owned_storages.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/plain_list.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/state/owned_storages.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE shared<owned_storages> owned_storages::read(const storage_source& from,
                                                             std::span<const tensor_data*> tensors) {
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
    for (const source_storage& s : wanted) {
        entry& e = out->entries_[s.here];
        e.key = from.key(s.there);
        e.file = from.file(s.there);
        e.order = from.order(s.there);
        e.nbytes = from.nbytes(s.there);
        if (auto done = out->copy(from, s.there, e); !done) e.failure = std::move(done).error();
        swap(e, s.unit);
    }
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

CKPT_DETAIL_DEF result<void> owned_storages::copy(const storage_source& from, std::uint32_t storage, entry& e) {
    std::size_t length = 0;
    if (!checked_narrow(e.nbytes, length))
        return error{.code = errc::limit,
                     .detail = "a storage of " + decimal(e.nbytes) + " bytes does not fit into memory"};
    // A size that the file only claims is not allocated: a compressed record may claim any.
    if (auto there = from.read(storage, 0, {}); !there) return there;
    e.bytes = {memory_.whole_block((std::max)(length, std::size_t{1})).data, length};
    return from.read(storage, 0, e.bytes);
}

CKPT_DETAIL_DEF void owned_storages::swap(entry& e, std::uint8_t unit) {
    if (e.order == native_order() || unit == mixed) return;
    for (std::size_t at = 0; at + unit <= e.bytes.size(); at += unit)
        std::reverse(e.bytes.begin() + static_cast<std::ptrdiff_t>(at),
                     e.bytes.begin() + static_cast<std::ptrdiff_t>(at + unit));
    e.order = native_order();
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
