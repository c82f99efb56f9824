// tests/state/key_rules.cpp: every rule in several spellings, and every fault with its place.
//
// SPDX-License-Identifier: MIT
#include <ckpt/state/key_map.hpp>
#include <ckpt/state/key_map_data.hpp>

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace key_rules_test {

using ckpt::key_map;
using namespace ckpt::detail;

namespace {

/// The one rule of a text.
const rule_code& only(const key_map& map) {
    REQUIRE(map.size() == 1);
    return key_map_access::data(map).rules[0].code;
}

/// "COLUMN+WIDTH: why" of the fault in one line, or "fine".
std::string fault_of(const std::string& line) {
    ckpt::parse_error where;
    const auto map = key_map::parse("# a line\n" + line, "r", &where);
    if (map) return "fine";
    CHECK(map.error().code == ckpt::errc::rule_invalid);
    CHECK(where.line == 2);
    CHECK(map.error().offset == where.error.offset);
    CHECK(where.error.detail.starts_with("r:2: "));
    CHECK(where.pretty() == where.error.detail + "\n  " + where.line_text + "\n  " + std::string(where.caret, ' ') +
                                std::string(where.width, '^'));
    return std::to_string(where.column) + '+' + std::to_string(where.width) + ": " + where.error.detail.substr(5);
}

struct fault {
    const char* line;
    const char* expected;
};
void check_all(const std::vector<fault>& faults) {
    for (const fault& f : faults) {
        const std::string got = fault_of(f.line);
        CHECK_MESSAGE(got == f.expected, std::string(f.line), " gives ", got);
    }
}

} // namespace

TEST_CASE("every rule is read, in several spellings") {
    for (const char* line : {"strip module.", "strip \"module.\"", "strip\tmodule.  ", "? strip module. # x"}) {
        const auto map = key_map::parse(line).value();
        CHECK(only(map).prefix == "module.");
    }
    for (const std::string& line :
         std::vector<std::string>{"strip wrappers",
                                  "strip\twrappers",
                                  "?strip wrappers",
                                  "? strip  wrappers # comment",
                                  "add m.",
                                  "add \"a b.\"",
                                  "add a.b.",
                                  "rename a -> b",
                                  "rename a->b",
                                  "rename \"a\"->\"b\"",
                                  "rename a\t->\tb",
                                  "rename {x} -> {x}",
                                  "rename {i:int}.** -> \"a.{ 2 * i + 1 }\"",
                                  "rename {i:int} -> {i+1}",
                                  "rename {i:int} -> \"{ i + 1 }\"",
                                  "rename a- -> b",
                                  "rename a-b->c",
                                  "rename \"a->b\" -> \"->\"",
                                  "rename * -> \\*",
                                  "rename a -> \\{b\\}",
                                  "rename a -> a#b",
                                  "drop a",
                                  "drop a where ndim == 1",
                                  "drop a  where  ndim==1",
                                  "drop \"where\"",
                                  "drop \"with\"",
                                  "drop \"[1\"",
                                  "drop \"qkv(\"",
                                  "drop by.x",
                                  "drop whereabouts",
                                  "drop a#b",
                                  "drop \"a # b\" # c",
                                  "keep a",
                                  "keep a,b",
                                  "keep a , b ,c where numel > 0",
                                  "keep {x}.a, {x}.b where x == \"y\"",
                                  "keep {i:int}, {i:int}.{y} where i > 1",
                                  "copy a -> b",
                                  "copy {x} -> {x}.{x} where x != \"b\"",
                                  "tie a = b",
                                  "tie a=b",
                                  "tie \"a=b\"=c",
                                  "tie {x}.a = {x}.b",
                                  "split 0 a -> b",
                                  "split 0 a -> b,c , d",
                                  "split -1 [1,2] a -> b, c",
                                  "split 0 [ 768 , 256, ] a -> b, c",
                                  "split 0 [0] a -> b",
                                  "split 0 qkv(heads=4, kv_heads=2, layout=concat) a -> q, k, v",
                                  "split 0 qkv( layout = grouped , kv_heads = 2, heads=4 ) a -> q,k,v",
                                  "split 0 qkv(heads=3,kv_heads=3,layout=interleaved) a -> q, k, v where ndim == 2",
                                  "split 0 \"qkv(\" -> a, b",
                                  "merge 0 a, b -> c",
                                  "merge -2 a,b->c",
                                  "merge 0 a -> c",
                                  "merge 0 {x}.a, b.{x} -> {x}",
                                  "merge 0 {x}.{i:int}, {i:int}.{x} -> {x}{i}",
                                  "merge 0 qkv(heads=4, kv_heads=4, layout=interleaved) q, k, v -> a",
                                  "merge 0 \"[1\", b -> c",
                                  "stack 0 e.{e:int} -> e by {e}",
                                  "stack -1 {p:**}.{e:int}.{l} -> {p}.{l} by {e} where l == \"w\"",
                                  "stack 0 \"e.{e:int}\" -> \"e\" by {e}",
                                  "unstack 0 e -> e.{e} by {e}",
                                  "unstack 0 {p:**}.w -> {p}.{2*n+1}.w by {n}",
                                  "unstack 0 e -> e.{e}{e} by {e} where ndim > 1",
                                  "transpose 0 1 a",
                                  "transpose -1 -2 \"a\"",
                                  "transpose 0 1 0",
                                  "permute (2, 0, 1) a",
                                  "permute (2,0,1,) a",
                                  "permute ( -1 ,0 ) a",
                                  "permute () a",
                                  "permute (0) a",
                                  "reshape (2, -1) a",
                                  "reshape () a",
                                  "reshape (-1,) a",
                                  "reshape (0, 3) a",
                                  "squeeze a",
                                  "squeeze 0 a",
                                  "squeeze -1 a",
                                  "squeeze 1",
                                  "squeeze 1 where ndim == 1",
                                  "squeeze \"0\"",
                                  "squeeze 0 \"0\"",
                                  "squeeze 0 where",
                                  "unsqueeze 0 a",
                                  "unsqueeze -3 a",
                                  "narrow 0 0 0 a",
                                  "narrow -1 5 7 a",
                                  "pad 0 1 1 a",
                                  "pad -1 0 0 with 0 a",
                                  "pad 0 multiple 128 a",
                                  "pad 0 multiple 1 with 2 multiple",
                                  "pad 0 1 1 with -1.5e-3 a",
                                  "pad 0 1 1 with inf a",
                                  "pad 0 1 1 with nan a",
                                  "pad 0 1 1 with true a",
                                  "pad 0 1 1 \"with\"",
                                  "cast float16 a",
                                  "cast bool a",
                                  "cast float8_e4m3fnuz **",
                                  "cast complex32 a where dtype == complex64",
                                  "fill 0 float32 () a",
                                  "fill -1.5 float16 (2, 3) a.b",
                                  "fill 1e5 float32 (2,) \"a b\"",
                                  "fill .5 float32 () a",
                                  "fill 5. float32 () a",
                                  "fill -inf float32 (0) a\\*",
                                  "fill true bool () a",
                                  "fill 18446744073709551615 uint64 () a"}) {
        CAPTURE(line);
        if (line == "squeeze 0 where") {
            CHECK(fault_of(line).ends_with("where a value should be")); // 0 is the pattern
            continue;
        }
        const auto map = key_map::parse(line);
        REQUIRE_MESSAGE(map.has_value(), line, ": ", map.error().detail);
        CHECK(map->size() == 1);
        CHECK(key_map::parse(map->text()).value().text() == map->text());
    }
}

TEST_CASE("what a rule means as data") {
    const auto split = key_map::parse("?split -1 [768, 256] \"a\\\"b.{x}\" -> q.{x}, \"k.\\\\{{x}\" # comment").value();
    CHECK(only(split).verb == rule_verb::split);
    CHECK(only(split).optional);
    const rule_code& sized = only(split);
    CHECK(std::vector(sized.numbers.begin(), sized.numbers.end()) == std::vector<std::int64_t>{-1, 768, 256});
    CHECK(only(split).words[0].text == "a\"b.{x}");
    CHECK(only(split).templates[1].word.text == "k.\\{{x}");
    CHECK(only(split).text == "?split -1 [768, 256] \"a\\\"b.{x}\" -> q.{x}, \"k.\\\\{{x}\"");
    const auto qkv =
        key_map::parse("merge 0 qkv(layout=grouped, heads=8, kv_heads=2) {p:**}.q, {p:**}.k, {p:**}.v -> {p}").value();
    CHECK(only(qkv).layout == qkv_layout::grouped);
    CHECK(only(qkv).heads == 8);
    CHECK(only(qkv).kv_heads == 2);
    CHECK(only(qkv).patterns.size() == 3);
    const auto fill = key_map::parse("fill -1.5 bfloat16 (2, 3) \"a\\\\*.b\"").value();
    CHECK(only(fill).filling == "-1.5");
    CHECK(only(fill).type == ckpt::dtype::bfloat16);
    CHECK(only(fill).patterns[0].literal_key() == "a*.b");
    CHECK(only(key_map::parse("squeeze a").value()).every_dimension);
    CHECK_FALSE(only(key_map::parse("squeeze 0 a").value()).every_dimension);
    CHECK(only(key_map::parse("pad 0 1 2 a").value()).filling == "0");
}

TEST_CASE("faults of words, verbs and ends") {
    check_all({
        {"renam a -> b", "1+5: \"renam\" is no verb of a key rule"},
        {"  RENAME a -> b", "3+6: \"RENAME\" is no verb of a key rule"},
        {"drop\"a\"", "1+7: \"drop\\\"a\\\"\" is no verb of a key rule"},
        {"?", "2+1: the end of the line is no verb of a key rule"},
        {"??drop a", "2+5: \"?drop\" is no verb of a key rule"},
        {"-> a", "1+2: \"->\" is no verb of a key rule"},
        {"first", "1+5: a group begins with first { at the end of its line"},
        {"firstly a", "1+7: \"firstly\" is no verb of a key rule"},
        {"drop", "5+1: the end of the line where a pattern should be"},
        {"drop   # a", "5+1: the end of the line where a pattern should be"},
        {"drop a b", "8+1: \"b\" where the rule should end"},
        {"drop a, b", "7+1: \",\" where the rule should end"},
        {"drop a -> b", "8+2: \"->\" where the rule should end"},
        {"drop a = b", "8+1: \"=\" where the rule should end"},
        {"drop \"a", "6+1: a quote that is not closed"},
        {"drop \"a\\\"", "6+1: a quote that is not closed"},
        {"drop a\"b\"", "7+1: a quote inside a bare word: put the whole word in quotes"},
        {"drop \"a\"b", "9+1: \"b\" directly behind a quote: a word ends there"},
        {"drop \"a\"where ndim == 1", "9+5: \"where\" directly behind a quote: a word ends there"},
        {"drop where", "6+5: \"where\" is a word of the grammar: as a pattern it stands in quotes"},
        {"drop with", "6+4: \"with\" is a word of the grammar: as a pattern it stands in quotes"},
        {"rename a -> by", "13+2: \"by\" is a word of the grammar: as a pattern it stands in quotes"},
        {"drop wrappers", "6+8: \"wrappers\" is a word of the grammar: as a pattern it stands in quotes"},
        {"drop qkv(x", "6+5: \"qkv(x\" is read as grammar here: as a pattern it stands in quotes"},
        {"merge 0 [1], b -> c", "9+3: \"[1]\" is read as grammar here: as a pattern it stands in quotes"},
        {"rename a", "9+1: the end of the line where -> should be"},
        {"rename a b", "10+1: \"b\" where -> should be"},
        {"rename a -> ", "12+1: the end of the line where a pattern should be"},
        {"rename a -> b where", "20+1: the end of the line where a value should be"},
        {"rename -> b", "8+2: \"->\" where a pattern should be"},
        {"keep a,", "8+1: the end of the line where a pattern should be"},
        {"keep , a", "6+1: \",\" where a pattern should be"},
        {"tie a b", "7+1: \"b\" where = should be"},
        {"tie a = b where ndim == 1", "11+5: \"where\" where the rule should end"},
        {"tie {x} = b", "5+3: \"{x}\" is not bound by the pattern"},
        {"strip module", "7+6: a prefix ends in a dot"},
        {"strip", "6+1: the end of the line where a prefix should be"},
        {"strip m. where ndim == 1", "10+5: \"where\" where the rule should end"},
        {"strip \"wrappers\"", "8+8: a prefix ends in a dot"},
        {"add m. where ndim == 1", "8+5: \"where\" where the rule should end"},
        {"add .", "5+1: an empty segment in a prefix that is added"},
        {"add a..b.", "5+5: an empty segment in a prefix that is added"},
        {"\xC3\xA9 drop a", "1+1: \"\xC3\xA9\" is no verb of a key rule"},
        {"drop \xC3\xA9\xC3\xA9 \xC3\xA9", "9+1: \"\xC3\xA9\" where the rule should end"},
    });
}

TEST_CASE("faults of patterns and templates stand at their place, also in quotes with escapes") {
    check_all({
        {"drop a**", "7+2: ** stands alone between dots"},
        {"rename a.* -> c.*", "17+1: a star stands for nothing in a template: give what the pattern matches a name, "
                              "as in a.{x} -> b.{x}, or write \\* for the character"},
        {"copy **.w -> **.v", "14+1: a star stands for nothing in a template: give what the pattern matches a name, "
                              "as in a.{x} -> b.{x}, or write \\* for the character"},
        {"merge 0 a*, b -> c*", "19+1: a star stands for nothing in a template: give what the pattern matches a name, "
                                "as in a.{x} -> b.{x}, or write \\* for the character"},
        {"drop a\\.b", "7+2: a dot always separates segments and cannot be escaped"},
        {"drop \"a\\\"\\\\.b\"", "10+3: a dot always separates segments and cannot be escaped"},
        {"drop a}", "7+1: a closing brace without an opening one: write \\} for the character"},
        {"rename {a:int}.{a} -> {a}", "16+3: \"{a}\" has two types"},
        {"merge 0 {a:int}, x.{a} -> {a}", "20+3: \"{a}\" has two types"},
        {"rename a.{i:int}.b -> c.{j}.b", "25+3: \"{j}\" is not bound by the pattern"},
        {"rename \"a\\\"b.{i:int}\" -> \"\\\"\\\"{j}\"", "31+3: \"{j}\" is not bound by the pattern"},
        {"rename {x} -> {x+1}",
         "16+1: \"x\" is bound to text, and an expression takes numbers: write {name:int} in the pattern"},
        {"rename {i:int} -> {i+j}", "22+1: \"j\" is not bound by the pattern"},
        {"rename {i:int} -> {i+}", "22+1: \"}\" where a value should be"},
        {"rename {i:int} -> {i i}", "19+1: a brace that is not closed"},
        {"rename {i:int} -> \"{i i}\"", "23+1: \"i\" where the expression should end"},
        {"rename {i:int} -> {-i}", "20+1: a minus sign stands only before an integer: write 0 - x"},
        {"rename {i:int} -> {(i}", "22+1: \"}\" where the closing parenthesis should be"},
        {"rename {i:int} -> {i)}", "21+1: \")\" where the expression should end"},
        {"rename {i:int} -> {9223372036854775808}", "20+19: \"9223372036854775808\" does not fit into 64 bits"},
        {"rename {i:int} -> {i<1}", "21+1: \"<\" where the expression should end"},
        {"rename {i:int} -> {ndim}", "19+6: \"{ndim}\" is not bound by the pattern"},
        {"rename a -> b..c", "15+1: an empty segment in a template"},
        {"rename a -> .b", "13+1: an empty segment in a template"},
        {"rename a -> b.", "15+1: an empty segment in a template"},
        {"rename a -> \"\"", "14+1: an empty segment in a template"},
        {"rename a -> b}", "14+1: a closing brace without an opening one: write \\} for the character"},
        {"rename a -> b{", "14+1: a brace that is not closed"},
        {"rename a -> b{}", "14+2: empty braces: name a capture or write an expression"},
        {"rename a -> b\\", "14+1: a backslash at the end escapes nothing"},
        {"rename a -> b\\.c", "14+2: a dot always separates segments and cannot be escaped"},
        {"rename {ndim} -> a", "9+4: \"ndim\" is a word of conditions and cannot name a capture"},
        {"merge 0 a.{x}, b -> c", "16+1: \"b\" does not bind the names that the first pattern binds"},
        {"merge 0 a, b.{x} -> c", "12+5: \"b.{x}\" does not bind the names that the first pattern binds"},
    });
}

TEST_CASE("faults of numbers, lists and arguments") {
    check_all({
        {"split a -> b, c", "7+1: \"a\" where a dimension should be"},
        {"split 0x a -> b, c", "8+1: \"x\" is no part of an integer"},
        {"split 99999999999999999999 a -> b", "7+20: \"99999999999999999999\" where a dimension should be"},
        {"split 0 [1, 2] a -> b", "21+1: there are not as many templates as sizes"},
        {"split 0 [] a -> b", "17+1: there are not as many templates as sizes"},
        {"split 0 [1, -2] a -> b, c", "9+7: a size is negative"},
        {"split 0 [1 2] a -> b, c", "12+1: \"2\" where a comma or the end of the list should be"},
        {"split 0 [1,,2] a -> b, c", "12+1: \",\" where an integer should be"},
        {"split 0 [1, 2 a -> b, c", "15+1: \"a\" where a comma or the end of the list should be"},
        {"split 0 [1, 2]a -> b, c", "15+1: \"a\" where a blank should be"},
        {"split 0 qkv(heads=4, kv_heads=2) a -> q, k, v", "32+1: qkv takes heads=, kv_heads= and layout=, all three"},
        {"split 0 qkv(heads=4, heads=2, layout=concat) a -> q, k, v",
         "22+5: \"heads\" is no argument of qkv that is missing: it takes heads=, kv_heads= and layout=, all three"},
        {"split 0 qkv(heads=4, kv_heads=2, size=3) a -> q, k, v",
         "34+4: \"size\" is no argument of qkv that is missing: it takes heads=, kv_heads= and layout=, all three"},
        {"split 0 qkv(heads=4, kv_heads=2, layout=other) a -> q, k, v",
         "41+5: \"other\" is no layout: concat, interleaved or grouped"},
        {"split 0 qkv(heads=0, kv_heads=2, layout=concat) a -> q, k, v",
         "19+1: \"0\" is no number of heads: at least 1"},
        {"split 0 qkv(heads=x, kv_heads=2, layout=concat) a -> q, k, v", "19+1: \"x\" is no number of heads"},
        {"split 0 qkv(heads=3, kv_heads=2, layout=concat) a -> q, k, v", "12+36: heads is no multiple of kv_heads"},
        {"split 0 qkv(heads=4, kv_heads=2, layout=interleaved) a -> q, k, v",
         "12+41: the interleaved layout needs as many kv_heads as heads"},
        {"split 0 qkv(heads=4, kv_heads=2, layout=concat, heads=4) a -> q, k, v", "47+1: \",\" where ) should be"},
        {"split 0 qkv(heads=4, kv_heads=2, layout=concat) a -> q, k", "54+4: qkv has three parts: q, k and v"},
        {"merge 0 qkv(heads=4, kv_heads=2, layout=concat) q, k -> a", "57+1: qkv has three parts: q, k and v"},
        {"stack 0 a.{i:int} -> b", "23+1: the end of the line where by {name} should be"},
        {"stack 0 a.{i:int} -> b by i", "27+1: \"i\" where {name} should be"},
        {"stack 0 a.{i:int} -> b by {j}", "27+3: \"{j}\" is not bound by the pattern"},
        {"stack 0 a.{i} -> b by {i}",
         "23+3: \"{i}\" is bound to text, and stack counts numbers: write {name:int} in the pattern"},
        {"stack 0 a.{i:int} -> b.{i} by {i}",
         "24+3: \"{i}\" is the number that is counted and cannot stand in the template"},
        {"stack 0 a.{i:int} -> b.{i+1} by {i}", "25+1: \"i\" is the number that is counted and cannot be used here"},
        {"stack 0 a.{i:int} -> b by {i} where i == 0",
         "37+1: \"i\" is the number that is counted and cannot be used here"},
        {"stack 0 a.{i:int} -> b by {i} where has(c.{i})",
         "43+3: \"{i}\" is the number that is counted and cannot stand in the template"},
        {"unstack 0 a -> b by {i}",
         "16+1: the template does not contain the number that is counted, so all parts would have one name"},
        {"unstack 0 a.{i:int} -> b.{i} by {i}", "33+3: \"{i}\" is bound by the pattern, so it cannot count"},
        {"unstack 0 a -> b.{i} by {where}", "25+7: \"{where}\" is a word of conditions and cannot name a capture"},
        {"unstack 0 a -> b.{i} by {i} where i == 0", "35+1: \"i\" is not bound by the pattern"},
        {"transpose 0 a", "13+1: \"a\" where a dimension should be"},
        {"permute 0, 1 a", "9+1: \"0\" where a list such as (1, 0) should be"},
        {"permute (0, 1 a", "15+1: \"a\" where a comma or the end of the list should be"},
        {"permute(0, 1) a", "1+10: \"permute(0,\" is no verb of a key rule"},
        {"reshape (-1, -1) a", "9+8: \"(-1, -1)\" has more than one -1"},
        {"reshape (2, -3) a", "9+7: \"(2, -3)\" has a negative size that is not -1"},
        {"squeeze 0 a b", "13+1: \"b\" where the rule should end"},
        {"narrow 0 -1 2 a", "10+4: start and length of narrow are not negative"},
        {"narrow 0 1 a", "12+1: \"a\" where a length should be"},
        {"pad 0 1 -1 a", "7+4: the counts of pad are not negative"},
        {"pad 0 multiple 0 a", "16+1: \"0\" is no size to pad to multiples of"},
        {"pad 0 multiple  -8 a", "17+2: \"-8\" is no size to pad to multiples of"},
        {"pad 0 multiple a", "16+1: \"a\" where a size should be"},
        {"pad 0 more 1 a", "7+4: \"more\" where a count or the word multiple should be"},
        {"pad 0 1 1 with a", "16+1: \"a\" is no value: an integer, a decimal, inf, nan, true or false"},
        {"pad 0 1 1 with", "15+1: the end of the line is no value: an integer, a decimal, inf, nan, true or false"},
        {"pad 0 1 1 with 0x1 a", "16+3: \"0x1\" is no value: an integer, a decimal, inf, nan, true or false"},
        {"cast float99 a", "6+7: \"float99\" is no dtype: PyTorch's names without torch., as in float16"},
        {"cast half a", "6+4: \"half\" is no dtype: PyTorch's names without torch., as in float16"},
        {"cast torch.float16 a", "6+5: \"torch\" is no dtype: PyTorch's names without torch., as in float16"},
        {"cast float16.a", "13+2: \".a\" where a blank should be"},
        {"cast float8_e8m0fnu a", "6+14: nothing can be cast to \"float8_e8m0fnu\""},
        {"cast -> a", "6+2: \"->\" is no dtype: PyTorch's names without torch., as in float16"},
        {"fill 0 float32 (2) a.*", "20+3: \"a.*\" is filled, so it is one key without wildcards and captures"},
        {"fill 0 float32 (2) a..b", "20+4: a key with an empty segment cannot be filled"},
        {"fill 0 float32 (-2) a", "16+4: \"(-2)\" has a negative size"},
        {"fill 0 float32 a", "16+1: \"a\" where a shape such as (2, 3) should be"},
        {"fill x float32 () a", "6+1: \"x\" is no value: an integer, a decimal, inf, nan, true or false"},
        {"fill 0 float32 () a where ndim == 1", "21+5: \"where\" where the rule should end"},
        {"fill 0 float32() a", "15+2: \"()\" where a blank should be"},
    });
}

TEST_CASE("faults of conditions") {
    check_all({
        {"drop a where ndim", "14+4: a bare number, text or dtype is no condition"},
        {"drop {x} where x", "16+1: a bare number, text or dtype is no condition"},
        {"drop a where   dtype ", "16+5: a bare number, text or dtype is no condition"},
        {"drop a where 1 < 2 < 3", "20+1: comparisons do not chain: join two of them with `and`"},
        {"drop a where (ndim == 1) == (ndim == 2)",
         "14+26: \"(ndim == 1) == (ndim == 2)\" compares two things of different kinds"},
        {"drop a where dtype < float16", "20+1: \"<\" has no order here: text and dtypes take only == and !="},
        {"drop {x} where x >= \"a\"", "18+2: \">=\" has no order here: text and dtypes take only == and !="},
        {"drop {x} where x == 1", "16+6: \"x == 1\" compares two things of different kinds"},
        {"drop a where dtype == \"float16\"",
         "14+18: \"dtype == \\\"float16\\\"\" compares two things of different kinds"},
        {"drop a where dtype == half", "23+4: \"half\" is not bound by the pattern"},
        {"drop a where i == 1", "14+1: \"i\" is not bound by the pattern"},
        {"drop a where ndim and ndim == 1", "14+4: \"ndim\" is no condition, but `and` and `or` join conditions"},
        {"drop a where ndim == 1 or 2", "27+1: \"2\" is no condition, but `and` and `or` join conditions"},
        {"drop a where not ndim", "18+4: \"ndim\" is no condition, so `not` means nothing"},
        {"drop a where not", "17+1: the end of the line where a value should be"},
        {"drop a where ndim == 1 and", "27+1: the end of the line where a value should be"},
        {"drop a where ndim == 1 )", "24+1: \")\" where the expression should end"},
        {"drop a where (ndim == 1", "24+1: the end of the line where the closing parenthesis should be"},
        {"drop a where ndim = 1", "19+1: \"=\" where the expression should end"},
        {"drop a where ndim + dtype == 1", "21+5: \"dtype\" is no number"},
        {"drop {x} where x + 1 == 1", "16+1: \"x\" is no number"},
        {"drop a where -ndim == 1", "14+1: a minus sign stands only before an integer: write 0 - x"},
        {"drop a where shape == 1", "14+6: shape is asked by dimension: shape[0]"},
        {"drop a where shape[ == 1", "19+1: a bracket that is not closed"},
        {"drop a where shape[x] == 1", "20+1: \"x\" is no dimension"},
        {"drop a where shape[] == 1", "20+1: \"]\" is no dimension"},
        {"drop a where has == 1", "14+4: has is asked for a key: has(name)"},
        {"drop a where has()", "14+4: has is asked for a key: has(name)"},
        {"drop a where has(b", "19+1: the end of the line where the closing parenthesis should be"},
        {"drop a where has({x})", "18+3: \"{x}\" is not bound by the pattern"},
        {"drop a where has(a b)", "19+1: the end of the line inside a bare word: put the whole word in quotes"},
        {"drop a where has(a=b)", "19+1: \"=\" inside a bare word: put the whole word in quotes"},
        {"drop a where has(\"a\" b)", "22+1: \"b\" where the closing parenthesis should be"},
        {"drop a where has(b..c)", "20+1: an empty segment in a template"},
        {"drop a where \"x\" == b", "21+1: \"b\" is not bound by the pattern"},
        {"keep {i:int}, {x} where i == 1", "25+1: \"i\" is not bound by the pattern"},
        {"keep {i:int}, {i} where i == 1", "25+6: \"i == 1\" compares two things of different kinds"},
        {"drop a where 9223372036854775808 == 1", "14+19: \"9223372036854775808\" does not fit into 64 bits"},
    });
    const auto nested = [](std::size_t n) {
        return "drop a where " + std::string(n, '(') + "ndim == 1" + std::string(n, ')');
    };
    CHECK(fault_of(nested(64)) == "fine");
    CHECK(fault_of(nested(65)) == "78+1: more than 64 nested parentheses");
    const auto braces = [](std::size_t n) {
        return "rename {i:int} -> {" + std::string(n, '(') + "i" + std::string(n, ')') + "}";
    };
    CHECK(fault_of(braces(64)) == "fine");
    CHECK(fault_of(braces(65)) == "84+1: more than 64 nested parentheses");
    for (const char* good : {"drop a where ndim == 1 and not not (dtype != bool or has(b))",
                             "drop a where not ndim == 1", "drop a where ndim- 1==-1", "drop a where 1 - -1 == 2",
                             "drop a where has( \"b)\" )", "drop a where has(b(c) and shape[ -1 ] == 2",
                             "drop {x} where x==\"a\\\"b\"", "drop {x} where \"a # b\" != x # comment",
                             "drop {i:int} where has(\"a.{ i + 1 }\")", "drop a where dtype==float16or ndim==1",
                             "drop a where(ndim)==1", "drop a where -9223372036854775808 < numel"})
        CHECK_MESSAGE(fault_of(good) == (std::string_view(good) == "drop a where(ndim)==1"
                                             ? "8+11: \"where(ndim)\" where the rule should end"
                                         : std::string_view(good).find("float16or") != std::string_view::npos
                                             ? "21+9: \"float16or\" is not bound by the pattern"
                                             : "fine"),
                      good);
}

} // namespace key_rules_test
