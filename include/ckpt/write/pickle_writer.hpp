// ckpt/write/pickle_writer.hpp: writes a pickle, opcode by opcode.
//
// SPDX-License-Identifier: MIT
// In:      values in the order in which an unpickler makes them.
// Out:     a pickle of protocol 2, of the opcodes that torch's safe mode reads.
// Refuses: nothing. The caller gives texts and long integers of lengths that fit.
//
// The opcodes: CPython's Lib/pickletools.py.
#pragma once

#include <ckpt/core/append_le.hpp>
#include <ckpt/pickle/opcode.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

class pickle_writer {
  public:
    /// The longest integer of the opcode LONG1; there is none for longer ones in torch's safe mode.
    static constexpr std::size_t longest_integer = 255;
    static constexpr std::uint64_t longest_text = 0xFFFF'FFFF; // bytes

    pickle_writer() {
        op(opcode::proto);
        bytes_ += '\2';
    }

    void op(opcode code) { bytes_ += static_cast<char>(code); }
    void boolean(bool b) { op(b ? opcode::newtrue : opcode::newfalse); }
    void integer(std::int64_t number);
    /// Little-endian two's complement of at most `longest_integer` bytes.
    void long_integer(std::span<const std::byte> bytes);
    void real(double number);
    /// UTF-8 of at most `longest_text` bytes; halves of characters may stand in it, as in Python.
    void text(std::string_view utf8);
    /// A class or a function. Its name is written once, and referred to afterwards.
    void global(std::string_view module, std::string_view name);
    /// A text that occurs often. It is written once, too.
    void word(std::string_view utf8);
    /// A tuple of what was written since `tuple_mark(n)`.
    void tuple_mark(std::size_t n) {
        if (n > 3) op(opcode::mark);
    }
    void tuple(std::size_t n);
    /// A tuple of integers.
    void integers(std::span<const std::int64_t> numbers);
    /// `OrderedDict()`.
    void empty_ordered_dict();

    /// Keeps what was written last, and returns its number for `recall`.
    [[nodiscard]] std::uint32_t keep();
    void recall(std::uint32_t number);

    [[nodiscard]] std::string finish() {
        op(opcode::stop);
        return std::move(bytes_);
    }

  private:
    /// Whether a global or a word was written before; then it is recalled.
    [[nodiscard]] bool recall_known(std::string_view module, std::string_view name);

    struct known_name {
        std::string module{}; // empty for a word
        std::string name{};
        std::uint32_t number{};
    };
    std::string bytes_{};
    std::vector<known_name> known_{}; // a few dozen
    std::uint32_t kept_{0};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/write/impl/pickle_writer.ipp>
#endif
