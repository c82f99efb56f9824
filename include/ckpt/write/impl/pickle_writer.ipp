// ckpt/write/impl/pickle_writer.ipp: the definitions of pickle_writer.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/write/pickle_writer.hpp>

#include <bit>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE void pickle_writer::integer(std::int64_t n) {
    const auto bits = static_cast<std::uint64_t>(n);
    if (bits <= 0xFF) {
        op(opcode::binint1);
        append_le(bytes_, bits, 1);
    } else if (bits <= 0xFFFF) {
        op(opcode::binint2);
        append_le(bytes_, bits, 2);
    } else if (n == static_cast<std::int32_t>(n)) {
        op(opcode::binint);
        append_le(bytes_, bits, 4);
    } else {
        unsigned length = 8;
        while (n >> (8 * length - 9) == (n < 0 ? -1 : 0)) --length; // the byte before has the sign, too
        op(opcode::long1);
        append_le(bytes_, length, 1);
        append_le(bytes_, bits, length);
    }
}

CKPT_DETAIL_RARE void pickle_writer::long_integer(std::span<const std::byte> bytes) {
    op(opcode::long1);
    append_le(bytes_, bytes.size(), 1);
    bytes_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

CKPT_DETAIL_RARE void pickle_writer::real(double x) {
    const auto bits = std::bit_cast<std::uint64_t>(x);
    op(opcode::binfloat);
    for (int shift = 56; shift >= 0; shift -= 8) append_le(bytes_, bits >> shift, 1);
}

CKPT_DETAIL_RARE void pickle_writer::text(std::string_view utf8) {
    op(opcode::binunicode);
    append_le(bytes_, utf8.size(), 4);
    bytes_ += utf8;
}

CKPT_DETAIL_RARE bool pickle_writer::recall_known(std::string_view module, std::string_view name) {
    for (const known_name& k : known_)
        if (k.name == name && k.module == module) {
            recall(k.number);
            return true;
        }
    return false;
}

CKPT_DETAIL_RARE void pickle_writer::global(std::string_view module, std::string_view name) {
    if (recall_known(module, name)) return;
    op(opcode::global);
    ((bytes_ += module) += '\n') += name;
    bytes_ += '\n';
    known_.push_back({std::string(module), std::string(name), keep()});
}

CKPT_DETAIL_RARE void pickle_writer::word(std::string_view utf8) {
    if (recall_known({}, utf8)) return;
    text(utf8);
    known_.push_back({{}, std::string(utf8), keep()});
}

CKPT_DETAIL_RARE void pickle_writer::tuple(std::size_t n) {
    if (n == 0) op(opcode::empty_tuple);
    else if (n == 1) op(opcode::tuple1);
    else if (n == 2) op(opcode::tuple2);
    else if (n == 3) op(opcode::tuple3);
    else op(opcode::tuple);
}

CKPT_DETAIL_RARE void pickle_writer::integers(std::span<const std::int64_t> numbers) {
    tuple_mark(numbers.size());
    for (const std::int64_t n : numbers) integer(n);
    tuple(numbers.size());
}

CKPT_DETAIL_RARE void pickle_writer::empty_ordered_dict() {
    global("collections", "OrderedDict");
    op(opcode::empty_tuple);
    op(opcode::reduce);
}

CKPT_DETAIL_RARE std::uint32_t pickle_writer::keep() {
    op(kept_ <= 0xFF ? opcode::binput : opcode::long_binput);
    append_le(bytes_, kept_, kept_ <= 0xFF ? 1 : 4);
    return kept_++;
}

CKPT_DETAIL_RARE void pickle_writer::recall(std::uint32_t kept) {
    op(kept <= 0xFF ? opcode::binget : opcode::long_binget);
    append_le(bytes_, kept, kept <= 0xFF ? 1 : 4);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
