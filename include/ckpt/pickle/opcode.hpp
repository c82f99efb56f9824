// ckpt/pickle/opcode.hpp: the one table of pickle opcodes.
//
// SPDX-License-Identifier: MIT
// In:      a byte.
// Out:     its name, its argument and the first protocol that has it; an empty name for other bytes.
// Refuses: nothing. The machine, error texts, documents and the fuzzing dictionary read this table.
//
// Source of the facts: CPython's Lib/pickle.py and Lib/pickletools.py, protocols 0 to 5.
#pragma once

#include <ckpt/core/config.hpp>

#include <array>
#include <cstdint>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The argument behind an opcode's byte. `bytesN`: a little-endian length of N bytes, then so many bytes.
enum class argument : std::uint8_t { none, u8, u16, u32, i32, u64, f64, line, two_lines, bytes1, bytes4, bytes8 };

enum class opcode : std::uint8_t {
    mark = '(',
    stop = '.',
    pop = '0',
    pop_mark = '1',
    dup = '2',
    float_text = 'F',
    int_text = 'I',
    binint = 'J',
    binint1 = 'K',
    long_text = 'L',
    binint2 = 'M',
    none = 'N',
    persid = 'P',
    binpersid = 'Q',
    reduce = 'R',
    string_text = 'S',
    binstring = 'T',
    short_binstring = 'U',
    unicode_text = 'V',
    binunicode = 'X',
    append = 'a',
    build = 'b',
    global = 'c',
    dict = 'd',
    empty_dict = '}',
    appends = 'e',
    get = 'g',
    binget = 'h',
    inst = 'i',
    long_binget = 'j',
    list = 'l',
    empty_list = ']',
    obj = 'o',
    put = 'p',
    binput = 'q',
    long_binput = 'r',
    setitem = 's',
    tuple = 't',
    empty_tuple = ')',
    setitems = 'u',
    binfloat = 'G',
    binbytes = 'B',
    short_binbytes = 'C',
    proto = 0x80,
    newobj = 0x81,
    ext1 = 0x82,
    ext2 = 0x83,
    ext4 = 0x84,
    tuple1 = 0x85,
    tuple2 = 0x86,
    tuple3 = 0x87,
    newtrue = 0x88,
    newfalse = 0x89,
    long1 = 0x8a,
    long4 = 0x8b,
    short_binunicode = 0x8c,
    binunicode8 = 0x8d,
    binbytes8 = 0x8e,
    empty_set = 0x8f,
    additems = 0x90,
    frozenset = 0x91,
    newobj_ex = 0x92,
    stack_global = 0x93,
    memoize = 0x94,
    frame = 0x95,
    bytearray8 = 0x96,
    next_buffer = 0x97,
    readonly_buffer = 0x98,
};

struct opcode_info {
    std::string_view name{};
    argument takes{argument::none};
    std::uint8_t protocol{0};
};

