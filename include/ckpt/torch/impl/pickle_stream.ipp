// ckpt/torch/impl/pickle_stream.ipp: the definitions of pickle_stream.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/number.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/torch/pickle_stream.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE std::span<const std::byte> read_window::at(std::uint64_t offset, std::size_t least) {
    if (offset >= begin_ && offset - begin_ <= held_ && held_ - (offset - begin_) >= least)
        return {bytes_.data() + (offset - begin_), static_cast<std::size_t>(held_ - (offset - begin_))};
    if (failure_ || offset >= from_.size()) return {};
    const auto n = static_cast<std::size_t>((std::min<std::uint64_t>)(bytes_.size(), from_.size() - offset));
    held_ = 0;
    if (auto read = from_.read(offset, {bytes_.data(), n}); !read) {
        failure_ = std::move(read).error();
        return {};
    }
    begin_ = offset;
    held_ = n;
    return {bytes_.data(), n};
}

/// The length of an opcode with its argument, without the lines of text behind it, and their number: GLOBAL is 1 byte
/// and 2 lines. `head`: the opcode and up to 8 bytes behind it. False where the length overflows.
inline bool opcode_length(const opcode_info& known, std::span<const std::byte> head, std::uint64_t& length,
                          int& lines) {
    const auto number = [&head](std::size_t bytes) {
        std::uint64_t value = 0;
        for (std::size_t i = bytes; i-- > 0;)
            value = value << 8 | (1 + i < head.size() ? std::to_integer<std::uint64_t>(head[1 + i]) : 0u);
        return value;
    };
    length = 1;
    lines = 0;
    switch (known.takes) {
    case argument::none: break;
    case argument::u8: length = 2; break;
    case argument::u16: length = 3; break;
    case argument::u32:
    case argument::i32: length = 5; break;
    case argument::u64:
    case argument::f64: length = 9; break;
    case argument::bytes1: length = 2 + number(1); break;
    case argument::bytes4: length = 5 + number(4); break;
    case argument::bytes8: return checked_add(9, number(8), length);
    case argument::line: lines = 1; break;
    case argument::two_lines: lines = 2; break;
    }
    return true;
}

CKPT_DETAIL_RARE result<std::uint64_t> pickle_end(read_window& from, const source& file, std::uint64_t begin,
                                                  std::uint64_t most) {
    std::uint64_t at = begin;
    const auto fail = [&](errc code, std::string seen, std::uint8_t op) -> error {
        if (from.failure()) return *from.failure();
        error e{.code = code,
                .opcode = op,
                .offset = file.base() + (std::min)(at, file.size()),
                .detail = std::move(seen),
                .opcode_name = opcode_table[op].name};
        if (code == errc::pickle_truncated)
            e.hint = "the file is probably truncated; compare its size with the original";
        if (code == errc::limit) e.hint = "raise limits.pickle_bytes if the file is trusted";
        return e;
    };
    const std::uint64_t end = most < file.size() - begin ? begin + most : file.size();
    const auto too_long = [&](std::uint8_t op) {
        return end < file.size() ? fail(errc::limit, str_cat("a pickle of more than ", most, " bytes"), op)
                                 : fail(errc::pickle_truncated, "the file ends inside a pickle", op);
    };
    for (;;) {
        const std::span<const std::byte> head = from.at(at, 9);
        if (head.empty() || at >= end) return too_long(0);
        const auto op = std::to_integer<std::uint8_t>(head[0]);
        const opcode_info& known = opcode_table[op];
        if (known.name.empty())
            return fail(errc::pickle_opcode, str_cat("the byte ", hexadecimal(op), ", which is no opcode"), 0);
        std::uint64_t length = 1;
        int lines = 0;
        if (!opcode_length(known, head, length, lines)) return too_long(op);
        if (length > end - at) return too_long(op);
        std::uint64_t next = at + length;
        while (lines > 0) {
            const std::span<const std::byte> part = from.at(next, 1);
            if (part.empty() || next >= end) return too_long(op);
            const void* const found = std::memchr(part.data(), '\n', part.size());
            next += found == nullptr
                        ? part.size()
                        : static_cast<std::uint64_t>(static_cast<const std::byte*>(found) - part.data()) + 1;
            lines -= found != nullptr;
        }
        if (next > end) return too_long(op);
        at = next;
        if (static_cast<opcode>(op) == opcode::stop) return at;
    }
}

CKPT_DETAIL_RARE result<std::span<const std::byte>> read_owned(const source& from, std::uint64_t begin,
                                                               std::uint64_t end, arena& memory) {
    const auto n = static_cast<std::size_t>(end - begin);
    const std::span<std::byte> out{memory.allocate<std::byte>(n + 1), n};
    if (auto read = from.read(begin, out); !read) return std::move(read).failure();
    return std::span<const std::byte>{out};
}

CKPT_DETAIL_RARE error no_such_checkpoint(std::uint32_t index, std::uint64_t held) {
    return {.code = errc::range_outside_file,
            .detail = str_cat("checkpoint ", index, " was asked for, the file holds ", held,
                              held == 1 ? " (number 0)" : " (numbers from 0)"),
            .hint = "open_options.index counts the checkpoints that lie one after another in one file"};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
