// tests/maps/averages.cpp: averages under names without dots go to the raw tensors that they belong to.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/maps/averages.hpp>

#include "../support/named_floats.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace averages_test {

using namespace test_support;

TEST_CASE("latent diffusion: each average takes its raw tensor's place and name; the raw ones are listed as dropped") {
    const auto weights =
        ckpt::open(CKPT_TEST_DATA "/frameworks/like/latent_diffusion.ckpt").value().state_dict("state_dict").value();
    const auto map = ckpt::maps::averages_to_raw(weights).value();
    const auto plan = ckpt::plan_remap(weights, map);
    REQUIRE(plan.ok());
    CHECK(plan.unused_rules.empty());
    const auto averaged = ckpt::remap(plan).value();
    std::size_t replaced = 0;
    for (const auto& [key, tensor] : weights) {
        const std::string shown_key(key); // a structured binding cannot be captured
        CAPTURE(shown_key);
        if (key.starts_with("model_ema.")) {
            CHECK_FALSE(averaged.contains(key));
            continue;
        }
        REQUIRE(averaged.contains(key));
        std::string dotless = "model_ema.";
        if (key.starts_with("model."))
            for (const char c : key.substr(6))
                if (c != '.') dotless += c;
        const auto* source = weights.contains(dotless) ? &dotless : nullptr;
        replaced += source != nullptr;
        CHECK(averaged.at(key).value().crc32().value() ==
              weights.at(source != nullptr ? *source : std::string(key)).value().crc32().value());
    }
    CHECK(replaced == 4);
    CHECK(plan.dropped.size() == replaced + 2); // and the two counters
}

TEST_CASE("an average that belongs to nothing, or to two, is an error") {
    const named_floats lost{{"model.a.b", {1}, {1}}, {"model_ema.ac", {1}, {2}}};
    CHECK(ckpt::maps::averages_to_raw(lost.weights()).error().code == ckpt::errc::key_missing);
    const named_floats two{{"model.a.b", {1}, {1}}, {"model.ab", {1}, {1}}, {"model_ema.ab", {1}, {2}}};
    const auto both = ckpt::maps::averages_to_raw(two.weights());
    REQUIRE_FALSE(both.has_value());
    CHECK(both.error().code == ckpt::errc::key_duplicate);
    const named_floats none{{"model.a", {1}, {1}}};
    CHECK(ckpt::maps::averages_to_raw(none.weights()).error().code == ckpt::errc::key_missing);
    const named_floats other{{"net.a*b.{c}", {1}, {1}}, {"avg.a*b{c}", {1}, {2}}};
    const auto weights = other.weights();
    const auto averaged = ckpt::remap(weights, ckpt::maps::averages_to_raw(weights, "net.", "avg.").value()).value();
    CHECK(averaged.size() == 1);
    CHECK(averaged.view<float, 1>("net.a*b.{c}").value()(0) == 2);
}

} // namespace averages_test
