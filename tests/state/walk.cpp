// tests/state/walk.cpp: every path to every tensor, within bounds that a hostile file cannot move.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/state/object_walk.hpp>

#include "../support/processor_time.hpp"
#include "../support/torch_writer.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace walk_test {

using ckpt::errc;
using namespace test_support;

namespace {

const std::vector<std::pair<std::string, std::string>> one_storage{{"0", std::string(16, '\0')}};
std::string t() { return pkl::floats("0", 4); }

ckpt::checkpoint open_pickle(const std::string& root) {
    static std::deque<std::string> kept; // the bytes are borrowed
    kept.push_back(torch_file(root, one_storage));
    return ckpt::open_bytes<ckpt::allow<ckpt::training_policy, ckpt::global<"mine", "*">>>(bytes_of(kept.back()))
        .value();
}

std::vector<std::string> keys(const ckpt::result<std::vector<ckpt::located_tensor>>& rows) {
    std::vector<std::string> out;
    for (const auto& row : rows.value()) out.push_back(row.key());
    return out;
}

/// A list that holds the one before twice, `depth` times: 2^depth paths.
std::string bomb(const std::string& leaf, int depth, const std::string& key = {}) {
    std::string out = leaf;
    for (int i = 0; i < depth; ++i) {
        const std::string memo = "r" + le32(static_cast<std::uint64_t>(10 + i)),
                          again = "j" + le32(static_cast<std::uint64_t>(10 + i));
        // value PUT POP, then the next level with two references
        const std::string a = key.empty() ? "](" + again + again + "e"
                                          : "}(" + pkl::str(key + "a") + again + pkl::str(key + "b") + again + "u";
        out += memo + "0" + a;
    }
    return out;
}

struct timed : ends_soon { // R1
    timed() : ends_soon{5} {}
};

} // namespace

TEST_CASE("a tensor is found under every path that reaches it, in the file's order") {
    using namespace pkl;
    const auto opened = open_pickle(dict({{str("b"), t() + "q\x01"},
                                          {num(3), list({num(1), "h\x01", tuple({"h\x01"})})},
                                          {str("a"), "h\x01"},
                                          {str("empty"), dict({})},
                                          {str("text"), str("x")}}));
    const auto rows = ckpt::find_tensors(opened.root()).value();
    REQUIRE(rows.size() == 4);
    CHECK(keys(rows) == std::vector<std::string>{"b", "3.1", "3.2.0", "a"});
    CHECK(rows[2].path == std::vector<ckpt::path_element>{{"3", true}, {"2", true}, {"0", true}});
    CHECK_FALSE(rows[0].path[0].is_number);
    CHECK(rows[0].value.same_object(rows[3].value));
    CHECK(rows[1].tensor.numel() == 4);
    CHECK(keys(ckpt::find_tensors(opened.root().at(3).value())) == std::vector<std::string>{"1", "2.0"});
    CHECK(ckpt::find_tensors(opened.root().at("empty").value()).value().empty());
    CHECK(ckpt::find_tensors(ckpt::value{}).value().empty());
    CHECK(keys(ckpt::find_tensors(opened.root().at("a").value())) == std::vector<std::string>{""});
}

TEST_CASE("attributes and items of objects are walked: state, slots, list items, dictionary items") {
    using namespace pkl;
    const auto opened = open_pickle(
        dict({{str("plain"), object("mine", "Thing", dict({{str("w"), t()}}))},
              {str("slots"), object("mine", "Thing", tuple({dict({{str("w"), t()}}), dict({{str("s"), t()}})}))},
              {str("none"), object("mine", "Thing", tuple({none, dict({{str("s"), t()}})}))},
              {str("list"), global("mine", "List") + ")\x81(" + t() + t() + "e"}}));
    CHECK(keys(ckpt::find_tensors(opened.root())) ==
          std::vector<std::string>{"plain.w", "slots.w", "slots.s", "none.s", "list.0", "list.1"});
    // In a state_dict an object is one entry that is no tensor.
    const auto weights = opened.state_dict("").value();
    CHECK(weights.empty());
    CHECK(weights.others().size() == 4);
}

