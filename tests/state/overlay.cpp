// tests/state/overlay.cpp: layers over one another, and which of them each tensor came from.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/state/overlay.hpp>

#include "../support/named_floats.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace overlay_test {

using namespace test_support;

TEST_CASE("the later layer wins, keys keep the first layer's order, and each tensor names its layer") {
    const named_floats base{{"a", {1}, {1}}, {"head.w", {2}, {2, 3}}, {"b", {1}, {4}}};
    const named_floats adapter{{"new.w", {1}, {9}}, {"head.w", {2}, {7, 8}}};
    const named_floats patch{{"new.w", {1}, {10}}, {"b", {1}, {11}}};
    const std::vector<ckpt::layer> layers{
        {base.weights(), "base.pt"}, {adapter.weights(), "adapter.pt"}, {patch.weights(), "patch.pt"}};
    const auto all = ckpt::overlay(layers).value();
    CHECK(keys_of(all.weights) == std::vector<std::string>{"a", "head.w", "b", "new.w"});
    CHECK(values(all.weights, "a") == std::vector<float>{1});
    CHECK(values(all.weights, "head.w") == std::vector<float>{7, 8});
    CHECK(values(all.weights, "b") == std::vector<float>{11});
    CHECK(values(all.weights, "new.w") == std::vector<float>{10});
    CHECK(all.weights.at("a").value().file() == "base.pt");
    CHECK(all.weights.at("head.w").value().file() == "adapter.pt");
    CHECK(all.weights.at("new.w").value().file() == "patch.pt");
    REQUIRE(all.replaced.size() == 3); // by key
    CHECK(all.replaced[0].key == "b");
    CHECK(all.replaced[0].layer == "patch.pt");
    CHECK(all.replaced[0].replaced == "base.pt");
    CHECK(all.replaced[2].key == "new.w");
    CHECK(all.replaced[2].replaced == "adapter.pt");
    REQUIRE(all.added.size() == 1);
    CHECK(all.added[0].key == "new.w");
    CHECK(all.added[0].layer == "patch.pt");
}

TEST_CASE("a tensor of another dtype may replace one, and the report says so") {
    const named_floats base{{"a", {1}, {1}}};
    const auto half = ckpt::remap(base.weights(), ckpt::key_map{ckpt::rule("cast float16 a")}).value();
    const std::vector<ckpt::layer> layers{{base.weights(), "base.pt"}, {half, "patch.pt"}};
    const auto all = ckpt::overlay(layers).value();
    REQUIRE(all.replaced.size() == 1);
    CHECK(all.replaced[0].type == ckpt::dtype::float16);
    CHECK(all.replaced[0].type_before == ckpt::dtype::float32);
}

TEST_CASE("nothing is copied: a tensor that no later layer has is a view of its file, and tied tensors stay tied") {
    const named_floats base{{"a", {2}, {1, 2}}};
    const auto weights = base.weights();
    const std::vector<ckpt::layer> one{{weights, "x"}};
    const auto all = ckpt::overlay(one).value();
    CHECK(all.weights.view<float, 1>("a").value().data == weights.view<float, 1>("a").value().data);
    CHECK(all.replaced.empty());
    CHECK(all.added.empty());

    const auto twice = ckpt::remap(weights, ckpt::key_map{ckpt::rule("copy a -> b")}).value();
    const std::vector<ckpt::layer> tied{{twice, "x"}};
    const auto both = ckpt::overlay(tied).value();
    CHECK(both.weights.at("a").value().storage_id() == both.weights.at("b").value().storage_id());
}

TEST_CASE("another shape is refused, with both files and both shapes, unless it is asked for") {
    const named_floats base{{"w", {2}, {1, 2}}};
    const named_floats other{{"w", {1, 3}, {1, 2, 3}}};
    const std::vector<ckpt::layer> layers{{base.weights(), "base.pt"}, {other.weights(), "other.pt"}};
    const auto refused = ckpt::overlay(layers);
    REQUIRE_FALSE(refused.has_value());
    CHECK(refused.error().code == ckpt::errc::shapes_differ);
    CHECK(refused.error().file == "other.pt");
    CHECK(refused.error().detail == "the tensor \"w\" has the shape [1, 3], in \"base.pt\" it has [2]");
    const auto allowed = ckpt::overlay(layers, {.allow_other_shapes = true}).value();
    CHECK(values(allowed.weights, "w") == std::vector<float>{1, 2, 3});

    CHECK(ckpt::overlay({}).error().code == ckpt::errc::state_dict_missing);
}

TEST_CASE("a merge of transposed slices of two files is one plan, read straight into the destination") {
    const named_floats base{{"q", {2, 2}, {1, 2, 3, 4}}};
    const named_floats other{{"k", {2, 2}, {5, 6, 7, 8}}};
    const std::vector<ckpt::layer> layers{{base.weights(), "base.pt"}, {other.weights(), "other.pt"}};
    const auto all = ckpt::overlay(layers).value();
    const auto mapped =
        ckpt::remap(all.weights, ckpt::key_map{ckpt::rule("transpose 0 1 *"), ckpt::rule("narrow 0 1 1 *"),
                                               ckpt::rule("merge 1 q, k -> qk")})
            .value();
    CHECK(values(mapped, "qk") == std::vector<float>{2, 4, 6, 8});
    CHECK(mapped.at("qk").value().is_gathered());
    CHECK(mapped.view<float, 2>("qk").error().code == ckpt::errc::needs_copy);
    const auto owned = mapped.owned();
    CHECK(owned.view<float, 2>("qk").value()(0, 3) == 8);
}

TEST_CASE("an overlay outlives the files and the layers that it was made of") {
    const auto make = [] {
        static const named_floats base{{"a", {1}, {1}}};
        static const named_floats more{{"b", {1}, {2}}};
        const std::vector<ckpt::layer> layers{{base.weights(), "x"}, {more.weights(), "y"}};
        return ckpt::overlay(layers).value().weights;
    };
    const auto weights = make();
    CHECK(values(weights, "b") == std::vector<float>{2});
    CHECK(weights.at("b").value().file() == "y");
}

} // namespace overlay_test