/// One row for each opcode of protocols 0 to 5.
struct opcode_rows {
    using enum argument;
    struct row {
        opcode op;
        opcode_info info;
    };
    static constexpr row all[]{
        {opcode::mark, {"MARK", none, 0}},
        {opcode::stop, {"STOP", none, 0}},
        {opcode::pop, {"POP", none, 0}},
        {opcode::pop_mark, {"POP_MARK", none, 1}},
        {opcode::dup, {"DUP", none, 0}},
        {opcode::float_text, {"FLOAT", line, 0}},
        {opcode::int_text, {"INT", line, 0}},
        {opcode::binint, {"BININT", i32, 1}},
        {opcode::binint1, {"BININT1", u8, 1}},
        {opcode::long_text, {"LONG", line, 0}},
        {opcode::binint2, {"BININT2", u16, 1}},
        {opcode::none, {"NONE", none, 0}},
        {opcode::persid, {"PERSID", line, 0}},
        {opcode::binpersid, {"BINPERSID", none, 1}},
        {opcode::reduce, {"REDUCE", none, 0}},
        {opcode::string_text, {"STRING", line, 0}},
        {opcode::binstring, {"BINSTRING", bytes4, 1}},
        {opcode::short_binstring, {"SHORT_BINSTRING", bytes1, 1}},
        {opcode::unicode_text, {"UNICODE", line, 0}},
        {opcode::binunicode, {"BINUNICODE", bytes4, 1}},
        {opcode::append, {"APPEND", none, 0}},
        {opcode::build, {"BUILD", none, 0}},
        {opcode::global, {"GLOBAL", two_lines, 0}},
        {opcode::dict, {"DICT", none, 0}},
        {opcode::empty_dict, {"EMPTY_DICT", none, 1}},
        {opcode::appends, {"APPENDS", none, 1}},
        {opcode::get, {"GET", line, 0}},
        {opcode::binget, {"BINGET", u8, 1}},
        {opcode::inst, {"INST", two_lines, 0}},
        {opcode::long_binget, {"LONG_BINGET", u32, 1}},
        {opcode::list, {"LIST", none, 0}},
        {opcode::empty_list, {"EMPTY_LIST", none, 1}},
        {opcode::obj, {"OBJ", none, 1}},
        {opcode::put, {"PUT", line, 0}},
        {opcode::binput, {"BINPUT", u8, 1}},
        {opcode::long_binput, {"LONG_BINPUT", u32, 1}},
        {opcode::setitem, {"SETITEM", none, 0}},
        {opcode::tuple, {"TUPLE", none, 0}},
        {opcode::empty_tuple, {"EMPTY_TUPLE", none, 1}},
        {opcode::setitems, {"SETITEMS", none, 1}},
        {opcode::binfloat, {"BINFLOAT", f64, 1}},
        {opcode::binbytes, {"BINBYTES", bytes4, 3}},
        {opcode::short_binbytes, {"SHORT_BINBYTES", bytes1, 3}},
        {opcode::proto, {"PROTO", u8, 2}},
        {opcode::newobj, {"NEWOBJ", none, 2}},
        {opcode::ext1, {"EXT1", u8, 2}},
        {opcode::ext2, {"EXT2", u16, 2}},
        {opcode::ext4, {"EXT4", i32, 2}},
        {opcode::tuple1, {"TUPLE1", none, 2}},
        {opcode::tuple2, {"TUPLE2", none, 2}},
        {opcode::tuple3, {"TUPLE3", none, 2}},
        {opcode::newtrue, {"NEWTRUE", none, 2}},
        {opcode::newfalse, {"NEWFALSE", none, 2}},
        {opcode::long1, {"LONG1", bytes1, 2}},
        {opcode::long4, {"LONG4", bytes4, 2}},
        {opcode::short_binunicode, {"SHORT_BINUNICODE", bytes1, 4}},
        {opcode::binunicode8, {"BINUNICODE8", bytes8, 4}},
        {opcode::binbytes8, {"BINBYTES8", bytes8, 4}},
        {opcode::empty_set, {"EMPTY_SET", none, 4}},
        {opcode::additems, {"ADDITEMS", none, 4}},
        {opcode::frozenset, {"FROZENSET", none, 4}},
        {opcode::newobj_ex, {"NEWOBJ_EX", none, 4}},
        {opcode::stack_global, {"STACK_GLOBAL", none, 4}},
        {opcode::memoize, {"MEMOIZE", none, 4}},
        {opcode::frame, {"FRAME", u64, 4}},
        {opcode::bytearray8, {"BYTEARRAY8", bytes8, 5}},
        {opcode::next_buffer, {"NEXT_BUFFER", none, 5}},
        {opcode::readonly_buffer, {"READONLY_BUFFER", none, 5}},
    };
};

/// The rows by the byte of the opcode; a byte that is none has no name.
[[nodiscard]] consteval std::array<opcode_info, 256> make_opcode_table() {
    std::array<opcode_info, 256> t{};
    for (const auto& [op, info] : opcode_rows::all) t[static_cast<std::uint8_t>(op)] = info;
    return t;
}

inline constexpr std::array<opcode_info, 256> opcode_table = make_opcode_table();

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
