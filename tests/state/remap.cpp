// tests/state/remap.cpp: every verb of the key rules on tensors of all kinds, by both doors, against plain loops.
//
// SPDX-License-Identifier: MIT
// The compiler checks each line as a literal and `parse` reads it again; both maps run over the same tensors, which lie
// one after another, scattered, or in the other byte order, and are mapped, read or copied. What is made must be equal
// everywhere, its digests, read in parts, must be those of whole copies, and the inverse must give back what was there.
#include <ckpt/ckpt.hpp>
#include <ckpt/core/digest.hpp>
#include <ckpt/state/remap_planner.hpp>

#include "../support/typed_tensors.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace remap_test {

using namespace test_support;
using ckpt::dtype;

namespace {

std::vector<double> counted(std::size_t n, double first = 0) {
    std::vector<double> out(n);
    for (std::size_t i = 0; i < n; ++i) out[i] = first + static_cast<double>(i);
    return out;
}
/// A float32 tensor of first, first + 1, …
typed_tensor f(std::string name, std::vector<std::int64_t> shape, double first = 0) {
    std::size_t n = 1;
    for (const std::int64_t size : shape) n *= static_cast<std::size_t>(size);
    return {std::move(name), dtype::float32, std::move(shape), counted(n, first)};
}

std::string problem_of(const ckpt::remap_plan& plan, const ckpt::error& e) {
    CHECK((plan.ok() ? e.code == ckpt::errc::equality_broken : e.code == ckpt::errc::remap_failed));
    std::string out = "!";
    for (const ckpt::error& each : plan.errors) out += each.detail + '\n';
    return out + (plan.errors.empty() ? e.detail : std::string{});
}

/// What the inverse of a plan makes of its result must be the source.
void check_inverse(const ckpt::remap_plan& plan, const ckpt::state_dict& before, const ckpt::state_dict& after) {
    const auto back = plan.inverse();
    if (!back) {
        CHECK(back.error().code == ckpt::errc::not_reversible);
        return;
    }
    const auto reread = ckpt::key_map::parse(back->text());
    REQUIRE_MESSAGE(reread.has_value(), back->text());
    CHECK(reread->text() == back->text());
    for (const ckpt::key_map* map : {&*back, &*reread}) {
        const auto again = ckpt::remap(after, *map);
        REQUIRE_MESSAGE(again.has_value(), back->text());
        REQUIRE(again->size() == before.size());
        for (const auto& [key, tensor] : before) {
            REQUIRE_MESSAGE(again->contains(key), back->text());
            const auto now = again->at(key).value();
            CHECK(now.dtype() == tensor.dtype());
            CHECK(std::equal(now.shape().begin(), now.shape().end(), tensor.shape().begin(), tensor.shape().end()));
            CHECK_MESSAGE(row_major(now) == row_major(tensor), back->text());
        }
    }
}

/// What both maps make of the tensors, or "!" and what went wrong.
std::string outcome(const std::vector<typed_tensor>& tensors, const ckpt::key_map& literal, const std::string& text) {
    const auto parsed = ckpt::key_map::parse(text);
    REQUIRE_MESSAGE(parsed.has_value(), text);
    CHECK(parsed->text() == literal.text());
    std::string first;
    for (const lying how : {lying::plain, lying::scattered, lying::big_endian}) {
        const typed_tensors file(tensors, how);
        for (const ckpt::open_options& options : {ckpt::open_options{}, ckpt::open_options{.io = ckpt::io_mode::read},
                                                  ckpt::open_options{.storages = ckpt::storage_mode::owned}})
            for (const ckpt::key_map* map : {&literal, &*parsed}) {
                const auto weights = file.weights(options);
                const auto plan = ckpt::plan_remap(weights, *map);
                const auto made = ckpt::remap(plan);
                CAPTURE(text);
                const std::string now = made ? shown(*made) : problem_of(plan, made.error());
                if (first.empty()) first = now;
                CHECK(now == first);
                if (!made) continue;
                CHECK(plan.keys().size() == made->size());
                CHECK(shown(made->owned()) == now);
                for (const auto& [key, tensor] : *made) {
                    const std::string bytes = row_major(tensor);
                    CHECK(tensor.crc32().value() == ckpt::detail::crc32(bytes_of(bytes)));
                }
                if (map == &literal) check_inverse(plan, weights, *made);
            }
    }
    return first;
}

/// Compares, or with "!" looks for the text among the faults.
void check(const std::vector<typed_tensor>& tensors, const ckpt::key_map& literal, const std::string& text,
           std::string_view expected) {
    const std::string got = outcome(tensors, literal, text);
    CAPTURE(text);
    if (!expected.starts_with('!')) {
        CHECK(got == expected);
        return;
    }
    CAPTURE(got);
    CHECK((got.starts_with('!') && got.find(expected.substr(1)) != std::string::npos));
}

#define RULES_1(a) ckpt::key_map{ckpt::rule(a)}, a "\n"
#define RULES_2(a, b) ckpt::key_map{ckpt::rule(a), ckpt::rule(b)}, a "\n" b "\n"
#define RULES_3(a, b, c) ckpt::key_map{ckpt::rule(a), ckpt::rule(b), ckpt::rule(c)}, a "\n" b "\n" c "\n"
#define RULES_4(a, b, c, d)                                                                                            \
    ckpt::key_map{ckpt::rule(a), ckpt::rule(b), ckpt::rule(c), ckpt::rule(d)}, a "\n" b "\n" c "\n" d "\n"

} // namespace

// ---- names

TEST_CASE("strip takes a prefix once from the keys that have it, and never the whole of a key") {
    check({f("m.m.a", {1}, 1), f("m", {1}, 2), f("n.b", {1}, 3)}, RULES_1("strip m."),
          "m.a [1] 1 | m [1] 2 | n.b [1] 3");
    check({f("m.a", {}, 1)}, RULES_1("strip \"m.\""), "a [] 1");
    check({f("m.a", {}, 1)}, RULES_2("strip n.", "strip m."), "a [] 1");
    check({f("a*{b.c", {}, 1)}, RULES_1("strip a*{b."), "c [] 1"); // plain text
    check({f("m.", {}, 1)}, RULES_1("strip m."), "!the new name is empty");
    check({f("m..a", {}, 1)}, RULES_1("strip m."), "!the new name has an empty segment");
}

TEST_CASE("formulas count in 64 bits to either end, and numbers of names are 31 bits long") {
    const std::string most = "9223372036854775807";
    const auto named = [](const std::string& formula) {
        const typed_tensors file({f("a.3", {}, 1)});
        const auto map = ckpt::key_map::parse("rename a.{i:int} -> b.{" + formula + '}').value();
        const auto plan = ckpt::plan_remap(file.weights(), map);
        if (plan.ok()) return plan.moves.at(0).to;
        const std::string& told = plan.errors.at(0).detail;
        return told.substr(told.rfind(": ") + 2);
    };
    const std::string overflow = "a number does not fit into 64 bits";
    struct pair {
        std::string fits;
        std::string last;
        std::string beyond;
    };
    const std::vector<pair> pairs{{"9223372036854775806+1", "b.1", most + "+1"},
                                  {"(0-" + most + ")+(0-1)", "b.1", "(0-" + most + ")+(0-2)"},
                                  {"0-(0-" + most + ")", "b.1", "1-(0-" + most + ")"},
                                  {"(0-" + most + ")-1", "b.1", "(0-" + most + ")-2"},
                                  {"7*1317624576693539401", "b.1", "2*4611686018427387904"},
                                  {"(0-2)*4611686018427387904", "b.1", "(0-3)*3074457345618258603"}};
    for (const pair& at : pairs) {
        CAPTURE(at.fits);
        // Brought back into the range of names: at either end the quotient is 1, or -2, which is 1 further on.
        const std::string quotient = '(' + at.fits + ")/" + most;
        CHECK(named(quotient + (at.fits.starts_with("(0-") ? "+3" : "")) == at.last);
        CHECK(named('(' + at.beyond + ")/" + most) == overflow);
    }
    CHECK(named("(0-" + most + "-1)/(0-1)") == overflow);
    CHECK(named("2147483644+i") == "b.2147483647");
    CHECK(named("2147483645+i") == "a number in the new name is not in 0 to 2147483647");
    CHECK(named("i-3") == "b.0");
    CHECK(named("i-4") == "a number in the new name is not in 0 to 2147483647");
}

TEST_CASE("strip wrappers takes whole segments at any depth, to a fixed point, never the last one") {
    check({f("module._orig_mod.module.a", {}, 1), f("b._fsdp_wrapped_module.c._checkpoint_wrapped_module.d", {}, 2),
           f("module", {}, 3), f("x.module", {}, 4), f("modules.y", {}, 5), f("module._orig_mod", {}, 6)},
          RULES_1("strip wrappers"),
          "a [] 1 | b.c.d [] 2 | module [] 3 | x.module [] 4 | modules.y [] 5 | _orig_mod [] 6");
    check({f("module._orig_mod", {}, 1)}, RULES_1("strip wrappers"), "_orig_mod [] 1");
}

