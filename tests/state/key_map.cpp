// tests/state/key_map.cpp: rules texts as wholes: lines, limits, groups, short forms, and what is shown of a fault.
//
// SPDX-License-Identifier: MIT
#include <ckpt/state/key_map.hpp>
#include <ckpt/state/key_map_data.hpp>
#include <ckpt/state/suggest.hpp>

#include "../support/named_floats.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace key_map_test {

using ckpt::errc;
using ckpt::key_map;
using ckpt::detail::key_map_access;
using test_support::named_floats;

namespace {

std::string text_of(std::string_view rules) {
    const auto map = key_map::parse(rules);
    return map ? map->text() : "!" + map.error().detail;
}
std::string pretty(std::string_view rules, std::string_view name = "rules.txt") {
    ckpt::parse_error where;
    const auto map = key_map::parse(rules, name, &where);
    return map ? "fine" : where.pretty();
}

} // namespace

TEST_CASE("lines: blank ones, comments, LF and CRLF, a byte order mark; the text is the rules as written") {
    CHECK(text_of("") == "");
    CHECK(text_of("\n\n \t\n# only\n   # comments\n") == "");
    CHECK(text_of("drop a") == "drop a\n");
    CHECK(text_of("\xEF\xBB\xBF"
                  "drop a\r\n\r\n  drop\tb  \t# c\r\n#\r\n? drop \"#\"#\n") ==
          "!rules:5: \"#\" directly behind a quote: a word ends there");
    CHECK(text_of("\xEF\xBB\xBF"
                  "drop a\r\n\r\n  drop\tb  \t# c\r\n#\r\n? drop \"#\" #\n") == "drop a\ndrop\tb\n? drop \"#\"\n");
    CHECK(text_of("drop a#b # c # d") == "drop a#b\n");
    CHECK(text_of("drop \"a # b\"") == "drop \"a # b\"\n");
    CHECK(text_of("drop \"a \\\" # b\"") == "drop \"a \\\" # b\"\n");
    CHECK(text_of("drop {x} where x == \" # \" # c") == "drop {x} where x == \" # \"\n");
    CHECK(text_of("drop a\n# \"quotes\" in 'comments\n") == "drop a\n");
    CHECK(text_of("drop a\r") == "!rules:1: a control character in a rule"); // CR ends no line alone
    CHECK(text_of("drop a\rdrop b\n") == "!rules:1: a control character in a rule");
    CHECK(text_of("drop a\n\xEF\xBB\xBF"
                  "drop b") == "!rules:2: \"\\xef\\xbb\\xbfdrop\" is no verb of a key rule");
}

TEST_CASE("limits count without the end of the line") {
    const auto line = [](std::size_t n) { return "drop " + std::string(n - 5, 'a'); };
    CHECK(key_map::parse(line(4096)).has_value());
    CHECK(key_map::parse(line(4096) + "\n").has_value());
    CHECK(key_map::parse(line(4096) + "\r\n").has_value());
    CHECK(key_map::parse("\xEF\xBB\xBF" + line(4096) + "\r\n").has_value());
    CHECK(text_of("\n" + line(4097)) == "!rules:2: a rule is longer than 4096 bytes");
    CHECK(text_of("#" + std::string(4096, 'x')) == "!rules:1: a rule is longer than 4096 bytes"); // comments too
    CHECK(text_of(line(4095) + " ") == line(4095) + "\n");
    CHECK(text_of(line(4095) + "  ") == "!rules:1: a rule is longer than 4096 bytes");
    CHECK(text_of("drop " + std::string(4090, 'a') + "\xC3\xA9")
              .starts_with("!rules:1: a rule is longer")); // bytes, not characters
    std::string text(std::size_t{1} << 20, '\n');
    CHECK(key_map::parse(text).has_value());
    text.replace(text.size() - 7, 7, "drop a\n");
    CHECK(key_map::parse(text).value().size() == 1);
    text += '\n';
    ckpt::parse_error where;
    const auto refused = key_map::parse(text, "big\n.txt", &where);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == errc::rules_unreadable);
    CHECK(refused.error().detail == "big\\n.txt: the rules are 1048577 bytes long, at most 1 MiB is read");
    CHECK(where.line == 0);
    CHECK(where.pretty() == refused.error().detail);
}

