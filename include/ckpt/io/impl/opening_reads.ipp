// ckpt/io/impl/opening_reads.ipp: the definitions of opening_reads.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/io/opening_reads.hpp>

#include <algorithm>
#include <cstring>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE opening_reads::opening_reads(shared<source> of) noexcept : of_{std::move(of)} {
    if (of_->whole_file() != nullptr) of_->opening_ = this;
}

CKPT_DETAIL_RARE opening_reads::~opening_reads() { of_->opening_ = nullptr; }

CKPT_DETAIL_RARE bool opening_reads::stretch::give(std::uint64_t offset, std::span<std::byte> out) const noexcept {
    if (offset < begin || offset - begin > bytes.size() || out.size() > bytes.size() - (offset - begin)) return false;
    std::memcpy(out.data(), bytes.data() + (offset - begin), out.size());
    return true;
}

CKPT_DETAIL_RARE result<void> opening_reads::read(std::uint64_t offset, std::span<std::byte> out) {
    constexpr std::uint64_t page = 4096;
    if (kept_.give(offset, out) || held_[0].give(offset, out) || held_[1].give(offset, out)) return {};
    auto& room = pages_[next_];
    if (out.size() > room.size() - page) return of_->read_file(offset, out);
    const std::uint64_t begin = offset / page * page;
    const std::span<std::byte> some{
        room.data(), static_cast<std::size_t>((std::min<std::uint64_t>)(room.size(), of_->size() - begin))};
    held_[next_] = {};
    // What the file no longer has is the error of what was asked for.
    if (!of_->read_file(begin, some)) return of_->read_file(offset, out);
    held_[next_] = {begin, some};
    (void)held_[next_].give(offset, out);
    next_ = 1 - next_;
    return {};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