TEST_CASE("add puts a prefix before every key") {
    check({f("a", {}, 1), f("m.b", {}, 2)}, RULES_1("add m."), "m.a [] 1 | m.m.b [] 2");
    check({f("a", {}, 1)}, RULES_2("add x.y.", "strip x."), "y.a [] 1");
}

TEST_CASE("rename: what matches moves at once and keeps its place; names that cannot be are errors") {
    const std::vector<typed_tensor> abc{f("a.0.w", {}, 1), f("a.7.w", {}, 2), f("b", {}, 3)};
    check(abc, RULES_1("rename a.{i:int}.w -> a.{i+1}.{i*2-i}.{7/(i+1)}.{i%3}.{(i-9)%4}"),
          "a.1.0.7.0.3 [] 1 | a.8.7.0.1.2 [] 2 | b [] 3");
    check(abc, RULES_1("rename \"a.{i:int}.{l}\" -> \"{l}.{ 100 - i * 2 }\""), "w.100 [] 1 | w.86 [] 2 | b [] 3");
    check(abc, RULES_1("rename {p:**} -> x.{p}"), "x.a.0.w [] 1 | x.a.7.w [] 2 | x.b [] 3");
    check(abc, RULES_1("rename a.{i:int}.w -> {i-1}"),
          "!at \"a.0.w\": a number in the new name is not in 0 to 2147483647");
    check(abc, RULES_1("rename a.{i:int}.w -> {i*400000000}"),
          "!at \"a.7.w\": a number in the new name is not in 0 to 2147483647");
    check(abc, RULES_1("rename a.{i:int}.w -> {i*9223372036854775807*2}"),
          "!at \"a.7.w\": a number does not fit into 64 bits");
    check(abc, RULES_1("rename a.{i:int}.w -> {i%(i-7)}"), "!at \"a.7.w\": a division by zero");
    check(abc, RULES_1("rename a.{i:int}.w -> x.{0-5+i+5}.{(0-7)/2+4+i}"),
          "x.0.0 [] 1 | x.7.7 [] 2 | b [] 3"); // floor, negative on the way
    check({f("w", {}, 1), f("a.w", {}, 2)}, RULES_1("rename {p:**}.w -> {p}"), "!at \"w\": the new name is empty");
    check({f("w", {}, 1), f("a.w", {}, 2)}, RULES_1("rename {p:**}.w -> {p}.x.{p}.y"), "x.y [] 1 | a.x.a.y [] 2");
    check({f("w", {}, 1), f("a.w", {}, 2)}, RULES_1("rename {p:**}.w -> x{p}.y.{p}"),
          "x.y [] 1 | xa.y.a [] 2"); // at the end the dot before it
    check({f("a", {}, 1), f("b", {}, 2)}, RULES_2("rename a -> c", "rename b -> a"), "c [] 1 | a [] 2");
    check({f("a b", {}, 1), f("c,d=\"e\"->f", {}, 2), f("g*h", {}, 3)},
          RULES_3("rename \"a b\" -> \"x#y, z\"", "rename \"c,d=\\\"e\\\"->f\" -> q\\*", "rename g\\*h -> \\{a\\}\\\\"),
          "x#y, z [] 1 | q* [] 2 | {a}\\ [] 3");
    check({f("where", {}, 1)}, RULES_1("rename \"where\" -> \"by\""), "by [] 1");
    check({f("schl\xC3\xBCssel.\xE9\x8D\xB5", {}, 1)}, RULES_1("rename schl{x}ssel.{k} -> {k}.{x}"),
          "\xE9\x8D\xB5.\xC3\xBC [] 1");
}

TEST_CASE("a swap is a group, and each key takes the first rule that matches it") {
    const std::vector<typed_tensor> ab{f("a", {}, 1), f("b", {}, 2), f("m.c", {}, 3)};
    check(ab,
          ckpt::key_map{ckpt::first(ckpt::rename("a", "b"), ckpt::rename("b", "a"), ckpt::rename("*", "z"),
                                    ckpt::strip_prefix("m."))},
          "first {\nrename a -> b\nrename b -> a\nrename * -> z\nstrip m.\n}\n", "b [] 1 | a [] 2 | c [] 3");
    check(ab,
          ckpt::key_map{ckpt::first(ckpt::rule("drop * where numel == 1"), ckpt::rule("?rename q -> b"),
                                    ckpt::rename("m.c", "x"), ckpt::rename("**", "y"))},
          "first {\ndrop * where numel == 1\n?rename q -> b\nrename m.c -> x\nrename ** -> y\n}\n", "x [] 3");
    check(ab, ckpt::key_map{ckpt::first()}, "first {\n}\n", "a [] 1 | b [] 2 | m.c [] 3");
    check(ab, ckpt::key_map{ckpt::first(ckpt::rename("{x}", "q.{x}"), ckpt::add_prefix("p."))},
          "first {\nrename {x} -> q.{x}\nadd p.\n}\n", "q.a [] 1 | q.b [] 2 | p.m.c [] 3");
    check(ab, ckpt::key_map{ckpt::first(ckpt::strip_wrappers(), ckpt::rename("a", "b"))},
          "first {\nstrip wrappers\nrename a -> b\n}\n", "!collision: ");
}

TEST_CASE("drop and keep, with conditions over tensors and captures") {
    const std::vector<typed_tensor> all{
        f("a.w", {2, 1}, 1), f("a.b", {2}, 3), {"n", dtype::int64, {}, {5}}, f("e", {0, 3})};
    check(all, RULES_1("drop **.w"), "a.b [2] 3 4 | n int64 [] 5 | e [0, 3]");
    check(all, RULES_1("keep a.*, n"), "a.w [2, 1] 1 2 | a.b [2] 3 4 | n int64 [] 5");
    check(all, RULES_1("keep **.w, * where dtype == int64 or ndim == 2"), "a.w [2, 1] 1 2 | n int64 [] 5 | e [0, 3]");
    check(all, RULES_1("keep ** where numel == 0 or shape[0] != 2"), "e [0, 3]"); // [] has no dimension 0
    check(all, RULES_1("drop ** where shape[-1] >= 2 and not shape[1] == 3"),
          "a.w [2, 1] 1 2 | n int64 [] 5 | e [0, 3]");
    check(all, RULES_1("drop ** where not shape[7] == 1"), "");
    check(all, RULES_1("drop a.{k} where k == \"w\""), "a.b [2] 3 4 | n int64 [] 5 | e [0, 3]");
    check(all, RULES_1("drop a.{k} where \"w\" != k and dtype != float16"), "a.w [2, 1] 1 2 | n int64 [] 5 | e [0, 3]");
    check(all, RULES_1("drop {k} where has(a.{k}.x) or has(\"a.w\") and (numel + 1) * 2 - 1 == 3 % 5"),
          "a.w [2, 1] 1 2 | a.b [2] 3 4 | e [0, 3]");
    check(all, RULES_1("drop {k} where 1 / numel == 1"), "!at \"e\": a division by zero");
    check(all, RULES_1("drop {k} where numel != 0 and 1 / numel == 1"), "a.w [2, 1] 1 2 | a.b [2] 3 4 | e [0, 3]");
    check({f("l.3", {}, 1), f("l.12", {}, 2)}, RULES_1("drop l.{i:int} where i % 5 == 2 and i > 2 and i <= 12"),
          "l.3 [] 1");
    check({f("l.3", {}, 1), f("l.12", {}, 2)}, RULES_1("drop l.{i:int} where has(l.{i-12})"),
          "l.3 [] 1 | l.12 [] 2"); // no name, so there is none
    check({f("l.3", {}, 1), f("l.12", {}, 2)}, RULES_1("drop l.{i:int} where has(l.{i/0})"), "l.3 [] 1 | l.12 [] 2");
    check({f("l.3", {}, 1), f("l.12", {}, 2)},
          RULES_1("drop l.{i:int} where has(l.{(i+9)*1}) and (not has(x) or i < 0)"), "l.12 [] 2");
}

