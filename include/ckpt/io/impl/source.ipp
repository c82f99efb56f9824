// ckpt/io/impl/source.ipp: the definitions of source.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/io/source.hpp>

#include <algorithm>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF result<shared<source>> source::open(path_arg path, const source_options& options) {
    auto opened = file::open(path);
    if (!opened) return std::move(opened).failure();
    shared<source> out{new source};
    auto placed = out->place(options, opened->size());
    if (!placed) return std::move(placed).failure();
    out->file_ = std::move(*opened);
    if (options.mode == io_mode::map) {
        std::size_t skipped = 0;
        auto pages = out->file_.map(out->base_, out->size_, skipped);
        if (!pages) return std::move(pages).failure();
        out->pages_ = std::move(*pages);
        out->is_mapped_ = true;
        if (out->size_ != 0) out->mapped_ = out->pages_.bytes().subspan(skipped);
    }
    return out;
}

CKPT_DETAIL_RARE result<shared<source>> source::memory(std::span<const std::byte> bytes,
                                                       const source_options& options) {
    shared<source> out{new source};
    auto placed = out->place(options, bytes.size());
    if (!placed) return std::move(placed).failure();
    out->memory_ = bytes.subspan(static_cast<std::size_t>(out->base_), static_cast<std::size_t>(out->size_));
    out->in_memory_ = true;
    out->is_mapped_ = options.mode == io_mode::map;
    if (out->is_mapped_) out->mapped_ = out->memory_;
    return out;
}

CKPT_DETAIL_RARE result<shared<source>> source::part(const shared<source>& of, std::uint64_t offset,
                                                     std::uint64_t length) {
    shared<source> out{new source};
    auto placed = out->place({.offset = offset, .length = length}, of->size_);
    if (!placed) return std::move(placed).failure();
    out->whole_ = of->whole_ ? of->whole_ : of;
    out->base_ += of->base_;
    out->in_memory_ = of->in_memory_;
    out->is_mapped_ = of->is_mapped_;
    if (out->in_memory_)
        out->memory_ = of->memory_.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(length));
    if (out->is_mapped_)
        out->mapped_ = of->mapped_.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(length));
    return out;
}

CKPT_DETAIL_DEF result<void> source::read(std::uint64_t offset, std::span<std::byte> out) const {
    if (!range_inside(offset, out.size(), size_)) {
        return error{.code = errc::truncated,
                     .offset = base_ + (offset < size_ ? offset : size_),
                     .detail = str_cat(out.size(), " bytes at ", offset, " of ", size_)};
    }
    if (out.empty()) return {};
    if (opening_ != nullptr) return opening_->read(offset, out);
    if (!in_memory_) return read_file(offset, out);
    std::memcpy(out.data(), memory_.data() + offset, out.size());
    return {};
}

CKPT_DETAIL_DEF result<void> source::read_file(std::uint64_t offset, std::span<std::byte> out) const {
    return (whole_ ? whole_->file_ : file_).read(base_ + offset, out);
}

CKPT_DETAIL_RARE void source::keep(std::uint64_t offset, std::span<const std::byte> bytes) const noexcept {
    if (opening_ != nullptr) opening_->keep(offset, bytes);
}

CKPT_DETAIL_DEF std::span<const std::byte> source::mapped_part(std::uint64_t begin, std::uint64_t end) const noexcept {
    const source& all = whole_ ? *whole_ : *this;
    if (!all.is_mapped_ || begin < all.base_ || end < begin || end - all.base_ > all.mapped_.size()) return {};
    return all.mapped_.subspan(static_cast<std::size_t>(begin - all.base_), static_cast<std::size_t>(end - begin));
}

CKPT_DETAIL_RARE result<void> source::place(const source_options& options, std::uint64_t whole) {
    const bool open_end = options.length == ~std::uint64_t{0};
    if (options.offset > whole || !range_inside(options.offset, open_end ? 0 : options.length, whole)) {
        return error{.code = errc::range_outside_file,
                     .offset = whole,
                     .detail = str_cat(open_end ? std::string("the part") : str_cat(options.length, " bytes"), " at ",
                                       options.offset, " of a file of ", whole),
                     .hint = "Check the offset and the length that were asked for"};
    }
    base_ = options.offset;
    size_ = open_end ? whole - options.offset : options.length;
    return {};
}

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
