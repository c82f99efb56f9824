// tests/state/binding.cpp: which keys a struct asks for, and how its members are filled.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>

#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace binding_test {

using ckpt::errc;
using namespace test_support;

namespace {

struct linear {
    ckpt::tensor_view<float, 2> weight;
    std::optional<ckpt::tensor_view<float, 1>> bias;
};
struct attention {
    linear q, k;
};
struct block {
    attention attn;
    ckpt::tensor_copy<float, 1> norm;
    int calls{0}; // not bound
};
struct adapter {
    ckpt::tensor_view<float, 1> down, up;
};
struct model {
    std::vector<block> blocks;
    std::array<ckpt::tensor, 2> tables;
    std::optional<adapter> lora;
    ckpt::tensor_copy<bool, 1> mask;
};
struct base {
    ckpt::tensor_view<float, 1> a;
};
struct derived : base {
    base flat;
    ckpt::tensor_view<float, 1> b;
};
struct grid {
    std::vector<std::vector<ckpt::tensor>> rows;
};
struct maybe {
    std::optional<linear> proj;
    std::optional<std::vector<std::optional<ckpt::tensor>>> list;
    std::optional<ckpt::tensor> last;
};
struct two_lists {
    std::optional<std::vector<ckpt::tensor>> list;
    std::vector<std::optional<ckpt::tensor>> sparse;
};

} // namespace

} // namespace binding_test

template <>
struct ckpt::binding<binding_test::linear> : ckpt::fields<ckpt::field<"weight", &binding_test::linear::weight>,
                                                          ckpt::field<"bias", &binding_test::linear::bias>> {};
template <>
struct ckpt::binding<binding_test::attention> : ckpt::fields<ckpt::field<"q_proj", &binding_test::attention::q>,
                                                             ckpt::field<"k_proj", &binding_test::attention::k>> {};
template <>
struct ckpt::binding<binding_test::block> : ckpt::fields<ckpt::field<"attn", &binding_test::block::attn>,
                                                         ckpt::field<"norm.weight", &binding_test::block::norm>> {};
template <>
struct ckpt::binding<binding_test::adapter>
    : ckpt::fields<ckpt::field<"down", &binding_test::adapter::down>, ckpt::field<"up", &binding_test::adapter::up>> {};
template <>
struct ckpt::binding<binding_test::model>
    : ckpt::fields<ckpt::field<"h", &binding_test::model::blocks>, ckpt::field<"tables", &binding_test::model::tables>,
                   ckpt::field<"lora", &binding_test::model::lora>, ckpt::field<"mask", &binding_test::model::mask>> {};
template <>
struct ckpt::binding<binding_test::derived>
    : ckpt::fields<ckpt::field<"a", &binding_test::derived::a>, ckpt::field<"", &binding_test::derived::flat>,
                   ckpt::field<"b", &binding_test::derived::b>> {};
template <> struct ckpt::binding<binding_test::base> : ckpt::fields<ckpt::field<"a2", &binding_test::base::a>> {};
template <> struct ckpt::binding<binding_test::grid> : ckpt::fields<ckpt::field<"", &binding_test::grid::rows>> {};
template <>
struct ckpt::binding<binding_test::maybe>
    : ckpt::fields<ckpt::field<"proj", &binding_test::maybe::proj>, ckpt::field<"list", &binding_test::maybe::list>,
                   ckpt::field<"last", &binding_test::maybe::last>> {};
template <>
struct ckpt::binding<binding_test::two_lists> : ckpt::fields<ckpt::field<"list", &binding_test::two_lists::list>,
                                                             ckpt::field<"sparse", &binding_test::two_lists::sparse>> {
};