TEST_CASE("copy adds a name behind its source, tie one that is absent or a promise that both are equal") {
    check({f("a", {2}, 1), f("z", {}, 0)}, RULES_3("copy a -> b", "copy a -> c", "copy b -> b"),
          "a [2] 1 2 | c [2] 1 2 | b [2] 1 2 | z [] 0");
    check({f("a", {2}, 1), f("b", {2}, 1)}, RULES_1("copy a -> b"), "!collision: ");
    check({f("e.w", {2}, 1), f("z", {}, 0)}, RULES_2("tie head.w = e.w", "tie e.w = e.w"),
          "e.w [2] 1 2 | head.w [2] 1 2 | z [] 0");
    check({f("e.w", {2}, 1), f("z.w", {1})}, RULES_1("tie x.{p} = {p}.w"),
          "e.w [2] 1 2 | x.e [2] 1 2 | z.w [1] 0 | x.z [1] 0");
    check({f("a", {2}, 1), f("b", {2}, 1)}, RULES_1("tie a = b"), "a [2] 1 2 | b [2] 1 2");
    check({f("a", {2}, 1), f("b", {2}, 2)}, RULES_1("tie a = b"), "!ties two tensors whose values differ");
    check({f("a", {2}, 1), f("b", {1, 2}, 1)}, RULES_1("tie a = b"),
          "!at \"b\": it is tied to \"a\", which is float32 [2], but it is float32 [1, 2]");
    check({f("a", {2}, 1), {"b", dtype::float64, {2}, {1, 2}}}, RULES_1("tie a = b"),
          "!which is float32 [2], but it is float64 [2]");
    check({f("a", {2}, 1), {"b", dtype::float32, {2}, {1, 2}, true}}, RULES_1("tie a = b"), "a [2] 1 2 | b [2] 1 2");
    check({{"a", dtype::float32, {1}, {0.0}}, {"b", dtype::float32, {1}, {-0.0}}}, RULES_1("tie a = b"),
          "!whose values differ"); // bits
    check({{"a", dtype::float32, {1}, {std::nan("")}}, {"b", dtype::float32, {1}, {std::nan("")}}},
          RULES_2("tie a = b", "drop *"), "");
    // A tie with what was made of the same tensor, and one that later rules change.
    check({f("a", {2, 2}, 1)}, RULES_4("copy a -> b", "transpose 0 1 b", "transpose 0 1 b", "tie a = b"),
          "a [2, 2] 1 2 3 4 | b [2, 2] 1 2 3 4");
    check({f("a", {2, 2}, 1)}, RULES_3("copy a -> b", "transpose 0 1 b", "tie a = b"), "!whose values differ");
}

TEST_CASE("fill comes last, only where the key is absent, in every dtype that has numbers") {
    check({f("a", {}, 1)},
          RULES_4("fill 0.1 float32 (2,) b.c", "fill 7 int8 () a", "fill true bool (1, 2) \"d e\"",
                  "fill -3 int64 (0, 4) f"),
          "a [] 1 | b.c [2] 0.10000000149011612 0.10000000149011612 | d e bool [1, 2] 1 1 | f int64 [0, 4]");
    check(
        {f("a", {}, 1)},
        RULES_4("fill inf float16 () b", "fill -inf bfloat16 () c", "fill 1.5 complex64 (1) d",
                "fill 18446744073709551615 uint64 () e"),
        "a [] 1 | b float16 [] inf | c bfloat16 [] -inf | d complex64 [1] 1.5 0 | e uint64 [] 1.8446744073709552e+19");
    check({f("a", {}, 1)}, RULES_3("fill 1 float64 () b", "rename b -> c", "drop c"), "a [] 1");
    check({f("a", {}, 1)}, RULES_1("fill 1e39 float32 () b"), "!the value does not fit the dtype");
    check({f("a", {}, 1)}, RULES_1("fill 1e-50 float32 () b"), "!the value does not fit the dtype");
    check({f("a", {}, 1)}, RULES_1("fill 128 int8 () b"), "!the value does not fit the dtype");
    check({f("a", {}, 1)}, RULES_1("fill 448 float8_e4m3fn () b"), "a [] 1 | b float8_e4m3fn [] 448");
    check({f("a", {}, 1)}, RULES_1("fill 449 float8_e4m3fn () b"), "!the value does not fit the dtype");
    check({f("a", {}, 1)}, RULES_1("fill -1 uint8 () b"), "!the value does not fit the dtype");
    check({f("a", {}, 1)}, RULES_1("fill 18446744073709551616 uint64 () b"), "!the value does not fit the dtype");
    check({f("a", {}, 1)}, RULES_1("fill 1.0 int32 () b"), "!the value does not fit the dtype");
    check({f("a", {}, 1)}, RULES_1("fill nan int32 () b"), "!the value does not fit the dtype");
    check({f("a", {}, 1)}, RULES_1("fill 2 bool () b"), "!the value does not fit the dtype");
    check({f("a", {}, 1)}, RULES_1("fill inf float8_e4m3fn () b"), "!the value does not fit the dtype");
    check({f("a", {}, 1)}, RULES_1("fill 500 float8_e4m3fn () b"), "!the value does not fit the dtype");
    check({f("a", {}, 1)}, RULES_1("fill 1 float8_e8m0fnu () b"), "!cannot be filled");
    check({f("a", {}, 1)}, RULES_1("fill 1 quint8 () b"), "!cannot be filled");
    check({f("a", {}, 1)}, RULES_1("fill 1 float4_e2m1fn_x2 () b"), "!cannot be filled");
    check({f("a", {}, 1)}, RULES_1("fill 1 float64 (4294967296, 4294967296) b"), "!the shape overflows");
}

// ---- structure

TEST_CASE("split: equal parts or sizes, along any dimension, parts stand where the whole stood") {
    const std::vector<typed_tensor> x{f("y", {}, 9), f("x", {2, 3}), f("z", {}, 8)};
    check(x, RULES_1("split 1 x -> p, q, r"), "y [] 9 | p [2, 1] 0 3 | q [2, 1] 1 4 | r [2, 1] 2 5 | z [] 8");
    check(x, RULES_1("split -1 [2, 1] x -> p, q"), "y [] 9 | p [2, 2] 0 1 3 4 | q [2, 1] 2 5 | z [] 8");
    check(x, RULES_1("split 0 [0,2,] x -> p, q"), "y [] 9 | p [0, 3] | q [2, 3] 0 1 2 3 4 5 | z [] 8");
    check(x, RULES_1("split 0 x -> only"), "y [] 9 | only [2, 3] 0 1 2 3 4 5 | z [] 8");
    check(x, RULES_1("split 0 x -> x, w"), "y [] 9 | x [1, 3] 0 1 2 | w [1, 3] 3 4 5 | z [] 8");
    check(x, RULES_1("split 0 x -> w, w"), "!collision: ");
    check(x, RULES_1("split 0 x -> y, w"), "!\"y\" (untouched) and \"x\" (rule 1");
    check(x, RULES_1("split 2 x -> p, q"), "!there is no dimension 2 in float32 [2, 3]");
    check(x, RULES_1("split -3 x -> p, q"), "!there is no dimension -3 in float32 [2, 3]");
    check(x, RULES_1("split 0 y -> p, q"), "!there is no dimension 0 in float32 []");
    check(x, RULES_1("split 1 x -> p, q"), "!the size 3 of dimension 1 does not divide into 2 parts");
    check(x, RULES_1("split 1 [3, 1] x -> p, q"), "!the sizes add up to more than the 3 of dimension 1");
    check(x, RULES_1("split 1 [1, 1] x -> p, q"), "!the sizes add up to 2, dimension 1 has 3");
    check(x, RULES_1("split 0 {k} -> {k}.a, {k}.b where ndim == 2"),
          "y [] 9 | x.a [1, 3] 0 1 2 | x.b [1, 3] 3 4 5 | z [] 8");
}

