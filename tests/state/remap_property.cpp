// tests/state/remap_property.cpp: random maps over random keys, and back; random texts.
//
// SPDX-License-Identifier: MIT
// Deterministic seeds. Where a plan is ok and nothing was lost, its inverse, as a map and as a text, is the identity.
#include <ckpt/ckpt.hpp>

#include "../support/sanitized.hpp"
#include "../support/typed_tensors.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace remap_property_test {

using namespace test_support;
using ckpt::dtype;

namespace {

class chooser {
  public:
    explicit chooser(std::uint32_t seed) : random_{seed} {}
    [[nodiscard]] std::size_t below(std::size_t n) { return random_() % n; }
    [[nodiscard]] std::string one_of(std::initializer_list<const char*> all) {
        return *(all.begin() + below(all.size()));
    }
    template <class T> [[nodiscard]] const T& one_of(const std::vector<T>& all) { return all[below(all.size())]; }

  private:
    std::mt19937 random_;
};

std::string segment(chooser& choose) {
    return choose.one_of({"a", "b", "c",   "w", "x",   "y", "module", "0",  "1",  "2",  "10",      "q",
                          "k", "v", "a b", "*", "{z}", "=", "#",      "\\", "\"", "->", "\xC3\xA9"});
}

std::vector<typed_tensor> some_tensors(chooser& choose) {
    std::vector<typed_tensor> out;
    std::set<std::string> names;
    const std::size_t n = 1 + choose.below(8);
    while (out.size() < n) {
        std::string name = segment(choose);
        for (std::size_t i = choose.below(3); i > 0; --i) name += '.' + segment(choose);
        if (!names.insert(name).second) continue;
        typed_tensor t{name,
                       choose.one_of(std::vector<dtype>{dtype::float32, dtype::float32, dtype::float16, dtype::int16,
                                                        dtype::bool_, dtype::complex64}),
                       {},
                       {}};
        std::size_t numel = 1;
        for (std::size_t i = choose.below(4); i > 0; --i) {
            t.shape.push_back(static_cast<std::int64_t>(choose.one_of(std::vector<int>{1, 2, 3, 4, 8, 0})));
            numel *= static_cast<std::size_t>(t.shape.back());
        }
        for (std::size_t i = 0; i < (t.type == dtype::complex64 ? 2 * numel : numel); ++i)
            t.values.push_back(static_cast<double>(choose.below(t.type == dtype::bool_ ? 2 : 100)));
        out.push_back(t);
    }
    return out;
}

/// A pattern that binds p (whole segments) or x (one), and what may stand for the same in a template.
std::string some_rule(chooser& choose) {
    const std::string d = choose.one_of({"0", "-1", "1"});
    const std::string there = d == "1" ? "ndim > 1" : "ndim > 0";
    const std::string p = choose.one_of({"{p:**}", "{p:**}.{q}", "a.{p:**}", "{p:**}.w", "{p}", "{p}.*", "b.{p}"});
    switch (choose.below(25)) {
    case 0: return "strip " + choose.one_of({"a.", "b.", "module.", "0."});
    case 1: return "add " + choose.one_of({"m.", "a.", "x.y.", "\"a b.\""});
    case 2: return "strip wrappers";
    case 3: return "rename {x}.{y} -> " + choose.one_of({"{y}.{x}", "{x}_{y}", "n.{x}.{y}", "{x}"});
    case 4: return "rename " + p + " -> " + choose.one_of({"z.{p}", "{p}.t", "{p}"});
    case 5: return "rename {p:**}." + choose.one_of({"a", "w", "b"}) + " -> {p}." + choose.one_of({"a", "w", "c"});
    case 6: return "rename {h:**}.{i:int} -> {h}." + choose.one_of({"{i+1}", "{2*i}", "l{i}", "{i/2}", "{10-i}"});
    case 7: return "copy " + p + " -> copy." + choose.one_of({"{p}", "of.{p}.x"});
    case 8: return "tie tied.{p} = " + p;
    case 9:
        return "first {\n?rename a -> b\n?rename b -> a\n?rename a.{p:**} -> b.{p}\nrename b.{p:**} -> a.{p}\n" +
               choose.one_of({"", "?strip module.\n", "add k.\n"}) + "}";
    case 10:
        return "split " + d + " " + p + " -> " + choose.one_of({"s1.{p}, s2.{p}", "{p}, t.{p}", "s2.{p}.0, s2.{p}.1"}) +
               " where " + there + " and shape[" + d + "] % 2 == 0";
    case 11:
        return "split " + d + " [1, 0, 2] " + p + " -> {p}, t.{p}, u.{p} where " + there + " and shape[" + d + "] == 3";
    case 12:
        return "unstack " + d + " " + p + " -> {p}." + choose.one_of({"{e}", "{e+1}", "x{e}"}) + " by {e} where " +
               there + " and shape[" + d + "] > 0";
    case 13: return "stack " + choose.one_of({"0", "-1", "1"}) + " {p:**}.{e:int} -> {p}.s by {e}";
    case 14: return "merge 0 s1.{p:**}, s2.{p:**} -> " + choose.one_of({"{p}", "m.{p}"});
    case 15: return "merge " + d + " {p:**}.q, {p:**}.k, {p:**}.v -> {p}.qkv";
    case 16: return "transpose 0 -1 " + p + " where ndim > 0";
    case 17: return "permute " + choose.one_of({"(2, 0, 1)", "(1, -1, 0)", "(0, 2, 1)"}) + " " + p + " where ndim == 3";
    case 18:
        return "reshape " + choose.one_of({"(-1)", "(2, -1)", "(-1, 1, 2)"}) + " " + p +
               " where numel > 0 and numel % 2 == 0";
    case 19: return "squeeze " + p;
    case 20: return "unsqueeze " + choose.one_of({"0", "-1"}) + " " + p;
    case 21: return "pad " + d + " " + choose.one_of({"1 0", "0 2", "1 1"}) + " with 1 " + p + " where " + there;
    case 22:
        return "cast " +
               choose.one_of({"float64 ** where dtype == float32 or dtype == float16", "int32 ** where dtype == int16",
                              "int8 {p:**} where dtype == bool", "complex128 ** where dtype == complex64"});
    case 23: {
        const std::string layout =
            choose.one_of({"heads=2, kv_heads=1, layout=grouped", "heads=2, kv_heads=1, layout=concat",
                           "layout=interleaved, heads=1, kv_heads=1"});
        const std::string rows = layout.front() == 'l' ? "3" : "4";
        return "split 0 qkv(" + layout + ") " + p + " -> {p}.q, {p}.k, {p}.v where ndim > 0 and shape[0] % " + rows +
               " == 0";
    }
    default:
        return "merge 0 qkv(heads=2, kv_heads=1, layout=" + choose.one_of({"grouped", "concat"}) +
               ") {p:**}.q, {p:**}.k, {p:**}.v -> {p}.f";
    }
}

/// Whether both have the same keys with the same tensors; the order may differ.
bool same(const ckpt::state_dict& a, const ckpt::state_dict& b) {
    if (a.size() != b.size()) return false;
    for (const auto& [key, tensor] : a) {
        if (!b.contains(key)) return false;
        const auto other = b.at(key).value();
        if (tensor.dtype() != other.dtype() ||
            !std::equal(tensor.shape().begin(), tensor.shape().end(), other.shape().begin(), other.shape().end()))
            return false;
        if (tensor.crc32().value() != other.crc32().value()) return false;
    }
    return true;
}

} // namespace

