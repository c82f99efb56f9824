// ckpt/archive/impl/inflate.ipp: the definitions of inflate.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/archive/inflate.hpp>
#include <ckpt/archive/zip_format.hpp>
#include <ckpt/archive/zip_locate.hpp>
#include <ckpt/core/checked.hpp>
#include <ckpt/core/digest.hpp>
#include <ckpt/core/str_cat.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE result<std::uint64_t> locate_deflated(const source& from, const record& r, const inflater& inflate) {
    // The densest deflate data are matches of 258 bytes that take two bits each, one for the length and one for the
    // distance: 4 * 258 bytes for each byte.
    constexpr std::uint64_t most_per_byte = 1032;
    if (r.method != 8 || !inflate) return zip::not_stored(from, r);
    auto at = zip::locate(from, r);
    if (!at) return at;
    if (r.size > budget_for(most_per_byte, r.stored_size, 64))
        return zip::fail(from, errc::limit, r.header_offset, r.name,
                         str_cat(r.size, " bytes are declared, which no ", r.stored_size, " deflated bytes become"),
                         zip::damage_hint);
    return at;
}

CKPT_DETAIL_RARE result<void> inflate_stream::read(std::span<std::byte> out) {
    if (auto done = fill(out); !done) return done;
    const std::uint64_t end = position_ + out.size();
    if (record_.crc32 != 0 && end > summed_) {
        crc_ = crc32(out.subspan(static_cast<std::size_t>(summed_ - position_)), crc_);
        summed_ = end;
    }
    position_ = end;
    return position_ == record_.size ? check_end() : result<void>{};
}

CKPT_DETAIL_RARE result<void> inflate_stream::skip_to(std::uint64_t position) {
    constexpr std::uint64_t most = std::uint64_t{1} << 16;
    while (position_ < position) {
        skipped_.resize(static_cast<std::size_t>(most));
        if (auto done = read(std::span{skipped_}.first(
                static_cast<std::size_t>((std::min<std::uint64_t>)(position - position_, most))));
            !done)
            return done;
    }
    return {};
}

CKPT_DETAIL_RARE result<void> inflate_stream::finish() {
    if (checked_) return {};
    return position_ == record_.size ? check_end() : skip_to(record_.size);
}

CKPT_DETAIL_RARE void inflate_stream::rewind() noexcept {
    close();
    position_ = taken_ = 0;
    ended_ = false;
    in_ = {};
}

CKPT_DETAIL_RARE inflate_stream::mark inflate_stream::here() const {
    if (inflate_.copy == nullptr || state_ == nullptr || ended_) return {};
    return {inflate_.copy(state_), position_, taken_ - in_.size()};
}

CKPT_DETAIL_RARE result<void> inflate_stream::go_to(const mark& place) {
    void* const state = inflate_.copy(place.state);
    if (state == nullptr) return no_memory();
    close();
    state_ = state;
    position_ = place.position;
    taken_ = place.taken;
    ended_ = false;
    in_ = {};
    return {};
}

CKPT_DETAIL_RARE void inflate_stream::free_buffers() noexcept {
    taken_ -= in_.size();
    in_ = {};
    deflated_ = std::vector<std::byte>{};
    skipped_ = std::vector<std::byte>{};
}

CKPT_DETAIL_RARE void inflate_stream::close() noexcept {
    if (state_ != nullptr) inflate_.end(state_);
    state_ = nullptr;
}

CKPT_DETAIL_RARE result<void> inflate_stream::fill(std::span<std::byte> out) {
    constexpr std::uint64_t most = std::uint64_t{1} << 16;
    if (state_ == nullptr) state_ = inflate_.begin(inflate_.context);
    if (state_ == nullptr) return no_memory();
    while (!out.empty() && !ended_) {
        if (in_.empty() && taken_ < record_.stored_size) {
            const auto n = static_cast<std::size_t>((std::min)(record_.stored_size - taken_, most));
            deflated_.resize(static_cast<std::size_t>((std::min)(record_.stored_size, most)));
            if (auto done = from_.read(at_ + taken_, std::span{deflated_}.first(n)); !done) {
                done.error().record = record_.name;
                return done;
            }
            in_ = std::span{deflated_}.first(n);
            taken_ += n;
        }
        const std::size_t given = in_.size(), room = out.size();
        const inflater::outcome how = inflate_.next(state_, in_, out);
        ended_ = how == inflater::outcome::finished;
        const bool stuck = in_.size() == given && out.size() == room;
        if (how == inflater::outcome::failed || (stuck && !ended_ && (given != 0 || taken_ == record_.stored_size)))
            return wrong_length();
    }
    return out.empty() ? result<void>{} : wrong_length();
}

CKPT_DETAIL_RARE result<void> inflate_stream::check_end() {
    if (!ended_) { // room for a byte too many, so that the function reads what marks the end
        std::byte more{};
        const auto none = fill({&more, 1});
        if (!ended_ && !none) return none;
        if (none) return wrong_length();
    }
    if (record_.crc32 != 0 && crc_ != record_.crc32) return zip::wrong_checksum(from_, record_, at_, crc_);
    checked_ = true;
    return {};
}

CKPT_DETAIL_RARE error inflate_stream::no_memory() const {
    return zip::fail(from_, errc::limit, at_, record_.name, "there is no memory to inflate the record", {});
}

CKPT_DETAIL_RARE error inflate_stream::wrong_length() const {
    return zip::fail(
        from_, errc::checksum_mismatch, at_, record_.name,
        str_cat(record_.stored_size, " deflated bytes do not become the ", record_.size, " that the directory says"),
        zip::damage_hint);
}

CKPT_DETAIL_RARE result<std::span<const std::byte>>
read_content(const source& from, const record& r, const inflater& inflate, std::uint64_t most, arena& memory) {
    if (r.method == 0) return zip::read_record(from, r, memory, true);
    auto at = locate_deflated(from, r, inflate);
    if (!at) return std::move(at).failure();
    std::size_t length = 0;
    if (r.size > most || !checked_narrow(r.size, length))
        return zip::fail(from, errc::limit, *at, r.name,
                         str_cat(r.stored_size, " deflated bytes would become ", r.size, ", the limit is ", most),
                         "raise limits.inflated_per_byte if the file is trusted");
    const std::span<std::byte> out{memory.allocate<std::byte>(length), length};
    inflate_stream stream{from, r, *at, inflate};
    if (auto done = stream.read(out); !done) return std::move(done).failure();
    return std::span<const std::byte>{out};
}

CKPT_DETAIL_RARE result<std::span<const std::byte>>
read_parsed(const source& from, const record& r, const limits& budget, const inflater& inflate, arena& memory) {
    const std::uint64_t ceiling = (std::min<std::uint64_t>)(budget.pickle_bytes, 0xFFFF'FFFFu);
    if (r.size > ceiling)
        return zip::fail(from, errc::limit, r.header_offset, r.name,
                         str_cat("the record has ", r.size, " bytes, limits.pickle_bytes is ", ceiling), {});
    return read_content(from, r, inflate, budget_for(budget.inflated_per_byte, r.stored_size, 1u << 20), memory);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