TEST_CASE("what an object was called with is walked by position, behind its items and its state") {
    using namespace pkl;
    const auto made = [](const std::string& args) { return global("mine", "Thing") + args + "\x81"; };
    const auto opened = open_pickle(
        dict({{str("named"), made(tuple({t(), none, t()}))},
              {str("called"), call(global("mine", "results"), {tuple({t(), t()}), dict({})})},
              {str("state"), made(tuple({num(1), t()})) + dict({{str("w"), t()}}) + "b"},
              {str("slots"), made(tuple({t()})) + tuple({none, dict({{str("s"), t()}})}) + "b"},
              {str("list"), made(tuple({t()})) + "(" + t() + t() + "e"},
              {str("all"), made(tuple({num(1), t()})) + tuple({num(2), num(3), t()}) + "b(" + t() + num(4) + "e"},
              {str("mapping"), made(tuple({t()})) + "(" + str("k") + t() + "u"},
              {str("words"), global("mine", "Thing") + tuple({t()}) + dict({{str("k"), t()}}) + "\x92"}}));
    const auto rows = ckpt::find_tensors(opened.root());
    CHECK(keys(rows) == std::vector<std::string>{"named.0", "named.2", "called.0.0", "called.0.1", "state.w", "state.1",
                                                 "slots.s", "slots.2", "list.0", "list.1", "list.2", "all.0", "all.4",
                                                 "all.6", "mapping.k", "mapping.2", "words.k", "words.0"});
    for (const auto& row : rows.value()) {
        CAPTURE(row.key());
        CHECK(opened.root().find(ckpt::detail::path_text(row.path)).value().same_object(row.value));
    }
    CHECK_FALSE(opened.root().find("named/3").has_value());
    CHECK_FALSE(opened.root().at("named").value().at(-1).has_value());
}

TEST_CASE("R1: arguments that very many objects share are looked at once, and walked within bounds") {
    using namespace pkl;
    const timed soon;
    const auto shared = [](const std::string& leaf) {
        std::string root = "]q\x02((";
        for (int i = 0; i < 2000; ++i) root += leaf;
        root += "tr" + le32(1000) + "0";
        for (int i = 0; i < 2000; ++i) root += global("mine", "Thing") + "j" + le32(1000) + "\x81";
        return open_pickle(root + "e");
    };
    const auto numbers = shared(num(7));
    CHECK(ckpt::find_tensors(numbers.root()).value().empty());
    const auto tensors = shared(t());
    CHECK(ckpt::find_tensors(tensors.root()).error().code == errc::output_limit);
}

TEST_CASE("R2: a container on its own path is not entered again") {
    using namespace pkl;
    const auto list_cycle =
        open_pickle("]q\x01(" + t() + "h\x01" + dict({{str("again"), "h\x01"}, {str("w"), t()}}) + "e");
    CHECK(keys(ckpt::find_tensors(list_cycle.root())) == std::vector<std::string>{"0", "2.w"});
    CHECK(list_cycle.state_dict("").value().size() == 2);
    const auto object_cycle =
        open_pickle(global("mine", "Node") + ")\x81q\x01" + dict({{str("self"), "h\x01"}, {str("w"), t()}}) + "b");
    CHECK(keys(ckpt::find_tensors(object_cycle.root())) == std::vector<std::string>{"w"});
    const auto dict_cycle = open_pickle("}q\x01(" + str("me") + "h\x01" + str("w") + t() + "u");
    CHECK(dict_cycle.state_dict().value().size() == 1);
}

TEST_CASE("R1: shared containers with more paths than any memory end in a limit, soon" * doctest::test_suite("slow")) {
    using namespace pkl;
    for (const int depth : {24, 200}) {
        CAPTURE(depth);
        for (const std::string& leaf : {t(), num(7), list({})}) {
            const timed soon;
            const auto opened = open_pickle(dict({{str("w"), t()}, {str("bomb"), bomb(leaf, depth)}}));
            const auto rows = ckpt::find_tensors(opened.root());
            if (leaf == t()) CHECK(rows.error().code == errc::output_limit);
            else CHECK(rows.value().size() == 1); // what holds no tensor is not entered
            CHECK(opened.state_dict("").error().code == errc::limit);
            CHECK_FALSE(opened.state_dicts().empty());
            (void)opened.state_dict();
        }
    }
    const auto small = open_pickle(bomb(t(), 10));
    CHECK(ckpt::find_tensors(small.root(), 1023).error().code == errc::output_limit);
    CHECK(ckpt::find_tensors(small.root(), 1024).value().size() == 1024);
    CHECK(small.state_dict("").value().size() == 1024);
}

TEST_CASE("R1: a root with a thousand bombs costs no more than one" * doctest::test_suite("slow")) {
    using namespace pkl;
    std::string root = bomb(t(), 40, "k") + "q\x01"
                                            "0}(";
    for (int i = 0; i < 1000; ++i) root += str("entry" + std::to_string(i)) + "h\x01";
    const timed soon;
    const auto opened = open_pickle(root + "u");
    CHECK_FALSE(opened.state_dict().has_value());
    CHECK_FALSE(opened.state_dicts().empty());
    CHECK_FALSE(ckpt::find_tensors(opened.root()).has_value());
}