TEST_CASE("a map and its inverse are the identity" * doctest::test_suite("slow")) {
    std::size_t ok = 0;
    std::size_t inverted = 0;
    std::size_t moved = 0;
    for (std::uint32_t seed = 0; seed < 12000 / one_of; ++seed) {
        chooser choose(seed);
        const typed_tensors file(some_tensors(choose), seed % 3 == 0 ? lying::scattered : lying::plain);
        const auto weights = file.weights();
        std::string text;
        for (std::size_t i = 1 + choose.below(5); i > 0; --i) text += some_rule(choose) + '\n';
        CAPTURE(seed);
        CAPTURE(text);
        const auto map = ckpt::key_map::parse(text);
        REQUIRE_MESSAGE(map.has_value(), map.error().detail);
        CHECK(ckpt::key_map::parse(map->text()).value().text() == map->text());
        const auto plan = ckpt::plan_remap(weights, *map);
        if (!plan.ok()) continue;
        ++ok;
        const auto made = ckpt::remap(plan).value();
        CHECK(made.size() == plan.keys().size());
        const auto back = plan.inverse();
        CHECK(back.has_value() == plan.aliased.empty());
        if (!back) continue;
        ++inverted;
        moved += plan.moves.empty() ? 0u : 1u;
        const auto again = ckpt::remap(made, *back);
        REQUIRE_MESSAGE(again.has_value(), back->text());
        CHECK_MESSAGE(same(weights, *again), back->text());
        const auto reread = ckpt::key_map::parse(back->text());
        REQUIRE_MESSAGE(reread.has_value(), reread.error().detail);
        CHECK_MESSAGE(same(weights, ckpt::remap(made, *reread).value()), back->text());
        // The inverse of the inverse does what the map did.
        if (seed % 4 != 0) continue;
        const auto back_plan = ckpt::plan_remap(made, *back);
        if (const auto forth = back_plan.inverse())
            CHECK_MESSAGE(same(made, ckpt::remap(ckpt::remap(back_plan).value(), *forth).value()), forth->text());
    }
    MESSAGE(ok << " plans, " << inverted << " inverted, " << moved << " of them moved something");
    CHECK(moved > 3000 / one_of);
}

