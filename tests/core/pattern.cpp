// tests/core/pattern.cpp: what patterns match, what their captures are bound to, and where they cannot mean anything.
//
// SPDX-License-Identifier: MIT
#include <ckpt/core/pattern.hpp>

#include "../support/processor_time.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace pattern_test {

using ckpt::pattern;
using namespace ckpt::detail;

namespace {

/// "no", "too many steps", or "yes" and what each capture is bound to.
std::string match(std::string_view text, std::string_view key) {
    pattern_code code;
    syntax_fault fault;
    REQUIRE_MESSAGE(parse_pattern({text, text, 0, false}, code, fault), fault.message(text));
    matcher run;
    std::vector<binding_value> slots;
    const match_outcome outcome = run.match(code, key, slots);
    CHECK(pattern::parse(text).value().matches(key) == (outcome == match_outcome::yes));
    if (outcome == match_outcome::too_many_steps) return "too many steps";
    if (outcome == match_outcome::no) return "no";
    std::string out = "yes";
    for (std::size_t i = 0; i < code.captures.size(); ++i) {
        out += ' ' + std::string(code.captures[i].name) + '=' + std::string(slots[i].text);
        if (code.captures[i].integer) CHECK(std::to_string(slots[i].number) == slots[i].text);
    }
    return out;
}
std::string fault_of(std::string_view text) {
    const auto parsed = pattern::parse(text);
    if (parsed) return "fine";
    CHECK(parsed.error().code == ckpt::errc::pattern_invalid);
    const std::string& detail = parsed.error().detail;
    return detail.substr(detail.find(" at byte ") + 9);
}

struct row {
    const char* pattern;
    const char* key;
    const char* expected;
};

} // namespace