TEST_CASE("R1: long keys on many paths end in a limit, soon") {
    using namespace pkl;
    const timed soon;
    const auto wide = open_pickle(bomb(t(), 19, std::string(3000, 'k')));
    CHECK(wide.state_dict("").error().code == errc::limit);
    CHECK(ckpt::find_tensors(wide.root()).error().code == errc::output_limit);
    // One key of 60 kB, by the memo at every level of a nest: the path itself is the load.
    std::string nest = str(std::string(60'000, 'k')) + "q\x01"
                                                       "0";
    for (int i = 0; i < 20'000; ++i) nest += "}h\x01";
    nest += t() + std::string(20'000, 's');
    const auto deep = open_pickle(nest);
    CHECK(deep.state_dict("").error().code == errc::limit);
    CHECK_FALSE(ckpt::find_tensors(deep.root()).has_value());
    (void)deep.state_dicts();
}

TEST_CASE("R2: an object nested a hundred thousand times is opened, walked and freed without recursion") {
    using namespace pkl;
    const timed soon;
    constexpr int depth = 100'000;
    std::string lists = std::string(depth, ']') + t() + std::string(depth, 'a');
    const auto nested = open_pickle(lists);
    const auto rows = ckpt::find_tensors(nested.root());
    REQUIRE(rows.has_value());
    CHECK(rows.value()[0].path.size() == depth);
    CHECK(nested.state_dict("").value().size() == 1);
    // With a tensor at every level the paths are quadratic.
    std::string each;
    for (int i = 0; i < depth; ++i) each += "](" + std::string(i == 0 ? t() + "q\x01" : "h\x01");
    for (int i = 0; i < depth; ++i) each += "e";
    const auto quadratic = open_pickle(each);
    CHECK(ckpt::find_tensors(quadratic.root()).error().code == errc::output_limit);
    CHECK(quadratic.state_dict("").error().code == errc::limit);
}

TEST_CASE("large honest files stay far from the bounds") {
    using namespace pkl;
    std::string root = "}(";
    for (int layer = 0; layer < 20'000; ++layer)
        root += str("backbone.encoder.layers." + std::to_string(layer) + ".self_attn.q_proj.weight") +
                (layer == 0 ? t() + "q\x01" : "h\x01");
    root += str("history") + "](";
    for (int i = 0; i < 300'000; ++i) root += "K\x01";
    const auto opened = open_pickle(root + "eu");
    const auto weights = opened.state_dict().value();
    CHECK(weights.size() == 20'000);
    CHECK(weights.others().size() == 300'000);
    CHECK(ckpt::find_tensors(opened.root()).value().size() == 20'000);
    CHECK(opened.state_dicts()[0].tensors == 20'000);
}

TEST_CASE("R1: a walk takes 64 steps and 16 bytes of keys for each byte of metadata, and what a small file needs") {
    const auto opened = open_pickle(pkl::dict({{pkl::str("w"), t()}}));
    const ckpt::detail::walk_budget budget{opened.root(), 7};
    CHECK(budget.visits == 7);
    CHECK(budget.steps == 64 * opened.pickle_bytes() + 250'000);
    CHECK(budget.text == 16 * opened.pickle_bytes() + (64 << 20));
    const ckpt::detail::walk_budget none{ckpt::value{}, 0};
    CHECK(none.steps == 250'000);
    CHECK(none.text == 64 << 20);
}

TEST_CASE("keys are told as Python shows them") {
    using namespace pkl;
    const auto opened = open_pickle(dict({{tuple({}), num(0)},
                                          {tuple({num(1)}), num(0)},
                                          {tuple({str("a"), none, yes, real(2)}), num(0)},
                                          {real(-1e300), num(0)},
                                          {tuple({tuple({num(1)})}), num(0)},
                                          {"\x8a\x09" + std::string(9, '\1'), num(0)},
                                          {no, num(0)}}));
    std::vector<std::string> texts;
    for (const auto entry : opened.root().entries()) texts.push_back(ckpt::key_text(entry.key));
    const auto of_nones = [](std::size_t n) {
        const auto long_key = open_pickle(dict({{'(' + std::string(n, 'N') + 't', num(0)}}));
        return ckpt::key_text((*long_key.root().entries().begin()).key);
    };
    std::string sixteen;
    for (int i = 0; i < 16; ++i) sixteen += "None, ";
    CHECK(of_nones(16) == '(' + sixteen.substr(0, sixteen.size() - 2) + ')');
    CHECK(of_nones(17) == '(' + sixteen + "...)");
    CHECK(texts ==
          std::vector<std::string>{"()", "(1,)", "('a', None, True, 2.0)", "-1e+300", "(<tuple>,)", "<int>", "False"});
}

} // namespace walk_test
