// tests/state/remap_cases.cpp: what each kind of key rule does to keys and values, through both doors.
//
// SPDX-License-Identifier: MIT
// Every case is a rules text whose lines are checked by the compiler as literals and parsed again at run time; both
// maps run over the same tensors, mapped, read and copied, and must give the same keys, shapes and values.
#include <ckpt/ckpt.hpp>
#include <ckpt/core/digest.hpp>
#include <ckpt/tensor/shape_text.hpp>

#include "../support/named_floats.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace remap_cases_test {

using namespace test_support;

namespace {

/// "key [shape] v v v | key …" of a state_dict, values as double.
std::string shown(const ckpt::state_dict& weights) {
    std::string out;
    for (const auto& [key, tensor] : weights) {
        if (!out.empty()) out += " | ";
        out += std::string(key) + ' ' + ckpt::detail::list_of(tensor.shape());
        std::vector<double> values(tensor.numel());
        tensor.copy_as(std::span{values}).value();
        char number[32];
        for (const double v : values) {
            std::snprintf(number, sizeof number, " %g", v);
            out += number;
        }
    }
    return out;
}

/// What two maps that should be the same make of `from`, or the first fault of the plan.
std::string result_of(const named_floats& from, const ckpt::key_map& literal, const std::string& text) {
    const auto parsed = ckpt::key_map::parse(text);
    REQUIRE_MESSAGE(parsed.has_value(), text);
    CHECK(parsed->text() == literal.text());
    std::string first;
    for (const ckpt::open_options& options : {ckpt::open_options{}, ckpt::open_options{.io = ckpt::io_mode::read},
                                              ckpt::open_options{.storages = ckpt::storage_mode::owned}}) {
        for (const ckpt::key_map* map : {&literal, &*parsed}) {
            const auto weights = from.weights(options);
            const auto plan = ckpt::plan_remap(weights, *map);
            const auto made = ckpt::remap(plan);
            CHECK((made.has_value() || !plan.ok() || made.error().code == ckpt::errc::equality_broken));
            std::string now = made ? shown(*made) : "error: " + made.error().detail;
            if (made) {
                CHECK(shown(made->owned()) == now);
                // Digests read in parts.
                for (const auto& [key, tensor] : *made) {
                    std::vector<float> values(tensor.numel());
                    if (tensor.dtype() == ckpt::dtype::float32 && tensor.copy_to(std::span{values}))
                        CHECK(tensor.crc32().value() == ckpt::detail::crc32(std::as_bytes(std::span{values})));
                }
                if (const auto back = plan.inverse()) {
                    const auto again = ckpt::remap(*made, *back);
                    REQUIRE_MESSAGE(again.has_value(), back->text());
                    CHECK(again->size() == weights.size());
                    for (const auto& [key, tensor] : weights) {
                        REQUIRE(again->contains(key));
                        CHECK(again->at(key).value().crc32().value() == tensor.crc32().value());
                        CHECK(std::equal(tensor.shape().begin(), tensor.shape().end(),
                                         again->at(key).value().shape().begin(), again->at(key).value().shape().end()));
                    }
                } else {
                    CHECK(back.error().code == ckpt::errc::not_reversible);
                }
            }
            if (first.empty()) first = now;
            CHECK(now == first);
        }
    }
    return first;
}

#define RULES_1(a) ckpt::key_map{ckpt::rule(a)}, a "\n"
#define RULES_2(a, b) ckpt::key_map{ckpt::rule(a), ckpt::rule(b)}, a "\n" b "\n"
#define RULES_3(a, b, c) ckpt::key_map{ckpt::rule(a), ckpt::rule(b), ckpt::rule(c)}, a "\n" b "\n" c "\n"

const named_floats& two() {
    static const named_floats out{
        {"module.a.w", {2, 3}, {1, 2, 3, 4, 5, 6}}, {"module.b", {2}, {7, 8}}, {"c", {}, {9}}};
    return out;
}
const named_floats& square() {
    static const named_floats out{{"x", {4, 2}, {1, 2, 3, 4, 5, 6, 7, 8}}};
    return out;
}

} // namespace