namespace binding_test {

namespace {

using entries = std::vector<std::pair<std::string, std::string>>;

std::string vec() { return pkl::floats("0", 4); }
std::string mat() { return pkl::tensor(pkl::storage("FloatStorage", "0", 4), 0, {2, 2}, {2, 1}); }
std::string flags() { return pkl::tensor(pkl::storage("BoolStorage", "1", 3), 0, {3}, {1}); }

/// A state_dict of these keys; what it borrows lives on.
ckpt::state_dict weights_of(const entries& of) {
    static std::deque<std::string> files;
    entries pickled;
    for (const auto& [key, value] : of) pickled.emplace_back(pkl::str(key), value);
    files.push_back(torch_file(pkl::dict(pickled), {{"0", raw<float>({1, 2, 3, 4})}, {"1", std::string("\0\1\7", 3)}}));
    return ckpt::open_bytes(bytes_of(files.back())).value().state_dict("").value();
}

entries whole_model() {
    entries out;
    for (const std::string h : {"h.0.", "h.1."}) {
        out.emplace_back(h + "attn.q_proj.weight", mat());
        out.emplace_back(h + "attn.q_proj.bias", vec());
        out.emplace_back(h + "attn.k_proj.weight", mat());
        out.emplace_back(h + "norm.weight", vec());
    }
    out.emplace_back("tables.0", mat());
    out.emplace_back("tables.1", vec());
    out.emplace_back("mask", flags());
    return out;
}

} // namespace

TEST_CASE("nested structs, vectors, arrays, optionals and every kind of target are filled by their keys") {
    const auto weights = weights_of(whole_model());
    model m;
    m.blocks.resize(1);
    m.blocks[0].calls = 7;
    m.lora.emplace();
    const auto report = ckpt::load(weights, m).value();
    CHECK(report.complete());
    CHECK(report.loaded.size() == 11);
    CHECK(report.absent == std::vector<std::string>{"h.0.attn.k_proj.bias", "h.1.attn.k_proj.bias", "lora"});
    REQUIRE(m.blocks.size() == 2);
    CHECK(m.blocks[0].calls == 7); // what is not bound stays
    CHECK(m.blocks[1].attn.q.weight(1, 0) == 3);
    CHECK(m.blocks[1].attn.q.bias.value()(3) == 4);
    CHECK_FALSE(m.blocks[0].attn.k.bias.has_value());
    CHECK(m.blocks[1].norm(2) == 3);
    CHECK(m.tables[0].rank() == 2);
    CHECK(m.tables[1].rank() == 1);
    CHECK_FALSE(m.lora.has_value()); // it was there before
    CHECK(m.mask(2) == true);
    CHECK_FALSE(m.mask(0));
}

TEST_CASE("an optional struct is there as soon as one of its tensors is, and then wants all of them") {
    auto entries = whole_model();
    entries.emplace_back("lora.down", vec());
    model m;
    const auto incomplete = ckpt::plan_load(weights_of(entries), m);
    CHECK(incomplete.missing_keys == std::vector<std::string>{"lora.up"});
    CHECK_FALSE(incomplete.ok());
    entries.emplace_back("lora.up", vec());
    const auto weights = weights_of(entries);
    CHECK(ckpt::load(weights, m).value().complete());
    CHECK(m.lora.value().up(3) == 4);
    // Other keys below its name do not make it present.
    entries = whole_model();
    entries.emplace_back("lora.rank", vec());
    const auto other = ckpt::plan_load(weights_of(entries), m);
    CHECK(other.missing_keys.empty());
    CHECK(other.unexpected_keys == std::vector<std::string>{"lora.rank"});
    CHECK(other.absent.back() == "lora");
}

TEST_CASE("an array of a wrong size makes keys missing or unexpected; a gap in a vector is missing") {
    auto entries = whole_model();
    entries.emplace_back("tables.2", vec());
    model m;
    CHECK(ckpt::plan_load(weights_of(entries), m).unexpected_keys == std::vector<std::string>{"tables.2"});
    entries = whole_model();
    std::erase_if(entries, [](const auto& e) { return e.first == "tables.1"; });
    CHECK(ckpt::plan_load(weights_of(entries), m).missing_keys == std::vector<std::string>{"tables.1"});
    entries = whole_model();
    entries.emplace_back("h.3.norm.weight", vec());
    const auto gap = ckpt::plan_load(weights_of(entries), m);
    CHECK(gap.missing_keys == std::vector<std::string>{"h.2.attn.q_proj.weight", "h.2.attn.k_proj.weight",
                                                       "h.2.norm.weight", "h.3.attn.q_proj.weight",
                                                       "h.3.attn.k_proj.weight"});
}

TEST_CASE("only canonical numbers below the number of keys make a vector longer, and nested vectors share a bound") {
    model m;
    for (const char* const key : {"h.999999999.norm.weight", "h.13.norm.weight", "h.02.norm.weight", "h.-1.norm.weight",
                                  "h.99999999999999999999.x", "h.x.norm.weight", "h..norm.weight"}) {
        auto entries = whole_model();
        entries.emplace_back(key, vec());
        CAPTURE(key);
        const auto report = ckpt::plan_load(weights_of(entries), m);
        CHECK(report.missing_keys.empty());
        CHECK(report.unexpected_keys == std::vector<std::string>{key});
    }
    // A vector has at most as many elements as there are keys.
    grid small;
    CHECK(ckpt::plan_load(weights_of({{"1.0", vec()}}), small).missing_keys.empty());
    CHECK(ckpt::plan_load(weights_of({{"1.0", vec()}, {"x", vec()}}), small).absent == std::vector<std::string>{"0"});
    // 64 rows of which each has one tensor at 63: 4,096 elements would be made of 64 keys.
    entries many;
    for (int i = 0; i < 64; ++i) many.emplace_back(std::to_string(i) + ".63", vec());
    grid g;
    const auto report = ckpt::plan_load(weights_of(many), g);
    CHECK(report.loaded.size() + report.missing_keys.size() <= 8 * 64);
    CHECK(report.loaded.size() + report.unexpected_keys.size() == 64);
    CHECK_FALSE(report.unexpected_keys.empty());
    const auto three = weights_of({{"0.0", vec()}, {"0.1", vec()}, {"1.0", vec()}});
    CHECK(ckpt::load(three, g).has_value());
    REQUIRE(g.rows.size() == 2);
    CHECK(g.rows[0].size() == 2);
    CHECK(g.rows[1].size() == 1);
}

TEST_CASE("members of a base class are fields, and a field without a key adds nothing to its path") {
    derived d;
    const auto weights = weights_of({{"a", vec()}, {"a2", vec()}, {"b", vec()}});
    CHECK(ckpt::load(weights, d).value().complete());
    CHECK(d.a(0) == 1);
    CHECK(d.flat.a(1) == 2);
    CHECK(d.b(2) == 3);
}

TEST_CASE("optionals of vectors and vectors of optionals") {
    two_lists t;
    t.list.emplace(5);
    t.sparse.resize(9);
    const auto first = weights_of({{"sparse.2", vec()}, {"sparse.0", vec()}, {"x", vec()}});
    const auto report = ckpt::load(first, t, {.allow_unexpected = {"x"}}).value();
    CHECK(report.absent == std::vector<std::string>{"list", "sparse.1"});
    CHECK_FALSE(t.list.has_value());
    REQUIRE(t.sparse.size() == 3);
    CHECK(t.sparse[0].has_value());
    CHECK_FALSE(t.sparse[1].has_value());
    CHECK(t.sparse[2].has_value());
    const auto second = weights_of({{"list.0", vec()}, {"list.1", vec()}});
    const auto emptied = ckpt::load(second, t).value();
    CHECK(emptied.complete());
    CHECK(emptied.absent == std::vector<std::string>{"sparse"}); // a model of vectors only could be complete and empty
    CHECK(t.list.value().size() == 2);
    CHECK(t.sparse.empty());
}

TEST_CASE("what is inside of an absent optional is not absent by itself") {
    maybe m;
    const auto weights = weights_of({{"last", vec()}, {"list.1.x", vec()}});
    const auto report = ckpt::load(weights, m, {.allow_unexpected = {"list.**"}}).value();
    CHECK(report.absent == std::vector<std::string>{"proj", "list"});
    CHECK_FALSE(m.proj.has_value());
    CHECK_FALSE(m.list.has_value());
    CHECK(m.last.value().rank() == 1);
}

TEST_CASE("an array or a vector of structs can be loaded without a struct around it") {
    std::array<linear, 2> two{};
    const auto weights = weights_of({{"0.weight", mat()}, {"1.weight", mat()}});
    CHECK(ckpt::load(weights, two).value().complete());
    CHECK(two[1].weight(1, 1) == 4);
    std::vector<linear> all;
    CHECK(ckpt::load(weights, all).value().complete());
    CHECK(all.size() == 2);
}

} // namespace binding_test