TEST_CASE("merge: sets by equal captures, in the order of the patterns, at the place of the first part") {
    const std::vector<typed_tensor> layers{f("l.1.k", {1, 2}, 10), f("c", {}, 0),         f("l.0.q", {1, 2}, 1),
                                           f("l.1.q", {2, 2}, 20), f("l.0.k", {1, 2}, 3), f("d", {}, 0)};
    check(layers, RULES_1("merge 0 l.{i:int}.q, l.{i:int}.k -> l.{i}.qk"),
          "c [] 0 | l.0.qk [2, 2] 1 2 3 4 | l.1.qk [3, 2] 20 21 22 23 10 11 | d [] 0");
    check(layers, RULES_1("merge 0 l.{i:int}.q, l.{i:int}.k -> l.{i}.qk where i == 0"),
          "l.1.k [1, 2] 10 11 | c [] 0 | l.0.qk [2, 2] 1 2 3 4 | l.1.q [2, 2] 20 21 22 23 | d [] 0");
    check(layers, RULES_1("merge 1 l.{i:int}.q, l.{i:int}.k -> l.{i}.qk"),
          "!the parts do not fit together: \"l.1.q\" is float32 [2, 2], \"l.1.k\" is float32 [1, 2]");
    check(layers, RULES_1("merge 0 l.{i:int}.q, l.{i:int}.k, l.{i:int}.v -> l.{i}"),
          "!the set of \"l.0.q\" is incomplete; missing: \"l.0.v\"");
    check(layers, RULES_1("merge 0 x.{i:int}.q, l.{i:int}.k -> l.{i}"), "!missing: \"x.1.q\"");
    check(layers, RULES_1("merge 0 l.*.q, l.0.k -> x"), "!two keys are the same part: \"l.0.q\" and \"l.1.q\"");
    check({f("a", {1}, 1), f("b", {1}, 2)}, RULES_1("merge 0 {x}, {x} -> y"),
          "!the key matches two patterns: \"{x}\" and \"{x}\"");
    check({f("a", {1}, 1), f("b", {1}, 2), f("c", {}, 3)}, RULES_2("merge -1 b, a -> a", "merge 0 q, r -> s"),
          "a [2] 2 1 | c [] 3");
    check({f("a", {1}, 1), f("b", {1}, 2), f("c", {}, 3)}, RULES_1("merge 0 a, b -> c"),
          "!\"c\" (untouched) and \"a\" (rule 1");
    check({f("a", {1}, 1), {"b", dtype::float64, {1}, {2}}}, RULES_1("merge 0 a, b -> c"),
          "!the parts do not fit together: \"a\" is float32 [1], \"b\" is float64 [1]");
    check({f("a", {1}, 1), f("b", {1, 1}, 2)}, RULES_1("merge 0 a, b -> c"), "!the parts do not fit together");
    check({f("a", {}, 1), f("b", {}, 2)}, RULES_1("merge 0 a, b -> c"), "!there is no dimension 0");
    check({f("a", {0, 2}), f("b", {1, 2}, 2), f("c", {0, 2})}, RULES_1("merge 0 a, b, c -> d"), "d [1, 2] 2 3");
    check({f("a", {0, 2}), f("b", {0, 2})}, RULES_1("merge 0 a, b -> d"), "d [0, 2]");
    check({f("q", {1}, 1), f("k", {1}, 2), f("x.q", {1}, 3), f("x.k", {1}, 4)},
          RULES_1("merge 0 {p:**}.q, {p:**}.k -> {p}.qk"), "qk [2] 1 2 | x.qk [2] 3 4");
    check({f("a", {1}, 1), f("b", {1}, 2)}, RULES_1("merge 0 \"a\" -> c"), "c [1] 1 | b [1] 2");
    // What was split and merged again is a view, whatever the order of the dimensions.
    check({f("x", {4, 3})}, RULES_2("split 0 x -> a, b", "merge 0 a, b -> x"), "x [4, 3] 0 1 2 3 4 5 6 7 8 9 10 11");
    check({f("x", {4, 3})}, RULES_2("split 0 x -> a, b", "merge 0 b, a -> x"), "x [4, 3] 6 7 8 9 10 11 0 1 2 3 4 5");
}

TEST_CASE("stack and unstack count in numeric order from 0") {
    std::vector<typed_tensor> twelve;
    for (const int i : {11, 0, 10, 1, 2, 3, 4, 5, 6, 7, 8, 9})
        twelve.push_back(f("e." + std::to_string(i) + ".w", {1}, i));
    check(twelve, RULES_1("stack 0 e.{e:int}.{l} -> e.{l} by {e}"), "e.w [12, 1] 0 1 2 3 4 5 6 7 8 9 10 11");
    check(twelve, RULES_1("stack -1 e.{e:int}.{l} -> e.{l} by {e}"), "e.w [1, 12] 0 1 2 3 4 5 6 7 8 9 10 11");
    check(twelve, RULES_1("stack 2 e.{e:int}.{l} -> e.{l} by {e}"), "!there is no dimension 2");
    check(twelve, RULES_2("drop e.{i:int}.w where i > 0 and i < 9", "stack 0 e.{e:int}.w -> e by {e}"),
          "!missing: \"e.1.w\", \"e.2.w\", \"e.3.w\" and 5 more");
    const auto missing = [&](const char* last_there) {
        const typed_tensors file(twelve);
        const auto map = ckpt::key_map::parse("drop e.{i:int}.w where i > " + std::string(last_there) +
                                              " and i < 9\nstack 0 e.{e:int}.w -> e by {e}");
        return ckpt::plan_remap(file.weights(), map.value()).errors.at(0).detail;
    };
    CHECK(missing("5").ends_with("missing: \"e.6.w\", \"e.7.w\", \"e.8.w\""));
    CHECK(missing("4").ends_with("missing: \"e.5.w\", \"e.6.w\", \"e.7.w\" and 1 more"));
    check(twelve, RULES_2("drop e.0.w", "stack 0 e.{e:int}.w -> e by {e}"), "!missing: \"e.0.w\"");
    check(twelve, RULES_1("stack 0 e.{e:int}.w -> e by {e} where numel == 2"),
          outcome(twelve, RULES_1("?drop nothing")));
    check({f("a.0", {2, 2}), f("b.0", {2, 2}, 4), f("a.1", {2, 2}, 8)}, RULES_1("stack 1 {p}.{e:int} -> {p} by {e}"),
          "a [2, 2, 2] 0 1 8 9 2 3 10 11 | b [2, 1, 2] 4 5 6 7");
    check({f("a.0", {2}), f("a.1", {1})}, RULES_1("stack 0 a.{e:int} -> a by {e}"), "!the parts do not fit together");
    check({f("a.0", {2}), f("x.a.0", {2})}, RULES_1("stack 0 **.a.{e:int} -> a by {e}"),
          "!two keys are the same part: \"a.0\" and \"x.a.0\"");
    check({f("x", {2, 3}), f("y", {}, 9)}, RULES_1("unstack 1 {k} -> {k}.{9-e} by {e} where ndim == 2"),
          "x.9 [2] 0 3 | x.8 [2] 1 4 | x.7 [2] 2 5 | y [] 9");
    check({f("x", {2, 1})}, RULES_1("unstack -1 x -> y.{e} by {e}"), "y.0 [2] 0 1");
    check({f("x", {0, 2})}, RULES_1("unstack 0 x -> x.{e} by {e}"),
          "!dimension 0 has the size 0, so the tensor would vanish");
    check({f("x", {0, 2})}, RULES_1("unstack 1 x -> x.{e} by {e}"), "x.0 [0] | x.1 [0]");
    check({f("x", {3})}, RULES_1("unstack 0 x -> x.{e/2} by {e}"), "!collision: ");
    check({f("x", {})}, RULES_1("unstack 0 x -> x.{e} by {e}"), "!there is no dimension 0");
}

TEST_CASE("qkv: the three layouts against loops, with grouped queries, as weights and as biases") {
    struct layout {
        const char* name;
        std::int64_t heads, kv_heads;
    };
    for (const layout l : {layout{"concat", 4, 2},
                           {"concat", 3, 3},
                           {"interleaved", 3, 3},
                           {"grouped", 6, 2},
                           {"grouped", 2, 2},
                           {"grouped", 4, 1}})
        for (const std::int64_t columns : {std::int64_t{0}, std::int64_t{2}}) { // 0: a bias
            constexpr std::int64_t d = 2;
            const std::int64_t rows = (l.heads + 2 * l.kv_heads) * d;
            const auto row_of = [&](int part, std::int64_t head, std::int64_t i) {
                const std::int64_t each = l.heads / l.kv_heads;
                const std::string name = l.name;
                if (name == "concat")
                    return (part == 0 ? head : part == 1 ? l.heads + head : l.heads + l.kv_heads + head) * d + i;
                if (name == "interleaved") return (head * 3 + part) * d + i;
                return part == 0 ? (head / each * (each + 2) + head % each) * d + i
                                 : (head * (each + 2) + each + part - 1) * d + i;
            };
            std::string expected;
            for (int part = 0; part < 3; ++part) {
                const std::int64_t heads = part == 0 ? l.heads : l.kv_heads;
                expected += std::string(part == 0 ? "" : " | ") + "qkv"[part] + " [" + std::to_string(heads * d) +
                            (columns != 0 ? ", 2]" : "]");
                for (std::int64_t head = 0; head < heads; ++head)
                    for (std::int64_t i = 0; i < d; ++i)
                        for (std::int64_t c = 0; c < (columns != 0 ? columns : 1); ++c)
                            expected += ' ' + std::to_string(row_of(part, head, i) * (columns != 0 ? columns : 1) + c);
            }
            const std::string arguments = "qkv(heads=" + std::to_string(l.heads) +
                                          ", kv_heads=" + std::to_string(l.kv_heads) + ", layout=" + l.name + ")";
            const std::string text = "split 0 " + arguments + " w -> q, k, v\n";
            const std::vector<typed_tensor> fused{columns != 0 ? f("w", {rows, columns}) : f("w", {rows})};
            check(fused, ckpt::key_map::parse(text).value(), text, expected);
            const std::string both = text + "merge 0 " + arguments + " q, k, v -> w\n";
            check(fused, ckpt::key_map::parse(both).value(), both, shown(typed_tensors(fused).weights()));
        }
    check({f("w", {2, 6})}, RULES_1("split -1 qkv(layout=interleaved, kv_heads=1, heads=1) w -> q, k, v"),
          "q [2, 2] 0 1 6 7 | k [2, 2] 2 3 8 9 | v [2, 2] 4 5 10 11");
    check({f("w", {7})}, RULES_1("split 0 qkv(heads=4, kv_heads=2, layout=concat) w -> q, k, v"),
          "!the size 7 of dimension 0 is no multiple of heads + 2 kv_heads, 8");
    check({f("q", {4}), f("k", {2}), f("v", {4})},
          RULES_1("merge 0 qkv(heads=2, kv_heads=1, layout=grouped) q, k, v -> w"),
          "!the sizes of q, k and v in dimension 0 are not heads, kv_heads and kv_heads times one head size");
    check({f("q", {3}), f("k", {2}), f("v", {2})},
          RULES_1("merge 0 qkv(heads=2, kv_heads=1, layout=concat) q, k, v -> w"), "!times one head size");
    check({f("w", {0, 2})}, RULES_1("split 0 qkv(heads=4, kv_heads=2, layout=grouped) w -> q, k, v"),
          "q [0, 2] | k [0, 2] | v [0, 2]");
    check({f("w", {8})}, RULES_1("split 0 qkv(heads=9223372036854775807, kv_heads=1, layout=concat) w -> q, k, v"),
          "!there are too many heads");
    check({f("w", {8})}, RULES_1("split 0 qkv(heads=3074457345618258602, kv_heads=1, layout=concat) w -> q, k, v"),
          "!there are too many heads");
    check({f("w", {8})}, RULES_1("split 0 qkv(heads=3074457345618258601, kv_heads=1, layout=concat) w -> q, k, v"),
          "!the size 8 of dimension 0 is no multiple of heads + 2 kv_heads, 3074457345618258603");
}