TEST_CASE("names: strip, add, rename, drop, keep, copy; order is kept") {
    CHECK(result_of(two(), RULES_1("strip module.")) == "a.w [2, 3] 1 2 3 4 5 6 | b [2] 7 8 | c [] 9");
    CHECK(result_of(two(), RULES_1("add net.")) ==
          "net.module.a.w [2, 3] 1 2 3 4 5 6 | net.module.b [2] 7 8 | net.c [] 9");
    CHECK(result_of(two(), RULES_2("strip wrappers", "rename {p:**}.w -> {p}.weight")) ==
          "a.weight [2, 3] 1 2 3 4 5 6 | b [2] 7 8 | c [] 9");
    CHECK(result_of(two(), RULES_1("keep c, **.w")) == "module.a.w [2, 3] 1 2 3 4 5 6 | c [] 9");
    CHECK(result_of(two(), RULES_1("drop ** where ndim == 1 or numel == 1")) == "module.a.w [2, 3] 1 2 3 4 5 6");
    CHECK(result_of(two(), RULES_2("copy module.b -> z.y", "drop c")) ==
          "module.a.w [2, 3] 1 2 3 4 5 6 | module.b [2] 7 8 | z.y [2] 7 8");
    CHECK(result_of(two(), RULES_1("rename c -> module.b.x where has(module.b) and not has(q)")) ==
          "module.a.w [2, 3] 1 2 3 4 5 6 | module.b [2] 7 8 | module.b.x [] 9");
    CHECK(result_of(two(), RULES_1("fill 1.5 float32 (2,) d")) ==
          "module.a.w [2, 3] 1 2 3 4 5 6 | module.b [2] 7 8 | c [] 9 | d [2] 1.5 1.5");
    const named_floats layers{{"l.0.w", {1}, {1}}, {"l.9.w", {1}, {2}}, {"l.10.w", {1}, {3}}};
    CHECK(result_of(layers, RULES_1("rename l.{i:int}.{x} -> b.{2*i+1}.{i/4}.{i%4}.{x}")) ==
          "b.1.0.0.w [1] 1 | b.19.2.1.w [1] 2 | b.21.2.2.w [1] 3");
    CHECK(result_of(layers, RULES_1("rename l.{i:int}.w -> l.{i-1}.w")).find("not in 0 to 2147483647") !=
          std::string::npos);
    CHECK(result_of(layers, RULES_1("rename l.{i:int}.w -> l.{3/i}.w")).find("division by zero") != std::string::npos);
}

TEST_CASE("a capture of segments may be empty at the end of a key, at its beginning and between") {
    const named_floats from{{"a", {1}, {1}}, {"a.b", {1}, {2}}, {"a.b.c", {1}, {3}}};
    CHECK(result_of(from, RULES_1("rename a.{rest:**} -> z.{rest}")) == "z [1] 1 | z.b [1] 2 | z.b.c [1] 3");
    CHECK(result_of(from, RULES_1("rename a.{r:**}.{last} -> {r}.y.{last}")) == "a [1] 1 | y.b [1] 2 | b.y.c [1] 3");
    CHECK(result_of(from, RULES_1("drop {p:**}.b.{q:**}")) == "a [1] 1");
}

TEST_CASE("a group moves all keys at once: a swap") {
    const named_floats from{{"a", {1}, {1}}, {"b", {1}, {2}}};
    CHECK(result_of(from, ckpt::key_map{ckpt::first(ckpt::rename("a", "b"), ckpt::rename("b", "a"))},
                    "first {\n  rename a -> b\n  rename b -> a\n}\n") == "b [1] 1 | a [1] 2");
    CHECK(result_of(from, RULES_2("rename a -> b", "rename b -> a")).find("collision") != std::string::npos);
}

TEST_CASE("collisions: the same view merges and is listed, another tensor is an error that names both") {
    const named_floats from{{"module.a", {1}, {1}}, {"a", {1}, {2}}};
    CHECK(result_of(from, RULES_1("strip module.")) ==
          "error: 1 collision: \"a\" (untouched) and \"module.a\" (rule 1, strip module.) all become \"a\"");
    const named_floats one{{"a", {1}, {1}}};
    const auto weights = one.weights();
    const auto plan =
        ckpt::plan_remap(weights, ckpt::key_map{ckpt::rule("copy a -> module.a"), ckpt::strip_prefix("module.")});
    REQUIRE(plan.ok());
    CHECK(plan.aliased.size() == 1);
    CHECK(plan.keys() == std::vector<std::string>{"a"});
    CHECK(plan.inverse().error().code == ckpt::errc::not_reversible);
}

