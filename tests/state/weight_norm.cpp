// tests/state/weight_norm.cpp: weights of weight normalisation become what torch makes of them, bit for bit.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/state/shard.hpp>
#include <ckpt/state/weight_norm.hpp>

#include "../support/named_floats.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weight_norm_test {

using namespace test_support;

namespace {

ckpt::state_dict stored() {
    return ckpt::open(CKPT_TEST_DATA "/torch-2.13/weight_norm.pt").value().state_dict("").value();
}

} // namespace

TEST_CASE("both of torch's functions, every dimension and dtype, bit for bit") {
    const auto weights = stored();
    const auto folded = ckpt::fold_weight_norm(weights).value();
    CHECK(folded.folded.size() == 12);
    CHECK(folded.left.empty());
    CHECK(folded.weights.size() == 24);
    for (const auto& f : folded.folded) {
        CAPTURE(f.key);
        const auto got = folded.weights.at(f.key).value();
        const auto want = folded.weights.at("want." + f.key).value();
        CHECK(got.dtype() == want.dtype());
        CHECK(got.crc32().value() == want.crc32().value());
        CHECK_FALSE(folded.weights.contains(f.g));
        CHECK_FALSE(folded.weights.contains(f.v));
    }
    CHECK(keys_of(folded.weights).front() == "0.weight_hh_l0"); // where its halves stood
}

TEST_CASE("any part of a folded weight is read as it is in the whole") {
    const auto folded = ckpt::fold_weight_norm(stored()).value();
    std::size_t cut = 0;
    for (const auto& f : folded.folded) {
        CAPTURE(f.key);
        const auto tensor = folded.weights.at(f.key).value();
        const auto whole = values(folded.weights, f.key);
        const auto columns = static_cast<std::size_t>(tensor.shape().back());
        if (columns % 3 != 0) continue;
        const ckpt::shard_rule rule{ckpt::pattern::parse(f.key).value(), tensor.shape().size() - 1};
        const auto part = values(ckpt::shard(folded.weights, std::span{&rule, 1}, 1, 3).value(), f.key);
        ++cut;
        for (std::size_t i = 0; i < part.size(); ++i)
            CHECK(part[i] == whole[i / (columns / 3) * columns + columns / 3 + i % (columns / 3)]);
    }
    CHECK(cut == 4);
}

TEST_CASE("a folded weight is transposed and cast as any tensor is") {
    const auto folded = ckpt::fold_weight_norm(stored()).value();
    const auto other = ckpt::remap(
        folded.weights, ckpt::key_map{ckpt::rule("transpose 0 1 2.weight"), ckpt::rule("transpose 0 1 want.2.weight"),
                                      ckpt::rule("cast float64 2.weight"), ckpt::rule("cast float64 want.2.weight")});
    const auto& weights = other.value();
    CHECK(weights.at("2.weight").value().shape()[0] == 5);
    CHECK(weights.at("2.weight").value().crc32().value() == weights.at("want.2.weight").value().crc32().value());
}