TEST_CASE("what patterns match, and what they bind") {
    for (const row& r : {
             // plain text
             row{"conv1", "conv1", "yes"},
             {"conv1", "conv12", "no"},
             {"conv1", "conv1.weight", "no"},
             {"a.b", "a.b", "yes"},
             {"a.b", "axb", "no"},
             {"", "", "yes"},
             {"", "a", "no"},
             {"a..b", "a..b", "yes"},
             {"a.", "a.", "yes"},
             {"a.", "a", "no"},
             {".a", ".a", "yes"},
             {".", ".", "yes"},
             // * stays inside its segment
             {"*", "a", "yes"},
             {"*", "", "yes"},
             {"*", "a.b", "no"},
             {"layer*", "layer", "yes"},
             {"layer*", "layer12", "yes"},
             {"layer*", "layer1.b", "no"},
             {"*.*", "a.b", "yes"},
             {"*.*", "a", "no"},
             {"*.*", ".", "yes"},
             {"a*b*c", "axbxbxc", "yes"},
             {"a*b*c", "axc", "no"},
             {"*a", "ba", "yes"},
             {"*a*", "bab", "yes"},
             // ** is a whole number of segments, also none
             {"**", "", "yes"},
             {"**", "a", "yes"},
             {"**", "a.b.c", "yes"},
             {"**.weight", "weight", "yes"},
             {"**.weight", "a.b.weight", "yes"},
             {"**.weight", "xweight", "no"},
             {"**.weight", "a.xweight", "no"},
             {"a.**.b", "a.b", "yes"},
             {"a.**.b", "a.x.y.b", "yes"},
             {"a.**.b", "a.xb", "no"},
             {"a.**.b", "ab", "no"},
             {"a.**", "a", "yes"},
             {"a.**", "a.b", "yes"},
             {"a.**", "ab", "no"},
             {"**.**", "a", "yes"},
             {"**.a.**.b.**", "x.a.b", "yes"},
             {"**.a.**.b.**", "b.a", "no"},
             {"**.**.**", "", "yes"},
             {"**.", "a.", "yes"},
             {"**.", "a", "no"},
             // captures: one character or more inside one segment, as little as can be, from the left
             {"{x}", "abc", "yes x=abc"},
             {"{x}", "", "no"},
             {"{x}", "a.b", "no"},
             {"in_proj_{leaf}", "in_proj_weight", "yes leaf=weight"},
             {"in_proj_{leaf}", "in_proj_", "no"},
             {"{a}{b}", "xyz", "yes a=x b=yz"},
             {"{a}*{b}", "xyz", "yes a=x b=yz"},
             {"{a}_{b}", "x_y_z", "yes a=x b=y_z"},
             {"*{a}", "xyz", "yes a=xyz"},
             {"{a}.{b}", "x.y", "yes a=x b=y"},
             {"{a}1", "1111", "yes a=111"},
             {"{a}", "a{b}", "yes a=a{b}"},
             // numbers
             {"l.{i:int}", "l.0", "yes i=0"},
             {"l.{i:int}", "l.10", "yes i=10"},
             {"l.{i:int}", "l.01", "no"},
             {"l.{i:int}", "l.00", "no"},
             {"l.{i:int}", "l.-1", "no"},
             {"l.{i:int}", "l.+1", "no"},
             {"l.{i:int}", "l.", "no"},
             {"l.{i:int}", "l.1a", "no"},
             {"l.{i:int}", "l.2147483647", "yes i=2147483647"},
             {"l.{i:int}", "l.2147483648", "no"},
             {"l.{i:int}", "l.9999999999", "no"},
             {"l.{i:int}", "l.99999999999999999999999", "no"},
             {"l{i:int}", "l12", "yes i=12"},
             {"{i:int}{j:int}", "12", "yes i=1 j=2"},
             {"{i:int}{j:int}", "102", "yes i=10 j=2"}, // 02 is no number
             {"{i:int}{j:int}", "100", "yes i=10 j=0"},
             {"{i:int}0", "100", "yes i=10"},
             {"{i:int}", "1\x80", "no"},
             {"{i:int}*", "1\x80", "yes i=1"},
             {"{i:int}", "\xD9\xA1", "no"}, // ARABIC-INDIC DIGIT ONE
             // alternatives, the shortest first
             {"{l:weight|bias}", "bias", "yes l=bias"},
             {"{l:weight|bias}", "bia", "no"},
             {"{l:weight|bias}", "biass", "no"},
             {"{l:ab|a}{r}", "abc", "yes l=a r=bc"},
             {"{l:ab|a}c", "abc", "yes l=ab"},
             {"{l:a|a}", "a", "yes l=a"},
             {"x{l:1|2}y", "x2y", "yes l=2"},
             {"{l:int|float}", "int", "yes l=int"},
             {"{l:a b|c,d}", "c,d", "yes l=c,d"},
             // whole segments
             {"{rest:**}", "a.b", "yes rest=a.b"},
             {"{rest:**}", "", "yes rest="},
             {"a.{rest:**}", "a", "yes rest="},
             {"a.{rest:**}.b", "a.b", "yes rest="},
             {"a.{rest:**}.b", "a.x.y.b", "yes rest=x.y"},
             {"{p:**}.{l}", "a.b.c", "yes p=a.b l=c"},
             {"{p:**}.{l}", "c", "yes p= l=c"},
             {"{p:**}.{q:**}", "a.b", "yes p= q=a.b"},
             {"{p:**}.x.{q:**}", "a.x.b.x.c", "yes p=a q=b.x.c"},
             // one name, one text
             {"{a}.{a}", "x.x", "yes a=x"},
             {"{a}.{a}", "x.y", "no"},
             {"{a}.{a}", "x.xx", "no"},
             {"{a}{a}", "xyxy", "yes a=xy"},
             {"{a}{a}", "xyx", "no"},
             {"{i:int}.{i:int}", "12.12", "yes i=12"},
             {"{i:int}{i:int}", "1212", "yes i=12"},
             {"{p:**}.x.{p:**}", "a.b.x.a.b", "yes p=a.b"},
             {"{p:**}.x.{p:**}", "a.b.x.a", "no"},
             {"{p:**}.x.{p:**}", "x", "yes p="},
             {"{l:a|ab}.{l:a|ab}", "ab.ab", "yes l=ab"},
             {"{l:a|b}.{l}", "b.b", "yes l=b"},
             {"{l}.{l:a|b}", "c.c", "no"},
             {"{p:**}.-.{p}", "a.b.-.a.b", "no"}, // {p} is inside one segment
             {"{p:**}.-.{p}", "a.-.a", "yes p=a"},
             {"{p}.-.{p:**}", "a.-.a", "yes p=a"},
             {"{p}.-.{p:**}", "a.-.ab", "no"},
             // escapes
             {"\\*", "*", "yes"},
             {"\\*", "a", "no"},
             {"\\{x\\}", "{x}", "yes"},
             {"\\\\", "\\", "yes"},
             {"a\\b", "ab", "yes"},
             {"a\\*.b", "a*.b", "yes"},
             {"\\\xC3\xA9", "\xC3\xA9", "yes"},
             {"\\ ", " ", "yes"},
             // characters, not bytes
             {"{a}{b}", "\xC3\xA9\xE9\x8D\xB5", "yes a=\xC3\xA9 b=\xE9\x8D\xB5"},
             {"\xC3\xA9*", "\xC3\xA9\xC3\xA8", "yes"},
             {"{a}", "\xF0\x9F\x98\x80", "yes a=\xF0\x9F\x98\x80"},
             {"{a}{b}", "\xF0\x9F\x98\x80", "no"},
         }) {
        CAPTURE(r.pattern);
        CAPTURE(r.key);
        CHECK(match(r.pattern, r.key) == r.expected);
    }
}