TEST_CASE("structure: split, merge, stack, unstack and their order") {
    CHECK(result_of(square(), RULES_1("split 0 x -> p, q")) == "p [2, 2] 1 2 3 4 | q [2, 2] 5 6 7 8");
    CHECK(result_of(square(), RULES_1("split 0 [1, 3] x -> p, q")) == "p [1, 2] 1 2 | q [3, 2] 3 4 5 6 7 8");
    CHECK(result_of(square(), RULES_1("split -1 x -> p, q")) == "p [4, 1] 1 3 5 7 | q [4, 1] 2 4 6 8");
    CHECK(result_of(square(), RULES_1("split 0 x -> p, q, r")).find("does not divide into 3 parts") !=
          std::string::npos);
    CHECK(result_of(square(), RULES_1("split 0 [1, 1] x -> p, q")).find("add up to 2") != std::string::npos);
    CHECK(result_of(square(), RULES_2("split 1 x -> p, q", "merge 0 q, p -> y")) == "y [8, 1] 2 4 6 8 1 3 5 7");
    CHECK(result_of(square(), RULES_1("unstack 0 x -> x.{e} by {e}")) ==
          "x.0 [2] 1 2 | x.1 [2] 3 4 | x.2 [2] 5 6 | x.3 [2] 7 8");
    CHECK(result_of(square(), RULES_2("unstack 0 x -> x.{e} by {e}", "stack 1 x.{e:int} -> y by {e}")) ==
          "y [2, 4] 1 3 5 7 2 4 6 8");
    const named_floats experts{{"e.10", {1}, {10}}, {"e.0", {1}, {0}}, {"e.1", {1}, {1}}, {"e.2", {1}, {2}},
                               {"e.3", {1}, {3}},   {"e.4", {1}, {4}}, {"e.5", {1}, {5}}, {"e.6", {1}, {6}},
                               {"e.7", {1}, {7}},   {"e.8", {1}, {8}}, {"e.9", {1}, {9}}};
    CHECK(result_of(experts, RULES_1("stack 0 e.{e:int} -> e by {e}")) == "e [11, 1] 0 1 2 3 4 5 6 7 8 9 10");
    CHECK(result_of(experts, RULES_2("drop e.3", "stack 0 e.{e:int} -> e by {e}")).find("missing: \"e.3\"") !=
          std::string::npos);
    const named_floats parts{{"z", {1}, {0}}, {"l.k", {1, 2}, {3, 4}}, {"l.q", {1, 2}, {1, 2}}, {"y", {1}, {0}}};
    CHECK(result_of(parts, RULES_1("merge 0 {p}.q, {p}.k -> {p}.qk")) == "z [1] 0 | l.qk [2, 2] 1 2 3 4 | y [1] 0");
    CHECK(result_of(parts, RULES_1("merge 0 {p}.q, {p}.k, {p}.v -> {p}.qkv")).find("missing: \"l.v\"") !=
          std::string::npos);
    CHECK(result_of(parts, RULES_1("merge 0 {p}.q, {p}.k -> {p}.qk where shape[0] > 1")).find("l.k [1, 2]") !=
          std::string::npos);
}

TEST_CASE("the three layouts of fused projections, with grouped queries") {
    std::vector<float> rows(16);
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = float(i);
    const named_floats fused(std::vector<named_floats::one>{{"qkv", {16}, rows}}); // 4 heads, 2 kv heads, head size 2
    CHECK(result_of(fused, RULES_1("split 0 qkv(heads=4, kv_heads=2, layout=concat) qkv -> q, k, v")) ==
          "q [8] 0 1 2 3 4 5 6 7 | k [4] 8 9 10 11 | v [4] 12 13 14 15");
    CHECK(result_of(fused, RULES_1("split 0 qkv(heads=4, kv_heads=2, layout=grouped) qkv -> q, k, v")) ==
          "q [8] 0 1 2 3 8 9 10 11 | k [4] 4 5 12 13 | v [4] 6 7 14 15");
    const named_floats even(std::vector<named_floats::one>{{"qkv", {12}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}}});
    CHECK(result_of(even, RULES_1("split 0 qkv(heads=2, kv_heads=2, layout=interleaved) qkv -> q, k, v")) ==
          "q [4] 0 1 6 7 | k [4] 2 3 8 9 | v [4] 4 5 10 11");
    CHECK(result_of(fused, RULES_2("split 0 qkv(heads=4, kv_heads=2, layout=concat) qkv -> q, k, v",
                                   "merge 0 qkv(layout=grouped, heads=4, kv_heads=2) q, k, v -> f")) ==
          "f [16] 0 1 2 3 8 9 12 13 4 5 6 7 10 11 14 15");
}

