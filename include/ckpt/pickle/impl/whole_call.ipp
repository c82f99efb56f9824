// ckpt/pickle/impl/whole_call.ipp: the definitions of whole_call.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/utf8.hpp>
#include <ckpt/pickle/whole_call.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_INLINE bool whole_call_reader::get(std::uint32_t& out) noexcept {
    std::size_t index = 0;
    if (here() == opcode::binget) {
        index = number<std::uint8_t>();
        at_ += 2;
    } else if (here() == opcode::long_binget) {
        index = number<std::uint32_t>();
        at_ += 5;
    } else {
        return false;
    }
    if (index >= memo_.size()) return false;
    out = memo_[index];
    return out != absent_node;
}

CKPT_DETAIL_INLINE bool whole_call_reader::put() noexcept {
    if (here() == opcode::long_binput) {
        if (number<std::uint32_t>() != next_) return false;
        at_ += 5;
    } else if (here() == opcode::binput) {
        if (number<std::uint8_t>() != next_) return false;
        at_ += 2;
    } else if (!is(opcode::memoize)) {
        return false;
    }
    ++next_;
    return true;
}

CKPT_DETAIL_INLINE bool whole_call_reader::read_key(std::string_view& out) noexcept {
    std::size_t length = 0;
    if (here() == opcode::binunicode) {
        length = number<std::uint32_t>();
        at_ += 5;
    } else if (here() == opcode::short_binunicode) {
        length = number<std::uint8_t>();
        at_ += 2;
    } else {
        return false;
    }
    if (static_cast<std::size_t>(end_ - at_) < length) return false;
    out = {at_, length};
    at_ += length;
    return static_cast<std::size_t>(end_ - at_) >= most_bytes && is_ascii(out) && put();
}

CKPT_DETAIL_INLINE bool whole_call_reader::text(std::string_view& out) noexcept {
    if (here() != opcode::binget && here() != opcode::long_binget) return read_key(out);
    std::uint32_t known{};
    if (!get(known)) return false;
    const node& n = graph_.nodes[known];
    out = graph::text_of(n);
    return n.kind == node_kind::string && is_ascii(out);
}

CKPT_DETAIL_INLINE bool whole_call_reader::integer(std::uint64_t& out) noexcept {
    if (here() == opcode::binint1) {
        out = number<std::uint8_t>();
        at_ += 2;
    } else if (here() == opcode::binint2) {
        out = number<std::uint16_t>();
        at_ += 3;
    } else if (here() == opcode::binint) {
        out = number<std::uint32_t>();
        if (out >= 0x8000'0000u) return false; // negative; the opcode is still there, so that nothing else follows
        at_ += 5;
    } else {
        return false;
    }
    return true;
}

CKPT_DETAIL_INLINE bool whole_call_reader::integers(std::int64_t* out, std::uint32_t& rank) noexcept {
    rank = 0;
    if (is(opcode::empty_tuple)) return true;
    const bool marked = is(opcode::mark);
    std::uint64_t value{};
    while (rank < whole_call::most_rank && integer(value)) out[rank++] = static_cast<std::int64_t>(value);
    if (rank == 0) return false;
    const opcode closing = marked      ? opcode::tuple
                           : rank == 1 ? opcode::tuple1
                           : rank == 2 ? opcode::tuple2
                                       : opcode::tuple3;
    return (marked || rank <= 3) && is(closing) && put();
}

CKPT_DETAIL_INLINE bool whole_call_reader::arguments(whole_call& out) noexcept {
    if (!get(out.tag) || !get(out.type) || !text(out.key) || !get(out.place) || !integer(out.count) ||
        !is(opcode::tuple) || !put() || !is(opcode::binpersid) || !integer(out.offset) ||
        !integers(out.numbers, out.rank))
        return false;
    std::uint32_t steps = 0;
    if (!integers(out.numbers + out.rank, steps) || steps != out.rank) return false;
    out.flag = is(opcode::newtrue);
    return (out.flag || is(opcode::newfalse)) && get(out.empty_callable) && is(opcode::empty_tuple) &&
           is(opcode::reduce) && put() && is(opcode::tuple) && put() && is(opcode::reduce) && put();
}

CKPT_DETAIL_DEF bool whole_call_reader::read(whole_call& out) noexcept {
    whole_call_reader local = *this; // which compilers keep in registers
    const bool done = local.arguments(out);
    at_ = local.at_;
    next_ = local.next_;
    return done;
}

CKPT_DETAIL_DEF bool whole_call_reader::read_next(std::string_view& text, std::uint32_t callable) noexcept {
    std::uint32_t found{};
    return read_key(text) && get(found) && found == callable;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