TEST_CASE("characters: UTF-8 without control characters, also in comments") {
    for (const char* bad : {"drop a\x01", "# \x1B[1m", "drop \"\x7F\"", "drop a\x0B", "drop \xC2\x85", "drop \xC2\x9F"})
        CHECK_MESSAGE(text_of(bad) == "!rules:1: a control character in a rule", bad);
    for (const char* bad : {"drop \xFF", "drop \xC3", "# \x80", "drop \xC0\xAF", "drop \xED\xA0\x80",
                            "drop \xF4\x90\x80\x80", "drop a\xE2\x82"})
        CHECK_MESSAGE(text_of(bad) == "!rules:1: bytes in a rule that are not UTF-8", bad);
    CHECK(text_of(std::string_view("drop a\0b", 8)) == "!rules:1: a control character in a rule");
    for (const char* good : {"drop \xC2\xA0", "drop \xF0\x9F\x98\x80", "drop \xE2\x80\x8B", "drop\ta"})
        CHECK_MESSAGE(key_map::parse(good).has_value(), good);
}

TEST_CASE("groups") {
    CHECK(text_of("first {\n}") == "first {\n}\n");
    CHECK(text_of("first{\ndrop a\n\n # c\n  ?  rename b -> c\n  }  # end\ndrop d\n") ==
          "first {\n  drop a\n  ?  rename b -> c\n}\ndrop d\n");
    CHECK(
        text_of("  first   { # c\r\nstrip a.\r\nstrip wrappers\r\nadd b.\r\nrename x -> y where ndim == 1\r\n}\r\n") ==
        "first {\n  strip a.\n  strip wrappers\n  add b.\n  rename x -> y where ndim == 1\n}\n");
    CHECK(pretty("first {\ndrop a\n") == "rules.txt:1: a group that is not closed\n  first {\n  ^^^^^");
    CHECK(pretty("drop a\n }\n") == "rules.txt:2: a closing brace without a group\n   }\n   ^");
    CHECK(pretty("first {\nfirst {\n}\n}\n") == "rules.txt:2: a group inside a group\n  first {\n  ^^^^^^^");
    CHECK(pretty("first { drop a }\n") ==
          "rules.txt:1: a group begins with first { at the end of its line\n  first { drop a }\n  ^^^^^^^^^^^^^^^^");
    CHECK(pretty("first\n{\n}\n") ==
          "rules.txt:1: a group begins with first { at the end of its line\n  first\n  ^^^^^");
    CHECK(pretty("? first {\n}\n") == "rules.txt:1: ? does not stand before first\n  ? first {\n  ^");
    CHECK(pretty("?first {\n}\n") == "rules.txt:1: ? does not stand before first\n  ?first {\n  ^");
    CHECK(pretty("first {\n  ? merge 0 a, b -> c\n}") ==
          "rules.txt:2: \"? merge 0 a, b -> c\" cannot stand in a group, which takes strip, add, rename and drop\n    "
          "? merge 0 a, b -> c\n    ^^^^^^^^^^^^^^^^^^^");
    for (const char* other :
         {"keep a", "copy a -> b", "tie a = b", "split 0 a -> b", "stack 0 a.{i:int} -> a by {i}",
          "unstack 0 a -> a.{i} by {i}", "transpose 0 1 a", "permute (0) a", "reshape (1) a", "squeeze a",
          "unsqueeze 0 a", "narrow 0 0 1 a", "pad 0 0 1 a", "cast bool a", "fill 0 int8 () a"})
        CHECK_MESSAGE(text_of(std::string("first {\n") + other + "\n}\n").find("cannot stand in a group") !=
                          std::string::npos,
                      other);
    CHECK(text_of("first {\n}}\n").find("is no verb") != std::string::npos);
    CHECK(text_of("} x\n").find("is no verb") != std::string::npos);
    const auto map = key_map::parse("drop a\nfirst {\ndrop b\ndrop c\n}\ndrop d\n").value();
    CHECK(map.size() == 4);
    CHECK(key_map_access::data(map).steps.size() == 3);
    CHECK(key_map_access::data(map).rules[2].number == 3);
    CHECK_FALSE(map.empty());
    CHECK(key_map{}.empty());
}