TEST_CASE("what cannot mean anything, and where") {
    for (const auto& r : std::vector<std::pair<std::string, std::string>>{
             {"a**", "1: ** stands alone between dots"},
             {"**a", "0: ** stands alone between dots"},
             {"a.**b", "2: ** stands alone between dots"},
             {"***", "0: ** stands alone between dots"},
             {"{x}**", "3: ** stands alone between dots"},
             {"a{p:**}", "1: a capture of whole segments stands alone between dots"},
             {"{p:**}a", "0: a capture of whole segments stands alone between dots"},
             {"{p:**}{q}", "0: a capture of whole segments stands alone between dots"},
             {"a}", "1: a closing brace without an opening one: write \\} for the character"},
             {"{a}}", "3: a closing brace without an opening one: write \\} for the character"},
             {"a.{", "2: a capture begins with its name: {name}, {name:int}, {name:a|b} or {name:**}"},
             {"{}", "0: a capture begins with its name: {name}, {name:int}, {name:a|b} or {name:**}"},
             {"{1}", "0: a capture begins with its name: {name}, {name:int}, {name:a|b} or {name:**}"},
             {"{ a}", "0: a capture begins with its name: {name}, {name:int}, {name:a|b} or {name:**}"},
             {"{:int}", "0: a capture begins with its name: {name}, {name:int}, {name:a|b} or {name:**}"},
             {"{a", "2: the end of the line where the closing brace of a capture should be"},
             {"{a b}", "2: the end of the line where the closing brace of a capture should be"},
             {"{a-b}", "2: \"-\" where the closing brace of a capture should be"},
             {"{a:int", "6: the end of the line where the closing brace of a capture should be"},
             {"{a:int{", "6: \"{\" where the closing brace of a capture should be"},
             {"{a:}", "3: \"}\" is no type of a capture: int, ** or alternatives such as a|b"},
             {"{a:float}", "3: \"float\" is no type of a capture: int, ** or alternatives such as a|b"},
             {"{a:b|}", "5: an alternative is empty"},
             {"{a:|b}", "3: an alternative is empty"},
             {"{a:b||c}", "5: an alternative is empty"},
             {"{a:b.c|d}", "3: an alternative is plain text without dots, backslashes and stars"},
             {"{a:b|c*}", "5: an alternative is plain text without dots, backslashes and stars"},
             {"a\\", "1: a backslash at the end escapes nothing"},
             {"a\\.b", "1: a dot always separates segments and cannot be escaped"},
             {"{i:int}.{i}", "8: \"{i}\" has two types"},
             {"{i}.{i:int}", "4: \"{i:int}\" has two types"},
             {"{ndim}", "1: \"ndim\" is a word of conditions and cannot name a capture"},
             {"{float16:int}", "1: \"float16\" is a word of conditions and cannot name a capture"},
             {"{where}", "1: \"where\" is a word of conditions and cannot name a capture"},
             {"{bool}", "1: \"bool\" is a word of conditions and cannot name a capture"},
         }) {
        CAPTURE(r.first);
        CHECK(fault_of(r.first) == r.second);
    }
    for (const char* good : {"{_}", "{A_9}", "{ndims}", "{Ndim}", "{int}", "{a:int|b}", "a*", "*a*", "[x]", "a-b",
                             "a->b", "\xC3\xA9", "", "."})
        CHECK_MESSAGE(fault_of(good) == "fine", good);
    for (const char* word : {"ndim", "numel", "dtype", "shape", "has", "not", "and", "or", "where"})
        CHECK(is_reserved_name(word));
    CHECK_FALSE(is_reserved_name("by"));
}

