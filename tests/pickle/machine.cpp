// tests/pickle/machine.cpp: every opcode, and every way to misuse one. Cases name the rule that they check.
//
// SPDX-License-Identifier: MIT
#include "../support/pickle_writer.hpp"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

namespace machine_test {

using ckpt::errc;
using ckpt::kind;
using namespace test_support;
using namespace test_support::pickles;

namespace {

struct row {
    std::string pickle;
    std::string value;
};
void check(const std::vector<row>& rows) {
    for (const row& r : rows) {
        CAPTURE(r.pickle);
        CHECK(read(r.pickle + '.') == r.value);
    }
}
void check_codes(errc code, const std::vector<std::string>& pickles) {
    for (const std::string& p : pickles) {
        CAPTURE(p);
        const parsed out{p};
        CHECK(ckpt::info(out.code()).name == ckpt::info(code).name);
        if (!out.ok()) {
            CHECK(out.error.offset >= parsed::base);
            CHECK(out.error.offset <= parsed::base + p.size());
            CHECK(out.error.message().size() <= 1024);
        }
    }
}

TEST_CASE("B1: constants and integers of every protocol have their values") {
    check({{"N", "None"},
           {"\x88", "True"},
           {"\x89", "False"},
           {"I00\n", "False"},
           {"I01\n", "True"},
           {"I1\n", "1"},
           {"I0\n", "0"},
           {"I-7\n", "-7"},
           {"I1099511627776\n", "1099511627776"},
           {"I9223372036854775807\n", "9223372036854775807"},
           {"I-9223372036854775808\n", "-9223372036854775808"},
           {"L5L\n", "5"},
           {"L5\n", "5"},
           {"L-5L\n", "-5"},
           {"L0L\n", "0"},
           {"K\xff", "255"},
           {"K"s + '\0', "0"},
           {"M\xff\xff", "65535"},
           {"M\1"s + '\0', "1"},
           {int4(-1), "-1"},
           {int4(-2147483648LL), "-2147483648"},
           {int4(2147483647), "2147483647"},
           {"F1.5\n", "f1.5"},
           {real(-0.25), "f-0.25"}});
}

TEST_CASE("B1: LONG1 and LONG4 are signed two's complement of any length") {
    check({{long1(""), "0"},
           {long1("\xff"), "-1"},
           {long1("\x7f"), "127"},
           {long1("\x80\0"s), "128"},
           {long1("\x80"), "-128"},
           {long1("\1"), "1"},
           {long1("\0\0\0\0\0\0\0\x80"s), "-9223372036854775808"},
           {long1("\xff\xff\xff\xff\xff\xff\xff\x7f"), "9223372036854775807"},
           {long1("\xff\xff\xff\xff\xff\xff\xff\x7f\0\0\0"s), "9223372036854775807"},
           {long1("\0\0\0\0\0\0\0\x80\0"s), "int:\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x80\\x00"},
           {long1("\0\0\0\0\0\0\0\x80\xfe"s), "int:\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x80\\xfe"},
           {"\x8b"s + number(2, 4) + "\1\1", "257"},
           {"\x8b"s + number(0, 4), "0"}});
    const std::string wide(300, '\x01');
    CHECK(parsed{"\x8b"s + number(wide.size(), 4) + wide + '.'}.root().as_integer_bytes().value().size() == 300);
}

TEST_CASE("B1: integers beyond 64 bits are equal as bytes, whichever opcode wrote them") {
    const std::string as_long = long1("\0\0\0\0\0\0\0\0\1"s);
    CHECK(read(as_long + '.') == read("L18446744073709551616L\n."));
    CHECK(read(as_long + '.') == read("I18446744073709551616\n."));
    CHECK(read(long1("\0\0\0\0\0\0\0\0\1\0\0"s) + '.') == read(as_long + '.'));
    CHECK(read("L-18446744073709551616L\n.") == read(long1("\0\0\0\0\0\0\0\0\xff"s) + '.'));
    CHECK(read("L-18446744073709551617L\n.") == read(long1("\xff\xff\xff\xff\xff\xff\xff\xff\xfe"s) + '.'));
    const parsed large{"L10000000000000000000000000000000000000000L\n."}; // 10 ** 40
    const auto bytes = large.root().as_integer_bytes();
    REQUIRE(bytes);
    long double back = 0;
    for (std::size_t i = bytes->size(); i-- > 0;) back = back * 256 + std::to_integer<int>((*bytes)[i]);
    CHECK(back / 1e40L == doctest::Approx(1.0));
}

TEST_CASE("B1: strings and bytes of every protocol have their contents") {
    check({{text("a"), "'a'"},
           {text(""), "''"},
           {short_text("ab"), "'ab'"},
           {"\x8d"s + number(1, 8) + "c", "'c'"},
           {text("\xe2\x82\xac"), "'\\xe2\\x82\\xac'"},
           {"Va\\u20acb\n", "'a\\xe2\\x82\\xacb'"},
           {"V\\U0001f600\n", "'\\xf0\\x9f\\x98\\x80'"},
           {"V\xe9\n", "'\\xc3\\xa9'"},
           {"V\n", "''"},
           {"V\\x41\\\\\n", "'\\x41\\\\'"},
           {"S'a'\n", "'a'"},
           {"S\"a'b\"\n", "'a'b'"},
           {"S''\n", "''"},
           {"S'\\n\\x41\\101\\\\\\''\n", "'\\x0aAA\\''"},
           {"S'\\xff'\n", "?'\\xff'"},
           {"S'\\q'\n", "'\\q'"},
           {"T"s + number(2, 4) + "ab", "'ab'"},
           {"U\2ab", "'ab'"},
           {"U\1\xff", "?'\\xff'"},
           {bytes("a\xff"), "b'a\\xff'"},
           {"C\1z", "b'z'"},
           {"\x8e"s + number(1, 8) + "y", "b'y'"},
           {"\x96"s + number(1, 8) + "x", "bytearray'x'"}});
}

TEST_CASE("B1: a str may hold lone surrogates, and says so") {
    const parsed p{text("a\xed\xa0\x80") + '.'};
    REQUIRE(p.ok());
    CHECK(p.root().kind() == kind::string);
    CHECK_FALSE(p.root().is_utf8());
    CHECK(parsed{text("\xed\x9f\xbf") + '.'}.root().is_utf8());
    CHECK_FALSE(parsed{"V\\ud83d\\ude00\n."}.root().is_utf8());
}

TEST_CASE("B1: a Python 2 str is readable as text and as bytes") {
    const parsed p{"U\2ab."};
    CHECK(*p.root().as_string() == "ab");
    CHECK(p.root().as_bytes().value().size() == 2);
    CHECK_FALSE(parsed{text("ab") + '.'}.root().as_bytes());
}

TEST_CASE("B1: containers of every protocol have their elements") {
    check({{")", "()"},
           {"(t", "()"},
           {"(K\1K\2t", "(1, 2)"},
           {"N\x85", "(None)"},
           {"K\1K\2\x86", "(1, 2)"},
           {"K\1K\2K\3\x87", "(1, 2, 3)"},
           {"]", "[]"},
           {"(l", "[]"},
           {"(K\1l", "[1]"},
           {"]K\1a", "[1]"},
           {"](K\1K\2e", "[1, 2]"},
           {"](e", "[]"},
           {"](K\1e(K\2eK\3a", "[1, 2, 3]"},
           {"}", "{}"},
           {"(d", "{}"},
           {"(K\1K\2d", "{1: 2}"},
           {"}K\1K\2s", "{1: 2}"},
           {"}(K\1K\2K\3K\4u", "{1: 2, 3: 4}"},
           {"}(u", "{}"},
           {"\x8f", "set{}"},
           {"\x8f(K\1K\2\x90", "set{1, 2}"},
           {"\x8f(\x90", "set{}"},
           {"(K\1\x91", "frozenset{1}"},
           {"(\x91", "frozenset{}"}});
}

TEST_CASE("B1: globals, calls, states and items of objects are kept as they are written") {
    const std::string g = global("m", "n");
    check({{g, "m.n"},
           {stack_global("m", "A.B"), "m.A.B"},
           {g + ")R", "m.n()"},
           {g + "K\1\x85R", "m.n(1)"},
           {g + ")\x81", "m.n()"},
           {g + ")}\x92", "m.n()**{}"},
           {g + ")}" + text("k") + "K\2s\x92", "m.n()**{'k': 2}"},
           {"(im\nn\n", "m.n()"},
           {"(K\1im\nn\n", "m.n(1)"},
           {"(" + g + "o", "m.n()"},
           {"(" + g + "K\1o", "m.n(1)"},
           {g + ")R}b", "m.n()!{}"},
           {g + ")RK\1a", "m.n()+[1]"},
           {g + ")R(K\1K\2e", "m.n()+[1, 2]"},
           {g + ")RK\1K\2s", "m.n()+[1, 2]"},
           {g + ")R)R", "m.n()()"},
           {"NQ", "refused persistent_id"},
           {"Pabc\n", "refused persistent_id"}});
}

TEST_CASE("B1: PROTO, FRAME, POP, POP_MARK and DUP do what they do in Python") {
    check({{"\x80\2N", "None"},
           {"\x80\5N", "None"},
           {"\x95"s + number(2, 8) + "N", "None"},
           {"NK\1"
            "0",
            "None"},
           {"N(0", "None"},
           {"N(K\1K\2"
            "1",
            "None"},
           {"N2\x86", "(None, None)"},
           {"K\1K\2", "2"},
           {"(K\1", "1"}});
}

TEST_CASE("B1: the memo holds objects, not copies: what is filled later is seen") {
    check({{"]q\0K\1ah\0\x86"s, "([1], [1])"},
           {"}p5\ng5\n\x86", "({}, {})"},
           {"]q\0h\0K\1a\x86"s, "([1], [1])"},
           {"]r\x7\0\0\0j\x7\0\0\0\x86"s, "([], [])"},
           {"]\x94K\1ah\0\x86"s, "([1], [1])"}});
    const parsed p{"]q\0h\0\x86."s};
    CHECK(p.root()[0].same_object(p.root()[1]));
    CHECK_FALSE(parsed{"]]\x86."}.root()[0].same_object(parsed{"]]\x86."}.root()[1]));
}

TEST_CASE("B1: MEMOIZE numbers by the entries that there are, also after PUT with gaps") {
    check({{"K\1\x94K\2\x94h\0h\1\x86"s, "(1, 2)"},
           {"K\1q\5K\2\x94h\1\x86", "(2, 2)"},
           {"K\1q\1K\2\x94h\1\x86", "(2, 2)"},
           {"K\1q\0K\2q\0K\3\x94h\1\x86"s, "(3, 3)"}});
}

TEST_CASE("R1: memo indices up to the number of bytes in the pickle and beyond it are kept in two ways") {
    const auto stored_at = [](std::uint32_t index) {
        return times(100, "N0") + "Nr" + number(index, 4) + "j" + number(index, 4) + '.';
    };
    REQUIRE(stored_at(0).size() == 212);
    CHECK(code_of(stored_at(212)) == errc::none);
    CHECK(code_of(stored_at(213)) == errc::none);
}

TEST_CASE("R2: values may hold themselves") {
    check({{"]q\0h\0a"s, "[...]"}, {"}q\0K\1h\0s"s, "{1: ...}"}, {"](]q\0h\0ae"s, "[[...]]"}});
    // A tuple in itself, as pickle writes it: the list is filled, then the unfinished tuple is dropped by POP_MARK.
    const parsed p{"(]q\0(h\0tq\1a1h\1."s};
    REQUIRE(p.ok());
    CHECK(show(p.root()) == "([...])");
    CHECK(p.root()[0][0].same_object(p.root()));
    // An object whose state refers to it.
    const parsed o{global("m", "n") + ")\x81q\0}"s + text("self") + "h\0sb."s};
    REQUIRE(o.ok());
    CHECK(o.root().state().at("self").value().same_object(o.root()));
}

TEST_CASE("B1: of equal keys the last value wins at the first place, as in Python") {
    check({{"}(K\1K\xaK\2K\xbK\1K\xcu", "{1: 12, 2: 11}"},
           {"}(K\1K\xa\x88K\xb" + real(1.0) + "K\xcu", "{1: 12}"},
           {"}(" + text("a") + "K\1U\1aK\2u", "{'a': 2}"},
           {"}(" + text("a") + "K\1C\1aK\2u", "{'a': 1, b'a': 2}"},
           {"}(K\1K\2\x86K\1K\1" + real(2.0) + "\x86K\2u", "{(1, 2): 2}"},
           {"}(NK\1NK\2u", "{None: 2}"},
           {"}K\1K\1sK\1K\2s", "{1: 2}"},
           {"(K\1K\1K\1K\2d", "{1: 2}"},
           {"\x8f(K\1\x88K\2\x90", "set{1, 2}"},
           {"}(" + real(-0.0) + "K\1K\0K\2u"s, "{f-0: 2}"},
           {"}(" + real(0.5) + "K\1" + real(0.5) + "K\2u", "{f0.5: 2}"},
           {"}(" + global("m", "n") + "K\1" + global("m", "n") + "K\2u", "{m.n: 2}"},
           {"}(L18446744073709551616L\nK\1" + long1("\0\0\0\0\0\0\0\0\1"s) + "K\2u",
            "{int:\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01: 2}"},
           {"}(" + real(-9223372036854775808.0) + "K\1I-9223372036854775808\nK\2u", "{f-9223372036854775808: 2}"}});
    // More keys than are compared one by one.
    std::string many = "}(";
    for (int round = 0; round < 2; ++round)
        for (int i = 0; i < 200; ++i)
            many +=
                'M' + number(static_cast<std::uint64_t>(i), 2) + 'M' + number(static_cast<std::uint64_t>(i + round), 2);
    const parsed p{many + "u."};
    REQUIRE(p.root().size() == 200);
    CHECK(*p.root().at(std::int64_t{7}).value().as_int() == 8);
}

TEST_CASE("P1: bytes that are no opcode, and opcodes that mean nothing in a file, are refused") {
    for (int b = 0; b < 256; ++b)
        if (ckpt::detail::opcode_table[static_cast<std::size_t>(b)].name.empty())
            CHECK(code_of("N" + std::string(1, static_cast<char>(b)) + '.') == errc::pickle_opcode);
    check_codes(errc::pickle_not_supported,
                {"\x82\1.", "\x83\1\0."s, "\x84\1\0\0\0."s, "\x97.", "N\x98.", "\x80\6N.", "\x80\xffN."});
}

TEST_CASE("P2: every opcode refuses a stack that is too short") {
    const std::string g = global("m", "n");
    std::vector<std::string> bad{
        ".",        "0",         "2",        "a",     "]a",      "s",          "}s",
        "}Ns",      "R",         g + "R",    "b",     g + ")Rb", "\x81",       g + "\x81",
        "\x92",     g + ")\x92", "Q",        "q\0"s,  "p0\n",    "r\0\0\0\0"s, "\x94",
        "\x85",     "\x86",      "N\x86",    "\x87",  "NN\x87",  "\x93",       text("m") + "\x93",
        "(o",       "N(.",       "N((.",     "N(2",   "N(a",     "N(q\0."s,    "N(\x85.",
        "NN(\x86.", g + "(R.",   g + ")(R.", "]N(a.", "}NN(s.",  "N(Q.",       "]q\0(h\0\x86."s};
    for (std::string& p : bad)
        if (!p.ends_with('.')) p += '.';
    check_codes(errc::stack_underflow, bad);
}

TEST_CASE("P2: every opcode that needs a MARK refuses to go without") {
    check_codes(errc::stack_underflow, {"t.", "NNt.", "l.", "d.", "]e.", "]Ne.", "}u.", "}NNu.", "\x8f\x90.", "N\x91.",
                                        "\x91.", "1.", "N1.", "o.", "im\nn\n.", "(t1.", "(0t."});
}

TEST_CASE("P2: APPENDS, SETITEMS and ADDITEMS need their object below the MARK, and above the mark before it") {
    check_codes(errc::stack_underflow,
                {"(e.", "(Ne.", "(u.", "(NNu.", "(\x90.", "(N\x90.", "]((Ne.", "}((NNu.", "\x8f((N\x90.", "]((e."});
}

TEST_CASE("P2: GET of what was never stored is refused") {
    check_codes(errc::memo_missing, {"h\0."s, "h\xff.", "j\xff\xff\xff\xff.", "g0\n.", "Nq\1h\0."s, "Nq\0h\1."s,
                                     "g18446744073709551615\n."});
}

TEST_CASE("P3: every prefix of a pickle is refused") {
    const std::string g = global("m", "n");
    const std::vector<std::string> whole{
        "\x80\4\x95" + number(9, 8) + "]\x94(K\1K\2e" + ".",
        "(dp0\nS'a'\np1\nI1\nsV\\u20ac\nF1.5\ns.",
        "\x80\2}q\0(X\1\0\0\0aM\1\2J\1\2\3\4G\0\0\0\0\0\0\0\0\x8a\2\1\2\x85Nu."s,
        "(lp0\nL12L\naPid\na(im\nn\na.",
        "]" + stack_global("m", "n") + ")R" + bytes("abc") + "C\1aU\1bT\1\0\0\0c\x86\x86\x86\x86."s,
        g + ")\x81}b" + long1("\1") + "\x86.",
        "\x8b\1\0\0\0\1\x8d\1\0\0\0\0\0\0\0a\x8e\1\0\0\0\0\0\0\0b\x96\1\0\0\0\0\0\0\0c\x87."s,
        "]r\0\0\0\0j\0\0\0\0\x86."s};
    for (const std::string& p : whole) {
        CAPTURE(p);
        REQUIRE(parsed{p}.ok());
        for (std::size_t n = 0; n < p.size(); ++n) {
            CAPTURE(n);
            const errc code = code_of(p.substr(0, n));
            CHECK((code == errc::pickle_truncated || code == errc::stack_underflow));
            CHECK(parsed{p.substr(0, n)}.error.offset <= parsed::base + n);
        }
    }
}

TEST_CASE("P3: what follows STOP is not read") {
    const parsed p{"N.\xff\xff"};
    CHECK(p.ok());
    CHECK(p.machine->end_offset() == 2);
}

TEST_CASE("P7: frames enclose whole opcodes, one behind the other, and end with STOP or before it") {
    const auto frame = [](std::string_view content) {
        return '\x95' + number(content.size(), 8) + std::string(content);
    };
    check({{"\x80\4" + frame("K\1"), "1"},
           {frame("K\1") + frame("0K\2"), "2"},
           {frame("]") + text("outside") + frame("a"), "['outside']"},
           {frame("]" + frame("").substr(0, 9)) + "Na", "[None]"},
           {frame("") + frame("") + "N" + frame(""), "None"}});
    CHECK(read(frame("K\1.")) == "1");
    CHECK(parsed{frame("K\1.") + "N."}.ok());
    check_codes(errc::pickle_opcode,
                {frame("M") + "\1\1.", frame("M\1") + "\1.", frame("Va") + "\n.", frame("cm\n") + "n\n.",
                 frame("U\3a") + "bc.", frame("\x95\0\0"s) + number(0, 6) + "N.", // inside an opcode
                 frame(frame("N") + "N") + ".", frame(frame("") + "N") + ".",
                 frame(frame("N.")) + ".",             // inside a frame
                 frame("N.N"), frame("N.N") + "NNN"}); // behind STOP
    check_codes(errc::pickle_truncated,
                {frame("N"), frame("N").substr(0, 9) + "", frame("M\1"), frame("NN") + frame("")});
    // The C unpickler reads the call in the bytes of a file, pickletools and we would read them as a bytes object.
    const std::string hidden = "\x95\2\0\0\0\0\0\0\0M\5\0C)cwarnings\nwarn\n(Vhidden\ntRNNNNNNNNNNNNNNN."s;
    const parsed p{hidden};
    CHECK(p.code() == errc::pickle_opcode);
    CHECK(p.error.detail.find("frame") != std::string::npos);
    CHECK(p.error.opcode_name == "BININT2");
}

TEST_CASE("P4: malformed text arguments are refused") {
    check_codes(errc::pickle_text, {"I\n.",
                                    "Ix\n.",
                                    "I1x\n.",
                                    "I 1\n.",
                                    "I1 \n.",
                                    "I--1\n.",
                                    "I1L\n.",
                                    "I1_0\n.",
                                    "I007\n.",
                                    "I-\n.",
                                    "I+\n.",
                                    "I0x10\n.",
                                    "I1.0\n.",
                                    "L\n.",
                                    "LL\n.",
                                    "LxL\n.",
                                    "L1LL\n.",
                                    "F\n.",
                                    "Fx\n.",
                                    "F1,5\n.",
                                    "F1.5x\n.",
                                    "F 1\n.",
                                    "F+-1\n.",
                                    "F++1\n.",
                                    "F0x1p3\n.",
                                    "Fnan(1)\n.",
                                    "S\n.",
                                    "S'\n.",
                                    "Sa\n.",
                                    "S'a\n.",
                                    "S'a\"\n.",
                                    "S'a\\'\n.",
                                    "S'\\x'\n.",
                                    "S'\\x4'\n.",
                                    "S'\\xg0'\n.",
                                    "V\\u12\n.",
                                    "V\\u123g\n.",
                                    "V\\U0011ffff\n.",
                                    "V\\U1\n.",
                                    "g\n.",
                                    "gx\n.",
                                    "g-1\n.",
                                    "g1x\n.",
                                    "g18446744073709551616\n.",
                                    "Np\n.",
                                    "Np-1\n.",
                                    "Npx\n.",
                                    "cm\xff\nn\n.",
                                    "cm\nn\xff\n.",
                                    "cm\xed\xa0\x80\nn\n.",
                                    "P\xff\n.",
                                    text("\xff") + '.',
                                    text("\xc0\x80") + '.',
                                    text("\xed\xa0") + '.',
                                    text("\xf5\x80\x80\x80") + '.',
                                    text("\xe2\x82") + '.',
                                    text("m\xed\xa0\x80") + text("n") + "\x93.",
                                    "U\1\xff" + text("n") + "\x93."});
}

TEST_CASE("P4: a text argument needs the end of its line") {
    for (const char* op : {"I1", "L1L", "F1.5", "S'a'", "Va", "g0", "Np0", "cm", "cm\nn", "(im\nn", "Pa"})
        CHECK(code_of(op) == errc::pickle_truncated);
}

TEST_CASE("P5: a length past the end is refused before anything is allocated") {
    const std::string huge4 = "\xff\xff\xff\x7f", huge8 = "\xff\xff\xff\xff\xff\xff\xff\xff";
    check_codes(errc::pickle_truncated,
                {"X" + huge4, "B" + huge4, "T" + huge4, "\x8b" + huge4, "X\xff\xff\xff\xff", "B\xff\xff\xff\xff",
                 "\x8d" + huge8, "\x8e" + huge8, "\x96" + huge8, "\x95" + huge8 + "N.", "U\xff", "C\xff", "\x8c\xff",
                 "\x8a\xff", "\x95" + number(3, 8) + "N."});
    check_codes(errc::pickle_text, {"T\xff\xff\xff\xff", "T"s + number(0x80000000u, 4), "\x8b\xff\xff\xff\xff"});
}

TEST_CASE("P6: items, elements, states and calls only where Python has them") {
    const std::string g = global("m", "n");
    check_codes(errc::pickle_target, {"NK\1K\1s.",
                                      "]K\1K\1s.",
                                      ")K\1K\1s.",
                                      "K\1K\1K\1s.",
                                      g + "K\1K\1s.",
                                      "N(K\1K\1u.",
                                      "](K\1K\1u.",
                                      "\x8f(K\1K\1u.",
                                      "}(K\1u.",
                                      "(K\1d.",
                                      "NNa.",
                                      "}Na.",
                                      ")Na.",
                                      "\x8fNa.",
                                      text("x") + "Na.",
                                      "N(Ne.",
                                      "}(Ne.",
                                      "N(N\x90.",
                                      "](N\x90.",
                                      "(\x91(N\x90.",
                                      "N}b.",
                                      "}}b.",
                                      "]}b.",
                                      ")}b.",
                                      g + "}b.",
                                      g + ")R}b}b.",
                                      "N)R.",
                                      "})R.",
                                      "K\1)\x81.",
                                      text("os") + ")R.",
                                      g + "NR.",
                                      g + "]R.",
                                      g + "}\x81.",
                                      g + "N}\x92.",
                                      g + ")N\x92.",
                                      g + ")]\x92.",
                                      "(No.",
                                      "(NNo.",
                                      "NN\x93.",
                                      text("m") + "N\x93.",
                                      "N" + text("n") + "\x93.",
                                      "C\1m" + text("n") + "\x93.",
                                      "(K\1K\2\x91" + "K\3a."s});
    CHECK(code_of("NQNb.") == errc::pickle_target);
}

TEST_CASE("P6: what torch's own classes do not take is refused") {
    check_codes(errc::pickle_target,
                {global("torch", "float32") + ")R.", global("torch", "ComplexFloatStorage") + ")R.",
                 global("torch._utils", "_rebuild_tensor_v2") + ")RNNs.",
                 global("torch._utils", "_rebuild_tensor_v2") + ")R}b.", global("collections", "OrderedDict") + ")RNa.",
                 global("builtins", "set") + ")RNa.", global("builtins", "complex") + ")R}b.",
                 global("torch", "Size") + ")RNa."});
}

TEST_CASE("P7: keys and elements that Python cannot hash are refused") {
    check_codes(errc::unhashable_key,
                {"}]Ns.", "}}Ns.", "}\x8fNs.", "}\x96"s + number(0, 8) + "Ns.", "}(]Nu.", "(]Nd.", "}]\x85Ns.",
                 "}]\x85\x85Ns.", "\x8f(]\x90.", "(}\x91.", "}K\1]\x86Ns.", global("m", "n") + ")R]Ns.",
                 "}" + global("collections", "OrderedDict") + ")RNs.", "\x8f(" + global("builtins", "set") + ")R\x90.",
                 global("builtins", "set") + "](]e\x85R."});
    check({{"}(\x91Ns", "{frozenset{}: None}"},
           {"})Ns", "{(): None}"},
           {"}" + global("m", "n") + ")RNs", "{m.n(): None}"},
           {"}NQNs", "{refused persistent_id: None}"}});
}

TEST_CASE("a tuple that was found hashable is not searched again") {
    // Tuples of tuples of one tuple: 2^60 paths.
    const std::string doubled = times(60, "h\0h\0\x86q\0000"s);
    CHECK(parsed{"N\x85q\0000"s + doubled + "}h\0K\1s."s}.ok());
    CHECK(code_of("]\x85q\0000"s + doubled + "}h\0K\1s."s) == errc::unhashable_key);
}

TEST_CASE("an error tells the place, the opcode and the path") {
    const parsed p{"}(" + text("model") + "}(" + text("a/b") + "]" + "NNNs."};
    REQUIRE(p.code() == errc::pickle_target);
    CHECK(p.error.opcode == 's');
    CHECK(p.error.opcode_name == "SETITEM");
    CHECK(p.error.offset == parsed::base + 2 + 10 + 2 + 8 + 1 + 3);
    CHECK(p.error.record == "archive/data.pkl");
    CHECK(p.error.path.starts_with("model/"));
    CHECK(p.error.message().find("pickle_target (307)") != std::string::npos);
    const parsed t{"}X\5\0\0\0ab"s};
    CHECK(t.error.detail.find("5, 2 are there") != std::string::npos);
    CHECK(t.error.hint.find("truncated") != std::string::npos);
}

TEST_CASE("the path of a global comes from the keys and positions that are being filled") {
    const auto path_of = [](const std::string& before) {
        return parse<ckpt::weights_policy>(before + global("my.mod", "C")).error.path;
    };
    CHECK(path_of("") == "");
    CHECK(path_of("}(" + text("a")) == "a");
    CHECK(path_of("}(" + text("x") + "N" + text("a") + "}(" + text("b")) == "a/b");
    CHECK(path_of("}(" + text("a") + "](NN") == "a/2");
    CHECK(path_of("](NNe(N") == "3");
    CHECK(path_of("}(K\7") == "7");
    CHECK(path_of("}(" + text("a/b\\c")) == "a\\/b\\\\c");
    CHECK(path_of("}" + text("a") + "}" + text("b")) == "a/b");
    // Keys and depth of any size make no path long.
    const std::string deep = path_of(times(10'000, "}(" + text(std::string(500, 'k'))));
    CHECK(deep.size() <= 8192);
}

TEST_CASE("a place in words has 25 steps, and is looked for in the last 256 marks and 64 values") {
    const auto path = [](const std::string& p) { return parsed{p + '\xff'}.error.path; };
    const std::string key = text("k");
    std::string steps = "k";
    for (int i = 1; i < 25; ++i) steps += "/k";
    CHECK(path(times(25, "}(" + key)) == steps);
    CHECK(path(times(26, "}(" + key)) == steps);
    CHECK(path(times(255, "(") + "}(" + key) == "k");
    CHECK(path(times(256, "(") + "}(" + key) == "");
    CHECK(path('}' + key + times(62, "N")) == "k"); // a dictionary, its key, and what stands on them
    CHECK(path('}' + key + times(63, "N")) == "");
    CHECK(path("}(" + key + times(64, "N")) == "k"); // behind a mark, every other one may be a key
    CHECK(path("}(" + key + times(66, "N")) == "?");
    CHECK(path("}(" + text(std::string(128, 'x'))) == std::string(128, 'x'));
    CHECK(path("}(" + text(std::string(129, 'x'))) == std::string(40, 'x') + "..." + std::string(20, 'x'));
}

TEST_CASE("a length of 2^31 or more is a negative one where Python reads it with a sign") {
    for (const char* const op : {"T", "\x8b"}) {
        CHECK(code_of(op + "\xff\xff\xff\x7f."s) == errc::pickle_truncated);
        CHECK(code_of(op + "\x00\x00\x00\x80."s) == errc::pickle_text);
    }
}

TEST_CASE("a limit on the digits of decimal integers holds") {
    CHECK(parsed{"I" + std::string(4300, '7') + "\n."}.ok());
    CHECK(parsed{"I-" + std::string(4300, '7') + "\n."}.ok());
    for (const std::string sign : {"", "-", "+"}) {
        CHECK(code_of("L" + sign + std::string(4300, '7') + "L\n.") != errc::limit);
        CHECK(code_of("I" + sign + std::string(4301, '7') + "\n.") == errc::limit);
        CHECK(code_of("L" + sign + std::string(4301, '7') + "L\n.") == errc::limit);
    }
    CHECK(code_of("L" + std::string(500'000, '7') + "L\n.") == errc::limit);
    ckpt::limits none;
    none.integer_digits = 0xFFFF'FFFFu;
    CHECK(parse<ckpt::inspect_policy>("I7\n.", none).ok());
    none.integer_digits = 3;
    CHECK(code_of("I123\n.", none) == errc::none);
    CHECK(code_of("I-123\n.", none) == errc::none);
    CHECK(code_of("I1234\n.", none) == errc::limit);
    CHECK(code_of("I-1234\n.", none) == errc::limit);
}

TEST_CASE("floats of text have the values that Python gives them") {
    check({{"F0\n", "f0"},
           {"F1e10\n", "f1e+10"},
           {"F-1E-5\n", "f-1e-05"},
           {"Finf\n", "finf"},
           {"F-inf\n", "f-inf"},
           {"Fnan\n", "fnan"},
           {"F+1.5\n", "f1.5"},
           {"F.5\n", "f0.5"},
           {"F5.\n", "f5"},
           {"F0.1\n", "f0.1"},
           {"F5e-324\n", "f5e-324"},
           {"F1.7976931348623157e+308\n", "f1.7976931348623157e+308"}});
}

} // namespace

} // namespace machine_test