TEST_CASE("a fault is shown with its line and a caret, long lines clipped, columns in characters") {
    CHECK(pretty("drop ok\n\trename a.{i:int}.b -> c.{j}.b # x\n") ==
          "rules.txt:2: \"{j}\" is not bound by the pattern\n   rename a.{i:int}.b -> c.{j}.b # x\n                    "
          "       ^^^");
    CHECK(pretty("drop a\ndrop a where ndim\n") ==
          "rules.txt:2: a bare number, text or dtype is no condition\n  drop a where ndim\n               ^^^^");
    CHECK(pretty("rename a ->\ndrop b") ==
          "rules.txt:1: the end of the line where a pattern should be\n  rename a ->\n             ^");
    CHECK(pretty("rename a ->\r\ndrop b\r\n") ==
          "rules.txt:1: the end of the line where a pattern should be\n  rename a ->\n             ^");
    CHECK(pretty("\xEF\xBB\xBF"
                 "dropp a") == "rules.txt:1: \"dropp\" is no verb of a key rule\n  dropp a\n  ^^^^^");
    CHECK(pretty("drop \xC3\xA9\xE9\x8D\xB5.{") ==
          "rules.txt:1: a capture begins with its name: {name}, {name:int}, {name:a|b} or {name:**}\n  drop "
          "\xC3\xA9\xE9\x8D\xB5.{\n          ^");
    CHECK(pretty("drop a\xE2\x80\x8B"
                 "b }") == "rules.txt:1: \"}\" where the rule should end\n  drop a?b }\n           ^");
    CHECK(pretty("drop \xFF") == "rules.txt:1: bytes in a rule that are not UTF-8\n  drop ?\n       ^");
    CHECK(pretty("drop \x1B") == "rules.txt:1: a control character in a rule\n  drop ?\n       ^");
    CHECK(pretty("dropp", "a\nb") == "a\\nb:1: \"dropp\" is no verb of a key rule\n  dropp\n  ^^^^^");
    // 120 characters before, 120 behind.
    const std::string left(120, 'l');
    const std::string right(120, 'r');
    CHECK(pretty("drop " + left + "} " + right) ==
          "rules.txt:1: a closing brace without an opening one: write \\} for the character\n  ..." +
              std::string(50, 'l') + "} " + std::string(48, 'r') + "...\n  " + std::string(53, ' ') + "^");
    CHECK(pretty("drop } " + right) ==
          "rules.txt:1: a closing brace without an opening one: write \\} for the character\n  drop } " +
              std::string(93, 'r') + "...\n       ^");
    CHECK(pretty("drop " + left + "}") ==
          "rules.txt:1: a closing brace without an opening one: write \\} for the character\n  ..." +
              std::string(50, 'l') + "}\n  " + std::string(53, ' ') + "^");
    CHECK(pretty("drop }" + std::string(94, 'r')).find("drop }" + std::string(94, 'r') + "\n") != std::string::npos);
    CHECK(pretty("drop }" + std::string(95, 'r')).find("drop }" + std::string(94, 'r') + "...\n") != std::string::npos);
    const std::string wide = pretty("drop a " + right);
    CHECK(wide.ends_with("\n  drop a " + std::string(93, 'r') + "...\n         " + std::string(93, '^')));
    ckpt::parse_error where;
    const auto map = key_map::parse("drop \xC3\xA9\ndrop \xC3\xA9 }", "r", &where);
    REQUIRE_FALSE(map.has_value());
    CHECK(where.name == "r");
    CHECK(where.line == 2);
    CHECK(where.column == 8);
    CHECK(where.width == 1);
    CHECK(where.error.offset == 16);
    CHECK(where.error.code == errc::rule_invalid);
    CHECK(map.error().message().starts_with("rule_invalid (702): r:2: \"}\" where the rule should end"));
}