TEST_CASE("transpose, permute, reshape, squeeze, unsqueeze, narrow, pad") {
    const std::vector<typed_tensor> x{f("x", {2, 3})};
    const std::vector<typed_tensor> cube{f("x", {2, 1, 3})};
    check(x, RULES_1("transpose 0 -1 x"), "x [3, 2] 0 3 1 4 2 5");
    check(x, RULES_1("transpose 1 1 x"), "x [2, 3] 0 1 2 3 4 5");
    check(x, RULES_1("transpose 0 2 x"), "!there is no dimension 2");
    check(cube, RULES_1("permute (2, 0, -2) x"), "x [3, 2, 1] 0 3 1 4 2 5");
    check(cube, RULES_1("permute (0, 1, 2) x"), "x [2, 1, 3] 0 1 2 3 4 5");
    check({f("x", {})}, RULES_1("permute () x"), "x [] 0");
    check(cube, RULES_1("permute (2, 0) x"), "!the tensor has 3 dimensions, the rule names 2");
    check(cube, RULES_1("permute (2, 0, -1) x"), "!dimension -1 is named twice");
    check(x, RULES_1("reshape (3, -1) x"), "x [3, 2] 0 1 2 3 4 5");
    check(x, RULES_1("reshape (6,) x"), "x [6] 0 1 2 3 4 5");
    check(x, RULES_1("reshape (4, -1) x"), "!the 6 elements of float32 [2, 3] do not fit into [4, -1]");
    check(x, RULES_1("reshape (0, -1) x"), "!-1 has no meaning beside a size of 0");
    check({f("x", {1, 1}, 5)}, RULES_1("reshape () x"), "x [] 5");
    check({f("x", {}, 5)}, RULES_1("reshape (1, -1) x"), "x [1, 1] 5");
    check({f("x", {0, 3})}, RULES_1("reshape (4, -1) x"), "x [4, 0]");
    check({f("x", {0, 3})}, RULES_1("reshape (5, 0, 7) x"), "x [5, 0, 7]");
    check({f("x", {0, 3})}, RULES_1("reshape (0, -1) x"), "!-1 has no meaning beside a size of 0");
    check(x, RULES_1("reshape (4294967296, 4294967296) x"), "!do not fit into");
    check(cube, RULES_1("squeeze x"), "x [2, 3] 0 1 2 3 4 5");
    check(cube, RULES_1("squeeze -2 x"), "x [2, 3] 0 1 2 3 4 5");
    check(cube, RULES_1("squeeze 0 x"), "!dimension 0 has the size 2, not 1");
    check(cube, RULES_1("squeeze 3 x"), "!there is no dimension 3");
    check(x, RULES_1("squeeze x"), "x [2, 3] 0 1 2 3 4 5");
    check({f("1", {1}, 7)}, RULES_1("squeeze 1"), "1 [] 7");
    check({f("1", {1}, 7)}, RULES_1("squeeze 1 where ndim == 1"), "1 [] 7");
    check({f("1", {1}, 7)}, RULES_1("squeeze 0 1"), "1 [] 7");
    check(x, RULES_1("unsqueeze -1 x"), "x [2, 3, 1] 0 1 2 3 4 5");
    check(x, RULES_1("unsqueeze 0 x"), "x [1, 2, 3] 0 1 2 3 4 5");
    check(x, RULES_1("unsqueeze 3 x"), "!there is no dimension 3");
    check(x, RULES_1("narrow 1 1 2 x"), "x [2, 2] 1 2 4 5");
    check(x, RULES_1("narrow -2 2 0 x"), "x [0, 3]");
    check(x, RULES_1("narrow 0 0 2 x"), "x [2, 3] 0 1 2 3 4 5");
    check(x, RULES_1("narrow 0 1 2 x"), "!reach past the size 2 of dimension 0");
    check(x, RULES_1("narrow 0 3 0 x"), "!reach past the size 2 of dimension 0");
    check(x, RULES_1("narrow 0 1 9223372036854775807 x"), "!reach past");
    check(x, RULES_1("pad 0 0 1 x"), "x [3, 3] 0 1 2 3 4 5 0 0 0");
    check(x, RULES_1("pad -1 1 1 with -1.5 x"), "x [2, 5] -1.5 0 1 2 -1.5 -1.5 3 4 5 -1.5");
    check(x, RULES_1("pad 1 0 0 x"), "x [2, 3] 0 1 2 3 4 5");
    check(x, RULES_1("pad 1 multiple 4 x"), "x [2, 4] 0 1 2 0 3 4 5 0");
    check(x, RULES_1("pad 1 multiple 3 x"), "x [2, 3] 0 1 2 3 4 5");
    check(x, RULES_1("pad -1 multiple 2 with 9 x"), "x [2, 4] 0 1 2 9 3 4 5 9");
    check(x, RULES_1("pad 0 multiple 1 x"), "x [2, 3] 0 1 2 3 4 5");
    check({f("x", {0, 2})}, RULES_1("pad 0 multiple 7 x"), "x [0, 2]");
    check(x, RULES_1("pad 0 multiple 9223372036854775807 x"), "!the padded shape overflows");
    check({f("x", {3})}, RULES_2("pad 0 multiple 4 x", "pad 0 multiple 3 x"), "x [6] 0 1 2 0 0 0");
    check({f("x", {0, 2})}, RULES_1("pad 0 1 1 with inf x"), "x [2, 2] inf inf inf inf");
    check({f("x", {}, 1)}, RULES_1("pad 0 1 1 x"), "!there is no dimension 0");
    check(x, RULES_1("pad 0 9223372036854775807 1 x"), "!the padded shape overflows");
    check({{"x", dtype::int16, {1}, {4}}}, RULES_1("pad 0 1 0 with -32768 x"), "x int16 [2] -32768 4");
    check({{"x", dtype::int16, {1}, {4}}}, RULES_1("pad 0 1 0 with 32768 x"), "!the value does not fit the dtype");
    check({{"x", dtype::bool_, {2}, {1, 0}}}, RULES_1("pad 0 1 1 with true x"), "x bool [4] 1 1 0 1");
    check({{"x", dtype::complex64, {1}, {1, 2}}}, RULES_1("pad 0 1 0 with 3 x"), "x complex64 [2] 3 0 1 2");
    check({f("with", {1}, 3)}, RULES_1("pad 0 1 0 \"with\""), "with [2] 0 3");
    check({{"x", dtype::quint8, {2, 2}, {1, 2, 3, 4}}}, RULES_1("pad 0 0 1 x"), "!cannot be filled with a number");
}

