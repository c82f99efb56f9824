// ckpt/torch/impl/stream_storages.ipp: the definitions of stream_storages.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/torch/stream_storages.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE std::uint32_t stream_storages::place(std::string_view key, std::uint64_t offset,
                                                      std::uint64_t nbytes) {
    entries_.push_back(memory_, {key, nullptr, nbytes, offset, byte_order::little});
    return static_cast<std::uint32_t>(entries_.size() - 1);
}

CKPT_DETAIL_RARE std::uint32_t stream_storages::add(std::span<const std::byte> bytes, byte_order order,
                                                    std::uint64_t offset) {
    static constexpr std::byte nothing{};
    entries_.push_back(memory_, {{}, bytes.empty() ? &nothing : bytes.data(), bytes.size(), offset, order});
    return static_cast<std::uint32_t>(entries_.size() - 1);
}

CKPT_DETAIL_RARE result<std::uint64_t> stream_storages::file_offset(std::uint32_t storage) const {
    const entry& e = entries_[storage];
    if (e.memory == nullptr) return from_.base() + e.offset;
    if (e.offset != no_offset) return e.offset;
    return transcoded_error();
}

CKPT_DETAIL_DEF result<stored_place> stream_storages::place_of(std::uint32_t storage) const {
    const entry& e = entries_[storage];
    return e.memory == nullptr ? stored_place{&from_, e.offset} : stored_place{};
}

CKPT_DETAIL_RARE void stream_storages::find_touched(std::uint32_t storage, std::uint64_t begin, std::uint64_t end,
                                                    range_visitor visit) const {
    const entry& e = entries_[storage];
    if (e.memory == nullptr) visit(from_, e.offset + begin, e.offset + end);
}

CKPT_DETAIL_DEF result<std::span<const std::byte>> stream_storages::bytes(std::uint32_t storage) const {
    const entry& e = entries_[storage];
    const auto length = static_cast<std::size_t>(e.nbytes);
    if (e.memory != nullptr) return std::span<const std::byte>{e.memory, length};
    if (!from_.is_mapped()) return not_mapped_error(e.key);
    return from_.mapped().subspan(static_cast<std::size_t>(e.offset), length);
}

CKPT_DETAIL_DEF result<void> stream_storages::read(std::uint32_t storage, std::uint64_t offset,
                                                   std::span<std::byte> out) const {
    const entry& e = entries_[storage];
    if (e.memory == nullptr) return from_.read(e.offset + offset, out);
    if (!out.empty()) std::memcpy(out.data(), e.memory + offset, out.size());
    return {};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