TEST_CASE("a text is a map, whose text is the same map, or an error with a place inside the text") {
    const std::vector<std::string> pieces{"strip ",
                                          "module.",
                                          "add ",
                                          "rename ",
                                          "drop ",
                                          "keep ",
                                          "copy ",
                                          "tie ",
                                          "split 0 ",
                                          "merge -1 ",
                                          "stack 0 ",
                                          "unstack 1 ",
                                          "transpose 0 1 ",
                                          "permute (1, 0) ",
                                          "reshape (2, -1) ",
                                          "squeeze ",
                                          "unsqueeze 0 ",
                                          "narrow 0 1 2 ",
                                          "pad 0 1 1 with 1.5 ",
                                          "cast float16 ",
                                          "fill 0 int8 (2,) ",
                                          "first {\n",
                                          "}\n",
                                          "\n",
                                          "\r\n",
                                          " -> ",
                                          "->",
                                          ", ",
                                          " = ",
                                          "\"",
                                          "\\",
                                          "\\\"",
                                          "#",
                                          " # x",
                                          "?",
                                          "{i:int}",
                                          "{p:**}",
                                          "{x}",
                                          "{l:a|b}",
                                          "**",
                                          "*",
                                          "a.b",
                                          ".",
                                          "{i+1}",
                                          "{(i*2)/3%4}",
                                          " by {i}",
                                          " where ",
                                          "ndim > 1",
                                          " and ",
                                          " or ",
                                          " not ",
                                          "(",
                                          ")",
                                          "[1, 2] ",
                                          "qkv(heads=2, kv_heads=1, layout=concat) ",
                                          "has(a.{x})",
                                          "shape[-1]",
                                          "dtype == bool",
                                          "\"text\" == x",
                                          "\t",
                                          "\xC3\xA9",
                                          "\xFF",
                                          "\x01",
                                          "}",
                                          "{",
                                          "99999999999999999999",
                                          "-1",
                                          "\xEF\xBB\xBF"};
    const typed_tensors file({{"a.b", dtype::float32, {2, 2}, {1, 2, 3, 4}},
                              {"module.a", dtype::bool_, {2}, {0, 1}},
                              {"a.1", dtype::float32, {2}, {1, 2}},
                              {"a.0", dtype::float32, {2}, {1, 2}}});
    const auto weights = file.weights();
    std::size_t good = 0;
    for (std::uint32_t seed = 0; seed < 40000 / one_of; ++seed) {
        chooser choose(seed);
        std::string text;
        if (seed % 2 == 0) {
            for (std::size_t i = choose.below(12); i > 0; --i) text += choose.one_of(pieces);
        } else {
            for (std::size_t i = 1 + choose.below(3); i > 0; --i) text += some_rule(choose) + '\n';
            for (std::size_t i = choose.below(3); i > 0; --i) {
                const std::size_t at = choose.below(text.size());
                if (choose.below(2) == 0) text.erase(at, 1 + choose.below(3));
                else text.insert(at, choose.one_of(pieces));
                if (text.empty()) text = "x";
            }
        }
        CAPTURE(text);
        ckpt::parse_error where;
        const auto map = ckpt::key_map::parse(text, "r", &where);
        if (!map) {
            const auto lines = 1 + std::count(text.begin(), text.end(), '\n');
            const bool placed = where.line >= 1 && static_cast<std::ptrdiff_t>(where.line) <= lines &&
                                where.column >= 1 && where.error.offset <= text.size() && where.width >= 1 &&
                                where.column <= text.size() + 1;
            CHECK(placed);
            CHECK(map.error().code == ckpt::errc::rule_invalid);
            CHECK(map.error().detail.starts_with("r:" + std::to_string(where.line) + ": "));
            CHECK(map.error().detail.find("{it}") == std::string::npos);
            CHECK(where.pretty().find('^') != std::string::npos);
            CHECK(where.caret <= 110);
            continue;
        }
        ++good;
        const auto again = ckpt::key_map::parse(map->text());
        REQUIRE(again.has_value());
        CHECK(again->text() == map->text());
        const auto plan = ckpt::plan_remap(weights, *map);
        const auto made = ckpt::remap(plan);
        CHECK((made.has_value() || made.error().code == ckpt::errc::remap_failed ||
               made.error().code == ckpt::errc::equality_broken));
        CHECK(plan.keys() == ckpt::plan_remap(weights, *again).keys());
        if (made)
            for (const auto& [key, tensor] : *made) {
                const auto crc = tensor.crc32();
                CHECK((crc.has_value() || crc.error().code == ckpt::errc::conversion ||
                       crc.error().code == ckpt::errc::output_limit));
            }
    }
    MESSAGE(good << " texts were maps");
    CHECK(good > 2000 / one_of);
}

} // namespace remap_property_test