TEST_CASE("casts are those of PyTorch; values that do not fit are found when they are read") {
    check({{"x", dtype::float32, {4}, {1, 65520, -1e-8, 2.5}}}, RULES_1("cast float16 x"),
          "x float16 [4] 1 inf -0 2.5");
    check({{"x", dtype::float32, {3}, {1, 1e6, -1e6}}}, RULES_1("cast float8_e4m3fn x"),
          "x float8_e4m3fn [3] 1 448 -448");
    check({{"x", dtype::float32, {2}, {1, 1e6}}}, RULES_1("cast float8_e5m2 x"), "x float8_e5m2 [2] 1 inf");
    check({{"x", dtype::int64, {2}, {3, -4}}}, RULES_3("cast int8 x", "cast float64 x", "cast bfloat16 x"),
          "x bfloat16 [2] 3 -4");
    check({{"x", dtype::bool_, {2}, {1, 0}}}, RULES_2("cast int32 x", "cast bool x"), "x bool [2] 1 0");
    check({{"x", dtype::complex64, {1}, {1, 2}}}, RULES_1("cast complex128 x"), "x complex128 [1] 1 2");
    check({f("x", {2})}, RULES_2("cast float32 x", "cast float32 x"), "x [2] 0 1");
    check({f("x", {2})}, RULES_1("cast int8 x"), "!float32 cannot be cast to int8");
    check({f("x", {2})}, RULES_1("cast complex64 x"), "!float32 cannot be cast to complex64");
    check({f("x", {2})}, RULES_1("cast bool x"), "!float32 cannot be cast to bool");
    check({{"x", dtype::complex64, {1}, {1, 2}}}, RULES_1("cast float32 x"), "!complex64 cannot be cast to float32");
    check({{"x", dtype::quint8, {1}, {1}}}, RULES_1("cast float32 x"), "!quint8 cannot be cast to float32");
    const typed_tensors file({{"x", dtype::int64, {2}, {3, 200}}});
    const auto weights = file.weights();
    const auto made = ckpt::remap(weights, ckpt::key_map{ckpt::rule("cast int8 x")});
    REQUIRE(made.has_value());
    std::vector<std::int8_t> out(2);
    CHECK(made->at("x").value().copy_to(std::span{out}).error().code == ckpt::errc::conversion);
    CHECK(made->at("x").value().crc32().error().code == ckpt::errc::conversion);
    const auto fitting = ckpt::remap(weights, ckpt::key_map{ckpt::rule("cast uint8 x")}).value();
    CHECK(shown(fitting) == "x uint8 [2] 3 200");
}

TEST_CASE("every dtype goes through every kind of move bit by bit, with lazy bits too") {
    for (const dtype type : {dtype::uint8,         dtype::int8,          dtype::int16,           dtype::int32,
                             dtype::int64,         dtype::uint16,        dtype::uint32,          dtype::uint64,
                             dtype::float16,       dtype::bfloat16,      dtype::float32,         dtype::float64,
                             dtype::complex32,     dtype::complex64,     dtype::complex128,      dtype::bool_,
                             dtype::float8_e5m2,   dtype::float8_e4m3fn, dtype::float8_e5m2fnuz, dtype::float8_e4m3fnuz,
                             dtype::float8_e8m0fnu})
        for (const bool lazy : {false, true}) {
            const bool is_complex = ckpt::info(type).kind == ckpt::dtype_kind::complex;
            if (lazy && !ckpt::detail::has_negation(type)) continue;
            std::vector<double> values;
            for (int i = 0; i < (is_complex ? 24 : 12); ++i)
                values.push_back(type == dtype::bool_            ? i % 2
                                 : type == dtype::float8_e8m0fnu ? std::ldexp(1, i)
                                                                 : i % 8);
            const std::vector<typed_tensor> x{{"x", type, {4, 3}, values, lazy, lazy && is_complex}};
            const auto got = outcome(
                x, RULES_4("split 1 [1, 2] x -> a, b", "merge 1 b, a -> c", "transpose 0 1 c", "reshape (2, 6) c"));
            const std::size_t step = is_complex ? 2 : 1;
            std::string expected = "c ";
            if (type != dtype::float32) expected += std::string(ckpt::name(type)) + ' ';
            expected += "[2, 6]";
            char number[40];
            for (const std::size_t column : {1u, 2u, 0u})
                for (std::size_t row = 0; row < 4; ++row)
                    for (std::size_t k = 0; k < step; ++k) {
                        std::snprintf(number, sizeof number, " %.17g", values[(row * 3 + column) * step + k]);
                        expected += number;
                    }
            CAPTURE(ckpt::name(type));
            CHECK(got == expected);
        }
}

// ---- the plan

TEST_CASE("an error of a collision names three sources") {
    const auto told = [](const std::vector<typed_tensor>& of) {
        const typed_tensors file(of);
        const auto map = ckpt::key_map::parse("rename {p}.a -> a").value();
        return ckpt::remap(ckpt::plan_remap(file.weights(), map)).error().detail;
    };
    std::vector<typed_tensor> of{f("u.a", {}, 1), f("v.a", {}, 2), f("w.a", {}, 3)};
    CHECK(told(of).find("more") == std::string::npos);
    CHECK(told(of).find("\"w.a\"") != std::string::npos);
    of.push_back(f("x.a", {}, 4));
    CHECK(told(of).find(" and 1 more all become \"a\"") != std::string::npos);
    CHECK(told(of).find("\"x.a\"") == std::string::npos);
}

TEST_CASE("collisions name all sources and rules; equal views merge at the earlier place and are listed") {
    check({f("a", {}, 1), f("x.a", {}, 2), f("y.a", {}, 3)}, RULES_1("rename {p}.a -> a"),
          "!1 collision: \"a\" (untouched) and \"x.a\" (rule 1, rename {p}.a -> a) and \"y.a\" (rule 1, rename {p}.a "
          "-> a) all become \"a\"");
    const typed_tensors file({f("a", {2, 2}, 1), f("z", {}, 0)});
    const auto weights = file.weights();
    {
        const auto plan = ckpt::plan_remap(
            weights, ckpt::key_map::parse("copy a -> m.a\nrename a -> q.a\nstrip m.\nstrip q.\n").value());
        REQUIRE(plan.ok());
        CHECK(plan.keys() == std::vector<std::string>{"a", "z"});
        REQUIRE(plan.aliased.size() == 1);
        CHECK(plan.aliased[0].key == "a");
        CHECK(plan.aliased[0].same_as == "a");
    }
    {
        const auto plan =
            ckpt::plan_remap(weights, ckpt::key_map::parse("copy a -> b\ntranspose 0 1 b\nrename b -> a\n").value());
        REQUIRE(plan.collisions.size() == 1);
        CHECK(plan.collisions[0].to == "a");
        CHECK(plan.collisions[0].from == std::vector<std::string>{"a", "a"});
        CHECK(plan.collisions[0].rules == std::vector<std::size_t>{0, 3});
        CHECK_FALSE(plan.inverse().has_value());
        CHECK(plan.inverse().error().code == ckpt::errc::remap_failed);
    }
    // Two results of one gather are the same node, two gathers of one tensor never are.
    CHECK(ckpt::plan_remap(weights, ckpt::key_map::parse("cast float16 a\ncopy a -> b\nrename b -> a\n").value()).ok());
    CHECK_FALSE(
        ckpt::plan_remap(weights,
                         ckpt::key_map::parse("copy a -> b\ncast float16 a\ncast float16 b\nrename b -> a\n").value())
            .ok());
    CHECK(ckpt::plan_remap(
              weights, ckpt::key_map::parse("copy a -> b\ntranspose 0 1 a\ntranspose 0 1 b\nrename b -> a\n").value())
              .ok());
    // Planning stops behind a step with faults: what follows is not judged.
    const auto stopped =
        ckpt::plan_remap(weights, ckpt::key_map::parse("copy z -> a\ndrop nothing\nsqueeze 7 a\n").value());
    CHECK(stopped.collisions.size() == 1);
    CHECK(stopped.errors.empty());
    CHECK(stopped.unused_rules.empty());
}

TEST_CASE("all faults of a step are listed, each with its rule and key") {
    const typed_tensors file({f("a", {2}), f("b", {3}), f("c", {4})});
    const auto plan = ckpt::plan_remap(
        file.weights(), ckpt::key_map::parse("# a comment\nadd m.\nsplit 0 m.{k} -> {k}.0, {k}.1, {k}.2\n").value());
    REQUIRE(plan.errors.size() == 2);
    CHECK(plan.errors[0].detail == "rule 2 (split 0 m.{k} -> {k}.0, {k}.1, {k}.2): at \"m.a\": the size 2 of dimension "
                                   "0 does not divide into 3 parts");
    CHECK(plan.errors[1].detail.find("at \"m.c\"") != std::string::npos);
    CHECK(ckpt::remap(plan).error().detail.ends_with(" (and 1 more)"));
}