TEST_CASE("one tensor: transpose, permute, reshape, squeeze, unsqueeze, narrow, pad, cast") {
    CHECK(result_of(square(), RULES_1("transpose 0 1 x")) == "x [2, 4] 1 3 5 7 2 4 6 8");
    CHECK(result_of(square(), RULES_2("reshape (2, 2, -1) x", "permute (2, 0, 1) x")) == "x [2, 2, 2] 1 3 5 7 2 4 6 8");
    CHECK(result_of(square(), RULES_2("transpose 0 1 x", "reshape (-1,) x")) == "x [8] 1 3 5 7 2 4 6 8");
    CHECK(result_of(square(), RULES_3("unsqueeze -1 x", "unsqueeze 0 x", "squeeze x")) == "x [4, 2] 1 2 3 4 5 6 7 8");
    CHECK(result_of(square(), RULES_1("narrow 0 1 2 x")) == "x [2, 2] 3 4 5 6");
    CHECK(result_of(square(), RULES_1("pad 1 1 0 with 0.5 x")) == "x [4, 3] 0.5 1 2 0.5 3 4 0.5 5 6 0.5 7 8");
    CHECK(result_of(square(), RULES_3("transpose 0 1 x", "pad 0 0 1 x", "reshape (6, 2) x")) ==
          "x [6, 2] 1 3 5 7 2 4 6 8 0 0 0 0");
    CHECK(result_of(square(), RULES_1("cast float16 x where dtype == float32")) == "x [4, 2] 1 2 3 4 5 6 7 8");
    CHECK(result_of(square(), RULES_1("cast int32 x")).find("cannot be cast") != std::string::npos);
    CHECK(result_of(square(), RULES_1("squeeze 0 x")).find("has the size 4, not 1") != std::string::npos);
    CHECK(result_of(square(), RULES_1("reshape (3, -1) x")).find("do not fit into [3, -1]") != std::string::npos);
    CHECK(result_of(square(), RULES_1("narrow 0 3 2 x")).find("reach past the size 4") != std::string::npos);
    CHECK(result_of(square(), RULES_1("transpose 0 2 x")).find("no dimension 2") != std::string::npos);
}

TEST_CASE("tie: an absent name is added behind its source, two equal ones are checked when the plan is carried out") {
    const named_floats one{{"embed.weight", {2}, {1, 2}}, {"z", {1}, {0}}};
    CHECK(result_of(one, RULES_1("tie lm_head.weight = embed.weight")) ==
          "embed.weight [2] 1 2 | lm_head.weight [2] 1 2 | z [1] 0");
    const named_floats equal{{"a", {2}, {1, 2}}, {"b", {2}, {1, 2}}};
    CHECK(result_of(equal, RULES_1("tie a = b")) == "a [2] 1 2 | b [2] 1 2");
    const named_floats other{{"a", {2}, {1, 2}}, {"b", {2}, {1, 3}}};
    CHECK(result_of(other, RULES_1("tie a = b")).find("whose values differ") != std::string::npos);
    const named_floats shapes{{"a", {2}, {1, 2}}, {"b", {1, 2}, {1, 2}}};
    CHECK(result_of(shapes, RULES_1("tie a = b")).find("it is tied to \"a\", which is float32 [2]") !=
          std::string::npos);
}

TEST_CASE("a plan lists moves from source to result, what was dropped by which rule, and unused rules") {
    const auto weights = two().weights();
    const auto plan = ckpt::plan_remap(
        weights, ckpt::key_map{ckpt::strip_prefix("module."), ckpt::rename("a.w", "weight"), ckpt::drop("c"),
                               ckpt::rule("rename nothing -> x"), ckpt::rule("?drop nobody")});
    REQUIRE(plan.ok());
    REQUIRE(plan.moves.size() == 2);
    CHECK(plan.moves[0].from == "module.a.w");
    CHECK(plan.moves[0].to == "weight");
    CHECK(plan.moves[0].op == "rename");
    CHECK(plan.moves[0].rule == 2);
    CHECK(plan.moves[1].op == "strip");
    REQUIRE(plan.dropped.size() == 1);
    CHECK(plan.dropped[0].from == "c");
    CHECK(plan.dropped[0].rule == 3);
    CHECK(plan.unused_rules == std::vector<std::size_t>{4});
    const auto trace = plan.explain("module.a.w").value();
    REQUIRE(trace.size() == 2);
    CHECK(trace[1].before == std::vector<std::string>{"a.w"});
    CHECK(trace[1].after == std::vector<std::string>{"weight"});
    CHECK(plan.explain("nowhere").error().code == ckpt::errc::key_missing);
}