TEST_CASE("short forms are the rules that their texts are") {
    const key_map map{ckpt::strip_prefix("module."),
                      ckpt::add_prefix("a b."),
                      ckpt::strip_wrappers(),
                      ckpt::rename("encoder.{i:int}.{l}", "blocks.{i+1}.{l}"),
                      ckpt::rename("a, b", "c=\"d\""),
                      ckpt::drop("**.num_batches_tracked"),
                      ckpt::drop("where"),
                      ckpt::drop("#x"),
                      ckpt::drop("\\*\\\\ y"),
                      ckpt::drop(""),
                      ckpt::drop("1"),
                      ckpt::keep("a"),
                      ckpt::keep("a", "b c"),
                      ckpt::keep("a", "b", "c", "with"),
                      ckpt::rename("{i:int}", "x.{ i + 1 }"),
                      ckpt::strip_prefix("x=\"y\\."),
                      ckpt::rule("  cast float16 **   where ndim > 1 # all  ")};
    const std::string expected =
        "strip module.\nadd \"a b.\"\nstrip wrappers\nrename encoder.{i:int}.{l} -> blocks.{i+1}.{l}\nrename \"a, b\" "
        "-> \"c=\\\"d\\\"\"\ndrop **.num_batches_tracked\ndrop \"where\"\ndrop \"#x\"\ndrop \"\\\\*\\\\\\\\ y\"\ndrop "
        "\"\"\ndrop \"1\"\nkeep a\nkeep a, \"b c\"\n"
        "keep a, b, c, \"with\"\nrename {i:int} -> \"x.{ i + 1 }\"\nstrip \"x=\\\"y\\\\.\"\ncast float16 **   where "
        "ndim > 1\n";
    CHECK(map.text() == expected);
    CHECK(map.size() == 17);
    const auto parsed = key_map::parse(expected).value();
    CHECK(parsed.text() == expected);
    for (std::size_t i = 0; i < map.size(); ++i) {
        const auto& a = key_map_access::data(map).rules[i].code;
        const auto& b = key_map_access::data(parsed).rules[i].code;
        CHECK(a.verb == b.verb);
        CHECK(a.prefix == b.prefix);
        REQUIRE(a.patterns.size() == b.patterns.size());
        for (std::size_t k = 0; k < a.patterns.size(); ++k) CHECK(a.words[k].text == b.words[k].text);
    }
    CHECK(key_map_access::data(parsed).rules[8].code.patterns[0].literal_key() == "*\\ y");
    CHECK(key_map_access::data(parsed).rules[15].code.prefix == "x=\"y\\.");
    const key_map group{
        ckpt::first(ckpt::rename("a", "b"), ckpt::rename("b", "a"), ckpt::strip_wrappers(), ckpt::rule("?drop c")),
        ckpt::first(), ckpt::drop("d")};
    CHECK(group.text() ==
          "first {\n  rename a -> b\n  rename b -> a\n  strip wrappers\n  ?drop c\n}\nfirst {\n}\ndrop d\n");
    CHECK(key_map::parse(group.text()).value().text() == group.text());
    const key_map copy = group; // a handle to the same map
    CHECK(&key_map_access::data(copy) == &key_map_access::data(group));
}

TEST_CASE("comments of suggested rules list 50 missing keys, 50 wrong shapes and 200 drops") {
    const auto rest = [](std::size_t unwanted, std::size_t missing, std::size_t other_shape) {
        std::vector<named_floats::one> of{{"kept", {1}, {0}}};
        std::vector<ckpt::wanted_tensor> wanted{{"kept", std::vector<std::int64_t>{1}}};
        for (std::size_t i = 0; i < unwanted; ++i) of.push_back({"u" + std::to_string(i), {1}, {0}});
        for (std::size_t i = 0; i < missing; ++i)
            wanted.push_back({"m" + std::to_string(i), std::vector<std::int64_t>{7}});
        for (std::size_t i = 0; i < other_shape; ++i) {
            of.push_back({"s" + std::to_string(i), {1}, {0}});
            wanted.push_back({"s" + std::to_string(i), std::vector<std::int64_t>{5}});
        }
        const named_floats file{of};
        const std::string text = ckpt::suggest_rules(file.weights(), wanted).text;
        const std::size_t at = text.find("#   +");
        return at == std::string::npos ? std::string() : text.substr(at);
    };
    CHECK(rest(200, 0, 0) == "");
    CHECK(rest(201, 0, 0) == "#   +1 more\n");
    CHECK(rest(0, 50, 0) == "");
    CHECK(rest(0, 51, 0) == "#   +1 more\n");
    CHECK(rest(0, 0, 50) == "");
    CHECK(rest(0, 0, 51).starts_with("#   +1 more\n"));
}

} // namespace key_map_test