TEST_CASE(
    "unused rules: groups count one by one, ? says that it may be, and what was touched without a change was used") {
    const typed_tensors file({f("a", {1, 2}), f("b", {2})});
    const auto plan = ckpt::plan_remap(
        file.weights(),
        ckpt::key_map::parse("strip m.\n?strip m.\nfirst {\nrename q -> r\n? drop q\nrename a -> a\n}\nsqueeze b\nfill "
                             "1 int8 () a\nkeep ** where ndim < 9\nmerge 0 a, b -> c where ndim == 7\ntie x = q\n")
            .value());
    REQUIRE(plan.ok());
    CHECK(plan.unused_rules == std::vector<std::size_t>{1, 3, 9, 10});
    CHECK(plan.rule_text(4) == "? drop q");
    CHECK(plan.moves.empty());
}

TEST_CASE("has asks for the keys that the step began with") {
    check(
        {f("a", {}, 1), f("b", {}, 2)},
        ckpt::key_map{ckpt::first(ckpt::rule("rename a -> c where has(b)"), ckpt::rule("rename b -> d where has(a)"))},
        "first {\nrename a -> c where has(b)\nrename b -> d where has(a)\n}\n", "c [] 1 | d [] 2");
    check({f("a", {}, 1), f("b", {}, 2)}, RULES_2("rename a -> c where has(b)", "rename b -> d where has(a)"),
          "c [] 1 | b [] 2");
}

TEST_CASE("a tensor takes 64 operations, and 64 dimensions") {
    const auto told = [](const typed_tensor& of, const std::string& rules) {
        const typed_tensors file({of});
        const auto plan = ckpt::plan_remap(file.weights(), ckpt::key_map::parse(rules).value());
        return plan.ok() ? std::string("ok") : plan.errors.at(0).detail;
    };
    const auto times = [](std::string_view what, int n) {
        std::string out;
        for (int i = 0; i < n; ++i) out += what;
        return out;
    };
    // A cast and another back are two operations.
    const std::string there_and_back = "cast float64 a\ncast float32 a\n";
    CHECK(told(f("a", {1}), times(there_and_back, 32)) == "ok");
    CHECK(
        told(f("a", {1}), times(there_and_back, 32) + "cast float64 a").find("more than 64 operations on one tensor") !=
        std::string::npos);
    CHECK(told(f("a", {1}), "reshape (" + times("1,", 63) + "1) a") == "ok");
    CHECK(told(f("a", {1}), "reshape (" + times("1,", 64) + "1) a") != "ok");
    CHECK(told(f("a", {1}), times("unsqueeze 0 a\n", 63)) == "ok");
    CHECK(told(f("a", {1}), times("unsqueeze 0 a\n", 64)) != "ok");
    CHECK(told(f("a", {1}), "fill 0 int8 (" + times("1,", 63) + "1) b") == "ok");
    CHECK(told(f("a", {1}), "fill 0 int8 (" + times("1,", 64) + "1) b") != "ok");
    // All bits of a tensor are counted in 63, and what is filled has a limit of its own.
    CHECK(told(f("a", {1}), "fill 0 int8 (1152921504606846975) b").find("limits::filled_bytes") != std::string::npos);
    CHECK(told(f("a", {1}), "fill 0 int8 (1152921504606846976) b").find("the shape overflows") != std::string::npos);
    CHECK(told(f("a", {1}), "fill 0 int8 (17179869184) b") == "ok");
    CHECK(told(f("a", {1}), "fill 0 int8 (17179869185) b").find("limits::filled_bytes") != std::string::npos);
    CHECK(told(f("a", {1}), "fill 0 int8 (17179869183) b\nfill 0 int8 (1) c") == "ok");
    CHECK(told(f("a", {1}), "fill 0 int8 (17179869183) b\nfill 0 int8 (2) c") != "ok"); // all together
    CHECK(told(f("a", {1}), "fill 0 int8 (17179869184) b\npad 0 0 1 a") != "ok");
    CHECK(told(f("a", {1}), "pad 0 0 4294967296 a") == "ok");
    CHECK(told(f("a", {1}), "pad 0 0 4294967297 a").find("limits::filled_bytes") != std::string::npos);
    // Rows of heads are two dimensions more on the way.
    const std::string parts = "split 0 qkv(heads=1, kv_heads=1, layout=grouped) a -> q, k, v\n";
    const std::string whole = "merge 0 qkv(heads=1, kv_heads=1, layout=grouped) q, k, v -> a\n";
    const auto of_rank = [](std::size_t n) {
        std::vector<std::int64_t> shape(n, 1);
        shape[0] = 3;
        return f("a", shape);
    };
    CHECK(told(of_rank(62), parts) == "ok");
    CHECK(told(of_rank(63), parts).find("the tensor has too many dimensions") != std::string::npos);
    const std::string plain = "split 0 [1, 1, 1] a -> q, k, v\n";
    CHECK(told(of_rank(62), plain + whole) == "ok");
    CHECK(told(of_rank(63), plain + whole).find("the tensor has too many dimensions") != std::string::npos);
}

TEST_CASE("a plan lists a thousand errors") {
    std::vector<typed_tensor> of;
    for (int i = 0; i < 1001; ++i) of.push_back(f("a." + std::to_string(i), {}, 1));
    const auto errors = [](const std::vector<typed_tensor>& all) {
        const typed_tensors file(all);
        return ckpt::plan_remap(file.weights(), ckpt::key_map::parse("transpose 0 1 *.*").value()).errors.size();
    };
    CHECK(errors(of) == 1000);
    of.resize(1000);
    CHECK(errors(of) == 1000);
    of.resize(999);
    CHECK(errors(of) == 999);
}

TEST_CASE("a plan does not take longer where one tensor is part of another by very many ways") {
    const typed_tensors file({f("a", {1})});
    std::string text;
    for (int i = 0; i < 30; ++i) text += "copy a -> b\nmerge 0 a, b -> a\n";
    const auto plan = ckpt::plan_remap(file.weights(), ckpt::key_map::parse(text).value());
    REQUIRE(plan.ok());
    REQUIRE(plan.moves.size() == 1);
    CHECK(plan.moves[0].from == "a");
    const auto made = ckpt::remap(plan).value();
    CHECK(made.at("a").value().numel() == std::uint64_t{1} << 30);
    const auto deep = ckpt::plan_remap(file.weights(), ckpt::key_map::parse(text + text + text).value());
    CHECK_FALSE(deep.ok());
}

TEST_CASE("an expanded tensor may claim any shape: it is moved and viewed, and nothing is read or gathered out of "
          "proportion") {
    const std::int64_t many = std::int64_t{1} << 40;
    const std::string bytes = torch_file(
        pkl::dict({{pkl::str("a"), pkl::tensor(pkl::storage("FloatStorage", "0", 1), 0, {many, 2}, {0, 0})},
                   {pkl::str("b"), pkl::tensor(pkl::storage("FloatStorage", "1", 1), 0, {many, 2}, {0, 0})}}),
        {{"0", raw<float>({1})}, {"1", raw<float>({1})}});
    const auto weights = ckpt::open_bytes(bytes_of(bytes)).value().state_dict("").value();
    const auto first_fault = [&](const char* text) {
        const auto plan = ckpt::plan_remap(weights, ckpt::key_map::parse(text).value());
        return plan.ok() ? std::string("ok") : plan.errors.empty() ? std::string("collision") : plan.errors[0].detail;
    };
    for (const char* view :
         {"strip m.", "transpose 0 1 *", "reshape (-1) *", "split 0 a -> p, q", "narrow 0 5 7 a",
          "unstack 1 a -> a.{i} by {i}", "narrow 0 0 9 *\ncast float16 *\nmerge 0 a, b -> c", "tie c = a", "tie a = a"})
        CHECK_MESSAGE(first_fault(view) == "ok", std::string(view), ": ", first_fault(view));
    for (const char* gather : {"cast float16 a", "merge 0 a, b -> c", "pad 0 0 1 a", "tie a = b"})
        CHECK_MESSAGE(first_fault(gather).find("more than 16 times what is stored") != std::string::npos,
                      std::string(gather), ": ", first_fault(gather));
    CHECK(first_fault("unstack 0 a -> a.{i} by {i}").find("there would be more than") != std::string::npos);
    // One mebibyte is free, and 16 times what is stored: here four bytes.
    const auto gathered = [&](std::int64_t elements) {
        const std::string n = std::to_string(elements);
        return first_fault(("narrow 1 0 1 a\nreshape (-1) a\nnarrow 0 0 " + n + " a\ncast float64 a").c_str());
    };
    constexpr std::int64_t most = ((1 << 20) + 16 * 4) / 8;
    CHECK(gathered(most + 1) == "ok"); // a sixteenth of the bytes, rounded down
    CHECK(gathered(most + 2).find("more than 16 times what is stored") != std::string::npos);
    CHECK(first_fault("pad 1 1 1 b").find("limits::filled_bytes") != std::string::npos);
    CHECK(first_fault("fill 0 int8 (10000000000) c") == "ok"); // the rules themselves ask for it
}