TEST_CASE("the way of a key that was merged into another as the same view goes on with what stands for both") {
    const auto weights = ckpt::open(CKPT_TEST_DATA "/torch-2.13/tied.pt").value().state_dict().value();
    const auto way = [&](const char* rules, const char* key) {
        std::string out;
        for (const auto& line : ckpt::plan_remap(weights, ckpt::key_map::parse(rules).value()).explain(key).value()) {
            out += std::to_string(line.rule) + ':';
            for (const auto& name : line.before) out += ' ' + name;
            out += " ->";
            for (const auto& name : line.after) out += ' ' + name;
            out += "; ";
        }
        return out;
    };
    CHECK(way("rename {x:encoder|decoder}.weight -> c\nrename c -> d\ndrop d\n", "decoder.weight") ==
          "1: decoder.weight -> c; 2: c -> d; 3: d ->; ");
    // The one that stood there gives way to one with an earlier place.
    CHECK(way("rename encoder.weight -> decoder.weight\nrename decoder.weight -> d\n", "decoder.weight") ==
          "2: decoder.weight -> d; ");
}

TEST_CASE("renamed tensors are views of the file; no map changes nothing") {
    const auto weights = two().weights();
    const auto same = ckpt::remap(weights, ckpt::key_map{}).value();
    CHECK(shown(same) == shown(weights));
    const auto moved =
        ckpt::remap(weights, ckpt::key_map{ckpt::rule("rename module.b -> d"), ckpt::rule("split 0 d -> e, f")})
            .value();
    CHECK(moved.view<float, 1>("f").value().data == weights.view<float, 1>("module.b").value().data + 1);
}

TEST_CASE("large gathers read in parts give what a whole copy gives") {
    std::vector<float> values(301 * 307);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = float(i % 9973);
    const named_floats from(std::vector<named_floats::one>{{"a", {301, 307}, values}, {"b", {301, 307}, values}});
    const auto text = result_of(from, RULES_3("transpose 0 1 a", "narrow 1 6 301 b", "reshape (-1, 7) a"));
    CHECK_FALSE(text.starts_with("error"));
    CHECK_FALSE(
        result_of(from, RULES_3("transpose 0 1 *", "merge 1 a, b -> c", "reshape (-1, 43) c")).starts_with("error"));
    CHECK_FALSE(
        result_of(from, RULES_3("transpose 0 1 *", "merge 1 a, b -> c", "pad 0 3 5 with 2 c")).starts_with("error"));
}

TEST_CASE("faults of a rules text name the line and put a caret under the place") {
    ckpt::parse_error where;
    const auto parsed = ckpt::key_map::parse("# map\n\n  rename a.{i:int}.b -> c.{j}.b", "rules.txt", &where);
    REQUIRE_FALSE(parsed.has_value());
    CHECK(parsed.error().code == ckpt::errc::rule_invalid);
    CHECK(where.line == 3);
    CHECK(where.pretty() == "rules.txt:3: \"{j}\" is not bound by the pattern\n    rename a.{i:int}.b -> c.{j}.b\n     "
                            "                       ^^^");
    for (const char* bad : {"renam a -> b",
                            "strip module",
                            "rename a",
                            "rename a -> b..c",
                            "drop a where ndim",
                            "drop a where 1 < 2 < 3",
                            "merge 0 a.{x}, b -> c",
                            "stack 0 a.{i:int} -> b.{i} by {i}",
                            "fill 0 float32 (2) a.*",
                            "cast float99 a",
                            "cast float8_e8m0fnu a",
                            "split 0 [1, 2] a -> b",
                            "reshape (-1, -1) a",
                            "first {",
                            "}",
                            "? first {\n}",
                            "first {\nmerge 0 a, b -> c\n}",
                            "drop \"a",
                            "drop a\x01",
                            "drop \xff",
                            "keep a,",
                            "pad 0 -1 0 a",
                            "split 0 qkv(heads=3, kv_heads=2, layout=concat) a -> q, k, v",
                            "rename {a:int}.{a} -> {a}",
                            "drop a\\.b",
                            "drop a}",
                            "rename {x} -> {x+1}"})
        CHECK_MESSAGE(!ckpt::key_map::parse(bad).has_value(), bad);
    CHECK(ckpt::key_map::parse(std::string("\xEF\xBB\xBF") + "drop a\r\n\r\n# end").value().size() == 1);
    CHECK(ckpt::key_map::parse("drop " + std::string(4091, 'a')).has_value());
    CHECK_FALSE(ckpt::key_map::parse("drop " + std::string(4092, 'a')).has_value());
}

} // namespace remap_cases_test
