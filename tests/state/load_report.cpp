// tests/state/load_report.cpp: reports as text and as JSON.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/state/fold.hpp>
#include <ckpt/state/load_judge.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace load_report_test {

namespace {

std::string folded(const std::vector<std::string>& keys, std::size_t most = 100) {
    std::string out;
    ckpt::detail::key_folding{keys}.append_to(out, "", most);
    return out;
}

} // namespace

TEST_CASE("runs of numbers and names of siblings are folded, and the count says of how many keys") {
    std::vector<std::string> keys;
    for (int i = 0; i < 32; ++i)
        for (const char* const name : {"q", "k", "v"})
            keys.push_back("blocks." + std::to_string(i) + ".attn." + name + ".weight");
    keys.push_back("head");
    CHECK(folded(keys) == "blocks.{0..31}.attn.{q,k,v}.weight (96)\nhead\n");
    CHECK(folded({"a.0.w", "a.1.w", "a.3.w", "a.7.w", "a.8.w", "a.9.w", "a.10.w"}) == "a.{0,1,3,7..10}.w (7)\n");
    CHECK(folded({"fc.weight", "fc.bias", "x"}) == "fc.{weight,bias} (2)\nx\n");
    CHECK(folded({"a.0.x", "a.0.y", "a.1.x"}) == "a.{0,1}.x (2)\na.0.y\n"); // numbers first
    CHECK(folded({"only"}) == "only\n");
    CHECK(folded({}).empty());
    CHECK(folded({"0", "1", "2"}) == "{0..2} (3)\n");
    // Two kinds of numbers: experts inside of layers.
    keys.clear();
    for (int i = 0; i < 3; ++i)
        for (int e = 0; e < 4; ++e) keys.push_back(std::to_string(i) + ".experts." + std::to_string(e));
    CHECK(folded(keys) == "{0..2}.experts.{0..3} (12)\n");
}

TEST_CASE("what differs in more than one place is not folded together, nor are many names, nor numbers that are none") {
    CHECK(folded({"a.0.x", "b.1.x"}) == "a.0.x\nb.1.x\n");
    CHECK(folded({"a.0.x", "a.1.y"}) == "a.0.x\na.1.y\n");
    std::vector<std::string> names;
    for (char c = 'a'; c < 'k'; ++c) names.push_back(std::string("x.") + c);
    CHECK(folded(names).find('{') == std::string::npos);
    CHECK(folded({"a.{0..9}", "a.b"}) == "a.{0..9}\na.b\n"); // braces of the file's own
}