TEST_CASE("rules make as many keys as there may be, those of the source included, and not one more") {
    const auto weights = test_support::typed_tensors{{f("a", {3}), f("b", {2})}}.weights();
    const auto faults = [&](const char* rules, std::uint64_t most) {
        const auto record =
            ckpt::detail::make_shared<ckpt::detail::remap_record>(weights, ckpt::key_map::parse(rules).value());
        ckpt::detail::remap_planner{*record, {.entries = most}}.run();
        std::string out;
        for (const ckpt::error& e : record->errors) out += e.detail + '\n';
        return out;
    };
    CHECK(faults("copy a -> c", 3) == "");
    CHECK(faults("copy a -> c", 2) == "rule 1 (copy a -> c): there would be more than 2 keys\n");
    CHECK(faults("unstack 0 a -> a.{i} by {i}", 5) == "");
    CHECK(faults("unstack 0 a -> a.{i} by {i}", 4) ==
          "rule 1 (unstack 0 a -> a.{i} by {i}): there would be more than 4 keys\n");
    CHECK(faults("unstack 0 a -> a.{i} by {i}", 2) ==
          "rule 1 (unstack 0 a -> a.{i} by {i}): at \"a\": there would be more than 2 keys\n");
}

TEST_CASE("tensors without elements of their own keep their names and nothing else") {
    const std::string sparse = pkl::call(pkl::global("torch._utils", "_rebuild_sparse_tensor"), {});
    const std::string bytes =
        torch_file(pkl::dict({{pkl::str("m.s"), sparse},
                              {pkl::str("m.w"), pkl::floats("0", 1)},
                              {pkl::str("m.f4"), pkl::tensor_v3(pkl::storage("UntypedStorage", "1", 4), 0, {4}, {1},
                                                                "float4_e2m1fn_x2")}}),
                   {{"0", raw<float>({1})}, {"1", "1234"}});
    const auto weights = ckpt::open_bytes(bytes_of(bytes)).value().state_dict("").value();
    const auto made = ckpt::remap(weights, ckpt::key_map{ckpt::strip_prefix("m."), ckpt::rule("copy s -> t")});
    REQUIRE(made.has_value());
    CHECK(made->at("t").error().code == ckpt::errc::bad_arguments);
    CHECK(made->refused() == 2);
    CHECK(ckpt::plan_remap(weights, ckpt::key_map::parse("squeeze m.s").value())
              .errors.at(0)
              .detail.find("the tensor could not be built") != std::string::npos);
    CHECK(ckpt::plan_remap(weights, ckpt::key_map::parse("split 0 m.f4 -> a, b").value())
              .errors.at(0)
              .detail.find("holds several values") != std::string::npos);
    CHECK(ckpt::plan_remap(weights, ckpt::key_map::parse("copy m.s -> x\nrename x -> m.s").value()).ok());
}

TEST_CASE("the inverse goes around names that are borne, and says which rule cannot be undone") {
    const auto blamed = [](const std::vector<typed_tensor>& tensors, const char* text) {
        const typed_tensors file(tensors);
        const auto plan = ckpt::plan_remap(file.weights(), ckpt::key_map::parse(text).value());
        REQUIRE(plan.ok());
        const auto back = plan.inverse();
        return back ? "text: " + back->text() : back.error().detail;
    };
    const std::vector<typed_tensor> ab{f("a", {2}), f("b", {2})};
    CHECK(blamed(ab, "drop \"b\" # as it stands, to be pasted back\n") ==
          "rule 1 (drop \"b\") cannot be undone: it dropped \"b\"");
    CHECK(blamed(ab, "rename a -> c\ndrop b\nnarrow 0 0 1 c\n") ==
          "rule 2 (drop b) cannot be undone: it dropped \"b\"");
    CHECK(blamed(ab, "rename a -> c\nnarrow 0 0 1 c\n")
              .starts_with("rule 2 (narrow 0 0 1 c) cannot be undone: it cut \"c\""));
    CHECK(blamed(ab, "keep a\n").starts_with("rule 1 "));
    CHECK(blamed(ab, "fill 1 int8 () c\n").starts_with("rule 1 "));
    CHECK(blamed(ab, "cast float16 a\n").starts_with("rule 1 "));
    CHECK(blamed(ab, "copy a -> c\nrename c -> a\n")
              .starts_with("rule 2 (rename c -> a) cannot be undone: it merged two names of one tensor under \"a\""));
    CHECK(blamed(ab, "drop c\nkeep **\nnarrow 0 0 2 a\ncast float32 a\nfill 1 int8 () b\ncast float64 b\n") ==
          "text: cast float32 b\n");
    // A key that no template can name.
    CHECK(blamed({f("a..b", {2})}, "rename a..b -> c\n") ==
          "rule 1 (rename a..b -> c) cannot be undone: no rule can give \"a..b\" its name back");
    CHECK(blamed({f("a..b", {2})}, "transpose 0 0 a..b\nreshape (1, 2) a..b\n") == "text: reshape (2) a..b\n");
    // Names that the inverse would take on its way.
    check({f("ckpt_inverse.0.x", {1}, 1), f("x", {2}, 2), f("y", {}, 4)}, RULES_1("split 0 x -> y.0, x"),
          "ckpt_inverse.0.x [1] 1 | y.0 [1] 2 | x [1] 3 | y [] 4");
    check({f("a", {2}, 0), f("b", {2}, 2)}, ckpt::key_map::parse("split 0 {k} -> {k}.0, {k}.1").value(),
          "split 0 {k} -> {k}.0, {k}.1\n", "a.0 [1] 0 | a.1 [1] 1 | b.0 [1] 2 | b.1 [1] 3");
    check({f("x.0", {2}, 0), f("x", {2}, 2)}, RULES_1("split 0 x.0 -> y, x.0"), "y [1] 0 | x.0 [1] 1 | x [2] 2 3");
    check({f("a.b", {1}, 1), f("b", {1}, 2)}, RULES_2("merge 0 a.b, b -> b", "add b."), "b.b [2] 1 2");
    for (const char* name :
         {"a b",  "#a", "?x",  "[1",  "qkv(", "where", "1",        "-1",       "x#y",  "a\\b", "a{b}", "a*",
          "a\"b", "->", "a=b", "a,b", "\\",   "\"",    "wrappers", "\xC2\xA0", "a->b", "-",    "--1"}) {
        CAPTURE(name);
        check({f(name, {1}, 1)}, RULES_1("unsqueeze 0 **"), std::string(name) + " [1, 1] 1");
        check({f(name, {1}, 1)}, RULES_1("rename ** -> x"), "x [1] 1");
        check({f(name, {2}, 1)}, RULES_1("split 0 ** -> x, y"), "x [1] 1 | y [1] 2");
        check({f(name, {1}, 1), f("z", {1}, 2)}, RULES_1("add p."), "p." + std::string(name) + " [1] 1 | p.z [1] 2");
    }
}

TEST_CASE("a remapped state_dict is remapped again, and owned") {
    const typed_tensors file({f("a", {4, 3}), f("b", {4, 3}, 12)}, lying::scattered);
    const auto weights = file.weights();
    const auto once = ckpt::remap(weights, ckpt::key_map::parse("merge 1 a, b -> c\ncast float64 c\n").value()).value();
    CHECK(once.at("c").value().is_gathered());
    const auto twice =
        ckpt::remap(once, ckpt::key_map::parse("transpose 0 1 c\nsplit 0 c -> p, q\nmerge 0 q, p -> r\n").value())
            .value();
    CHECK(shown(twice) == "r float64 [6, 4] 12 15 18 21 13 16 19 22 14 17 20 23 0 3 6 9 1 4 7 10 2 5 8 11");
    const auto own = twice.owned();
    CHECK(own.view<double, 2>("r").value()(5, 3) == 11);
    CHECK(twice.at("r").value().bytes().error().code == ckpt::errc::needs_copy);
    const auto narrowed = ckpt::remap(once, ckpt::key_map::parse("narrow 0 3 1 c\nreshape (6) c\n").value()).value();
    CHECK(shown(narrowed) == "c float64 [6] 9 10 11 21 22 23");
    CHECK(shown(ckpt::remap(own, ckpt::key_map{ckpt::rule("transpose 0 1 r")}).value())
              .starts_with("r float64 [4, 6] 12 13 14 0 1 2"));
}

} // namespace remap_test
