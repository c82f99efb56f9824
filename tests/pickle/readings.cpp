// tests/pickle/readings.cpp: pickles that readers could understand in two ways are read as CPython reads them, or
// refused.
//
// SPDX-License-Identifier: MIT
#include "../support/pickle_writer.hpp"
#include "../support/torch_writer.hpp"

#include <ckpt/checkpoint.hpp>
#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

namespace readings_test {

using ckpt::errc;
using namespace test_support;
using namespace test_support::pickles;

namespace {

using rows = std::vector<std::pair<std::string, std::string>>; // a pickle without STOP, and what it is

void check(const rows& all) {
    for (const auto& row : all) {
        CAPTURE(row.first);
        CHECK(read(row.first + '.') == row.second);
    }
}

std::string collections(std::string_view name) { return global("collections", name); }
std::string builtins(std::string_view name) { return global("builtins", name); }
/// A container of frozensets as keys or elements, written as their elements.
std::string frozen(std::string_view elements) { return '(' + std::string(elements) + "\x91"; }

TEST_CASE("G3: a scan does not call a file clean whose pickle hides a call behind a frame") {
    const std::string hidden = "\x95\2\0\0\0\0\0\0\0M\5\0C)cwarnings\nwarn\n(Vhidden\ntRNNNNNNNNNNNNNNN."s;
    const std::string file = write_zip(torch_records(hidden)).bytes;
    CHECK(ckpt::open_bytes<ckpt::inspect_policy>(bytes_of(file)).error().code == errc::pickle_opcode);
    const auto scan = ckpt::scan_globals_bytes(bytes_of(file)).value();
    REQUIRE(scan.stopped() != nullptr);
    CHECK(scan.stopped()->code == errc::pickle_opcode);
}

TEST_CASE("P7: frozensets are equal by their elements, whatever order they were written in") {
    const std::string a = text("a"), b = text("b");
    check({{"}(" + frozen(a + b) + "K\1" + frozen(b + a) + "K\2u", "{frozenset{'a', 'b'}: 2}"},
           {"}(" + frozen(a + a) + "K\1" + frozen(a) + "K\2u", "{frozenset{'a'}: 2}"},
           {"}(" + frozen("") + "K\1" + frozen("") + "K\2u", "{frozenset{}: 2}"},
           {"}(" + frozen(a) + "K\1" + frozen(b) + "K\2u", "{frozenset{'a'}: 1, frozenset{'b'}: 2}"},
           {"}(" + frozen(a) + "K\1" + frozen(a + b) + "K\2u", "{frozenset{'a'}: 1, frozenset{'a', 'b'}: 2}"},
           {"}(" + frozen(a) + "\x85K\1" + frozen(a) + "\x85K\2u", "{(frozenset{'a'}): 2}"},
           {"\x8f(" + frozen("K\1") + frozen(real(1.0)) + frozen("\x88") + "\x90", "set{frozenset{1}}"},
           {"}(" + frozen(frozen(a + b)) + "K\1" + frozen(frozen(b + a)) + "K\2u",
            "{frozenset{frozenset{'a', 'b'}}: 2}"}});
    std::string many = "}(";
    for (std::uint32_t i = 0; i < 300; ++i) many += frozen("M" + number(i % 100, 2) + a) + 'M' + number(i, 2);
    CHECK(parsed{many + "u."}.root().size() == 100);
    // Sixteen levels are compared, seventeen cost more than any budget.
    const auto nested = [&](std::size_t levels) {
        return "}(" + times(levels, "(") + "K\1" + times(levels, "\x91") + "N" + times(levels, "(") + "\x88" +
               times(levels, "\x91") + "Nu.";
    };
    CHECK(parsed{nested(16)}.root().size() == 1);
    CHECK(code_of(nested(17)) == errc::limit);
}

TEST_CASE("P7: numbers are equal across their types, of any size") {
    const auto size = [](const std::string& a, const std::string& b) {
        return parsed{"}(" + a + "N" + b + "Nu."}.root().size();
    };
    for (const auto& row : std::vector<std::pair<std::string, double>>{
             {"18446744073709551616", 18446744073709551616.0},
             {"9223372036854775808", 9223372036854775808.0},
             {"-18446744073709551616", -18446744073709551616.0},
             {"-9223372036854777856", -9223372036854777856.0},
             {"340282366920938463463374607431768211456", 340282366920938463463374607431768211456.0},
             {"100000000000000000000", 1e20},
             {"-100000000000000000000", -1e20}}) {
        const std::string& integer = row.first;
        const double equal = row.second;
        CAPTURE(integer);
        CHECK(size("L" + integer + "L\n", real(equal)) == 1);
        CHECK(size("L" + integer + "L\n", real(-equal)) == 2);
        CHECK(size("L" + integer.substr(0, integer.size() - 1) + "9L\n", real(equal)) == 2);
    }
    CHECK(size("\x8a\x81"s + std::string(128, '\0') + "\1", real(1e300)) == 2); // 2^1024
    const auto complex = [](double re, double im) { return builtins("complex") + real(re) + real(im) + "\x86R"; };
    CHECK(size(complex(1, 0), "K\1") == 1);
    CHECK(size(complex(1e20, 0), "L100000000000000000000L\n") == 1);
    CHECK(size(complex(1, 2), complex(1, 2)) == 1);
    CHECK(size(complex(0, 2), complex(-0.0, 2)) == 1);
    CHECK(size(complex(1, 2), complex(2, 1)) == 2);
    CHECK(size(complex(1, 2), "K\1") == 2);
}

TEST_CASE("P7: a Python-2 str that is not UTF-8 is no text of the same bytes; spellings of a class are one key") {
    const std::string half = "\xed\xa0\x80";
    CHECK(parsed{"}(" + text(half) + "K\1U\3" + half + "K\2u."}.root().size() == 2);
    CHECK(parsed{"}(U\3" + half + "K\1U\3" + half + "K\2u."}.root().size() == 1);
    CHECK(parsed{"}(" + text("a") + "K\1U\1aK\2u."}.root().size() == 1);
    CHECK(parsed{"}(" + builtins("set") + "K\1" + global("__builtin__", "set") + "K\2u."}.root().size() == 1);
}

TEST_CASE("P7: __new__ of mutable containers ignores its arguments, a call does not") {
    const std::string list = "](K\1K\2e",
                      pairs = "](K\1K\2\x86"
                              "e",
                      dict = "}K\1K\2s";
    check({{builtins("set") + list + "\x85\x81", "set{}"},
           {builtins("set") + list + "\x85R", "set{1, 2}"},
           {builtins("bytearray") + bytes("ab") + "\x85\x81", "bytearray''"},
           {builtins("bytearray") + bytes("ab") + "\x85R", "bytearray'ab'"},
           {collections("OrderedDict") + pairs + "\x85\x81", "collections.OrderedDict{}"},
           {collections("OrderedDict") + pairs + "\x85R", "collections.OrderedDict{1: 2}"},
           {collections("Counter") + dict + "\x85\x81", "collections.Counter{}"},
           {collections("defaultdict") + builtins("int") + dict + "\x86\x81", "collections.defaultdict{}"},
           {collections("OrderedDict") + pairs + "\x85}\x92K\3K\4s", "collections.OrderedDict{3: 4}"},
           {builtins("frozenset") + list + "\x85\x81", "frozenset{1, 2}"},
           // OBJ and INST call a class that is given arguments.
           {'(' + builtins("set") + list + 'o', "set{1, 2}"},
           {'(' + list + "ibuiltins\nset\n", "set{1, 2}"},
           {"(ibuiltins\nset\n", "set{}"}});
}

TEST_CASE("P7: a Counter counts the elements of what it is called with") {
    const std::string one_is_true = "](K\1\x88G\x3f\xf0\0\0\0\0\0\0K\2e"s;
    check({{collections("Counter") + "](K\1K\2K\1e\x85R", "collections.Counter{1: 2, 2: 1}"},
           {collections("Counter") + "(K\2K\1K\2t\x85R", "collections.Counter{2: 2, 1: 1}"},
           // The order of a set is no matter of the file.
           {collections("Counter") + builtins("set") + "](K\1K\1e\x85R\x85R", "refused bad_arguments"},
           {collections("Counter") + "]\x85R", "collections.Counter{}"},
           {collections("Counter") + one_is_true + "\x85R", "collections.Counter{1: 3, 2: 1}"},
           // What SETITEM adds comes later.
           {collections("Counter") + "](K\1K\1e\x85RK\1K\7s", "collections.Counter{1: 7}"}});
    // Above eight elements a table finds them.
    for (const int different : {9, 100}) {
        std::string many = "](", want = "collections.Counter{";
        for (int round = 0; round < 3; ++round)
            for (int i = 0; i < different; ++i) many += "K" + std::string(1, static_cast<char>(i));
        for (int i = 0; i < different; ++i) want += (i > 0 ? ", " : "") + std::to_string(i) + ": 3";
        check({{collections("Counter") + many + "e\x85R", want + '}'}});
    }
    // Tuples are hashed by their first elements, so these all collide, and are sorted.
    std::string many = "](", want = "collections.Counter{";
    for (int round = 0; round < 2; ++round)
        for (int i = 0; i < 100; ++i) {
            many += "(";
            for (int k = 0; k < 8; ++k) many += "N";
            many += "K" + std::string(1, static_cast<char>(i)) + "t";
        }
    for (int i = 0; i < 100; ++i) {
        want += i > 0 ? ", (" : "(";
        for (int k = 0; k < 8; ++k) want += "None, ";
        want += std::to_string(i) + "): 2";
    }
    check({{collections("Counter") + many + "e\x85R", want + '}'}});
}

TEST_CASE("P7: arguments that builders do not read are refused at their place") {
    check({{builtins("frozenset") + ")}" + text("x") + "Ns\x92", "refused bad_arguments"},
           {builtins("complex") + ")}" + text("real") + "K\1s\x92", "refused bad_arguments"},
           {builtins("frozenset") + ")}\x92", "frozenset{}"},
           {collections("Counter") + "K\1\x85R", "refused bad_arguments"},
           {collections("Counter") + "](]]e\x85R", "refused bad_arguments"},
           {collections("Counter") + "}K\1K\2s\x85R", "collections.Counter{1: 2}"},
           {collections("defaultdict") + "K\5\x85R", "refused bad_arguments"},
           {collections("defaultdict") + text("f") + "\x85R", "refused bad_arguments"},
           {collections("defaultdict") + "N\x85R", "collections.defaultdict{}"},
           {collections("defaultdict") + ")R", "collections.defaultdict{}"},
           {collections("OrderedDict") + "](}(K\0NK\1Nu"
                                         "e\x85R"s,
            "refused bad_arguments"},
           {global("_codecs", "encode") + text("\xed\xa0\x80") + text("utf-8") + "\x86R", "refused bad_arguments"},
           {global("_codecs", "encode") + text("\xc3\xa9") + text("utf-8") + "\x86R", "b'\\xc3\\xa9'"}});
}

TEST_CASE("P7: a list that grew after a call read it is refused: the call read less") {
    const std::string changed = "refused bad_arguments";
    check({{"]q\0K\1a"s + builtins("set") + "h\0\x85R0h\0K\2a0"s + builtins("set") + "h\0\x85R"s, "set{1, 2}"},
           {"]q\0K\1a"s + builtins("set") + "h\0\x85Rq\1h\0K\2a0h\1"s, changed},
           {"]q\0K\1a"s + builtins("frozenset") + "h\0\x85Rq\1h\0K\2a0h\1"s, changed},
           {"}q\0K\1K\1s"s + collections("OrderedDict") + "h\0\x85Rq\1h\0K\2K\2s0h\1"s, changed},
           {"]q\0K\1a"s + collections("OrderedDict") +
                "]h\0K\2a"
                "a\x85Rq\1h\0K\3a0h\1"s,
            changed},
           {collections("OrderedDict") + ")Rq\0"s + collections("OrderedDict") + "h\0\x85Rq\1h\0K\2K\2s0h\1"s, changed},
           {"]q\0K\1a"s + global("torch", "Size") + "h\0\x85Rq\1h\0K\2a0h\1"s, changed},
           // An object that only refers to a list sees it grow.
           {"]q\0"s + global("m", "n") + "h\0\x85Rq\1h\0K\2a0h\1"s, "m.n([2])"},
           {"]q\0"s + collections("OrderedDict") +
                "]K\1h\0\x86"
                "a\x85Rq\1h\0K\2a0h\1"s,
            "collections.OrderedDict{1: [2]}"}});
}

TEST_CASE("P7: numbers and names that Python's readers take differently, or not at all") {
    for (const char* const refused : {"I+0\n.", "I+1\n.", "I-0\n.", "P\xc3\xa9\n."})
        CHECK(code_of(refused) == errc::pickle_text);
    for (const std::string& p :
         {"c\nn\n."s, "cm\n\n."s, "(i\nn\n."s, stack_global("", "n") + '.', stack_global("m", "") + '.'})
        CHECK(code_of(p) == errc::pickle_text);
    check({{"I-1\n", "-1"}, {"I+2\n", "2"}, {"L+1L\n", "1"}, {"L-0L\n", "0"}});
    CHECK(parsed{"Np" + std::string(4299, '0') + "1\n."}.ok());
    CHECK(code_of("Np" + std::string(4300, '0') + "1\n.") == errc::limit);
    CHECK(code_of(global("m", "n") + ")}K\1Ns\x92.") == errc::pickle_target);
    CHECK(code_of(global("m", "n") + ")}" + text("k") + "Ns\x92.") == errc::none);
}

TEST_CASE("P6: what cannot be called, made or given a state is refused in every reader of Python") {
    for (const std::string& p : {tensor("FloatStorage", "0", 4) + ")R",
                                 collections("OrderedDict") + ")R)R",
                                 builtins("set") + ")R)R",
                                 global("torch", "Tensor") + ")R)R",
                                 global("torch", "Size") + ")\x85R)R",
                                 global("torch._utils", "_rebuild_tensor_v2") + ")\x81",
                                 global("_codecs", "encode") + text("a") + "\x85\x81",
                                 global("torch.storage", "_load_from_bytes") + bytes("a") + "\x85\x81",
                                 global("numpy.core.multiarray", "scalar") + ")\x81",
                                 global("operator", "add") + ")\x81",
                                 global("torch.nn.functional", "relu") + ")\x81",
                                 builtins("len") + "]\x85\x81",
                                 builtins("getattr") + ")}\x92",
                                 collections("OrderedDict") + ")RK\1b",
                                 collections("OrderedDict") + ")R" + text("ab") + "b",
                                 collections("OrderedDict") + ")R]b",
                                 collections("OrderedDict") + ")R)b",
                                 collections("OrderedDict") + ")R\x8f"
                                                              "b",
                                 collections("defaultdict") + ")R}b",
                                 collections("Counter") + ")R" + real(1) + "b"}) {
        CAPTURE(p);
        CHECK(code_of(p + '.') == errc::pickle_target);
    }
    check({{collections("OrderedDict") + ")R}" + text("a") + "K\1sb", "collections.OrderedDict{}!{'a': 1}"},
           {collections("OrderedDict") + ")RN}\x86"
                                         "b",
            "collections.OrderedDict{}!(None, {})"},
           {global("functools", "partial") + global("m", "n") + "\x85R)R", "functools.partial(m.n)()"}});
}

TEST_CASE("P7: what a call makes inside a key must be hashable, too") {
    const std::string set = builtins("set") + ")R", list = "]";
    CHECK(code_of("}" + set + "\x85Ns.") == errc::unhashable_key);
    CHECK(code_of("}" + set + "\x85\x85Ns.") == errc::unhashable_key);
    CHECK(code_of("\x8f(" + set + "\x85\x90.") == errc::unhashable_key);
    CHECK(code_of("}" + frozen(set + "\x85") + "Ns.") == errc::unhashable_key);
    CHECK(code_of("}" + builtins("frozenset") + "](K\1e\x85R\x85Ns.") == errc::none);
    // Tuples of tuples of one tuple: 2^60 paths.
    const std::string doubled = times(60, "h\0h\0\x86q\0000"s);
    CHECK(parsed{builtins("frozenset") + ")R\x85q\0000"s + doubled + "}h\0K\1s."s}.ok());
    CHECK(code_of(set + "\x85q\0000"s + doubled + "}h\0K\1s."s) == errc::unhashable_key);
}

TEST_CASE("a memo index may be larger than the pickle") {
    check({{"]r\xff\xff\xff\xff"s + "K\1aj\xff\xff\xff\xff\x86", "([1], [1])"},
           {"K\1p99999999\n0Np18446744073709551615\n0g99999999\ng18446744073709551615\n\x86", "(1, None)"},
           {"K\1p99999999\n0K\2p99999999\n0g99999999\n", "2"},
           {"K\1p99999999\n\x94"
            "0h\1",
            "1"}});
    CHECK(code_of("Np99999999\ng99999998\n.") == errc::memo_missing);
    std::string many;
    for (std::uint32_t i = 0; i < 1000; ++i)
        many += 'M' + number(i, 2) + 'r' + number(0x80000000u + i * 7919u, 4) + '0';
    CHECK(read(many + 'j' + number(0x80000000u + 500u * 7919u, 4) + '.') == "500");
}

} // namespace

} // namespace readings_test