TEST_CASE("folding takes eight names, numbers of nine digits, sixteen segments and ten thousand keys") {
    const auto names = [](char last) {
        std::vector<std::string> out;
        for (char c = 'a'; c <= last; ++c) out.push_back(std::string("x.") + c);
        return folded(out);
    };
    CHECK(names('h') == "x.{a,b,c,d,e,f,g,h} (8)\n");
    CHECK(names('i').find('{') == std::string::npos);
    CHECK(folded({"a.999999997", "a.999999998", "a.999999999"}) == "a.{999999997..999999999} (3)\n");
    CHECK(folded({"a.1999999998.x", "a.1999999999.x"}) == "a.{1999999998,1999999999}.x (2)\n"); // as names
    CHECK(folded({"a.1999999997", "a.1999999998", "a.1999999999"}) == "a.{1999999997,1999999998,1999999999} (3)\n");
    const auto deep = [](int segments) {
        std::string before;
        for (int i = 1; i < segments; ++i) before += "s.";
        return folded({before + "1", before + "2"});
    };
    CHECK(deep(16).ends_with(".s.{1,2} (2)\n"));
    CHECK(deep(17).find('{') == std::string::npos);
    std::vector<std::string> keys;
    for (int i = 0; i < 10'001; ++i) keys.push_back(std::to_string(i));
    CHECK(folded(keys) == "{0..9999} (10000)\n+1 more\n");
    keys.pop_back();
    CHECK(folded(keys) == "{0..9999} (10000)\n");
}

TEST_CASE("lists and lines are bounded, and what a file wrote is printable") {
    CHECK(folded({"a", "b.c", "d.e.f"}, 2) == "a\nb.c\n+1 more\n");
    CHECK(folded({"a", "b.c", "d.e.f"}, 3) == "a\nb.c\nd.e.f\n");
    CHECK(folded({std::string(240, 'k')}) == std::string(240, 'k') + '\n');
    CHECK(folded({std::string(241, 'k')}) == std::string(120, 'k') + "..." + std::string(60, 'k') + '\n');
    ckpt::load_report report;
    for (int i = 0; i < 50; ++i) report.mismatched.push_back({std::to_string(i), {}, {}, {}, {}, "why"});
    CHECK(report.to_text().ends_with("\n  49: why\n"));
    report.mismatched.push_back({"50", {}, {}, {}, {}, "why"});
    CHECK(report.to_text().ends_with("\n  49: why\n  +1 more\n"));
    CHECK(folded({"a\nb\x1b[2J", "x.\xff"}) == "a\\nb\\x1b[2J\nx.\\xff\n");
    CHECK(folded({std::string(100'000, 'k')}).size() < 300);
    std::string deep;
    for (int i = 0; i < 40; ++i) deep += "s.";
    CHECK(folded({deep + "1", deep + "2"}) == deep + "1\n" + deep + "2\n");
}

TEST_CASE("an error of a load names three keys of a kind, and 160 bytes of the first reason") {
    const auto told = [](std::size_t missing, std::size_t reason) {
        ckpt::load_report report;
        for (std::size_t i = 0; i < missing; ++i) report.missing_keys.push_back(std::to_string(i));
        if (reason > 0) report.mismatched.push_back({"m", {}, {}, {}, {}, std::string(reason, 'y')});
        return ckpt::detail::incomplete_error(report, {}, {}).detail;
    };
    CHECK(told(3, 0) == R"(3 missing: "0", "1", "2")");
    CHECK(told(4, 0) == R"(4 missing: "0", "1", "2", +1 more)");
    CHECK(told(0, 160) == "1 mismatched: \"m\" (" + std::string(160, 'y') + ')');
    CHECK(told(0, 161) == "1 mismatched: \"m\" (" + std::string(160, 'y') + "...)");
}

TEST_CASE("the text has counts, and a list for what is not as it should be") {
    ckpt::load_report report;
    CHECK(report.to_text() ==
          "loaded 0, missing 0, mismatched 0, absent 0; used 0, dropped 0, unexpected 0: complete\n");
    report.loaded.resize(2);
    report.loaded[0].key = "a";
    report.loaded[1].key = "b";
    report.loaded[1].cast = true;
    report.used = {"a", "b"};
    report.unexpected_keys = {"x.0", "x.1", "x.2"};
    CHECK(report.to_text() ==
          "loaded 2, missing 0, mismatched 0, absent 0; used 2, dropped 0, unexpected 3: complete, as it was allowed\n"
          "unexpected:\n  x.{0..2} (3)\ncast:\n  b\n");
    report.missing_keys = {"m"};
    report.missing_not_allowed = 1;
    report.nearest.push_back({"m", {"n", "o"}});
    report.mismatched.push_back({"c", {ckpt::any, 784}, {10, 783}, ckpt::dtype::float32, ckpt::dtype::float16, "why"});
    report.mismatched.push_back({"d", {ckpt::any}, {}, {}, {}, "refused"});
    report.absent = {"opt"};
    report.dropped.push_back({"old", "drop old"});
    CHECK(report.to_text() == "loaded 2, missing 1, mismatched 2, absent 1; used 2, dropped 1, unexpected 3: "
                              "incomplete, not as it was asked for\n"
                              "missing:\n  m\n  m: perhaps n, o\n"
                              "mismatched:\n  c: wanted float32 [any, 784], got float16 [10, 783]: why\n  d: refused\n"
                              "unexpected:\n  x.{0..2} (3)\nabsent:\n  opt\ndropped:\n  old\ncast:\n  b\n");
}

TEST_CASE("the JSON has every list, in a fixed order, and is valid whatever the keys are") {
    ckpt::load_report report;
    ckpt::loaded_tensor t;
    t.key = "a\"\\\n\x01\xff\xed\xa0\x80\xc3\xa9";
    t.from = {"x", "y"};
    t.file = "f.bin";
    t.chain = "merge 0";
    t.aliases = {"z"};
    t.aliased = t.converted = true;
    t.crc32 = 0xAB;
    report.loaded.push_back(t);
    report.mismatched.push_back({"c", {ckpt::any, 784}, {10, 783}, ckpt::dtype::float32, {}, "why"});
    report.dropped.push_back({"old", "drop old"});
    report.nearest.push_back({"m", {"n"}});
    report.missing_keys = {"m"};
    report.missing_not_allowed = 1;
    CHECK(
        report.json() ==
        R"({"complete": false, "ok": false, "loaded": [{"key": "a\"\\\n\u0001\udcff\ud800)"
        "\xc3\xa9"
        R"(", "from": ["x", "y"], "file": "f.bin", "chain": "merge 0", "aliases": ["z"], "aliased": true, "converted": true, "cast": false, "crc32": "000000ab"}], )"
        R"("missing_keys": ["m"], "mismatched": [{"key": "c", "want_shape": [null, 784], "got_shape": [10, 783], "want_dtype": "float32", "got_dtype": null, "why": "why"}], )"
        R"("absent": [], "used": [], "dropped": [{"from": "old", "rule": "drop old"}], "unexpected_keys": [], "nearest": [{"key": "m", "nearest": ["n"]}], )"
        R"("missing_not_allowed": 1, "unexpected_not_allowed": 0})");
}

} // namespace load_report_test