TEST_CASE("rows longer than a piece, and many short ones, have the norm that a plain loop gives") {
    for (const std::int64_t rows : {2, 70'000}) {
        const std::int64_t columns = 140'002 / rows;
        CAPTURE(rows);
        std::vector<float> v(static_cast<std::size_t>(rows * columns), 1.0f);
        std::vector<float> g(static_cast<std::size_t>(rows), 2.0f);
        for (std::size_t i = 0; i < v.size(); ++i) v[i] = i % 3 == 0 ? 2.0f : 1.0f; // squares and their sums are exact
        const named_floats file(
            std::vector<named_floats::one>{{"w.weight_g", {rows, 1}, g}, {"w.weight_v", {rows, columns}, v}});
        std::size_t calls = 0;
        const auto counts = [&](const ckpt::progress& p) { return ++calls, p.done <= p.total; };
        const auto folded = ckpt::fold_weight_norm(file.weights(), {.progress = counts}).value();
        CHECK(calls > 0);
        const auto got = values(folded.weights, "w.weight");
        std::size_t wrong = 0;
        for (std::size_t r = 0; r < static_cast<std::size_t>(rows); ++r) {
            const auto n = static_cast<std::size_t>(columns);
            double sum = 0;
            for (std::size_t i = 0; i < n; ++i) sum += double(v[r * n + i]) * double(v[r * n + i]);
            const auto factor = float(2.0 / double(float(std::sqrt(sum))));
            for (std::size_t i = 0; i < n; ++i) wrong += got[r * n + i] != v[r * n + i] * factor;
        }
        CHECK(wrong == 0);
    }
}

TEST_CASE("what does not fit stays, and is listed with the reason") {
    const auto listed = [](std::vector<named_floats::one> tensors) {
        const named_floats file(tensors);
        const auto weights = file.weights();
        const auto folded = ckpt::fold_weight_norm(weights).value();
        CHECK(keys_of(folded.weights) == keys_of(weights));
        CHECK(folded.folded.empty());
        std::string out;
        for (const auto& l : folded.left) out += l.key + ": " + l.why.detail + '\n';
        return out;
    };
    const named_floats::one g{"m.weight_g", {2, 1}, {1, 1}}, v{"m.weight_v", {2, 2}, {1, 1, 1, 1}};
    CHECK(listed({g}) == "m.weight_g: it is half of a normalised weight: there is no \"m.weight_v\"\n");
    CHECK(listed({v}) == "m.weight_v: it is half of a normalised weight: there is no \"m.weight_g\"\n");
    CHECK(listed({{"parametrizations.w.original1", {1}, {1}}}).starts_with("parametrizations.w.original1: it is half"));
    CHECK(listed({v, {"m.weight_g", {2, 2}, {1, 1, 1, 1}}}).find("g has the shape [2, 2] and v [2, 2]") !=
          std::string::npos);
    CHECK(listed({v, {"m.weight_g", {1}, {1}}}).find("g must be 1 in all dimensions") != std::string::npos);
    CHECK(listed({g, v, {"m.weight", {1}, {1}}}).find("a tensor \"m.weight\" already") != std::string::npos);
    const named_floats::one first{"m.parametrizations.weight.original0", {2, 1}, {1, 1}};
    const named_floats::one second{"m.parametrizations.weight.original1", {2, 2}, {1, 1, 1, 1}};
    CHECK(listed({first, second, {"m.parametrizations.weight.1._u", {1}, {1}}}).find("another parametrization") !=
          std::string::npos);
    CHECK(listed({first, second, g, v}).find("two pairs would become \"m.weight\"") != std::string::npos);
    // Names that others use, too, are not looked at where they are no pair.
    CHECK(listed({{"state_g", {1}, {1}}, {"x_g", {2, 2}, {1, 1, 1, 1}}, {"x_v", {2, 2}, {1, 1, 1, 1}}}).empty());
    // One parametrization by its own name is something else.
    CHECK(listed({{"m.parametrizations.weight.original", {1}, {1}}}).empty());
}

TEST_CASE("an empty weight, and a call that is stopped") {
    const named_floats empty{{"w.weight_g", {2, 1}, {1, 1}}, {"w.weight_v", {2, 0}, {}}};
    const auto folded = ckpt::fold_weight_norm(empty.weights()).value();
    CHECK(folded.weights.at("w.weight").value().numel() == 0);
    const named_floats some{{"w.weight_g", {2, 1}, {1, 1}}, {"w.weight_v", {2, 1}, {1, 2}}};
    const auto stopped =
        ckpt::fold_weight_norm(some.weights(), {.progress = [](const ckpt::progress&) { return false; }});
    REQUIRE_FALSE(stopped.has_value());
    CHECK(stopped.error().code == ckpt::errc::cancelled);
}

} // namespace weight_norm_test