TEST_CASE("a pattern that is checked while compiling") {
    constexpr const char* text = "blocks.{i:int}.**";
    const pattern blocks{text};
    CHECK(blocks.matches("blocks.3.a.b"));
    CHECK(blocks.matches("blocks.3"));
    CHECK_FALSE(blocks.matches("blocks.x.a"));
    CHECK(blocks.text() == text);
    pattern_list list{std::vector<pattern>{"a.*", "**.b"}};
    CHECK(list.matches("a.x"));
    CHECK(list.matches("x.y.b"));
    CHECK_FALSE(list.matches("x"));
    std::string gone = "adapter.**";
    const auto kept = pattern::parse(gone).value();
    gone.assign(100, 'x');
    CHECK(kept.matches("adapter.0"));
}

TEST_CASE("no pattern takes long: what was tried is remembered, and a match ends after four million steps" *
          doctest::test_suite("slow")) {
    const test_support::ends_soon guard{60}; // far less; a pattern that explodes would take years
    const auto times = [](std::string_view what, int n) {
        std::string out;
        for (int i = 0; i < n; ++i) out += what;
        return out;
    };
    CHECK(match(times("**.", 30) + "x", times("a.", 200) + "y") == "no");
    CHECK(match(times("**.", 30) + "x", times("a.", 200) + "x") == "yes");
    CHECK(match(times("**.a.", 20) + "x", times("a.", 60) + "y.x.y") == "no");
    CHECK(match(times("*a", 30) + "b*", times("a", 300) + "c") == "no");
    CHECK(match(times("{x}", 1) + times("*a", 20) + "*b", times("a", 500)) == "no");
    CHECK(match(times("*", 1) + "{i:int}{j:int}{k:int}{l:int}x*y", times("1", 400) + "x") == "no");
    CHECK(match(times("{l:a|aa|aaa}", 1) + times("*a", 25) + "*y", times("a", 300) + "x") == "no");
    // Names that stand twice are tried in all ways, up to the limit.
    CHECK(match("{a}{b}{c}{d}{e}{f}{a}x", times("ab", 100)) == "no"); // the last character tells
    CHECK(match("{a}*{b}*{c}*{a}{c}{a}0{b}{a}*z", times("a", 300) + "0z") == "too many steps");
    CHECK(match("*{a}*{b}*{c}*{d}*{a}{b}{c}{d}!*z", times("a", 200) + "!z") == "yes a=a b=a c=a d=a");
    // A pattern and a key of any length.
    const std::string long_key = times("ab.", 100000) + "c";
    CHECK(match("**.c", long_key) == "yes");
    CHECK(match("{p:**}.{x}.c", times("ab.", 1000) + "c") == "yes p=" + times("ab.", 998) + "ab x=ab");
    CHECK(fault_of(times("**.", 1000000) + "x") == "fine");
    CHECK(match(times("**.", 3000) + "*q*.c", long_key) != "yes");
}

TEST_CASE("a match takes 2^22 steps, and remembers 2^27 places") {
    const auto outcome = [](const std::string& text, const std::string& key) {
        pattern_code code;
        syntax_fault fault;
        REQUIRE(parse_pattern({text, text, 0, false}, code, fault));
        matcher run;
        std::vector<binding_value> slots;
        return run.match(code, key, slots);
    };
    // The star takes nothing first, then one character more at each step; the literal and the end are two steps.
    constexpr std::size_t steps = std::size_t{1} << 22;
    CHECK(outcome("*b", std::string(steps - 3, 'a') + 'b') == match_outcome::yes);
    CHECK(outcome("*b", std::string(steps - 2, 'a') + 'b') == match_outcome::too_many_steps);
    // The first segment has very many ways to fail, which are tried once each where there is room to remember them.
    // Forty-one elements are its own, two those of the last segment, one each those of the empty ones.
    constexpr std::size_t elements = 128, places = std::size_t{1} << 27;
    std::string text;
    for (int i = 0; i < 20; ++i) text += "*a";
    text += 'b' + std::string(elements - 41 - 2 + 1, '.') + '*';
    const std::string first = std::string(60, 'a') + 'c' + std::string(elements - 41 - 2 + 1, '.') + "ab";
    const auto with_key_of = [&](std::size_t bytes) {
        return outcome(text, first + std::string(bytes - first.size(), 'x'));
    };
    CHECK(with_key_of(places / elements - 2) == match_outcome::no);
    CHECK(with_key_of(places / elements - 1) == match_outcome::too_many_steps);
}

} // namespace pattern_test
